//! Strategic merge patch: a merge patch that knows which lists are sets and by which key.
//!
//! Source: apimachinery `pkg/util/strategicpatch/patch.go`; strategies and keys are those of the [schema].

use serde_json::{Map, Value};

use crate::{
    schema::{self, Resolved, Scalar, Type},
    scheme::ResourceType,
};

/// Why a strategic merge patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategicPatchError {
    /// The patch is no object.
    #[error("a strategic merge patch must be an object")]
    NotAnObject,
    /// A directive with a value that means nothing.
    #[error("unknown patch type '{0}' found in map")]
    UnknownDirective(String),
    /// An element of a list that is merged by key has no such key.
    #[error("map: {element} does not contain declared merge key: {key}")]
    MissingKey {
        /// The element, as JSON.
        element: String,
        /// The key that it should have.
        key: &'static str,
    },
    /// A list of a directive is no list.
    #[error("the value of {0} must be a list")]
    NotAList(String),
    /// A list that is merged has more elements than can be compared in reasonable time.
    #[error("the list {0} is too long to be merged, the maximum is {MAX_ELEMENTS}")]
    TooLong(String),
    /// `$retainKeys` leaves out a field that the patch sets.
    #[error("the $retainKeys directive does not list the field {0} of the patch")]
    NotRetained(String),
}

/// Applies a strategic merge patch.
///
/// Lists whose elements have an identity are merged by it; new elements come before those that only the target has,
/// as in the real server.
///
/// ```
/// use apimachinery::{patch, scheme};
/// use serde_json::json;
/// let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}});
/// let change = json!({"spec": {"containers": [{"name": "b", "image": "z"}]}});
/// patch::strategic(scheme::by_name("pod").unwrap(), &mut pod, &change).unwrap();
/// assert_eq!(pod["spec"]["containers"], json!([{"name": "a", "image": "x"}, {"name": "b", "image": "z"}]));
/// ```
///
/// # Errors
/// When the patch is malformed; the target is unchanged then.
pub fn strategic(ty: &ResourceType, target: &mut Value, patch: &Value) -> Result<(), StrategicPatchError> {
    let Value::Object(patch) = patch else { return Err(StrategicPatchError::NotAnObject) };
    let original = target.as_object().cloned().unwrap_or_default();
    *target = Value::Object(maps(original, patch, schema::of(ty).map_or(UNKNOWN, Type::Object))?);
    Ok(())
}

/// What tells the elements of a list apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// The list is replaced as a whole.
    Atomic,
    /// The elements are scalars.
    Scalar,
    /// A field of the elements.
    Key(&'static str),
}

/// Elements are compared pairwise, so lists must not be longer than any that makes sense.
const MAX_ELEMENTS: usize = 4096;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Merges `patch` into a value of a type.
fn maps(
    mut original: Map<String, Value>,
    patch: &Map<String, Value>,
    ty: Type,
) -> Result<Map<String, Value>, StrategicPatchError> {
    match directive(patch)? {
        Some(Directive::Replace) => return Ok(without_directives(patch)),
        Some(Directive::Delete) => return Ok(Map::new()),
        Some(Directive::Merge) | None => {}
    }
    retain(&mut original, patch)?;
    for (field, wanted) in patch.iter().filter(|(field, _)| !field.starts_with('$')) {
        merge_field(&mut original, field, wanted, patch, ty)?;
    }
    for (directive, list) in patch {
        lone_directive(&mut original, directive, list, patch, ty)?;
    }
    Ok(original)
}

fn merge_field(
    original: &mut Map<String, Value>,
    field: &str,
    wanted: &Value,
    patch: &Map<String, Value>,
    ty: Type,
) -> Result<(), StrategicPatchError> {
    let inner = entry(ty, field);
    let merged = match (original.remove(field), wanted) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(old)), Value::Object(new)) => Value::Object(maps(old, new, inner.ty)?),
        (None, Value::Object(new)) => Value::Object(maps(Map::new(), new, inner.ty)?),
        (Some(Value::Array(old)), Value::Array(new)) => lists(old, new, field, inner, &Directives::of(patch, field)?)?,
        (None, Value::Array(new)) => lists(Vec::new(), new, field, inner, &Directives::of(patch, field)?)?,
        (_, other) => cleaned(other),
    };
    original.insert(field.to_owned(), merged);
    Ok(())
}

