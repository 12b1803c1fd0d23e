//! What the machine wants done, and what it says.

use std::time::Duration;

use k8s_openapi::api::core::v1::PodStatus;
use serde::{Deserialize, Serialize};

use crate::{ContainerIdx, MonoTime, Timestamp};

/// Number of an effect, never used twice by one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectId(pub u64);

/// One answer of [`crate::PodMachine::poll`].
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Do this, beside whatever else is being done; answer once with [`crate::Input::Done`].
    Run {
        /// To be named in the answer.
        id: EffectId,
        /// What to do.
        effect: Effect,
    },
    /// Stop working on this effect if it can be stopped; no answer is awaited any more, one that still
    /// comes is ignored.
    Cancel(EffectId),
    /// The status to be written; comes only when it changed.
    Status(Box<PodStatus>),
    /// An event to be recorded for `kubectl describe`.
    Event(PodEvent),
    /// A step in the life of a container, with its exact time, for timelines.
    Moment(Moment),
    /// The pod has ended and nothing of it is left on the node. Last output.
    Finished(Outcome),
    /// Drained. Hand over [`crate::Input::Timeout`] at the deadline unless something else comes first.
    Wait(Option<Deadline>),
}

/// When to wake the machine, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Deadline {
    /// When.
    pub at: MonoTime,
    /// Why.
    pub why: Timer,
}

/// What a deadline is for: both the key in the machine's table of timers and the reason for waking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A crash back-off ends.
    Backoff(ContainerIdx),
    /// An image pull back-off ends.
    ImageBackoff(ContainerIdx),
    /// A failed step (volumes, sandbox, container configuration) is tried again.
    Retry,
    /// A probe is due.
    Probe(ContainerIdx, ProbeKind),
    /// A container's budget for preStop or for waiting for its turn to stop is used up.
    KillBudget(ContainerIdx),
    /// `activeDeadlineSeconds` is over.
    ActiveDeadline,
    /// The pod should have been killed for the node's sake by now.
    KillPatience,
}

/// The three probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProbeKind {
    /// Has it started?
    Startup,
    /// Does it still work?
    Liveness,
    /// Can it serve?
    Readiness,
}

/// The two hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HookKind {
    /// Right after the process was started.
    PostStart,
    /// Before the stop signal.
    PreStop,
}

/// Why a container is being stopped; for events and timelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StopReason {
    /// The pod ends.
    PodEnds,
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Its postStart hook failed.
    PostStartHook,
    /// Its image changed.
    DefinitionChanged,
    /// Its resources changed, and its policy asks for a restart (contract S8-07).
    Resize,
    /// A container's rule asked to restart all.
    RestartAll,
}

/// Something to be done in the world. Data only: the executor is a table from variant to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Make all volumes of the pod ready.
    PrepareVolumes,
    /// Create the sandbox.
    CreateSandbox {
        /// Its number.
        attempt: u32,
    },
    /// End whatever still runs in the sandbox and free its network.
    StopSandbox {
        /// Runtime id.
        sandbox: String,
    },
    /// Remove the sandbox and the records of its containers. The terminal status comes before it and must be
    /// stored before it is carried out: afterwards nothing else tells how the containers ended.
    RemoveSandbox {
        /// Runtime id.
        sandbox: String,
    },
    /// Make an image present that a container needs, as its policy demands. The executor records the `Pulling` event, since
    /// it alone knows that a pull begins; all other events are the machine's.
    EnsureImage {
        /// Which container.
        container: ContainerIdx,
        /// The volume whose content the image is; `None`: it is the container's own.
        volume: Option<String>,
    },
    /// Resolve a container's environment and mounts, and create the instance.
    CreateContainer {
        /// Which container.
        container: ContainerIdx,
        /// Sandbox to create it in.
        sandbox: String,
        /// Restart count of the instance.
        attempt: u32,
    },
    /// Start a created instance.
    StartContainer {
        /// Which container.
        container: ContainerIdx,
        /// Runtime id.
        id: String,
    },
    /// Run a hook.
    RunHook {
        /// Which container.
        container: ContainerIdx,
        /// Runtime id.
        id: String,
        /// Which hook.
        hook: HookKind,
        /// Longest time it may take; `None`: no limit. The machine itself keeps the time of preStop hooks and
        /// goes on without waiting for them, so that a hook dies with its container (contract S4-13).
        limit: Option<Duration>,
    },
    /// Run a probe once.
    Probe {
        /// Which container.
        container: ContainerIdx,
        /// Runtime id.
        id: String,
        /// Which probe.
        probe: ProbeKind,
    },
    /// Send the stop signal now, SIGKILL after the grace; answer when the process has ended.
    StopContainer {
        /// Which container.
        container: ContainerIdx,
        /// Runtime id.
        id: String,
        /// Time between the two signals.
        grace: Duration,
        /// Why.
        reason: StopReason,
    },
    /// Change the limits of the pod and of these running containers to those of the plan (contract S8-07, S8-08).
    Resize {
        /// Runtime id.
        sandbox: String,
        /// Containers that are not to be restarted for it.
        containers: Vec<ResizedContainer>,
    },
    /// Remove a dead instance.
    RemoveContainer {
        /// Which container.
        container: ContainerIdx,
        /// Runtime id.
        id: String,
    },
    /// Unmount and remove the pod's volumes and directories; the last effect of a pod that is gone.
    Cleanup,
}

/// A running container that gets other limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizedContainer {
    /// Which container.
    pub container: ContainerIdx,
    /// Runtime id.
    pub id: String,
}

/// An event on the pod (contract S12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEvent {
    /// Normal or warning.
    pub type_: EventType,
    /// `Pulled`, `Killing`, …
    pub reason: String,
    /// For people.
    pub message: String,
    /// The container concerned, for the event's `fieldPath`; `None`: the pod.
    pub container: Option<ContainerIdx>,
}

/// Severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// Expected.
    Normal,
    /// Something is wrong.
    Warning,
}

/// One step in a pod's life, to the nanosecond; what timelines are drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When it happened.
    pub at: Timestamp,
    /// The container; `None`: the pod.
    pub container: Option<ContainerIdx>,
    /// Restart count of the instance concerned.
    pub attempt: u32,
    /// What happened.
    pub kind: MomentKind,
}

/// What happened at a [`Moment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MomentKind {
    /// The sandbox is ready.
    SandboxReady,
    /// The instance was created.
    Created,
    /// Its process was started.
    Started,
    /// A hook began.
    HookStarted(HookKind),
    /// A hook ended.
    HookEnded {
        /// Which.
        hook: HookKind,
        /// Whether it succeeded.
        ok: bool,
    },
    /// A probe reached its success threshold.
    ProbePassed(ProbeKind),
    /// A probe reached its failure threshold.
    ProbeFailed(ProbeKind),
    /// It became ready.
    Ready,
    /// It ceased to be ready while running.
    NotReady,
    /// The stop signal was sent.
    StopSignal {
        /// Why it is being stopped.
        reason: StopReason,
    },
    /// The process ended.
    Exited {
        /// Exit code; 128 + n for signal n.
        exit_code: i32,
        /// `Completed`, `Error`, `OOMKilled`, …
        reason: String,
    },
    /// A restart waits for its back-off.
    BackOff {
        /// How long.
        delay: Duration,
    },
    /// A start attempt failed before the process ran (image, configuration).
    StartFailed {
        /// Reason as the status shows it.
        reason: String,
        /// For people.
        message: String,
    },
    /// The pod reached this phase.
    Phase(String),
}

/// How a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// All main containers ended with 0.
    Succeeded,
    /// Anything else.
    Failed,
}
