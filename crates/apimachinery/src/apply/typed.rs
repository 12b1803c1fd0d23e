//! Walks over objects along their schema: which fields they have, how two differ, how one is merged into another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{FieldSet, PathElement};
use crate::schema::{Definition, Resolved, Scalar, Topology, Type};

/// How a value is walked.
#[derive(Clone, Copy)]
enum Walk {
    /// As a whole.
    Leaf,
    /// Field by field, each with a type of its own.
    Struct(&'static Definition),
    /// Entry by entry.
    Map(Type),
    /// Element by element.
    List(Type, Topology),
}

fn walk(ty: Type) -> Walk {
    match ty.resolve() {
        Resolved::Scalar(_) => Walk::Leaf,
        Resolved::Fields(definition, _) if definition.atomic => Walk::Leaf,
        Resolved::Fields(definition, _) => Walk::Struct(definition),
        Resolved::Map(map) if map.atomic => Walk::Leaf,
        Resolved::Map(map) => Walk::Map(map.values),
        Resolved::List(list) => match list.topology {
            Topology::Atomic => Walk::Leaf,
            Topology::Set | Topology::Map(_) => Walk::List(list.items, list.topology),
        },
    }
}

/// Type of a field of a struct; one that is not declared is taken as a whole.
fn field_type(definition: &Definition, name: &str) -> Type {
    definition.field(name).map_or(Type::Scalar(Scalar::Any), |field| field.ty)
}

/// Type of an entry of a struct or a map.
fn entry_type(ty: Type, name: &str) -> Type {
    match walk(ty) {
        Walk::Struct(definition) => field_type(definition, name),
        Walk::Map(values) => values,
        Walk::Leaf | Walk::List(..) => ty,
    }
}

/// What tells the elements of a list apart, in their order. Elements without a key are told apart by their position.
fn elements(items: Type, topology: Topology, list: &[Value]) -> Vec<PathElement> {
    let position = |index: usize| PathElement::Index(u64::try_from(index).unwrap_or(u64::MAX));
    let name = |(index, element): (usize, &Value)| match topology {
        Topology::Map(keys) => PathElement::of_keyed(items, keys, element).unwrap_or_else(|_| position(index)),
        Topology::Set => PathElement::Value(element.to_string()),
        Topology::Atomic => position(index),
    };
    list.iter().enumerate().map(name).collect()
}

/// The fields that an object has.
pub(super) fn fields(ty: Type, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match (walk(ty), value) {
        (Walk::Struct(definition), Value::Object(object)) => {
            for (name, value) in object {
                let mut below = fields(field_type(definition, name), value);
                below.member |= is_nothing(value) || definition.field(name).is_none();
                set.attach(&PathElement::Field(name.clone()), below);
            }
        }
        (Walk::Map(values), Value::Object(object)) => {
            for (name, value) in object {
                let below = FieldSet { member: true, ..fields(values, value) };
                set.attach(&PathElement::Field(name.clone()), below);
            }
        }
        (Walk::List(items, topology), Value::Array(list)) => {
            for (element, value) in elements(items, topology, list).iter().zip(list) {
                set.attach(element, FieldSet { member: true, ..fields(items, value) });
            }
        }
        (Walk::Leaf, _) => set.member = true,
        (Walk::Struct(_) | Walk::Map(_) | Walk::List(..), _) => {}
    }
    set
}

/// Null, or a map without entries.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// How two objects differ.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the new object has that the old one had not or had otherwise.
    pub(super) fn changed(&self) -> FieldSet {
        self.added.clone().union(self.modified.clone())
    }

    /// Leaves out what does not count.
    pub(super) fn without(&self, ignored: &FieldSet) -> Self {
        Self {
            added: self.added.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
        }
    }

    fn attach(&mut self, element: &PathElement, below: Self) {
        self.added.attach(element, below.added);
        self.modified.attach(element, below.modified);
        self.removed.attach(element, below.removed);
    }

    fn leaf(old: Option<&Value>, new: Option<&Value>) -> Self {
        let mut result = Self::default();
        match (old, new) {
            (None, Some(_)) => result.added.member = true,
            (Some(_), None) => result.removed.member = true,
            (old, new) => result.modified.member = old != new,
        }
        result
    }
}

