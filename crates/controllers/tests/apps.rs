//! The ReplicaSet and Deployment controllers against a real API server.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test fails by panicking; clones keep it readable")]

mod common;

use common::World;
use controllers::{Options, deployment};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn replica_set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("v1")},
    })
}

fn web(replicas: i32, more: Value) -> Value {
    let mut web = replica_set(replicas);
    web["kind"] = "Deployment".into();
    web["spec"]["progressDeadlineSeconds"] = 600.into();
    for (field, value) in more.as_object().unwrap() {
        web["spec"][field] = value.clone();
    }
    web
}

fn rolled_out(all: &[Deployment]) -> bool {
    all.len() == 1
        && all.iter().all(|deployment| {
            let status = deployment.status.clone().unwrap_or_default();
            let reason =
                status.conditions.iter().flatten().find(|c| c.type_ == "Progressing").and_then(|c| c.reason.clone());
            status.observed_generation == deployment.metadata.generation
                && status.updated_replicas == status.replicas
                && reason.as_deref() == Some("NewReplicaSetAvailable")
        })
}

async fn set_image(world: &World, image: &str) {
    let patch = Patch::Strategic(json!({"spec": {"template": template(image)}}));
    world.api::<Deployment>().patch("web", &PatchParams::default(), &patch).await.unwrap();
}

/// Pods by image.
async fn images(world: &World) -> Vec<String> {
    let pods = world.pods("pods", |_| true).await;
    let mut images: Vec<String> =
        pods.iter().map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()).collect();
    images.sort();
    images
}

#[tokio::test]
async fn a_replica_set_keeps_its_number_of_pods_and_says_so() {
    let world = World::running().await;
    world.create::<ReplicaSet>(replica_set(3)).await;
    let available = |sets: &[ReplicaSet]| {
        sets[0].status.as_ref().is_some_and(|s| (s.replicas, s.available_replicas) == (3, Some(3)))
    };
    world.meanwhile(world.wait_all("available", available)).await;
    let pods = world.pods("pods", |pods| pods.len() == 3).await;
    let events = world.events("ReplicaSet", 3).await;
    for pod in &pods {
        assert!(events.contains(&("SuccessfulCreate".to_owned(), format!("Created pod: {}", pod.name_any()))));
    }
    world.api::<Pod>().delete(&pods[0].name_any(), &DeleteParams::default().grace_period(0)).await.unwrap();
    world
        .pods("replaced", |now| now.len() == 3 && !now.iter().any(|pod| pod.metadata.uid == pods[0].metadata.uid))
        .await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    world.api::<ReplicaSet>().patch("web", &PatchParams::default(), &patch).await.unwrap();
    world.meanwhile(world.pods("one is left", |pods| pods.len() == 1)).await;
    world.api::<ReplicaSet>().delete("web", &DeleteParams::background()).await.unwrap();
    world.meanwhile(world.pods("none is left", <[Pod]>::is_empty)).await;
}

#[tokio::test]
async fn a_pod_is_released_by_its_labels_and_adopted_by_them() {
    let world = World::running().await;
    world.create::<ReplicaSet>(replica_set(1)).await;
    let first = world.pods("a pod", |pods| pods.len() == 1).await.remove(0);
    let relabel = |app: &str| Patch::Merge(json!({"metadata": {"labels": {"app": app}}}));
    world.api::<Pod>().patch(&first.name_any(), &PatchParams::default(), &relabel("debug")).await.unwrap();
    let released =
        |pods: &[Pod]| pods.len() == 2 && pods.iter().filter(|pod| pod.owner_references().is_empty()).count() == 1;
    world.pods("released and replaced", released).await;
    world.api::<Pod>().patch(&first.name_any(), &PatchParams::default(), &relabel("web")).await.unwrap();
    let one = |pods: &[Pod]| pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() == 1;
    let left = world.pods("one of the two goes", one).await;
    assert!(left.iter().all(|pod| !pod.owner_references().is_empty()));
}

#[tokio::test]
async fn a_deployment_rolls_out_is_scaled_rolled_back_and_deleted() {
    let world = World::running().await;
    world.create::<Deployment>(web(3, json!({}))).await;
    let first = world.meanwhile(world.wait_all("rolled out", rolled_out)).await.remove(0);
    assert_eq!(first.annotations()[deployment::REVISION], "1");
    set_image(&world, "v2").await;
    world.meanwhile(world.wait_all("rolled out again", rolled_out)).await;
    world.meanwhile(world.pods("old pods are gone", |pods| pods.len() == 3)).await;
    assert_eq!(images(&world).await, ["v2", "v2", "v2"]);
    let sets = world.wait_all("both", |sets: &[ReplicaSet]| sets.len() == 2).await;
    let mut revisions: Vec<_> = sets.iter().map(|set| set.annotations()[deployment::REVISION].clone()).collect();
    revisions.sort();
    assert_eq!(revisions, ["1", "2"]);
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    world.api::<Deployment>().patch("web", &PatchParams::default(), &patch).await.unwrap();
    world.meanwhile(world.pods("scaled", |pods| pods.len() == 5)).await;
    set_image(&world, "v1").await;
    let back = |all: &[Deployment]| rolled_out(all) && all[0].annotations()[deployment::REVISION] == "3";
    world.meanwhile(world.wait_all("rolled back", back)).await;
    let events = world.events("Deployment", 4).await;
    let name = sets.iter().find(|set| set.annotations()[deployment::REVISION] == "1").unwrap().name_any();
    assert!(
        events.contains(&("ScalingReplicaSet".to_owned(), format!("Scaled up replica set {name} from 0 to 3"))),
        "{events:?}"
    );
    world.api::<Deployment>().delete("web", &DeleteParams::foreground()).await.unwrap();
    world.meanwhile(world.wait_all("no deployment", <[Deployment]>::is_empty)).await;
    assert!(world.pods("pods", |_| true).await.is_empty());
    assert!(world.wait_all("sets", |_: &[ReplicaSet]| true).await.is_empty());
}

#[tokio::test]
async fn controllers_killed_after_any_write_finish_the_rollout_with_no_pod_too_many() {
    for writes in 1.. {
        let mut world = World::new().await;
        world.create::<Deployment>(web(2, json!({}))).await;
        let mut blown = world.start_doomed(Options::default(), writes);
        let rollout = async {
            world.wait_all("rolled out", rolled_out).await;
            set_image(&world, "v2").await;
            world.wait_all("rolled out again", rolled_out).await;
        };
        let survived = tokio::select! {
            _ = world.meanwhile(rollout) => true,
            _ = blown.wait_for(|blown| *blown) => false,
        };
        world.kill().await;
        world.start(Options::default());
        set_image(&world, "v2").await;
        world.meanwhile(world.wait_all("rolled out again", rolled_out)).await;
        world.meanwhile(world.pods("two pods", |pods| pods.len() == 2)).await;
        assert_eq!(images(&world).await, ["v2", "v2"], "killed after write {writes}");
        if survived {
            assert!(writes > 15, "there are more writes than {writes}");
            break;
        }
    }
}
