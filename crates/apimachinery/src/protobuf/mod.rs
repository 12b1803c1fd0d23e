//! Reads objects in their protobuf form, in which kubectl's typed commands and many Go programs send them.
//!
//! The form: the four bytes `k8s\0`, then a message that says which kind the object is of and holds it as bytes
//! (`runtime.Unknown`, apimachinery `pkg/runtime/serializer/protobuf`). The types are those of [`crate::schema`], which
//! knows the number of each field; fields that are not known are passed over, as Go's decoder does.

mod wire;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::schema::{self, Definition, Field, Resolved, Scalar, Type};

use self::wire::Wire;

/// Media type of the form.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Why bytes are no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// It does not begin as the form demands.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NotProtobuf,
    /// It is not well-formed.
    #[error("malformed protobuf: {0}")]
    Malformed(&'static str),
    /// Nothing is known of what it says to be.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// What the object says.
        api_version: String,
        /// What the object says.
        kind: String,
    },
    /// A field is not of the type that its number stands for.
    #[error("field {0} has the wrong wire type")]
    WrongType(&'static str),
}

/// Begins every object.
const MAGIC: &[u8] = b"k8s\0";

/// Deepest nesting that is followed; JSON is read no deeper than this either.
const MAX_DEPTH: usize = 128;

/// Fields of `runtime.Unknown` and of its type.
const TYPE: u32 = 1;
const RAW: u32 = 2;
const API_VERSION: u32 = 1;
const KIND: u32 = 2;

