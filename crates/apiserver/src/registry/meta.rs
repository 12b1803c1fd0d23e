//! Reading and changing `metadata` of JSON objects.

use apimachinery::time::seconds;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// `metadata.finalizers` entry that keeps an owner until its dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// `metadata.finalizers` entry that keeps an owner until its dependents are released.
pub(crate) const ORPHAN: &str = "orphan";

static NULL: Value = Value::Null;

/// A field of `metadata`; null when absent.
pub(crate) fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get("metadata").and_then(|metadata| metadata.get(name)).unwrap_or(&NULL)
}

/// A text field of `metadata`; empty when absent.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    field(object, name).as_str().unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// Whether deletion was asked for.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !field(object, "deletionTimestamp").is_null()
}

pub(crate) fn deletion_timestamp(object: &Value) -> Option<Timestamp> {
    text(object, "deletionTimestamp").parse().ok()
}

pub(crate) fn deletion_grace(object: &Value) -> Option<i64> {
    field(object, "deletionGracePeriodSeconds").as_i64()
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    field(object, "finalizers").as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Sets a field of `metadata`, or removes it if the value is null. Decoding has made sure that the
/// object and its metadata are JSON objects.
pub(crate) fn set(object: &mut Value, name: &str, value: Value) {
    let Value::Object(fields) = object else { return };
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    let Value::Object(metadata) = metadata else { return };
    if value.is_null() {
        metadata.remove(name);
    } else {
        metadata.insert(name.to_owned(), value);
    }
}

pub(crate) fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    set(object, "finalizers", if finalizers.is_empty() { Value::Null } else { json!(finalizers) });
}

/// Marks an object as being deleted; `metadata.generation` grows with the first mark.
pub(crate) fn mark_deleting(object: &mut Value, at: Timestamp, grace: i64) {
    if !is_deleting(object)
        && let Some(generation) = field(object, "generation").as_i64().filter(|generation| *generation > 0)
    {
        set(object, "generation", json!(generation.saturating_add(1)));
    }
    set(object, "deletionTimestamp", json!(seconds(at)));
    set(object, "deletionGracePeriodSeconds", json!(grace));
}

/// `at` plus some seconds, held inside what a time stamp can be.
pub(crate) fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
