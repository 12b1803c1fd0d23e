//! What may change in a pod that exists (S1-15, S1-23).

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};
use serde::Serialize;
use serde_json::Value;

use super::{in_range, pod, text};
use crate::{
    field::{FieldErrors, Path},
    pod::init_containers,
};

/// Checks a changed pod.
pub(super) fn pod(errors: &mut FieldErrors, old: &Pod, new: &Pod) {
    pod::whole(errors, new);
    let empty = PodSpec::default();
    let (old, new) = (old.spec.as_ref().unwrap_or(&empty), new.spec.as_ref().unwrap_or(&empty));
    let path = Path::new("spec");
    let counts = [
        ("containers", old.containers.len(), new.containers.len()),
        ("initContainers", init_containers(old).len(), init_containers(new).len()),
    ];
    for (list, before, after) in counts {
        if before != after {
            // Nothing can be compared with anything then.
            errors.forbidden(&path.child(list), "pod updates may not add or remove containers");
            return;
        }
    }
    active_deadline(errors, &path.child("activeDeadlineSeconds"), old, new);
    added_tolerations(errors, &path.child("tolerations"), old, new);
    removed_gates(errors, &path.child("schedulingGates"), old, new);
    rest(errors, &path, old, new);
}

/// The time may be given late and then only shortened.
fn active_deadline(errors: &mut FieldErrors, path: &Path, old: &PodSpec, new: &PodSpec) {
    match (old.active_deadline_seconds, new.active_deadline_seconds) {
        (before, Some(after)) => {
            in_range(errors, path, after, 0, i32::MAX.into());
            if before.is_some_and(|before| before < after) {
                errors.invalid(path, after, "must be less than or equal to previous value");
            }
        }
        (Some(_), None) => errors.invalid(path, "null", "must not update from a positive integer to nil value"),
        (None, None) => {}
    }
}

fn added_tolerations(errors: &mut FieldErrors, path: &Path, old: &PodSpec, new: &PodSpec) {
    let after = new.tolerations.as_deref().unwrap_or_default();
    let kept = |before: &Toleration| {
        after.iter().any(|t| Toleration { toleration_seconds: before.toleration_seconds, ..t.clone() } == *before)
    };
    if !old.tolerations.iter().flatten().all(kept) {
        errors.forbidden(path, "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn removed_gates(errors: &mut FieldErrors, path: &Path, old: &PodSpec, new: &PodSpec) {
    let before = old.scheduling_gates.as_deref().unwrap_or_default();
    for (index, gate) in new.scheduling_gates.iter().flatten().enumerate() {
        if !before.iter().any(|old| old.name == gate.name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.forbidden(&path.index(index).child("name"), why);
        }
    }
}

/// Checks that everything else is as it was.
fn rest(errors: &mut FieldErrors, path: &Path, old: &PodSpec, new: &PodSpec) {
    let mut munged = new.clone();
    keep_images(&mut munged.containers, &old.containers);
    if let (Some(new), Some(old)) = (&mut munged.init_containers, &old.init_containers) {
        keep_images(new, old);
    }
    munged.active_deadline_seconds = old.active_deadline_seconds;
    munged.tolerations.clone_from(&old.tolerations);
    munged.scheduling_gates.clone_from(&old.scheduling_gates);
    let (before, after) = (old.termination_grace_period_seconds, munged.termination_grace_period_seconds);
    if before.is_some_and(|before| before < 0) && after == Some(1) {
        munged.termination_grace_period_seconds = before;
    }
    // An empty list and none are the same.
    let (before, after) = (comparable(old), comparable(&munged));
    if before != after {
        errors.forbidden(path, format!("{ONLY_THESE}\n{}", difference("", &before, &after)));
    }
}

fn keep_images(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        if !text(&new.image).is_empty() {
            new.image.clone_from(&old.image);
        }
    }
}

/// Returns the form in which things are compared: what is empty is not there.
pub(super) fn comparable<T: Serialize>(object: &T) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    drop_empty(&mut value);
    value
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(drop_empty);
            fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        }
        Value::Array(list) => list.iter_mut().for_each(drop_empty),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Lists the fields that differ, one line for what was and one for what is.
fn difference(path: &str, old: &Value, new: &Value) -> String {
    if old == new {
        return String::new();
    }
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            let keys = before.keys().chain(added);
            keys.map(|key| {
                let side = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or_default();
                difference(&join(key), &side(before), &side(after))
            })
            .collect()
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            let pairs = before.iter().zip(after).enumerate();
            pairs.map(|(index, (old, new))| difference(&format!("{path}[{index}]"), old, new)).collect()
        }
        _ => format!("  - {path}: {old}\n  + {path}: {new}\n"),
    }
}

const ONLY_THESE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
    additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
    previously negative)";

/// Checks that ephemeral containers were only added (S1-28).
pub(super) fn ephemeral_containers(errors: &mut FieldErrors, old: &Pod, new: &Pod) {
    pod::whole(errors, new);
    let path = Path::new("spec").child("ephemeralContainers");
    let list = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.clone()).unwrap_or_default();
    let after = list(new);
    for before in list(old) {
        match after.iter().position(|container| container.name == before.name) {
            None => {
                let why = format!("existing ephemeral containers {:?} may not be removed\n", before.name);
                errors.forbidden(&path, why);
            }
            Some(index) if after.get(index) != Some(&before) => {
                let why = format!("existing ephemeral containers {:?} may not be changed\n", before.name);
                errors.forbidden(&path, why);
            }
            Some(_) => {}
        }
    }
}
