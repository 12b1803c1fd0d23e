//! The checked form of a pod's spec: parsed once, valid ever after.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};

/// Index of a container in its [`PodPlan`]; made only by the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerIdx(pub(crate) usize);

impl ContainerIdx {
    /// Returns the position in [`PodPlan::containers`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// What part a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Init container that must run to completion.
    Init,
    /// Init container with `restartPolicy: Always` (KEP-753).
    Sidecar,
    /// Entry of `spec.containers`.
    Main,
}

/// When a container is started again after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// Unless its exit code was 0.
    OnFailure,
    /// Not at all.
    Never,
}

/// One probe with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// Time after the container's start before the first run.
    pub initial_delay: Duration,
    /// Time between runs.
    pub period: Duration,
    /// Time after which a run has failed.
    pub timeout: Duration,
    /// Consecutive successes that make it pass.
    pub success_threshold: u32,
    /// Consecutive failures that make it fail.
    pub failure_threshold: u32,
    /// Grace period of the kill it causes (`terminationGracePeriodSeconds` of the probe).
    pub grace: Option<Duration>,
}

/// One container of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerPlan {
    /// Its part.
    pub role: Role,
    /// Its spec.
    pub spec: Arc<Container>,
    /// Policy in force: its own if it has one, else the pod's; `Always` for sidecars.
    pub restart_policy: RestartPolicy,
    /// Startup probe.
    pub startup: Option<ProbePlan>,
    /// Liveness probe.
    pub liveness: Option<ProbePlan>,
    /// Readiness probe.
    pub readiness: Option<ProbePlan>,
}

/// Everything of a pod that the machine decides by. Init containers and sidecars come first, in spec
/// order, then the main containers in spec order.
#[derive(Debug, Clone, PartialEq)]
pub struct PodPlan {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// The pod's restart policy.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace: Duration,
    /// `activeDeadlineSeconds`.
    pub active_deadline: Option<Duration>,
    /// Whether the pod uses the node's network.
    pub host_network: bool,
    /// `readinessGates`, by condition type.
    pub readiness_gates: Vec<String>,
    /// All containers.
    pub containers: Vec<ContainerPlan>,
    /// The whole object as desired, for what has no field here.
    pub pod: Arc<Pod>,
}

/// Why a pod cannot be run. The API server's validation lets no such pod through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field without which nothing can be decided is missing.
    #[error("pod has no {field}")]
    Missing {
        /// Path of the field.
        field: &'static str,
    },
    /// A field has a value outside its range.
    #[error("{path}: unsupported value {value:?}")]
    Unsupported {
        /// Path of the field.
        path: String,
        /// What it says.
        value: String,
    },
}
