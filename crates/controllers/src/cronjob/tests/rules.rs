//! Rules of contract S10, one test each.

use super::*;
use crate::meta;

fn plan_at(cronjob: &CronJob, jobs: &[Arc<Job>], now: &str) -> CronJobPlan {
    let missing = BTreeSet::new();
    plan(&CronJobView { cronjob, jobs, missing: &missing, local_zone: &TimeZone::UTC, now: time(now) })
}

/// The start and the notes of the plan.
fn outcome(more: Value, now: &str) -> (Option<String>, Vec<String>) {
    let plan = plan_at(&cronjob(more), &[], now);
    let notes = plan.notes.iter().map(|note| format!("{}: {}", note.reason, note.message)).collect();
    (plan.start.map(|start| start.to_string()), notes)
}

fn started(more: Value, now: &str) -> Option<String> {
    let (start, notes) = outcome(more, now);
    assert_eq!(notes, Vec::<String>::new());
    start
}

fn child(name: &str, conditions: Value) -> Arc<Job> {
    let job = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name},
        "status": {"conditions": conditions, "startTime": "2024-05-03T10:00:00Z"},
    });
    Arc::new(serde_json::from_value(job).unwrap())
}

#[test]
fn s10_11_the_base_is_the_last_start_else_the_creation() {
    assert_eq!(started(json!({}), "2024-05-03T10:00:59Z"), None);
    assert_eq!(started(json!({}), "2024-05-03T10:01:00Z").as_deref(), Some("2024-05-03T10:01:00Z"));
    let last = json!({"status": {"lastScheduleTime": "2024-05-03T10:05:00Z"}});
    assert_eq!(started(last.clone(), "2024-05-03T10:05:59Z"), None);
    assert_eq!(started(last, "2024-05-03T10:06:01Z").as_deref(), Some("2024-05-03T10:06:00Z"));
}

#[test]
fn s10_12_only_the_most_recent_of_several_missed_times_is_started() {
    assert_eq!(started(json!({}), "2024-05-03T10:30:10Z").as_deref(), Some("2024-05-03T10:30:00Z"));
    let hourly = json!({"schedule": "30 6-16/4 * * 1-5"});
    assert_eq!(started(hourly, "2024-05-06T11:00:00Z").as_deref(), Some("2024-05-06T10:30:00Z"));
}

#[test]
fn s10_13_more_than_100_missed_times_are_warned_about_and_the_last_is_started() {
    let (start, notes) = outcome(json!({}), "2024-05-03T14:00:00Z");
    assert_eq!(start.as_deref(), Some("2024-05-03T14:00:00Z"));
    let warning = "TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or \
                   check clock skew";
    assert_eq!(notes, [warning]);
    assert_eq!(
        started(json!({"startingDeadlineSeconds": 600}), "2024-05-03T14:00:00Z").unwrap(),
        "2024-05-03T14:00:00Z"
    );
}

/// The search for missed times begins at the deadline, so what is too late is hardly ever found and
/// told, here as in Kubernetes.
#[test]
fn s10_13_a_hundred_missed_times_are_not_many() {
    assert_eq!(started(json!({}), "2024-05-03T11:40:30Z").as_deref(), Some("2024-05-03T11:40:00Z"));
    assert_eq!(outcome(json!({}), "2024-05-03T11:41:00Z").1.len(), 1);
}

#[test]
fn s10_04_a_zone_within_the_schedule_works_and_is_warned_about() {
    let more = json!({"schedule": "TZ=Europe/Berlin 30 12 * * *", "timeZone": null});
    let (start, notes) = outcome(more, "2024-05-03T10:30:00Z");
    assert_eq!(start.as_deref(), Some("2024-05-03T10:30:00Z"));
    assert!(
        notes[0].starts_with("UnsupportedSchedule: CRON_TZ or TZ used in schedule \"TZ=Europe/Berlin"),
        "{notes:?}"
    );
}

#[test]
fn s10_14_what_is_too_late_is_not_started() {
    let hourly = json!({"schedule": "@hourly", "startingDeadlineSeconds": 5});
    assert_eq!(started(hourly.clone(), "2024-05-03T11:00:04.9Z").as_deref(), Some("2024-05-03T11:00:00Z"));
    assert_eq!(started(hourly, "2024-05-03T11:00:06Z"), None);
}

