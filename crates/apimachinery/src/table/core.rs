//! The smaller kinds of the core group, leases and priority classes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, CONTAINERS, Column, IMAGES, NAME, age, containers, labels, list, name, number, or, since, text};
use crate::quantity::Quantity;

pub(super) const POD_TEMPLATE: &[Column] =
    &[NAME, CONTAINERS, IMAGES, Column::text("Pod Labels", "Labels of the template.")];

pub(super) const NODE: &[Column] = &[
    NAME,
    Column::text("Status", "Whether the node is ready and takes pods."),
    Column::text("Roles", "Roles of the node, by its labels."),
    AGE,
    Column::text("Version", "Version of the node agent."),
    Column::text("Internal-IP", "Address inside the cluster.").wide(),
    Column::text("External-IP", "Address outside of the cluster.").wide(),
    Column::text("OS-Image", "Operating system of the node.").wide(),
    Column::text("Kernel-Version", "Version of the node's kernel.").wide(),
    Column::text("Container-Runtime", "Name and version of what runs the containers.").wide(),
];

pub(super) const EVENT: &[Column] = &[
    Column::text("Last Seen", "Time since it last happened."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "Short word for what happened."),
    Column::text("Object", "What the event is about."),
    Column::text("Subobject", "Which part of the object the event is about.").wide(),
    Column::text("Source", "Who reports the event.").wide(),
    Column::text("Message", "What happened."),
    Column::text("First Seen", "Time since it first happened.").wide(),
    Column::text("Count", "How often it happened.").wide(),
    NAME.wide(),
];

pub(super) const NAMESPACE: &[Column] =
    &[NAME, Column::text("Status", "Whether the namespace is in use or on its way out."), AGE];

pub(super) const SECRET: &[Column] =
    &[NAME, Column::text("Type", "What kind of secret it is."), Column::text("Data", "Number of entries."), AGE];

pub(super) const CONFIG_MAP: &[Column] = &[NAME, Column::text("Data", "Number of entries."), AGE];

pub(super) const SERVICE_ACCOUNT: &[Column] = &[NAME, AGE];

pub(super) const RESOURCE_QUOTA: &[Column] = &[
    NAME,
    Column::text("Request", "What is requested or counted, of what may be."),
    Column::text("Limit", "The sum of limits, of what it may be."),
    AGE,
];

pub(super) const LEASE: &[Column] = &[NAME, Column::text("Holder", "Who holds the lease."), AGE];

pub(super) const PRIORITY_CLASS: &[Column] = &[
    NAME,
    Column::integer("Value", "Priority of pods of this class."),
    Column::boolean("Global-Default", "Whether pods that name no class have this one."),
    AGE,
    Column::text("PreemptionPolicy", "Whether pods of this class push others out.").wide(),
];

pub(super) fn pod_template(template: &Value) -> Vec<Value> {
    let [names, images] = containers(template, "/template/spec/containers");
    vec![name(template), names, images, labels(template, "/template/metadata/labels")]
}

pub(super) fn node(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field: &str| json!(or(text(node, &format!("/status/nodeInfo/{field}")), "<unknown>"));
    let address = |kind: &str| {
        let found = list(node, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
        json!(found.map_or("<none>", |address| text(address, "/address")))
    };
    vec![
        name(node),
        json!(node_status(node)),
        json!(or(&node_roles(node), "<none>")),
        age(node, now),
        json!(text(node, "/status/nodeInfo/kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn node_status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().rfind(|condition| text(condition, "/type") == "Ready");
    let ready = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = node.pointer("/spec/unschedulable").is_some_and(|closed| *closed == true);
    format!("{ready}{}", if closed { ",SchedulingDisabled" } else { "" })
}

fn node_roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}

pub(super) fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let first = or(text(event, "/firstTimestamp"), text(event, "/eventTime"));
    let (mut last, mut count) = (or(text(event, "/lastTimestamp"), first), number(event, "/count").max(1));
    if let Some(series) = event.get("series").filter(|series| !series.is_null()) {
        last = text(series, "/lastObservedTime");
        count = number(series, "/count");
    }
    let kind = text(event, "/involvedObject/kind").to_lowercase();
    let target = match text(event, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = or(text(event, "/source/component"), text(event, "/reportingComponent"));
    let source = match or(text(event, "/source/host"), text(event, "/reportingInstance")) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    };
    vec![
        json!(since(last, now)),
        json!(text(event, "/type")),
        json!(text(event, "/reason")),
        json!(target),
        json!(text(event, "/involvedObject/fieldPath")),
        json!(source),
        json!(text(event, "/message").trim()),
        json!(since(first, now)),
        json!(count),
        name(event),
    ]
}

pub(super) fn resource_quota(quota: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in quota.pointer("/status/hard").and_then(Value::as_object).into_iter().flatten() {
        let used = quota.get("status").and_then(|status| status["used"].get(resource));
        let line = format!("{resource}: {}/{}", amount(used), amount(Some(hard)));
        if resource.starts_with("limits.") { limits.push(line) } else { requests.push(line) }
    }
    vec![name(quota), json!(requests.join(", ")), json!(limits.join(", ")), age(quota, now)]
}

fn amount(quantity: Option<&Value>) -> String {
    let text = quantity.and_then(Value::as_str).unwrap_or("0");
    text.parse::<Quantity>().map_or_else(|_| text.to_owned(), |quantity| quantity.to_string())
}

pub(super) fn priority_class(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(class),
        json!(number(class, "/value")),
        json!(class["globalDefault"] == true),
        age(class, now),
        json!(text(class, "/preemptionPolicy")),
    ]
}
