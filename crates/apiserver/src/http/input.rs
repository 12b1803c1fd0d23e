//! Reading what requests carry: bodies, write options, delete options.

use apimachinery::decode::{self, FieldValidation, Json};
use apimachinery::status::ApiError;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
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
        _ => Err(ApiError::unsupported_media_type(&[JSON, YAML])),
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

/// Reads a patch from a body.
pub(crate) fn patch(headers: &HeaderMap, body: &Bytes) -> Result<Patch, ApiError> {
    let form: fn(Value) -> Patch = match media_type(headers) {
        JSON_PATCH => Patch::Json,
        MERGE_PATCH => Patch::Merge,
        STRATEGIC_PATCH => Patch::Strategic,
        _ => return Err(ApiError::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH])),
    };
    let patch = decode::json(body).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    Ok(form(patch.value))
}

/// Reads the options of create, update and patch.
pub(crate) fn write_options(query: &Query) -> Result<WriteOptions, ApiError> {
    Ok(WriteOptions {
        dry_run: dry_run(query.all("dryRun"))?,
        validation: FieldValidation::parse(query.first("fieldValidation"))?,
    })
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
