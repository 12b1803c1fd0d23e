//! Carries out the plans for CronJobs.

use std::collections::BTreeSet;
use std::sync::Arc;

use apimachinery::cron::{Schedule, time_zone};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::api::{PostParams, PropagationPolicy};

use crate::api::{self, Doing as _, Result, api, cause};
use crate::cache::{Cache, Change};
use crate::clock::SharedClock;
use crate::cronjob::runs::Plan as Runs;
use crate::cronjob::{CronJobPlan, CronJobView, job_from_template, plan, record_start};
use crate::events::{Note, Recorder};
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// The component that events name.
pub(crate) const COMPONENT: &str = "cronjob-controller";

/// Attempts to write a status that others change at the same time.
const STATUS_ATTEMPTS: usize = 5;

/// The CronJob controller.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) cronjobs: Arc<Cache<CronJob>>,
    pub(crate) jobs: Arc<Cache<Job>>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: SharedClock,
    pub(crate) local_zone: TimeZone,
}

impl Controller {
    /// Looks at a CronJob once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(cronjob) = self.cronjobs.get(&key) else { return Ok(Next::Idle) };
        let plan = self.plan(&cronjob).await?;
        plan.notes.iter().for_each(|note| self.recorder.record(cronjob.as_ref(), note.clone()));
        let mut status = plan.status.clone();
        let started = self.start(&cronjob, &plan, &mut status).await;
        // The history is cleaned and the status written whatever became of the start.
        for job in &plan.clean {
            self.delete(&cronjob, job, "history").await?;
        }
        let before = cronjob.status.clone().unwrap_or_default();
        if status != before {
            self.write_status(&cronjob, &before, status).await?;
        }
        started?;
        Ok(Next::at(plan.wake_at))
    }

    /// Plans; looks for active Jobs first that the cache does not have.
    async fn plan(&self, cronjob: &CronJob) -> Result<CronJobPlan> {
        let mut missing = BTreeSet::new();
        loop {
            let jobs = self.jobs.controlled_by(meta::uid(&cronjob.metadata));
            let now = self.clock.now();
            let view = CronJobView { cronjob, jobs: &jobs, missing: &missing, local_zone: &self.local_zone, now };
            let plan = plan(&view);
            if plan.look_for.is_empty() {
                return Ok(plan);
            }
            for reference in &plan.look_for {
                self.look_for(cronjob, reference, &mut missing).await?;
            }
        }
    }

    /// Reads an active Job. It counts as missing if it is another Job by now, or not its own.
    async fn look_for(
        &self,
        cronjob: &CronJob,
        reference: &ObjectReference,
        missing: &mut BTreeSet<String>,
    ) -> Result<()> {
        let key = job_key(cronjob, reference);
        let uid = reference.uid.clone().unwrap_or_default();
        let found = api::<Job>(&self.client, &key.namespace).get_opt(&key.name).await.doing("reading job", &key)?;
        let own = |job: &Job| meta::is_controlled_by(&job.metadata, meta::uid(&cronjob.metadata));
        match found.filter(|job| meta::uid(&job.metadata) == uid && own(job)) {
            Some(job) => {
                self.jobs.apply(job);
                // What was buried stays so: do not ask for it again in this pass.
                if self.jobs.get(&key).is_none_or(|job| meta::uid(&job.metadata) != uid) {
                    missing.insert(uid);
                }
            }
            None => {
                missing.insert(uid);
            }
        }
        Ok(())
    }

    async fn start(&self, cronjob: &CronJob, plan: &CronJobPlan, status: &mut CronJobStatus) -> Result<()> {
        for reference in &plan.replace {
            self.replace(cronjob, reference, status).await?;
        }
        let Some(scheduled) = plan.start else { return Ok(()) };
        if let Some(job) = self.create(cronjob, scheduled).await? {
            record_start(status, &job, scheduled);
        }
        Ok(())
    }

    async fn replace(&self, cronjob: &CronJob, active: &ObjectReference, status: &mut CronJobStatus) -> Result<()> {
        let key = job_key(cronjob, active);
        if let Some(job) = self.jobs.get(&key).filter(|job| job.metadata.uid == active.uid) {
            self.delete(cronjob, &job, "replaced").await?;
        }
        if let Some(list) = &mut status.active {
            list.retain(|listed| listed.uid != active.uid);
        }
        status.active = status.active.take().filter(|list| !list.is_empty());
        Ok(())
    }

    async fn delete(&self, cronjob: &CronJob, job: &Job, why: &'static str) -> Result<()> {
        tracing::debug!(job = %Key::of(&job.metadata), why, "deleting a job");
        match api::delete(&self.client, &self.jobs, job, PropagationPolicy::Background).await {
            Ok(_) => {
                let message = format!("Deleted job {}", meta::name(&job.metadata));
                self.recorder.record(cronjob, Note::normal("SuccessfulDelete", message));
                Ok(())
            }
            Err(error) => {
                let message = format!("Deleted job: {}", cause(&error.source));
                self.recorder.record(cronjob, Note::warning("FailedDelete", message));
                Err(error)
            }
        }
    }

    /// Creates the Job of a scheduled time. One that exists already is taken for it if it is the
    /// CronJob's (S10-25): an earlier process has created it, or an attempt whose answer was lost.
    async fn create(&self, cronjob: &CronJob, scheduled: Timestamp) -> Result<Option<Job>> {
        let job = job_from_template(cronjob, scheduled);
        let key = Key::of(&job.metadata);
        let jobs = api::<Job>(&self.client, &key.namespace);
        match jobs.create(&PostParams::default(), &job).await {
            Ok(created) => {
                self.jobs.apply(created.clone());
                self.recorder.record(cronjob, Note::normal("SuccessfulCreate", format!("Created job {}", key.name)));
                Ok(Some(created))
            }
            Err(error) if api::is_conflict(&error) => {
                let found = jobs.get_opt(&key.name).await.doing("reading job", &key)?;
                let own = |job: &Job| meta::is_controlled_by(&job.metadata, meta::uid(&cronjob.metadata));
                Ok(found.filter(own))
            }
            Err(error) if api::is_namespace_terminating(&error) => Err(error).doing("creating job", &key),
            Err(error) => {
                let message = format!("Error creating job: {}", cause(&error));
                self.recorder.record(cronjob, Note::warning("FailedCreate", message));
                Err(error).doing("creating job", &key)
            }
        }
    }

    /// Writes the status. If the CronJob has been edited meanwhile, the edited one gets it: its
    /// status is written by nobody else.
    async fn write_status(&self, cronjob: &CronJob, before: &CronJobStatus, status: CronJobStatus) -> Result<()> {
        let key = Key::of(&cronjob.metadata);
        let mut new = CronJob { status: Some(status.clone()), ..cronjob.clone() };
        for attempt in 1.. {
            let api = api::<CronJob>(&self.client, &key.namespace);
            let error = match api.replace_status(&key.name, &PostParams::default(), &new).await {
                Ok(written) => {
                    self.cronjobs.apply(written);
                    break;
                }
                Err(error) => error,
            };
            let lost = api::is_conflict(&error) || api::is_not_found(&error);
            let fresh = if lost { api::refresh(&self.client, &self.cronjobs, cronjob).await? } else { None };
            match fresh.filter(|fresh| fresh.status.clone().unwrap_or_default() == *before) {
                Some(fresh) if attempt < STATUS_ATTEMPTS => new = CronJob { status: Some(status.clone()), ..fresh },
                _ => return Err(error).doing("writing the status of cronjob", &key),
            }
        }
        Ok(())
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Queues a CronJob that changed. A new schedule counts from now on (S10-23).
    pub(crate) fn cronjob_changed(&self, change: &Change<'_, CronJob>, queue: &Queue<Key>) {
        let Some(new) = change.new else { return };
        let key = Key::of(&new.metadata);
        if !change.old.is_some_and(|old| schedule_differs(old, new)) {
            return queue.add(key);
        }
        let now = self.clock.now();
        match self.next_from_now(new, now) {
            Some(time) => queue.add_at(key, time),
            None => queue.add(key),
        }
    }

    fn next_from_now(&self, cronjob: &CronJob, now: Timestamp) -> Option<Timestamp> {
        let zone = match cronjob.spec.time_zone.as_deref() {
            Some(name) => time_zone(name)?,
            None => self.local_zone.clone(),
        };
        let runs = Runs { schedule: Schedule::parse(&cronjob.spec.schedule).ok()?, zone: &zone };
        runs.wake_at(cronjob, now)
    }

    /// Queues the CronJob of a Job that changed.
    pub(crate) fn job_changed(change: &Change<'_, Job>, queue: &Queue<Key>) {
        for job in [change.old, change.new].into_iter().flatten() {
            if let Some(owner) = meta::controller(&job.metadata).filter(|owner| owner.kind == "CronJob") {
                queue.add(Key::new(meta::namespace(&job.metadata), &owner.name));
            }
        }
    }
}

fn job_key(cronjob: &CronJob, reference: &ObjectReference) -> Key {
    let namespace = reference.namespace.as_deref().unwrap_or_else(|| meta::namespace(&cronjob.metadata));
    Key::new(namespace, reference.name.clone().unwrap_or_default())
}

fn schedule_differs(old: &CronJob, new: &CronJob) -> bool {
    (&old.spec.schedule, &old.spec.time_zone) != (&new.spec.schedule, &new.spec.time_zone)
}
