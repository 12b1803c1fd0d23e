//! Schemas of definitions.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Form;
use crate::{
    schema::{Definition, Field, Scalar, Shape, Texts, Topology, Type},
    scheme::{self, ResourceType},
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// What every document has besides its kinds.
pub(super) const COMMON: [&str; 5] = [
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
];

/// Adds a definition and everything that it refers to.
pub(super) fn add_with_parts(all: &mut BTreeSet<&'static str>, definition: &'static Definition) {
    if all.insert(definition.name) {
        definition.fields().iter().for_each(|field| add_type(all, field.ty));
    }
}

fn add_type(all: &mut BTreeSet<&'static str>, ty: Type) {
    match ty {
        Type::Scalar(_) => {}
        Type::Object(definition) => add_with_parts(all, definition),
        Type::List(list) => add_type(all, list.items),
        Type::Map(map) => add_type(all, map.values),
    }
}

/// The schema of a type.
pub(super) fn definition(form: Form, definition: &Definition, texts: &Texts) -> Value {
    let mut schema = match definition.shape {
        Shape::Scalar(scalar) => scalar_definition(form, scalar),
        Shape::Fields(fields) => object(form, definition, fields, texts),
    };
    set_text(&mut schema, texts.of(definition));
    let kinds = kinds(definition);
    if !kinds.is_empty() {
        schema.insert(KIND.into(), kinds.into());
    }
    if definition.atomic {
        schema.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    Value::Object(schema)
}

const KIND: &str = "x-kubernetes-group-version-kind";

/// What objects of a type say they are. The types of options and watches exist in every group version.
fn kinds(definition: &Definition) -> Vec<Value> {
    let in_all = |kind: &str| {
        let mut all: Vec<Value> = Vec::new();
        for ty in scheme::all() {
            let one = group_version_kind(ty.group, ty.version, kind);
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all
    };
    match definition.kind {
        Some(kind) => vec![group_version_kind(kind.group, kind.version, kind.kind)],
        None if matches!(definition.short_name(), "DeleteOptions" | "WatchEvent") => in_all(definition.short_name()),
        None => Vec::new(),
    }
}

/// The value of the extension that names a kind.
pub(super) fn group_version_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "kind": kind, "version": version})
}

fn object(form: Form, definition: &Definition, fields: &[Field], texts: &Texts) -> Map<String, Value> {
    let mut properties = Map::new();
    for field in fields {
        properties.insert(field.name.into(), property(form, field, texts.of_field(definition, field)));
    }
    let mut schema = Map::new();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

fn property(form: Form, field: &Field, text: &str) -> Value {
    let mut schema = type_schema(form, field.ty, !text.is_empty() || field.inline);
    set_text(&mut schema, text);
    if form == Form::V3 && field.inline {
        schema.insert("default".into(), json!({}));
    }
    if let Some(default) = field.default {
        schema.insert("default".into(), default.into());
    }
    if !field.values.is_empty() {
        schema.insert("enum".into(), field.values.into());
    }
    for (extension, value) in
        [("x-kubernetes-patch-merge-key", field.merge_key), ("x-kubernetes-patch-strategy", field.strategy)]
    {
        if !value.is_empty() {
            schema.insert(extension.into(), value.into());
        }
    }
    Value::Object(schema)
}

/// The schema of a value. Version 3 allows nothing beside a reference, so one that has `siblings` is wrapped.
fn type_schema(form: Form, ty: Type, siblings: bool) -> Map<String, Value> {
    let mut schema = Map::new();
    match ty {
        Type::Scalar(scalar) => return scalar_schema(scalar),
        Type::Object(definition) => {
            let reference = form.reference(definition.name);
            if siblings && form == Form::V3 {
                schema.insert("allOf".into(), json!([{"$ref": reference}]));
            } else {
                schema.insert("$ref".into(), reference.into());
            }
        }
        Type::List(list) => {
            schema.insert("type".into(), "array".into());
            schema.insert("items".into(), type_schema(form, list.items, false).into());
            match list.topology {
                Topology::Atomic => schema.insert("x-kubernetes-list-type".into(), "atomic".into()),
                Topology::Set => schema.insert("x-kubernetes-list-type".into(), "set".into()),
                Topology::Map(keys) => {
                    schema.insert("x-kubernetes-list-map-keys".into(), keys.into());
                    schema.insert("x-kubernetes-list-type".into(), "map".into())
                }
            };
        }
        Type::Map(map) => {
            schema.insert("type".into(), "object".into());
            schema.insert("additionalProperties".into(), type_schema(form, map.values, false).into());
            if map.atomic {
                schema.insert("x-kubernetes-map-type".into(), "atomic".into());
            }
        }
    }
    schema
}

fn scalar_schema(scalar: Scalar) -> Map<String, Value> {
    let (ty, format) = match scalar {
        Scalar::Boolean => ("boolean", ""),
        Scalar::Int32 => ("integer", "int32"),
        Scalar::Int64 => ("integer", "int64"),
        Scalar::String | Scalar::Quantity => ("string", ""),
        Scalar::IntOrString => ("string", "int-or-string"),
        Scalar::Bytes => ("string", "byte"),
        Scalar::Time | Scalar::MicroTime => ("string", "date-time"),
        Scalar::Any => ("object", ""),
    };
    let mut schema = Map::new();
    schema.insert("type".into(), ty.into());
    if !format.is_empty() {
        schema.insert("format".into(), format.into());
    }
    schema
}

/// Version 3 can say that a value has one of two types.
fn scalar_definition(form: Form, scalar: Scalar) -> Map<String, Value> {
    let mut schema = scalar_schema(scalar);
    let other = match scalar {
        Scalar::Quantity => "number",
        Scalar::IntOrString => "integer",
        Scalar::Boolean
        | Scalar::Int32
        | Scalar::Int64
        | Scalar::String
        | Scalar::Bytes
        | Scalar::Time
        | Scalar::MicroTime
        | Scalar::Any => return schema,
    };
    if form == Form::V3 {
        schema.remove("type");
        schema.insert("oneOf".into(), json!([{"type": "string"}, {"type": other}]));
    }
    schema
}

fn set_text(schema: &mut Map<String, Value>, text: &str) {
    if !text.is_empty() {
        schema.insert("description".into(), text.into());
    }
}

/// Name of the type of lists of a type.
pub(super) fn list_name(definition: &Definition) -> String {
    format!("{}List", definition.name)
}

/// The schema of lists of a resource.
pub(super) fn list(form: Form, ty: &ResourceType, definition: &Definition) -> Value {
    let string = |text: &str| json!({"type": "string", "description": text});
    let mut metadata = Map::new();
    let reference = form.reference(&format!("{META}.ListMeta"));
    match form {
        Form::V2 => metadata.insert("$ref".into(), reference.into()),
        Form::V3 => metadata.insert("allOf".into(), json!([{"$ref": reference}])),
    };
    set_text(&mut metadata, "Resource version of the list, and where the next part of it begins.");
    json!({
        "description": format!("{} is a list of {}.", ty.list_kind(), ty.plural),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": string("Group and version that the list is written in."),
            "kind": string("What this is: the kind of its items with `List` at the end."),
            "metadata": metadata,
            "items": {
                "type": "array",
                "description": format!("The {} that were asked for.", ty.plural),
                "items": {"$ref": form.reference(definition.name)},
            },
        },
        KIND: [group_version_kind(ty.group, ty.version, &ty.list_kind())],
    })
}
