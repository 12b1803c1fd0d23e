//! How a machine is rebuilt after an agent restart, without a journal of its own (contract S3-55 to S3-59).
//!
//! Three things are there: the plan, the status that was last written, and what the runtime has. Back-off is
//! forgotten (contract S3-28); a kill that was going on begins anew.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, LinuxContainerUser, PodStatus};

use crate::{
    ContainerIdx, ContainerView, Now, PodMachine, PodPlan, Role, RuntimeView, SandboxView, Timestamp, UserView,
    conditions,
    container::{Exit, Instance},
    phase::Phase,
    probe::Seen,
    resize::Resize,
    sandbox::SandboxState,
    status::{ID_SCHEME, Shown, ShownState, container_id},
};

impl PodMachine {
    /// Rebuilds the machine of a pod that an earlier life of the agent has begun with.
    pub fn restore(plan: PodPlan, last: &PodStatus, seen: RuntimeView, now: Now, seed: u64) -> Self {
        let mut machine = Self::blank(plan, now);
        if let Some(start_time) = &last.start_time {
            machine.start_time = Timestamp::from_k8s(start_time);
            machine.set_deadline();
        }
        machine.foreign_conditions = conditions::foreign_conditions(last.conditions.as_deref().unwrap_or_default());
        let has_ended = Phase::parse(last.phase.as_deref().unwrap_or_default()).outcome().is_some();
        let disruption = conditions::disruption(last.conditions.as_deref().unwrap_or_default());
        if let Some(message) = disruption.filter(|_| !has_ended) {
            machine.resume_ending(message);
        }
        // S3-44
        let restarting = last.conditions.iter().flatten().find(|c| c.type_ == conditions::RESTARTING_ALL);
        machine.restarting_all = restarting.is_some_and(|condition| condition.status == "True");
        machine.resize = Resize::restore(&machine.plan, last.conditions.as_deref().unwrap_or_default());
        machine.published = last.clone();
        machine.adopt_sandboxes(seen.sandboxes);
        // A sandbox there was, even if its record is gone: the next one has another number (contract S3-50).
        let ran = machine
            .plan
            .indices()
            .filter_map(|idx| machine.last_status_of(idx, last))
            .any(|s| s.container_id.is_some());
        machine.sandbox.next_attempt = machine.sandbox.next_attempt.max(u32::from(ran));
        for idx in machine.plan.indices().collect::<Vec<_>>() {
            let views = seen.containers.iter().filter(|view| view.container == idx).cloned().collect();
            let old = machine.last_status_of(idx, last);
            machine.restore_container(idx, views, old.as_ref(), seed);
        }
        machine.refresh();
        machine.publish();
        machine.settle();
        machine
    }

    fn adopt_sandboxes(&mut self, mut sandboxes: Vec<SandboxView>) {
        sandboxes.sort_by_key(|view| (view.attempt, view.created_at));
        for view in sandboxes {
            let ready = view.ready;
            self.sandbox.adopt(view.clone());
            if !ready {
                self.sandbox.state = SandboxState::Lost { view, stopped: false };
            }
        }
    }

    fn last_status_of(&self, idx: ContainerIdx, last: &PodStatus) -> Option<ContainerStatus> {
        let plan = self.plan.container(idx);
        let list = match plan.role {
            Role::Init | Role::Sidecar => &last.init_container_statuses,
            Role::Main => &last.container_statuses,
            Role::Ephemeral => &last.ephemeral_container_statuses,
        };
        list.iter().flatten().find(|status| status.name == plan.name()).cloned()
    }

    fn restore_container(
        &mut self,
        idx: ContainerIdx,
        mut views: Vec<ContainerView>,
        old: Option<&ContainerStatus>,
        seed: u64,
    ) {
        views.sort_by_key(|view| (view.attempt, view.created_at));
        let seen_attempts = views.last().map_or(0, |view| view.attempt.saturating_add(1));
        let shown = old.map(|status| Shown::from_status(&self.plan, idx, status));
        let old_attempts = shown.as_ref().map_or(0, Shown::attempts);
        let newest_sandbox = self.sandbox.newest().map(|view| view.id.clone());
        // What an init container did in an older sandbox proves nothing (contract S3-51).
        // Nor does an instance that is older than the one the status tells of.
        let counts = |view: &ContainerView| {
            let starts_over = matches!(self.plan.container(idx).role, Role::Init | Role::Sidecar);
            let in_sandbox = !starts_over || Some(&view.sandbox) == newest_sandbox.as_ref();
            in_sandbox && view.attempt.saturating_add(1) >= old_attempts
        };
        let now = self.now;
        let granted = self.plan.container(idx).spec.resources.clone();
        let current = views.pop_if(|view| counts(view)).map(|view| {
            let told = old.filter(|status| status.container_id.as_deref() == Some(&container_id(&view.id)));
            let resources = told.and_then(|status| status.resources.clone()).or(granted);
            Instance { resources, ..Instance::new(view, now) }
        });
        let previous = views.into_iter().rev().map(|view| Instance::new(view, now)).find(Instance::is_dead);
        let container = &mut self.containers[idx.index()];
        container.next_attempt = seen_attempts.max(old_attempts);
        (container.current, container.previous) = (current, previous);
        container.reset = shown.as_ref().is_some_and(Shown::is_reset); // S3-44
        if let Some(shown) = shown {
            self.shown[idx.index()] = self.without_record(idx, shown);
        }
        self.resume_probes(idx, old, seed);
    }

