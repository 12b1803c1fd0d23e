//! The pod's status as the API shows it (contract S5.a, S5.b; kubelet `kubelet_pods.go`
//! `generateAPIPodStatus`, `convertToAPIContainerStatuses`, `status_manager.go`).

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, LinuxContainerUser, PodCondition, PodIP, PodStatus, ResourceRequirements, VolumeMount,
    VolumeMountStatus,
};

use crate::{
    ContainerIdx, ContainerViewState, MomentKind, Output, PodMachine, PodPlan, Role, Timestamp, UserView,
    container::{Exit, RESTARTING_ALL},
    machine::Life,
    phase::{Member, MemberState, Phase, phase},
    restart,
};

/// Why the pod failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// The pod was well, and had to go for the node's sake.
    pub(crate) disruption: bool,
}

/// What the status says of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: Option<String>,
    pub(crate) restart_count: u32,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) user: Option<UserView>,
    pub(crate) state: ShownState,
    pub(crate) last: Option<Exit>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShownState {
    Waiting { reason: Option<String>, message: Option<String> },
    Running { started_at: Timestamp },
    Terminated(Exit),
}

impl Shown {
    /// Returns what is shown before the first instance (contract S5-02).
    pub(crate) fn never_ran(plan: &PodPlan, idx: ContainerIdx) -> Self {
        let reason = if plan.init_count() > 0 { "PodInitializing" } else { "ContainerCreating" };
        Self {
            id: None,
            restart_count: 0,
            image: plan.container(idx).image().to_owned(),
            image_id: String::new(),
            user: None,
            state: ShownState::Waiting { reason: Some(reason.to_owned()), message: None },
            last: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, ShownState::Running { .. })
    }

    /// Returns whether it waits for its turn in a restart of all containers.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(&self.state, ShownState::Waiting { reason: Some(reason), .. } if reason == RESTARTING_ALL)
    }

    /// Returns whether it waits for the first start after a restart of all containers, which is no failure of its own.
    fn comes_after_reset(&self) -> bool {
        let waits = matches!(self.state, ShownState::Waiting { .. });
        waits && self.last.as_ref().is_some_and(|exit| exit.reason == RESTARTING_ALL)
    }

    fn exit(&self) -> Option<&Exit> {
        match &self.state {
            ShownState::Terminated(exit) => Some(exit),
            ShownState::Waiting { .. } | ShownState::Running { .. } => None,
        }
    }

    /// Returns whether it has run at some time.
    pub(crate) fn ever_left_waiting(&self) -> bool {
        self.last.is_some() || !matches!(self.state, ShownState::Waiting { .. })
    }

    pub(crate) fn ever_succeeded(&self) -> bool {
        self.exit().into_iter().chain(self.last.as_ref()).any(|exit| exit.exit_code == 0)
    }

    fn member_state(&self, role: Role, started: bool) -> MemberState {
        let code = |exit: &Exit| if role == Role::Init { exit.failure_code() } else { exit.exit_code };
        match &self.state {
            ShownState::Waiting { .. } => MemberState::Waiting(self.last.as_ref().map(code)),
            ShownState::Running { .. } => MemberState::Running { started },
            ShownState::Terminated(exit) => MemberState::Terminated(code(exit)),
        }
    }

    /// Returns how what was there before this instance has ended, when there is no record of it any more (kubelet
    /// `kubelet_pods.go` `convertContainerStatus`).
    fn last_before(&self, id: &str) -> Option<Exit> {
        self.exit().filter(|_| self.id.as_deref() != Some(id)).or(self.last.as_ref()).cloned()
    }

    fn last_code(&self) -> Option<i32> {
        self.exit().or(self.last.as_ref()).map(Exit::failure_code)
    }
}

impl PodMachine {
    /// Brings what is shown of the containers up to date.
    pub(crate) fn refresh(&mut self) {
        self.shown = self.plan.indices().map(|idx| self.show(idx)).collect();
        self.watch_shown();
    }

