//! How containers are stopped: one shared clock, hooks at once, sidecars last and in reverse (contract S4;
//! kubelet `kuberuntime_container.go` `killContainer`, `kuberuntime_termination_order.go`).

use std::time::Duration;

use crate::{
    ContainerIdx, Deadline, Effect, EffectId, EventType, Failure, HookKind, HookOutcome, MomentKind, MonoTime,
    PodMachine, Role, StopReason, Timer,
    machine::{Life, Purpose},
    start::{StartStage, Starting},
    sync::{Active, ERROR_RETRY},
};

/// The stopping of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    /// What is left of the grace, in whole seconds (contract S4-16).
    left: Duration,
    reason: StopReason,
    stage: Stage,
    /// Its preStop hook, as long as it runs; it may outlive its time (contract S4-13).
    hook: Option<EffectId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its preStop hook runs.
    PreStop {
        since: MonoTime,
    },
    /// It waits for those that stop before it.
    Turn {
        since: MonoTime,
    },
    /// The runtime is stopping it.
    Stopping,
    /// The runtime says that it has ended, its exit was not seen yet.
    Reaping {
        until: MonoTime,
    },
    Dead,
    /// The runtime could not stop it (contract S4-28).
    Failed,
}

impl PodMachine {
    /// Stops all that runs, mains at once and sidecars in their turn (contract S4-18 to S4-27).
    pub(crate) fn kill_pod(&mut self) {
        let grace = self.pod_grace();
        let running: Vec<_> = self.plan.indices().filter(|idx| self.containers[idx.index()].is_running()).collect();
        // All are entered before any is begun: each must see whom it waits for.
        for &idx in &running {
            self.job = Some(Active::Killing);
            self.kills.insert(idx, Kill::new(grace, StopReason::PodEnds, self.now.mono));
        }
        for idx in running {
            let message = format!("Stopping container {}", self.plan.container(idx).name());
            self.begin_entered_kill(idx, message);
        }
    }

    /// Grace of a kill of the whole pod: while the pod is still active, the spec's (contract S4-06); when it
    /// ends, the shortest that was asked for, at least a second (contract S4-04).
    fn pod_grace(&self) -> Duration {
        match self.life {
            Life::Active => self.plan.grace,
            Life::Stopping | Life::Ended(_) | Life::Finished => {
                self.delete_grace.unwrap_or(self.plan.grace).max(MIN_POD_GRACE)
            }
        }
    }

    /// Begins to stop one container (contract S4-10). It waits for no other, since no other is stopped (contract
    /// S4-30, S4-31).
    pub(crate) fn begin_kill(&mut self, idx: ContainerIdx, grace: Duration, reason: StopReason, message: String) {
        self.kills.insert(idx, Kill::new(grace, reason, self.now.mono));
        self.begin_entered_kill(idx, message);
    }

    fn begin_entered_kill(&mut self, idx: ContainerIdx, message: String) {
        self.event(Some(idx), EventType::Normal, "Killing", message);
        let has_hook = self.plan.container(idx).hook(HookKind::PreStop).is_some();
        let grace = self.kills.get(&idx).map_or(Duration::ZERO, |kill| kill.left);
        let Some(id) = self.instance_id(idx) else { return };
        if has_hook && !grace.is_zero() {
            // The machine keeps the time: at its end the stop signal is sent, but the hook is not cut off.
            let effect = Effect::RunHook { container: idx, id, hook: HookKind::PreStop, limit: None };
            let effect = self.run(effect, Purpose::Hook(idx, HookKind::PreStop));
            self.moment(self.now.wall, Some(idx), MomentKind::HookStarted(HookKind::PreStop));
            if let Some(kill) = self.kills.get_mut(&idx) {
                kill.hook = Some(effect);
            }
        } else {
            self.take_turn(idx);
        }
    }