    /// S3-59: a container that ran and of which the runtime has nothing any more has ended unseen.
    fn without_record(&self, idx: ContainerIdx, shown: Shown) -> Shown {
        if !shown.is_running() || self.containers[idx.index()].current.is_some() {
            return shown;
        }
        let count = shown.restart_count + u32::from(self.delete_grace.is_none());
        let never_ran = Shown::never_ran(&self.plan, idx);
        Shown { restart_count: count, last: Some(Exit::unknown(crate::container::LOST_MESSAGE)), ..never_ran }
    }

    /// S3-56, S3-57: what had started stays started, what was ready stays ready.
    fn resume_probes(&mut self, idx: ContainerIdx, old: Option<&ContainerStatus>, seed: u64) {
        let container = &mut self.containers[idx.index()];
        let Some(instance) = container.current.as_ref().filter(|instance| instance.is_running()) else { return };
        let id = instance.view.id.clone();
        let same = old.filter(|status| status.container_id.as_deref() == Some(&container_id(&id)));
        let Some(status) = same else { return };
        let seen = Seen {
            running_since: instance.started_at().map_or(self.now.mono, |at| self.now.mono_of(at)),
            started: status.started == Some(true),
            ready: status.ready,
        };
        let seed = seed.wrapping_add(u64::try_from(idx.index()).unwrap_or_default() << 32);
        container.probes.resume(&id, self.now.mono, self.plan.container(idx), seen, seed);
    }
}

impl Shown {
    /// Reads back what a status says.
    fn from_status(plan: &PodPlan, idx: ContainerIdx, status: &ContainerStatus) -> Self {
        let id = status.container_id.as_deref();
        Self {
            id: id.map(|id| id.strip_prefix(ID_SCHEME).unwrap_or(id).to_owned()),
            restart_count: u32::try_from(status.restart_count).unwrap_or_default(),
            state: status.state.as_ref().map_or_else(|| Self::never_ran(plan, idx).state, shown_state),
            last: status.last_state.as_ref().and_then(exit),
            image: status.image.clone(),
            image_id: status.image_id.clone(),
            user: status.user.as_ref().and_then(|user| user.linux.as_ref()).and_then(user),
        }
    }

    /// Returns how many instances there were, as far as a status tells.
    fn attempts(&self) -> u32 {
        if self.ever_left_waiting() || self.id.is_some() { self.restart_count.saturating_add(1) } else { 0 }
    }
}

/// Reads back who the process was.
fn user(linux: &LinuxContainerUser) -> Option<UserView> {
    let groups = linux.supplemental_groups.iter().flatten().filter_map(|&group| group.try_into().ok()).collect();
    Some(UserView { uid: linux.uid.try_into().ok()?, gid: linux.gid.try_into().ok()?, groups })
}

fn shown_state(state: &ContainerState) -> ShownState {
    if let Some(exit) = exit(state) {
        return ShownState::Terminated(exit);
    }
    if let Some(running) = &state.running {
        let started_at = running.started_at.as_ref().map(Timestamp::from_k8s).unwrap_or_default();
        return ShownState::Running { started_at };
    }
    let waiting = state.waiting.clone().unwrap_or_default();
    ShownState::Waiting { reason: waiting.reason, message: waiting.message }
}

fn exit(state: &ContainerState) -> Option<Exit> {
    let terminated = state.terminated.as_ref()?;
    let id = terminated.container_id.as_deref();
    Some(Exit {
        id: id.map(|id| id.strip_prefix(ID_SCHEME).unwrap_or(id).to_owned()),
        started_at: terminated.started_at.as_ref().map(Timestamp::from_k8s),
        finished_at: terminated.finished_at.as_ref().map(Timestamp::from_k8s),
        exit_code: terminated.exit_code,
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone().unwrap_or_default(),
    })
}
