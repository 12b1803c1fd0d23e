//! `create`: names, identity, admission, storing.

use std::io::{self, Write};
use std::sync::Arc;

use apimachinery::decode::Json;
use apimachinery::field::{FieldErrors, Path};
use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use serde_json::Value;

use super::apply::Ownership;
use super::{Place, Registry, WriteOptions, Written, admission, meta, strategy};
use crate::rules;
use crate::store::{Change, CommitError, Expected, Object};

impl Registry {
    /// Creates an object from what a client sent.
    pub(crate) fn create(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        body: Json,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let decoded = rules::decode(kind, body, options.validation)?;
        self.create_decoded(kind, namespace, decoded, options, Ownership::Tracked)
    }

    /// Creates an object that is in the form of its type, from what a client sent with warnings.
    pub(crate) fn create_decoded(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        (object, warnings): (Value, Vec<String>),
        options: &WriteOptions,
        ownership: Ownership,
    ) -> Result<Written, ApiError> {
        let generated = meta::name(&object).is_empty() && !meta::text(&object, "generateName").is_empty();
        for _ in 0..MOST_GENERATED_NAMES {
            match self.create_named(kind, namespace, object.clone(), options, ownership) {
                Ok(object) => return Ok(Written { object, created: true, warnings }),
                Err(error) if generated && error.reason == "AlreadyExists" => {}
                Err(error) => return Err(error),
            }
        }
        Err(ApiError::generated_name_exists(kind, meta::text(&object, "generateName")))
    }

    fn create_named(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
        ownership: Ownership,
    ) -> Result<Arc<Object>, ApiError> {
        let managed_fields = self.first_owners(kind, &object, options, ownership)?;
        rules::prepare_create(kind, &mut object, namespace, self.now())?;
        admission::create(self, kind, &mut object)?;
        let has_quota = kind.namespaced && admission::quota::applies(self, &object);
        let _guard = (has_quota || strategy::is_service(kind)).then(|| self.one_at_a_time());
        if strategy::is_service(kind) {
            self.allocate_for_service(kind, &mut object)?;
        }
        rules::validate_create(kind, &object)?;
        if has_quota {
            admission::quota::check(self, kind, &object)?;
        }
        meta::set(&mut object, "managedFields", managed_fields);
        check_size(&object)?;
        self.insert(kind, object, options.dry_run)
    }

    /// Stores a complete object that has no predecessor.
    pub(crate) fn insert(
        &self,
        kind: &'static ResourceType,
        object: Value,
        dry_run: bool,
    ) -> Result<Arc<Object>, ApiError> {
        check_name(kind, &object)?;
        let place = Place::of(kind, &object);
        let (key, name) = (place.key(), place.name.to_owned());
        let table = strategy::table(kind);
        if dry_run {
            return match self.store.get(&table, &key) {
                Some(_) => Err(ApiError::already_exists(kind, &name)),
                None => Ok(Arc::new(Object::draft(key.into(), object))),
            };
        }
        match self.store.commit(&table, &key, Expected::Absent, Change::Put(object)) {
            Ok(object) => {
                self.after_create(kind, &object);
                self.after_event_write(kind, &object);
                Ok(object)
            }
            Err(CommitError::Exists | CommitError::Missing | CommitError::Changed) => {
                Err(ApiError::already_exists(kind, &name))
            }
        }
    }
}

/// How often a taken generated name is replaced (`RetryGenerateName`).
const MOST_GENERATED_NAMES: usize = 8;

/// Refuses names that could not be a segment of a path, whatever else the kind demands: keys are made
/// of them (`path.IsValidPathSegmentName`).
fn check_name(kind: &ResourceType, object: &Value) -> Result<(), ApiError> {
    let name = meta::name(object);
    let field = Path::new("metadata").child("name");
    let mut errors = FieldErrors::default();
    match name {
        "" => errors.required(&field, "name or generateName is required"),
        "." | ".." => errors.invalid(&field, name, format!("may not be '{name}'")),
        _ => {}
    }
    for forbidden in ['/', '%'] {
        if name.contains(forbidden) {
            errors.invalid(&field, name, format!("may not contain '{forbidden}'"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, name, &errors)) }
}

/// Refuses an object that is too large to be stored, as etcd does, or too deep to be read again.
pub(crate) fn check_size(object: &Value) -> Result<(), ApiError> {
    if is_deeper_than(object, MOST_LEVELS) {
        return Err(ApiError::bad_request(format!("the object is nested deeper than {MOST_LEVELS} levels")));
    }
    let mut counter = Counter(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut counter, object);
    if counter.0 > MOST_OBJECT_BYTES {
        return Err(ApiError::plain(413, "RequestEntityTooLarge", "etcdserver: request is too large"));
    }
    Ok(())
}

fn is_deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper_than(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|field| is_deeper_than(field, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Well below what can be read again (`serde_json` stops at 128): patches can nest deeper than any request, and an
/// object that cannot be read would make the whole store unreadable.
const MOST_LEVELS: usize = 120;

/// Default of etcd's `--max-request-bytes`.
const MOST_OBJECT_BYTES: usize = 1_572_864;

/// Counts what is written to it.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!("core"), |inner, _| json!({ "a": [inner] }))
    }

    #[test]
    fn what_may_be_stored_can_be_read_again_and_what_is_deeper_may_not() {
        let deepest = nested(MOST_LEVELS / 2);
        assert_eq!(check_size(&deepest), Ok(()));
        assert_eq!(serde_json::from_str::<Value>(&deepest.to_string()).expect("readable"), deepest);
        for levels in [MOST_LEVELS / 2 + 1, 100] {
            let refused = check_size(&nested(levels)).expect_err("too deep");
            assert_eq!((refused.code, refused.message.as_str()), (400, "the object is nested deeper than 120 levels"));
        }
    }
}
