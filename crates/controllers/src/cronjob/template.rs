//! Makes the Jobs of a CronJob (S10-09, S10-10).

use std::collections::BTreeMap;

use apimachinery::cron::time_zone;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::meta;

/// The scheduled time of a Job (S10-10).
pub const SCHEDULED_TIMESTAMP: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// How `kubectl create job --from` marks its Jobs.
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";

/// The name of the Job for a scheduled time: always the same, so that one time starts one Job.
#[must_use]
pub fn job_name(cronjob: &CronJob, scheduled: Timestamp) -> String {
    format!("{}-{}", meta::name(&cronjob.metadata), scheduled.as_second() / 60)
}

/// Makes the Job of a scheduled time, as the controller creates it.
#[must_use]
pub fn job_from_template(cronjob: &CronJob, scheduled: Timestamp) -> Job {
    let owner = meta::controller_reference("batch/v1", "CronJob", &cronjob.metadata);
    let mut job = instantiate(cronjob, job_name(cronjob, scheduled), owner);
    annotations(&mut job).insert(SCHEDULED_TIMESTAMP.to_owned(), scheduled_text(cronjob, scheduled));
    job
}

/// Makes a Job that runs a CronJob now, as `kubectl create job --from` does.
#[must_use]
pub fn manual_job(cronjob: &CronJob, name: &str) -> Job {
    let owner = meta::controller_reference("batch/v1", "CronJob", &cronjob.metadata);
    let owner = OwnerReference { block_owner_deletion: None, ..owner };
    let mut job = instantiate(cronjob, name.to_owned(), owner);
    annotations(&mut job).insert(INSTANTIATE.to_owned(), "manual".to_owned());
    job
}

fn instantiate(cronjob: &CronJob, name: String, owner: OwnerReference) -> Job {
    let template = cronjob.spec.job_template.clone();
    let template_meta = template.metadata.unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: cronjob.metadata.namespace.clone(),
        labels: template_meta.labels,
        annotations: template_meta.annotations,
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Job { metadata, spec: template.spec, status: None }
}

fn annotations(job: &mut Job) -> &mut BTreeMap<String, String> {
    job.metadata.annotations.get_or_insert_default()
}

/// RFC 3339 in the CronJob's time zone, UTC if it has none.
fn scheduled_text(cronjob: &CronJob, scheduled: Timestamp) -> String {
    let zone = cronjob.spec.time_zone.as_deref().and_then(time_zone).unwrap_or(TimeZone::UTC);
    let zoned = scheduled.to_zoned(zone);
    let format = if zoned.offset() == Offset::UTC { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    zoned.strftime(format).to_string()
}
