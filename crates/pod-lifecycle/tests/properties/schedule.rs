//! Random pods, random containers, random events.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use pod_lifecycle::PodPlan;
use proptest::{collection::vec, option, prelude::*};
use testkit::engine::{Action, Behaviour, Hook, ImageBehaviour, OnTerm, ProbeRule, World, WorldOptions, pod_from_yaml};

use crate::guard::Guard;

/// A pod, what its containers do, and what happens to it.
#[derive(Clone)]
pub(crate) struct Schedule {
    yaml: String,
    behaviours: BTreeMap<String, Behaviour>,
    actions: Vec<(Duration, Action)>,
    latency: Duration,
    seed: u64,
    /// Until when neither volumes nor sandboxes can be made.
    fails_until: Duration,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "latency {:?}, seed {}, fails until {:?}", self.latency, self.seed, self.fails_until)?;
        writeln!(f, "{}", self.yaml)?;
        self.behaviours.iter().try_for_each(|(name, behaviour)| writeln!(f, "{name}: {behaviour:?}"))?;
        self.actions.iter().try_for_each(|(at, action)| writeln!(f, "at {at:?} {action:?}"))
    }
}

impl Schedule {
    pub(crate) fn world(&self) -> World {
        let plan = PodPlan::from_pod(&Arc::new(pod_from_yaml(&self.yaml))).expect("a valid pod");
        let options = WorldOptions { latency: self.latency, seed: self.seed, longest_back_off: None };
        let mut world = World::new(plan, self.behaviours.clone(), options);
        world.fail_volumes_until(self.fails_until / 2);
        world.fail_sandbox_until(self.fails_until);
        world
    }

    pub(crate) fn play(&self, world: &mut World, guard: &mut Guard) -> Result<(), String> {
        for (at, action) in &self.actions {
            guard.run_until(world, *at)?;
            guard.expect(action);
            action.perform(world);
            guard.look(world)?;
        }
        Ok(())
    }

    /// Adds actions.
    pub(crate) fn with(&self, actions: Vec<(Duration, Action)>) -> Self {
        let mut schedule = self.clone();
        schedule.actions.extend(actions);
        schedule.actions.sort_by_key(|(at, _)| *at);
        schedule
    }
}

/// Makes every container well-behaved, and mains end well.
pub(crate) fn calm(world: &mut World) {
    let names: Vec<_> = world.plan().containers.iter().map(|c| c.name().to_owned()).collect();
    for name in names {
        let is_sidecar_or_main = world.plan().find(&name).map(|idx| world.plan().container(idx).role);
        let runs = match is_sidecar_or_main {
            Some(pod_lifecycle::Role::Sidecar | pod_lifecycle::Role::Ephemeral) | None => None,
            Some(pod_lifecycle::Role::Init | pod_lifecycle::Role::Main) => Some(Duration::from_secs(2)),
        };
        *world.behaviour_mut(&name) = Behaviour { run_for: runs, ..Behaviour::default() };
    }
    world.end_hooks();
    // Whoever runs on from before ends as if it had behaved so.
    let mains: Vec<_> = world.plan().main_indices().chain(world.plan().init_indices()).collect();
    for idx in mains {
        if world.plan().container(idx).role != pod_lifecycle::Role::Sidecar {
            let name = world.plan().container(idx).name().to_owned();
            world.exit_later(&name, 0);
        }
    }
}

/// Says how a pod came out: outcome and exit codes of its mains, or the phase it is in.
pub(crate) fn remainder(world: &World) -> String {
    match world.finished() {
        // One that restarts all its containers again and again comes by more than one phase.
        None if world.plan().containers.iter().any(|c| c.spec.restart_policy_rules.is_some()) => "goes on".to_owned(),
        None => format!("goes on in phase {:?}", world.stored().phase),
        Some(outcome) => {
            let mut text = format!("{outcome:?}");
            for status in world.stored().container_statuses.iter().flatten() {
                let terminated = status.state.as_ref().and_then(|state| state.terminated.as_ref());
                let _ = write!(text, " {}={:?}", status.name, terminated.map(|t| t.exit_code));
            }
            text
        }
    }
}

