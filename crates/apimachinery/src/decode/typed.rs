//! Reads a JSON value as a type of the API, remembering where it is, so that it can say which field does not fit.
//!
//! Like Go's decoder it takes `null` for the zero value.

use std::{cell::RefCell, fmt};

use serde::{
    de::{
        self, DeserializeOwned, IntoDeserializer, Visitor,
        value::{StrDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

use crate::quantity::{Quantity, QuantityError};

/// Reads a value as a type; fields that the type does not have are left out.
pub(super) fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let context = Context::default();
    let object = T::deserialize(De { value, context: &context, depth: 0 });
    let path = context.path.into_inner();
    match object {
        Ok(object) => Ok(object),
        Err(Failure(message)) if path.is_empty() => Err(message),
        Err(Failure(message)) => Err(format!("{path}: {message}")),
    }
}

/// Names the JSON type of a value.
pub(super) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Deepest nesting that is followed; `serde_json` reads no deeper than this either.
const MAX_DEPTH: usize = 128;

#[derive(Default)]
struct Context {
    /// Where the walk is. Left as it is when an error unwinds, so that it then names the place of the error.
    path: RefCell<String>,
}

impl Context {
    fn enter_key(&self, key: &str) -> usize {
        let mut path = self.path.borrow_mut();
        let before = path.len();
        if before > 0 {
            path.push('.');
        }
        path.push_str(key);
        before
    }

    fn enter_index(&self, index: usize) -> usize {
        let mut path = self.path.borrow_mut();
        let before = path.len();
        path.push_str(&format!("[{index}]"));
        before
    }

    fn leave(&self, before: usize) {
        self.path.borrow_mut().truncate(before);
    }
}

#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

#[derive(Clone, Copy)]
struct De<'a> {
    value: &'a Value,
    context: &'a Context,
    depth: usize,
}

impl<'a> De<'a> {
    fn list<'de, V: Visitor<'de>>(self, items: &'a [Value], visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(Items { items: items.iter(), index: 0, of: self.deeper()? })
    }

    fn map<'de, V: Visitor<'de>>(self, fields: &'a Map<String, Value>, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Fields { fields: fields.iter(), current: None, of: self.deeper()? })
    }

    /// Reads a quantity, so that it is stored in its canonical form.
    fn quantity(self) -> Result<Quantity, Failure> {
        let text = match self.value {
            Value::Null => return Ok(Quantity::ZERO),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(Failure(format!("expected a quantity, found {}", name_of(other))));
            }
        };
        text.parse().map_err(|e: QuantityError| Failure(e.to_string()))
    }

    fn deeper(self) -> Result<Self, Failure> {
        if self.depth >= MAX_DEPTH {
            return Err(Failure(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> de::Deserializer<'de> for De<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => self.list(items, visitor),
            Value::Object(fields) => self.map(fields, visitor),
            Value::Number(number) => {
                // A decoder that asks for any type may take floats, the typed ones below do not.
                match (number.as_i64(), number.as_u64()) {
                    (Some(n), _) => visitor.visit_i64(n),
                    (None, Some(n)) => visitor.visit_u64(n),
                    (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
                }
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        if name == "Quantity" {
            let canonical: StringDeserializer<Failure> = self.quantity()?.to_string().into_deserializer();
            return visitor.visit_newtype_struct(canonical);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.value.is_null() { visitor.visit_str("") } else { self.deserialize_any(visitor) }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        if self.value.is_null() { self.map(&EMPTY, visitor) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.value.is_null() { self.list(&[], visitor) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        enum identifier
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Value>,
    index: usize,
    of: De<'a>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let before = self.of.context.enter_index(self.index);
        let item = seed.deserialize(De { value, ..self.of })?;
        self.of.context.leave(before);
        self.index += 1;
        Ok(Some(item))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'a> {
    fields: serde_json::map::Iter<'a>,
    current: Option<(&'a str, &'a Value)>,
    of: De<'a>,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Failure;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((key, value)) = self.fields.next() else { return Ok(None) };
        self.current = Some((key, value));
        let de: StrDeserializer<'_, Failure> = key.as_str().into_deserializer();
        seed.deserialize(de).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let (key, value) = self.current.take().unwrap_or(("", &Value::Null));
        let before = self.of.context.enter_key(key);
        let field = seed.deserialize(De { value, ..self.of })?;
        self.of.context.leave(before);
        Ok(field)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len())
    }
}