/// Orders, or deletes from, a list that the patch does not mention otherwise.
fn lone_directive(
    original: &mut Map<String, Value>,
    directive: &str,
    list: &Value,
    patch: &Map<String, Value>,
    ty: Type,
) -> Result<(), StrategicPatchError> {
    let Some(field) = directive.strip_prefix(ORDER).or_else(|| directive.strip_prefix(DELETE)) else {
        return Ok(());
    };
    if !list.is_array() {
        return Err(StrategicPatchError::NotAList(directive.to_owned()));
    }
    if patch.contains_key(field) {
        return Ok(());
    }
    if let Some(Value::Array(old)) = original.remove(field) {
        let merged = lists(old, &[], field, entry(ty, field), &Directives::of(patch, field)?)?;
        original.insert(field.to_owned(), merged);
    }
    Ok(())
}

fn lists(
    old: Vec<Value>,
    new: &[Value],
    field: &str,
    inner: Entry,
    directives: &Directives<'_>,
) -> Result<Value, StrategicPatchError> {
    let identity = inner.identity;
    let longest = old.len().max(new.len()).max(directives.longest());
    if identity != Identity::Atomic && longest > MAX_ELEMENTS {
        return Err(StrategicPatchError::TooLong(field.to_owned()));
    }
    match identity {
        Identity::Atomic => Ok(Value::Array(new.iter().map(cleaned).collect())),
        Identity::Scalar => Ok(scalars(old, new, directives)),
        Identity::Key(key) => keyed(old, new, inner.ty, key, directives),
    }
}

fn keyed(
    old: Vec<Value>,
    new: &[Value],
    items: Type,
    key: &'static str,
    directives: &Directives<'_>,
) -> Result<Value, StrategicPatchError> {
    let mut merged = old.clone();
    let mut kept = Vec::new();
    let mut replaces = false;
    for element in new {
        let missing = || StrategicPatchError::MissingKey { element: element.to_string(), key };
        let fields = element.as_object().ok_or_else(missing)?;
        let what = directive(fields)?;
        let id = fields.get(key);
        match (what, id) {
            (Some(Directive::Replace), None) => replaces = true,
            (Some(Directive::Delete), Some(id)) => merged.retain(|present| present.get(key) != Some(id)),
            (Some(Directive::Replace | Directive::Merge) | None, Some(id)) => {
                kept.push(element);
                merge_element(&mut merged, fields, key, id, items)?;
            }
            (Some(Directive::Delete | Directive::Merge) | None, None) => return Err(missing()),
        }
    }
    if replaces {
        return Ok(Value::Array(kept.into_iter().map(cleaned).collect()));
    }
    let same = |a: &Value, b: &Value| a.get(key).is_some() && a.get(key) == b.get(key);
    let order: Vec<&Value> = directives.order.map_or(kept, |order| order.iter().collect());
    Ok(Value::Array(ordered(merged, &order, &old, same)))
}

fn merge_element(
    merged: &mut Vec<Value>,
    fields: &Map<String, Value>,
    key: &str,
    id: &Value,
    items: Type,
) -> Result<(), StrategicPatchError> {
    match merged.iter_mut().find(|present| present.get(key) == Some(id)) {
        Some(present) => {
            let old = present.as_object().cloned().unwrap_or_default();
            *present = Value::Object(maps(old, fields, items)?);
        }
        None => merged.push(Value::Object(maps(Map::new(), fields, items)?)),
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Directive {
    Replace,
    Delete,
    Merge,
}

fn directive(patch: &Map<String, Value>) -> Result<Option<Directive>, StrategicPatchError> {
    let Some(value) = patch.get(DIRECTIVE) else { return Ok(None) };
    match value.as_str() {
        Some("replace") => Ok(Some(Directive::Replace)),
        Some("delete") => Ok(Some(Directive::Delete)),
        Some("merge") => Ok(Some(Directive::Merge)),
        Some(other) => Err(StrategicPatchError::UnknownDirective(other.to_owned())),
        None => Err(StrategicPatchError::UnknownDirective(value.to_string())),
    }
}

/// Removes fields that `$retainKeys` does not list.
fn retain(original: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), StrategicPatchError> {
    let Some(list) = patch.get(RETAIN) else { return Ok(()) };
    let keys = list.as_array().ok_or_else(|| StrategicPatchError::NotAList(RETAIN.to_owned()))?;
    let listed = |field: &str| keys.iter().any(|key| key == field);
    let unlisted = patch.iter().find(|(field, value)| !field.starts_with('$') && !value.is_null() && !listed(field));
    if let Some((field, _)) = unlisted {
        return Err(StrategicPatchError::NotRetained(field.clone()));
    }
    original.retain(|field, _| listed(field));
    Ok(())
}

/// What a patch says about a list besides its elements.
struct Directives<'a> {
    order: Option<&'a [Value]>,
    delete: &'a [Value],
}

impl<'a> Directives<'a> {
    fn of(patch: &'a Map<String, Value>, field: &str) -> Result<Self, StrategicPatchError> {
        let list = |prefix: &str| match patch.get(&format!("{prefix}{field}")) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list.as_slice())),
            Some(_) => Err(StrategicPatchError::NotAList(format!("{prefix}{field}"))),
        };
        Ok(Self { order: list(ORDER)?, delete: list(DELETE)?.unwrap_or_default() })
    }

    fn longest(&self) -> usize {
        self.order.map_or(0, <[Value]>::len).max(self.delete.len())
    }
}

