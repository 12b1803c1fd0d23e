//! One pass of the pod worker: publish, decide, act step by step (contract S2-01; kubelet `SyncPod`,
//! `SyncTerminatingPod`, `SyncTerminatedPod`).
//!
//! Steps are taken one after the other, as the kubelet takes them: a start with a slow pull or a postStart
//! hook, and a kill with a long grace, hold back every other step of the same pod (contract S2-08, S2-11,
//! S2-29). What the status says of containers is refreshed between passes only, so that a step's
//! intermediate states are not seen (contract S5-13).

use std::time::Duration;

use crate::{
    ContainerIdx, EffectId, EventType, MonoTime, Outcome, Output, PodMachine, ProbeKind, Role, StopReason, Violation,
    evict, machine::Life, phase::Phase, resize, sandbox::SandboxState, start::StartStage, start::Starting,
    status::Verdict,
};

/// A step that is still to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    PrepareVolumes,
    /// Stop whatever runs, in order.
    KillPod,
    /// Stop one container.
    Kill {
        container: ContainerIdx,
        grace: Duration,
        reason: StopReason,
        message: String,
    },
    StopSandbox(String),
    ForgetInitContainers,
    CreateSandbox,
    Start {
        container: ContainerIdx,
        /// End of the instance that the crash back-off looks at (contract S3-30).
        last_exit: Option<MonoTime>,
    },
    /// Change limits of what runs.
    Resize,
    /// Remove every instance, to restart all containers.
    RemoveAll,
    RemoveSandbox(String),
    Cleanup,
}

/// The step going on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Active {
    Volumes(EffectId),
    CreateSandbox(EffectId),
    StopSandbox(String),
    RemoveSandbox,
    Starting(Starting),
    Killing,
    Resizing(Vec<resize::Target>),
    Resetting,
}

