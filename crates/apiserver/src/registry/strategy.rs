//! Where kinds differ in how they are created, updated and deleted.

use apimachinery::event;
use apimachinery::scheme::ResourceType;
use serde_json::Value;

use super::meta;

/// What happens to dependents when a deletion does not say (`DefaultGarbageCollectionPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependents {
    /// They are deleted later.
    Delete,
    /// They lose their owner and stay.
    Orphan,
}

/// Name of the table that holds a kind; the two forms of events are one.
pub(crate) fn table(kind: &ResourceType) -> String {
    if event::is_other_form(kind) { kind.plural.to_owned() } else { kind.qualified() }
}

/// S9-19: Jobs leave their pods behind unless told otherwise, for the sake of old clients.
pub(crate) fn default_dependents(kind: &ResourceType) -> Dependents {
    match (kind.group, kind.plural) {
        ("batch", "jobs") => Dependents::Orphan,
        _ => Dependents::Delete,
    }
}

/// Kinds whose deletion answers with the object instead of a `Status`.
pub(crate) fn returns_deleted_object(kind: &ResourceType) -> bool {
    kind.group.is_empty()
        && matches!(
            kind.plural,
            "pods"
                | "podtemplates"
                | "serviceaccounts"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "services"
                | "resourcequotas"
        )
}

/// Kinds that a PUT creates when they are not there (`AllowCreateOnUpdate`).
pub(crate) fn creates_on_update(kind: &ResourceType) -> bool {
    matches!((kind.group, kind.plural), ("coordination.k8s.io", "leases") | (_, "events") | ("", "endpoints"))
}

/// Kinds that may be updated without saying from which version (`AllowUnconditionalUpdate`).
pub(crate) fn updates_unconditionally(kind: &ResourceType) -> bool {
    !matches!((kind.group, kind.plural), ("coordination.k8s.io", "leases") | ("", "serviceaccounts"))
}

/// The grace with which a deletion begins, if the kind is deleted gracefully; only pods are.
///
/// S1-14, S1-32: the option, else the spec; at once where nothing runs; negative counts as one.
pub(crate) fn graceful_period(kind: &ResourceType, object: &Value, asked: Option<i64>) -> Option<i64> {
    if !is_pod(kind) {
        return None;
    }
    let spec = &object["spec"];
    let wanted = asked.or_else(|| spec["terminationGracePeriodSeconds"].as_i64()).unwrap_or(0);
    let unassigned = spec["nodeName"].as_str().unwrap_or_default().is_empty();
    let period = if unassigned || is_terminal_pod(object) { 0 } else { wanted };
    Some(if period < 0 { 1 } else { period })
}

pub(crate) fn is_pod(kind: &ResourceType) -> bool {
    kind.group.is_empty() && kind.plural == "pods"
}

pub(crate) fn is_namespace(kind: &ResourceType) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

pub(crate) fn is_service(kind: &ResourceType) -> bool {
    kind.group.is_empty() && kind.plural == "services"
}

/// Whether the number of its replicas can be changed without the rest.
pub(crate) fn has_scale(kind: &ResourceType) -> bool {
    kind.group == "apps" && matches!(kind.plural, "replicasets" | "deployments")
}

/// Whether no container of the pod will run again.
pub(crate) fn is_terminal_pod(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Whether an update leaves nothing to wait for, so that the object goes (`ShouldDeleteDuringUpdate`).
pub(crate) fn is_gone_after_update(kind: &ResourceType, old: &Value, new: &Value) -> bool {
    if is_namespace(kind) && !namespace_finalizers_are_empty(new) {
        return false;
    }
    meta::finalizers(new).is_empty() && meta::is_deleting(old) && meta::deletion_grace(old).unwrap_or(0) == 0
}

/// Whether `spec.finalizers` of a namespace is empty.
pub(crate) fn namespace_finalizers_are_empty(namespace: &Value) -> bool {
    namespace["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty)
}
