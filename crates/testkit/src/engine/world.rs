//! The simulated world: one pod's machine, and everything it can touch.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use pod_lifecycle::{
    ContainerIdx, ContainerView, ContainerViewState, Effect, EffectId, EffectResult, Failure, HookKind, HookOutcome,
    Input, MonoTime, Now, Outcome, Output, PendingResize, PodMachine, PodPlan, PodUpdate, ProbeKind, ProbeOutcome,
    PulledImage, RuntimeView, SandboxView, Timestamp, UserView, Violation,
};

use super::{Behaviour, Hook, ImageBehaviour, Log, OnTerm, ProbeRule};

/// What the world is like.
#[derive(Debug, Clone, Default)]
pub struct WorldOptions {
    /// Limit of crash back-offs; `None`: the usual.
    pub longest_back_off: Option<Duration>,
    /// Upper bound of the time that each effect takes, chosen at random by the seed; zero: none.
    pub latency: Duration,
    /// Seed of all chance.
    pub seed: u64,
}

/// An output and the time it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Time since the world began.
    pub at: Duration,
    /// In which life of the agent, counted from zero.
    pub life: u64,
    /// What was said.
    pub output: Output,
}

/// A death of the agent that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Death {
    /// Moments until then.
    after: u32,
    /// How many of the last statuses are not stored by then.
    behind: usize,
}

/// Something that has really happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A process was started.
    Started {
        /// Which container.
        container: ContainerIdx,
        /// Which instance.
        id: String,
        /// Where.
        sandbox: String,
    },
    /// It ended.
    Exited {
        /// Which container.
        container: ContainerIdx,
        /// Which instance.
        id: String,
        /// Where.
        sandbox: String,
        /// How.
        code: i32,
        /// Why.
        reason: String,
    },
    /// A probe's run was answered well.
    Passed {
        /// Which container.
        container: ContainerIdx,
        /// Which instance.
        id: String,
        /// Which probe.
        probe: ProbeKind,
    },
}

/// A pod's machine in a world that does what it is told.
#[derive(Debug)]
pub struct World {
    machine: PodMachine,
    plan: PodPlan,
    behaviours: BTreeMap<String, Behaviour>,
    now: Duration,
    /// What is going to happen, in order of time, then of coming.
    queue: BTreeMap<(Duration, u64), Event>,
    next: u64,
    sandboxes: Vec<SandboxView>,
    containers: BTreeMap<String, Process>,
    /// Effects that were started and neither answered nor cancelled.
    open: BTreeMap<Asked, Effect>,
    stored: PodStatus,
    said: Vec<Said>,
    life_began: usize,
    /// What was said before this is stored.
    settled: usize,
    death: Option<Death>,
    log: Log,
    facts: Vec<Fact>,
    finished: Option<Outcome>,
    volumes_fail_until: Duration,
    sandbox_fails_until: Duration,
    /// What each effect takes if chance does not say.
    pace: Duration,
    lives: u64,
    options: WorldOptions,
    random: u64,
}

#[derive(Debug, Clone)]
struct Process {
    view: ContainerView,
    /// Set while it stops, with those who wait for it.
    stops: BTreeSet<Asked>,
}

/// An effect of one life of the agent: the next one numbers its own anew.
type Asked = (u64, EffectId);

#[derive(Debug, Clone, PartialEq)]
enum Event {
    /// The effect takes place, and is answered.
    Act(Asked),
    Answer(Asked, Box<EffectResult>),
    /// A process ends.
    Exit {
        id: String,
        code: i32,
        reason: Option<String>,
    },
}

impl World {
    /// Begins with a new pod.
    pub fn new(plan: PodPlan, behaviours: BTreeMap<String, Behaviour>, options: WorldOptions) -> Self {
        let mut machine = PodMachine::new(plan.clone(), at(Duration::ZERO, 0), options.seed);
        options.longest_back_off.into_iter().for_each(|longest| machine.limit_back_off(longest));
        let begun = at(Duration::ZERO, 0);
        let log = Log { plan: plan.clone(), seed: options.seed, begun, from: None, inputs: Vec::new() };
        let mut world = Self {
            machine,
            plan,
            behaviours,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            next: 0,
            sandboxes: Vec::new(),
            containers: BTreeMap::new(),
            open: BTreeMap::new(),
            stored: PodStatus::default(),
            said: Vec::new(),
            life_began: 0,
            settled: 0,
            death: None,
            log,
            facts: Vec::new(),
            finished: None,
            volumes_fail_until: Duration::ZERO,
            sandbox_fails_until: Duration::ZERO,
            pace: Duration::ZERO,
            lives: 0,
            random: options.seed,
            options,
        };
        world.drain();
        world
    }

