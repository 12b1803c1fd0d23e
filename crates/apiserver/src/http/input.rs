//! Reading what requests carry: bodies, write options, delete options.

use apimachinery::decode::{self, FieldValidation, Json};
use apimachinery::protobuf;
use apimachinery::status::ApiError;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, USER_AGENT};
use serde_json::Value;

use super::query::Query;
use crate::error::invalid_options;
use crate::registry::WriteOptions;
use crate::registry::delete::{DeleteOptions, Propagation};
use crate::registry::update::Patch;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// The media type of a body, without parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Reads an object from a body.
pub(crate) fn object(headers: &HeaderMap, body: &Bytes) -> Result<Json, ApiError> {
    match media_type(headers) {
        "" | JSON => decode::json(body).map_err(|error| unreadable(&error)),
        YAML => yaml(body),
        protobuf::MEDIA_TYPE => protobuf::decode(body)
            .map(|value| Json { value, duplicates: Vec::new() })
            .map_err(|error| unreadable(&error)),
        _ => Err(ApiError::unsupported_media_type(&[JSON, YAML, protobuf::MEDIA_TYPE])),
    }
}

fn yaml(body: &Bytes) -> Result<Json, ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| unreadable(&error))?;
    let mut documents = decode::yaml(text).map_err(|error| unreadable(&error))?.into_iter();
    match (documents.next(), documents.next()) {
        (Some(value), None) => Ok(Json { value, duplicates: Vec::new() }),
        _ => Err(ApiError::bad_request("the body must hold exactly one object")),
    }
}

fn unreadable(error: &dyn std::error::Error) -> ApiError {
    ApiError::bad_request(format!("error decoding the request body: {error}"))
}

/// What the body of a PATCH request says.
#[derive(Debug)]
pub(crate) enum PatchBody {
    /// What to change.
    Patch(Patch),
    /// What the object is to say as far as its manager is concerned.
    Apply(Value),
}

/// Reads a patch from a body.
pub(crate) fn patch(headers: &HeaderMap, body: &Bytes) -> Result<PatchBody, ApiError> {
    let form: fn(Value) -> Patch = match media_type(headers) {
        JSON_PATCH => Patch::Json,
        MERGE_PATCH => Patch::Merge,
        STRATEGIC_PATCH => Patch::Strategic,
        APPLY_PATCH => return Ok(PatchBody::Apply(applied(body)?)),
        _ => return Err(unknown_patch()),
    };
    let patch = decode::json(body).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    Ok(PatchBody::Patch(form(patch.value)))
}

/// The patch has a media type that is not read.
pub(crate) fn unknown_patch() -> ApiError {
    ApiError::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH])
}

/// What is applied: YAML, of which JSON is a part.
fn applied(body: &Bytes) -> Result<Value, ApiError> {
    let refused = |error: &dyn std::error::Error| ApiError::bad_request(format!("error decoding YAML: {error}"));
    if let Ok(Json { value, duplicates }) = decode::json(body)
        && duplicates.is_empty()
    {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|error| refused(&error))?;
    let mut documents = decode::yaml(text).map_err(|error| refused(&error))?.into_iter();
    match (documents.next(), documents.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(ApiError::bad_request("the body must hold exactly one object")),
    }
}

/// Reads the options of create, update and patch.
pub(crate) fn write_options(query: &Query, headers: &HeaderMap) -> Result<WriteOptions, ApiError> {
    let named = query.text("fieldManager");
    let force = query.flag("force");
    let mut problems = Vec::new();
    if let Some(manager) = named {
        problems.extend(wrong_manager(manager));
    }
    match (media_type(headers) == APPLY_PATCH, named) {
        (true, None) => problems.push("fieldManager: Required value: is required for apply patch".to_owned()),
        (false, _) if force.is_some() && media_type(headers).contains("patch") => {
            problems.push("force: Forbidden: may not be specified for non-apply patch".to_owned());
        }
        (true | false, _) => {}
    }
    if !problems.is_empty() {
        return Err(invalid_options("PatchOptions", &problems));
    }
    Ok(WriteOptions {
        dry_run: dry_run(query.all("dryRun"))?,
        validation: FieldValidation::parse(query.first("fieldValidation"))?,
        manager: named.map_or_else(|| manager_by_agent(headers), str::to_owned),
        force: force.unwrap_or_default(),
        only: None,
    })
}

