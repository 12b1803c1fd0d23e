//! Sets of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::PathElement;
use crate::schema::{Resolved, Type};

/// A set of paths into an object.
///
/// A path can be in the set without the paths below it, and the other way round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the path that leads here is in the set.
    pub(super) member: bool,
    pub(super) below: BTreeMap<PathElement, Self>,
}

/// Deepest nesting of a field set that is read; types of the API reach about 20.
const MAX_DEPTH: usize = 64;

impl FieldSet {
    /// Reads `fieldsV1` of a managed fields entry; `None` if it is malformed.
    ///
    /// ```
    /// use apimachinery::apply::FieldSet;
    /// let fields = serde_json::json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}});
    /// let set = FieldSet::from_fields_v1(&fields).unwrap();
    /// assert_eq!(set.paths(), [".metadata.labels", ".metadata.labels.app"]);
    /// assert_eq!(set.to_fields_v1(), fields);
    /// ```
    pub fn from_fields_v1(fields: &Value) -> Option<Self> {
        Self::read(fields, 0)
    }

    fn read(fields: &Value, depth: usize) -> Option<Self> {
        let fields = fields.as_object().filter(|_| depth <= MAX_DEPTH)?;
        let mut set = Self { member: fields.is_empty() && depth > 0, ..Self::default() };
        for (key, value) in fields {
            if key == "." {
                set.member = depth > 0;
            } else {
                set.below.insert(PathElement::parse(key)?, Self::read(value, depth + 1)?);
            }
        }
        Some(set)
    }

    /// Writes `fieldsV1` of a managed fields entry.
    pub fn to_fields_v1(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.below.is_empty() {
            fields.insert(".".into(), json!({}));
        }
        for (element, below) in &self.below {
            fields.insert(element.to_fields_v1(), below.to_fields_v1());
        }
        Value::Object(fields)
    }

    /// Makes a set of one path of field names.
    pub(super) fn of_names(names: &[&str]) -> Self {
        match names {
            [] => Self { member: true, ..Self::default() },
            [first, rest @ ..] => {
                let mut set = Self::default();
                set.below.insert(PathElement::Field((*first).to_owned()), Self::of_names(rest));
                set
            }
        }
    }

    /// Tells whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Self::is_empty)
    }

    /// Puts a set below a path element, unless it is empty.
    pub(super) fn attach(&mut self, element: &PathElement, set: Self) {
        if set.member || !set.below.is_empty() {
            self.below.insert(element.clone(), set);
        }
    }

    /// Paths that are in either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.member |= other.member;
        for (element, below) in other.below {
            match self.below.remove(&element) {
                Some(present) => self.below.insert(element, present.union(below)),
                None => self.below.insert(element, below),
            };
        }
        self
    }

    /// Paths that are in this one only.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && !other.member, ..Self::default() };
        for (element, below) in &self.below {
            let kept = other.below.get(element).map_or_else(|| below.clone(), |other| below.difference(other));
            result.attach(element, kept);
        }
        result
    }

    /// Paths of this one that are neither in `other` nor below a path that is.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && !other.member, ..Self::default() };
        for (element, below) in &self.below {
            match other.below.get(element) {
                Some(other) if other.member => {}
                Some(other) => result.attach(element, below.recursive_difference(other)),
                None => result.attach(element, below.clone()),
            }
        }
        result
    }

    /// Paths that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && other.member, ..Self::default() };
        for (element, below) in &self.below {
            if let Some(other) = other.below.get(element) {
                result.attach(element, below.intersection(other));
            }
        }
        result
    }

    /// Adds the structs on the way to the paths of the set: who removes all fields of one removes it.
    pub(super) fn with_structs(&self, ty: Type) -> Self {
        let mut result = Self { member: self.member, ..Self::default() };
        for (element, below) in &self.below {
            let (inner, is_field) = step(ty, element);
            let mut below = below.with_structs(inner);
            below.member |= is_field;
            result.attach(element, below);
        }
        result
    }

    /// Returns the paths as conflicts show them: those of one level before those below.
    pub fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.add_paths("", &mut all);
        all
    }

    fn add_paths(&self, prefix: &str, all: &mut Vec<String>) {
        all.extend(
            self.below.iter().filter(|(_, below)| below.member).map(|(element, _)| format!("{prefix}{element}")),
        );
        for (element, below) in self.below.iter().filter(|(_, below)| !below.below.is_empty()) {
            below.add_paths(&format!("{prefix}{element}"), all);
        }
    }
}

/// The type one step further, and whether the step is a field that the type declares.
fn step(ty: Type, element: &PathElement) -> (Type, bool) {
    const UNKNOWN: Type = Type::Scalar(crate::schema::Scalar::Any);
    match (ty.resolve(), element) {
        (Resolved::Fields(definition, _), PathElement::Field(name)) => {
            definition.field(name).map_or((UNKNOWN, false), |field| (field.ty, true))
        }
        (Resolved::Map(map), PathElement::Field(_)) => (map.values, false),
        (Resolved::List(list), PathElement::Key(_) | PathElement::Value(_) | PathElement::Index(_)) => {
            (list.items, false)
        }
        _ => (UNKNOWN, false),
    }
}