/// Anything at all.
pub(crate) fn anything() -> impl Strategy<Value = Schedule> {
    pod(vec(0..3_u8, 0..4), 1..4, prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")]).prop_flat_map(
        |(yaml, names)| {
            let behaviours = names.iter().map(|_| behaviour()).collect::<Vec<_>>();
            let actions = vec((0..120_000_u64, action(names.clone())), 0..8);
            let fails = option::weighted(0.1, 0..30_000_u64).prop_map(Option::unwrap_or_default);
            (Just(yaml), Just(names), behaviours, actions, 0..1500_u64, any::<u64>(), fails).prop_map(
                |(yaml, names, behaviours, mut actions, latency, seed, fails)| {
                    actions.sort_by_key(|(at, _)| *at);
                    Schedule {
                        yaml,
                        behaviours: names.into_iter().zip(behaviours).collect(),
                        actions: actions.into_iter().map(|(at, action)| (millis(at), action)).collect(),
                        // Half of them without any, where ties are many.
                        latency: millis(latency.saturating_sub(750)),
                        seed,
                        fails_until: millis(fails),
                    }
                },
            )
        },
    )
}

/// Pods that end by themselves when their mains do.
pub(crate) fn completing() -> impl Strategy<Value = Schedule> {
    anything().prop_map(|mut schedule| {
        schedule.yaml = schedule.yaml.replace("restartPolicy: Always #pod", "restartPolicy: OnFailure #pod");
        schedule
            .actions
            .retain(|(_, action)| !matches!(action, Action::SandboxLost | Action::RecordsLost | Action::Delete { .. }));
        schedule
    })
}

/// Pods whose outcome hangs on nothing but what their containers do, and restarts of the agent.
pub(crate) fn with_restarts() -> impl Strategy<Value = (Schedule, Vec<(Duration, Action)>)> {
    let pods = pod(vec(0..3_u8, 0..4), 1..3, prop_oneof![Just("OnFailure"), Just("Never")]);
    pods.prop_flat_map(|(yaml, names)| {
        // Deadlines, and mains that a probe or a hook ends, make the outcome a matter of time.
        // So do sidecars that restart mains before these have ended.
        let without_rule =
            |line: &str| if line.contains("name: s") { line.replace(RULE, "stdin: false") } else { line.to_owned() };
        let yaml = yaml.lines().filter(|line| !line.contains("activeDeadlineSeconds"));
        let yaml = yaml.map(without_rule).collect::<Vec<_>>().join("\n");
        let behaviours = names.iter().map(|name| steady(name.starts_with('m'))).collect::<Vec<_>>();
        let schedule = (Just(yaml), Just(names), behaviours, any::<u64>(), prop_oneof![Just(0), Just(300)]).prop_map(
            |(yaml, names, behaviours, seed, latency)| Schedule {
                yaml,
                behaviours: names.into_iter().zip(behaviours).collect(),
                actions: Vec::new(),
                latency: millis(latency),
                seed,
                fails_until: Duration::ZERO,
            },
        );
        let dies = prop_oneof![1 => Just(Action::AgentRestarts), 3 => death()];
        (schedule, vec(((0..40_000_u64).prop_map(millis), dies), 1..4))
    })
}