#[test]
fn s10_16_s10_28_forbid_does_not_start_beside_an_active_job() {
    let status = json!({"active": [{"name": "tick-1", "namespace": "ns", "uid": "tick-1"}]});
    let cronjob = cronjob(json!({"concurrencyPolicy": "Forbid", "status": status}));
    let running = [child("tick-1", json!([]))];
    let plan = plan_at(&cronjob, &running, "2024-05-03T10:01:10Z");
    assert_eq!((plan.start, plan.notes.len()), (None, 1));
    assert_eq!(plan.notes[0].reason, "JobAlreadyActive");
    assert_eq!(plan.wake_at, Some(time("2024-05-03T10:02:00.1Z")));
    let finished = [child("tick-1", json!([{"type": "Complete", "status": "True"}]))];
    let plan = plan_at(&cronjob, &finished, "2024-05-03T10:01:10Z");
    assert_eq!(plan.start, Some(time("2024-05-03T10:01:00Z")));
}

#[test]
fn s10_16_forbid_asks_the_list_of_active_jobs_and_not_who_runs() {
    let cronjob = cronjob(json!({"concurrencyPolicy": "Forbid"}));
    let plan = plan_at(&cronjob, &[child("made-by-hand", json!([]))], "2024-05-03T10:01:10Z");
    assert_eq!(plan.start, Some(time("2024-05-03T10:01:00Z")));
    assert_eq!(plan.notes[0].reason, "UnexpectedJob");
}

#[test]
fn s10_17_replace_names_every_active_job() {
    let status = json!({"active": [{"name": "a", "uid": "a"}, {"name": "b", "uid": "b"}]});
    let cronjob = cronjob(json!({"concurrencyPolicy": "Replace", "status": status}));
    let plan = plan_at(&cronjob, &[child("a", json!([])), child("b", json!([]))], "2024-05-03T10:01:10Z");
    assert_eq!(plan.replace.len(), 2);
    assert_eq!(plan.start, Some(time("2024-05-03T10:01:00Z")));
}

#[test]
fn s10_15_s10_19_a_suspended_cronjob_starts_nothing_and_catches_up_later() {
    assert_eq!(started(json!({"suspend": true}), "2024-05-03T10:05:10Z"), None);
    assert_eq!(started(json!({"suspend": false}), "2024-05-03T10:05:10Z").as_deref(), Some("2024-05-03T10:05:00Z"));
}

#[test]
fn s10_20_children_and_the_list_of_active_jobs_are_compared() {
    let active = |name: &str| json!({"name": name, "namespace": "ns", "uid": name});
    let status = json!({"active": [active("done"), active("lost"), active("runs")]});
    let cronjob = cronjob(json!({"suspend": true, "status": status}));
    let done = json!([{"type": "Failed", "status": "True"}]);
    let jobs = [child("done", done), child("runs", json!([])), child("odd", json!([]))];
    let unseen = plan_at(&cronjob, &jobs, "2024-05-03T10:00:40Z");
    assert_eq!(unseen.look_for.len(), 1);
    let missing = BTreeSet::from(["lost".to_owned()]);
    let now = time("2024-05-03T10:00:40Z");
    let view = CronJobView { cronjob: &cronjob, jobs: &jobs, missing: &missing, local_zone: &TimeZone::UTC, now };
    let plan = plan(&view);
    let notes: Vec<String> = plan.notes.iter().map(|note| format!("{}: {}", note.reason, note.message)).collect();
    assert_eq!(
        notes,
        [
            "SawCompletedJob: Saw completed job: done, condition: Failed",
            "UnexpectedJob: Saw a job that the controller did not create or forgot: odd",
            "MissingJob: Active job went missing: lost",
        ]
    );
    let left: Vec<String> = plan.status.active.unwrap().into_iter().map(|active| active.name.unwrap()).collect();
    assert_eq!(left, ["runs"]);
}

