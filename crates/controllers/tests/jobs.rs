//! The Job controller and the scheduler against a real API server.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test fails by panicking; clones keep it readable")]

mod common;

use common::{World, conditions, from, job};
use controllers::Options;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

fn bound(pods: &[Pod]) -> bool {
    !pods.is_empty() && pods.iter().all(|pod| pod.spec.as_ref().unwrap().node_name.is_some())
}

#[tokio::test]
async fn s9_44_s9_45_s12_01_s12_18_a_job_creates_a_pod_the_scheduler_binds_it_and_its_success_completes_the_job() {
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

/// Ends every bound pod well, for as long as it is polled.
async fn succeed_all(world: &World) {
    loop {
        let open = |pod: &&Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.spec.as_ref().unwrap().node_name.is_some() && phase != Some("Succeeded")
        };
        let pods = world.pods("a pod to end", |pods| pods.iter().any(|pod| open(&pod))).await;
        for pod in pods.iter().filter(open) {
            world.succeed(pod).await;
        }
    }
}

fn complete(job: &Job) -> bool {
    conditions(job).contains(&"Complete=True".to_owned())
}

#[tokio::test]
async fn s9_18_controllers_killed_after_any_write_count_every_pod_once_and_create_none_twice() {
    for mode in ["NonIndexed", "Indexed"] {
        for writes in 1.. {
            let mut world = World::new().await;
            world.create::<Job>(job("work", json!({"completions": 3, "parallelism": 2, "completionMode": mode}))).await;
            let mut blown = world.start_doomed(Options::default(), writes);
            let survived = tokio::select! {
                () = succeed_all(&world) => unreachable!("it goes on for ever"),
                _ = world.wait_job("complete", complete) => true,
                _ = blown.wait_for(|blown| *blown) => false,
            };
            world.kill().await;
            world.start(Options::default());
            let done = tokio::select! {
                () = succeed_all(&world) => unreachable!("it goes on for ever"),
                done = world.wait_job("complete", complete) => done,
            };
            let status = done.status.unwrap();
            assert_eq!((status.succeeded, status.failed), (Some(3), None), "killed after write {writes}");
            let untracked = |pods: &[Pod]| pods.iter().all(|pod| pod.metadata.finalizers.is_none());
            let pods = world.pods("no pod is held", untracked).await;
            assert_eq!(pods.len(), 3, "killed after write {writes}");
            if survived {
                assert!(writes > 10, "there are more writes than that");
                break;
            }
        }
    }
}

#[tokio::test]
async fn s9_39_a_suspended_job_stops_its_pods_and_a_resumed_one_starts_new_ones() {
    let world = World::running().await;
    world.create::<Job>(job("work", json!({}))).await;
    let first = world.pods("a bound pod", bound).await.remove(0);
    let suspend = |on: bool| Patch::Merge(json!({"spec": {"suspend": on}}));
    world.api::<Job>().patch("work", &PatchParams::default(), &suspend(true)).await.unwrap();
    let stopping =
        |pods: &[Pod]| pods[0].metadata.deletion_timestamp.is_some() && pods[0].metadata.finalizers.is_none();
    world.pods("stopping", stopping).await;
    let suspended = world.wait_job("suspended", |job| conditions(job) == ["Suspended=True"]).await;
    assert_eq!(suspended.status.unwrap().start_time, None);
    world.api::<Pod>().delete(&first.name_any(), &DeleteParams::default().grace_period(0)).await.unwrap();
    world.api::<Job>().patch("work", &PatchParams::default(), &suspend(false)).await.unwrap();
    world.wait_job("resumed", |job| conditions(job) == ["Suspended=False"]).await;
    let second = world.pods("a new pod", |pods| bound(pods) && pods[0].metadata.uid != first.metadata.uid).await;
    assert_eq!(second.len(), 1);
    let events = world.events("Job", 5).await;
    let reasons: Vec<&str> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    assert!(reasons.contains(&"Suspended") && reasons.contains(&"Resumed"), "{reasons:?}");
}

#[tokio::test]
async fn s9_20_a_matching_pod_without_owner_is_adopted() {
    let world = World::running().await;
    let stray = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": {"app": "work"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "i"}]},
    });
    world.create::<Pod>(stray).await;
    let created = world.create::<Job>(job("work", json!({}))).await;
    let adopted =
        |pods: &[Pod]| pods[0].owner_references().iter().any(|o| Some(&o.uid) == created.metadata.uid.as_ref());
    let pods = world.pods("adopted", adopted).await;
    assert_eq!(pods.len(), 1, "it is the Job's only pod");
    world.succeed(&pods[0]).await;
    world.wait_job("complete", complete).await;
}

#[tokio::test]
async fn a_pod_that_fits_no_node_is_marked_and_bound_when_there_is_room() {
    let world = World::running().await;
    let pod = |name: &str, cpu: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "app", "image": "i", "resources": {"requests": {"cpu": cpu}}}]},
        })
    };
    world.create::<Pod>(pod("first", "3")).await;
    world.pods("bound", bound).await;
    world.create::<Pod>(pod("second", "2")).await;
    let unschedulable = |pods: &[Pod]| {
        let conditions = pods[1].status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.reason.as_deref() == Some("Unschedulable")))
    };
    world.pods("marked", |pods| pods.len() == 2 && unschedulable(pods)).await;
    let events = world.events("Pod", 2).await;
    let (_, message) = events.iter().find(|(reason, _)| reason == "FailedScheduling").unwrap();
    assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{message}");
    let first = world.pods("first", |_| true).await.remove(0);
    world.succeed(&first).await;
    world.pods("both bound", |pods| pods.len() == 2 && bound(pods)).await;
}

#[tokio::test]
async fn a_gated_pod_waits_for_its_gates() {
    let world = World::running().await;
    let gated = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gated"},
        "spec": {"schedulingGates": [{"name": "example.com/g"}], "containers": [{"name": "app", "image": "i"}]},
    });
    world.create::<Pod>(gated).await;
    let plain = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"},
        "spec": {"containers": [{"name": "app", "image": "i"}]},
    });
    world.create::<Pod>(plain).await;
    let is_bound = |pod: &Pod| pod.spec.as_ref().unwrap().node_name.is_some();
    let pods = world.pods("the plain one bound", |pods| pods.iter().any(is_bound)).await;
    assert_eq!(pods.iter().filter(|pod| is_bound(pod)).map(|pod| pod.name_any()).collect::<Vec<_>>(), ["plain"]);
    let open = Patch::Json::<()>(from(json!([{"op": "remove", "path": "/spec/schedulingGates"}])));
    world.api::<Pod>().patch("gated", &PatchParams::default(), &open).await.unwrap();
    world.pods("both bound", bound).await;
}
