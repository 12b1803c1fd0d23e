//! Brings an object into the form of its type, along its schema.
//!
//! Like Go's decoder it takes `null` for the zero value. The texts of problems name the place and what was expected.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    quantity::Quantity,
    schema::{self, Field, Resolved, Scalar, Type},
    scheme::ResourceType,
    time,
};

/// A value in stored form and the unknown fields it had.
#[derive(Debug)]
pub(super) struct Normalised {
    pub(super) value: Value,
    pub(super) unknown: Vec<String>,
}

/// Brings a value into the form of its resource.
///
/// # Errors
/// The first value that does not fit its type, with its path.
pub(super) fn normalise(ty: &ResourceType, value: Value) -> Result<Normalised, String> {
    let definition =
        schema::of(ty).ok_or_else(|| format!("no kind {:?} is registered in group {:?}", ty.kind, ty.group))?;
    let mut walk = Walk::default();
    match walk.value(Type::Object(definition), value) {
        Ok(mut value) => {
            super::prune(&mut value);
            Ok(Normalised { value, unknown: walk.unknown })
        }
        Err(problem) if walk.path.is_empty() => Err(problem),
        Err(problem) => Err(format!("{}: {problem}", walk.path)),
    }
}

/// Most unknown fields that are named; the API server stops at a similar number.
const MAX_UNKNOWN: usize = 100;

/// Deepest nesting of values that are not looked into; `serde_json` reads no deeper than this either.
const MAX_DEPTH: usize = 120;

#[derive(Default)]
struct Walk {
    /// Where the walk is. Left as it is by an error, so that it then names the place of the error.
    path: String,
    unknown: Vec<String>,
}

impl Walk {
    fn value(&mut self, ty: Type, value: Value) -> Result<Value, String> {
        if value.is_null() {
            return Ok(zero(ty));
        }
        match (ty.resolve(), value) {
            (Resolved::Scalar(kind), value) => scalar(kind, value),
            (Resolved::Fields(_, fields), Value::Object(object)) => self.fields(fields, object).map(Value::Object),
            (Resolved::Map(map), Value::Object(object)) => {
                let entries = object.into_iter().map(|(key, value)| {
                    let value = self.below(&key, |walk| walk.value(map.values, value))?;
                    Ok((key, value))
                });
                entries.collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
            (Resolved::List(list), Value::Array(items)) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let before = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    let item = self.value(list.items, item)?;
                    self.path.truncate(before);
                    Ok(item)
                });
                items.collect::<Result<Vec<_>, String>>().map(Value::Array)
            }
            (Resolved::Fields(definition, _), value) => Err(misfit(&value, definition.short_name())),
            (Resolved::Map(_), value) => Err(misfit(&value, "a map")),
            (Resolved::List(_), value) => Err(misfit(&value, "a sequence")),
        }
    }

    fn fields(&mut self, fields: &'static [Field], object: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let mut kept = Map::new();
        for (key, value) in object {
            let Some(field) = schema::find(fields, &key) else {
                self.below(&key, |walk| walk.note_unknown());
                continue;
            };
            if !value.is_null() {
                let value = self.below(&key, |walk| walk.value(field.ty, value));
                kept.insert(key, value?);
            }
        }
        for field in fields.iter().filter(|field| field.always) {
            if !kept.contains_key(field.name) {
                kept.insert(field.name.to_owned(), zero(field.ty));
            }
        }
        Ok(kept)
    }

    /// Does something below a key. The path goes back only if that works.
    fn below<T: Outcome>(&mut self, key: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let outcome = inside(self);
        if outcome.worked() {
            self.path.truncate(before);
        }
        outcome
    }

    fn note_unknown(&mut self) {
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(self.path.clone());
        }
    }
}

/// Something that may have failed.
trait Outcome {
    fn worked(&self) -> bool;
}

impl Outcome for () {
    fn worked(&self) -> bool {
        true
    }
}

