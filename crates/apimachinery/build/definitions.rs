//! Writes definitions as Rust tables.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

use crate::{
    facts::{Facts, FieldFacts, TypeFacts},
    numbers::Numbers,
    roots::Roots,
};

const PREFIX: &str = "#/components/schemas/";

/// The generated source and the texts that go with it.
pub(crate) struct Tables {
    rust: String,
    texts: Vec<String>,
}

impl Tables {
    /// # Errors
    /// A schema has a form that is not known here, or there is a fact about a type or field that does not exist.
    pub(crate) fn new(roots: &Roots, mut facts: Facts, mut wire: Numbers) -> Result<Self, String> {
        let numbers: BTreeMap<&str, usize> = roots.definitions.keys().map(String::as_str).zip(0..).collect();
        let mut tables = Self { rust: String::new(), texts: Vec::new() };
        for (name, schema) in &roots.definitions {
            let facts = facts.remove(name).unwrap_or_default();
            let wire = wire.remove(name).unwrap_or_default();
            tables.definition(roots, &numbers, name, schema, facts, wire)?;
        }
        if let Some(name) = wire.keys().next() {
            return Err(format!("numbers.txt: there is no type {name}"));
        }
        if let Some(name) = facts.keys().next() {
            return Err(format!("facts.txt: there is no type {name}"));
        }
        let all: String = numbers.values().map(|number| format!("&D{number},")).collect();
        tables.write(format_args!("pub(super) static ALL: &[&Definition] = &[{all}];"));
        Ok(tables)
    }

    /// Source of the tables.
    pub(crate) fn rust(&self) -> &str {
        &self.rust
    }

    /// Texts in the order of types and their fields, each ended by a zero.
    pub(crate) fn texts(&self) -> String {
        self.texts.iter().flat_map(|text| [text.as_str(), "\0"]).collect()
    }

    fn definition(
        &mut self,
        roots: &Roots,
        numbers: &BTreeMap<&str, usize>,
        name: &str,
        schema: &Value,
        mut facts: TypeFacts,
        mut wire: BTreeMap<String, [u8; 2]>,
    ) -> Result<(), String> {
        let text = self.text(schema);
        let kind = roots.kinds.iter().find(|kind| kind.definition == name);
        if kind.is_some() && name != "io.k8s.apimachinery.pkg.apis.meta.v1.Status" {
            let metadata = FieldFacts { optional: true, inline: true, ..FieldFacts::default() };
            facts.fields.insert("metadata".to_owned(), metadata);
        }
        let shape = match schema.get("properties").and_then(Value::as_object) {
            None => format!("Shape::Scalar({})", scalar_of(name, schema)?),
            Some(properties) => {
                let mut fields = String::new();
                for (field, property) in properties {
                    let facts = facts.fields.remove(field).unwrap_or_default();
                    let required =
                        schema["required"].as_array().is_some_and(|list| list.iter().any(|one| one == field));
                    fields.push_str(&field_of(
                        field,
                        property,
                        required,
                        &facts,
                        wire.remove(field).unwrap_or_default(),
                        numbers,
                    )?);
                    self.text(property);
                }
                format!("Shape::Fields(&[{fields}])")
            }
        };
        if let Some(field) = facts.fields.keys().next() {
            return Err(format!("facts.txt: {name} has no field {field}"));
        }
        if let Some(field) = wire.keys().next() {
            return Err(format!("numbers.txt: {name} has no field {field}"));
        }
        let kind = kind.map_or_else(
            || "None".to_owned(),
            |kind| {
                format!("Some(Kind {{ group: {:?}, version: {:?}, kind: {:?} }})", kind.group, kind.version, kind.kind)
            },
        );
        let number = numbers.get(name).copied().unwrap_or_default();
        self.write(format_args!(
            "static D{number}: Definition = Definition {{ name: {name:?}, kind: {kind}, shape: {shape}, atomic: {}, \
             text: {text} }};",
            facts.atomic
        ));
        Ok(())
    }

    /// Adds the description of a schema; returns its number.
    fn text(&mut self, schema: &Value) -> usize {
        self.texts.push(schema["description"].as_str().unwrap_or_default().replace('\0', ""));
        self.texts.len() - 1
    }

    fn write(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.rust, "{line}");
    }
}

fn field_of(
    name: &str,
    schema: &Value,
    always: bool,
    facts: &FieldFacts,
    wire: [u8; 2],
    numbers: &BTreeMap<&str, usize>,
) -> Result<String, String> {
    let ty = type_of(schema, facts, numbers).map_err(|error| format!("{name}: {error}"))?;
    Ok(format!(
        "Field {{ name: {name:?}, ty: {ty}, always: {always}, required: {}, inline: {}, strategy: {:?}, \
         merge_key: {:?}, default: {:?}, values: &{:?}, numbers: {wire:?} }},",
        always && !facts.optional,
        facts.inline,
        facts.strategy,
        facts.merge_key,
        facts.default,
        facts.values
    ))
}

fn type_of(schema: &Value, facts: &FieldFacts, numbers: &BTreeMap<&str, usize>) -> Result<String, String> {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(PREFIX)) {
        let number = numbers.get(name).ok_or_else(|| format!("no definition of {name}"))?;
        return Ok(format!("Type::Object(&D{number})"));
    }
    let inner = |key: &str| type_of(&schema[key], &FieldFacts::default(), numbers);
    match schema["type"].as_str() {
        Some("array") => {
            let topology = match (facts.set, facts.map_keys.as_slice()) {
                (true, _) => "Topology::Set".to_owned(),
                (false, []) => "Topology::Atomic".to_owned(),
                (false, keys) => format!("Topology::Map(&{keys:?})"),
            };
            Ok(format!("Type::List(&List {{ items: {}, topology: {topology} }})", inner("items")?))
        }
        Some("object") if schema.get("additionalProperties").is_some() => {
            Ok(format!("Type::Map(&Map {{ values: {}, atomic: {} }})", inner("additionalProperties")?, facts.atomic))
        }
        _ => Ok(format!("Type::Scalar({})", scalar(schema)?)),
    }
}

fn scalar_of(definition: &str, schema: &Value) -> Result<&'static str, String> {
    match definition.rsplit('.').next().unwrap_or_default() {
        "Quantity" => Ok("Scalar::Quantity"),
        "IntOrString" => Ok("Scalar::IntOrString"),
        "Time" => Ok("Scalar::Time"),
        "MicroTime" => Ok("Scalar::MicroTime"),
        _ => scalar(schema).map_err(|error| format!("{definition}: {error}")),
    }
}

fn scalar(schema: &Value) -> Result<&'static str, String> {
    let text = |key: &str| schema[key].as_str().unwrap_or_default();
    match (text("type"), text("format")) {
        ("string", "") => Ok("Scalar::String"),
        ("string", "byte") => Ok("Scalar::Bytes"),
        ("boolean", "") => Ok("Scalar::Boolean"),
        ("integer", "int32") => Ok("Scalar::Int32"),
        ("integer", "int64") => Ok("Scalar::Int64"),
        ("object", "") => Ok("Scalar::Any"),
        (ty, format) => Err(format!("a schema of type {ty:?} with format {format:?} is not known")),
    }
}
