//! Tests of the plan for a Deployment: a simulation, rules, and a model under random events.

mod model;
mod rules;
mod sim;

use serde_json::{Value, json};

use super::*;
use crate::meta;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A Deployment with the given fields of its spec.
fn deployment(replicas: i32, more: Value) -> Deployment {
    let mut deployment = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "web", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "v1"}]}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
        },
    });
    for (field, value) in more.as_object().unwrap() {
        deployment["spec"][field] = value.clone();
    }
    serde_json::from_value(deployment).unwrap()
}
