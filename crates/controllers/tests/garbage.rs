//! The garbage collector and the time to live against a real API server.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test fails by panicking; clones keep it readable")]

mod common;

use std::sync::Arc;

use common::{HandClock, World, conditions, job};
use controllers::Options;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

async fn job_with_pod(world: &World) -> Pod {
    world.create::<Job>(job("work", json!({}))).await;
    let bound = |pods: &[Pod]| pods.len() == 1 && pods[0].spec.as_ref().unwrap().node_name.is_some();
    world.pods("a bound pod", bound).await.remove(0)
}

fn owned_config_map(name: &str, owners: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": owners},
    })
}

fn owner(map: &ConfigMap, blocks: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": map.name_any(), "uid": map.metadata.uid,
        "blockOwnerDeletion": blocks,
    })
}

async fn wait_maps(world: &World, expected: &[&str]) -> Vec<ConfigMap> {
    // Every namespace has one for its certificate authority.
    let names = |maps: &[ConfigMap]| {
        maps.iter().map(|map| map.name_any()).filter(|name| name != "kube-root-ca.crt").collect::<Vec<_>>()
    };
    world.wait_all(&format!("config maps {expected:?}"), |maps: &[ConfigMap]| names(maps) == expected).await
}

#[tokio::test]
async fn s9_19_deleting_a_job_in_the_background_deletes_its_pods() {
    let world = World::running().await;
    let pod = job_with_pod(&world).await;
    world.api::<Job>().delete("work", &DeleteParams::background()).await.unwrap();
    let pods = world.pods("the pod is told to stop", |pods| pods[0].metadata.deletion_timestamp.is_some()).await;
    assert_eq!(pods[0].metadata.uid, pod.metadata.uid);
    world.pods("it no longer waits for being counted", |pods| pods[0].metadata.finalizers.is_none()).await;
    world.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await.unwrap();
    world.pods("nothing left", <[Pod]>::is_empty).await;
}

