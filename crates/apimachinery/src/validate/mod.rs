//! The rules that objects must keep.

pub mod names;
pub(crate) mod volume;

use serde_json::Value;

use crate::{field::FieldErrors, scheme::ResourceType};

/// Checks a new object. It must have gone through [`crate::prepare::create`].
pub fn create(_ty: &ResourceType, _object: &Value) -> FieldErrors {
    FieldErrors::default()
}

/// Checks a changed object against the old one. It must have gone through [`crate::prepare::update`].
pub fn update(_ty: &ResourceType, _old: &Value, _new: &Value) -> FieldErrors {
    FieldErrors::default()
}

/// Checks a changed status. The object must have gone through [`crate::prepare::update`].
pub fn status_update(_ty: &ResourceType, _old: &Value, _new: &Value) -> FieldErrors {
    FieldErrors::default()
}
