//! JSON patch (RFC 6902).

use serde_json::Value;

/// Most operations in one patch, as the API server allows.
const MAX_OPERATIONS: usize = 10_000;

/// Why a JSON patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPatchError {
    /// It is not a list of operations.
    #[error("a JSON patch must be a list of operations")]
    NotAList,
    /// It has more operations than allowed.
    #[error("the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
    /// An operation has no or an unknown `op`, or lacks what its `op` needs.
    #[error("operation {index}: {problem}")]
    Malformed {
        /// Position in the patch.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The object has nothing at the path.
    #[error("{op} operation does not apply: doc is missing path: {path:?}")]
    MissingPath {
        /// The operation.
        op: String,
        /// The path.
        path: String,
    },
    /// A `test` did not find the value it asked for.
    #[error("testing value {path} failed")]
    TestFailed {
        /// The path.
        path: String,
    },
}

impl JsonPatchError {
    /// Tells whether the patch itself is wrong (`BadRequest`) rather than not applicable (`Invalid`, 422).
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::NotAList | Self::TooMany(_) | Self::Malformed { .. } => true,
            Self::MissingPath { .. } | Self::TestFailed { .. } => false,
        }
    }
}

/// Applies a JSON patch to a copy; the target stays as it is unless every operation can be done.
///
/// ```
/// use serde_json::json;
/// let mut target = json!({"a": [1, 3]});
/// let patch = json!([
///     {"op": "test", "path": "/a/0", "value": 1},
///     {"op": "add", "path": "/a/1", "value": 2},
///     {"op": "copy", "from": "/a", "path": "/b~1c"},
/// ]);
/// apimachinery::patch::json(&mut target, &patch).unwrap();
/// assert_eq!(target, json!({"a": [1, 2, 3], "b/c": [1, 2, 3]}));
/// ```
///
/// # Errors
/// When the patch is malformed, a path does not exist, or a test fails.
pub fn json(target: &mut Value, patch: &Value) -> Result<(), JsonPatchError> {
    let operations = patch.as_array().ok_or(JsonPatchError::NotAList)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(JsonPatchError::TooMany(operations.len()));
    }
    let mut result = target.clone();
    let mut grown = Growth::default();
    for (index, operation) in operations.iter().enumerate() {
        let operation = Operation::parse(index, operation)?;
        operation.apply(&mut result, &mut grown)?;
    }
    *target = result;
    Ok(())
}

/// Most nodes that `copy` and `move` operations may handle in sum, so that a few of them cannot double an object again
/// and again.
const MAX_COPIED_NODES: usize = 100_000;

/// Deepest nesting that operations may make; `serde_json` reads no deeper than this either. Whoever walks or drops the
/// object needs stack for each level.
const MAX_LEVELS: usize = 128;

#[derive(Default)]
struct Growth(usize);

struct Operation<'a> {
    index: usize,
    op: &'a str,
    path: &'a str,
    from: Option<&'a str>,
    value: Option<&'a Value>,
}