#[test]
fn s10_22_finished_jobs_beyond_the_limits_go_oldest_first() {
    let cronjob = cronjob(json!({"suspend": true, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0}));
    let ended = |condition: &str| json!([{"type": condition, "status": "True"}]);
    let jobs = [
        child("c", ended("Complete")),
        child("a", ended("Complete")),
        child("b", ended("Complete")),
        child("f", ended("Failed")),
        child("r", json!([])),
    ];
    let plan = plan_at(&cronjob, &jobs, "2024-05-03T10:00:40Z");
    let gone: Vec<&str> = plan.clean.iter().map(|job| job.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(gone, ["a", "b", "f"]);
}

#[test]
fn s10_23_the_next_look_is_just_after_the_next_time() {
    let plan = plan_at(&cronjob(json!({})), &[], "2024-05-03T10:00:40Z");
    assert_eq!(plan.wake_at, Some(time("2024-05-03T10:01:00.1Z")));
    let plan = plan_at(&cronjob(json!({})), &[], "2024-05-03T10:01:00.1Z");
    assert_eq!((plan.start.is_some(), plan.wake_at), (true, Some(time("2024-05-03T10:02:00.1Z"))));
    let every = cronjob(json!({"schedule": "@every 90s"}));
    assert_eq!(plan_at(&every, &[], "2024-05-03T10:00:40Z").wake_at, Some(time("2024-05-03T10:02:00.1Z")));
}

#[test]
fn s10_24_bad_schedules_and_zones_are_told_and_waited_out() {
    let told = |more: Value| {
        let plan = plan_at(&cronjob(more), &[], "2024-05-03T10:05:00Z");
        assert_eq!((plan.start, plan.wake_at), (None, None));
        plan.notes.iter().map(|note| note.reason.clone().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(json!({"schedule": "61 * * * *"})), ["UnparseableSchedule"]);
    assert_eq!(told(json!({"schedule": "0 0 31 2 *"})), ["InvalidSchedule"]);
    assert_eq!(told(json!({"timeZone": "Mars/Olympus"})), ["UnknownTimeZone"]);
}

#[test]
fn s10_27_nothing_is_started_by_a_cronjob_that_is_being_deleted() {
    let mut cronjob = cronjob(json!({}));
    cronjob.metadata.deletion_timestamp = cronjob.metadata.creation_timestamp.clone();
    assert_eq!(plan_at(&cronjob, &[], "2024-05-03T10:05:00Z").start, None);
}

#[test]
fn s10_21_the_last_success_is_the_newest_of_all_children() {
    let complete = |name: &str, at: &str| {
        let mut job = Job::clone(&child(name, json!([{"type": "Complete", "status": "True"}])));
        job.status.as_mut().unwrap().completion_time = Some(meta::api_time(time(at)));
        Arc::new(job)
    };
    let jobs = [complete("new", "2024-05-03T10:20:00Z"), complete("old", "2024-05-03T10:10:00Z")];
    let plan = plan_at(&cronjob(json!({"suspend": true})), &jobs, "2024-05-03T10:30:00Z");
    assert_eq!(plan.status.last_successful_time.map(|at| at.0), Some(time("2024-05-03T10:20:00Z")));
}

#[test]
fn s10_10_the_annotation_is_in_the_zone_of_the_cronjob() {
    let made = job_from_template(&cronjob(json!({"timeZone": "Asia/Kolkata"})), time("2024-05-03T10:01:00Z"));
    assert_eq!(made.metadata.annotations.unwrap()[SCHEDULED_TIMESTAMP], "2024-05-03T15:31:00+05:30");
}

#[test]
fn a_manual_job_is_what_kubectl_create_job_from_makes() {
    let made = manual_job(&cronjob(json!({})), "now");
    assert_eq!(made.metadata.name.as_deref(), Some("now"));
    assert_eq!(made.metadata.annotations.unwrap()["cronjob.kubernetes.io/instantiate"], "manual");
    let owner = &made.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.controller, owner.block_owner_deletion), ("CronJob", Some(true), None));
}

#[test]
fn s10_09_s10_10_names_and_annotations_follow_from_the_scheduled_time() {
    let made = job_from_template(&cronjob(json!({})), time("2024-05-03T10:01:00Z"));
    assert_eq!(made.metadata.name.as_deref(), Some("tick-28578841"));
    assert_eq!(made.metadata.annotations.unwrap()[SCHEDULED_TIMESTAMP], "2024-05-03T10:01:00Z");
}