    fn show(&self, idx: ContainerIdx) -> Shown {
        let container = &self.containers[idx.index()];
        let old = &self.shown[idx.index()];
        let exit_of_previous = container.previous.as_ref().and_then(crate::container::Instance::exit);
        let mut shown = match &container.current {
            None if container.is_reset() => Shown {
                restart_count: old.restart_count,
                state: ShownState::Waiting { reason: Some(RESTARTING_ALL.to_owned()), message: None },
                last: Some(Exit::reset()),
                ..Shown::never_ran(&self.plan, idx)
            },
            None if old.exit().is_some() => old.clone(),
            // S3-55: a main would not be there if it had not succeeded.
            None if self.plan.container(idx).role == Role::Init
                && container.previous.is_none()
                && self.any_main_created() =>
            {
                Shown { state: ShownState::Terminated(Exit::forgotten_success()), ..old.clone() }
            }
            None => Shown {
                restart_count: old.restart_count,
                last: exit_of_previous.or_else(|| old.last.clone()),
                ..Shown::never_ran(&self.plan, idx)
            },
            Some(instance) => Shown {
                id: Some(instance.view.id.clone()),
                restart_count: instance.view.attempt,
                image: instance.view.image.clone(),
                image_id: instance.view.image_id.clone(),
                user: instance.view.user.clone(),
                state: match &instance.view.state {
                    ContainerViewState::Running { started_at } => ShownState::Running { started_at: *started_at },
                    ContainerViewState::Created | ContainerViewState::Exited { .. } => instance
                        .exit()
                        .map_or(ShownState::Waiting { reason: None, message: None }, ShownState::Terminated), // S5-14
                },
                last: exit_of_previous.or_else(|| old.last_before(&instance.view.id)),
            },
        };
        self.show_blocked(idx, &mut shown);
        shown
    }

    /// S5-03, S5-04: a failed attempt to start it shows as Waiting, as long as it is to be started again. Not so
    /// after an init container or a sidecar has ended with 0: that stays Terminated through its back-off.
    fn show_blocked(&self, idx: ContainerIdx, shown: &mut Shown) {
        let Some(failure) = &self.containers[idx.index()].blocked else { return };
        if let Some(exit) = shown.exit() {
            let of_init = matches!(self.plan.container(idx).role, Role::Init | Role::Sidecar);
            let ended_well = of_init && exit.exit_code == 0;
            if ended_well || self.life != Life::Active {
                return;
            }
        }
        if !self.should_start(idx) {
            return;
        }
        if let ShownState::Terminated(exit) = &shown.state {
            shown.last = Some(exit.clone());
        }
        shown.state =
            ShownState::Waiting { reason: Some(failure.reason.clone()), message: Some(failure.message.clone()) };
    }

    /// Marks those whose end nobody has seen when the pod has ended (kubelet `status_manager.go`
    /// `TerminatePod`): mains if the pod was initialised, and the init entries up to the last that ever ran.
    pub(crate) fn mark_unlocated(&mut self) {
        let tried = self.plan.init_indices().rev().find(|idx| self.shown[idx.index()].ever_left_waiting());
        let last_tried = tried.map_or(0, ContainerIdx::index);
        let was_initialised = self.was_initialised;
        let concerned = |idx: &ContainerIdx| match self.plan.container(*idx).role {
            Role::Main => was_initialised,
            Role::Init | Role::Sidecar => idx.index() <= last_tried,
            Role::Ephemeral => false,
        };
        for idx in self.plan.indices().filter(concerned).collect::<Vec<_>>() {
            let shown = &mut self.shown[idx.index()];
            if shown.exit().is_none() {
                shown.state = ShownState::Terminated(Exit::unknown(UNLOCATED));
            }
        }
    }

    /// Computes the phase from what is shown.
    pub(crate) fn computed_phase(&self, finalised: bool) -> Phase {
        if self.verdict.is_some() {
            return Phase::Failed;
        }
        let published = Phase::parse(self.published.phase.as_deref().unwrap_or_default());
        if published.outcome().is_some() {
            return published; // S5-44
        }
        let counted = self.plan.init_indices().chain(self.plan.main_indices());
        let members: Vec<_> = counted.map(|idx| self.member(idx)).collect();
        let sandbox = self.sandbox.newest().map(|view| view.id.as_str());
        let main_created = self.plan.main_indices().any(|idx| {
            let current = self.containers[idx.index()].current.as_ref();
            current.is_some_and(|instance| Some(instance.view.sandbox.as_str()) == sandbox)
        });
        phase(&members, main_created, finalised)
    }

    fn member(&self, idx: ContainerIdx) -> Member {
        let shown = &self.shown[idx.index()];
        let plan = self.plan.container(idx);
        Member {
            role: plan.role,
            state: shown.member_state(plan.role, self.shown_started(idx)),
            restartable: self.containers[idx.index()].is_reset()
                || shown.comes_after_reset()
                || shown.last_code().is_some_and(|code| restart::should_restart(plan, code)),
        }
    }

