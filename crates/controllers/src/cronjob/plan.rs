//! Decides what to do next about a CronJob (cronjob_controllerv2.go: syncCronJob, cleanupFinishedJobs).

use std::collections::BTreeSet;
use std::sync::Arc;

use apimachinery::cron::{Schedule, time_zone};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;

use crate::cronjob::runs::Plan as Runs;
use crate::cronjob::{CronJobPlan, CronJobView, job_name};
use crate::events::Note;
use crate::job::finished;
use crate::meta;

/// Decides what to do next about a CronJob.
///
/// Guarantees: one scheduled time starts at most one Job, because its name follows from that time.
#[must_use]
pub fn plan(view: &CronJobView<'_>) -> CronJobPlan {
    let mut plan = CronJobPlan { status: view.cronjob.status.clone().unwrap_or_default(), ..CronJobPlan::default() };
    plan.look_for = unseen(view, &plan.status);
    if !plan.look_for.is_empty() {
        return plan;
    }
    review_children(view, &mut plan);
    if !meta::is_deleting(&view.cronjob.metadata) {
        schedule(view, &mut plan);
    }
    clean_history(view, &mut plan);
    plan
}

/// Active Jobs that are neither in the view nor known to be missing.
fn unseen(view: &CronJobView<'_>, status: &CronJobStatus) -> Vec<ObjectReference> {
    let seen: BTreeSet<&str> = view.jobs.iter().map(|job| meta::uid(&job.metadata)).collect();
    let is_seen = |uid: &str| seen.contains(uid) || view.missing.contains(uid);
    status.active.iter().flatten().filter(|active| !is_seen(reference_uid(active))).cloned().collect()
}

fn reference_uid(reference: &ObjectReference) -> &str {
    reference.uid.as_deref().unwrap_or_default()
}

fn reference_name(reference: &ObjectReference) -> &str {
    reference.name.as_deref().unwrap_or_default()
}

/// Brings the list of active Jobs and the time of the last success up to date (S10-20, S10-21).
fn review_children(view: &CronJobView<'_>, plan: &mut CronJobPlan) {
    for job in view.jobs {
        let name = meta::name(&job.metadata);
        let active = is_active(&plan.status, meta::uid(&job.metadata));
        match finished(job) {
            None if !active => {
                let message = format!("Saw a job that the controller did not create or forgot: {name}");
                plan.notes.push(Note::warning("UnexpectedJob", message));
            }
            Some(condition) if active => {
                drop_active(&mut plan.status, meta::uid(&job.metadata));
                let message = format!("Saw completed job: {name}, condition: {}", condition.type_);
                plan.notes.push(Note::normal("SawCompletedJob", message));
            }
            None | Some(_) => {}
        }
        note_success(&mut plan.status, job);
    }
    for active in plan.status.active.clone().into_iter().flatten() {
        if view.missing.contains(reference_uid(&active)) {
            drop_active(&mut plan.status, reference_uid(&active));
            let message = format!("Active job went missing: {}", reference_name(&active));
            plan.notes.push(Note::normal("MissingJob", message));
        }
    }
}

fn is_active(status: &CronJobStatus, uid: &str) -> bool {
    status.active.iter().flatten().any(|active| reference_uid(active) == uid)
}

fn drop_active(status: &mut CronJobStatus, uid: &str) {
    if let Some(active) = &mut status.active {
        active.retain(|active| reference_uid(active) != uid);
    }
    status.active = status.active.take().filter(|active| !active.is_empty());
}

fn note_success(status: &mut CronJobStatus, job: &Job) {
    let completed = finished(job).filter(|condition| condition.type_ == "Complete");
    let at = completed.and_then(|_| job.status.as_ref()?.completion_time.clone());
    status.last_successful_time = status.last_successful_time.take().max(at);
}

/// Starts the Job that is due, if one is and may be.
fn schedule(view: &CronJobView<'_>, plan: &mut CronJobPlan) {
    let spec = &view.cronjob.spec;
    let zone = match zone(view.cronjob, view.local_zone) {
        Ok(zone) => zone,
        Err(note) => return plan.notes.push(note),
    };
    if spec.suspend == Some(true) {
        return;
    }
    plan.notes.extend(unsupported(&spec.schedule));
    let schedule = match Schedule::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(error) => {
            let message = format!("unparseable schedule: {:?} : {error}", spec.schedule);
            return plan.notes.push(Note::warning("UnparseableSchedule", message));
        }
    };
    let runs = Runs { schedule, zone: &zone };
    match due(view, plan, &runs) {
        Ok(start) => {
            plan.start = start;
            // What is started now is not waited for again.
            let mut after = view.cronjob.clone();
            if let Some(start) = start {
                after.status.get_or_insert_default().last_schedule_time = Some(meta::api_time(start));
            }
            plan.wake_at = runs.wake_at(&after, view.now);
        }
        Err(note) => plan.notes.push(note),
    }
}

