//! Tests of the plan for a Job: makers of objects, a simulation, rules, and a model under random events.

mod model;
mod rules;
mod sim;

use serde_json::{Value, json};

use super::*;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn time(second: i64) -> String {
    at(second).to_string()
}

/// A Job with the given fields of its spec.
fn job(more: Value) -> Job {
    let mut job = json!({
        "metadata": {"name": "job", "namespace": "ns", "uid": "job"},
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6,
            "selector": {"matchLabels": {"job": "job"}},
            "template": {
                "metadata": {"labels": {"job": "job"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "app"}]},
            },
        },
    });
    for (field, value) in more.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    serde_json::from_value(job).unwrap()
}

/// A pod whose only container has ended.
pub(crate) fn failed_pod(uid: &str, finished: i64) -> Pod {
    pod(uid, ended("Failed", 1, finished))
}

fn ended(phase: &str, code: i32, finished: i64) -> Value {
    json!({"phase": phase, "containerStatuses": [container("app", code, finished)]})
}

fn container(name: &str, code: i32, finished: i64) -> Value {
    json!({
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "finishedAt": time(finished)}},
    })
}

/// A pod of the Job.
pub(crate) fn pod(uid: &str, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": uid, "uid": uid, "namespace": "ns", "labels": {"job": "job"},
            "finalizers": [TRACKING_FINALIZER],
            "creationTimestamp": time(1),
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": "job", "controller": true},
            ],
        },
        "status": status,
    }))
    .unwrap()
}
