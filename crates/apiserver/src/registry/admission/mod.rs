//! Admission: what built-in plug-ins of the API server add and refuse on creation, besides the defaults
//! that [`apimachinery::prepare`] knows.

mod limit_ranger;
mod priority;
pub(crate) mod quota;

use apimachinery::scheme::ResourceType;
use apimachinery::status::{ApiError, Cause};
use serde_json::{Value, json};

use super::{Registry, meta, service_account, strategy};

/// Completes an object that is being created, or refuses it.
pub(crate) fn create(registry: &Registry, kind: &'static ResourceType, object: &mut Value) -> Result<(), ApiError> {
    if kind.namespaced {
        check_namespace(registry, kind, object)?;
    }
    if strategy::is_pod(kind) {
        limit_ranger::create(registry, kind, object)?;
        priority::create_pod(registry, kind, object)?;
        add_tolerations(object);
        service_account::admit(registry, kind, object)?;
    }
    if kind.kind == "PriorityClass" {
        priority::check_class(registry, kind, object)?;
    }
    Ok(())
}

/// `NamespaceLifecycle`.
fn check_namespace(registry: &Registry, kind: &ResourceType, object: &Value) -> Result<(), ApiError> {
    let name = meta::namespace(object);
    let Some(namespace) = registry.namespace(name) else {
        let mut error = ApiError::plain(404, "NotFound", format!("namespaces \"{name}\" not found"));
        name.clone_into(&mut error.details.name);
        "namespaces".clone_into(&mut error.details.kind);
        return Err(error);
    };
    if !meta::is_deleting(namespace.value()) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut error = ApiError::forbidden(kind, meta::name(object), &why);
    error.details.causes.push(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    Err(error)
}

/// `DefaultTolerationSeconds`.
fn add_tolerations(pod: &mut Value) {
    let Value::Object(spec) = &mut pod["spec"] else { return };
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Value::Array(tolerations) = tolerations else { return };
    for key in EVICTING_TAINTS {
        if !tolerations.iter().any(|toleration| tolerates(toleration, key)) {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_TOLERATION_SECONDS,
            }));
        }
    }
}

fn tolerates(toleration: &Value, key: &str) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    (text("key") == key || (text("key").is_empty() && text("operator") == "Exists"))
        && matches!(text("effect"), "" | "NoExecute")
}

/// Taints that evict pods after a while.
const EVICTING_TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Default of `--default-not-ready-toleration-seconds`.
const DEFAULT_TOLERATION_SECONDS: u32 = 300;
