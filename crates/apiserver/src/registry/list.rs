//! `list`: consistent snapshots, cut into chunks.

use std::sync::Arc;

use apimachinery::status::ApiError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::selection::Selection;
use super::{Registry, strategy};
use crate::error::too_large_resource_version;
use crate::http::query::ListOptions;
use crate::render::View;
use crate::store::{RevisionError, Snapshot};

impl Registry {
    /// The JSON text of a list.
    pub(crate) fn list(&self, selection: &Selection, options: &ListOptions, view: View) -> Result<Bytes, ApiError> {
        let (snapshot, start) = self.snapshot_for(selection, options)?;
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut items = Vec::new();
        let mut objects = snapshot.range(selection.prefix(), &start);
        let mut next = None;
        for object in objects.by_ref().filter(|object| selection.matches(object)) {
            if items.len() == limit {
                next = Some(object.key().to_owned());
                break;
            }
            items.push(Arc::clone(object));
        }
        // What comes after the first object that did not fit is counted only where counting is free of filters.
        let remaining = (next.is_some() && selection.is_everything()).then(|| objects.count() + 1);
        let metadata = list_metadata(selection, snapshot.revision, next.as_deref(), remaining);
        Ok(view.list(&metadata, &items))
    }

    /// The snapshot that a list is read from, and the key it begins at.
    fn snapshot_for(&self, selection: &Selection, options: &ListOptions) -> Result<(Snapshot, String), ApiError> {
        let table = strategy::table(selection.kind());
        if let Some(token) = &options.continue_token {
            if options.resource_version.as_deref().is_some_and(|version| version != "0") {
                return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
            }
            let token = ContinueToken::decode(token, selection.prefix())?;
            let snapshot = self.store.snapshot_at(&table, token.revision).map_err(continue_error)?;
            return Ok((snapshot, token.start));
        }
        let revision = options.resource_version.as_deref().map(parse_revision).transpose()?.unwrap_or(0);
        let rule = options.resource_version_match.as_deref();
        let exact = rule == Some("Exact") || (rule.is_none() && options.limit.is_some());
        let snapshot = match revision {
            0 => Ok(self.store.snapshot(&table)),
            _ if exact => self.store.snapshot_at(&table, revision),
            _ => not_older(self.store.snapshot(&table), revision),
        };
        Ok((snapshot.map_err(revision_error)?, String::new()))
    }
}

fn not_older(snapshot: Snapshot, revision: u64) -> Result<Snapshot, RevisionError> {
    if snapshot.revision < revision {
        return Err(RevisionError::Future { asked: revision, current: snapshot.revision });
    }
    Ok(snapshot)
}

/// Reads a `resourceVersion`.
pub(crate) fn parse_revision(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        let problem = format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        );
        crate::error::invalid_options("ListOptions", &[problem])
    })
}

/// The answer to a `resourceVersion` that cannot be served.
pub(crate) fn revision_error(error: RevisionError) -> ApiError {
    match error {
        RevisionError::Expired { asked, oldest } => {
            ApiError::expired(format!("too old resource version: {asked} ({oldest})"))
        }
        RevisionError::Future { asked, current } => too_large_resource_version(asked, current),
    }
}

fn continue_error(error: RevisionError) -> ApiError {
    match error {
        RevisionError::Expired { .. } => ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. \
             You must start a new list without the continue parameter.",
        ),
        RevisionError::Future { .. } => bad_token("the revision is in the future"),
    }
}

fn list_metadata(selection: &Selection, revision: u64, next: Option<&str>, remaining: Option<usize>) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let Some(next) = next {
        let start = next.strip_prefix(selection.prefix()).unwrap_or(next);
        metadata["continue"] = json!(ContinueToken::encode(revision, start));
    }
    if let Some(remaining) = remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    metadata
}

/// Where the next chunk of a list begins.
#[derive(Debug, PartialEq, Eq)]
struct ContinueToken {
    revision: u64,
    /// Whole key.
    start: String,
}

impl ContinueToken {
    /// The form that kube-apiserver gives its tokens.
    fn encode(revision: u64, start: &str) -> String {
        URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
    }

    fn decode(token: &str, prefix: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad_token("not base64"))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad_token("not JSON"))?;
        if value["v"] != "meta.k8s.io/v1" {
            return Err(bad_token("unknown version"));
        }
        match (value["rv"].as_u64(), value["start"].as_str()) {
            (Some(revision), Some(start)) if revision > 0 => Ok(Self { revision, start: format!("{prefix}{start}") }),
            _ => Err(bad_token("incorrect encoded start resourceVersion")),
        }
    }
}

fn bad_token(why: &str) -> ApiError {
    ApiError::bad_request(format!("continue key is not valid: {why}"))
}
