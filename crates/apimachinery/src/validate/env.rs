//! Environment variables and where their values come from.

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use serde_json::Value;

use super::{invalid_for, names, pod::Scope, required, text, volume};
use crate::{
    field::{FieldErrors, Path},
    quantity::Quantity,
};

/// Checks `env` and `envFrom` of a container.
pub(super) fn all(errors: &mut FieldErrors, at: &Path, container: &Container, scope: &Scope<'_>) {
    for (index, variable) in container.env.iter().flatten().enumerate() {
        let at = at.child("env").index(index);
        if variable.name.is_empty() {
            errors.required(&at.child("name"), "");
        } else {
            invalid_for(errors, &at.child("name"), &variable.name, names::env_name(&variable.name));
        }
        value_from(errors, &at.child("valueFrom"), variable, scope);
    }
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        let at = at.child("envFrom").index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            invalid_for(errors, &at.child("prefix"), prefix, names::env_name(prefix));
        }
        let references = [
            ("configMapRef", source.config_map_ref.as_ref().map(|r| r.name.as_str())),
            ("secretRef", source.secret_ref.as_ref().map(|r| r.name.as_str())),
        ];
        for (field, name) in references {
            if let Some(name) = name {
                object_name(errors, &at.child(field).child("name"), name);
            }
        }
        match references.iter().filter(|(_, name)| name.is_some()).count() {
            0 => errors.invalid(&at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&at, "", "may not have more than one field specified at a time"),
        }
    }
}

fn value_from(errors: &mut FieldErrors, at: &Path, variable: &EnvVar, scope: &Scope<'_>) {
    let Some(source) = &variable.value_from else { return };
    let count = sources(errors, at, source, scope);
    let why = match count {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !text(&variable.value).is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid(at, "", why);
}

/// Checks every source and returns how many there are.
fn sources(errors: &mut FieldErrors, at: &Path, source: &EnvVarSource, scope: &Scope<'_>) -> usize {
    if let Some(found) = &source.field_ref {
        field_ref(errors, &at.child("fieldRef"), found, ENV_FIELDS);
    }
    if let Some(found) = &source.resource_field_ref {
        resource_ref(errors, &at.child("resourceFieldRef"), found, false);
    }
    if let Some(found) = &source.config_map_key_ref {
        key_ref(errors, &at.child("configMapKeyRef"), &found.name, &found.key);
    }
    if let Some(found) = &source.secret_key_ref {
        key_ref(errors, &at.child("secretKeyRef"), &found.name, &found.key);
    }
    if let Some(found) = &source.file_key_ref {
        file_ref(errors, &at.child("fileKeyRef"), found, scope);
    }
    [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ]
    .into_iter()
    .filter(|set| *set)
    .count()
}

fn key_ref(errors: &mut FieldErrors, at: &Path, name: &str, key: &str) {
    object_name(errors, &at.child("name"), name);
    if key.is_empty() {
        errors.required(&at.child("key"), "");
    } else {
        invalid_for(errors, &at.child("key"), key, names::config_key(key));
    }
}

fn object_name(errors: &mut FieldErrors, path: &Path, name: &str) {
    if name.is_empty() {
        errors.required(path, "");
    } else {
        invalid_for(errors, path, name, names::dns_subdomain(name));
    }
}

/// A variable from a file: the file is in an emptyDir of the pod (S11-20).
fn file_ref(errors: &mut FieldErrors, at: &Path, found: &FileKeySelector, scope: &Scope<'_>) {
    if found.key.is_empty() {
        errors.required(&at.child("key"), "");
    } else {
        invalid_for(errors, &at.child("key"), &found.key, names::env_name(&found.key));
    }
    required(errors, &at.child("path"), &found.path);
    if !found.path.is_empty() {
        volume::local_path(errors, &at.child("path"), &found.path);
    }
    let path = at.child("volumeName");
    if found.volume_name.is_empty() {
        errors.required(&path, "");
        return;
    }
    match scope.volume(&found.volume_name) {
        None => errors.not_found(&path, found.volume_name.as_str()),
        Some(volume) if volume.empty_dir.is_none() => {
            errors.invalid(&path, found.volume_name.as_str(), "referenced volume must be of type emptyDir");
        }
        Some(_) => {}
    }
}

/// Checks a reference to a field of the pod.
pub(super) fn field_ref(errors: &mut FieldErrors, at: &Path, found: &ObjectFieldSelector, allowed: &[&str]) {
    if text(&found.api_version).is_empty() {
        errors.required(&at.child("apiVersion"), "");
        return;
    }
    if found.field_path.is_empty() {
        errors.required(&at.child("fieldPath"), "");
        return;
    }
    let path = at.child("fieldPath");
    match subscript(&found.field_path) {
        Some(("metadata.labels", key)) => invalid_for(errors, at, key, names::qualified_name(key)),
        Some(("metadata.annotations", key)) => {
            invalid_for(errors, at, key, names::qualified_name(&key.to_lowercase()));
        }
        Some((field, _)) => {
            let why = format!("error converting fieldPath: field label does not support subscript: {field}");
            errors.invalid(&path, found.field_path.as_str(), why);
        }
        None if allowed.contains(&found.field_path.as_str()) => {}
        None if KNOWN_FIELDS.contains(&found.field_path.as_str()) => {
            errors.not_supported(&path, &found.field_path, allowed);
        }
        None => {
            let why = format!("error converting fieldPath: field label not supported: {}", found.field_path);
            errors.invalid(&path, found.field_path.as_str(), why);
        }
    }
}

/// Splits `metadata.labels['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// Checks a reference to an amount of a container. In volumes there is no container to be meant otherwise.
pub(super) fn resource_ref(errors: &mut FieldErrors, at: &Path, found: &ResourceFieldSelector, in_volume: bool) {
    if in_volume && text(&found.container_name).is_empty() {
        errors.required(&at.child("containerName"), "");
    } else if found.resource.is_empty() {
        errors.required(&at.child("resource"), "");
    } else if !is_container_resource(&found.resource) {
        errors.not_supported(&at.child("resource"), &found.resource, RESOURCES);
    }
    if let Some(divisor) = &found.divisor {
        self::divisor(errors, at, &found.resource, divisor);
    }
}

fn is_container_resource(name: &str) -> bool {
    let huge = |prefix: &str| name.starts_with(prefix);
    RESOURCES.contains(&name) || huge("limits.hugepages-") || huge("requests.hugepages-")
}

fn divisor(errors: &mut FieldErrors, at: &Path, resource: &str, divisor: &ApiQuantity) {
    let Ok(amount) = divisor.0.parse::<Quantity>() else { return };
    if amount.is_zero() {
        return;
    }
    let (allowed, text, what) = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" => (CPU_DIVISORS, "1m and 1", "cpu"),
        "memory" => (BYTE_DIVISORS, BYTE_DIVISORS_TEXT, "memory"),
        "ephemeral-storage" => (BYTE_DIVISORS, BYTE_DIVISORS_TEXT, "local ephemeral storage"),
        name if name.starts_with("hugepages-") => (BYTE_DIVISORS, BYTE_DIVISORS_TEXT, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&amount.to_string().as_str()) {
        let why = format!("only divisor's values {text} are supported with the {what} resource");
        errors.invalid(&at.child("divisor"), Value::from(resource), why);
    }
}

const CPU_DIVISORS: &[&str] = &["1m", "1"];
const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
const BYTE_DIVISORS_TEXT: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// What a variable may refer to (S11-08).
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What a file of a volume may refer to (S11-07).
pub(super) const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// All labels of fields that exist at all (`ConvertDownwardAPIFieldLabel`).
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