    /// Returns whether the instance that is shown has started (contract S5-20).
    pub(crate) fn shown_started(&self, idx: ContainerIdx) -> bool {
        let shown = &self.shown[idx.index()];
        let plan = self.plan.container(idx);
        shown.is_running() && self.containers[idx.index()].probes.started(plan)
    }

    /// Returns whether a container is ready (contract S5-21 to S5-23).
    pub(crate) fn shown_ready(&self, idx: ContainerIdx) -> bool {
        let shown = &self.shown[idx.index()];
        let plan = self.plan.container(idx);
        match plan.role {
            Role::Init => shown.exit().is_some_and(|exit| exit.exit_code == 0),
            Role::Sidecar | Role::Main => self.shown_started(idx) && self.containers[idx.index()].probes.ready(plan),
            Role::Ephemeral => false,
        }
    }

    /// Publishes the status if it has changed.
    pub(crate) fn publish(&mut self) {
        let computed = self.computed_phase(matches!(self.life, Life::Ended(_)));
        // S4-44: a terminal phase is held back until nothing can run any more.
        let phase = if computed.outcome().is_some() {
            Phase::parse(self.published.phase.as_deref().unwrap_or_default())
        } else {
            computed
        };
        let conditions = self.conditions(computed);
        self.publish_as(phase, conditions);
    }

    /// Publishes a status with this phase. The conditions of the last one are those of the phase that the
    /// containers add up to; a phase that is Failed only because the pod ends does not show there.
    pub(crate) fn publish_as(&mut self, phase: Phase, conditions: Vec<PodCondition>) {
        let status = self.project(phase, conditions);
        if status == self.published {
            return;
        }
        let before = std::mem::replace(&mut self.published, status);
        if before.phase != self.published.phase {
            self.moment(self.now.wall, None, MomentKind::Phase(phase.as_str().to_owned()));
        }
        for idx in self.plan.indices().collect::<Vec<_>>() {
            self.tell_readiness(idx, &before);
        }
        self.say(Output::Status(Box::new(self.published.clone())));
    }

    fn tell_readiness(&mut self, idx: ContainerIdx, before: &PodStatus) {
        let plan = self.plan.container(idx);
        if plan.role == Role::Init {
            return;
        }
        let lists = [&before.init_container_statuses, &before.container_statuses];
        let mut old = lists.into_iter().flatten().flatten();
        let was_ready = old.any(|status| status.name == plan.name() && status.ready);
        match (was_ready, self.shown_ready(idx)) {
            (false, true) => self.moment(self.now.wall, Some(idx), MomentKind::Ready),
            (true, false) if self.shown[idx.index()].is_running() => {
                self.moment(self.now.wall, Some(idx), MomentKind::NotReady);
            }
            (true, _) | (false, false) => {}
        }
    }

    fn project(&self, phase: Phase, conditions: Vec<PodCondition>) -> PodStatus {
        let verdict = self.verdict.as_ref().filter(|_| phase.outcome().is_some());
        let api = self.plan.pod.status.as_ref();
        let resources = self.plan.pod.spec.as_ref().and_then(|spec| spec.resources.clone());
        let ips = self.sandbox.newest().map(|view| view.ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect());
        // S5-47: kept for as long as no other sandbox is there.
        let ips: Vec<_> = ips.or_else(|| self.published.pod_ips.clone()).unwrap_or_default();
        let init = self.plan.init_indices().map(|idx| self.container_status(idx)).collect::<Vec<_>>();
        let mut main = self.plan.main_indices().map(|idx| self.container_status(idx)).collect::<Vec<_>>();
        main.sort_by(|a, b| a.name.cmp(&b.name)); // S5-01
        let mut ephemeral = self.plan.ephemeral_indices().map(|idx| self.container_status(idx)).collect::<Vec<_>>();
        ephemeral.sort_by(|a, b| a.name.cmp(&b.name));
        PodStatus {
            phase: Some(phase.as_str().to_owned()),
            reason: verdict.map(|verdict| verdict.reason.to_owned()).or_else(|| self.kept(phase, |s| &s.reason)),
            message: verdict.map(|verdict| verdict.message.clone()).or_else(|| self.kept(phase, |s| &s.message)),
            conditions: Some(conditions),
            start_time: Some(self.start_time.to_k8s()),
            observed_generation: (self.plan.generation != 0).then_some(self.plan.generation),
            qos_class: api.and_then(|status| status.qos_class.clone()),
            pod_ip: ips.first().map(|first| first.ip.clone()),
            pod_ips: (!ips.is_empty()).then_some(ips),
            init_container_statuses: (!init.is_empty()).then_some(init),
            container_statuses: Some(main),
            ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
            allocated_resources: resources.as_ref().and_then(|r| r.requests.clone()),
            resources,
            ..PodStatus::default()
        }
    }