fn scalars(old: Vec<Value>, new: &[Value], directives: &Directives<'_>) -> Value {
    let mut merged: Vec<Value> = Vec::with_capacity(old.len() + new.len());
    for value in old.iter().filter(|value| !directives.delete.contains(value)).chain(new) {
        if !merged.contains(value) {
            merged.push(value.clone());
        }
    }
    let order: Vec<&Value> = directives.order.map_or_else(|| new.iter().collect(), |order| order.iter().collect());
    Value::Array(ordered(merged, &order, &old, |a, b| a == b))
}

/// `normalizeElementOrder`: what the patch mentions in its order, the rest in the old one; of the two the rest comes
/// first only where it already did.
fn ordered(merged: Vec<Value>, order: &[&Value], old: &[Value], same: impl Fn(&Value, &Value) -> bool) -> Vec<Value> {
    let rank = |value: &Value| order.iter().position(|mentioned| same(mentioned, value));
    let place = |value: &Value| old.iter().position(|present| same(present, value));
    let (mut mentioned, rest): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|value| rank(value).is_some());
    mentioned.sort_by_key(|value| rank(value));
    let (mut mentioned, mut rest) = (mentioned.into_iter().peekable(), rest.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let rest_first = match (rest.peek(), mentioned.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(left), Some(right)) => match (place(left), place(right)) {
                (Some(left), Some(right)) => left < right,
                (None, _) | (_, None) => false,
            },
        };
        out.extend(if rest_first { rest.next() } else { mentioned.next() });
    }
}