/// Compares two objects; absent ones have nothing.
pub(super) fn compare(ty: Type, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    if old == new {
        return Comparison::default();
    }
    let mut result = Comparison::default();
    match walk(ty) {
        Walk::Leaf => return Comparison::leaf(old, new),
        Walk::Struct(_) | Walk::Map(_) => {
            let (before, after) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let names: BTreeSet<&String> = before.into_iter().chain(after).flat_map(Map::keys).collect();
            if names.is_empty() {
                return Comparison::leaf(old, new);
            }
            for name in names {
                let before = before.and_then(|fields| fields.get(name));
                let below = compare(entry_type(ty, name), before, after.and_then(|fields| fields.get(name)));
                result.attach(&PathElement::Field(name.clone()), below);
            }
        }
        Walk::List(items, topology) => {
            let (before, after) = (items_of(old), items_of(new));
            if before.is_empty() && after.is_empty() {
                return Comparison::leaf(old, new);
            }
            compare_lists(items, topology, before, after, &mut result);
        }
    }
    result.added.member = old.is_none();
    result.removed.member = new.is_none();
    result
}

fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn compare_lists(items: Type, topology: Topology, old: &[Value], new: &[Value], result: &mut Comparison) {
    let (olds, news) = (elements(items, topology, old), elements(items, topology, new));
    let (in_old, in_new) = (positions(&olds), positions(&news));
    let all: BTreeSet<&PathElement> = olds.iter().chain(&news).collect();
    for element in all {
        let old = in_old.get(element).map(|at| &old[*at]);
        result.attach(element, compare(items, old, in_new.get(element).map(|at| &new[*at])));
    }
}

/// Where each element stands first.
fn positions(elements: &[PathElement]) -> BTreeMap<&PathElement, usize> {
    elements.iter().enumerate().rev().map(|(index, element)| (element, index)).collect()
}

