//! What a pass has to do: who is started, who is stopped, or whether the pod is done (contract S2, S3;
//! kubelet `kuberuntime_manager.go` `computePodActions`, `kuberuntime_container.go`
//! `computeInitContainerActions`).

use std::time::Duration;

use crate::{
    ContainerIdx, ContainerPlan, EventType, PodMachine, ProbeKind, RestartPolicy, Role, StopReason,
    container::{Container, Instance},
    probe::Verdict,
    restart,
    sandbox::SandboxState,
    sync::Job,
};

/// What the init containers and sidecars need.
#[derive(Debug, Default)]
struct InitActions {
    kills: Vec<Job>,
    starts: Vec<ContainerIdx>,
    /// Whether main containers may be looked at.
    initialised: bool,
}

impl PodMachine {
    /// Decides the steps of a pass.
    pub(crate) fn actions(&mut self) -> Vec<Job> {
        if !self.volumes_ready {
            return vec![Job::PrepareVolumes];
        }
        if self.sandbox.ready().is_none() {
            return self.sandbox_actions();
        }
        if self.restarting_all {
            return self.restart_all_actions();
        }
        let mut init = self.init_actions();
        let mut main_starts = Vec::new();
        if init.initialised {
            let (kills, starts, kept) = self.main_actions();
            if !kept && starts.is_empty() {
                // S3-05, S4-03: the pod is done; sidecars are not restarted any more.
                return vec![Job::KillPod];
            }
            init.kills.extend(kills);
            main_starts = starts;
        }
        // S2-01, S2-23: whether the pod is initialised or not.
        let ephemeral = self.plan.ephemeral_indices().filter(|&idx| self.should_start(idx));
        let starts = |indices: Vec<ContainerIdx>| indices.into_iter().map(|idx| self.start_job(idx));
        let restarts = |job: &Job| matches!(job, Job::Kill { reason: StopReason::Resize, .. });
        let resize = (self.wants_resize() || init.kills.iter().any(restarts)).then_some(Job::Resize);
        let first = starts(ephemeral.chain(init.starts).collect());
        init.kills.into_iter().chain(first).chain(resize).chain(starts(main_starts)).collect()
    }

    fn start_job(&self, container: ContainerIdx) -> Job {
        let state = &self.containers[container.index()];
        let last_exit = state.newest_dead().and_then(|instance| instance.finished).or(state.reset_exit);
        Job::Start { container, last_exit }
    }

    /// There is no usable sandbox (contract S3-50 to S3-53). What ran in a lost one has ended with it.
    fn sandbox_actions(&mut self) -> Vec<Job> {
        let mut jobs = self.stop_lost_sandbox();
        if self.gets_no_other_sandbox() {
            return jobs;
        }
        if self.sandbox.newest().is_some() {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.event(None, EventType::Normal, "SandboxChanged", message);
        }
        jobs.extend([Job::ForgetInitContainers, Job::CreateSandbox]);
        // S3-53: with init entries the pod starts from the first of them, mains are looked at later.
        match self.plan.init_indices().next() {
            Some(first) => jobs.push(self.start_job(first)),
            None => {
                let mains = self.plan.main_indices().filter(|&idx| !self.has_succeeded_for_good(idx));
                jobs.extend(mains.map(|idx| self.start_job(idx)));
            }
        }
        jobs
    }

    pub(crate) fn stop_lost_sandbox(&self) -> Vec<Job> {
        match &self.sandbox.state {
            SandboxState::Lost { view, stopped: false } => vec![Job::StopSandbox(view.id.clone())],
            SandboxState::Lost { stopped: true, .. } | SandboxState::None | SandboxState::Ready(_) => Vec::new(),
        }
    }

    /// Returns whether the pod has had its last sandbox (contract S3-52): under policy Never once anything
    /// was started, otherwise when its mains are done.
    fn gets_no_other_sandbox(&self) -> bool {
        let existed = self.containers.iter().any(|container| container.next_attempt > 0);
        self.plan.restart_policy == RestartPolicy::Never && existed
            || self.plan.main_indices().all(|idx| self.has_succeeded_for_good(idx))
    }