/// Longest name of a field manager (`FieldManagerMaxLength`).
const MOST_MANAGER_BYTES: usize = 128;

fn wrong_manager(name: &str) -> Option<String> {
    if name.len() > MOST_MANAGER_BYTES {
        return Some(format!("fieldManager: Too long: may not be more than {MOST_MANAGER_BYTES} bytes"));
    }
    let unprintable = name.chars().any(char::is_control);
    unprintable.then(|| format!("fieldManager: Invalid value: {name:?}: should only contain printable characters"))
}

/// The program that the client says it is, without its version (`prefixFromUserAgent`).
fn manager_by_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    name.chars().filter(|character| !character.is_control()).take(MOST_MANAGER_BYTES).collect()
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, ApiError> {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            let text = format!("dryRun: Unsupported value: \"{value}\": supported values: \"All\"");
            return Err(invalid_options("Options", &[text]));
        }
        dry = true;
    }
    Ok(dry)
}

/// Reads the options of a deletion from the body, or without a body from the query.
pub(crate) fn delete_options(headers: &HeaderMap, query: &Query, body: &Bytes) -> Result<DeleteOptions, ApiError> {
    if body.is_empty() {
        return options_from_query(query);
    }
    let mut options = options_from_value(&object(headers, body)?.value)?;
    options.dry_run |= dry_run(query.all("dryRun"))?;
    Ok(options)
}

fn options_from_query(query: &Query) -> Result<DeleteOptions, ApiError> {
    Ok(DeleteOptions {
        grace: query.integer("gracePeriodSeconds")?,
        uid: None,
        resource_version: None,
        propagation: propagation(query.text("propagationPolicy"), query.flag("orphanDependents"))?,
        dry_run: dry_run(query.all("dryRun"))?,
    })
}

/// Reads `DeleteOptions`.
pub(crate) fn options_from_value(value: &Value) -> Result<DeleteOptions, ApiError> {
    let Value::Object(fields) = value else {
        return Err(ApiError::bad_request("DeleteOptions must be an object"));
    };
    if let Some(kind) = fields.get("kind").and_then(Value::as_str).filter(|kind| *kind != "DeleteOptions") {
        return Err(ApiError::bad_request(format!("expected DeleteOptions, got {kind}")));
    }
    let grace = match fields.get("gracePeriodSeconds") {
        None | Some(Value::Null) => None,
        Some(number) => {
            Some(number.as_i64().ok_or_else(|| ApiError::bad_request("gracePeriodSeconds must be a 64 bit integer"))?)
        }
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let policy = fields.get("propagationPolicy").and_then(Value::as_str);
    let orphan = fields.get("orphanDependents").and_then(Value::as_bool);
    let dry = fields.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    Ok(DeleteOptions {
        grace,
        uid: text(&value["preconditions"]["uid"]),
        resource_version: text(&value["preconditions"]["resourceVersion"]),
        propagation: propagation(policy, orphan)?,
        dry_run: dry_run(dry)?,
    })
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, ApiError> {
    let refused = |text: String| Err(invalid_options("DeleteOptions", &[text]));
    if policy.is_some() && orphan.is_some() {
        return refused(
            "propagationPolicy: Invalid value: \"\": orphanDependents and deletionPropagation cannot be both set"
                .to_owned(),
        );
    }
    match (policy, orphan) {
        (Some("Orphan"), _) | (None, Some(true)) => Ok(Some(Propagation::Orphan)),
        (Some("Background"), _) | (None, Some(false)) => Ok(Some(Propagation::Background)),
        (Some("Foreground"), _) => Ok(Some(Propagation::Foreground)),
        (None, None) => Ok(None),
        (Some(other), _) => refused(format!(
            "propagationPolicy: Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \
             \"Orphan\", \"nil\""
        )),
    }
}