/// Turns an object into its JSON form. Zero values that Go writes for absent texts, times and structs are left out.
///
/// ```
/// let bytes = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x05\x0a\x03\x0a\x01a";
/// let object = apimachinery::protobuf::decode(bytes).unwrap();
/// assert_eq!(object, serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
/// ```
///
/// # Errors
/// When the bytes are not in this form, or of a kind that is not known.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let unknown = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NotProtobuf)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in wire::fields(unknown) {
        let field = field?;
        match (field.number, field.value) {
            (TYPE, Wire::Bytes(of)) => (api_version, kind) = type_meta(of)?,
            (RAW, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let definition = definition_of(&api_version, &kind)
        .ok_or_else(|| ProtobufError::UnknownKind { api_version: api_version.clone(), kind: kind.clone() })?;
    let mut object = message(definition.fields(), raw, MAX_DEPTH)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

fn type_meta(bytes: &[u8]) -> Result<(String, String), ProtobufError> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    for field in wire::fields(bytes) {
        let field = field?;
        match field.number {
            API_VERSION => api_version = text(&field.value).ok_or(ProtobufError::WrongType("apiVersion"))?,
            KIND => kind = text(&field.value).ok_or(ProtobufError::WrongType("kind"))?,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

/// Options are the same in every group.
fn definition_of(api_version: &str, kind: &str) -> Option<&'static Definition> {
    if kind == "DeleteOptions" {
        return schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    schema::by_kind(group, version, kind)
}

/// Reads a message with these fields.
fn message(fields: &'static [Field], bytes: &[u8], depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    embedded(fields, None, bytes, depth, &mut object)?;
    Ok(object)
}

/// Reads those fields that are in the message behind `outer`, or in the type's own message.
fn embedded(
    fields: &'static [Field],
    outer: Option<u8>,
    bytes: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    let depth = depth.checked_sub(1).ok_or(ProtobufError::Malformed("it is nested too deeply"))?;
    for found in wire::fields(bytes) {
        let found = found?;
        let Ok(number) = u8::try_from(found.number) else { continue };
        let wanted = outer.map_or([number, 0], |outer| [outer, number]);
        if let Some(field) = fields.iter().find(|field| field.numbers == wanted) {
            add(field, &found.value, depth, object)?;
        } else if outer.is_none() && fields.iter().any(|field| field.numbers[0] == number) {
            let inner = found.value.bytes().ok_or(ProtobufError::Malformed("a message is expected"))?;
            embedded(fields, Some(number), inner, depth, object)?;
        }
    }
    Ok(())
}

/// Adds what a field says to an object; lists and maps come an element at a time.
fn add(
    field: &'static Field,
    found: &Wire<'_>,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    let wrong = || ProtobufError::WrongType(field.name);
    match field.ty {
        Type::List(list) => {
            let all = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(all) = all else { return Err(wrong()) };
            match (list.items.resolve(), found) {
                (Resolved::Scalar(Scalar::Int32 | Scalar::Int64), &Wire::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        all.push(integer(wire::varint(&mut packed)?));
                    }
                }
                _ => all.push(value(list.items, found, depth)?.ok_or_else(wrong)?),
            }
        }
        Type::Map(map) => {
            let all = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(all) = all else { return Err(wrong()) };
            let (key, entry) = entry(map.values, found.bytes().ok_or_else(wrong)?, depth)?;
            all.insert(key, entry);
        }
        Type::Scalar(_) | Type::Object(_) => {
            if let Some(value) = value(field.ty, found, depth)? {
                object.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Reads an entry of a map: field 1 is the key, field 2 the value.
fn entry(values: Type, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut entry) = (String::new(), None);
    for field in wire::fields(bytes) {
        let field = field?;
        match field.number {
            1 => key = text(&field.value).ok_or(ProtobufError::Malformed("the key of a map is no text"))?,
            2 => entry = Some(field.value),
            _ => {}
        }
    }
    let entry = match (values, entry) {
        // A list as the value of a map is a message of its own with the elements as field 1 (`ExtraValue`).
        (Type::List(list), entry) => {
            let bytes = entry.as_ref().and_then(Wire::bytes).unwrap_or_default();
            let items = wire::fields(bytes).map(|item| Ok(value(list.items, &item?.value, depth)?.unwrap_or_default()));
            Value::Array(items.collect::<Result<_, ProtobufError>>()?)
        }
        (_, None) => Value::String(String::new()),
        (_, Some(found)) => value(values, &found, depth)?.unwrap_or_else(|| Value::String(String::new())),
    };
    Ok((key, entry))
}

/// Reads one value; `None` if it is a zero value that JSON leaves out.
fn value(ty: Type, found: &Wire<'_>, depth: usize) -> Result<Option<Value>, ProtobufError> {
    match (ty.resolve(), found) {
        (Resolved::Fields(_, fields), Wire::Bytes(bytes)) => Ok(Some(Value::Object(message(fields, bytes, depth)?))),
        (Resolved::Scalar(scalar), found) => scalar_value(scalar, found),
        (Resolved::Fields(..), Wire::Number(_)) | (Resolved::List(_) | Resolved::Map(_), _) => {
            Err(ProtobufError::Malformed("a message is expected"))
        }
    }
}

fn scalar_value(scalar: Scalar, found: &Wire<'_>) -> Result<Option<Value>, ProtobufError> {
    let wrong = ProtobufError::Malformed("a value has the wrong wire type");
    match (scalar, found) {
        (Scalar::Boolean, Wire::Number(number)) => Ok(Some(Value::Bool(*number != 0))),
        (Scalar::Int32 | Scalar::Int64, Wire::Number(number)) => Ok(Some(integer(*number))),
        (Scalar::String, found) => text(found).map(Value::String).map(Some).ok_or(wrong),
        (Scalar::Bytes, Wire::Bytes(bytes)) => Ok(Some(Value::String(STANDARD.encode(bytes)))),
        (Scalar::Time, Wire::Bytes(bytes)) => time(bytes, false),
        (Scalar::MicroTime, Wire::Bytes(bytes)) => time(bytes, true),
        (Scalar::Quantity, Wire::Bytes(bytes)) => {
            let field = wire::fields(bytes).next().transpose()?;
            Ok(field.and_then(|field| text(&field.value)).map(Value::String))
        }
        (Scalar::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes).map(Some),
        (Scalar::Any, Wire::Bytes(bytes)) => {
            let raw = wire::fields(bytes).next().transpose()?;
            let raw = raw.as_ref().and_then(|field| field.value.bytes()).unwrap_or_default();
            let json = serde_json::from_slice(raw);
            if raw.is_empty() { Ok(None) } else { json.map(Some).map_err(|_| ProtobufError::Malformed("no JSON")) }
        }
        _ => Err(wrong),
    }
}

/// Signed numbers are in two's complement.
fn integer(number: u64) -> Value {
    number.cast_signed().into()
}

fn text(found: &Wire<'_>) -> Option<String> {
    found.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned)
}

/// Seconds since the epoch are field 1, nanoseconds field 2; without any it is Go's zero time, which is none.
fn time(bytes: &[u8], micro: bool) -> Result<Option<Value>, ProtobufError> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in wire::fields(bytes) {
        match field? {
            wire::Field { number: 1, value: Wire::Number(number) } => seconds = Some(number.cast_signed()),
            wire::Field { number: 2, value: Wire::Number(number) } => nanos = i32::try_from(number).unwrap_or(0),
            wire::Field { .. } => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(None) };
    let time = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed("a time is out of range"))?;
    let shown = if micro { format!("{time:.6}") } else { format!("{time:.0}") };
    Ok(Some(Value::String(shown)))
}

/// Field 1 says which, field 2 is the number, field 3 the text.
fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    for field in wire::fields(bytes) {
        let field = field?;
        match (field.number, field.value) {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value,
            (3, found) => string = text(&found).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(if is_text { Value::String(string) } else { integer(number) })
}

#[cfg(test)]
mod tests;
