//! One step of a path into an object.

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    field::quote,
    schema::{Resolved, Type},
};

/// One step of a path into an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A field of a struct or an entry of a map.
    Field(String),
    /// An element of a list by the fields that tell it apart: a JSON object with ordered keys.
    Key(String),
    /// An element of a set by its value, as JSON.
    Value(String),
    /// An element of a list by its position.
    Index(u64),
}

impl PathElement {
    /// Reads the form that `FieldsV1` has (`f:name`, `k:{…}`, `v:…`, `i:0`).
    ///
    /// ```
    /// use apimachinery::apply::PathElement;
    /// let key = PathElement::parse(r#"k:{"protocol":"TCP", "containerPort":80}"#).unwrap();
    /// assert_eq!(key.to_fields_v1(), r#"k:{"containerPort":80,"protocol":"TCP"}"#);
    /// assert_eq!(key.to_string(), r#"[containerPort=80,protocol="TCP"]"#);
    /// assert!(PathElement::parse("x:a").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_once(':')?;
        match tag {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                let scalars = keys.values().all(|value| !value.is_array() && !value.is_object());
                (scalars && !keys.is_empty()).then(|| Self::Key(Value::Object(keys).to_string()))
            }
            "v" => Some(Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string())),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    /// Writes the form that `FieldsV1` has.
    pub fn to_fields_v1(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// What tells an element of a keyed list apart.
    ///
    /// # Errors
    /// The element lacks a key that has no default.
    pub(super) fn of_keyed(items: Type, keys: &[&str], element: &Value) -> Result<Self, String> {
        let mut found = Map::new();
        for key in keys {
            let value = match element.get(*key) {
                Some(value) if !value.is_null() => value.clone(),
                Some(_) | None => default_of(items, key).ok_or_else(|| {
                    format!(
                        "associative list with keys has an element that omits key field {} (and doesn't have default value)",
                        quote(key)
                    )
                })?,
            };
            found.insert((*key).to_owned(), value);
        }
        Ok(Self::Key(Value::Object(found).to_string()))
    }
}

fn default_of(items: Type, key: &str) -> Option<Value> {
    match items.resolve() {
        Resolved::Fields(definition, _) => definition.field(key)?.default.map(Value::from),
        Resolved::Scalar(_) | Resolved::List(_) | Resolved::Map(_) => None,
    }
}

impl fmt::Display for PathElement {
    /// As conflicts show it (`.name`, `[name="a"]`, `[="v"]`, `[0]`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let shown: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={}", show(value))).collect();
                write!(f, "[{}]", shown.join(","))
            }
            Self::Value(value) => {
                let value: Value = serde_json::from_str(value).unwrap_or_default();
                write!(f, "[={}]", show(&value))
            }
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

fn show(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), quote)
}
