//! What the machine knows of one container: its instances, and why the next one waits.

use k8s_openapi::api::core::v1::ResourceRequirements;

use crate::{
    ContainerView, ContainerViewState, Failure, MonoTime, Now, Timer, Timestamp, probe::Probes, restart::BackOff,
};

/// State of one container of the plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    /// Newest instance that counts. None before the first one, and again after a new sandbox has made the
    /// record worthless.
    pub(crate) current: Option<Instance>,
    /// Newest dead instance before `current`.
    pub(crate) previous: Option<Instance>,
    /// Resources of the instance being created.
    pub(crate) creating: Option<ResourceRequirements>,
    /// Restart count of the next instance (contract S3-09).
    pub(crate) next_attempt: u32,
    /// Why the last attempt to start it failed (the kubelet's reason cache).
    pub(crate) blocked: Option<Failure>,
    /// Crash back-off.
    pub(crate) crash: BackOff,
    /// The crash back-off before the start going on, should that come to nothing.
    pub(crate) crash_before: BackOff,
    /// When a back-off that holds it ends.
    pub(crate) wake: Option<(MonoTime, Timer)>,
    /// End of the back-off window that an event has told of already.
    pub(crate) told: Option<MonoTime>,
    /// Its instances were removed to restart all containers (contract S3-43).
    pub(crate) reset: bool,
    /// When the instance ended that asked for it.
    pub(crate) reset_exit: Option<MonoTime>,
    /// Its probes.
    pub(crate) probes: Probes,
}

/// One instance of a container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    pub(crate) view: ContainerView,
    /// When it ended, on the clock of deadlines.
    pub(crate) finished: Option<MonoTime>,
    /// Resources that it was created with or resized to.
    pub(crate) resources: Option<ResourceRequirements>,
}

/// How an instance ended, or is taken to have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) id: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Container {
    pub(crate) fn is_running(&self) -> bool {
        self.current.as_ref().is_some_and(Instance::is_running)
    }

    /// Returns the newest instance that has ended.
    pub(crate) fn newest_dead(&self) -> Option<&Instance> {
        self.current.as_ref().filter(|i| i.is_dead()).or(self.previous.as_ref())
    }

    /// Returns how the current instance ended, if it has.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.current.as_ref().and_then(Instance::exit)
    }

    /// Makes room for a new instance: the dead one becomes the previous one. Returns the instance whose
    /// record nobody needs any more (contract S3-60).
    pub(crate) fn retire(&mut self) -> Option<Instance> {
        match self.current.take() {
            Some(dead) if dead.is_dead() => self.previous.replace(dead),
            other => other,
        }
    }
}

impl Instance {
    pub(crate) fn new(view: ContainerView, now: Now) -> Self {
        let finished = match &view.state {
            ContainerViewState::Created | ContainerViewState::Running { .. } => None,
            ContainerViewState::Exited { finished_at, .. } => Some(now.mono_of(*finished_at)),
        };
        Self { view, finished, resources: None }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.view.state, ContainerViewState::Running { .. })
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.view.state, ContainerViewState::Exited { .. })
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        match &self.view.state {
            ContainerViewState::Created | ContainerViewState::Running { .. } => None,
            ContainerViewState::Exited { started_at, finished_at, exit_code, reason, message } => Some(Exit {
                id: Some(self.view.id.clone()),
                started_at: *started_at,
                finished_at: Some(*finished_at),
                exit_code: *exit_code,
                reason: reason.clone(),
                message: message.clone(),
            }),
        }
    }

    /// Returns when its process was started, as far as it was.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        match &self.view.state {
            ContainerViewState::Created => None,
            ContainerViewState::Running { started_at } => Some(*started_at),
            ContainerViewState::Exited { started_at, .. } => *started_at,
        }
    }

    /// Returns the same instance as it looks when its end was not seen (contract S3-59, S5-08).
    pub(crate) fn lost(&self, now: Now) -> ContainerView {
        let state = ContainerViewState::Exited {
            started_at: self.started_at(),
            finished_at: now.wall,
            exit_code: UNKNOWN_EXIT,
            reason: STATUS_UNKNOWN.to_owned(),
            message: LOST_MESSAGE.to_owned(),
        };
        ContainerView { state, ..self.view.clone() }
    }
}

impl Exit {
    /// Returns the exit of an instance that was removed to restart all containers (contract S3-43).
    pub(crate) fn reset() -> Self {
        Self { reason: RESTARTING_ALL.to_owned(), ..Self::unknown("") }
    }

    /// Returns the exit of an init container of which nothing is known but that mains came after it (contract S3-55).
    pub(crate) fn forgotten_success() -> Self {
        let message = "Unable to get init container status from container runtime and pod has been initialized, \
                       treat it as exited normally";
        Self { exit_code: 0, reason: "Completed".to_owned(), ..Self::unknown(message) }
    }

    /// Returns the exit of a container of which nothing is known.
    pub(crate) fn unknown(message: &str) -> Self {
        Self {
            id: None,
            started_at: None,
            finished_at: None,
            exit_code: UNKNOWN_EXIT,
            reason: STATUS_UNKNOWN.to_owned(),
            message: message.to_owned(),
        }
    }

    /// Returns whether an init container that ended so has failed: code 0 is no success when the kernel
    /// killed a child of it for memory (contract S3-08).
    pub(crate) fn is_init_failure(&self) -> bool {
        self.failure_code() != 0
    }

    /// Returns the exit code that an init container is judged by.
    pub(crate) fn failure_code(&self) -> i32 {
        if self.exit_code == 0 && self.reason == "OOMKilled" { UNKNOWN_EXIT } else { self.exit_code }
    }
}

/// Position of a state in a container's life; it never goes back.
pub(crate) fn rank(state: &ContainerViewState) -> u8 {
    match state {
        ContainerViewState::Created => 0,
        ContainerViewState::Running { .. } => 1,
        ContainerViewState::Exited { .. } => 2,
    }
}

/// Exit code where none was seen (contract S5-08).
const UNKNOWN_EXIT: i32 = 137;
/// Reason of containers that are being restarted with all others (contract S3-43).
pub(crate) const RESTARTING_ALL: &str = "RestartingAllContainers";
/// Reason where no exit was seen (contract S5-08).
pub(crate) const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
pub(crate) const LOST_MESSAGE: &str = "The container could not be located when the pod was deleted.  \
                            The container used to be Running";