    fn has_succeeded_for_good(&self, idx: ContainerIdx) -> bool {
        let succeeded = self.containers[idx.index()].exit().is_some_and(|exit| exit.exit_code == 0);
        succeeded && self.plan.restart_policy == RestartPolicy::OnFailure
    }

    pub(crate) fn any_main_created(&self) -> bool {
        self.plan.main_indices().any(|idx| self.containers[idx.index()].current.is_some())
    }

    /// Scans from the last init entry to the first and trusts the latest evidence (contract S2-16).
    fn init_actions(&self) -> InitActions {
        let mut actions = InitActions { initialised: self.plan.init_count() == 0, ..InitActions::default() };
        let last = self.plan.init_count().saturating_sub(1);
        // S2-17: a main that is created or running proves that the pod was initialised; one that has exited
        // or belongs to an older sandbox does not.
        let mut initialised_before = self.plan.main_indices().any(|idx| self.is_alive_in_sandbox(idx));
        actions.initialised |= initialised_before;
        for idx in self.plan.init_indices().rev() {
            let plan = self.plan.container(idx);
            let container = &self.containers[idx.index()];
            let Some(instance) = &container.current else {
                // S2-18
                if initialised_before && plan.role == Role::Sidecar {
                    actions.starts.push(idx);
                }
                continue;
            };
            if initialised_before && plan.role == Role::Init {
                continue; // S2-24
            }
            let done = match plan.role {
                Role::Sidecar => self.sidecar_done(idx, plan, container, instance, &mut actions),
                Role::Init | Role::Main | Role::Ephemeral => Self::init_done(idx, instance, &mut actions),
            };
            if done && idx.index() == last {
                actions.initialised = true;
            } else if done && !initialised_before {
                actions.starts.push(ContainerIdx(idx.index() + 1)); // S2-09
            }
            initialised_before = true;
        }
        if !initialised_before && self.plan.init_count() > 0 {
            actions.starts.push(ContainerIdx(0));
        }
        // S2-15: the scan went backwards, starts go forwards.
        actions.starts.sort_unstable();
        actions
    }

    /// Looks at a plain init container: whether it has let the next one go (contract S2-04). One that has failed for
    /// good is not looked at: the pod has failed with it (contract S3-04).
    fn init_done(idx: ContainerIdx, instance: &Instance, actions: &mut InitActions) -> bool {
        let done = instance.exit().is_some_and(|exit| !exit.is_init_failure());
        if !done && !instance.is_running() {
            actions.starts.push(idx); // S3-03, S3-06
        }
        done
    }

    /// Looks at a sidecar: whether it has started (contract S2-06), and whether it is to be restarted.
    fn sidecar_done(
        &self,
        idx: ContainerIdx,
        plan: &ContainerPlan,
        container: &Container,
        instance: &Instance,
        actions: &mut InitActions,
    ) -> bool {
        if !instance.is_running() {
            actions.starts.push(idx); // S3-02, S3-06
            return false;
        }
        let verdict = |kind| container.probes.verdict_on(kind, instance);
        if plan.startup.is_some() && verdict(ProbeKind::Startup) != Some(Verdict::Success) {
            // S2-07, S2-19
            if verdict(ProbeKind::Startup) == Some(Verdict::Failure) {
                actions.restart(idx, self.kill_job(idx, StopReason::Startup, false));
            }
            return false;
        }
        if instance.view.spec_hash != plan.spec_hash() {
            actions.restart(idx, self.kill_job(idx, StopReason::DefinitionChanged, false)); // S2-25
        } else if verdict(ProbeKind::Liveness) == Some(Verdict::Failure) {
            actions.restart(idx, self.kill_job(idx, StopReason::Liveness, false)); // S2-20
        } else if self.resize_restarts(idx) {
            actions.restart(idx, self.kill_job(idx, StopReason::Resize, false)); // S8-07
        }
        true
    }

