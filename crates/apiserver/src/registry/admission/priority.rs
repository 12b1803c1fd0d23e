//! `Priority`: what a pod's priority class says becomes part of the pod.

use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use serde_json::{Value, json};

use crate::registry::{Place, Registry, meta, strategy};

/// Resolves the priority class of a pod that is being created.
pub(crate) fn create_pod(registry: &Registry, kind: &ResourceType, pod: &mut Value) -> Result<(), ApiError> {
    let Some(classes) = classes() else { return Ok(()) };
    let given = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let class = if given.is_empty() {
        let snapshot = registry.store.snapshot(&strategy::table(classes));
        let defaults = snapshot.range("", "").filter(|class| class.value()["globalDefault"] == true);
        // More than one cannot be made at a time, but older ones may be there: the lowest counts.
        match defaults.min_by_key(|class| class.value()["value"].as_i64()) {
            Some(class) => class.value().clone(),
            None => return Ok(()),
        }
    } else {
        let place = Place { kind: classes, namespace: "", name: &given };
        let Ok(class) = registry.get(place) else {
            let why = format!("no PriorityClass with name {given} was found");
            return Err(ApiError::forbidden(kind, meta::name(pod), &why));
        };
        class.value().clone()
    };
    let computed = class["value"].as_i64().unwrap_or_default();
    // Zero is what a pod without a class has already been given.
    if let Some(own) = pod["spec"]["priority"].as_i64().filter(|own| *own != 0 && *own != computed) {
        let why = format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller \
             computed {computed} from the given PriorityClass name"
        );
        return Err(ApiError::forbidden(kind, meta::name(pod), &why));
    }
    pod["spec"]["priorityClassName"] = json!(meta::name(&class));
    pod["spec"]["priority"] = json!(computed);
    pod["spec"]["preemptionPolicy"] = class["preemptionPolicy"].clone();
    Ok(())
}

/// Refuses a second class for pods that name none.
pub(crate) fn check_class(registry: &Registry, kind: &ResourceType, class: &Value) -> Result<(), ApiError> {
    if class["globalDefault"] != true {
        return Ok(());
    }
    let snapshot = registry.store.snapshot(&strategy::table(kind));
    let other = snapshot
        .range("", "")
        .find(|other| other.value()["globalDefault"] == true && meta::name(other.value()) != meta::name(class));
    match other {
        None => Ok(()),
        Some(other) => {
            let name = meta::name(other.value());
            let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
            Err(ApiError::forbidden(kind, meta::name(class), &why))
        }
    }
}

fn classes() -> Option<&'static ResourceType> {
    scheme::by_plural("scheduling.k8s.io", "v1", "priorityclasses")
}
