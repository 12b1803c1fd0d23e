//! Tests of validation, by rule.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    decode::FieldValidation,
    prepare::{self, CreateContext, Subresource, UpdateContext},
    scheme,
    testing::any_json,
};

mod batch;
mod objects;
mod others;
mod pods;
mod updates;
mod workloads;

const NOW: &str = "2024-01-01T00:00:00Z";

fn ty(name: &str) -> &'static ResourceType {
    scheme::by_name(name).unwrap()
}

/// An object as it is stored.
fn prepared(kind: &str, object: Value) -> Value {
    let ty = ty(kind);
    let (mut object, _) = decode::strict(ty, object, FieldValidation::Strict).unwrap();
    let namespace = ty.namespaced.then_some("default");
    let ctx = CreateContext { namespace, uid: "u-1", now: NOW.parse().unwrap(), name_suffix: "x2x4x" };
    prepare::create(ty, &mut object, &ctx).unwrap();
    object
}

fn texts(errors: &FieldErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// What is wrong with a new object.
fn create_errors(kind: &str, object: Value) -> Vec<String> {
    texts(&create(ty(kind), &prepared(kind, object)))
}

/// What is wrong with changing a stored object by a merge patch.
fn update_errors(kind: &str, object: Value, patch: &Value) -> Vec<String> {
    let old = prepared(kind, object);
    let mut new = old.clone();
    crate::patch::merge(&mut new, patch);
    let ctx = UpdateContext { now: NOW.parse().unwrap() };
    prepare::update(ty(kind), &old, &mut new, Subresource::None, &ctx).unwrap();
    texts(&update(ty(kind), &old, &new))
}

/// A value with some fields replaced.
fn with(base: Value, patch: Value) -> Value {
    let mut value = base;
    crate::patch::merge(&mut value, &patch);
    value
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "img:1"})
}

/// What is wrong with a pod with this spec.
fn pod_errors(spec: Value) -> Vec<String> {
    create_errors("pod", pod(spec))
}

/// What is wrong with a pod whose only main container has these fields.
fn main_errors(fields: Value) -> Vec<String> {
    pod_errors(json!({"containers": [with(container("a"), fields)]}))
}

/// What is wrong with a pod whose only init container has these fields.
fn init_errors(fields: Value) -> Vec<String> {
    pod_errors(json!({"containers": [container("a")], "initContainers": [with(container("i"), fields)]}))
}

/// A JSON value near a real one: some of its parts are replaced by anything.
fn mangled(base: Value) -> impl Strategy<Value = Value> {
    let count = count(&base);
    (prop::collection::vec((0..count, any_json()), 1..4)).prop_map(move |changes| {
        let mut value = base.clone();
        for (at, with) in changes {
            replace(&mut value, &mut at.clone(), &with);
        }
        value
    })
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn replace(value: &mut Value, at: &mut usize, with: &Value) -> bool {
    if *at == 0 {
        *value = with.clone();
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(list) => list.iter_mut().any(|value| replace(value, at, with)),
        Value::Object(fields) => fields.values_mut().any(|value| replace(value, at, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn rich_pod() -> Value {
    json!({"metadata": {"name": "p", "namespace": "default", "labels": {"a": "b"}}, "spec": {
        "restartPolicy": "OnFailure", "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.2.3.4"]},
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "s", "secret": {"secretName": "x"}}],
        "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always", "livenessProbe": {"exec": {"command": ["a"]}}}],
        "containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 1, "name": "http"}],
            "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}],
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "500m", "example.com/x": "2"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a"}]}]},
        "status": {"containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 1}}}]}})
}

fn rich_job() -> Value {
    json!({"metadata": {"name": "j", "namespace": "default"}, "spec": {"completionMode": "Indexed", "completions": 3,
        "backoffLimitPerIndex": 1, "successPolicy": {"rules": [{"succeededIndexes": "0,1-2", "succeededCount": 2}]},
        "podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1, 2]}}]},
        "template": {"spec": rich_pod()["spec"]}}})
}

fn rich_cron_job() -> Value {
    json!({"metadata": {"name": "c", "namespace": "default"}, "spec": {"schedule": "*/5 * * * *", "timeZone": "UTC",
        "jobTemplate": {"spec": rich_job()["spec"]}}})
}

proptest! {
    #[test]
    fn nothing_panics_on_any_json(old in any_json(), new in any_json()) {
        for ty in scheme::all() {
            create(ty, &new);
            update(ty, &old, &new);
            status_update(ty, &old, &new);
            ephemeral_containers_update(ty, &old, &new);
            resize_update(ty, &old, &new);
        }
    }

    #[test]
    fn nothing_panics_on_nearly_real_objects(
        pod in mangled(rich_pod()), job in mangled(rich_job()), cron_job in mangled(rich_cron_job()),
    ) {
        for (kind, good, bad) in [("pod", rich_pod(), pod), ("job", rich_job(), job), ("cronjob", rich_cron_job(), cron_job)] {
            let ty = ty(kind);
            create(ty, &bad);
            update(ty, &good, &bad);
            update(ty, &bad, &good);
            status_update(ty, &bad, &good);
            ephemeral_containers_update(ty, &good, &bad);
            resize_update(ty, &bad, &good);
        }
    }
}
