//! What the world tells the machine.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::PodCondition;
use serde::{Deserialize, Serialize};

use crate::{ContainerIdx, EffectId, PendingResize, PodPlan, Timestamp};

/// One thing that happened. Exactly one is handed over at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The desired pod changed (image, deadline, labels, foreign conditions, …).
    Desired(PodUpdate),
    /// The pod is to end. May come again with a shorter grace; never lengthens it (contract S4-04).
    Delete {
        /// Grace in force (`deletionGracePeriodSeconds`).
        grace: Duration,
    },
    /// The node shuts down: the pod is to end, and has failed then (contract S4-59).
    ShutDown {
        /// Grace in force.
        grace: Duration,
    },
    /// The node ends the pod, which fails (contract S4-56, S4-57).
    Evict {
        /// For people; goes into status and event.
        message: String,
        /// Longest grace.
        grace: Duration,
        /// The pod was well, and has to go for the node's sake.
        disruption: bool,
    },
    /// A container was seen in a (new) state. Repeats are harmless.
    Container(ContainerView),
    /// The sandbox ended without having been asked to.
    SandboxLost,
    /// An effect was carried out, or failed. Exactly one for each [`crate::Output::Run`] that was not cancelled.
    Done {
        /// Which.
        effect: EffectId,
        /// How it ended.
        result: EffectResult,
    },
    /// The deadline of the last [`crate::Output::Wait`] has come.
    Timeout,
}

/// The desired state as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodUpdate {
    /// The new plan, with the resources that the node grants.
    pub plan: PodPlan,
    /// The resources that the pod asks for instead, and why it does not get them.
    pub pending: Option<PendingResize>,
    /// Conditions in the stored status that belong to others (readiness gates).
    pub foreign_conditions: Vec<PodCondition>,
}

/// How an effect ended. The variant answers the effect of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectResult {
    /// `PrepareVolumes`: all volumes are there, or why not. The text goes into a `FailedMount` event.
    Volumes(Result<(), Vec<Failure>>),
    /// `CreateSandbox`.
    Sandbox(Result<SandboxView, Failure>),
    /// `StopSandbox`, `RemoveSandbox`, `Cleanup`: failures are retried by the executor, not reported.
    Done,
    /// `EnsureImage`: pull and presence check as the policy demands.
    Image(Result<PulledImage, Failure>),
    /// `CreateContainer`: id of the new instance.
    Created(Result<String, Failure>),
    /// `StartContainer`: the running instance, or why it could not be started.
    Started(Result<ContainerView, Failure>),
    /// `RunHook`.
    Hook(HookOutcome),
    /// `Probe`.
    Probe(ProbeOutcome),
    /// `StopContainer`: the process has ended (its exit also arrives as [`Input::Container`]), or the stop failed.
    Stopped(Result<(), Failure>),
    /// `RemoveContainer`.
    Removed,
    /// `Resize`: all limits are those of the plan, or why some are not.
    Resized(Result<(), Failure>),
}

/// A failure with the reason and message that a pod status shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`, `RegistryUnavailable`, `CreateContainerConfigError`,
    /// `CreateContainerError`, `RunContainerError`, `FailedMount`, `FailedCreatePodSandBox`, … (contract S5-03).
    pub reason: String,
    /// For people.
    pub message: String,
}

/// How an image came to be there (contract S12-02, S12-03).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledImage {
    /// `None`: it was present. Otherwise time and size of the pull.
    pub pulled: Option<(Duration, u64)>,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookOutcome {
    /// It ran and succeeded.
    Succeeded,
    /// It ran and failed, or could not be run.
    Failed {
        /// For logs; the event text is fixed (contract S7-06).
        message: String,
    },
}

/// How one probe run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeOutcome {
    /// Passed; a warning goes into a `ProbeWarning` event (contract S6-18).
    Success {
        /// Such as a redirect to another host.
        warning: Option<String>,
    },
    /// Failed; the output goes into an `Unhealthy` event (contract S6-22).
    Failure {
        /// What it printed, or why.
        output: String,
    },
    /// It could not be run at all (contract S6-16); the executor has already tried three times.
    Error {
        /// Why.
        message: String,
    },
}

/// A sandbox as the runtime shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxView {
    /// Runtime id.
    pub id: String,
    /// How-manieth sandbox of the pod.
    pub attempt: u32,
    /// Whether it is usable.
    pub ready: bool,
    /// Addresses; empty with the host's network.
    pub ips: Vec<IpAddr>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A container instance as the runtime shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerView {
    /// Which container of the plan.
    pub container: ContainerIdx,
    /// Runtime id (`podrig://…` without the scheme).
    pub id: String,
    /// Sandbox it lives in.
    pub sandbox: String,
    /// Restart count of this instance.
    pub attempt: u32,
    /// Image as the runtime resolved it.
    pub image: String,
    /// Image id.
    pub image_id: String,
    /// Hash of name and image at creation (contract S2-25), from a label.
    pub spec_hash: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who its first process is; `None`: not known yet, or never.
    #[serde(default)]
    pub user: Option<UserView>,
    /// Where it is in its life.
    pub state: ContainerViewState,
}

/// User and groups of a process, as numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one among them.
    pub groups: Vec<u32>,
}

/// Life stage of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerViewState {
    /// Created, not started.
    Created,
    /// Its process runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Its process ended or never started.
    Exited {
        /// When it was started; `None`: it never was.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Exit code; 128 + n for signal n.
        exit_code: i32,
        /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
        reason: String,
        /// Termination message, already read and cut (contract S5-09).
        message: String,
    },
}

/// All that the runtime has of one pod; input of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeView {
    /// Its sandboxes.
    pub sandboxes: Vec<SandboxView>,
    /// Its container instances, dead ones included.
    pub containers: Vec<ContainerView>,
}