impl<'a> Operation<'a> {
    fn parse(index: usize, value: &'a Value) -> Result<Self, JsonPatchError> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let missing =
            |key: &str| JsonPatchError::Malformed { index, problem: format!("{key} is missing or not a string") };
        let op = text("op").ok_or_else(|| missing("op"))?;
        let path = text("path").ok_or_else(|| missing("path"))?;
        let operation = Self { index, op, path, from: text("from"), value: value.get("value") };
        for pointer in [Some(path), operation.from].into_iter().flatten() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(operation.malformed(format!("path {pointer:?} does not start with '/'")));
            }
        }
        Ok(operation)
    }

    fn apply(&self, target: &mut Value, grown: &mut Growth) -> Result<(), JsonPatchError> {
        match self.op {
            "add" => self.add(target, self.value()?.clone()),
            "remove" => self.remove(target, self.path).map(drop),
            "replace" => {
                let value = self.value()?.clone();
                self.check_levels(&value)?;
                *self.existing(target, self.path)? = value;
                Ok(())
            }
            "move" => self.move_to(target, grown),
            "copy" => {
                let value = self.existing(target, self.from()?)?.clone();
                self.count(&value, grown)?;
                self.add(target, value)
            }
            "test" => {
                let expected = self.value.unwrap_or(&Value::Null);
                let found = target.pointer(self.path).unwrap_or(&Value::Null);
                if found == expected { Ok(()) } else { Err(JsonPatchError::TestFailed { path: self.path.into() }) }
            }
            other => Err(self.malformed(format!("unknown op {other:?}"))),
        }
    }

    fn count(&self, value: &Value, grown: &mut Growth) -> Result<(), JsonPatchError> {
        grown.0 = grown.0.saturating_add(count_nodes(value));
        if grown.0 > MAX_COPIED_NODES { Err(self.malformed("copies too much".into())) } else { Ok(()) }
    }

    fn move_to(&self, target: &mut Value, grown: &mut Growth) -> Result<(), JsonPatchError> {
        let from = self.from()?;
        if self.path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
            return Err(self.malformed("cannot move a value into itself".into()));
        }
        let value = self.remove(target, from)?;
        self.count(&value, grown)?;
        self.add(target, value)
    }

    fn add(&self, target: &mut Value, value: Value) -> Result<(), JsonPatchError> {
        self.check_levels(&value)?;
        let Some((parent, key)) = split(self.path) else {
            *target = value;
            return Ok(());
        };
        match self.existing(target, parent)? {
            Value::Object(fields) => {
                fields.insert(key, value);
                Ok(())
            }
            Value::Array(items) => {
                let at = if key == "-" { Some(items.len()) } else { list_index(&key) };
                let at = at.filter(|at| *at <= items.len()).ok_or_else(|| self.missing(self.path))?;
                items.insert(at, value);
                Ok(())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(self.missing(self.path)),
        }
    }

    fn remove(&self, target: &mut Value, path: &str) -> Result<Value, JsonPatchError> {
        let (parent, key) = split(path).ok_or_else(|| self.malformed("cannot remove the whole object".into()))?;
        let removed = match self.existing(target, parent)? {
            Value::Object(fields) => fields.remove(&key),
            Value::Array(items) => list_index(&key).filter(|at| *at < items.len()).map(|at| items.remove(at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        removed.ok_or_else(|| self.missing(path))
    }

    fn existing<'v>(&self, target: &'v mut Value, path: &str) -> Result<&'v mut Value, JsonPatchError> {
        target.pointer_mut(path).ok_or_else(|| self.missing(path))
    }

    /// Checks how deep the document is once the value is at the path.
    fn check_levels(&self, value: &Value) -> Result<(), JsonPatchError> {
        if self.path.matches('/').count() + count_levels(value) > MAX_LEVELS {
            return Err(self.malformed(format!("the object is nested deeper than {MAX_LEVELS} levels")));
        }
        Ok(())
    }

    fn value(&self) -> Result<&'a Value, JsonPatchError> {
        self.value.ok_or_else(|| self.malformed("value is missing".into()))
    }

    fn from(&self) -> Result<&'a str, JsonPatchError> {
        self.from.ok_or_else(|| self.malformed("from is missing or not a string".into()))
    }

    fn missing(&self, path: &str) -> JsonPatchError {
        JsonPatchError::MissingPath { op: self.op.into(), path: path.into() }
    }

    fn malformed(&self, problem: String) -> JsonPatchError {
        JsonPatchError::Malformed { index: self.index, problem }
    }
}

/// Splits a pointer into that of the parent and the last key, unescaped. The whole document has no parent.
fn split(pointer: &str) -> Option<(&str, String)> {
    let (parent, key) = pointer.rsplit_once('/')?;
    Some((parent, key.replace("~1", "/").replace("~0", "~")))
}

/// Reads a list index: digits without a leading zero.
fn list_index(key: &str) -> Option<usize> {
    if key.starts_with('+') || (key.len() > 1 && key.starts_with('0')) {
        return None;
    }
    key.parse().ok()
}

fn count_levels(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => 1 + items.iter().map(count_levels).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(count_levels).max().unwrap_or(0),
    }
}

