//! What is special about writing pods.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Map, Value};

use super::{Subresource, carry};
use crate::resources::qos_class;

/// Fills in what admission fills in on create: service account and priority.
pub(super) fn admit(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    if spec.service_account_name.as_deref().unwrap_or_default().is_empty() {
        spec.service_account_name = Some("default".into());
        spec.service_account = Some("default".into());
    }
    spec.priority.get_or_insert(0);
    spec.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".into());
}

pub(super) fn reset_status(pod: &mut Pod) {
    let qos_class = pod.spec.as_ref().map(|spec| qos_class(spec).as_str().to_owned());
    pod.status = Some(PodStatus { phase: Some("Pending".into()), qos_class, ..PodStatus::default() });
}

/// Keeps what admission filled in on create and clients usually leave out when they replace a pod.
pub(super) fn keep_admitted(object: &Value, new: &mut Pod) {
    let old = &object["spec"];
    let text = |key: &str| old[key].as_str().map(str::to_owned);
    let spec = new.spec.get_or_insert_default();
    if spec.priority.is_none() {
        spec.priority = old["priority"].as_i64().and_then(|n| i32::try_from(n).ok());
    }
    if spec.preemption_policy.is_none() {
        spec.preemption_policy = text("preemptionPolicy");
    }
    if spec.service_account_name.is_none() {
        spec.service_account_name = text("serviceAccountName");
        spec.service_account = text("serviceAccount");
    }
    // The class of a pod never changes, whoever writes its status.
    if let (Some(status), Some(class)) = (&mut new.status, object["status"]["qosClass"].as_str()) {
        status.qos_class = Some(class.to_owned());
    }
}

/// Takes over everything but the part that the subresource is about.
pub(super) fn keep_other_parts(old: &Value, new: &mut Map<String, Value>, subresource: Subresource) {
    let mut spec = old.get("spec").cloned().unwrap_or(Value::Null);
    let wanted = new.get("spec").cloned().unwrap_or(Value::Null);
    match subresource {
        Subresource::EphemeralContainers => {
            if let Some(spec) = spec.as_object_mut() {
                carry(wanted.as_object(), spec, "ephemeralContainers");
            }
        }
        Subresource::Resize => {
            if let Some(spec) = spec.as_object_mut() {
                for list in ["containers", "initContainers"] {
                    match resize(spec.get(list), wanted.get(list)) {
                        Some(resized) => spec.insert(list.into(), resized),
                        None => spec.remove(list),
                    };
                }
                carry(wanted.as_object(), spec, "resources");
            }
        }
        Subresource::None | Subresource::Status => return,
    }
    new.insert("spec".into(), spec);
    carry(old.as_object(), new, "status");
    carry(old.as_object(), new, "metadata");
}

/// Takes resources and resize policies of containers with the same name. Their order and number are as wanted, so that
/// validation can refuse what is wrong with them.
fn resize(known: Option<&Value>, wanted: Option<&Value>) -> Option<Value> {
    let known = known.and_then(Value::as_array);
    let resized = wanted?.as_array()?.iter().map(|wanted| {
        let mut container = known.into_iter().flatten().find(|known| known["name"] == wanted["name"]).cloned();
        if let Some(container) = container.as_mut().and_then(Value::as_object_mut) {
            carry(wanted.as_object(), container, "resources");
            carry(wanted.as_object(), container, "resizePolicy");
        }
        container.unwrap_or_else(|| wanted.clone())
    });
    Some(resized.collect())
}