impl PodMachine {
    /// Goes on until there is something to wait for.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MAX_STEPS {
            if self.job.is_some() {
                return;
            }
            if let Some(job) = self.agenda.pop_front() {
                self.begin(job);
            } else if !self.pass() {
                return;
            }
        }
        self.violate(Violation::Restless);
    }

    fn begin(&mut self, job: Job) {
        match job {
            Job::PrepareVolumes => self.prepare_volumes(),
            Job::KillPod => self.kill_pod(),
            Job::Kill { container, grace, reason, message } => {
                if self.containers[container.index()].is_running() {
                    self.job = Some(Active::Killing);
                    self.begin_kill(container, grace, reason, message);
                }
            }
            Job::StopSandbox(id) => self.stop_sandbox(id),
            Job::ForgetInitContainers => self.forget_init_containers(),
            Job::CreateSandbox => self.create_sandbox(),
            Job::Start { container, last_exit } => self.begin_start(container, last_exit),
            Job::Resize => self.begin_resize(),
            Job::RemoveAll => self.remove_all(),
            Job::RemoveSandbox(id) => self.remove_sandbox(id),
            Job::Cleanup => self.clean_up(),
        }
    }

    /// Decides what to do next. Returns whether there is anything.
    fn pass(&mut self) -> bool {
        match self.life {
            Life::Active if self.delete_grace.is_some() => {
                // Judged by what the API was told last, as the kubelet judges it.
                let was_initialised = self.has_initialised();
                self.refresh();
                self.terminate();
                self.was_initialised = was_initialised;
                true
            }
            Life::Active => self.sync(),
            Life::Stopping => self.try_to_end(),
            Life::Ended(outcome) => {
                // Answers that are still owed are waited for, so that the executor ends with a clean table.
                if self.effects.is_empty() {
                    self.life = Life::Finished;
                    self.say(Output::Finished(outcome));
                }
                false
            }
            Life::Finished => false,
        }
    }

    fn sync(&mut self) -> bool {
        if !self.dirty {
            if std::mem::take(&mut self.acted) {
                self.refresh();
                self.publish();
            }
            return false;
        }
        self.dirty = false;
        self.retry_at = None;
        self.judge_deadline();
        self.judge_restart_all();
        self.judge_resize();
        self.refresh();
        if self.computed_phase(false).outcome().is_some() {
            self.terminate();
            return true;
        }
        self.publish();
        self.agenda = self.actions().into();
        if self.agenda.is_empty() && self.sandbox.ready().is_none() {
            // S3-52: the pod is killed. Kubernetes leaves one that has containers that never ran as it is, for
            // ever; there is nothing to be gained from that.
            self.terminate();
            return true;
        }
        self.acted = !self.agenda.is_empty();
        self.acted
    }

    /// The pod's active deadline makes it fail (contract S4-54; kubelet `active_deadline.go`).
    fn judge_deadline(&mut self) {
        if self.deadline_hit {
            self.verdict =
                Some(Verdict { reason: "DeadlineExceeded", message: DEADLINE_MESSAGE.to_owned(), disruption: false });
            self.event(None, EventType::Normal, "DeadlineExceeded", DEADLINE_MESSAGE);
        }
    }

    /// Takes note that the node shuts down (contract S4-59; kubelet `nodeshutdown_manager.go`). A pod that ends anyway
    /// ends as it would.
    pub(crate) fn shut_down(&mut self, grace: Duration) {
        self.expect_kill_within(grace);
        if self.wants_more() {
            let verdict = Verdict { reason: SHUTDOWN, message: SHUTDOWN_MESSAGE.to_owned(), disruption: true };
            self.verdict = Some(verdict);
            self.delete(grace);
        }
    }

    /// Goes on with what an earlier agent had begun for the node's sake: a pod that ends does so for good (contract
    /// S4-01).
    pub(crate) fn resume_ending(&mut self, message: String) {
        let shut_down = message == SHUTDOWN_MESSAGE;
        let (reason, grace) =
            if shut_down { (SHUTDOWN, self.plan.grace) } else { (evict::REASON, evict::EVICTION_GRACE) };
        self.verdict = Some(Verdict { reason, message, disruption: true });
        self.delete_grace = Some(self.delete_grace.map_or(grace, |old| old.min(grace)));
    }

    /// Takes note that the pod is to end (contract S4-02). Steps that may last are given up; those that
    /// change the world at once are waited for. A kill going on keeps its grace (contract S4-05).
    pub(crate) fn delete(&mut self, grace: Duration) {
        self.delete_grace = Some(self.delete_grace.map_or(grace, |old| old.min(grace)));
        if self.life != Life::Active {
            return;
        }
        self.agenda.clear();
        let given_up = match &self.job {
            Some(Active::Volumes(effect)) => Some(*effect),
            Some(Active::Starting(starting)) => match starting.stage {
                StartStage::Image { effect, .. } | StartStage::PostStart(effect) => Some(effect),
                StartStage::Create | StartStage::HookKill(_) => None,
            },
            Some(
                Active::CreateSandbox(_)
                | Active::StopSandbox(_)
                | Active::RemoveSandbox
                | Active::Killing
                | Active::Resizing(_)
                | Active::Resetting,
            )
            | None => None,
        };
        if let Some(effect) = given_up {
            self.cancel(effect);
            self.job = None;
        }
    }

    /// From here on nothing is started any more. Expects the shown states to be fresh.
    fn terminate(&mut self) {
        self.life = Life::Stopping;
        self.was_initialised = self.has_initialised();
        self.retry_at = None;
        // S4-61: liveness and startup of mains stop now; readiness goes on.
        for idx in self.plan.main_indices() {
            for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
                self.stop_probe(idx, kind);
            }
        }
        if self.anything_running() {
            self.publish();
        }
    }

    /// What ends all that runs.
    fn kill_actions(&self) -> Vec<Job> {
        let jobs = self.stop_lost_sandbox();
        if jobs.is_empty() { vec![Job::KillPod] } else { jobs }
    }

    fn try_to_end(&mut self) -> bool {
        if !self.anything_running() {
            self.end();
            return true;
        }
        if self.retry_at.is_some() {
            return false; // A kill has failed; the timer brings the next attempt.
        }
        self.agenda = self.kill_actions().into();
        true
    }

    /// Nothing runs any more: the terminal status goes out, then the rest is removed (contract S4-44, S4-45).
    fn end(&mut self) {
        self.patience_ends = None;
        self.refresh();
        let computed = self.computed_phase(true);
        // S4-43: a pod that never got that far has failed.
        let outcome = computed.outcome().unwrap_or(Outcome::Failed);
        self.life = Life::Ended(outcome);
        let conditions = self.conditions(computed);
        self.mark_unlocated();
        let phase = if outcome == Outcome::Succeeded { Phase::Succeeded } else { Phase::Failed };
        self.publish_as(phase, conditions);
        self.plan_removal();
    }

    fn plan_removal(&mut self) {
        let newest = match &self.sandbox.state {
            SandboxState::None => None,
            SandboxState::Ready(view) | SandboxState::Lost { view, stopped: false } => {
                self.agenda.push_back(Job::StopSandbox(view.id.clone()));
                Some(view.id.clone())
            }
            SandboxState::Lost { view, stopped: true } => Some(view.id.clone()),
        };
        let all = std::mem::take(&mut self.sandbox.stale).into_iter().chain(newest);
        self.agenda.extend(all.map(Job::RemoveSandbox));
        self.agenda.push_back(Job::Cleanup);
    }

    pub(crate) fn anything_running(&self) -> bool {
        self.containers.iter().any(crate::container::Container::is_running)
    }

    /// Ends a pass early: the rest of its steps is not taken.
    pub(crate) fn abort_pass(&mut self) {
        self.agenda.clear();
    }

    /// Returns whether the pod has been initialised at some time, judged by its status (kubelet
    /// `status_manager.go` `hasPodInitialized`).
    fn has_initialised(&self) -> bool {
        let Some(last) = self.plan.init_indices().next_back() else { return true };
        if self.plan.main_indices().any(|idx| self.shown[idx.index()].ever_left_waiting()) {
            return true;
        }
        let shown = &self.shown[last.index()];
        match self.plan.container(last).role {
            Role::Sidecar => self.shown_started(last),
            Role::Init | Role::Main | Role::Ephemeral => shown.ever_succeeded(),
        }
    }
}

/// How long a step that failed is left alone (contract S3-32; kubelet `backOffPeriod`).
pub(crate) const ERROR_RETRY: Duration = Duration::from_secs(10);
/// More steps than any pod can take without an answer from outside.
const MAX_STEPS: usize = 10_000;
const SHUTDOWN: &str = "Terminated";
const SHUTDOWN_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";
