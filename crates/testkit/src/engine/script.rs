//! The scenario language: what the containers do, and what happens to the pod.
//!
//! ```text
//! # a comment
//! app: runs 3s, exits 1                 behaviour of a container, items separated by commas
//! proxy: ignores TERM, startup fails until 4s
//! at 5s exit proxy 1                    something happens
//! at 6s delete grace 10
//! until 60s                             how long to look
//! ```
//!
//! Behaviour items: `runs D`, `exits N`, `exits unseen` (nobody hears of it), `oom`, `says TEXT`, `ignores TERM`, `stops in D [with N]`, `stop fails until D`, `resize fails until D`,
//! `image missing REASON [until D]`, `image takes D` (also of a volume), `config fails until D`, `cannot start`,
//! `postStart|preStop takes D | fails [after D] | hangs`, `startup|liveness|readiness passes | fails |
//! fails until D | fails from D | errs | warns`.
//!
//! Actions: `exit NAME N`, `delete [grace N]`, `node shuts down`, `agent restarts`,
//! `agent dies after MOMENTS behind STATUSES`, `news of NAME`, `old news of NAME` (of the newest or oldest instance),
//! `sandbox lost`, `records lost`, `records of NAME lost`, `image NAME IMAGE`,
//! `resize NAME cpu=Q memory=Q [deferred|infeasible]` (requests and limits; `pod` means the pod as a whole),
//! `evict TEXT` (for limits of its own),
//! `starve GRACE TEXT` (evicted for want of a resource of the node),
//! `deadline D`, `api says PHASE` (others set the phase), `debug NAME` (an ephemeral container comes), and a behaviour line (`at 5s app: cannot start`). Without a time: `volumes fail until D`,
//! `sandbox fails until D`, `back-off at most D`, `steps take D` (all but the first), `until D`, `verbose` (every step), `show WORD…` (only lines that have one of the words).

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use expect_test::Expect;
use k8s_openapi::{
    api::core::v1::{EphemeralContainer, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use pod_lifecycle::{Input, PendingResize, PodPlan};

use super::{Behaviour, Hook, ImageBehaviour, OnTerm, ProbeRule, Transcript, World, WorldOptions};

/// A parsed script.
#[derive(Debug, Clone, Default)]
pub struct Script {
    behaviours: BTreeMap<String, Behaviour>,
    actions: Vec<(Duration, Action)>,
    until: Duration,
    verbose: bool,
    show: Vec<String>,
    volumes_fail_until: Duration,
    sandbox_fails_until: Duration,
    pace: Duration,
    longest_back_off: Option<Duration>,
}

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A container's process ends.
    Exit {
        /// Which.
        name: String,
        /// Exit code.
        code: i32,
    },
    /// The pod is deleted.
    Delete {
        /// Grace asked for; `None`: the pod's.
        grace: Option<Duration>,
    },
    /// The node shuts down.
    ShutDown,
    /// The agent dies and comes back.
    AgentRestarts,
    /// The agent dies in the midst of its work and comes back.
    AgentDies {
        /// How many moments later ([`World::die_after`]).
        after: u32,
        /// How many statuses are not stored.
        behind: usize,
    },
    /// The runtime tells of a container's newest instance, or of its oldest.
    NewsOf {
        /// Which.
        name: String,
        /// Whether of the oldest instance.
        oldest: bool,
    },
    /// The sandbox ends.
    SandboxLost,
    /// All that the runtime has of the pod is gone, and the agent comes back.
    RecordsLost,
    /// The records of a container's ended instances are gone.
    RecordsOf(String),
    /// A container's image is changed.
    Image {
        /// Which.
        name: String,
        /// New image.
        image: String,
    },
    /// `activeDeadlineSeconds` is set.
    Deadline(i64),
    /// A container is to have other requests and limits.
    Resize {
        /// Which.
        name: String,
        /// Resource and quantity.
        amounts: Vec<(String, String)>,
        /// The node does not grant it; never, if true.
        refused: Option<bool>,
    },
    /// The node evicts the pod: so much grace, why, for the node's sake.
    Evict(Duration, String, bool),
    /// Others set the pod's phase.
    Phase(String),
    /// An ephemeral container of this name comes, unless there is one.
    Debug(String),
    /// A container behaves otherwise from now on.
    Behaves {
        /// Which.
        name: String,
        /// What it does.
        items: String,
    },
}

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    line: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read script line {:?}", self.line)
    }
}

