//! Makers of Jobs and pods for tests, and tests of the plan for a Job.

use serde_json::{Value, json};

use super::*;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn time(second: i64) -> String {
    at(second).to_string()
}

/// A pod whose only container has ended.
pub(crate) fn failed_pod(uid: &str, finished: i64) -> Pod {
    pod(
        uid,
        json!({
            "phase": "Failed",
            "containerStatuses": [{
                "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 1, "finishedAt": time(finished)}},
            }],
        }),
    )
}

/// A pod of the Job with uid `job`.
pub(crate) fn pod(uid: &str, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": uid, "uid": uid, "namespace": "ns",
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
