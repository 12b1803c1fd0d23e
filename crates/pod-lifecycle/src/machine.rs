//! The machine's face: inputs are handed to those who know the rules, outputs are handed out.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use k8s_openapi::api::core::v1::{PodCondition, PodStatus};

use crate::{
    ContainerIdx, Deadline, Effect, EffectId, EffectResult, EventType, HookKind, Input, Moment, MomentKind, MonoTime,
    Now, Outcome, Output, PodEvent, PodPlan, PodUpdate, ProbeKind, Timer, Timestamp, Violation,
    container::Container,
    phase::Phase,
    resize::Resize,
    restart::{BackOff, MAX_DELAY},
    sandbox::Sandbox,
    status::{Shown, Verdict},
    stop_order::Kill,
    sync::{Active, Job},
};

/// Decides what one pod does next.
///
/// It works as the kubelet's pod worker does: one pass after the other, each of which publishes what is,
/// decides what to do about it, and does that step by step; then the next pass begins if anything has
/// changed. There is no period: what is to be done is done at once, and a pass that changes nothing is
/// followed by silence until the next input.
///
/// # Contract
///
/// After [`PodMachine::new`], [`PodMachine::restore`] and every [`PodMachine::handle`], call
/// [`PodMachine::poll`] until it returns [`Output::Wait`]; only then call `handle` again. Time never goes
/// back on the monotonic clock. Same plan and same inputs give the same outputs.
#[derive(Debug)]
pub struct PodMachine {
    pub(crate) plan: PodPlan,
    pub(crate) now: Now,
    pub(crate) life: Life,
    /// Shortest grace of all requests to delete the pod.
    pub(crate) delete_grace: Option<Duration>,
    /// When the pod was first acknowledged (contract S4-55).
    pub(crate) start_time: Timestamp,
    pub(crate) deadline_at: Option<MonoTime>,
    pub(crate) deadline_hit: bool,
    /// Reason and message that go with phase Failed.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) volumes_ready: bool,
    pub(crate) volume_failures: u32,
    pub(crate) sandbox: Sandbox,
    /// Containers in the plan's order.
    pub(crate) containers: Vec<Container>,
    /// Longest crash back-off of the node (contract S3-27).
    pub(crate) longest_back_off: Duration,
    /// Image pull back-off, by image.
    pub(crate) images: BTreeMap<String, (BackOff, MonoTime, String)>,
    /// What the pass going on has still to do.
    pub(crate) agenda: VecDeque<Job>,
    /// The step going on.
    pub(crate) job: Option<Active>,
    pub(crate) kills: BTreeMap<ContainerIdx, Kill>,
    /// Something has changed since the last pass began.
    pub(crate) dirty: bool,
    /// The pass has done something that its status does not show yet.
    pub(crate) acted: bool,
    pub(crate) retry_at: Option<MonoTime>,
    /// When those who have the pod killed for the node's sake stop waiting for it (contract S4-60).
    pub(crate) patience_ends: Option<MonoTime>,
    /// All containers are being restarted (contract S3-40).
    pub(crate) restarting_all: bool,
    pub(crate) resize: Resize,
    /// What the published status says of each container; refreshed when a pass begins and ends.
    pub(crate) shown: Vec<Shown>,
    pub(crate) published: PodStatus,
    pub(crate) foreign_conditions: Vec<PodCondition>,
    /// Whether the pod was initialised when it began to end.
    pub(crate) was_initialised: bool,
    pub(crate) effects: BTreeMap<EffectId, Purpose>,
    next_effect: u64,
    out: VecDeque<Output>,
    pub(crate) violations: Vec<Violation>,
}

/// Where the pod is in its life; it never goes back (contract S4-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Containers are started as the rules say.
    Active,
    /// Nothing is started any more; whatever runs is being stopped.
    Stopping,
    /// The terminal status is out; what is left on the node is being removed.
    Ended(Outcome),
    /// Nothing is left.
    Finished,
}

/// What an outstanding effect is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Volumes,
    CreateSandbox,
    StopSandbox,
    /// Removal of what is left of a pod that has ended.
    Clearance,
    Image(ContainerIdx),
    Create(ContainerIdx),
    Start(ContainerIdx),
    Hook(ContainerIdx, HookKind),
    Probe(ContainerIdx, ProbeKind),
    Stop(ContainerIdx),
    Resize,
    /// A restart of all containers waits for it.
    Remove,
}

impl PodMachine {
    /// Makes the machine of a pod that is new to this node. Its first outputs are ready to be polled.
    ///
    /// `seed` is for rules that need chance.
    pub fn new(plan: PodPlan, now: Now, seed: u64) -> Self {
        let _ = seed; // a new pod needs no chance; a restored one does
        let mut machine = Self::blank(plan, now);
        machine.settle();
        machine
    }