fn count_nodes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        Value::Array(items) => 1 + items.iter().map(count_nodes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count_nodes).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    fn apply(target: Value, patch: Value) -> Result<Value, JsonPatchError> {
        let mut target = target;
        json(&mut target, &patch).map(|()| target)
    }

    #[test]
    fn the_examples_of_rfc_6902_hold() {
        let cases = [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"baz": "qux", "foo": "bar"}),
            ),
            (json!({"foo": ["a"]}), json!([{"op": "add", "path": "/foo/-", "value": "b"}]), json!({"foo": ["a", "b"]})),
            (json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/a"}]), json!({"b": 2})),
            (json!({"a": [1, 2, 3]}), json!([{"op": "remove", "path": "/a/1"}]), json!({"a": [1, 3]})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": 2}]), json!({"a": 2})),
            (
                json!({"a": {"b": 1}, "c": {}}),
                json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
                json!({"a": {}, "c": {"d": 1}}),
            ),
            (json!({"a": [1, 2, 3]}), json!([{"op": "move", "from": "/a/0", "path": "/a/2"}]), json!({"a": [2, 3, 1]})),
            (
                json!({"/": 9, "~1": 10}),
                json!([{"op": "test", "path": "/~01", "value": 10}]),
                json!({"/": 9, "~1": 10}),
            ),
            (json!(1), json!([{"op": "replace", "path": "", "value": {}}]), json!({})),
        ];
        for (target, patch, expected) in cases {
            assert_eq!(apply(target, patch).unwrap(), expected);
        }
    }

    #[test]
    fn what_does_not_apply_leaves_the_object_alone() {
        let cases = [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "add", "path": "/a", "value": 5}, {"op": "remove", "path": "/x"}]),
            json!([{"op": "add", "path": "/x/y", "value": 5}]),
            json!([{"op": "add", "path": "/l/9", "value": 5}]),
            json!([{"op": "replace", "path": "/l/01", "value": 5}]),
            json!([{"op": "replace", "path": "/x", "value": 5}]),
            json!([{"op": "jump", "path": "/x"}]),
            json!([{"op": "add", "path": "x", "value": 1}]),
            json!([{"op": "add", "path": "/x"}]),
            json!([{"op": "move", "from": "/l", "path": "/l/0"}]),
            json!({"op": "add"}),
        ];
        for patch in cases {
            let mut target = json!({"a": 1, "l": [1]});
            assert!(json(&mut target, &patch).is_err(), "{patch}");
            assert_eq!(target, json!({"a": 1, "l": [1]}));
        }
    }

    #[test]
    fn nesting_by_move_is_bounded() {
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "a": inner }));
        let path = "/a".repeat(100);
        let mut operations = vec![json!({"op": "add", "path": "/m", "value": deep})];
        for _ in 0..3000 {
            operations.push(json!({"op": "add", "path": "/n", "value": deep}));
            operations.push(json!({"op": "move", "from": "/m", "path": format!("/n{path}/a")}));
            operations.push(json!({"op": "move", "from": "/n", "path": "/m"}));
        }
        let mut target = json!({});
        let error = json(&mut target, &Value::Array(operations)).unwrap_err();
        assert_eq!(error.to_string(), "operation 2: the object is nested deeper than 128 levels");
        assert_eq!(target, json!({}));
    }

    #[test]
    fn doubling_by_copy_is_bounded() {
        let double: Vec<Value> = (0..40).map(|i| json!({"op": "copy", "from": "", "path": format!("/{i}")})).collect();
        assert!(apply(json!({"a": 1}), Value::Array(double)).is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(mut target in any_json(), patch in any_json()) {
            let _ = json(&mut target, &patch);
        }

        #[test]
        fn add_then_remove_is_nothing(target in any_json(), value in any_json()) {
            prop_assume!(target.is_object() && target.get("k").is_none());
            let patch = json!([{"op": "add", "path": "/k", "value": value}, {"op": "remove", "path": "/k"}]);
            prop_assert_eq!(apply(target.clone(), patch).unwrap(), target);
        }
    }
}