/// A value of a patch as it is stored: without directives, and without nulls in maps.
fn cleaned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(items) => Value::Array(items.iter().map(cleaned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn without_directives(fields: &Map<String, Value>) -> Map<String, Value> {
    let kept = fields.iter().filter(|(field, value)| !is_directive(field) && !value.is_null());
    kept.map(|(field, value)| (field.clone(), cleaned(value))).collect()
}

fn is_directive(field: &str) -> bool {
    field == DIRECTIVE || field == RETAIN || field.starts_with(ORDER) || field.starts_with(DELETE)
}

/// Type of what is not declared.
const UNKNOWN: Type = Type::Scalar(Scalar::Any);

/// What is known of a field: its type, or that of its elements if it is a list, and what tells those apart.
#[derive(Clone, Copy)]
struct Entry {
    ty: Type,
    identity: Identity,
}

fn entry(ty: Type, name: &str) -> Entry {
    let declared = match ty.resolve() {
        Resolved::Fields(definition, _) => definition.field(name),
        Resolved::Map(map) => return Entry { ty: map.values, identity: Identity::Atomic },
        Resolved::Scalar(_) | Resolved::List(_) => None,
    };
    let Some(field) = declared else { return Entry { ty: UNKNOWN, identity: Identity::Atomic } };
    let identity = match field.merge_key {
        _ if !field.strategy.split(',').any(|strategy| strategy == "merge") => Identity::Atomic,
        "" => Identity::Scalar,
        key => Identity::Key(key),
    };
    match field.ty {
        Type::List(list) => Entry { ty: list.items, identity },
        Type::Scalar(_) | Type::Object(_) | Type::Map(_) => Entry { ty: field.ty, identity },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{scheme, testing::any_json};

    fn patched(mut target: Value, patch: Value) -> Result<Value, StrategicPatchError> {
        strategic(scheme::by_name("pod").unwrap(), &mut target, &patch).map(|()| target)
    }

    fn containers(names: &[&str]) -> Value {
        json!({"spec": {"containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}})
    }

    #[test]
    fn keyed_lists_are_merged_and_others_replaced() {
        for (target, patch, want) in [
            (json!({"a": 1, "b": 2}), json!({"a": null, "c": {"d": null, "e": 1}}), json!({"b": 2, "c": {"e": 1}})),
            (
                json!({"spec": {"tolerations": [1, 2]}}),
                json!({"spec": {"tolerations": [3]}}),
                json!({"spec": {"tolerations": [3]}}),
            ),
            (containers(&["a"]), containers(&["b"]), containers(&["b", "a"])),
            (containers(&["a", "b"]), containers(&["b"]), containers(&["a", "b"])),
            (
                json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}, {"type": "Other"}]}}),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": null}]}}),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]}}),
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "args": ["p"]}]}}),
                json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}], "args": ["q"]}]}}),
                json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}], "args": ["q"]}]}}),
            ),
            (
                json!({"metadata": {"finalizers": ["a", "b"]}}),
                json!({"metadata": {"finalizers": ["c", "a"]}}),
                json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
            ),
        ] {
            assert_eq!(patched(target, patch.clone()), Ok(want), "{patch}");
        }
    }

    #[test]
    fn the_same_field_merges_as_each_type_says() {
        let merged = |kind: &str, mut target: Value, patch: Value| {
            strategic(scheme::by_name(kind).unwrap(), &mut target, &patch).unwrap();
            target
        };
        let ports = |ports: Value| json!({"spec": {"ports": ports}});
        assert_eq!(
            merged("service", ports(json!([{"port": 80}, {"port": 81}])), ports(json!([{"port": 80, "name": "a"}]))),
            ports(json!([{"port": 80, "name": "a"}, {"port": 81}]))
        );
        let secrets = |name: &str| json!({"imagePullSecrets": [{"name": name}]});
        assert_eq!(merged("serviceaccount", secrets("a"), secrets("b")), secrets("b"));
        let in_pod = |name: &str| json!({"spec": secrets(name)});
        assert_eq!(
            merged("pod", in_pod("a"), in_pod("b"))["spec"]["imagePullSecrets"],
            json!([{"name": "b"}, {"name": "a"}])
        );
    }

    #[test]
    fn directives_delete_replace_order_and_retain() {
        let delete = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
        assert_eq!(patched(containers(&["a", "b"]), delete), Ok(containers(&["b"])));
        let replace = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}});
        assert_eq!(patched(containers(&["a", "b"]), replace), Ok(containers(&["c"])));
        let map = json!({"spec": {"$patch": "replace", "x": 1}});
        assert_eq!(patched(containers(&["a"]), map), Ok(json!({"spec": {"x": 1}})));
        let gone = json!({"spec": {"$patch": "delete"}});
        assert_eq!(patched(containers(&["a"]), gone), Ok(json!({"spec": {}})));
        let order = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}});
        assert_eq!(patched(containers(&["a", "b"]), order), Ok(containers(&["b", "a"])));
        let scalars = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
        let target = json!({"metadata": {"finalizers": ["a", "b"]}});
        assert_eq!(patched(target, scalars), Ok(json!({"metadata": {"finalizers": ["b"]}})));
        let retain = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}]}});
        let target = json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}});
        assert_eq!(patched(target, retain), Ok(json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}})));
    }

    #[test]
    fn malformed_patches_are_refused_and_change_nothing() {
        for patch in [
            json!([]),
            json!({"$patch": "eat"}),
            json!({"spec": {"containers": [{"image": "x"}]}}),
            json!({"spec": {"containers": [1]}}),
            json!({"spec": {"$setElementOrder/containers": 1}}),
            json!({"spec": {"$retainKeys": ["a"], "b": 1}}),
            json!({"metadata": {"finalizers": vec!["x"; MAX_ELEMENTS + 1]}}),
        ] {
            let mut target = containers(&["a"]);
            strategic(scheme::by_name("pod").unwrap(), &mut target, &patch).unwrap_err();
            assert_eq!(target, containers(&["a"]), "{patch}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(mut target in any_json(), patch in any_json()) {
            let before = target.clone();
            if strategic(scheme::by_name("pod").unwrap(), &mut target, &patch).is_err() {
                prop_assert_eq!(target, before);
            }
        }

        #[test]
        fn without_lists_and_directives_it_is_a_merge_patch(target in "[a-c]{0,3}", patch in "[a-c]{0,3}") {
            let object = |text: &str| {
                let fields = text.chars().enumerate().map(|(at, key)| (key.to_string(), json!({"at": at})));
                Value::Object(fields.collect())
            };
            let (target, patch) = (object(&target), object(&patch));
            let mut merged = target.clone();
            crate::patch::merge(&mut merged, &patch);
            prop_assert_eq!(patched(target, patch), Ok(merged));
        }
    }
}
