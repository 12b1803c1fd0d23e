//! The Deployment controller: replaces the pods of one template by those of another, a few at a time
//! (deployment_controller.go, sync.go, rolling.go, recreate.go, progress.go).

mod annotations;
mod numbers;
mod plan;
mod reconcile;
mod scale;
mod status;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

pub use annotations::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY};
pub use plan::plan;
pub(crate) use reconcile::{COMPONENT, Controller};
pub use template::POD_TEMPLATE_HASH;

use crate::children::Claims;
use crate::events::Note;

/// All that a plan for a Deployment may depend on.
#[derive(Debug, Clone)]
pub struct DeploymentView<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The ReplicaSets that it controls, and those of its namespace that nobody controls.
    pub replica_sets: &'a [Arc<ReplicaSet>],
    /// The pods of the ReplicaSets that it controls.
    pub pods: &'a [Arc<Pod>],
    /// The time.
    pub now: Timestamp,
}

/// What to do next about a Deployment: each step in turn, from top to bottom.
///
/// If one step fails, the later ones must not be done; a new plan is made instead.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeploymentPlan {
    /// ReplicaSets to adopt and to release.
    pub claims: Claims<ReplicaSet>,
    /// The ReplicaSet of the present template, to be created.
    pub create: Option<ReplicaSet>,
    /// What to tell people once that is done.
    pub notes: Vec<Note>,
    /// ReplicaSets to change.
    pub update: Vec<Update>,
    /// ReplicaSets of old templates to delete, of which there are more than are to be kept.
    pub delete: Vec<Arc<ReplicaSet>>,
    /// The Deployment with the status to write, and the annotation that goes with it.
    pub status: Option<Box<Deployment>>,
    /// When to make the next plan even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

impl DeploymentPlan {
    /// Whether the plan is to wait.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.claims.is_empty()
            && self.create.is_none()
            && self.update.is_empty()
            && self.delete.is_empty()
            && self.status.is_none()
    }
}

/// A change of a ReplicaSet.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The ReplicaSet as it is.
    pub replica_set: Arc<ReplicaSet>,
    /// Its new number of replicas, if that changes.
    pub replicas: Option<i32>,
    /// Its new rest before a ready pod counts as available, if that changes.
    pub min_ready_seconds: Option<i32>,
    /// Annotations to set.
    pub annotations: BTreeMap<String, String>,
}

impl Update {
    pub(crate) const fn of(replica_set: Arc<ReplicaSet>) -> Self {
        Self { replica_set, replicas: None, min_ready_seconds: None, annotations: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.replicas.is_none() && self.min_ready_seconds.is_none() && self.annotations.is_empty()
    }

    /// What to tell people about it: only changes of the size matter to them.
    #[must_use]
    pub fn note(&self) -> Option<Note> {
        let (old, new) = (numbers::size(&self.replica_set), self.replicas?);
        let name = crate::meta::name(&self.replica_set.metadata);
        let way = if old < new { "up" } else { "down" };
        Some(Note::normal("ScalingReplicaSet", format!("Scaled {way} replica set {name} from {old} to {new}")))
    }
}
