//! The rules of the kinds, as [`apimachinery`] has them, in the shape that the registry calls.

use apimachinery::decode::{self, FieldValidation, Json};
use apimachinery::patch::{self, JsonPatchError};
use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::{ApiError, Cause};
use serde_json::Value;

use crate::registry::update::Patch;
use crate::registry::{meta, strategy};

/// Decodes strictly; returns the object and warnings.
pub(crate) fn decode(
    kind: &ResourceType,
    body: Json,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), ApiError> {
    decode::strict_with(kind, body.value, validation, body.duplicates)
}

/// Defaults an object that is being created.
pub(crate) fn prepare_create(_kind: &ResourceType, _object: &mut Value) {}

/// Carries over what an update may not touch, and defaults.
pub(crate) fn prepare_update(kind: &ResourceType, new: &mut Value, old: &Value) {
    if kind.has_status {
        copy_field("status", new, old);
    }
    if kind.has_generation && new["spec"] != old["spec"] {
        let generation = meta::field(old, "generation").as_i64().unwrap_or(0).saturating_add(1);
        meta::set(new, "generation", generation.into());
    }
}

/// Checks an object that is being created.
pub(crate) fn validate_create(_kind: &ResourceType, _object: &Value) -> Result<(), ApiError> {
    Ok(())
}

/// Checks an update.
pub(crate) fn validate_update(_kind: &ResourceType, _new: &Value, _old: &Value) -> Result<(), ApiError> {
    Ok(())
}

/// Checks an update of the status.
pub(crate) fn validate_status(_kind: &ResourceType, _new: &Value, _old: &Value) -> Result<(), ApiError> {
    Ok(())
}

/// Carries over what an update of the status may not touch.
pub(crate) fn prepare_status(kind: &ResourceType, new: &mut Value, old: &Value) {
    copy_field("spec", new, old);
    if strategy::is_pod(kind) {
        meta::set(new, "ownerReferences", meta::field(old, "ownerReferences").clone());
    }
}

fn copy_field(name: &str, new: &mut Value, old: &Value) {
    let Value::Object(fields) = new else { return };
    match old.get(name) {
        Some(value) => fields.insert(name.to_owned(), value.clone()),
        None => fields.remove(name),
    };
}

/// Applies a patch to an object.
pub(crate) fn apply_patch(kind: &ResourceType, target: &mut Value, patch: &Patch) -> Result<(), ApiError> {
    match patch {
        Patch::Json(operations) => patch::json(target, operations).map_err(|error| json_patch_error(kind, &error)),
        Patch::Merge(fields) => {
            patch::merge(target, fields);
            Ok(())
        }
        Patch::Strategic(fields) => {
            patch::merge(target, fields);
            Ok(())
        }
    }
}

/// `jsonPatcher.applyPatchToCurrentObject`: a patch that cannot be applied is told apart from one
/// that cannot be read.
fn json_patch_error(kind: &ResourceType, error: &JsonPatchError) -> ApiError {
    if error.is_malformed() {
        return ApiError::bad_request(format!("error decoding patch: {error}"));
    }
    let text = "the server rejected our request due to an error in our request";
    let mut answer = ApiError::plain(422, "Invalid", text);
    kind.group.clone_into(&mut answer.details.group);
    kind.plural.clone_into(&mut answer.details.kind);
    answer.details.causes.push(Cause {
        reason: "UnexpectedServerResponse".to_owned(),
        message: error.to_string(),
        field: String::new(),
    });
    answer
}

/// The resource that a URL names.
pub(crate) fn lookup(group: &str, version: &str, plural: &str) -> Option<&'static ResourceType> {
    scheme::by_plural(group, version, plural)
}
