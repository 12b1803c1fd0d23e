//! The Job controller and the scheduler against a real API server.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test fails by panicking; clones keep it readable")]

mod common;

use common::{World, conditions, job};
use controllers::Options;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

fn bound(pods: &[Pod]) -> bool {
    !pods.is_empty() && pods.iter().all(|pod| pod.spec.as_ref().unwrap().node_name.is_some())
}

#[tokio::test]
async fn a_job_creates_a_pod_the_scheduler_binds_it_and_its_success_completes_the_job() {
    let world = World::running().await;
    world.create::<Job>(job("work", json!({}))).await;
    let pods = world.pods("a bound pod", bound).await;
    assert!(pods[0].metadata.name.as_ref().unwrap().starts_with("work-"), "{pods:?}");
    let running = world.wait_job("active", |job| job.status.as_ref().is_some_and(|s| s.active == Some(1))).await;
    assert_eq!(conditions(&running), Vec::<String>::new());
    world.succeed(&pods[0]).await;
    let done = world.wait_job("complete", |job| conditions(job).contains(&"Complete=True".to_owned())).await;
    assert_eq!(conditions(&done), ["SuccessCriteriaMet=True", "Complete=True"]);
    let status = done.status.unwrap();
    assert_eq!((status.succeeded, status.failed, status.active), (Some(1), None, None));
    assert_eq!((status.ready, status.terminating), (Some(0), Some(0)));
    assert!(status.completion_time.is_some());
    let pods = world.pods("the counted pod stays", |pods| pods[0].metadata.finalizers.is_none()).await;
    assert_eq!(pods.len(), 1);
    let name = pods[0].metadata.name.clone().unwrap();
    let events = world.events("Job", 2).await;
    assert!(events.contains(&("SuccessfulCreate".to_owned(), format!("Created pod: {name}"))), "{events:?}");
    assert!(events.contains(&("Completed".to_owned(), "Job completed".to_owned())), "{events:?}");
    let events = world.events("Pod", 1).await;
    assert_eq!(events, [("Scheduled".to_owned(), format!("Successfully assigned default/{name} to node1"))]);
}

#[tokio::test]
async fn s9_31_a_job_with_backoff_limit_0_fails_with_its_first_pod() {
    let world = World::running().await;
    world.create::<Job>(job("work", json!({"backoffLimit": 0}))).await;
    let pods = world.pods("a pod", |pods| pods.len() == 1).await;
    world.fail(&pods[0], "2020-01-01T00:00:00Z").await;
    let done = world.wait_job("failed", |job| conditions(job).contains(&"Failed=True".to_owned())).await;
    assert_eq!(conditions(&done), ["FailureTarget=True", "Failed=True"]);
    assert_eq!(done.status.unwrap().failed, Some(1));
    let events = world.events("Job", 2).await;
    let message = "Job has reached the specified backoff limit";
    assert!(events.contains(&("BackoffLimitExceeded".to_owned(), message.to_owned())), "{events:?}");
}

#[tokio::test]
async fn s9_18_controllers_killed_at_any_time_count_every_pod_once() {
    let mut world = World::new().await;
    world.create::<Job>(job("work", json!({"completions": 12, "parallelism": 4}))).await;
    for _ in 0..12 {
        world.start(Options { seed: 7, ..Options::default() });
        let unfinished = |pods: &[Pod]| {
            pods.iter().position(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Succeeded"))
        };
        let pods = world.pods("a pod to finish", |pods| unfinished(pods).is_some()).await;
        assert!(pods.len() <= 12, "{}", pods.len());
        world.succeed(&pods[unfinished(&pods).unwrap()]).await;
        world.kill().await;
    }
    world.start(Options::default());
    let done = world.wait_job("complete", |job| conditions(job).contains(&"Complete=True".to_owned())).await;
    assert_eq!(done.status.unwrap().succeeded, Some(12));
    assert_eq!(world.pods("all", |_| true).await.len(), 12);
}