    /// Returns the time since the world began.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Returns the plan in force.
    pub fn plan(&self) -> &PodPlan {
        &self.plan
    }

    /// Returns all that was said so far.
    pub fn said(&self) -> &[Said] {
        &self.said
    }

    /// Returns what the present life of the agent was told, for replay.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Returns what really happened, whoever knows of it.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Returns what was said since the agent was started last.
    pub fn said_in_this_life(&self) -> impl Iterator<Item = &Said> {
        self.said[self.life_began..].iter()
    }

    /// Returns the status that was stored last.
    pub fn stored(&self) -> &PodStatus {
        &self.stored
    }

    /// Returns how the pod ended, once the machine has finished.
    pub fn finished(&self) -> Option<Outcome> {
        self.finished
    }

    /// Returns the effects that are neither answered nor cancelled.
    pub fn open_effects(&self) -> impl Iterator<Item = &Effect> {
        self.open.values()
    }

    /// Returns how many sandboxes and containers the runtime has left.
    pub fn leftovers(&self) -> usize {
        self.sandboxes.len() + self.containers.len()
    }

    /// Returns the containers as the runtime has them.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerView> {
        self.containers.values().map(|process| &process.view)
    }

    /// Changes what a container does from now on.
    pub fn behaviour_mut(&mut self, name: &str) -> &mut Behaviour {
        self.behaviours.entry(name.to_owned()).or_default()
    }

    /// Lets volumes fail up to this time.
    pub fn fail_volumes_until(&mut self, until: Duration) {
        self.volumes_fail_until = until;
    }

    /// Lets sandboxes fail up to this time.
    pub fn fail_sandbox_until(&mut self, until: Duration) {
        self.sandbox_fails_until = until;
    }

    /// Lets each effect that is asked for from now on take this time.
    pub fn slow_down(&mut self, pace: Duration) {
        self.pace = pace;
    }

    /// Tells, again or at last, of the oldest or the newest instance of a container.
    pub fn tell_of(&mut self, name: &str, oldest: bool) {
        let Some(idx) = self.plan.find(name) else { return };
        let of = self.containers.values().map(|process| &process.view).filter(|view| view.container == idx);
        let view = if oldest { of.min_by_key(|view| view.attempt) } else { of.max_by_key(|view| view.attempt) };
        if let Some(view) = view.cloned() {
            self.tell(Input::Container(view));
        }
    }

    /// Checks the machine's invariants.
    ///
    /// # Errors
    ///
    /// What the machine finds wrong with itself.
    pub fn check(&self) -> Result<(), Violation> {
        self.machine.check()
    }

    /// Goes on until this time. Returns early when the pod has finished.
    pub fn run_until(&mut self, until: Duration) {
        while self.finished.is_none() && self.step(until) {}
        self.now = self.now.max(until);
    }

    /// Takes the next step that is due by then. Returns whether there was one.
    pub fn step(&mut self, until: Duration) -> bool {
        let event = self.queue.first_key_value().map(|(&(at, _), _)| at);
        let timer = self.machine_deadline();
        let Some(next) = event.into_iter().chain(timer).min().filter(|&next| next <= until) else { return false };
        self.now = self.now.max(next);
        if event.is_some_and(|at| at <= self.now) {
            if let Some((_, event)) = self.queue.pop_first() {
                self.happen(event);
            }
        } else {
            self.tell(Input::Timeout);
        }
        true
    }

    fn machine_deadline(&mut self) -> Option<Duration> {
        if self.finished.is_some() {
            return None;
        }
        let Output::Wait(deadline) = self.machine.poll() else { unreachable!("every input is followed by a drain") };
        deadline.map(|deadline| deadline.at.0.saturating_sub(Duration::from_secs(self.lives)))
    }

    /// Asks the pod to end. The API's object says so too, so that an agent that comes back knows.
    pub fn delete(&mut self, grace: Duration) {
        let shortest = self.plan.deletion_grace().map_or(grace, |before| before.min(grace));
        let mut pod = (*self.plan.pod).clone();
        pod.metadata.deletion_timestamp = Some(self.clock().wall.to_k8s());
        pod.metadata.deletion_grace_period_seconds = i64::try_from(shortest.as_secs()).ok();
        self.plan = PodPlan::from_pod(&Arc::new(pod)).expect("only its metadata has changed");
        self.tell(Input::Delete { grace });
    }

    /// Shuts the node down, with as much time as the pod asks for.
    pub fn shut_down(&mut self) {
        self.tell(Input::ShutDown { grace: self.plan.grace });
    }

    /// Hands over a changed pod.
    pub fn update(&mut self, plan: PodPlan) {
        self.update_with(plan, Vec::new());
    }

    /// Hands over a pod that asks for more than the node grants.
    pub fn refuse_resize(&mut self, plan: PodPlan, pending: PendingResize) {
        self.plan = plan.clone();
        self.tell(Input::Desired(PodUpdate { plan, pending: Some(pending), foreign_conditions: Vec::new() }));
    }

    /// Hands over a changed pod with conditions that others have set.
    pub fn update_with(&mut self, plan: PodPlan, foreign_conditions: Vec<PodCondition>) {
        self.plan = plan.clone();
        self.tell(Input::Desired(PodUpdate { plan, pending: None, foreign_conditions }));
    }

    /// Ends a container's process.
    pub fn exit(&mut self, name: &str, code: i32) {
        let running = self.running(name);
        if let Some(id) = running {
            self.process_exits(&id, code, None);
        }
    }

    /// Lets hooks that hang end well in a moment.
    pub fn end_hooks(&mut self) {
        let hooks = self.open.iter().filter(|(_, effect)| matches!(effect, Effect::RunHook { .. }));
        for id in hooks.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.later(
                Duration::from_millis(1),
                Event::Answer(id, Box::new(EffectResult::Hook(HookOutcome::Succeeded))),
            );
        }
    }

    /// Ends a container's process in a moment, after what is going on now.
    pub fn exit_later(&mut self, name: &str, code: i32) {
        if let Some(id) = self.running(name) {
            self.later(Duration::from_millis(1), Event::Exit { id, code, reason: None });
        }
    }

    /// Returns the id of the running instance of a container.
    pub fn running(&self, name: &str) -> Option<String> {
        let idx = self.plan.find(name)?;
        let mut views = self.containers.values().map(|process| &process.view);
        views.find(|view| view.container == idx && is_running(view)).map(|view| view.id.clone())
    }

    /// The sandbox ends, and all that runs in it.
    pub fn lose_sandbox(&mut self) {
        let Some(sandbox) = self.sandboxes.iter_mut().find(|sandbox| sandbox.ready) else { return };
        sandbox.ready = false;
        let id = sandbox.id.clone();
        self.kill_sandbox(&id);
        self.tell(Input::SandboxLost);
    }

    /// Everything that the runtime has of the pod is gone, as after a reboot of a machine without a disk, and the
    /// agent comes back.
    pub fn lose_records(&mut self) {
        self.sandboxes.clear();
        self.containers.clear();
        self.restart_agent();
    }

    /// The records of a container's ended instances are gone, as when they were collected.
    pub fn lose_records_of(&mut self, name: &str) {
        if let Some(idx) = self.plan.find(name) {
            self.containers.retain(|_, process| process.view.container != idx || is_running(&process.view));
        }
    }

    /// The agent dies and comes back. What it was about to do and had not done yet is not done.
    pub fn restart_agent(&mut self) {
        if self.finished.is_some() {
            return; // it would find nothing of the pod
        }
        self.open.clear();
        self.queue.retain(|_, event| matches!(event, Event::Exit { .. }));
        for process in self.containers.values_mut() {
            process.stops.clear();
        }
        self.lives += 1;
        (self.life_began, self.settled, self.death) = (self.said.len(), self.said.len(), None);
        let view = RuntimeView {
            sandboxes: self.sandboxes.clone(),
            containers: self.containers.values().map(|process| process.view.clone()).collect(),
        };
        let (plan, now, seed) = (self.plan.clone(), self.clock(), self.options.seed ^ self.lives);
        let from = Some((self.stored.clone(), view.clone()));
        self.log = Log { plan: plan.clone(), seed, begun: now, from, inputs: Vec::new() };
        self.machine = PodMachine::restore(plan, &self.stored, view, now, seed);
        self.options.longest_back_off.into_iter().for_each(|longest| self.machine.limit_back_off(longest));
        self.drain();
    }

    /// Lets the agent die so many moments from now, and come back. Moments are when it is about to hear of something
    /// and when it is about to do what it has decided; so this is between any two steps of its life. Its last statuses
    /// are not stored then, except for those that a removal of the sandbox has waited for.
    pub fn die_after(&mut self, moments: u32, behind: usize) {
        self.death = Some(Death { after: moments, behind });
    }

    /// Lets a moment pass. Returns whether the agent has died in it.
    fn dies(&mut self) -> bool {
        let Some(death) = &mut self.death else { return false };
        if let Some(after) = death.after.checked_sub(1) {
            death.after = after;
            return false;
        }
        let behind = death.behind;
        self.lose_statuses(behind);
        self.restart_agent();
        true
    }

    fn lose_statuses(&mut self, behind: usize) {
        let statuses = self.said.iter().enumerate().skip(self.life_began).rev();
        let mut statuses = statuses.filter_map(|(at, said)| match &said.output {
            Output::Status(status) => Some((at, status)),
            Output::Run { .. }
            | Output::Cancel(_)
            | Output::Event(_)
            | Output::Moment(_)
            | Output::Finished(_)
            | Output::Wait(_) => None,
        });
        let mut lost = 0;
        let stored = statuses.find(|(at, _)| {
            lost += 1;
            *at < self.settled || lost > behind
        });
        self.stored = match (stored, &self.log.from) {
            (Some((_, status)), _) => (**status).clone(),
            (None, Some((status, _))) => status.clone(),
            (None, None) => PodStatus::default(),
        };
    }

    fn clock(&self) -> Now {
        at(self.now, self.lives)
    }

    /// Hands over any input.
    pub fn tell(&mut self, input: Input) {
        if self.finished.is_some() || self.dies() {
            return;
        }
        let now = self.clock();
        self.log.inputs.push((now, input.clone()));
        self.machine.handle(now, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let output = self.machine.poll();
            if !matches!(output, Output::Wait(_)) && self.dies() {
                return;
            }
            match &output {
                Output::Wait(_) => return,
                Output::Run { id, effect } => {
                    let asked = (self.lives, *id);
                    self.open.insert(asked, effect.clone());
                    let delay = self.latency();
                    self.later(delay, Event::Act(asked));
                }
                Output::Cancel(id) => {
                    self.open.remove(&(self.lives, *id));
                }
                Output::Status(status) => self.stored = (**status).clone(),
                Output::Finished(outcome) => self.finished = Some(*outcome),
                Output::Event(_) | Output::Moment(_) => {}
            }
            self.said.push(Said { at: self.now, life: self.lives, output });
        }
    }

    fn latency(&mut self) -> Duration {
        if self.options.latency.is_zero() {
            return self.pace;
        }
        let most = u64::try_from(self.options.latency.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.chance() % most.saturating_add(1))
    }

    /// Returns a number that depends on the seed only (xorshift).
    fn chance(&mut self) -> u64 {
        let mut x = self.random | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        x
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.next += 1;
        self.queue.insert((self.now + delay, self.next), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Act(effect) => self.act(effect),
            Event::Answer(effect, result) => self.answer(effect, *result),
            Event::Exit { id, code, reason } => self.process_exits(&id, code, reason),
        }
    }

    fn answer(&mut self, asked: Asked, result: EffectResult) {
        if self.open.remove(&asked).is_some() {
            self.tell(Input::Done { effect: asked.1, result });
        }
    }

    fn act(&mut self, id: Asked) {
        let Some(effect) = self.open.get(&id).cloned() else { return };
        match effect {
            Effect::PrepareVolumes => {
                let result = self.fails_until(self.volumes_fail_until, "FailedMount", VOLUME_MESSAGE);
                self.answer(id, EffectResult::Volumes(result.map_err(|failure| vec![failure])));
            }
            Effect::CreateSandbox { attempt } => self.create_sandbox(id, attempt),
            Effect::StopSandbox { sandbox } => {
                self.sandboxes.iter_mut().filter(|view| view.id == sandbox).for_each(|view| view.ready = false);
                self.kill_sandbox(&sandbox);
                self.answer(id, EffectResult::Done);
            }
            Effect::RemoveSandbox { sandbox } => {
                self.settled = self.said.len();
                self.sandboxes.retain(|view| view.id != sandbox);
                self.containers.retain(|_, process| process.view.sandbox != sandbox);
                self.answer(id, EffectResult::Done);
            }
            Effect::EnsureImage { container, volume } => self.ensure_image(id, container, volume.as_deref()),
            Effect::CreateContainer { container, sandbox, attempt } => {
                self.create_container(id, container, sandbox, attempt);
            }
            Effect::StartContainer { container, id: instance } => self.start_container(id, container, &instance),
            Effect::RunHook { container, id: instance, hook, .. } => self.run_hook(id, container, &instance, hook),
            Effect::Probe { container, id: instance, probe } => self.probe(id, container, &instance, probe),
            Effect::StopContainer { container, id: instance, grace, .. } => {
                self.stop_container(id, container, &instance, grace);
            }
            Effect::Resize { containers, .. } => {
                let busy = containers.iter().map(|c| self.behaviour(c.container).resize_fails_until).max();
                let result = self.fails_until(busy.unwrap_or_default(), "ResizeError", BUSY);
                self.answer(id, EffectResult::Resized(result));
            }
            Effect::RemoveContainer { id: instance, .. } => {
                self.containers.remove(&instance);
                self.answer(id, EffectResult::Removed);
            }
            Effect::Cleanup => self.answer(id, EffectResult::Done),
        }
    }

    fn fails_until(&self, until: Duration, reason: &str, message: &str) -> Result<(), Failure> {
        if self.now >= until { Ok(()) } else { Err(failure(reason, message)) }
    }

    fn create_sandbox(&mut self, id: Asked, attempt: u32) {
        let result = self.fails_until(self.sandbox_fails_until, "FailedCreatePodSandBox", "no network").map(|()| {
            let host = u8::try_from(attempt % 200).unwrap_or_default() + 2;
            SandboxView {
                id: format!("sandbox-{attempt}-{}", self.next),
                attempt,
                ready: true,
                ips: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))],
                created_at: self.clock().wall,
            }
        });
        if let Ok(view) = &result {
            self.sandboxes.push(view.clone());
        }
        self.answer(id, EffectResult::Sandbox(result));
    }

    fn name(&self, container: ContainerIdx) -> String {
        self.plan.container(container).name().to_owned()
    }

    fn behaviour(&self, container: ContainerIdx) -> Behaviour {
        self.behaviours.get(self.plan.container(container).name()).cloned().unwrap_or_default()
    }

    fn ensure_image(&mut self, id: Asked, container: ContainerIdx, volume: Option<&str>) {
        let present = EffectResult::Image(Ok(PulledImage { pulled: None }));
        let name = volume.unwrap_or_else(|| self.plan.container(container).name());
        match self.behaviours.get(name).cloned().unwrap_or_default().image {
            ImageBehaviour::Present => self.answer(id, present),
            ImageBehaviour::Pulled(took) => {
                let result = EffectResult::Image(Ok(PulledImage { pulled: Some((took, 1000)) }));
                self.later(took, Event::Answer(id, Box::new(result)));
            }
            ImageBehaviour::Missing { until, .. } if until.is_some_and(|until| self.now >= until) => {
                self.answer(id, present);
            }
            ImageBehaviour::Missing { reason, .. } => {
                self.answer(id, EffectResult::Image(Err(failure(&reason, "no such image"))));
            }
        }
    }

    fn create_container(&mut self, effect: Asked, container: ContainerIdx, sandbox: String, attempt: u32) {
        if self.behaviour(container).config_error_until.is_some_and(|until| self.now < until) {
            let failed = failure("CreateContainerConfigError", "configmap \"c\" not found");
            return self.answer(effect, EffectResult::Created(Err(failed)));
        }
        let plan = self.plan.container(container);
        let id = format!("{}-{attempt}-{}", plan.name(), self.next);
        let view = ContainerView {
            container,
            id: id.clone(),
            sandbox,
            attempt,
            image: plan.image().to_owned(),
            image_id: format!("sha256:{}", plan.image()),
            spec_hash: plan.spec_hash(),
            created_at: self.clock().wall,
            user: Some(UserView { uid: 1000, gid: 0, groups: vec![0, 2000] }),
            state: ContainerViewState::Created,
        };
        self.containers.insert(id.clone(), Process { view, stops: BTreeSet::new() });
        self.answer(effect, EffectResult::Created(Ok(id)));
    }

    fn start_container(&mut self, effect: Asked, container: ContainerIdx, id: &str) {
        let behaviour = self.behaviour(container);
        let wall = self.clock().wall;
        let Some(process) = self.containers.get_mut(id) else {
            let failed = failure("RunContainerError", "no such container");
            return self.answer(effect, EffectResult::Started(Err(failed)));
        };
        if behaviour.start_error {
            process.view.state = exited(None, wall, 128, "StartError", START_ERROR);
            let failed = failure("RunContainerError", START_ERROR);
            return self.answer(effect, EffectResult::Started(Err(failed)));
        }
        process.view.state = ContainerViewState::Running { started_at: wall };
        let view = process.view.clone();
        let before = self.facts.iter();
        let before =
            before.filter(|fact| matches!(fact, Fact::Started { container: of, .. } if *of == container)).count();
        self.facts.push(Fact::Started { container, id: id.to_owned(), sandbox: view.sandbox.clone() });
        if let Some(time) = behaviour.run_for {
            let code = if before < behaviour.fails_first { 1 } else { behaviour.exit_code };
            let exit = Event::Exit { id: id.to_owned(), code, reason: behaviour.exit_reason };
            self.later(time, exit);
        }
        self.answer(effect, EffectResult::Started(Ok(view)));
    }

    fn run_hook(&mut self, effect: Asked, container: ContainerIdx, id: &str, kind: HookKind) {
        let behaviour = self.behaviour(container);
        let Hook { takes, ok } = if kind == HookKind::PostStart { behaviour.post_start } else { behaviour.pre_stop };
        let running = self.containers.get(id).is_some_and(|process| is_running(&process.view));
        let failed = HookOutcome::Failed { message: "hook failed".to_owned() };
        match takes {
            _ if !running => self.answer(effect, EffectResult::Hook(failed)),
            None => {}
            Some(takes) => {
                let outcome = if ok { HookOutcome::Succeeded } else { failed };
                self.later(takes, Event::Answer(effect, Box::new(EffectResult::Hook(outcome))));
            }
        }
    }

    fn probe(&mut self, effect: Asked, container: ContainerIdx, id: &str, kind: ProbeKind) {
        let behaviour = self.behaviour(container);
        let rule = match kind {
            ProbeKind::Startup => behaviour.startup,
            ProbeKind::Liveness => behaviour.liveness,
            ProbeKind::Readiness => behaviour.readiness,
        };
        let state = self.containers.get(id).map(|process| process.view.state.clone());
        let outcome = match state {
            Some(ContainerViewState::Running { started_at }) => {
                match rule.passes(self.clock().wall.since(started_at)) {
                    Some(true) => {
                        let warning = (rule == ProbeRule::Warns).then(|| "redirected".to_owned());
                        ProbeOutcome::Success { warning }
                    }
                    Some(false) => ProbeOutcome::Failure { output: String::new() },
                    None => ProbeOutcome::Error { message: "no such port".to_owned() },
                }
            }
            Some(_) | None => ProbeOutcome::Error { message: "container does not run".to_owned() },
        };
        if matches!(outcome, ProbeOutcome::Success { .. }) {
            self.facts.push(Fact::Passed { container, id: id.to_owned(), probe: kind });
        }
        self.answer(effect, EffectResult::Probe(outcome));
    }

    fn stop_container(&mut self, effect: Asked, container: ContainerIdx, id: &str, grace: Duration) {
        let behaviour = self.behaviour(container);
        if let Err(failed) = self.fails_until(behaviour.stop_fails_until, "StopError", "the runtime is busy") {
            return self.answer(effect, EffectResult::Stopped(Err(failed)));
        }
        let Some(process) = self.containers.get_mut(id).filter(|process| is_running(&process.view)) else {
            return self.answer(effect, EffectResult::Stopped(Ok(())));
        };
        process.stops.insert(effect);
        let id = id.to_owned();
        self.later(grace, Event::Exit { id: id.clone(), code: KILLED, reason: None });
        if let OnTerm::Exit { after, code } = behaviour.on_term {
            self.later(after, Event::Exit { id, code, reason: None });
        }
    }

    fn kill_sandbox(&mut self, sandbox: &str) {
        let inside = self.containers.values().map(|process| &process.view);
        let inside = inside.filter(|view| view.sandbox == sandbox && is_running(view));
        for id in inside.map(|view| view.id.clone()).collect::<Vec<_>>() {
            self.process_exits(&id, KILLED, None);
        }
    }

    fn process_exits(&mut self, id: &str, code: i32, reason: Option<String>) {
        let wall = self.clock().wall;
        let Some(process) = self.containers.get_mut(id) else { return };
        let ContainerViewState::Running { started_at } = process.view.state else { return };
        let behaviour = self.behaviours.get(self.plan.container(process.view.container).name());
        let (message, unseen) = behaviour.map(|b| (b.message.clone(), b.unseen)).unwrap_or_default();
        let reason = reason.unwrap_or_else(|| if code == 0 { "Completed" } else { "Error" }.to_owned());
        process.view.state = exited(Some(started_at), wall, code, &reason, &message);
        let view = process.view.clone();
        let stops = mem::take(&mut process.stops);
        let (container, sandbox) = (view.container, view.sandbox.clone());
        self.facts.push(Fact::Exited { container, id: id.to_owned(), sandbox, code, reason });
        if !unseen {
            self.tell(Input::Container(view));
        }
        for effect in stops {
            self.answer(effect, EffectResult::Stopped(Ok(())));
        }
    }

    /// Returns how a container is called, for transcripts.
    pub(super) fn name_of(&self, container: ContainerIdx) -> String {
        self.name(container)
    }
}

