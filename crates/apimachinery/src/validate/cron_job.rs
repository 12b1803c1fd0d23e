//! CronJobs (S10-01 to S10-08).

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec};

use super::{job, not_negative, one_of};
use crate::{
    cron::{self, Schedule},
    field::{ErrorType, FieldError, FieldErrors, Path},
};

/// Checks a new CronJob.
pub(super) fn create(errors: &mut FieldErrors, cron_job: &CronJob) {
    let name = cron_job.metadata.name.as_deref().unwrap_or_default();
    if name.len() > MOST_NAME_BYTES {
        let why = format!("must be no more than {MOST_NAME_BYTES} characters");
        errors.invalid(&Path::new("metadata").child("name"), name, why);
    }
    spec(errors, &cron_job.spec, None);
}

/// Checks a changed CronJob. A schedule that names a zone itself stays allowed for those that had one.
pub(super) fn update(errors: &mut FieldErrors, old: &CronJob, new: &CronJob) {
    spec(errors, &new.spec, Some(&old.spec));
}

/// What is added to the name makes up to 11 of 63 characters (S10-07).
const MOST_NAME_BYTES: usize = 52;

fn spec(errors: &mut FieldErrors, spec: &CronJobSpec, old: Option<&CronJobSpec>) {
    let path = Path::new("spec");
    schedule(errors, &path.child("schedule"), spec, old);
    if let Some(zone) = spec.time_zone.as_deref() {
        time_zone(errors, &path.child("timeZone"), zone);
    }
    for (field, value) in [
        ("startingDeadlineSeconds", spec.starting_deadline_seconds),
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit.map(i64::from)),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit.map(i64::from)),
    ] {
        not_negative(errors, &path.child(field), value);
    }
    let policy = spec.concurrency_policy.as_deref();
    one_of(errors, &path.child("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"]);
    template(errors, &path.child("jobTemplate").child("spec"), spec);
}

fn schedule(errors: &mut FieldErrors, path: &Path, spec: &CronJobSpec, old: Option<&CronJobSpec>) {
    let text = spec.schedule.as_str();
    if text.is_empty() {
        errors.required(path, "");
        return;
    }
    if let Err(why) = Schedule::parse(text) {
        errors.invalid(path, text, why.to_string());
    }
    if !text.contains("TZ") {
        return;
    }
    if spec.time_zone.is_some() {
        errors.invalid(path, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    } else if !old.is_some_and(|old| old.schedule.contains("TZ")) {
        errors.invalid(path, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
}

fn time_zone(errors: &mut FieldErrors, path: &Path, zone: &str) {
    if zone.is_empty() {
        errors.invalid(path, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(path, zone, why);
    } else if cron::time_zone(zone).is_none() {
        errors.invalid(path, zone, format!("unknown time zone {zone}"));
    }
}

/// Checks the Jobs to be: their selector is always generated.
fn template(errors: &mut FieldErrors, path: &Path, spec: &CronJobSpec) {
    let empty = JobSpec::default();
    let found = spec.job_template.spec.as_ref().unwrap_or(&empty);
    job::spec(errors, path, found);
    if let Some(selector) = &found.selector {
        let value = serde_json::to_value(selector).unwrap_or_default();
        errors.invalid(&path.child("selector"), value, "`selector` will be auto-generated");
    }
    if found.manual_selector == Some(true) {
        errors.push(FieldError {
            kind: ErrorType::NotSupported,
            field: path.child("manualSelector"),
            // A boolean, so without quotes.
            value: Some("true".to_owned()),
            detail: r#"supported values: "nil", "false""#.to_owned(),
        });
    }
}
