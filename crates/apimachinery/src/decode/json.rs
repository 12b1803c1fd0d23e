//! JSON with duplicate keys noticed.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::DecodeError;

/// A JSON text that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Json {
    /// Its value; of duplicate keys the last counts.
    pub value: Value,
    /// One text for each duplicate key, as the API server words it.
    pub duplicates: Vec<String>,
}

/// Reads one JSON value and notes keys that are given twice.
///
/// ```
/// let json = apimachinery::decode::json(br#"{"spec": {"a": 1, "a": 2}}"#).unwrap();
/// assert_eq!(json.value, serde_json::json!({"spec": {"a": 2}}));
/// assert_eq!(json.duplicates, [r#"duplicate field "spec.a""#]);
/// ```
///
/// # Errors
/// When the text is not JSON, or nested deeper than 128 levels.
pub fn json(text: &[u8]) -> Result<Json, DecodeError> {
    let duplicates = RefCell::new(Vec::new());
    let mut de = serde_json::Deserializer::from_slice(text);
    let seed = Seed { path: String::new(), duplicates: &duplicates };
    let value = seed.deserialize(&mut de).and_then(|value| de.end().map(|()| value)).map_err(|e| {
        let message = strip_position(&e.to_string());
        DecodeError::Syntax { line: to_u64(e.line()), column: to_u64(e.column()), message }
    })?;
    Ok(Json { value, duplicates: duplicates.into_inner() })
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn strip_position(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text).to_owned()
}

/// Most duplicates that are named.
const MAX_DUPLICATES: usize = 100;

struct Seed<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'a> Seed<'a> {
    fn at(&self, path: String) -> Self {
        Seed { path, duplicates: self.duplicates }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Number::from_f64(n).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.at(format!("{}[{}]", self.path, items.len())))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = self.key(&key);
            let value = map.next_value_seed(self.at(path.clone()))?;
            if fields.insert(key, value).is_some() {
                let mut duplicates = self.duplicates.borrow_mut();
                let text = format!("duplicate field {}", crate::field::quote(&path));
                if duplicates.len() < MAX_DUPLICATES && !duplicates.contains(&text) {
                    duplicates.push(text);
                }
            }
        }
        Ok(Value::Object(fields))
    }
}
