//! The form in which a client wants objects.

use std::sync::Arc;

use apimachinery::event;
use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use apimachinery::table::{self, Column, Row};
use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::store::Object;

/// What `Accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Render {
    /// The objects themselves.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table` in this API version, with so much of each object.
    Table(&'static str, Include),
}

/// `includeObject` of `TableOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

/// Whether a table says what its columns are; the tables of a watch do so once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headers {
    Shown,
    Left,
}

impl Include {
    /// Reads the query parameter.
    fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text.unwrap_or_default() {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::Nothing),
            "Object" => Ok(Self::Object),
            other => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be \
                 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

impl Render {
    /// The form in an `Accept` header that can be served and is liked best; `include` is the query's `includeObject`.
    ///
    /// # Errors
    /// None can be served.
    pub(crate) fn from_accept(accept: Option<&str>, include: Option<&str>) -> Result<Self, ApiError> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Ok(Self::Whole) };
        let mut clauses: Vec<Clause<'_>> = accept.split(',').take(MOST_CLAUSES).map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let found = clauses.iter().find_map(Clause::form);
        match found.ok_or_else(|| ApiError::not_acceptable(&["application/json"]))? {
            Self::Table(version, _) => Ok(Self::Table(version, Include::parse(include)?)),
            form @ (Self::Whole | Self::Metadata) => Ok(form),
        }
    }

    /// The JSON text of an object.
    pub(crate) fn object(self, kind: &ResourceType, object: &Object, now: Timestamp, headers: Headers) -> Bytes {
        match self {
            Self::Whole if event::is_other_form(kind) => Bytes::from(shown(kind, object).to_string()),
            Self::Whole => object.json(),
            Self::Metadata => Bytes::from(metadata_of(object.value(), "meta.k8s.io/v1").to_string()),
            Self::Table(version, include) => {
                let columns = if headers == Headers::Shown { table::columns(kind) } else { &[] };
                let metadata = json!({"resourceVersion": object.value()["metadata"]["resourceVersion"]});
                table_of(version, &metadata, columns, [row(version, include, kind, object, now)])
            }
        }
    }

    /// The JSON text of a list with this metadata.
    pub(crate) fn list(self, kind: &ResourceType, metadata: &Value, objects: &[Arc<Object>], now: Timestamp) -> Bytes {
        let (api_version, list_kind) = match self {
            Self::Whole => (kind.api_version, kind.list_kind()),
            Self::Metadata => ("meta.k8s.io/v1", "PartialObjectMetadataList".to_owned()),
            Self::Table(version, include) => {
                let rows = objects.iter().map(|object| row(version, include, kind, object, now));
                return table_of(version, metadata, table::columns(kind), rows);
            }
        };
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":",
            Value::from(list_kind),
            Value::from(api_version)
        );
        let items = objects.iter().map(|object| self.object(kind, object, now, Headers::Shown));
        joined(&head, items)
    }
}

/// How the answer to one request shows objects of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) render: Render,
    pub(crate) kind: &'static ResourceType,
    pub(crate) now: Timestamp,
}

impl View {
    pub(crate) fn object(self, object: &Object) -> Bytes {
        self.render.object(self.kind, object, self.now, Headers::Shown)
    }

    pub(crate) fn list(self, metadata: &Value, objects: &[Arc<Object>]) -> Bytes {
        self.render.list(self.kind, metadata, objects, self.now)
    }
}

/// A bound against absurd headers; clients name five at most.
const MOST_CLAUSES: usize = 32;

/// One of the alternatives of an `Accept` header.
struct Clause<'a> {
    media_type: &'a str,
    kind: Option<&'a str>,
    version: &'a str,
    quality: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut clause = Self { media_type: parts.next().unwrap_or_default(), kind: None, version: "v1", quality: 1.0 };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key {
                "as" => clause.kind = Some(value),
                "v" => clause.version = value,
                "q" => clause.quality = value.parse().unwrap_or(0.0),
                _ => {}
            }
        }
        clause
    }

    fn form(&self) -> Option<Render> {
        if !matches!(self.media_type, "application/json" | "application/*" | "*/*") {
            return None;
        }
        let version = match self.version {
            "v1" => "meta.k8s.io/v1",
            "v1beta1" => "meta.k8s.io/v1beta1",
            _ => return None,
        };
        match self.kind {
            None => Some(Render::Whole),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Render::Metadata),
            Some("Table") => Some(Render::Table(version, Include::Metadata)),
            Some(_) => None,
        }
    }
}

fn metadata_of(object: &Value, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": object["metadata"]})
}

/// An object in the form of the kind.
fn shown(kind: &ResourceType, object: &Object) -> Value {
    let mut value = object.value().clone();
    if event::is_other_form(kind) {
        event::from_stored(&mut value);
    }
    value
}

fn row(version: &str, include: Include, kind: &ResourceType, object: &Object, now: Timestamp) -> Bytes {
    let Row { cells, conditions } = table::row(kind, object.value(), now);
    let mut row = json!({"cells": cells});
    if !conditions.is_empty() {
        row["conditions"] = Value::Array(conditions);
    }
    row["object"] = match include {
        Include::Nothing => Value::Null,
        Include::Metadata => metadata_of(object.value(), version),
        Include::Object => shown(kind, object),
    };
    Bytes::from(row.to_string())
}

/// A table made of the texts of its rows.
fn table_of(version: &str, metadata: &Value, columns: &[Column], rows: impl IntoIterator<Item = Bytes>) -> Bytes {
    let columns: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        })
        .collect();
    let head = format!(
        "{{\"kind\":\"Table\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"columnDefinitions\":{},\"rows\":",
        Value::Array(columns)
    );
    joined(&head, rows)
}

/// An object whose last field, begun in `head`, is a list of JSON texts.
fn joined(head: &str, items: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut text = BytesMut::from(head.as_bytes());
    text.put_u8(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.put_u8(b',');
        }
        text.put_slice(&item);
    }
    text.put_slice(b"]}");
    text.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servable_form_that_is_liked_best_is_taken() {
        const V1: Render = Render::Table("meta.k8s.io/v1", Include::Metadata);
        const V1BETA1: Render = Render::Table("meta.k8s.io/v1beta1", Include::Metadata);
        for (accept, want) in [
            (None, Some(Render::Whole)),
            (Some(""), Some(Render::Whole)),
            (Some("*/*"), Some(Render::Whole)),
            (Some("application/json;stream=watch"), Some(Render::Whole)),
            (Some("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"), Some(Render::Metadata)),
            (Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Some(V1)),
            (Some("application/json;as=Table;v=v1beta1;g=meta.k8s.io"), Some(V1BETA1)),
            (Some("application/json;as=Table;v=v9;g=meta.k8s.io, application/json"), Some(Render::Whole)),
            (Some("application/json;q=0.5,application/json;as=Table;g=meta.k8s.io;v=v1"), Some(V1)),
            (Some("application/vnd.kubernetes.protobuf,application/json"), Some(Render::Whole)),
            (Some("application/vnd.kubernetes.protobuf"), None),
            (Some("text/plain"), None),
        ] {
            let got = Render::from_accept(accept, None);
            assert_eq!(got.as_ref().ok(), want.as_ref(), "{accept:?}");
            assert!(got.err().is_none_or(|error| error.code == 406));
        }
    }
}