impl std::error::Error for ScriptError {}

/// Runs a script on the pod of a manifest and compares the transcript.
///
/// # Panics
///
/// When manifest or script cannot be read, when the transcript differs, or when the machine finds something
/// wrong with itself.
#[track_caller]
pub fn check(yaml: &str, script: &str, expected: Expect) {
    expected.assert_eq(&transcript(yaml, script));
}

/// Runs a script on the pod of a manifest and returns the transcript.
///
/// # Panics
///
/// As [`check`].
#[track_caller]
pub fn transcript(yaml: &str, script: &str) -> String {
    let script = script.parse::<Script>().unwrap_or_else(|error| panic!("{error}"));
    script.run(yaml)
}

/// Runs a recorded scenario, compares with what a real Kubernetes did, and then the transcript.
///
/// `recorded` has four parts: `--- pod`, `--- script`, `--- statuses` (each status of the real pod, whole) and
/// `--- events`. Every recorded status must come, in the recorded order; one that lies between two of ours,
/// since several changes were merged differently, counts as having come. The events must be the same.
///
/// # Panics
///
/// As [`check`].
#[track_caller]
pub fn check_recorded(recorded: &str, expected: Expect) {
    let part = |name: &str| {
        let rest = recorded.split_once(&format!("--- {name}\n")).map_or("", |(_, rest)| rest);
        rest.split("--- ").next().unwrap_or_default()
    };
    let script = part("script").parse::<Script>().unwrap_or_else(|error| panic!("{error}"));
    let (world, text) = script.play(part("pod"));
    let ours = Transcript::statuses(&world);
    let mut from = 0;
    for status in part("statuses").lines() {
        match (from..ours.len()).find(|&i| lies_at(status, &ours[i], ours.get(i + 1))) {
            Some(i) => from = i,
            None => panic!("the real pod also had the status\n{status}\nhere:\n{text}"),
        }
    }
    let mut recorded_events: Vec<_> = part("events").lines().map(ToOwned::to_owned).collect();
    let mut events = Transcript::events(&world);
    recorded_events.sort();
    events.sort();
    assert_eq!(events, recorded_events, "events differ from those of the real pod; ours:\n{text}");
    expected.assert_eq(&text);
}

/// Returns whether a status is this one, or made up of parts of this one and the next.
fn lies_at(status: &str, this: &str, next: Option<&String>) -> bool {
    let (this, next, wanted) = (status_parts(this), next.map(|next| status_parts(next)), status_parts(status));
    wanted.len() == this.len()
        && wanted
            .iter()
            .enumerate()
            .all(|(i, part)| *part == this[i] || next.as_ref().is_some_and(|next| next.get(i) == Some(part)))
}

/// Takes a status line apart: phase, each condition, each container.
fn status_parts(text: &str) -> Vec<String> {
    let parts = text.split("; ").flat_map(|part| match part.strip_prefix('[') {
        Some(conditions) => conditions.trim_end_matches(']').split(' ').collect(),
        None => vec![part],
    });
    parts.map(ToOwned::to_owned).collect()
}

/// Writes the manifest of a pod. A container is its name, which is its image's too, with a `+` if it is a sidecar, and then any fields:
/// `pod("Never", &["init", "proxy+ startupProbe: {periodSeconds: 1}"], &["app"])`.
pub fn pod(policy: &str, init: &[&str], mains: &[&str]) -> String {
    let list = |containers: &[&str]| containers.iter().map(|text| container(text)).collect::<String>();
    let (init, mains) = (list(init), list(mains));
    let init = if init.is_empty() { " []\n".to_owned() } else { format!("\n{init}") };
    format!("spec:\n  restartPolicy: {policy}\n  initContainers:{init}  containers:\n{mains}")
}

fn container(text: &str) -> String {
    let (name, fields) = text.split_once(' ').unwrap_or((text, ""));
    let fields = if fields.is_empty() { String::new() } else { format!(", {fields}") };
    match name.strip_suffix('+') {
        Some(name) => format!("  - {{name: {name}, image: {name}, restartPolicy: Always{fields}}}\n"),
        None => format!("  - {{name: {name}, image: {name}{fields}}}\n"),
    }
}