fn pod(
    init: impl Strategy<Value = Vec<u8>>,
    mains: std::ops::Range<usize>,
    policy: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = (String, Vec<String>)> {
    let features = vec(feature(), 8);
    (init, mains, policy, 0..20_u64, option::weighted(0.1, 5..60_u64), features).prop_map(
        |(init, mains, policy, grace, deadline, features)| {
            let mut features = features.into_iter();
            let mut yaml = format!("spec:\n  restartPolicy: {policy} #pod\n  terminationGracePeriodSeconds: {grace}\n");
            if let Some(deadline) = deadline {
                let _ = writeln!(yaml, "  activeDeadlineSeconds: {deadline}");
            }
            let mut names = Vec::new();
            let _ = writeln!(yaml, "  initContainers:{}", if init.is_empty() { " []" } else { "" });
            for (i, kind) in init.iter().enumerate() {
                let name = if *kind == 0 { format!("i{i}") } else { format!("s{i}") };
                let feature = features.next().filter(|_| *kind != 0).unwrap_or_default();
                let policy = if *kind == 0 { "" } else { ", restartPolicy: Always" };
                let _ = writeln!(yaml, "  - {{name: {name}, image: one{policy}{feature}}}");
                names.push(name);
            }
            yaml.push_str("  containers:\n");
            for i in 0..mains {
                let mut feature = features.next().unwrap_or_default();
                if feature.contains(RULE) {
                    feature.push_str(", restartPolicy: OnFailure");
                }
                let _ = writeln!(yaml, "  - {{name: m{i}, image: one{feature}}}");
                names.push(format!("m{i}"));
            }
            (yaml, names)
        },
    )
}

/// Probes and hooks, as flow YAML.
fn feature() -> impl Strategy<Value = String> {
    let probe = |name: &'static str| {
        (1..4_u32, 1..4_u32, 0..3_u32).prop_map(move |(period, threshold, delay)| {
            format!(
                ", {name}: {{tcpSocket: {{port: 1}}, periodSeconds: {period}, failureThreshold: {threshold}, initialDelaySeconds: {delay}}}"
            )
        })
    };
    let hook = |name: &'static str| format!("{name}: {{exec: {{command: [x]}}}}");
    let hooks = prop_oneof![
        6 => Just(String::new()),
        1 => Just(format!(", lifecycle: {{{}}}", hook("preStop"))),
        1 => Just(format!(", lifecycle: {{{}, {}}}", hook("preStop"), hook("postStart"))),
    ];
    let maybe = |strategy| option::weighted(0.25, strategy).prop_map(Option::unwrap_or_default);
    let rule = prop_oneof![9 => Just(String::new()), 1 => Just(format!(", {RULE}"))];
    (
        rule,
        maybe(probe("startupProbe").boxed()),
        maybe(probe("livenessProbe").boxed()),
        maybe(probe("readinessProbe").boxed()),
        hooks,
    )
        .prop_map(|(a, b, c, d, e)| format!("{a}{b}{c}{d}{e}"))
}

/// A rule that restarts the whole pod.
const RULE: &str = "restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [137]}}]";

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let seconds = || (0..20_000_u64).prop_map(millis);
    let rule = || {
        prop_oneof![
            4 => Just(ProbeRule::Passes),
            1 => Just(ProbeRule::Fails),
            2 => seconds().prop_map(ProbeRule::FailsUntil),
            2 => seconds().prop_map(ProbeRule::FailsFrom),
            1 => Just(ProbeRule::Errs),
        ]
    };
    let hook = || {
        (prop_oneof![4 => seconds().prop_map(Some), 1 => Just(None)], prop::bool::weighted(0.8))
            .prop_map(|(takes, ok)| Hook { takes, ok })
    };
    let on_term = prop_oneof![
        3 => (seconds(), prop_oneof![Just(0), Just(143), Just(1)]).prop_map(|(after, code)| OnTerm::Exit { after, code }),
        1 => Just(OnTerm::Ignore),
    ];
    let image = prop_oneof![
        6 => Just(ImageBehaviour::Present),
        1 => seconds().prop_map(ImageBehaviour::Pulled),
        1 => option::of(seconds())
            .prop_map(|until| ImageBehaviour::Missing { reason: "ErrImagePull".to_owned(), until }),
        1 => option::of(seconds())
            .prop_map(|until| ImageBehaviour::Missing { reason: "ErrImageNeverPull".to_owned(), until }),
    ];
    let life = (option::weighted(0.5, seconds()), prop_oneof![2 => Just(0), 1 => Just(1), 1 => Just(137)]);
    let start = (option::weighted(0.1, seconds()), prop::bool::weighted(0.05));
    let busy = option::weighted(0.1, seconds()).prop_map(Option::unwrap_or_default);
    (life, (on_term, busy), image, start, (hook(), hook()), (rule(), rule(), rule())).prop_map(
        |((run_for, exit_code), (on_term, busy), image, (config_error_until, start_error), hooks, probes)| Behaviour {
            run_for,
            exit_code,
            on_term,
            image,
            config_error_until,
            start_error,
            post_start: hooks.0,
            pre_stop: hooks.1,
            startup: probes.0,
            liveness: probes.1,
            readiness: probes.2,
            stop_fails_until: busy,
            resize_fails_until: busy,
            ..Behaviour::default()
        },
    )
}