    pub(crate) fn pre_stop_ended(&mut self, idx: ContainerIdx, effect: EffectId, outcome: &HookOutcome) {
        let ok = *outcome == HookOutcome::Succeeded;
        self.moment(self.now.wall, Some(idx), MomentKind::HookEnded { hook: HookKind::PreStop, ok });
        if !ok {
            self.event(Some(idx), EventType::Warning, "FailedPreStopHook", "PreStopHook failed"); // S4-14
        }
        let now = self.now.mono;
        if let Some(kill) = self.kills.get_mut(&idx)
            && kill.hook == Some(effect)
        {
            kill.hook = None;
            if let Stage::PreStop { since } = kill.stage {
                kill.spend(now - since);
                self.take_turn(idx);
            }
        }
    }

    /// The hook is over or there was none: wait for those that go first, or stop.
    fn take_turn(&mut self, idx: ContainerIdx) {
        if self.may_stop(idx) {
            self.stop(idx);
        } else if let Some(kill) = self.kills.get_mut(&idx) {
            kill.stage = Stage::Turn { since: self.now.mono };
        }
    }

    /// Returns whether all that go before it have ended: for a sidecar every main, and the next sidecar
    /// after it (contract S4-20). What did not run when the kill began is not waited for (contract S4-19).
    fn may_stop(&self, idx: ContainerIdx) -> bool {
        if self.plan.container(idx).role != Role::Sidecar {
            return true; // S4-25: plain init containers take no part
        }
        let next = self.plan.sidecar_indices().find(|&other| other > idx);
        let mut before = self.plan.main_indices().chain(next);
        before.all(|other| self.kills.get(&other).is_none_or(|kill| kill.stage == Stage::Dead))
    }

    fn stop(&mut self, idx: ContainerIdx) {
        let Some(id) = self.instance_id(idx) else { return };
        let Some(kill) = self.kills.get_mut(&idx) else { return };
        kill.stage = Stage::Stopping;
        let reason = kill.reason;
        let grace = kill.left.max(MIN_SIGNAL_GRACE);
        self.run(Effect::StopContainer { container: idx, id, grace, reason }, Purpose::Stop(idx));
        self.moment(self.now.wall, Some(idx), MomentKind::StopSignal { reason });
    }

    pub(crate) fn container_stopped(&mut self, idx: ContainerIdx, result: Result<(), Failure>) {
        let until = self.now.mono + REAP_LIMIT;
        let Some(kill) = self.kills.get_mut(&idx).filter(|kill| kill.stage == Stage::Stopping) else { return };
        match result {
            Ok(()) => kill.stage = Stage::Reaping { until },
            Err(failure) => {
                kill.stage = Stage::Failed;
                let message = format!("error killing pod: {}", failure.message);
                self.event(None, EventType::Warning, "FailedKillPod", message);
                self.end_kills_if_over();
            }
        }
    }

    /// A container has ended, by itself or not.
    pub(crate) fn kill_saw_exit(&mut self, idx: ContainerIdx) {
        let Some(kill) = self.kills.get_mut(&idx) else { return };
        kill.stage = Stage::Dead;
        if let Some(hook) = kill.hook.take() {
            self.pre_stop_cut_off(idx, hook);
        }
        self.let_others_go();
        self.end_kills_if_over();
    }

