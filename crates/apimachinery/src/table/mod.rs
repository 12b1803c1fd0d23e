//! What `kubectl get` prints: the columns of each kind and the cells of an object.
//!
//! Source of the columns and of the rules for cells: `pkg/printers/internalversion/printers.go`; for kinds without
//! columns of their own `rest.NewDefaultTableConvertor`.

mod apps;
mod batch;
mod core;
mod duration;
mod network;
mod pod;
mod rbac;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;
use serde_json::{Value, json};

use crate::{scheme::ResourceType, selector::LabelSelector, time};

pub use duration::human_duration;

/// One column of a table (`meta.k8s.io/v1` `TableColumnDefinition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Title; kubectl prints it in capitals.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the column that identifies the object, else empty.
    pub format: &'static str,
    /// What the column shows.
    pub description: &'static str,
    /// 0 is always printed, 1 with `-o wide`.
    pub priority: u8,
}

/// What a table says of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One value for each of the [`columns`].
    pub cells: Vec<Value>,
    /// Why the object needs no more attention: set for pods that have ended.
    pub conditions: Vec<Value>,
}

impl Column {
    const fn typed(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self { name, kind, format: "", description, priority: 0 }
    }

    const fn text(name: &'static str, description: &'static str) -> Self {
        Self::typed(name, "string", description)
    }

    const fn integer(name: &'static str, description: &'static str) -> Self {
        Self::typed(name, "integer", description)
    }

    const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self::typed(name, "boolean", description)
    }

    const fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }
}

const NAME: Column = Column { format: "name", ..Column::text("Name", "Name of the object, unique in its namespace.") };
const AGE: Column = Column::text("Age", "Time since the object was created.");
const CONTAINERS: Column = Column::text("Containers", "Names of the containers in the template.");
const IMAGES: Column = Column::text("Images", "Images of the containers in the template.");
const SELECTOR: Column = Column::text("Selector", "Labels by which pods are selected.");

/// The columns of kinds that have none of their own.
const PLAIN: &[Column] = &[NAME, Column::typed("Created At", "date", "Time at which the object was created.")];

const SCALE: &[Column] = &[
    NAME,
    Column::integer("Desired", "Number of pods that are wanted."),
    Column::integer("Available", "Number of pods that there are."),
    AGE,
];

/// Returns the columns of a kind.
///
/// ```
/// use apimachinery::{scheme, table};
/// let names: Vec<_> = table::columns(scheme::by_name("cronjob").unwrap()).iter().map(|c| c.name).collect();
/// assert_eq!(names[..5], ["Name", "Schedule", "Timezone", "Suspend", "Active"]);
/// ```
pub fn columns(ty: &ResourceType) -> &'static [Column] {
    match (ty.group, ty.kind) {
        ("", "Pod") => pod::COLUMNS,
        ("", "PodTemplate") => core::POD_TEMPLATE,
        ("", "Node") => core::NODE,
        (_, "Event") => core::EVENT,
        ("", "Namespace") => core::NAMESPACE,
        ("", "Secret") => core::SECRET,
        ("", "ConfigMap") => core::CONFIG_MAP,
        ("", "ServiceAccount") => core::SERVICE_ACCOUNT,
        ("", "ResourceQuota") => core::RESOURCE_QUOTA,
        ("", "Service") => network::SERVICE,
        ("", "Endpoints") => network::ENDPOINTS,
        ("discovery.k8s.io", "EndpointSlice") => network::ENDPOINT_SLICE,
        ("batch", "Job") => batch::JOB,
        ("batch", "CronJob") => batch::CRON_JOB,
        ("apps", "ReplicaSet") => apps::REPLICA_SET,
        ("apps", "Deployment") => apps::DEPLOYMENT,
        ("apps", "ControllerRevision") => apps::CONTROLLER_REVISION,
        ("coordination.k8s.io", "Lease") => core::LEASE,
        ("scheduling.k8s.io", "PriorityClass") => core::PRIORITY_CLASS,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => rbac::BINDING,
        ("autoscaling", "Scale") => SCALE,
        _ => PLAIN,
    }
}

