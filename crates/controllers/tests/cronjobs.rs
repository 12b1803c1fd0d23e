//! The CronJob controller against a real API server, on a clock that is moved by hand.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test fails by panicking; clones keep it readable")]

mod common;

use std::sync::Arc;

use common::{HandClock, World, conditions};
use controllers::Options;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

fn cronjob(more: Value) -> Value {
    let mut cronjob = json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "tick"},
        "spec": {
            "schedule": "* * * * *",
            "timeZone": "UTC",
            "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {
                "metadata": {"labels": {"made-by": "tick"}},
                "spec": {
                    "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "i"}]}},
                },
            },
        },
    });
    for (field, value) in more.as_object().unwrap() {
        cronjob["spec"][field] = value.clone();
    }
    cronjob
}

/// Only CronJobs: what their Jobs do is told by the tests.
fn options(clock: &HandClock) -> Options {
    Options { jobs: false, scheduler: false, clock: Arc::new(clock.clone()), ..Options::default() }
}

async fn world(clock: &HandClock) -> World {
    let mut world = World::on(clock).await;
    world.start(options(clock));
    world
}

fn names(jobs: &[Job]) -> Vec<String> {
    let mut names: Vec<String> = jobs.iter().map(|job| job.name_any()).collect();
    names.sort();
    names
}

async fn wait_jobs(world: &World, expected: &[&str]) -> Vec<Job> {
    world.wait_all(&format!("jobs {expected:?}"), |jobs: &[Job]| names(jobs) == expected).await
}

async fn wait_cronjob(world: &World, what: &str, fulfilled: impl Fn(&CronJob) -> bool) -> CronJob {
    world.wait_all(what, |all: &[CronJob]| all.iter().any(&fulfilled)).await.remove(0)
}

fn active(cronjob: &CronJob) -> Vec<String> {
    let active = cronjob.status.iter().flat_map(|status| status.active.iter().flatten());
    active.map(|reference| reference.name.clone().unwrap()).collect()
}