    /// The container has ended under its preStop hook, or could not be stopped; a command inside it ends with that.
    fn pre_stop_cut_off(&mut self, idx: ContainerIdx, hook: EffectId) {
        self.cancel(hook);
        let is_exec = self.plan.container(idx).hook(HookKind::PreStop).is_some_and(|hook| hook.exec.is_some());
        self.moment(self.now.wall, Some(idx), MomentKind::HookEnded { hook: HookKind::PreStop, ok: !is_exec });
        if is_exec {
            self.event(Some(idx), EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
        }
    }

    fn let_others_go(&mut self) {
        let now = self.now.mono;
        let free: Vec<_> = self.kills.keys().copied().filter(|&idx| self.may_stop(idx)).collect();
        for idx in free {
            if let Some(kill) = self.kills.get_mut(&idx)
                && let Stage::Turn { since } = kill.stage
            {
                kill.spend(now - since);
                self.stop(idx);
            }
        }
    }

    fn end_kills_if_over(&mut self) {
        let over = self.kills.values().all(|kill| matches!(kill.stage, Stage::Dead | Stage::Failed));
        if !over {
            return;
        }
        let kills = std::mem::take(&mut self.kills);
        let failed = kills.values().any(|kill| kill.stage == Stage::Failed);
        if failed {
            // The next attempt runs them again; nobody waits for these any more.
            let hooks = kills.into_iter().filter_map(|(idx, kill)| Some((idx, kill.hook?)));
            hooks.for_each(|(idx, hook)| self.pre_stop_cut_off(idx, hook));
            self.abort_pass();
            self.retry_in(ERROR_RETRY);
        }
        if let Some(Active::Starting(Starting { container, stage: StartStage::HookKill(failure) })) = self.job.take() {
            self.start_failed(container, failure);
        }
    }

    /// Budgets that are used up: a hook's time, the wait for one's turn (contract S4-12, S4-23), the wait for
    /// an exit.
    pub(crate) fn fire_kill_budgets(&mut self) {
        let now = self.now.mono;
        let due: Vec<_> = self.kill_deadlines().filter(|deadline| deadline.at <= now).map(|d| d.why).collect();
        for timer in due {
            if let Timer::KillBudget(idx) = timer {
                self.kill_budget_spent(idx);
            }
        }
    }

    fn kill_budget_spent(&mut self, idx: ContainerIdx) {
        let Some(kill) = self.kills.get_mut(&idx) else { return };
        match kill.stage {
            Stage::PreStop { .. } | Stage::Turn { .. } => {
                kill.left = Duration::ZERO;
                self.stop(idx);
            }
            Stage::Reaping { .. } => {
                let lost = self.containers[idx.index()].current.as_ref().map(|instance| instance.lost(self.now));
                if let Some(view) = lost {
                    self.observe(view);
                }
            }
            Stage::Stopping | Stage::Dead | Stage::Failed => {}
        }
    }

    pub(crate) fn kill_deadlines(&self) -> impl Iterator<Item = Deadline> {
        self.kills.iter().filter_map(|(&idx, kill)| {
            let at = match kill.stage {
                Stage::PreStop { since } | Stage::Turn { since } => since + kill.left,
                Stage::Reaping { until } => until,
                Stage::Stopping | Stage::Dead | Stage::Failed => return None,
            };
            Some(Deadline { at, why: Timer::KillBudget(idx) })
        })
    }

    pub(crate) fn instance_id(&self, idx: ContainerIdx) -> Option<String> {
        self.containers[idx.index()].current.as_ref().map(|instance| instance.view.id.clone())
    }
}

impl Kill {
    fn new(grace: Duration, reason: StopReason, now: MonoTime) -> Self {
        let left = Duration::from_secs(grace.as_secs());
        Self { left, reason, stage: Stage::PreStop { since: now }, hook: None }
    }

    /// Takes off what has passed, in whole seconds, in the container's favour (contract S4-16).
    fn spend(&mut self, elapsed: Duration) {
        self.left = self.left.saturating_sub(Duration::from_secs(elapsed.as_secs()));
    }
}

/// Shortest time between stop signal and SIGKILL (contract S4-12; `minimumGracePeriodInSeconds`).
const MIN_SIGNAL_GRACE: Duration = Duration::from_secs(2);
/// Shortest grace of a pod that ends (contract S4-04).
const MIN_POD_GRACE: Duration = Duration::from_secs(1);
/// How long an exit may take to be reported after the runtime has said that the container is stopped. It
/// comes with the answer; the limit only keeps a lost report from holding the pod for ever.
const REAP_LIMIT: Duration = Duration::from_secs(10);