fn is_running(view: &ContainerView) -> bool {
    matches!(view.state, ContainerViewState::Running { .. })
}

fn exited(
    started_at: Option<Timestamp>,
    finished_at: Timestamp,
    exit_code: i32,
    reason: &str,
    message: &str,
) -> ContainerViewState {
    let (reason, message) = (reason.to_owned(), message.to_owned());
    ContainerViewState::Exited { started_at, finished_at, exit_code, reason, message }
}

fn failure(reason: &str, message: &str) -> Failure {
    Failure { reason: reason.to_owned(), message: message.to_owned() }
}

/// The present on both clocks. Each life of the agent has a monotonic clock of its own, which is ahead of the
/// world by a second for each.
fn at(now: Duration, lives: u64) -> Now {
    let nanos = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX - EPOCH);
    Now { mono: MonoTime(now + Duration::from_secs(lives)), wall: Timestamp(EPOCH + nanos) }
}

/// Wall-clock time of the beginning: 2026-01-01T00:00:00Z.
const EPOCH: i64 = 1_767_225_600_000_000_000;
/// Exit code of a process that was killed.
const KILLED: i32 = 137;
const START_ERROR: &str = "exec: \"/does-not-exist\": no such file or directory";
const BUSY: &str =
    "cannot decrease memory limits: attempting to set container \"app\" memory limit (1) below current usage (2)";
const VOLUME_MESSAGE: &str = "MountVolume.SetUp failed for volume \"v\" : configmap \"c\" not found";