/// Reads a pod, with the metadata that an API server would have added.
///
/// # Panics
///
/// When the text is no pod.
pub fn pod_from_yaml(yaml: &str) -> Pod {
    let mut pod: Pod = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("manifest: {error}"));
    let meta = &mut pod.metadata;
    meta.name.get_or_insert_with(|| "pod".to_owned());
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    meta.uid.get_or_insert_with(|| "uid-1".to_owned());
    meta.generation.get_or_insert(1);
    pod
}

fn plan_of(pod: Pod) -> PodPlan {
    PodPlan::from_pod(&Arc::new(pod)).unwrap_or_else(|error| panic!("{error}"))
}

impl Script {
    #[track_caller]
    fn run(&self, yaml: &str) -> String {
        self.play(yaml).1
    }

    /// Plays it on the pod of a manifest. Returns the world as it is then, and the transcript.
    ///
    /// # Panics
    ///
    /// As [`check`].
    #[track_caller]
    pub fn play(&self, yaml: &str) -> (World, String) {
        let plan = plan_of(pod_from_yaml(yaml));
        let options = WorldOptions { latency: Duration::ZERO, seed: 1, longest_back_off: self.longest_back_off };
        let mut world = World::new(plan, self.behaviours.clone(), options);
        world.fail_volumes_until(self.volumes_fail_until);
        world.fail_sandbox_until(self.sandbox_fails_until);
        world.slow_down(self.pace);
        for (at, action) in &self.actions {
            world.run_until(*at);
            action.perform(&mut world);
        }
        world.run_until(self.until);
        let text = Transcript::of(&world, self.verbose);
        if let Err(violation) = world.check() {
            panic!("{violation}\n{text}");
        }
        let shown = |line: &&str| self.show.is_empty() || self.show.iter().any(|word| line.contains(word.as_str()));
        let text = text.lines().filter(shown).flat_map(|line| [line, "\n"]).collect();
        (world, text)
    }
}