impl<T> Outcome for Result<T, String> {
    fn worked(&self) -> bool {
        self.is_ok()
    }
}

/// The value of a type when nothing is given. A time has none.
fn zero(ty: Type) -> Value {
    match ty.resolve() {
        Resolved::Scalar(Scalar::Boolean) => false.into(),
        Resolved::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString) => 0.into(),
        Resolved::Scalar(Scalar::String | Scalar::Bytes) => "".into(),
        Resolved::Scalar(Scalar::Quantity) => "0".into(),
        Resolved::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::Any) => Value::Null,
        Resolved::List(_) => Value::Array(Vec::new()),
        Resolved::Map(_) => Value::Object(Map::new()),
        Resolved::Fields(_, fields) => {
            let always = fields.iter().filter(|field| field.always);
            always.map(|field| (field.name.to_owned(), zero(field.ty))).collect::<Map<_, _>>().into()
        }
    }
}

fn scalar(kind: Scalar, value: Value) -> Result<Value, String> {
    match (kind, &value) {
        (Scalar::Boolean, Value::Bool(_)) | (Scalar::String | Scalar::IntOrString, Value::String(_)) => Ok(value),
        (Scalar::Int32 | Scalar::IntOrString, Value::Number(number)) => {
            let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
            if fits { Ok(value) } else { Err(wrong_number(&value, "i32")) }
        }
        (Scalar::Int64, Value::Number(number)) => {
            if number.is_i64() {
                Ok(value)
            } else {
                Err(wrong_number(&value, "i64"))
            }
        }
        (Scalar::Quantity, Value::String(_) | Value::Number(_)) => {
            let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
            text.parse::<Quantity>().map(|quantity| quantity.to_string().into()).map_err(|error| error.to_string())
        }
        (Scalar::Bytes, Value::String(text)) => match base64::Engine::decode(&BASE64, text) {
            Ok(_) => Ok(value),
            Err(error) => Err(error.to_string()),
        },
        (Scalar::Time, Value::String(text)) => moment(text).map(|at| time::seconds(at).into()),
        (Scalar::MicroTime, Value::String(text)) => moment(text).map(|at| time::micros(at).into()),
        (Scalar::Any, _) if is_deeper(&value, MAX_DEPTH) => Err(format!("nested deeper than {MAX_DEPTH} levels")),
        (Scalar::Any, _) => Ok(value),
        (Scalar::Boolean, _) => Err(misfit(&value, "a boolean")),
        (Scalar::Int32, _) => Err(misfit(&value, "i32")),
        (Scalar::Int64, _) => Err(misfit(&value, "i64")),
        (Scalar::String, _) => Err(misfit(&value, "a string")),
        (Scalar::Bytes, _) => Err(misfit(&value, "a base64-encoded string")),
        (Scalar::Time | Scalar::MicroTime, _) => Err(misfit(&value, "a timestamp string")),
        (Scalar::IntOrString, _) => Err(misfit(&value, "IntOrString")),
        (Scalar::Quantity, _) => Err(format!("expected a quantity, found {}", super::typed::name_of(&value))),
    }
}

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: jiff::Error| error.to_string())
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        _ if levels == 0 => true,
        Value::Array(items) => items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(fields) => fields.values().any(|field| is_deeper(field, levels - 1)),
    }
}

fn wrong_number(value: &Value, expected: &str) -> String {
    if value.is_f64() {
        misfit(value, expected)
    } else {
        format!("invalid value: integer `{value}`, expected {expected}")
    }
}

fn misfit(value: &Value, expected: &str) -> String {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("boolean `{flag}`"),
        Value::Number(number) if number.is_f64() => format!("floating point `{number}`"),
        Value::Number(number) => format!("integer `{number}`"),
        Value::String(text) => format!("string {text:?}"),
        Value::Array(_) => "sequence".to_owned(),
        Value::Object(_) => "map".to_owned(),
    };
    format!("invalid type: {found}, expected {expected}")
}
