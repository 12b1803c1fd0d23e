//! Questions about pods that several controllers ask.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use crate::meta;

/// The pod's phase, `Pending` as long as nobody has said anything.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether the pod has reached a phase that it cannot leave.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither finished nor told to stop.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !meta::is_deleting(&pod.metadata)
}

/// Told to stop and not finished.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    !is_terminal(pod) && meta::is_deleting(&pod.metadata)
}

/// The node that the pod is bound to.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// The pod's condition of that type.
pub(crate) fn condition<'a>(pod: &'a Pod, condition_type: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == condition_type)
}

/// Whether the pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// All container statuses: init entries with the sidecars, then the mains.
pub(crate) fn all_containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let inits = status.and_then(|s| s.init_container_statuses.as_ref());
    let mains = status.and_then(|s| s.container_statuses.as_ref());
    inits.into_iter().flatten().chain(mains.into_iter().flatten())
}
