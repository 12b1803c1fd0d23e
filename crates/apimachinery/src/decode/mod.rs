//! From text to checked objects: YAML and JSON, unknown fields, wrong types.

mod json;
mod normalise;
mod prune;
mod typed;
mod yaml;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{
    json::{Json, json},
    prune::prune,
    yaml::yaml,
};
use crate::{field::quote, scheme::ResourceType, status::ApiError};

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text is not well-formed.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1; 0 if not known.
        line: u64,
        /// Column, from 1; 0 if not known.
        column: u64,
        /// What is wrong there.
        message: String,
    },
    /// The text is larger or deeper than is read.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A document is not an object.
    #[error("document {document} is {found}, not an object")]
    NotAnObject {
        /// Which document, from 1.
        document: usize,
        /// What it is.
        found: &'static str,
    },
}

/// What to do with fields that the type does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Refuse the object.
    Strict,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Drop them.
    Ignore,
}

impl FieldValidation {
    /// Reads the query parameter `fieldValidation`.
    ///
    /// # Errors
    /// `BadRequest` for a value that is none of `Strict`, `Warn`, `Ignore`.
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("" | "Warn") => Ok(Self::Warn),
            Some("Strict") => Ok(Self::Strict),
            Some("Ignore") => Ok(Self::Ignore),
            Some(other) => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {}: supported values: \"Ignore\", \"Strict\", \"Warn\"",
                quote(other)
            ))),
        }
    }
}

/// Brings an object into the form in which it is stored, and names the fields that its type does not have.
///
/// `apiVersion` and `kind` must be those of `ty` or absent; they are filled in. Fields with the zero value that
/// Kubernetes leaves out are left out. The result has every field its type has and nothing else.
///
/// ```
/// use apimachinery::{decode::{self, FieldValidation}, scheme};
/// let pod = serde_json::json!({"spec": {"containers": [{"name": "a", "imagee": "x"}]}});
/// let ty = scheme::by_name("pod").unwrap();
/// let (pod, warnings) = decode::strict(ty, pod, FieldValidation::Warn).unwrap();
/// assert_eq!(warnings, [r#"unknown field "spec.containers[0].imagee""#]);
/// assert_eq!(pod["kind"], "Pod");
/// assert!(pod["spec"]["containers"][0].get("imagee").is_none());
/// ```
///
/// # Errors
/// `BadRequest` for wrong types, for another kind and, with [`FieldValidation::Strict`], for unknown fields.
pub fn strict(ty: &ResourceType, value: Value, validation: FieldValidation) -> Result<(Value, Vec<String>), ApiError> {
    strict_with(ty, value, validation, Vec::new())
}

/// Does what [`strict`] does, with the problems that reading the text has already found (see [`Json::duplicates`]).
///
/// # Errors
/// As [`strict`].
pub fn strict_with(
    ty: &ResourceType,
    value: Value,
    validation: FieldValidation,
    mut problems: Vec<String>,
) -> Result<(Value, Vec<String>), ApiError> {
    let value = with_type(ty, value)?;
    let decoded = normalise::normalise(ty, value).map_err(|e| cannot_handle(ty, &e))?;
    problems.extend(decoded.unknown.iter().map(|path| format!("unknown field {}", quote(path))));
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            Err(cannot_handle(ty, &format!("strict decoding error: {}", problems.join(", "))))
        }
        FieldValidation::Ignore => Ok((decoded.value, Vec::new())),
        FieldValidation::Strict | FieldValidation::Warn => Ok((decoded.value, problems)),
    }
}

/// Turns an object into its typed form. Unknown fields are dropped.
///
/// ```
/// use k8s_openapi::api::core::v1::Pod;
/// let pod: Pod = apimachinery::decode::object(&serde_json::json!({"metadata": {"name": "a"}})).unwrap();
/// assert_eq!(pod.metadata.name.as_deref(), Some("a"));
/// ```
///
/// # Errors
/// A text with the path of the field that has the wrong type.
pub fn object<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    typed::decode(value)
}

/// Turns a typed object into the form in which it is stored.
///
/// ```
/// use k8s_openapi::api::core::v1::Pod;
/// let value = apimachinery::decode::encode(&Pod::default());
/// assert_eq!(value, serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}}));
/// ```
pub fn encode<T: Serialize>(object: &T) -> Value {
    // The types of the API are made of maps with string keys, lists and scalars, which are always JSON.
    let mut value = serde_json::to_value(object).unwrap_or(Value::Null);
    prune(&mut value);
    value
}

fn with_type(ty: &ResourceType, value: Value) -> Result<Value, ApiError> {
    let Value::Object(mut object) = value else {
        return Err(cannot_handle(ty, &format!("expected an object, found {}", typed::name_of(&value))));
    };
    for (key, expected) in [("apiVersion", ty.api_version), ("kind", ty.kind)] {
        match object.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(found)) if found.is_empty() || found == expected => {}
            Some(found) => return Err(other_type(key, found, expected)),
        }
        object.insert(key.into(), expected.into());
    }
    Ok(Value::Object(object))
}

fn other_type(key: &str, found: &Value, expected: &str) -> ApiError {
    let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    ApiError::bad_request(format!(
        "the {} in the data ({found}) does not match the expected {} ({expected})",
        if key == "kind" { "kind" } else { "API version" },
        if key == "kind" { "kind" } else { "API version" },
    ))
}

fn cannot_handle(ty: &ResourceType, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{} in version {} cannot be handled as a {}: {why}",
        ty.kind,
        quote(ty.version),
        ty.kind
    ))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod objects;