impl Action {
    /// Lets it happen.
    pub fn perform(&self, world: &mut World) {
        match self {
            Self::Exit { name, code } => world.exit(name, *code),
            Self::Delete { grace } => {
                let grace = grace.unwrap_or(world.plan().grace);
                world.delete(grace);
            }
            Self::ShutDown => world.shut_down(),
            Self::AgentRestarts => world.restart_agent(),
            Self::AgentDies { after, behind } => world.die_after(*after, *behind),
            Self::NewsOf { name, oldest } => world.tell_of(name, *oldest),
            Self::SandboxLost => world.lose_sandbox(),
            Self::RecordsLost => world.lose_records(),
            Self::RecordsOf(name) => world.lose_records_of(name),
            Self::Image { name, image } => change_pod(world, |pod| set_image(pod, name, image)),
            Self::Deadline(seconds) => change_pod(world, |pod| {
                if let Some(spec) = &mut pod.spec {
                    spec.active_deadline_seconds = Some(*seconds);
                }
            }),
            Self::Resize { name, amounts, refused: None } => change_pod(world, |pod| resize(pod, name, amounts)),
            Self::Resize { name, amounts, refused: Some(infeasible) } => {
                let mut wanted = (*world.plan().pod).clone();
                wanted.metadata.generation = wanted.metadata.generation.map(|generation| generation + 1);
                let plan = wanted.clone();
                resize(&mut wanted, name, amounts);
                world.refuse_resize(plan_of(plan), PendingResize::new(*infeasible, "not enough".to_owned(), &wanted));
            }
            Self::Evict(grace, message, disruption) => {
                world.tell(Input::Evict { message: message.clone(), grace: *grace, disruption: *disruption });
            }
            Self::Phase(phase) => {
                let mut pod = (*world.plan().pod).clone();
                pod.status.get_or_insert_default().phase = Some(phase.clone());
                world.update(plan_of(pod));
            }
            Self::Debug(name) if world.plan().find(name).is_none() => change_pod(world, |pod| debug(pod, name)),
            Self::Debug(_) => {}
            Self::Behaves { name, items } => {
                let behaviour = world.behaviour_mut(name);
                apply_items(behaviour, items).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
}

fn change_pod(world: &mut World, change: impl FnOnce(&mut Pod)) {
    let mut pod = (*world.plan().pod).clone();
    change(&mut pod);
    pod.metadata.generation = pod.metadata.generation.map(|generation| generation + 1);
    world.update(plan_of(pod));
}

fn debug(pod: &mut Pod, name: &str) {
    let image = Some(name.to_owned());
    let debugger = EphemeralContainer { name: name.to_owned(), image, ..EphemeralContainer::default() };
    if let Some(spec) = &mut pod.spec {
        spec.ephemeral_containers.get_or_insert_default().push(debugger);
    }
}

fn resize(pod: &mut Pod, name: &str, amounts: &[(String, String)]) {
    let Some(spec) = &mut pod.spec else { return };
    let all = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    let of_containers = all.filter(|container| container.name == name).map(|container| &mut container.resources);
    let of_pod = (name == "pod").then_some(&mut spec.resources);
    for resources in of_containers.chain(of_pod).map(Option::get_or_insert_default) {
        for (resource, amount) in amounts {
            for list in [&mut resources.requests, &mut resources.limits] {
                list.get_or_insert_default().insert(resource.clone(), Quantity(amount.clone()));
            }
        }
    }
}

fn set_image(pod: &mut Pod, name: &str, image: &str) {
    let Some(spec) = &mut pod.spec else { return };
    let all = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    all.filter(|container| container.name == name).for_each(|container| container.image = Some(image.to_owned()));
}

impl std::str::FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self { until: Duration::from_secs(3600), ..Self::default() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            script.read(line).ok_or_else(|| ScriptError { line: line.to_owned() })?;
        }
        script.actions.sort_by_key(|(at, _)| *at);
        Ok(script)
    }
}

impl Script {
    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["until", at] => self.until = duration(at)?,
            ["verbose"] => self.verbose = true,
            ["show", words @ ..] => self.show = words.iter().map(|word| (*word).to_owned()).collect(),
            ["volumes", "fail", "until", at] => self.volumes_fail_until = duration(at)?,
            ["sandbox", "fails", "until", at] => self.sandbox_fails_until = duration(at)?,
            ["steps", "take", time] => self.pace = duration(time)?,
            ["back-off", "at", "most", longest] => self.longest_back_off = Some(duration(longest)?),
            ["at", at, rest @ ..] => self.actions.push((duration(at)?, action(rest)?)),
            _ => {
                let (name, items) = line.split_once(':')?;
                apply_items(self.behaviours.entry(name.trim().to_owned()).or_default(), items).ok()?;
            }
        }
        Some(())
    }
}

fn action(words: &[&str]) -> Option<Action> {
    Some(match words {
        ["exit", name, code] => Action::Exit { name: (*name).to_owned(), code: code.parse().ok()? },
        ["delete"] => Action::Delete { grace: None },
        ["delete", "grace", grace] => Action::Delete { grace: Some(duration(&format!("{grace}s"))?) },
        ["node", "shuts", "down"] => Action::ShutDown,
        ["agent", "restarts"] => Action::AgentRestarts,
        ["agent", "dies", "after", after, "behind", behind] => {
            Action::AgentDies { after: after.parse().ok()?, behind: behind.parse().ok()? }
        }
        ["news", "of", name] => Action::NewsOf { name: (*name).to_owned(), oldest: false },
        ["old", "news", "of", name] => Action::NewsOf { name: (*name).to_owned(), oldest: true },
        ["sandbox", "lost"] => Action::SandboxLost,
        ["records", "lost"] => Action::RecordsLost,
        ["records", "of", name, "lost"] => Action::RecordsOf((*name).to_owned()),
        ["image", name, image] => Action::Image { name: (*name).to_owned(), image: (*image).to_owned() },
        ["api", "says", phase] => Action::Phase((*phase).to_owned()),
        ["debug", name] => Action::Debug((*name).to_owned()),
        ["resize", name, amounts @ .., "deferred"] => resize_action(name, amounts, Some(false))?,
        ["resize", name, amounts @ .., "infeasible"] => resize_action(name, amounts, Some(true))?,
        ["resize", name, amounts @ ..] => resize_action(name, amounts, None)?,
        ["evict", text @ ..] => Action::Evict(Duration::from_secs(1), text.join(" "), false),
        ["starve", grace, text @ ..] => Action::Evict(duration(grace)?, text.join(" "), true),
        ["deadline", at] => Action::Deadline(i64::try_from(duration(at)?.as_secs()).ok()?),
        [name, items @ ..] => {
            let name = name.strip_suffix(':')?.to_owned();
            Action::Behaves { name, items: items.join(" ") }
        }
        [] => return None,
    })
}

