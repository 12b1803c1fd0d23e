//! Labels, annotations and texts that name pods and containers, spelled as the kubelet spells them
//! (pkg/kubelet/types/labels.go, kuberuntime/labels.go), so that CRI tools understand them.

use k8s_openapi::api::core::v1::Pod;

/// Label: name of the pod.
pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: namespace of the pod.
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: uid of the pod.
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: name of the container.
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation: hash of name and image (contract S2-25).
pub(crate) const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
/// Annotation: how-manieth instance.
pub(crate) const CONTAINER_RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: path of the termination message inside the container.
pub(crate) const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: where a termination message may come from.
pub(crate) const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: the preStop handler as JSON, for a pod that the API no longer knows (contract S4-53).
pub(crate) const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";

/// Returns the name of a pod, empty when it has none.
pub(crate) fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Returns the namespace of a pod, empty when it has none.
pub(crate) fn pod_namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// Returns the uid of a pod, empty when it has none.
pub(crate) fn pod_uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Returns `name_namespace(uid)`, as event texts name pods (pkg/kubelet/util/format/pod.go).
pub(crate) fn describe_pod(pod: &Pod) -> String {
    format!("{}_{}({})", pod_name(pod), pod_namespace(pod), pod_uid(pod))
}