#[tokio::test]
async fn s9_19_deleting_a_job_and_orphaning_lets_its_pods_go() {
    let world = World::running().await;
    let pod = job_with_pod(&world).await;
    world.api::<Job>().delete("work", &DeleteParams::orphan()).await.unwrap();
    world.wait_all("no job", <[Job]>::is_empty).await;
    let free = |pods: &[Pod]| pods[0].metadata.owner_references.is_none() && pods[0].metadata.finalizers.is_none();
    let pods = world.pods("a free pod", free).await;
    assert_eq!(pods[0].metadata.uid, pod.metadata.uid);
    assert!(pods[0].metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn a_job_deleted_in_the_foreground_waits_for_its_pods() {
    let world = World::running().await;
    let pod = job_with_pod(&world).await;
    world.api::<Job>().delete("work", &DeleteParams::foreground()).await.unwrap();
    let stopping =
        |pods: &[Pod]| pods[0].metadata.deletion_timestamp.is_some() && pods[0].metadata.finalizers.is_none();
    world.pods("the pod is told to stop", stopping).await;
    let jobs = world.wait_all("the job", |_: &[Job]| true).await;
    assert!(jobs[0].metadata.deletion_timestamp.is_some(), "it waits");
    world.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await.unwrap();
    world.wait_all("no job", <[Job]>::is_empty).await;
}

#[tokio::test]
async fn an_object_lives_as_long_as_one_of_its_owners() {
    let world = World::running().await;
    let a: ConfigMap = world.create(owned_config_map("a", json!([]))).await;
    let b: ConfigMap = world.create(owned_config_map("b", json!([]))).await;
    world.create::<ConfigMap>(owned_config_map("child", json!([owner(&a, false), owner(&b, false)]))).await;
    world.api::<ConfigMap>().delete("a", &DeleteParams::background()).await.unwrap();
    let one_owner =
        |maps: &[ConfigMap]| maps.iter().any(|m| m.name_any() == "child" && m.owner_references().len() == 1);
    world.wait_all("the child has one owner", one_owner).await;
    world.api::<ConfigMap>().delete("b", &DeleteParams::background()).await.unwrap();
    wait_maps(&world, &[]).await;
}

#[tokio::test]
async fn what_was_left_behind_while_no_controller_ran_is_deleted_at_the_next_start() {
    let mut world = World::new().await;
    let a: ConfigMap = world.create(owned_config_map("a", json!([]))).await;
    let b: ConfigMap = world.create(owned_config_map("b", json!([owner(&a, true)]))).await;
    world.create::<ConfigMap>(owned_config_map("c", json!([owner(&b, true)]))).await;
    world.api::<ConfigMap>().delete("a", &DeleteParams::background()).await.unwrap();
    world.start(Options::default());
    wait_maps(&world, &[]).await;
}

#[tokio::test]
async fn a_reference_to_an_unknown_kind_keeps_the_object() {
    let world = World::running().await;
    let gone: ConfigMap = world.create(owned_config_map("gone", json!([]))).await;
    let stranger = json!([{"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "none"}]);
    world.create::<ConfigMap>(owned_config_map("kept", stranger)).await;
    world.create::<ConfigMap>(owned_config_map("not-kept", json!([owner(&gone, false)]))).await;
    world.api::<ConfigMap>().delete("gone", &DeleteParams::background()).await.unwrap();
    wait_maps(&world, &["kept"]).await;
}

#[tokio::test]
async fn s9_43_a_finished_job_and_its_pods_go_when_their_time_is_over() {
    let clock = HandClock::at("2024-05-03T10:00:00Z");
    let mut world = World::on(&clock).await;
    world.start(Options { clock: Arc::new(clock.clone()), ..Options::default() });
    world.create::<Job>(job("work", json!({"ttlSecondsAfterFinished": 5}))).await;
    let pods = world.pods("a pod", |pods| pods.len() == 1).await;
    world.succeed(&pods[0]).await;
    world.wait_job("complete", |job| conditions(job).contains(&"Complete=True".to_owned())).await;
    clock.set("2024-05-03T10:00:04Z");
    world.events("Job", 2).await;
    assert_eq!(world.wait_all("the job", |_: &[Job]| true).await.len(), 1);
    clock.set("2024-05-03T10:00:05Z");
    world.pods("no pods", <[Pod]>::is_empty).await;
    world.wait_all("no job", <[Job]>::is_empty).await;
}

#[tokio::test]
async fn objects_of_every_kind_go_with_their_owners() {
    let world = World::running().await;
    let a: ConfigMap = world.create(owned_config_map("a", json!([]))).await;
    let owners = json!([owner(&a, false)]);
    let metadata = |name: &str| json!({"name": name, "ownerReferences": owners});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata("r")});
    world.create::<Role>(role).await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata("l"), "spec": {}});
    world.create::<Lease>(lease).await;
    world.api::<ConfigMap>().delete("a", &DeleteParams::background()).await.unwrap();
    world.wait_all("no role", <[Role]>::is_empty).await;
    world.wait_all("no lease", <[Lease]>::is_empty).await;
}

#[tokio::test]
async fn an_owner_in_another_namespace_is_none_and_people_are_told() {
    let world = World::running().await;
    let elsewhere = Api::<ConfigMap>::namespaced(world.client.clone(), "kube-public");
    let foreign: ConfigMap = common::from(owned_config_map("foreign", json!([])));
    let foreign = elsewhere.create(&PostParams::default(), &foreign).await.unwrap();
    let child: ConfigMap = world.create(owned_config_map("child", json!([owner(&foreign, false)]))).await;
    wait_maps(&world, &[]).await;
    let (reason, message) = world.events("ConfigMap", 1).await.remove(0);
    let uid = foreign.metadata.uid.unwrap();
    let expected = format!(
        "ownerRef [v1/ConfigMap, namespace: default, name: foreign, uid: {uid}] does not exist in namespace \"default\""
    );
    assert_eq!((reason.as_str(), message), ("OwnerRefInvalidNamespace", expected));
    assert!(child.metadata.uid.is_some());
    assert!(elsewhere.get_opt("foreign").await.unwrap().is_some());
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_runs_in_it_also_if_the_controllers_are_killed_meanwhile() {
    for writes in [1, 3, 6, 9, 1000] {
        let mut world = World::new().await;
        world.start(Options::default());
        let namespaces: Api<Namespace> = Api::all(world.client.clone());
        let new: Namespace = common::from(json!({"metadata": {"name": "a"}}));
        namespaces.create(&PostParams::default(), &new).await.unwrap();
        let template =
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "i"}]}});
        let web: Deployment = common::from(json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }));
        let in_a = |world: &World| Api::<Deployment>::namespaced(world.client.clone(), "a");
        in_a(&world).create(&PostParams::default(), &web).await.unwrap();
        let work: Job = common::from(job("work", json!({"parallelism": 2, "completions": 2})));
        Api::<Job>::namespaced(world.client.clone(), "a").create(&PostParams::default(), &work).await.unwrap();
        let pods = Api::<Pod>::namespaced(world.client.clone(), "a");
        let five = async {
            let mut changes = kube::runtime::watcher(pods.clone(), kube::runtime::watcher::Config::default()).boxed();
            while changes.try_next().await.is_ok() {
                if pods.list(&ListParams::default()).await.unwrap().items.len() == 5 {
                    break;
                }
            }
        };
        world.meanwhile(five).await;
        world.kill().await;
        let mut blown = world.start_doomed(Options::default(), writes);
        namespaces.delete("a", &DeleteParams::default()).await.unwrap();
        let gone =
            kube::runtime::wait::await_condition(namespaces.clone(), "a", |found: Option<&Namespace>| found.is_none());
        tokio::pin!(gone);
        tokio::select! {
            done = world.meanwhile(&mut gone) => drop(done.unwrap()),
            _ = blown.wait_for(|blown| *blown) => {
                world.kill().await;
                world.start(Options::default());
                world.meanwhile(gone).await.unwrap();
            }
        }
        assert!(pods.list(&ListParams::default()).await.unwrap().items.is_empty());
    }
}