/// A behaviour that comes to the same end whenever it is looked at.
fn steady(main: bool) -> impl Strategy<Value = Behaviour> {
    (behaviour(), 0..3_usize, 100..15_000_u64).prop_map(move |(behaviour, fails_first, run_for)| {
        let calm = Behaviour {
            post_start: Hook::default(),
            start_error: false,
            startup: ProbeRule::Passes,
            liveness: ProbeRule::Passes,
            image: ImageBehaviour::Present,
            ..behaviour.clone()
        };
        if main {
            Behaviour { run_for: Some(millis(run_for)), fails_first, ..calm }
        } else {
            // Long enough for every hook and startup probe, restart or not.
            let run_for = behaviour.run_for.map(|time| time + Duration::from_secs(8));
            Behaviour { run_for, startup: always(behaviour.startup), ..calm }
        }
    })
}

/// Keeps of a probe's rule what does not hang on when it is asked.
fn always(rule: ProbeRule) -> ProbeRule {
    match rule {
        ProbeRule::Passes | ProbeRule::FailsUntil(_) | ProbeRule::FailsFrom(_) => ProbeRule::Passes,
        ProbeRule::Fails | ProbeRule::Errs | ProbeRule::Warns => rule,
    }
}

fn action(names: Vec<String>) -> impl Strategy<Value = Action> {
    let name = || prop::sample::select(names.clone());
    prop_oneof![
        4 => (name(), prop_oneof![Just(0), Just(1), Just(137)]).prop_map(|(name, code)| Action::Exit { name, code }),
        2 => option::of((0..15_u64).prop_map(Duration::from_secs)).prop_map(|grace| Action::Delete { grace }),
        1 => Just(Action::AgentRestarts),
        3 => death(),
        2 => Just(Action::SandboxLost),
        1 => Just(Action::RecordsLost),
        1 => (name(), prop_oneof![Just("one"), Just("two")])
            .prop_map(|(name, image)| Action::Image { name, image: image.to_owned() }),
        1 => (1..100_i64).prop_map(Action::Deadline),
        1 => (name(), 1..3_u32, prop::sample::select(vec![None, Some(false), Some(true)])).prop_map(|(name, cpu, refused)| {
            Action::Resize { name, amounts: vec![("cpu".to_owned(), cpu.to_string())], refused }
        }),
        1 => prop_oneof![
            Just(Action::ShutDown),
            (0..15_u64, any::<bool>()).prop_map(|(grace, disruption)| {
                Action::Evict(Duration::from_secs(grace), "too much".to_owned(), disruption)
            }),
        ],
        1 => prop::sample::select(vec!["e0", "e1"]).prop_map(|name| Action::Debug(name.to_owned())),
    ]
}

/// A death of the agent between any two steps.
fn death() -> impl Strategy<Value = Action> {
    (0..60_u32, 0..3_usize).prop_map(|(after, behind)| Action::AgentDies { after, behind })
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
