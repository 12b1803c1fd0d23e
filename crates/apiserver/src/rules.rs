//! The rules of the kinds, as [`apimachinery`] has them, in the shape that the registry calls.

use apimachinery::decode::{self, FieldValidation, Json};
use apimachinery::event;
use apimachinery::field::FieldErrors;
use apimachinery::patch::{self, JsonPatchError};
use apimachinery::prepare::{self, CreateContext, Subresource, UpdateContext};
use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use apimachinery::validate;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::registry::meta;
use crate::registry::update::Patch;

/// Decodes strictly; returns the object in the form in which it is stored, and warnings.
pub(crate) fn decode(
    kind: &ResourceType,
    body: Json,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), ApiError> {
    let (mut object, warnings) = decode::strict_with(kind, body.value, validation, body.duplicates)?;
    if event::is_other_form(kind) {
        event::to_stored(&mut object);
    }
    Ok((object, warnings))
}

/// Defaults an object that is being created and gives it what only the server decides.
pub(crate) fn prepare_create(
    kind: &ResourceType,
    object: &mut Value,
    namespace: &str,
    now: Timestamp,
) -> Result<(), ApiError> {
    let uid = Uuid::new_v4();
    let context = CreateContext {
        namespace: kind.namespaced.then_some(namespace),
        uid: &uid.to_string(),
        now,
        name_suffix: &prepare::name_suffix(random_bytes()),
    };
    prepare::create(kind, object, &context)?;
    meta::set(object, "managedFields", Value::Null);
    Ok(())
}

/// The first bytes of a version 4 uuid are random throughout.
pub(crate) fn random_bytes() -> [u8; 5] {
    let [a, b, c, d, e, ..] = Uuid::new_v4().into_bytes();
    [a, b, c, d, e]
}

/// Carries over what an update may not touch, and defaults.
pub(crate) fn prepare_update(
    kind: &ResourceType,
    new: &mut Value,
    old: &Value,
    part: Subresource,
    now: Timestamp,
) -> Result<(), ApiError> {
    prepare::update(kind, old, new, part, &UpdateContext { now })?;
    for field in ["resourceVersion", "managedFields"] {
        meta::set(new, field, meta::field(old, field).clone());
    }
    Ok(())
}

/// Checks an object that is being created.
pub(crate) fn validate_create(kind: &ResourceType, object: &Value) -> Result<(), ApiError> {
    refuse(kind, object, &validate::create(kind, object))
}

/// Checks an update.
pub(crate) fn validate_update(
    kind: &ResourceType,
    new: &Value,
    old: &Value,
    part: Subresource,
) -> Result<(), ApiError> {
    let errors = match part {
        Subresource::Status => validate::status_update(kind, old, new),
        Subresource::EphemeralContainers => validate::ephemeral_containers_update(kind, old, new),
        Subresource::Resize => validate::resize_update(kind, old, new),
        Subresource::None => validate::update(kind, old, new),
    };
    refuse(kind, new, &errors)
}

fn refuse(kind: &ResourceType, object: &Value, errors: &FieldErrors) -> Result<(), ApiError> {
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, meta::name(object), errors)) }
}

/// Applies a patch to a stored object; the result is in the form of the kind.
pub(crate) fn apply_patch(kind: &ResourceType, target: &mut Value, patch: &Patch) -> Result<(), ApiError> {
    if event::is_other_form(kind) {
        event::from_stored(target);
    }
    match patch {
        Patch::Json(operations) => patch::json(target, operations).map_err(|error| json_patch_error(&error)),
        Patch::Merge(fields) => {
            patch::merge(target, fields);
            Ok(())
        }
        Patch::Strategic(fields) => {
            patch::strategic(kind, target, fields).map_err(|error| ApiError::bad_request(error.to_string()))
        }
    }
}

/// `jsonPatcher.applyPatchToCurrentObject`: a patch that cannot be applied is told apart from one
/// that cannot be read.
fn json_patch_error(error: &JsonPatchError) -> ApiError {
    if error.is_malformed() {
        return ApiError::bad_request(format!("error decoding patch: {error}"));
    }
    // It says no more (`NewGenericServerResponse`), neither about what.
    ApiError::plain(422, "Invalid", "the server rejected our request due to an error in our request")
}

/// Appends to a list that is made if it is not there and something is to be in it.
pub(crate) fn extend_list(object: &mut Value, field: &str, more: impl IntoIterator<Item = Value>) {
    let mut more = more.into_iter().peekable();
    if more.peek().is_none() {
        return;
    }
    let list = &mut object[field];
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    if let Value::Array(list) = list {
        list.extend(more);
    }
}

/// The resource that a URL names.
pub(crate) fn lookup(group: &str, version: &str, plural: &str) -> Option<&'static ResourceType> {
    scheme::by_plural(group, version, plural)
}
