//! The CronJob controller: starts Jobs on a schedule and keeps their history short (contract S10).

mod plan;
mod reconcile;
mod runs;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;

pub use plan::{plan, record_start};
pub(crate) use reconcile::{COMPONENT, Controller};
pub use template::{SCHEDULED_TIMESTAMP, job_from_template, job_name, manual_job};

use crate::events::Note;

/// All that a plan for a CronJob may depend on.
#[derive(Debug, Clone)]
pub struct CronJobView<'a> {
    /// The CronJob.
    pub cronjob: &'a CronJob,
    /// The Jobs that it controls.
    pub jobs: &'a [Arc<Job>],
    /// Uids in its list of active Jobs that the API server does not know any more.
    pub missing: &'a BTreeSet<String>,
    /// The time zone of schedules that name none.
    pub local_zone: &'a TimeZone,
    /// The time.
    pub now: Timestamp,
}

/// What to do next about a CronJob: each part in turn, from top to bottom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CronJobPlan {
    /// Active Jobs that are not in the view. If there are any, look for them and plan again.
    pub look_for: Vec<ObjectReference>,
    /// What to tell people.
    pub notes: Vec<Note>,
    /// Jobs to delete before the next one is started (concurrencyPolicy Replace).
    pub replace: Vec<ObjectReference>,
    /// The scheduled time of the Job to start.
    pub start: Option<Timestamp>,
    /// Finished Jobs beyond the history limits, to delete.
    pub clean: Vec<Arc<Job>>,
    /// The status to write, without what starting and replacing add to it.
    pub status: CronJobStatus,
    /// When to make the next plan even if nothing changes.
    pub wake_at: Option<Timestamp>,
}
