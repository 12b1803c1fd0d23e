//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

/// Applies a merge patch: objects are merged, `null` deletes, everything else replaces.
///
/// ```
/// use serde_json::json;
/// let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
/// apimachinery::patch::merge(&mut target, &json!({"a": {"b": null}, "d": [3]}));
/// assert_eq!(target, json!({"a": {"c": 2}, "d": [3]}));
/// ```
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (key, value) in fields {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Object(fields) => fields.values().any(has_null),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
        }
    }

    #[test]
    fn the_examples_of_rfc_7386_hold() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            merge(&mut target, &patch);
            assert_eq!(target, expected);
        }
    }

    proptest! {
        #[test]
        fn applying_twice_is_applying_once(mut target in any_json(), patch in any_json()) {
            merge(&mut target, &patch);
            let once = target.clone();
            merge(&mut target, &patch);
            prop_assert_eq!(target, once);
        }

        #[test]
        fn an_empty_object_changes_no_object(target in any_json()) {
            prop_assume!(target.is_object());
            let mut merged = target.clone();
            merge(&mut merged, &json!({}));
            prop_assert_eq!(merged, target);
        }

        #[test]
        fn a_patch_without_nulls_onto_nothing_is_itself(patch in any_json()) {
            prop_assume!(!has_null(&patch));
            let mut target = Value::Null;
            merge(&mut target, &patch);
            prop_assert_eq!(target, patch);
        }
    }
}
