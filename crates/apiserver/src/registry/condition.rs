//! Conditions in the status of JSON objects.

use serde_json::{Value, json};

/// Sets the condition of its type; the time of its last transition stays as long as it says the same.
pub(crate) fn set(object: &mut Value, mut condition: Value, now: &str) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    condition["lastTransitionTime"] = json!(now);
    let conditions = &mut object["status"]["conditions"];
    let Some(list) = conditions.as_array_mut() else {
        *conditions = json!([condition]);
        return;
    };
    match list.iter_mut().find(|present| present["type"] == condition["type"]) {
        Some(present) => {
            if present["status"] == condition["status"] {
                condition["lastTransitionTime"] = present["lastTransitionTime"].clone();
            }
            *present = condition;
        }
        None => list.push(condition),
    }
}
