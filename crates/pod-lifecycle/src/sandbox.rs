//! The pod's environment: volumes and sandbox, how they come, are lost and go (contract S3.d).

use std::time::Duration;

use crate::{
    Effect, EventType, Failure, MomentKind, PodMachine, SandboxView,
    machine::{Life, Purpose},
    sync::{Active, ERROR_RETRY},
};

/// The sandbox, and those that were before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sandbox {
    pub(crate) state: SandboxState,
    /// Number of the next one (contract S3-50): it grows only after one existed.
    pub(crate) next_attempt: u32,
    /// Earlier ones, stopped but not removed yet.
    pub(crate) stale: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum SandboxState {
    /// There never was one.
    #[default]
    None,
    /// It can hold containers.
    Ready(SandboxView),
    /// It ended; nothing runs in it.
    Lost { view: SandboxView, stopped: bool },
}

impl Sandbox {
    pub(crate) fn ready(&self) -> Option<&SandboxView> {
        match &self.state {
            SandboxState::Ready(view) => Some(view),
            SandboxState::None | SandboxState::Lost { .. } => None,
        }
    }

    /// Returns the newest sandbox, usable or not.
    pub(crate) fn newest(&self) -> Option<&SandboxView> {
        match &self.state {
            SandboxState::None => None,
            SandboxState::Ready(view) | SandboxState::Lost { view, .. } => Some(view),
        }
    }

    pub(crate) fn adopt(&mut self, view: SandboxView) {
        self.next_attempt = self.next_attempt.max(view.attempt.saturating_add(1));
        if let Some(old) = self.newest().map(|old| old.id.clone()) {
            self.stale.push(old);
        }
        self.state = SandboxState::Ready(view);
    }
}

impl PodMachine {
    pub(crate) fn prepare_volumes(&mut self) {
        let effect = self.run(Effect::PrepareVolumes, Purpose::Volumes);
        self.job = Some(Active::Volumes(effect));
    }

    /// Volumes come before everything else (contract S2-02).
    pub(crate) fn volumes_prepared(&mut self, result: Result<(), Vec<Failure>>) {
        self.job = None;
        match result {
            Ok(()) => {
                self.volumes_ready = true;
                self.dirty = true;
            }
            Err(failures) => {
                for failure in failures {
                    self.event(None, EventType::Warning, "FailedMount", failure.message);
                }
                let delay = VOLUME_RETRY.saturating_mul(1 << self.volume_failures.min(8)).min(VOLUME_RETRY_MAX);
                self.volume_failures += 1;
                self.retry_in(delay);
            }
        }
    }

    pub(crate) fn create_sandbox(&mut self) {
        let attempt = self.sandbox.next_attempt;
        let effect = self.run(Effect::CreateSandbox { attempt }, Purpose::CreateSandbox);
        self.job = Some(Active::CreateSandbox(effect));
    }

    pub(crate) fn sandbox_created(&mut self, result: Result<SandboxView, Failure>) {
        self.job = None;
        match result {
            Ok(view) => {
                self.moment(view.created_at, None, MomentKind::SandboxReady);
                self.sandbox.adopt(view);
                // S5-31: published at once, not only with the next pass.
                self.publish();
            }
            Err(failure) => {
                let message = format!("Failed to create pod sandbox: {}", failure.message);
                self.event(None, EventType::Warning, "FailedCreatePodSandBox", message);
                self.agenda.clear();
                self.retry_in(ERROR_RETRY);
            }
        }
    }

    pub(crate) fn lose_sandbox(&mut self) {
        if let SandboxState::Ready(view) = &self.sandbox.state {
            self.sandbox.state = SandboxState::Lost { view: view.clone(), stopped: false };
            self.dirty = true;
        }
    }

    pub(crate) fn stop_sandbox(&mut self, sandbox: String) {
        self.run(Effect::StopSandbox { sandbox: sandbox.clone() }, Purpose::StopSandbox);
        self.job = Some(Active::StopSandbox(sandbox));
    }

    /// Whatever was in the sandbox is dead now. An exit that nobody has seen is lost (contract S3-59).
    pub(crate) fn sandbox_stopped(&mut self) {
        let Some(Active::StopSandbox(id)) = self.job.take() else { return };
        self.dirty = true;
        if let SandboxState::Ready(view) | SandboxState::Lost { view, .. } = &self.sandbox.state {
            self.sandbox.state = SandboxState::Lost { view: view.clone(), stopped: true };
        }
        let unseen = self.containers.iter().filter_map(|c| c.current.as_ref());
        let unseen = unseen.filter(|i| i.is_running() && i.view.sandbox == id);
        let lost: Vec<_> = unseen.map(|instance| instance.lost(self.now)).collect();
        for view in lost {
            self.observe(view);
        }
    }

    pub(crate) fn remove_sandbox(&mut self, sandbox: String) {
        self.run(Effect::RemoveSandbox { sandbox }, Purpose::Clearance);
        self.job = Some(Active::RemoveSandbox);
    }

    /// The last step; the pod's end waits for its answer as for every other.
    pub(crate) fn clean_up(&mut self) {
        self.run(Effect::Cleanup, Purpose::Clearance);
    }

    /// In a new sandbox the pod is initialised from the beginning (contract S3-51): what the init containers
    /// and sidecars have done in the old one does not count any more.
    pub(crate) fn forget_init_containers(&mut self) {
        for idx in self.plan.init_indices() {
            let container = &mut self.containers[idx.index()];
            container.retire();
            container.blocked = None;
        }
    }

    /// Has what failed tried again after this time; what failed first says when.
    pub(crate) fn retry_in(&mut self, delay: Duration) {
        self.retry_at.get_or_insert(self.now.mono + delay);
    }

    /// Returns whether the pod still wants what a running step is about to deliver.
    pub(crate) fn wants_more(&self) -> bool {
        self.life == Life::Active && self.delete_grace.is_none()
    }
}

/// First and longest time between two attempts to make the volumes ready (volume manager's
/// `exponentialbackoff`).
const VOLUME_RETRY: Duration = Duration::from_millis(500);
const VOLUME_RETRY_MAX: Duration = Duration::from_secs(122);