    /// S5-45: reason and message stay as long as the phase does.
    fn kept(&self, phase: Phase, field: impl Fn(&PodStatus) -> &Option<String>) -> Option<String> {
        let same = self.published.phase.as_deref() == Some(phase.as_str());
        if same { field(&self.published).clone() } else { None }
    }

    /// Returns what a container that was created at some time may use: what it has while it runs, else what it
    /// would get (kubelet `convertContainerStatusResources`).
    fn resources_in_force(&self, idx: ContainerIdx) -> Option<ResourceRequirements> {
        let shown = &self.shown[idx.index()];
        let granted = &self.plan.container(idx).spec.resources;
        let current = self.containers[idx.index()].current.as_ref().filter(|_| shown.is_running());
        let in_force = current.map_or(granted, |instance| &instance.resources);
        shown.id.is_some().then(|| in_force.clone().unwrap_or_default())
    }

    fn container_status(&self, idx: ContainerIdx) -> ContainerStatus {
        let shown = &self.shown[idx.index()];
        let granted = self.plan.container(idx).spec.resources.as_ref().and_then(|r| r.requests.clone());
        ContainerStatus {
            name: self.plan.container(idx).name().to_owned(),
            state: Some(match &shown.state {
                ShownState::Waiting { reason, message } => ContainerState {
                    waiting: Some(ContainerStateWaiting { reason: reason.clone(), message: message.clone() }),
                    ..ContainerState::default()
                },
                ShownState::Running { started_at } => ContainerState {
                    running: Some(ContainerStateRunning { started_at: Some(started_at.to_k8s()) }),
                    ..ContainerState::default()
                },
                ShownState::Terminated(exit) => terminated(exit),
            }),
            last_state: Some(shown.last.as_ref().map(terminated).unwrap_or_default()),
            ready: self.shown_ready(idx),
            // The prober, which fills it in, does not know ephemeral containers.
            started: (self.plan.container(idx).role != Role::Ephemeral).then(|| self.shown_started(idx)),
            restart_count: i32::try_from(shown.restart_count).unwrap_or(i32::MAX),
            image: shown.image.clone(),
            image_id: shown.image_id.clone(),
            container_id: shown.id.as_deref().map(container_id),
            resources: self.resources_in_force(idx),
            allocated_resources: granted.filter(|_| shown.id.is_some()),
            volume_mounts: volume_mounts(&self.plan.container(idx).spec),
            user: shown.user.as_ref().map(user),
            ..ContainerStatus::default()
        }
    }
}

/// Returns what is shown of a container's mounts, whether it has run or not (kubelet
/// `convertToAPIContainerStatuses`). Here the runtime can always make mounts read-only recursively.
fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let shown = |mount: &VolumeMount| {
        let read_only = mount.read_only == Some(true);
        let recursive = matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
        let mode = if recursive { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| mode.to_owned()),
            ..VolumeMountStatus::default()
        }
    };
    let mounts = container.volume_mounts.as_deref().filter(|mounts| !mounts.is_empty());
    mounts.map(|mounts| mounts.iter().map(shown).collect())
}

fn user(user: &UserView) -> ContainerUser {
    let groups = user.groups.iter().copied().map(i64::from).collect();
    let (uid, gid) = (user.uid.into(), user.gid.into());
    ContainerUser { linux: Some(LinuxContainerUser { uid, gid, supplemental_groups: Some(groups) }) }
}

fn terminated(exit: &Exit) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: exit.id.as_deref().map(container_id),
        exit_code: exit.exit_code,
        reason: Some(exit.reason.clone()),
        message: Some(exit.message.clone()).filter(|message| !message.is_empty()),
        started_at: exit.started_at.map(Timestamp::to_k8s),
        finished_at: exit.finished_at.map(Timestamp::to_k8s),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

pub(crate) fn container_id(id: &str) -> String {
    format!("{ID_SCHEME}{id}")
}

/// What `containerID` begins with (contract S5-12).
pub(crate) const ID_SCHEME: &str = "podrig://";
const UNLOCATED: &str = "The container could not be located when the pod was terminated";