fn resize_action(name: &str, amounts: &[&str], refused: Option<bool>) -> Option<Action> {
    let pair = |text: &&str| text.split_once('=').map(|(resource, amount)| (resource.to_owned(), amount.to_owned()));
    Some(Action::Resize { name: name.to_owned(), amounts: amounts.iter().map(pair).collect::<Option<_>>()?, refused })
}

fn apply_items(behaviour: &mut Behaviour, items: &str) -> Result<(), ScriptError> {
    for item in items.split(',').map(str::trim) {
        apply_item(behaviour, item).ok_or_else(|| ScriptError { line: item.to_owned() })?;
    }
    Ok(())
}

fn apply_item(behaviour: &mut Behaviour, item: &str) -> Option<()> {
    let words: Vec<_> = item.split_whitespace().collect();
    match words.as_slice() {
        ["runs", "on"] => behaviour.run_for = None,
        ["runs", time] => behaviour.run_for = Some(duration(time)?),
        ["exits", "unseen"] => behaviour.unseen = true,
        ["exits", code] => behaviour.exit_code = code.parse().ok()?,
        ["oom"] => (behaviour.exit_code, behaviour.exit_reason) = (137, Some("OOMKilled".to_owned())),
        ["says", text @ ..] => behaviour.message = text.join(" "),
        ["ignores", "TERM"] => behaviour.on_term = OnTerm::Ignore,
        ["stops", "in", time] => behaviour.on_term = OnTerm::Exit { after: duration(time)?, code: 0 },
        ["stops", "in", time, "with", code] => {
            behaviour.on_term = OnTerm::Exit { after: duration(time)?, code: code.parse().ok()? };
        }
        ["stop", "fails", "until", at] => behaviour.stop_fails_until = duration(at)?,
        ["resize", "fails", "until", at] => behaviour.resize_fails_until = duration(at)?,
        ["image", rest @ ..] => behaviour.image = image(rest)?,
        ["config", "fails", "until", at] => behaviour.config_error_until = Some(duration(at)?),
        ["can", "start"] => behaviour.start_error = false,
        ["cannot", "start"] => behaviour.start_error = true,
        ["postStart", rest @ ..] => behaviour.post_start = hook(rest)?,
        ["preStop", rest @ ..] => behaviour.pre_stop = hook(rest)?,
        ["startup", rest @ ..] => behaviour.startup = probe(rest)?,
        ["liveness", rest @ ..] => behaviour.liveness = probe(rest)?,
        ["readiness", rest @ ..] => behaviour.readiness = probe(rest)?,
        _ => return None,
    }
    Some(())
}

fn image(words: &[&str]) -> Option<ImageBehaviour> {
    Some(match words {
        ["present"] => ImageBehaviour::Present,
        ["takes", time] => ImageBehaviour::Pulled(duration(time)?),
        ["missing", reason] => ImageBehaviour::Missing { reason: (*reason).to_owned(), until: None },
        ["missing", reason, "until", at] => {
            ImageBehaviour::Missing { reason: (*reason).to_owned(), until: Some(duration(at)?) }
        }
        _ => return None,
    })
}

fn hook(words: &[&str]) -> Option<Hook> {
    Some(match words {
        ["takes", time] => Hook { takes: Some(duration(time)?), ok: true },
        ["fails"] => Hook { takes: Some(Duration::ZERO), ok: false },
        ["fails", "after", time] => Hook { takes: Some(duration(time)?), ok: false },
        ["hangs"] => Hook { takes: None, ok: true },
        _ => return None,
    })
}

fn probe(words: &[&str]) -> Option<ProbeRule> {
    Some(match words {
        ["passes"] => ProbeRule::Passes,
        ["fails"] => ProbeRule::Fails,
        ["errs"] => ProbeRule::Errs,
        ["warns"] => ProbeRule::Warns,
        ["fails", "until", at] => ProbeRule::FailsUntil(duration(at)?),
        ["fails", "from", at] => ProbeRule::FailsFrom(duration(at)?),
        _ => return None,
    })
}

/// Reads `1.5s`, `200ms`, `10m`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}
