//! `pods/binding`: the scheduler's decision.

use apimachinery::status::ApiError;
use apimachinery::time::seconds;
use serde_json::{Value, json};

use super::{MOST_ROUNDS, Place, Registry, condition, meta, strategy};
use crate::store::{Change, CommitError, Expected};

impl Registry {
    /// Assigns a pod to a node (`assignPod` of the pod registry's `BindingREST`).
    pub(crate) fn bind(&self, place: Place<'_>, binding: &Value, dry_run: bool) -> Result<(), ApiError> {
        let target = &binding["target"];
        let node = target["name"].as_str().unwrap_or_default();
        if node.is_empty() {
            return Err(ApiError::plain(
                422,
                "Invalid",
                format!("Binding \"{}\" is invalid: target.name: Required value", place.name),
            ));
        }
        if !matches!(target["kind"].as_str().unwrap_or_default(), "" | "Node") {
            let given = &target["kind"];
            return Err(ApiError::plain(
                422,
                "Invalid",
                format!(
                    "Binding \"{}\" is invalid: target.kind: Unsupported value: {given}: supported values: \
                     \"Node\", \"<empty>\"",
                    place.name
                ),
            ));
        }
        for _ in 0..MOST_ROUNDS {
            let old = self.get(place)?;
            check_bindable(place, old.value(), binding)?;
            let bound = bound(old.value(), node, binding, &seconds(self.now()));
            if dry_run {
                return Ok(());
            }
            let expected = Expected::Revision(old.revision());
            match self.store.commit(&strategy::table(place.kind), old.key(), expected, Change::Put(bound)) {
                Ok(_) => return Ok(()),
                Err(CommitError::Changed | CommitError::Exists) => {}
                Err(CommitError::Missing) => return Err(place.not_found()),
            }
        }
        Err(place.modified())
    }
}

fn check_bindable(place: Place<'_>, pod: &Value, binding: &Value) -> Result<(), ApiError> {
    let refused = |why: String| Err(place.conflict_as("pods/binding", &why));
    let (uid, wanted) = (meta::uid(pod), meta::uid(binding));
    if !wanted.is_empty() && wanted != uid {
        return refused(format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"));
    }
    if meta::is_deleting(pod) {
        return refused(format!("pod {} is being deleted, cannot be assigned to a host", place.name));
    }
    match pod["spec"]["nodeName"].as_str() {
        Some(node) if !node.is_empty() => {
            return refused(format!("pod {} is already assigned to node \"{node}\"", place.name));
        }
        Some(_) | None => {}
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return refused(format!("pod {} has non-empty .spec.schedulingGates", place.name));
    }
    Ok(())
}

fn bound(pod: &Value, node: &str, binding: &Value, now: &str) -> Value {
    let mut bound = pod.clone();
    bound["spec"]["nodeName"] = json!(node);
    if let Some(annotations) = meta::field(binding, "annotations").as_object() {
        let mut merged = meta::field(pod, "annotations").as_object().cloned().unwrap_or_default();
        merged.extend(annotations.clone());
        meta::set(&mut bound, "annotations", Value::Object(merged));
    }
    set_condition(&mut bound, json!({"type": "PodScheduled", "status": "True"}), now);
    bound
}

/// `podutil.UpdatePodCondition`: the time of transition changes with the status only.
pub(crate) fn set_condition(pod: &mut Value, mut condition: Value, now: &str) {
    if let Some(generation) = meta::field(pod, "generation").as_i64().filter(|generation| *generation > 0) {
        condition["observedGeneration"] = json!(generation);
    }
    condition["lastProbeTime"] = Value::Null;
    condition::set(pod, condition, now);
}
