//! Jobs and CronJobs (S5-59).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, age, containers, human_duration, list, name, number,
    selector_or_none, since, text,
};
use crate::time;

pub(super) const JOB: &[Column] = &[
    NAME,
    Column::text("Status", "Whether the job runs, and how it ended."),
    Column::text("Completions", "Number of pods that succeeded, of those that have to."),
    Column::text("Duration", "Time that the job took, or has taken until now."),
    AGE,
    CONTAINERS.wide(),
    IMAGES.wide(),
    SELECTOR.wide(),
];

pub(super) const CRON_JOB: &[Column] = &[
    NAME,
    Column::text("Schedule", "When jobs are started, in cron format."),
    Column::text("Timezone", "Time zone of the schedule."),
    Column::boolean("Suspend", "Whether no further jobs are started."),
    Column::integer("Active", "Number of jobs that run."),
    Column::text("Last Schedule", "Time since a job was last started by the schedule."),
    AGE,
    CONTAINERS.wide(),
    IMAGES.wide(),
    SELECTOR.wide(),
];

pub(super) fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(job, "/spec/template/spec/containers");
    vec![
        name(job),
        json!(status(job)),
        json!(completions(job)),
        json!(duration(job, now)),
        age(job, now),
        names,
        images,
        selector_or_none(job, "/spec/selector"),
    ]
}

fn status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        let condition = list(job, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind);
        condition.is_some_and(|condition| text(condition, "/status") == "True")
    };
    if has("Complete") {
        return "Complete";
    }
    if has("Failed") {
        return "Failed";
    }
    if !text(job, "/metadata/deletionTimestamp").is_empty() {
        return "Terminating";
    }
    ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|kind| has(kind)).unwrap_or("Running")
}

fn completions(job: &Value) -> String {
    let succeeded = number(job, "/status/succeeded");
    match (job.pointer("/spec/completions").and_then(Value::as_i64), number(job, "/spec/parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = time::parse(text(job, "/status/startTime")) else { return String::new() };
    let end = time::parse(text(job, "/status/completionTime")).unwrap_or(now);
    human_duration(end.duration_since(start))
}

pub(super) fn cron_job(cron_job: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(cron_job, "/spec/jobTemplate/spec/template/spec/containers");
    let last = match text(cron_job, "/status/lastScheduleTime") {
        "" => "<none>".to_owned(),
        at => since(at, now),
    };
    let zone = cron_job.pointer("/spec/timeZone").and_then(Value::as_str).unwrap_or("<none>");
    let suspend = match cron_job.pointer("/spec/suspend").and_then(Value::as_bool) {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    vec![
        name(cron_job),
        json!(text(cron_job, "/spec/schedule")),
        json!(zone),
        json!(suspend),
        json!(list(cron_job, "/status/active").len()),
        json!(last),
        age(cron_job, now),
        names,
        images,
        selector_or_none(cron_job, "/spec/jobTemplate/spec/selector"),
    ]
}