async fn finish(world: &World, job: &str, condition: &str, at: &str) {
    let interim = if condition == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    let time = |condition: &str| json!({"type": condition, "status": "True", "lastTransitionTime": at});
    let mut status = json!({"startTime": at, "conditions": [time(interim), time(condition)]});
    if condition == "Complete" {
        status["completionTime"] = at.into();
    }
    let patch = Patch::Merge(json!({"status": status}));
    world.api::<Job>().patch_status(job, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn s10_09_s10_10_s10_18_s10_21_s10_26_a_job_is_started_at_its_time_under_a_name_that_follows_from_the_time() {
    let clock = HandClock::at("2024-05-03T10:00:30Z");
    let world = world(&clock).await;
    let owner: CronJob = world.create(cronjob(json!({"timeZone": "Europe/Berlin"}))).await;
    clock.set("2024-05-03T10:01:00.1Z");
    let job = wait_jobs(&world, &["tick-28578841"]).await.remove(0);
    assert_eq!(job.annotations()["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2024-05-03T12:01:00+02:00");
    assert_eq!(job.labels()["made-by"], "tick");
    let reference = &job.owner_references()[0];
    assert_eq!((Some(&reference.uid), reference.controller), (owner.metadata.uid.as_ref(), Some(true)));
    let cronjob = wait_cronjob(&world, "active", |c| !active(c).is_empty()).await;
    assert_eq!(active(&cronjob), ["tick-28578841"]);
    assert_eq!(cronjob.status.unwrap().last_schedule_time.unwrap().0.to_string(), "2024-05-03T10:01:00Z");
    let events = world.events("CronJob", 1).await;
    assert_eq!(events, [("SuccessfulCreate".to_owned(), "Created job tick-28578841".to_owned())]);
    clock.set("2024-05-03T10:02:00.1Z");
    wait_jobs(&world, &["tick-28578841", "tick-28578842"]).await;
}

#[tokio::test]
async fn s10_12_after_a_pause_only_the_most_recent_time_is_started() {
    let clock = HandClock::at("2024-05-03T10:00:30Z");
    let mut world = World::on(&clock).await;
    world.create::<CronJob>(cronjob(json!({}))).await;
    clock.set("2024-05-03T10:10:20Z");
    world.start(options(&clock));
    wait_jobs(&world, &["tick-28578850"]).await;
    clock.set("2024-05-03T10:11:00.1Z");
    wait_jobs(&world, &["tick-28578850", "tick-28578851"]).await;
}

#[tokio::test]
async fn s10_16_forbid_waits_for_the_active_job_and_then_starts_late() {
    let clock = HandClock::at("2024-05-03T10:00:30Z");
    let world = world(&clock).await;
    world.create::<CronJob>(cronjob(json!({"concurrencyPolicy": "Forbid"}))).await;
    clock.set("2024-05-03T10:01:00.1Z");
    wait_cronjob(&world, "active", |c| active(c) == ["tick-28578841"]).await;
    clock.set("2024-05-03T10:02:00.1Z");
    let events = world.events("CronJob", 2).await;
    assert!(events.iter().any(|(reason, _)| reason == "JobAlreadyActive"), "{events:?}");
    assert_eq!(names(&world.wait_all("jobs", |_: &[Job]| true).await), ["tick-28578841"]);
    clock.set("2024-05-03T10:02:40Z");
    finish(&world, "tick-28578841", "Complete", "2024-05-03T10:02:40Z").await;
    wait_jobs(&world, &["tick-28578841", "tick-28578842"]).await;
    let cronjob = wait_cronjob(&world, "the next one active", |c| active(c) == ["tick-28578842"]).await;
    let status = cronjob.status.unwrap();
    assert_eq!(status.last_successful_time.unwrap().0.to_string(), "2024-05-03T10:02:40Z");
    assert_eq!(status.last_schedule_time.unwrap().0.to_string(), "2024-05-03T10:02:00Z");
}

#[tokio::test]
async fn s10_17_replace_deletes_the_active_job_first() {
    let clock = HandClock::at("2024-05-03T10:00:30Z");
    let world = world(&clock).await;
    world.create::<CronJob>(cronjob(json!({"concurrencyPolicy": "Replace"}))).await;
    clock.set("2024-05-03T10:01:00.1Z");
    wait_cronjob(&world, "active", |c| active(c) == ["tick-28578841"]).await;
    clock.set("2024-05-03T10:02:00.1Z");
    wait_jobs(&world, &["tick-28578842"]).await;
    wait_cronjob(&world, "the new one active", |c| active(c) == ["tick-28578842"]).await;
    let events = world.events("CronJob", 3).await;
    assert!(events.contains(&("SuccessfulDelete".into(), "Deleted job tick-28578841".into())), "{events:?}");
}

#[tokio::test]
async fn s10_22_the_oldest_finished_jobs_go_beyond_the_limits() {
    let clock = HandClock::at("2024-05-03T10:00:30Z");
    let world = world(&clock).await;
    world.create::<CronJob>(cronjob(json!({"successfulJobsHistoryLimit": 1}))).await;
    for (minute, condition) in [(1, "Complete"), (2, "Failed"), (3, "Complete")] {
        clock.set(&format!("2024-05-03T10:0{minute}:00.1Z"));
        let name = format!("tick-2857884{minute}");
        wait_cronjob(&world, "active", |c| active(c) == [name.as_str()]).await;
        finish(&world, &name, condition, &format!("2024-05-03T10:0{minute}:10Z")).await;
        wait_cronjob(&world, "none active", |c| active(c).is_empty()).await;
    }
    let jobs = wait_jobs(&world, &["tick-28578842", "tick-28578843"]).await;
    assert!(jobs.iter().all(|job| conditions(job).len() == 2));
}

#[tokio::test]
async fn s10_25_a_job_created_before_a_crash_is_adopted_and_not_created_again() {
    let clock = HandClock::at("2024-05-03T10:00:30Z");
    let mut world = World::on(&clock).await;
    let owner: CronJob = world.create(cronjob(json!({}))).await;
    clock.set("2024-05-03T10:01:00.1Z");
    let made = controllers::cronjob::job_from_template(&owner, "2024-05-03T10:01:00Z".parse().unwrap());
    let made: Job = world.create(serde_json::to_value(made).unwrap()).await;
    world.start(options(&clock));
    let cronjob = wait_cronjob(&world, "active", |c| !active(c).is_empty()).await;
    assert_eq!(cronjob.status.unwrap().active.unwrap()[0].uid, made.metadata.uid);
    wait_jobs(&world, &["tick-28578841"]).await;
}

#[tokio::test]
async fn s10_25_a_job_of_somebody_else_under_that_name_is_left_alone() {
    let clock = HandClock::at("2024-05-03T10:00:30Z");
    let mut world = World::on(&clock).await;
    let owner: CronJob = world.create(cronjob(json!({}))).await;
    let made = controllers::cronjob::job_from_template(&owner, "2024-05-03T10:01:00Z".parse().unwrap());
    let mut foreign = serde_json::to_value(made).unwrap();
    foreign["metadata"]["ownerReferences"] = json!([]);
    world.create::<Job>(foreign).await;
    clock.set("2024-05-03T10:01:00.1Z");
    world.start(options(&clock));
    clock.set("2024-05-03T10:02:00.1Z");
    wait_jobs(&world, &["tick-28578841", "tick-28578842"]).await;
    let cronjob = wait_cronjob(&world, "the next one active", |c| !active(c).is_empty()).await;
    assert_eq!(active(&cronjob), ["tick-28578842"]);
}

#[tokio::test]
async fn s10_09_controllers_killed_after_any_write_start_one_job_for_one_time() {
    for writes in 1.. {
        let clock = HandClock::at("2024-05-03T10:00:30Z");
        let mut world = World::on(&clock).await;
        world.create::<CronJob>(cronjob(json!({"concurrencyPolicy": "Replace"}))).await;
        clock.set("2024-05-03T10:01:00.1Z");
        let mut blown = world.start_doomed(options(&clock), writes);
        let booked = |c: &CronJob| active(c) == ["tick-28578841"];
        let survived = tokio::select! {
            _ = async { wait_cronjob(&world, "active", booked).await; world.events("CronJob", 1).await } => true,
            _ = blown.wait_for(|blown| *blown) => false,
        };
        world.kill().await;
        world.start(options(&clock));
        let cronjob = wait_cronjob(&world, "active", booked).await;
        let jobs = wait_jobs(&world, &["tick-28578841"]).await;
        let status = cronjob.status.unwrap();
        assert_eq!(status.active.unwrap()[0].uid, jobs[0].metadata.uid, "killed after write {writes}");
        assert_eq!(status.last_schedule_time.unwrap().0.to_string(), "2024-05-03T10:01:00Z");
        if survived {
            assert!(writes > 2, "there are more writes than that");
            break;
        }
    }
}
