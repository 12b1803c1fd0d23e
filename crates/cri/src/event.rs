//! Runtime events: what happened, with the full status, at the moment it happened.

use crate::{ContainerStatus, Nanos, SandboxStatus};

/// One observed change. Events of one sandbox arrive in the order in which the changes happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// Uid of the pod concerned.
    pub pod_uid: String,
    /// When it happened (not when it was noticed).
    pub at: Nanos,
    /// What happened.
    pub kind: RuntimeEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEventKind {
    /// A container's process was started.
    ContainerStarted(ContainerStatus),
    /// A container's process ended. Its exit was recorded durably before.
    ContainerExited(ContainerStatus),
    /// The stop signal or SIGKILL was sent to a container.
    ContainerSignalled {
        /// Its status at that moment.
        status: ContainerStatus,
        /// Signal number.
        signal: i32,
    },
    /// The sandbox ended without having been asked to (its shim died).
    SandboxLost(SandboxStatus),
}
