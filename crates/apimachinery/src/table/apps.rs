//! ReplicaSets, Deployments and ControllerRevisions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, age, containers, list, name, number, selector, selector_or_none,
    text,
};

pub(super) const REPLICA_SET: &[Column] = &[
    NAME,
    Column::integer("Desired", "Number of pods that are wanted."),
    Column::integer("Current", "Number of pods that there are."),
    Column::integer("Ready", "Number of pods that are ready."),
    AGE,
    CONTAINERS.wide(),
    IMAGES.wide(),
    SELECTOR.wide(),
];

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    Column::text("Ready", "Number of pods that are ready, of those that are wanted."),
    Column::text("Up-to-date", "Number of pods of the newest template."),
    Column::text("Available", "Number of pods that have been ready for long enough."),
    AGE,
    CONTAINERS.wide(),
    IMAGES.wide(),
    SELECTOR.wide(),
];

pub(super) const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    Column::text("Controller", "Kind and name of the object that the revision is of."),
    Column::text("Revision", "Number of the revision."),
    AGE,
];

pub(super) fn replica_set(set: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(set, "/spec/template/spec/containers");
    let count = |pointer| json!(number(set, pointer));
    vec![
        name(set),
        count("/spec/replicas"),
        count("/status/replicas"),
        count("/status/readyReplicas"),
        age(set, now),
        names,
        images,
        selector_or_none(set, "/spec/selector"),
    ]
}

pub(super) fn deployment(deployment: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(deployment, "/spec/template/spec/containers");
    let count = |pointer| number(deployment, pointer);
    vec![
        name(deployment),
        json!(format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas"))),
        json!(count("/status/updatedReplicas")),
        json!(count("/status/availableReplicas")),
        age(deployment, now),
        names,
        images,
        json!(selector(deployment, "/spec/selector").unwrap_or_else(|()| "<invalid>".to_owned())),
    ]
}

pub(super) fn controller_revision(revision: &Value, now: Timestamp) -> Vec<Value> {
    let owners = list(revision, "/metadata/ownerReferences");
    let controller = owners.iter().find(|owner| owner["controller"] == true).map(|owner| {
        let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
        let kind = text(owner, "/kind").to_lowercase();
        let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
        format!("{kind}/{}", text(owner, "/name"))
    });
    vec![
        name(revision),
        json!(controller.unwrap_or_else(|| "<none>".to_owned())),
        json!(number(revision, "/revision")),
        age(revision, now),
    ]
}