fn zone(cronjob: &CronJob, local: &TimeZone) -> Result<TimeZone, Note> {
    let Some(name) = cronjob.spec.time_zone.as_deref() else { return Ok(local.clone()) };
    time_zone(name).ok_or_else(|| {
        Note::warning("UnknownTimeZone", format!("invalid timeZone: {name:?}: unknown time zone {name}"))
    })
}

/// A time zone within the schedule works, but is warned about (S10-04).
fn unsupported(schedule: &str) -> Option<Note> {
    schedule.contains("TZ").then(|| {
        let message = format!(
            "CRON_TZ or TZ used in schedule {schedule:?} is not officially supported, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        );
        Note::warning("UnsupportedSchedule", message)
    })
}

/// The scheduled time to start a Job for; none if nothing is to be started now.
fn due(view: &CronJobView<'_>, plan: &mut CronJobPlan, runs: &Runs<'_>) -> Result<Option<Timestamp>, Note> {
    let (cronjob, now) = (view.cronjob, view.now);
    let invalid = |error| {
        Note::warning("InvalidSchedule", format!("invalid schedule schedule: {} : {error}", cronjob.spec.schedule))
    };
    let missed = runs.missed(cronjob, now, true).map_err(invalid)?;
    let Some(scheduled) = missed.latest.filter(|latest| *latest <= now) else { return Ok(None) };
    if missed.is_many() {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.notes.push(Note::warning("TooManyMissedTimes", message));
    }
    if is_too_late(cronjob, scheduled, now) {
        let text = scheduled.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000");
        let message = format!("Missed scheduled time to start a job: {text}");
        plan.notes.push(Note::warning("MissSchedule", message));
        return Ok(None);
    }
    if is_started(cronjob, &plan.status, scheduled) {
        return Ok(None);
    }
    let active = plan.status.active.clone().unwrap_or_default();
    match cronjob.spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.notes.push(Note::normal("JobAlreadyActive", message));
            return Ok(None);
        }
        Some("Replace") => plan.replace = active,
        _ => {}
    }
    Ok(Some(scheduled))
}

fn is_too_late(cronjob: &CronJob, scheduled: Timestamp, now: Timestamp) -> bool {
    let allowed = cronjob.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    allowed.is_some_and(|allowed| scheduled.saturating_add(allowed).is_ok_and(|last| last < now))
}

fn is_started(cronjob: &CronJob, status: &CronJobStatus, scheduled: Timestamp) -> bool {
    let name = job_name(cronjob, scheduled);
    status.active.iter().flatten().any(|active| reference_name(active) == name)
        || status.last_schedule_time.as_ref().is_some_and(|last| last.0 == scheduled)
}

/// Books a started Job.
pub fn record_start(status: &mut CronJobStatus, job: &Job, scheduled: Timestamp) {
    if !is_active(status, meta::uid(&job.metadata)) {
        status.active.get_or_insert_default().push(job.object_ref(&()));
    }
    status.last_schedule_time = Some(meta::api_time(scheduled));
}

/// Finds finished Jobs beyond the limits, oldest first (S10-22).
fn clean_history(view: &CronJobView<'_>, plan: &mut CronJobPlan) {
    let spec = &view.cronjob.spec;
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    for (condition, limit) in limits {
        let Some(limit) = limit else { continue };
        let ended = |job: &&Arc<Job>| finished(job).is_some_and(|c| c.type_ == condition);
        let mut jobs: Vec<&Arc<Job>> =
            view.jobs.iter().filter(ended).filter(|job| !meta::is_deleting(&job.metadata)).collect();
        jobs.sort_by_cached_key(|job| {
            let start = job.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|time| time.0);
            (start.is_none(), start, meta::name(&job.metadata).to_owned())
        });
        let surplus = jobs.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        plan.clean.extend(jobs.into_iter().take(surplus).cloned());
    }
}
