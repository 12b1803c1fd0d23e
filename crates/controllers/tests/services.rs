//! Endpoints, quotas and the collection of pods against a real API server.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test fails by panicking; clones keep it readable")]

mod common;

use std::sync::Arc;

use common::{HandClock, World};
use controllers::Options;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Node, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

/// Addresses, with a mark on those that are ready.
fn addresses(slices: &[EndpointSlice]) -> Vec<String> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let show = |e: &k8s_openapi::api::discovery::v1::Endpoint| {
        let ready = e.conditions.as_ref().is_some_and(|c| c.ready == Some(true));
        format!("{}{}", e.addresses[0], if ready { "!" } else { "" })
    };
    endpoints.map(show).collect()
}

async fn make_ready(world: &World, pod: &Pod, ip: &str) {
    let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]});
    world.set_pod(pod, status).await;
}

#[tokio::test]
async fn the_endpoints_of_a_service_follow_its_pods_and_go_with_it() {
    let world = World::running().await;
    let first: Pod = world.create(pod("first")).await;
    world.create::<Service>(service()).await;
    world.wait_all("an empty slice", |slices: &[EndpointSlice]| slices.len() == 1).await;
    make_ready(&world, &first, "10.0.0.7").await;
    let slices = world.wait_all("an address", |slices: &[EndpointSlice]| addresses(slices) == ["10.0.0.7!"]).await;
    assert!(slices[0].name_any().starts_with("web-"));
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));
    let has_address =
        |all: &[Endpoints]| all.len() == 1 && all[0].subsets.iter().flatten().any(|subset| subset.addresses.is_some());
    world.wait_all("endpoints", has_address).await;
    world.api::<Pod>().delete("first", &DeleteParams::default().grace_period(0)).await.unwrap();
    world.wait_all("no address", |slices: &[EndpointSlice]| addresses(slices).is_empty()).await;
    world.api::<Service>().delete("web", &DeleteParams::background()).await.unwrap();
    world.wait_all("no slices", <[EndpointSlice]>::is_empty).await;
    world.wait_all("no endpoints", <[Endpoints]>::is_empty).await;
}

#[tokio::test]
async fn a_slice_that_somebody_spoils_is_made_good() {
    let world = World::running().await;
    let first: Pod = world.create(pod("first")).await;
    world.create::<Service>(service()).await;
    make_ready(&world, &first, "10.0.0.7").await;
    let good = |slices: &[EndpointSlice]| slices.len() == 1 && addresses(slices) == ["10.0.0.7!"];
    let slice = world.wait_all("an address", good).await.remove(0);
    let spoil = Patch::Merge(json!({"endpoints": [{"addresses": ["6.6.6.6"]}]}));
    world.api::<EndpointSlice>().patch(&slice.name_any(), &PatchParams::default(), &spoil).await.unwrap();
    world.wait_all("good again", good).await;
    world.api::<EndpointSlice>().delete(&slice.name_any(), &DeleteParams::default()).await.unwrap();
    world.wait_all("there again", |s: &[EndpointSlice]| good(s) && s[0].metadata.uid != slice.metadata.uid).await;
}

fn used(quota: &ResourceQuota, name: &str) -> Option<String> {
    Some(quota.status.as_ref()?.used.as_ref()?.get(name)?.0.clone())
}

#[tokio::test]
async fn a_quota_says_what_is_used_and_what_is_gone_is_taken_off() {
    let world = World::running().await;
    let hard = json!({"pods": "10", "configmaps": "10", "count/services": "2"});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}});
    world.create::<ResourceQuota>(quota).await;
    world.create::<Pod>(pod("first")).await;
    world.create::<Service>(service()).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    world.create::<ConfigMap>(map).await;
    let reads = |pods: &'static str, services: &'static str| {
        move |quotas: &[ResourceQuota]| {
            let quota = &quotas[0];
            used(quota, "pods").as_deref() == Some(pods) && used(quota, "count/services").as_deref() == Some(services)
        }
    };
    world.wait_all("counted", reads("1", "1")).await;
    let with_map = |quotas: &[ResourceQuota]| used(&quotas[0], "configmaps").is_some_and(|n| n != "0");
    let before = world.wait_all("maps counted", with_map).await.remove(0);
    let maps: i64 = used(&before, "configmaps").unwrap().parse().unwrap();
    world.api::<Pod>().delete("first", &DeleteParams::default().grace_period(0)).await.unwrap();
    world.api::<Service>().delete("web", &DeleteParams::default()).await.unwrap();
    world.api::<ConfigMap>().delete("m", &DeleteParams::default()).await.unwrap();
    world.wait_all("taken off", reads("0", "0")).await;
    let fewer = |quotas: &[ResourceQuota]| used(&quotas[0], "configmaps") == Some((maps - 1).to_string());
    world.wait_all("maps taken off", fewer).await;
}

#[tokio::test]
async fn the_pods_of_a_node_that_is_gone_fail_and_go() {
    let clock = HandClock::at("2024-05-03T10:00:00Z");
    let mut world = World::on(&clock).await;
    world.start(Options { clock: Arc::new(clock.clone()), ..Options::default() });
    world.create::<Pod>(pod("first")).await;
    let bound = |pods: &[Pod]| pods.iter().all(|pod| pod.spec.as_ref().unwrap().node_name.is_some());
    world.pods("bound", bound).await;
    let watch = Api::<Node>::all(world.client.clone());
    watch.delete("node1", &DeleteParams::default()).await.unwrap();
    // It is looked at when its node goes, and again when the time is over.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    world.create::<ConfigMap>(map).await;
    clock.set("2024-05-03T10:00:39Z");
    assert_eq!(world.pods("still there", |_| true).await.len(), 1);
    clock.set("2024-05-03T10:01:30Z");
    world.pods("gone", <[Pod]>::is_empty).await;
}

#[tokio::test]
async fn of_too_many_ended_pods_the_oldest_go() {
    let mut world = World::new().await;
    world.start(Options { pod_gc: Some(2), ..Options::default() });
    for n in 0..4 {
        let pod: Pod = world.create(pod(&format!("p{n}"))).await;
        world.set_pod(&pod, json!({"phase": "Succeeded"})).await;
    }
    let pods = world.pods("two are left", |pods| pods.len() == 2).await;
    assert_eq!(pods.iter().map(|pod| pod.name_any()).collect::<Vec<_>>(), ["p2", "p3"]);
}
