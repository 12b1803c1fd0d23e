//! Tests of the plan for a CronJob: makers of objects, rules, and a model under random events.

mod model;
mod rules;

use serde_json::{Value, json};

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cronjob(more: Value) -> CronJob {
    let mut cronjob = json!({
        "metadata": {"name": "tick", "namespace": "ns", "uid": "cj", "creationTimestamp": "2024-05-03T10:00:30Z"},
        "spec": {"schedule": "* * * * *", "timeZone": "UTC", "jobTemplate": {"spec": {"template": {}}}},
    });
    for (field, value) in more.as_object().unwrap() {
        let at = if field == "status" { &mut cronjob["status"] } else { &mut cronjob["spec"][field] };
        *at = value.clone();
    }
    serde_json::from_value(cronjob).unwrap()
}