/// Returns what a table says of an object at the time `now`. Events are given in their core/v1 form.
///
/// ```
/// use apimachinery::{scheme, table};
/// use serde_json::json;
/// let map = json!({"metadata": {"name": "a", "creationTimestamp": "2024-01-01T00:00:00Z"}, "data": {"k": "v"}});
/// let now = "2024-01-01T00:05:30Z".parse().unwrap();
/// assert_eq!(table::row(scheme::by_name("cm").unwrap(), &map, now).cells, [json!("a"), json!(1), json!("5m30s")]);
/// ```
pub fn row(ty: &ResourceType, object: &Value, now: Timestamp) -> Row {
    let cells = match (ty.group, ty.kind) {
        ("", "Pod") => return pod::row(object, now),
        ("", "PodTemplate") => core::pod_template(object),
        ("", "Node") => core::node(object, now),
        (_, "Event") => core::event(object, now),
        ("", "Namespace") => vec![name(object), json!(text(object, "/status/phase")), age(object, now)],
        ("", "Secret") => {
            vec![name(object), json!(text(object, "/type")), json!(size(object, "/data")), age(object, now)]
        }
        ("", "ConfigMap") => {
            vec![name(object), json!(size(object, "/data") + size(object, "/binaryData")), age(object, now)]
        }
        ("", "ServiceAccount") => vec![name(object), age(object, now)],
        ("", "ResourceQuota") => core::resource_quota(object, now),
        ("", "Service") => network::service(object, now),
        ("", "Endpoints") => network::endpoints(object, now),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, now),
        ("batch", "Job") => batch::job(object, now),
        ("batch", "CronJob") => batch::cron_job(object, now),
        ("apps", "ReplicaSet") => apps::replica_set(object, now),
        ("apps", "Deployment") => apps::deployment(object, now),
        ("apps", "ControllerRevision") => apps::controller_revision(object, now),
        ("coordination.k8s.io", "Lease") => {
            vec![name(object), json!(text(object, "/spec/holderIdentity")), age(object, now)]
        }
        ("scheduling.k8s.io", "PriorityClass") => core::priority_class(object, now),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => rbac::binding(object, now),
        ("autoscaling", "Scale") => {
            let count = |pointer| json!(number(object, pointer));
            vec![name(object), count("/spec/replicas"), count("/status/replicas"), age(object, now)]
        }
        _ => vec![name(object), json!(text(object, "/metadata/creationTimestamp"))],
    };
    Row { cells, conditions: Vec::new() }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The number of entries of a map.
fn size(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

fn name(object: &Value) -> Value {
    json!(text(object, "/metadata/name"))
}

fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(text(object, "/metadata/creationTimestamp"), now))
}

/// The time since a time stamp; the absent one is unknown.
fn since(at: &str, now: Timestamp) -> String {
    time::parse(at).map_or_else(|| "<unknown>".to_owned(), |at| human_duration(now.duration_since(at)))
}

fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

/// The names and the images of containers, as two cells.
fn containers(object: &Value, pointer: &str) -> [Value; 2] {
    let joined = |field: &str| {
        let each = list(object, pointer).iter().map(|container| text(container, field));
        json!(each.collect::<Vec<_>>().join(","))
    };
    [joined("/name"), joined("/image")]
}

/// A map of labels as text, or `<none>` (`labels.FormatLabels`).
fn labels(object: &Value, pointer: &str) -> Value {
    let labels = object.pointer(pointer).and_then(Value::as_object);
    let each = labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    json!(or(&each.collect::<Vec<_>>().join(","), "<none>"))
}

/// A label selector as text; an absent one is empty, one that is none is an error.
fn selector(object: &Value, pointer: &str) -> Result<String, ()> {
    let Some(selector) = object.pointer(pointer).filter(|selector| !selector.is_null()) else {
        return Ok(String::new());
    };
    let selector: ApiSelector = serde_json::from_value(selector.clone()).map_err(|_| ())?;
    LabelSelector::from_api(&selector).map(|selector| selector.to_string()).map_err(|_| ())
}

/// `metav1.FormatLabelSelector`.
fn selector_or_none(object: &Value, pointer: &str) -> Value {
    json!(
        selector(object, pointer)
            .map_or_else(|()| "<error>".to_owned(), |text| if text.is_empty() { "<none>".to_owned() } else { text })
    )
}

/// Up to three texts; how many more there are is said.
fn first_three(all: &[String]) -> String {
    const SHOWN: usize = 3;
    match all.get(..SHOWN) {
        Some(shown) if all.len() > SHOWN => format!("{} + {} more...", shown.join(","), all.len() - SHOWN),
        _ => all.join(","),
    }
}

#[cfg(test)]
mod tests;