    /// Makes no crash back-off longer than this; the usual is five minutes (contract S3-27; kubelet
    /// `crashLoopBackOff.maxContainerRestartPeriod`). To be called before the first input.
    pub fn limit_back_off(&mut self, longest: Duration) {
        self.longest_back_off = longest;
    }

    /// Takes one input. Cannot fail: what cannot be is noted for [`PodMachine::check`] and changes nothing.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = Now { mono: self.now.mono.max(now.mono), wall: now.wall };
        if self.life == Life::Finished {
            return;
        }
        self.dispatch(input);
        self.fire_timers();
        self.settle();
        self.run_due_probes();
    }

    /// Hands out the next output; [`Output::Wait`] when there is none.
    pub fn poll(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| Output::Wait(self.deadline()))
    }

    /// Returns the status as it was last published.
    pub fn status(&self) -> PodStatus {
        self.published.clone()
    }

    /// Returns the plan in force.
    pub fn plan(&self) -> &PodPlan {
        &self.plan
    }

    pub(crate) fn blank(plan: PodPlan, now: Now) -> Self {
        let shown = plan.indices().map(|idx| Shown::never_ran(&plan, idx)).collect();
        let api_status = plan.pod.status.clone().unwrap_or_default();
        Self {
            now,
            life: Life::Active,
            delete_grace: plan.deletion_grace(),
            start_time: now.wall,
            deadline_at: plan.active_deadline.map(|deadline| now.mono + deadline),
            deadline_hit: false,
            verdict: None,
            volumes_ready: false,
            volume_failures: 0,
            sandbox: Sandbox::default(),
            containers: plan.indices().map(|_| Container::default()).collect(),
            longest_back_off: MAX_DELAY,
            images: BTreeMap::new(),
            agenda: VecDeque::new(),
            job: None,
            kills: BTreeMap::new(),
            dirty: true,
            acted: false,
            retry_at: None,
            patience_ends: None,
            restarting_all: false,
            resize: Resize::default(),
            shown,
            foreign_conditions: crate::conditions::foreign_conditions(
                api_status.conditions.as_deref().unwrap_or_default(),
            ),
            // Of what the API server wrote only the conditions' times are of use.
            published: PodStatus { conditions: api_status.conditions, ..PodStatus::default() },
            was_initialised: false,
            effects: BTreeMap::new(),
            next_effect: 0,
            out: VecDeque::new(),
            violations: Vec::new(),
            plan,
        }
    }

    fn dispatch(&mut self, input: Input) {
        match input {
            Input::Desired(update) => self.update(update),
            Input::Delete { grace } => self.delete(grace),
            Input::ShutDown { grace } => self.shut_down(grace),
            Input::Evict { message, grace, disruption } => self.evict(message, grace, disruption),
            Input::Container(view) => self.observe(view),
            Input::SandboxLost => self.lose_sandbox(),
            Input::Done { effect, result } => self.done(effect, result),
            Input::Timeout => {}
        }
    }

    fn done(&mut self, effect: EffectId, result: EffectResult) {
        let Some(purpose) = self.effects.remove(&effect) else {
            if effect.0 >= self.next_effect {
                self.violate(Violation::UnknownEffect { effect });
            }
            return;
        };
        match (purpose, result) {
            (Purpose::Volumes, EffectResult::Volumes(result)) => self.volumes_prepared(result),
            (Purpose::CreateSandbox, EffectResult::Sandbox(result)) => self.sandbox_created(result),
            (Purpose::StopSandbox, EffectResult::Done) => self.sandbox_stopped(),
            (Purpose::Clearance, EffectResult::Done) => self.job = None,
            (Purpose::Image(idx), EffectResult::Image(result)) => self.image_ensured(idx, result),
            (Purpose::Create(idx), EffectResult::Created(result)) => self.container_created(idx, result),
            (Purpose::Start(idx), EffectResult::Started(result)) => self.container_started(idx, result),
            (Purpose::Hook(idx, HookKind::PostStart), EffectResult::Hook(outcome)) => {
                self.post_start_ended(idx, outcome)
            }
            (Purpose::Hook(idx, HookKind::PreStop), EffectResult::Hook(outcome)) => {
                self.pre_stop_ended(idx, effect, &outcome);
            }
            (Purpose::Probe(idx, kind), EffectResult::Probe(outcome)) => self.probed(idx, kind, outcome),
            (Purpose::Stop(idx), EffectResult::Stopped(result)) => self.container_stopped(idx, result),
            (Purpose::Resize, EffectResult::Resized(result)) => self.resized(result),
            (Purpose::Remove, EffectResult::Removed | EffectResult::Done) => self.end_reset_if_over(),
            (purpose, result) => {
                self.effects.insert(effect, purpose);
                self.violate(Violation::WrongAnswer { effect, answer: format!("{result:?}") });
            }
        }
    }

    fn update(&mut self, update: PodUpdate) {
        if !update.plan.continues(&self.plan) {
            return self.violate(Violation::OtherPod { uid: update.plan.uid });
        }
        self.foreign_conditions = crate::conditions::foreign_conditions(&update.foreign_conditions);
        let told = update.plan.pod.status.clone().unwrap_or_default();
        let before = std::mem::replace(&mut self.plan, update.plan);
        self.set_deadline();
        for idx in self.plan.indices().skip(self.containers.len()).collect::<Vec<_>>() {
            self.containers.push(Container::default());
            self.shown.push(Shown::never_ran(&self.plan, idx));
        }
        match self.life {
            Life::Active => {
                self.note_resize(&before, update.pending);
                self.dirty = true;
                self.believe_end(told);
            }
            Life::Stopping => {
                self.believe_end(told);
                self.publish();
            }
            Life::Ended(_) | Life::Finished => {}
        }
    }

    /// The pod's active deadline is counted from its first acknowledgement (contract S4-55).
    pub(crate) fn set_deadline(&mut self) {
        let age = self.now.wall.since(self.start_time);
        self.deadline_at = self.plan.active_deadline.map(|deadline| self.now.mono + deadline.saturating_sub(age));
    }

    /// A pod that others have declared to be over is ended, and stays what it was declared to be (contract S4-02,
    /// S5-44; kubelet `pod_workers.go` `UpdatePod`).
    fn believe_end(&mut self, told: PodStatus) {
        let over = |status: &PodStatus| Phase::parse(status.phase.as_deref().unwrap_or_default()).outcome().is_some();
        if over(&told) && !over(&self.published) {
            self.published.phase = told.phase;
            (self.published.reason, self.published.message) = (told.reason, told.message);
            self.delete(self.plan.grace);
        }
    }

    /// Starts an effect.
    pub(crate) fn run(&mut self, effect: Effect, purpose: Purpose) -> EffectId {
        let id = EffectId(self.next_effect);
        self.next_effect += 1;
        self.effects.insert(id, purpose);
        self.out.push_back(Output::Run { id, effect });
        id
    }

    /// Gives an effect up; its answer is not awaited any more.
    pub(crate) fn cancel(&mut self, id: EffectId) {
        if self.effects.remove(&id).is_some() {
            self.out.push_back(Output::Cancel(id));
        }
    }

    pub(crate) fn say(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn event(
        &mut self,
        container: Option<ContainerIdx>,
        type_: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let event = PodEvent { type_, reason: reason.to_owned(), message: message.into(), container };
        self.out.push_back(Output::Event(event));
    }

    pub(crate) fn moment(&mut self, at: Timestamp, container: Option<ContainerIdx>, kind: MomentKind) {
        let instance = container.and_then(|idx| self.containers[idx.index()].current.as_ref());
        let attempt = instance.map_or(0, |instance| instance.view.attempt);
        self.out.push_back(Output::Moment(Moment { at, container, attempt, kind }));
    }

    pub(crate) fn violate(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    fn fire_timers(&mut self) {
        let now = self.now.mono;
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.dirty = true;
        }
        if self.deadline_at.is_some_and(|at| at <= now) {
            self.deadline_at = None;
            self.deadline_hit = true;
            self.dirty = true;
        }
        if self.patience_ends.is_some_and(|at| at <= now) {
            self.patience_ends = None;
            let text = "Container runtime did not kill the pod within specified grace period.";
            self.event(None, EventType::Warning, "ExceededGracePeriod", text);
        }
        for container in &mut self.containers {
            if container.wake.is_some_and(|(at, _)| at <= now) {
                container.wake = None;
                self.dirty = true;
            }
        }
        self.fire_kill_budgets();
    }

    /// Returns the earliest of all deadlines: what the machine waits for is read off its state.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let none = Vec::new();
        let of_pod = match self.life {
            Life::Active => vec![(self.retry_at, Timer::Retry), (self.deadline_at, Timer::ActiveDeadline)],
            Life::Stopping => vec![(self.retry_at, Timer::Retry)],
            Life::Ended(_) | Life::Finished => none,
        };
        let of_kill = self.patience_ends.map(|at| Deadline { at, why: Timer::KillPatience });
        let of_pod = of_pod.into_iter().filter_map(|(at, why)| Some(Deadline { at: at?, why }));
        let active = self.life == Life::Active;
        let wakes = self.containers.iter().filter(|_| active).filter_map(|c| c.wake);
        let wakes = wakes.map(|(at, why)| Deadline { at, why });
        of_pod.chain(of_kill).chain(wakes).chain(self.kill_deadlines()).chain(self.probe_deadlines()).min()
    }
}
