//! OpenAPI documents of the resources that are served.
//!
//! Version 3 has one document for each group version, version 2 one for all. They are written piece by piece, so that
//! making one takes little more memory than its text.
//!
//! Source of the form: `kube-openapi` `pkg/builder3` and what clients read of it: `kubectl explain` (paths, kinds,
//! schemas), `kubectl apply` (whether the operation has `fieldValidation`; merge keys).

mod paths;
mod protobuf;
mod schemas;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    schema::{self, Definition, Texts},
    scheme::{self, ResourceType},
};

/// Which form of documents is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Swagger, `/openapi/v2`.
    V2,
    /// `/openapi/v3`.
    V3,
}

impl Form {
    /// A reference to a definition.
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// Returns the group versions that have a document, as their path below `/openapi/v3` (`api/v1`, `apis/batch/v1`).
///
/// ```
/// assert!(apimachinery::openapi::group_versions().contains(&"apis/batch/v1".to_owned()));
/// ```
pub fn group_versions() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for path in scheme::all().iter().map(group_version) {
        if !all.contains(&path) {
            all.push(path);
        }
    }
    all
}

fn group_version(ty: &ResourceType) -> String {
    let root = if ty.group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", ty.api_version)
}

/// Writes the version 3 document of one group version, named as in [`group_versions`]; `None` if it is not served.
///
/// `server_version` is what `/version` says (`v1.36.2`).
///
/// ```
/// let text = apimachinery::openapi::v3("apis/batch/v1", "v1.36.2").unwrap();
/// let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
/// assert_eq!(document["components"]["schemas"]["io.k8s.api.batch.v1.Job"]["type"], "object");
/// ```
pub fn v3(path: &str, server_version: &str) -> Option<Vec<u8>> {
    let resources: Vec<&ResourceType> = scheme::all().iter().filter(|ty| group_version(ty) == path).collect();
    let mut out = Document::open(json!({"openapi": "3.0.0", "info": info(server_version)}));
    let first = resources.first()?;
    out.member("components", |out| {
        out.member("schemas", |out| write_schemas(out, Form::V3, &resources, Some((first.group, first.version))));
        out.value("securitySchemes", &json!({"BearerToken": bearer_token()}));
    });
    out.member("paths", |out| write_paths(out, Form::V3, &resources));
    Some(out.close())
}

/// Writes the version 2 document of everything.
pub fn v2(server_version: &str) -> Vec<u8> {
    let resources: Vec<&ResourceType> = scheme::all().iter().collect();
    let mut out = Document::open(json!({"swagger": "2.0", "info": info(server_version)}));
    out.member("definitions", |out| write_schemas(out, Form::V2, &resources, None));
    out.member("paths", |out| write_paths(out, Form::V2, &resources));
    out.value("security", &json!([{"BearerToken": []}]));
    out.value("securityDefinitions", &json!({"BearerToken": bearer_token()}));
    out.close()
}

/// Writes the version 2 document of everything in protobuf.
///
/// # Errors
/// Never for a document that [`v2`] makes: it is JSON.
pub fn v2_protobuf(server_version: &str) -> Result<Vec<u8>, serde_json::Error> {
    Ok(protobuf::write(&serde_json::from_slice(&v2(server_version))?))
}

fn info(server_version: &str) -> Value {
    json!({"title": "Kubernetes", "version": server_version})
}

fn bearer_token() -> Value {
    json!({"description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey"})
}

fn write_paths(out: &mut Document, form: Form, resources: &[&ResourceType]) {
    for ty in resources {
        for (path, item) in paths::of(form, ty) {
            out.value(&path, &item);
        }
    }
}

/// Writes the lists of the resources, the kinds of the group version (of all if none is given), and what they need.
fn write_schemas(out: &mut Document, form: Form, resources: &[&ResourceType], of: Option<(&str, &str)>) {
    let texts = Texts::unpack();
    for ty in resources {
        if let Some(definition) = schema::of(ty) {
            out.value(&schemas::list_name(definition), &schemas::list(form, ty, definition));
        }
    }
    let wanted = |d: &&&Definition| d.kind.is_some_and(|k| of.is_none_or(|of| of == (k.group, k.version)));
    let mut needed = BTreeSet::new();
    for definition in schema::all().iter().filter(wanted) {
        schemas::add_with_parts(&mut needed, definition);
    }
    for name in schemas::COMMON {
        schema::by_name(name).into_iter().for_each(|definition| schemas::add_with_parts(&mut needed, definition));
    }
    for definition in needed.into_iter().filter_map(schema::by_name) {
        out.value(definition.name, &schemas::definition(form, definition, &texts));
    }
}

/// A JSON object that is written member by member.
struct Document {
    text: Vec<u8>,
    empty: bool,
}

impl Document {
    fn open(first: Value) -> Self {
        let mut out = Self { text: b"{".to_vec(), empty: true };
        for (key, value) in first.as_object().into_iter().flatten() {
            out.value(key, value);
        }
        out
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.text.push(b',');
        }
        self.empty = false;
        self.text.extend_from_slice(Value::from(key).to_string().as_bytes());
        self.text.push(b':');
    }

    fn value(&mut self, key: &str, value: &Value) {
        self.key(key);
        self.text.extend_from_slice(value.to_string().as_bytes());
    }

    fn member(&mut self, key: &str, inside: impl FnOnce(&mut Self)) {
        self.key(key);
        self.text.push(b'{');
        self.empty = true;
        inside(self);
        self.text.push(b'}');
        self.empty = false;
    }

    fn close(mut self) -> Vec<u8> {
        self.text.push(b'}');
        self.text
    }
}

#[cfg(test)]
mod tests;