/// Merges what is applied into what is there.
pub(super) fn merge(ty: Type, live: &Value, applied: &Value) -> Value {
    match (walk(ty), live, applied) {
        (Walk::Leaf, _, _) => applied.clone(),
        (_, live, Value::Null) if !live.is_null() => live.clone(),
        (Walk::Struct(_) | Walk::Map(_), Value::Object(live), Value::Object(applied)) => {
            let mut merged = live.clone();
            for (name, value) in applied {
                let value =
                    live.get(name).map_or_else(|| value.clone(), |present| merge(entry_type(ty, name), present, value));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Walk::List(items, topology), Value::Array(live), Value::Array(applied)) => {
            Value::Array(merge_lists(items, topology, live, applied))
        }
        (Walk::Struct(_) | Walk::Map(_) | Walk::List(..), _, applied) => applied.clone(),
    }
}

/// Keeps the order of what is applied, and what only the live list has where it stands among what both have.
fn merge_lists(items: Type, topology: Topology, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let (lives, wanted) = (elements(items, topology, live), elements(items, topology, applied));
    let (in_live, in_wanted) = (positions(&lives), positions(&wanted));
    let mut shared = wanted.iter().filter(|element| in_live.contains_key(element));
    let mut next_shared = shared.next();
    let mut merged: BTreeSet<&PathElement> = BTreeSet::new();
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let (mut l, mut r) = (0, 0);
    let both = |r: usize| match in_live.get(&wanted[r]) {
        Some(at) => merge(items, &live[*at], &applied[r]),
        None => applied[r].clone(),
    };
    while l < lives.len() || r < wanted.len() {
        if l < lives.len() && r < wanted.len() {
            if lives[l] == wanted[r] {
                merged.insert(&wanted[r]);
                out.push(both(r));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if in_wanted.contains_key(&lives[l]) && next_shared.is_some_and(|next| *next != lives[l]) {
                l += 1;
                continue;
            }
        }
        if l < lives.len() {
            if !in_wanted.contains_key(&lives[l]) {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            if merged.contains(&lives[l]) {
                l += 1;
            }
        }
        if r < wanted.len() {
            merged.insert(&wanted[r]);
            out.push(both(r));
            if next_shared == Some(&wanted[r]) {
                next_shared = shared.next();
            }
            r += 1;
        }
    }
    out
}

/// Takes fields out of an object. A list, map or struct of which nothing stays becomes null.
pub(super) fn remove(ty: Type, value: &Value, fields: &FieldSet) -> Value {
    if fields.below.is_empty() {
        return value.clone();
    }
    match (walk(ty), value) {
        (Walk::Struct(_) | Walk::Map(_), Value::Object(object)) => {
            let mut kept = Map::new();
            for (name, value) in object {
                if let Some(value) =
                    remove_below(entry_type(ty, name), value, fields, &PathElement::Field(name.clone()))
                {
                    kept.insert(name.clone(), value);
                }
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (Walk::List(items, topology), Value::Array(list)) => {
            let names = elements(items, topology, list);
            let kept: Vec<Value> = names
                .iter()
                .zip(list)
                .filter_map(|(element, value)| remove_below(items, value, fields, element))
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        (Walk::Leaf | Walk::Struct(_) | Walk::Map(_) | Walk::List(..), _) => value.clone(),
    }
}

fn remove_below(ty: Type, value: &Value, fields: &FieldSet, element: &PathElement) -> Option<Value> {
    match fields.below.get(element) {
        Some(below) if below.member => None,
        Some(below) => Some(remove(ty, value, below)),
        None => Some(value.clone()),
    }
}

/// Most problems that are named.
const MAX_PROBLEMS: usize = 20;

/// Checks that an object that is applied fits its type; returns every problem as the API server words it.
pub(super) fn check(ty: Type, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check_at(ty, value, "", &mut problems);
    problems
}

fn check_at(ty: Type, value: &Value, path: &str, problems: &mut Vec<String>) {
    if problems.len() >= MAX_PROBLEMS || value.is_null() {
        return;
    }
    let mut refuse = |path: &str, why: &str| problems.push(format!("{path}: {why}"));
    match (ty.resolve(), value) {
        (Resolved::Scalar(scalar), value) => {
            if let Some(expected) = misfit(scalar, value) {
                refuse(path, &format!("expected {expected}, got {value}"));
            }
        }
        (Resolved::Fields(definition, _), Value::Object(object)) => {
            for (name, value) in object {
                if problems.len() >= MAX_PROBLEMS {
                    return;
                }
                match definition.field(name) {
                    Some(field) => check_at(field.ty, value, &format!("{path}.{name}"), problems),
                    None => problems.push(format!("{path}.{name}: field not declared in schema")),
                }
            }
        }
        (Resolved::Map(map), Value::Object(object)) => {
            object.iter().for_each(|(name, value)| check_at(map.values, value, &format!("{path}.{name}"), problems));
        }
        (Resolved::List(list), Value::Array(items)) => check_list(list.items, list.topology, items, path, problems),
        (Resolved::Fields(..) | Resolved::Map(_), value) => refuse(path, &format!("expected map, got {value}")),
        (Resolved::List(_), value) => refuse(path, &format!("expected list, got {value}")),
    }
}

fn check_list(items: Type, topology: Topology, list: &[Value], path: &str, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, value) in list.iter().enumerate() {
        if problems.len() >= MAX_PROBLEMS {
            return;
        }
        let element = match topology {
            Topology::Atomic => Ok(PathElement::Index(u64::try_from(index).unwrap_or(u64::MAX))),
            Topology::Set => Ok(PathElement::Value(value.to_string())),
            Topology::Map(keys) => PathElement::of_keyed(items, keys, value),
        };
        match element {
            Err(why) => problems.push(format!("{path}: element {index}: {why}")),
            Ok(element) => {
                check_at(items, value, &format!("{path}{element}"), problems);
                if !seen.insert(element.clone()) {
                    problems.push(format!("{path}: duplicate entries for key {element}"));
                }
            }
        }
    }
}

/// What a scalar should have been.
fn misfit(scalar: Scalar, value: &Value) -> Option<&'static str> {
    match scalar {
        Scalar::Boolean => (!value.is_boolean()).then_some("boolean"),
        Scalar::Int32 | Scalar::Int64 => (!value.is_number()).then_some("numeric (int or float)"),
        Scalar::String | Scalar::Bytes | Scalar::Time | Scalar::MicroTime => (!value.is_string()).then_some("string"),
        Scalar::Quantity | Scalar::IntOrString => (value.is_array() || value.is_object()).then_some("any scalar"),
        Scalar::Any => None,
    }
}

/// The problems as one text.
pub(super) fn join(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    }
}

/// The object that has nothing, as the types of Go write it: structs that are held by value are there.
pub(super) fn empty(definition: &Definition) -> Value {
    let mut object = Map::new();
    for field in definition.fields() {
        match field.ty {
            Type::Object(inner) if field.inline => {
                object.insert(field.name.to_owned(), empty(inner));
            }
            Type::List(_) if field.required => {
                object.insert(field.name.to_owned(), Value::Array(Vec::new()));
            }
            Type::Scalar(Scalar::String) if field.required => {
                object.insert(field.name.to_owned(), Value::String(String::new()));
            }
            Type::Scalar(_) | Type::Object(_) | Type::List(_) | Type::Map(_) => {}
        }
    }
    Value::Object(object)
}
