//! Deletes finished Jobs after their time to live (S9-43).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::api::PropagationPolicy;

use crate::api::{self, Result};
use crate::cache::{Cache, Change};
use crate::clock::SharedClock;
use crate::job::finished;
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// When the Job is to be deleted; none if it is not finished or lives for ever.
#[must_use]
pub fn expires_at(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let end = finished(job)?.last_transition_time.as_ref()?.0;
    end.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

/// Deletes Jobs that have expired.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) jobs: Arc<Cache<Job>>,
    pub(crate) clock: SharedClock,
}

impl Controller {
    /// Looks at a Job once. It is read again before it is deleted: somebody may have given it more
    /// time.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(job) = self.jobs.get(&key).filter(|job| !meta::is_deleting(&job.metadata)) else {
            return Ok(Next::Idle);
        };
        let Some(expires) = expires_at(&job) else { return Ok(Next::Idle) };
        if expires > self.clock.now() {
            return Ok(Next::At(expires));
        }
        let fresh = api::refresh(&self.client, &self.jobs, &job).await?;
        match fresh.as_ref().and_then(expires_at) {
            Some(expires) if expires <= self.clock.now() => {
                api::delete(&self.client, &self.jobs, job.as_ref(), PropagationPolicy::Foreground).await?;
                Ok(Next::Idle)
            }
            expires => Ok(Next::at(expires)),
        }
    }

    /// Queues a Job that has finished.
    pub(crate) fn job_changed(change: &Change<'_, Job>, queue: &Queue<Key>) {
        if let Some(job) = change.new.filter(|job| expires_at(job).is_some()) {
            queue.add(Key::of(&job.metadata));
        }
    }
}
