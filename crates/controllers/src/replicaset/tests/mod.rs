//! Tests of the plan for a ReplicaSet: rules, and a model under random events.

mod model;
mod rules;

use serde_json::{Value, json};

use super::*;
use crate::meta;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn replica_set(replicas: i32, more: Value) -> ReplicaSet {
    let mut set = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "web", "generation": 4},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}},
        },
    });
    for (field, value) in more.as_object().unwrap() {
        set["spec"][field] = value.clone();
    }
    serde_json::from_value(set).unwrap()
}

/// A pod of the ReplicaSet; `more` replaces fields of its metadata, spec or status.
fn pod(name: &str, more: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {
            "name": name, "uid": name, "namespace": "ns", "labels": {"app": "web"},
            "creationTimestamp": at(0),
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": true},
            ],
        },
        "spec": {"nodeName": "node1", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(10)}]},
    });
    for (part, fields) in more.as_object().unwrap() {
        for (field, value) in fields.as_object().unwrap() {
            pod[part][field] = value.clone();
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn plan_at(set: &ReplicaSet, pods: &[Arc<Pod>], now: i64, failure: Option<&str>) -> ReplicaSetPlan {
    plan(&ReplicaSetView { replica_set: set, pods, related: pods, now: at(now), failure })
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().map(|pod| meta::name(&pod.metadata)).collect()
}
