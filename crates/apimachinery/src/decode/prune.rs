//! Leaves out what Kubernetes leaves out when it writes an object.
//!
//! Go's `omitempty` drops zero values of plain fields but keeps them behind pointers. The types here do not show that
//! difference, so that the fields where it matters are listed by name.

use serde_json::{Map, Value};

/// Maps whose entries are the user's: never touched inside, and dropped when empty.
const USER_MAPS: &[&str] = &[
    "allocatable",
    "allocatedResources",
    "annotations",
    "binaryData",
    "capacity",
    "data",
    "hard",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "options",
    "overhead",
    "requests",
    "stringData",
    "used",
    "volumeAttributes",
];

/// Lists that are written even when empty.
const KEPT_LISTS: &[&str] = &["containers", "items", "nodeSelectorTerms", "rules", "sources", "values"];

/// Strings that are written even when empty: pointers, and plain fields without `omitempty`.
const KEPT_STRINGS: &[&str] = &[
    "apiVersion",
    "completionMode",
    "concurrencyPolicy",
    "ip",
    "fsGroupChangePolicy",
    "hostnameOverride",
    "image",
    "imageID",
    "kind",
    "key",
    "localhostProfile",
    "managedBy",
    "mountPath",
    "mountPropagation",
    "name",
    "path",
    "podReplacementPolicy",
    "preemptionPolicy",
    "procMount",
    "recursiveReadOnly",
    "restartPolicy",
    "runtimeClassName",
    "schedule",
    "service",
    "status",
    "storageClassName",
    "timeZone",
    "topologyKey",
    "type",
    "uid",
    "volumeMode",
];

/// Booleans that are left out when false.
const DROPPED_FALSE: &[&str] =
    &["hostIPC", "hostNetwork", "hostPID", "paused", "readOnly", "stdin", "stdinOnce", "tty", "unschedulable"];

/// Numbers that are left out when 0.
const DROPPED_ZERO: &[&str] = &[
    "active",
    "count",
    "failed",
    "failureThreshold",
    "generation",
    "hostPort",
    "initialDelaySeconds",
    "observedGeneration",
    "periodSeconds",
    "signal",
    "succeeded",
    "successThreshold",
    "timeoutSeconds",
];

/// Removes nulls and the zero values that Kubernetes does not write.
///
/// ```
/// let mut pod = serde_json::json!({
///     "metadata": {"labels": {}, "annotations": {"empty": ""}},
///     "spec": {"containers": [], "hostNetwork": false, "volumes": [{"name": "v", "emptyDir": {}}]},
/// });
/// apimachinery::decode::prune(&mut pod);
/// assert_eq!(pod, serde_json::json!({
///     "metadata": {"annotations": {"empty": ""}},
///     "spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]},
/// }));
/// ```
pub fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => prune_fields(fields),
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn prune_fields(fields: &mut Map<String, Value>) {
    fields.retain(|key, value| {
        let key = key.as_str();
        match value {
            Value::Null => return false,
            Value::String(text) => return !text.is_empty() || KEPT_STRINGS.contains(&key),
            Value::Bool(flag) => return *flag || !DROPPED_FALSE.contains(&key),
            Value::Number(number) => return number.as_i64() != Some(0) || !DROPPED_ZERO.contains(&key),
            Value::Array(items) if items.is_empty() => return KEPT_LISTS.contains(&key),
            Value::Object(map) if USER_MAPS.contains(&key) => return !map.is_empty(),
            Value::Array(_) | Value::Object(_) => {}
        }
        // The field sets of managed fields are full of empty maps that mean something.
        if key != "managedFields" {
            prune(value);
        }
        true
    });
}