    /// Looks at the main containers. Returns whom to kill, whom to start, and whether any is kept.
    fn main_actions(&self) -> (Vec<Job>, Vec<ContainerIdx>, bool) {
        let (mut kills, mut starts, mut kept) = (Vec::new(), Vec::new(), false);
        for idx in self.plan.main_indices() {
            let plan = self.plan.container(idx);
            let container = &self.containers[idx.index()];
            let Some(instance) = container.current.as_ref().filter(|i| i.is_running()) else {
                if self.should_start(idx) {
                    starts.push(idx);
                }
                continue;
            };
            let (reason, restart) = if instance.view.spec_hash != plan.spec_hash() {
                (StopReason::DefinitionChanged, true) // S2-25: under every policy
            } else if container.probes.verdict_on(ProbeKind::Liveness, instance) == Some(Verdict::Failure) {
                (StopReason::Liveness, restart::restarts_after_probe(plan))
            } else if container.probes.verdict_on(ProbeKind::Startup, instance) == Some(Verdict::Failure) {
                (StopReason::Startup, restart::restarts_after_probe(plan))
            } else if self.resize_restarts(idx) {
                (StopReason::Resize, true) // S8-07
            } else {
                kept = true;
                continue;
            };
            if restart {
                starts.push(idx);
            }
            kills.push(self.kill_job(idx, reason, restart));
        }
        (kills, starts, kept)
    }

    fn is_alive_in_sandbox(&self, idx: ContainerIdx) -> bool {
        let sandbox = self.sandbox.ready().map(|view| view.id.as_str());
        let current = self.containers[idx.index()].current.as_ref();
        current.is_some_and(|instance| !instance.is_dead() && Some(instance.view.sandbox.as_str()) == sandbox)
    }

    /// Returns whether a container that does not run is to be started (kubelet `ShouldContainerBeRestarted`).
    pub(crate) fn should_start(&self, idx: ContainerIdx) -> bool {
        if self.delete_grace.is_some() {
            return false; // S3-07
        }
        let container = &self.containers[idx.index()];
        if self.plan.container(idx).role == Role::Ephemeral {
            return container.next_attempt == 0; // S2-23
        }
        match &container.current {
            None => true,
            Some(instance) if instance.is_running() => false,
            Some(instance) => match instance.exit() {
                None => true, // S3-06
                Some(exit) => restart::should_restart(self.plan.container(idx), exit.exit_code),
            },
        }
    }

    /// Builds the step that stops one container; grace as in contract S4-11, texts as in S12-08.
    fn kill_job(&self, idx: ContainerIdx, reason: StopReason, restart: bool) -> Job {
        let plan = self.plan.container(idx);
        let what = match reason {
            StopReason::Liveness => " failed liveness probe",
            StopReason::Startup => " failed startup probe",
            StopReason::DefinitionChanged => " definition changed",
            StopReason::Resize => " resize requires restart",
            StopReason::PodEnds | StopReason::PostStartHook | StopReason::RestartAll => "",
        };
        let of_init = plan.role == Role::Sidecar && reason != StopReason::Resize;
        let kind = if of_init { "Init container" } else { "Container" };
        let suffix = if restart && reason != StopReason::Resize { ", will be restarted" } else { "" };
        let message = format!("{kind} {}{what}{suffix}", plan.name());
        Job::Kill { container: idx, grace: self.single_kill_grace(idx, reason), reason, message }
    }

    fn single_kill_grace(&self, idx: ContainerIdx, reason: StopReason) -> Duration {
        let plan = self.plan.container(idx);
        let of_probe = match reason {
            StopReason::Liveness => plan.liveness.as_ref().and_then(|probe| probe.grace),
            StopReason::Startup => plan.startup.as_ref().and_then(|probe| probe.grace),
            StopReason::PodEnds
            | StopReason::PostStartHook
            | StopReason::DefinitionChanged
            | StopReason::Resize
            | StopReason::RestartAll => None,
        };
        of_probe.unwrap_or(self.plan.grace)
    }
}

impl InitActions {
    fn restart(&mut self, idx: ContainerIdx, kill: Job) {
        self.kills.push(kill);
        self.starts.push(idx);
    }
}
