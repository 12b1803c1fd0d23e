//! System fields of `metadata`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Map, Value};

use super::{CreateContext, carry, generated_name, mismatch};
use crate::{scheme::ResourceType, status::ApiError, time};

/// Fields that only the system writes and that a client cannot change.
const SYSTEM: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

pub(super) fn create(ty: &ResourceType, object: &mut Value, ctx: &CreateContext<'_>) -> Result<(), ApiError> {
    let meta = metadata(object)?;
    if text(meta, "resourceVersion").is_some_and(|v| v != "0") {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    set_namespace(ty, meta, ctx.namespace)?;
    for key in SYSTEM.into_iter().chain(["resourceVersion"]) {
        meta.remove(key);
    }
    if text(meta, "name").is_none()
        && let Some(prefix) = text(meta, "generateName")
    {
        let name = generated_name(prefix, ctx.name_suffix);
        meta.insert("name".into(), name.into());
    }
    meta.insert("uid".into(), ctx.uid.into());
    meta.insert("creationTimestamp".into(), time::seconds(ctx.now).into());
    if ty.has_generation {
        meta.insert("generation".into(), 1.into());
    }
    Ok(())
}

pub(super) fn update(ty: &ResourceType, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let empty = Map::new();
    let old_meta = old.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let meta = metadata(new)?;
    let name = text(old_meta, "name").unwrap_or_default();
    match text(meta, "name") {
        Some(found) if found != name => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({found}) does not match the name on the URL ({name})"
            )));
        }
        Some(_) | None => carry(Some(old_meta), meta, "name"),
    }
    set_namespace(ty, meta, text(old_meta, "namespace"))?;
    let uid = text(old_meta, "uid").unwrap_or_default();
    if let Some(found) = text(meta, "uid").filter(|found| *found != uid) {
        let why = format!("Precondition failed: UID in precondition: {found}, UID in object meta: {uid}");
        return Err(ApiError::conflict(ty, name, &why));
    }
    for key in SYSTEM {
        carry(Some(old_meta), meta, key);
    }
    Ok(())
}

pub(super) fn bump_generation(old: &Value, new: &mut Value) {
    let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
    if let Ok(meta) = metadata(new) {
        meta.insert("generation".into(), generation.saturating_add(1).into());
    }
}

/// Keeps the owners: a status write cannot give an object away.
pub(super) fn keep_owners(old: Option<&Map<String, Value>>, new: &mut Map<String, Value>) {
    let old_meta = old.and_then(|o| o.get("metadata")).and_then(Value::as_object);
    if let Some(Value::Object(meta)) = new.get_mut("metadata") {
        carry(old_meta, meta, "ownerReferences");
    }
}

pub(super) fn mark_deleted(object: &mut Value, now: Timestamp, grace_seconds: i64) {
    let Ok(meta) = metadata(object) else { return };
    let at = now.checked_add(SignedDuration::from_secs(grace_seconds)).unwrap_or(now);
    let first = !meta.contains_key("deletionTimestamp");
    meta.insert("deletionTimestamp".into(), time::seconds(at).into());
    meta.insert("deletionGracePeriodSeconds".into(), grace_seconds.into());
    if let Some(generation) = meta.get("generation").and_then(Value::as_i64).filter(|g| first && *g > 0) {
        meta.insert("generation".into(), generation.saturating_add(1).into());
    }
}

/// Gives a namespace the label by which selectors find it.
pub(super) fn name_label(namespace: &mut Namespace) {
    let Some(name) = namespace.metadata.name.clone() else { return };
    namespace.metadata.labels.get_or_insert_default().insert("kubernetes.io/metadata.name".into(), name);
}

fn set_namespace(ty: &ResourceType, meta: &mut Map<String, Value>, request: Option<&str>) -> Result<(), ApiError> {
    let request = request.filter(|_| ty.namespaced);
    match (text(meta, "namespace"), request) {
        (Some(found), Some(ns)) if found != ns => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        (Some(found), None) => return Err(mismatch("namespace", found, "")),
        (_, Some(ns)) => meta.insert("namespace".into(), ns.into()),
        (None, None) => meta.remove("namespace"),
    };
    Ok(())
}

fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    let object = object.as_object_mut().ok_or_else(|| ApiError::bad_request("expected an object"))?;
    let meta = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if meta.is_null() {
        *meta = Value::Object(Map::new());
    }
    meta.as_object_mut().ok_or_else(|| ApiError::bad_request("metadata: expected an object"))
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}
