//! The Job controller: creates a Job's pods, counts how they end, and ends the Job (contract S9).

mod backoff;
mod facts;
mod indexes;
mod plan;
mod pods;
mod policy;
mod reconcile;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;

pub use backoff::Backoff;
pub(crate) use facts::finished;
pub use facts::{COMPLETION_INDEX, INDEX_FAILURE_COUNT, INDEX_IGNORED_FAILURE_COUNT, TRACKING_FINALIZER};
pub use indexes::Indexes;
pub use plan::plan;
pub use pods::{IndexFailures, NewPod, build, suffix};
pub(crate) use reconcile::{COMPONENT, Controller};

use crate::events::Note;

/// All that a plan for a Job may depend on.
#[derive(Debug, Clone)]
pub struct JobView<'a> {
    /// The Job.
    pub job: &'a Job,
    /// The pods that it controls, and those of its namespace that nobody controls.
    pub pods: &'a [Arc<Pod>],
    /// Its failures so far, as the plan before left them.
    pub backoff: &'a Backoff,
    /// The time.
    pub now: Timestamp,
    /// Whether pods may be created and deleted. Not after a failed attempt: then the status is to
    /// tell what is, before the next attempt.
    pub manage: bool,
}

/// What to do next about a Job: each list in turn, from top to bottom.
///
/// If one step fails, the later ones must not be done; a new plan is made instead. Doing a part of
/// a plan and then making a new one loses nothing and counts nothing twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobPlan {
    /// Pods to become the Job's own.
    pub adopt: Vec<Arc<Pod>>,
    /// Pods that no longer match the selector, to be let go.
    pub release: Vec<Arc<Pod>>,
    /// Pods to delete.
    pub delete: Vec<Deletion>,
    /// Pods to create.
    pub create: Vec<NewPod>,
    /// The status to write.
    pub status: Option<JobStatus>,
    /// Pods to take the tracking finalizer from; the status tells already that they ended.
    pub untrack: Vec<Arc<Pod>>,
    /// What to tell people when all this is done.
    pub notes: Vec<Note>,
    /// When to make the next plan even if nothing changes.
    pub wake_at: Option<Timestamp>,
    /// The failures so far, for the next plan.
    pub backoff: Backoff,
}

/// A pod to delete.
#[derive(Debug, Clone, PartialEq)]
pub struct Deletion {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Whether the tracking finalizer goes first, so that the pod does not count as failed.
    pub uncounted: bool,
}

impl JobPlan {
    /// Whether the plan is to wait.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.adopt.is_empty()
            && self.release.is_empty()
            && self.delete.is_empty()
            && self.create.is_empty()
            && self.status.is_none()
            && self.untrack.is_empty()
    }
}
