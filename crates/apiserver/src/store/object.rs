//! One version of one object.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

/// One version of one object. Never changes; its JSON text is made once, by the first who asks.
#[derive(Debug)]
pub(crate) struct Object {
    key: Arc<str>,
    value: Value,
    revision: u64,
    footprint: usize,
    json: OnceLock<Bytes>,
}

impl Object {
    /// Puts the revision into the value's `metadata.resourceVersion`.
    pub(crate) fn new(key: Arc<str>, mut value: Value, revision: u64) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        }
        let footprint = footprint(&value);
        Self { key, value, revision, footprint, json: OnceLock::new() }
    }

    /// What a dry run would have written; it has no revision of its own.
    pub(crate) fn draft(key: Arc<str>, value: Value) -> Self {
        Self { key, value, revision: 0, footprint: 0, json: OnceLock::new() }
    }

    /// The same content under another revision.
    pub(crate) fn at_revision(&self, revision: u64) -> Self {
        Self::new(Arc::clone(&self.key), self.value.clone(), revision)
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn shared_key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// About how many bytes of memory it takes, its text included; 0 of what is not stored.
    pub(crate) fn footprint(&self) -> usize {
        self.footprint
    }

    /// Appends the object's JSON text without keeping it.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        match self.json.get() {
            Some(text) => out.extend_from_slice(text),
            None => {
                // A value has text for all its keys, and memory takes every byte.
                let _ = serde_json::to_writer(out, &self.value);
            }
        }
    }

    /// The object as JSON text.
    pub(crate) fn json(&self) -> Bytes {
        self.json.get_or_init(|| Bytes::from(self.value.to_string())).clone()
    }
}

/// Texts count twice, since they are in the JSON text as well.
fn footprint(value: &Value) -> usize {
    const NODE: usize = 64;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => NODE,
        Value::String(text) => NODE + 2 * text.len(),
        Value::Array(items) => NODE + items.iter().map(footprint).sum::<usize>(),
        Value::Object(fields) => {
            NODE + fields.iter().map(|(name, field)| 2 * name.len() + footprint(field)).sum::<usize>()
        }
    }
}
