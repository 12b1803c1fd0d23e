//! The ReplicaSet controller: keeps as many pods as asked for (replica_set.go).

mod plan;
mod rank;
mod reconcile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

pub(crate) use plan::replicas;
pub use plan::{build, plan};
pub use rank::POD_DELETION_COST;
pub(crate) use reconcile::{COMPONENT, Controller};

use crate::children::Claims;

/// All that a plan for a ReplicaSet may depend on.
#[derive(Debug, Clone)]
pub struct ReplicaSetView<'a> {
    /// The ReplicaSet.
    pub replica_set: &'a ReplicaSet,
    /// The pods that it controls, and those of its namespace that nobody controls.
    pub pods: &'a [Arc<Pod>],
    /// Pods of all ReplicaSets of the same owner, itself included: of two pods equal otherwise, the
    /// one goes that shares its node with more of them.
    pub related: &'a [Arc<Pod>],
    /// The time.
    pub now: Timestamp,
    /// Why creating or deleting pods has just failed. Then the plan is only about the status, which
    /// is to tell so before the next attempt.
    pub failure: Option<&'a str>,
}

/// What to do next about a ReplicaSet: each list in turn, from top to bottom.
///
/// If one step fails, the later ones must not be done; a new plan is made instead.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReplicaSetPlan {
    /// Pods to adopt and to release.
    pub claims: Claims<Pod>,
    /// Pods to delete.
    pub delete: Vec<Arc<Pod>>,
    /// How many pods to create.
    pub create: usize,
    /// The status to write.
    pub status: Option<ReplicaSetStatus>,
    /// When to make the next plan even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

impl ReplicaSetPlan {
    /// Whether the plan is to wait.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.claims.is_empty() && self.delete.is_empty() && self.create == 0 && self.status.is_none()
    }
}
