//! What may change through the `resize` subresource (S8-07, S8-08; `ValidatePodResize`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{pod, update::comparable};
use crate::{
    field::{FieldErrors, Path},
    pod::init_containers,
    resources::{COMPUTE, has_pod_level, qos_class},
};

/// Checks a pod with other resources: amounts of processor and memory may change, none may go, nothing else may
/// change, and the class of service stays.
pub(super) fn resize(errors: &mut FieldErrors, old: &Pod, new: &Pod) {
    pod::whole(errors, new);
    let (Some(before), Some(after)) = (&old.spec, &new.spec) else { return };
    if let Some(why) = never(old, before) {
        return errors.forbidden(&Path::default(), why);
    }
    let path = Path::new("spec");
    if qos_class(before) != qos_class(after) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&path, qos_class(after).as_str(), why);
    }
    if !is_supported(old) {
        errors.forbidden(&path, "Pod running on node without support for resize");
    }
    if has_pod_level(before) || has_pod_level(after) {
        of_pod(errors, &path, before.resources.as_ref(), after.resources.as_ref());
    }
    let lists = [
        ("initContainers", init_containers(before), init_containers(after)),
        ("containers", before.containers.as_slice(), after.containers.as_slice()),
    ];
    let known = errors.len();
    lists.iter().for_each(|(list, old, new)| same_order(errors, &path.child(list), list, old, new));
    if errors.len() > known {
        return; // Nothing can be compared with anything then.
    }
    for (list, old, new) in lists {
        for (index, (old, new)) in old.iter().zip(new).enumerate() {
            let path = path.child(list).index(index).child("resources");
            kept(errors, &path, "resource", old.resources.as_ref(), new.resources.as_ref());
        }
    }
    for (old, new) in before.containers.iter().zip(&after.containers) {
        if differ_otherwise(old, new) {
            errors.forbidden(&path, ONLY_COMPUTE);
        }
    }
    for (index, (old, new)) in init_containers(before).iter().zip(init_containers(after)).enumerate() {
        if differ_otherwise(old, new) {
            let why = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.forbidden(&path.child("initContainers").index(index), why);
        }
    }
    if errors.is_empty() && comparable(&without_containers(before)) != comparable(&without_containers(after)) {
        errors.forbidden(&path, ONLY_COMPUTE);
    }
}

/// Returns why a pod can never be resized.
fn never(pod: &Pod, spec: &PodSpec) -> Option<&'static str> {
    let is_static = pod.metadata.annotations.iter().flatten().any(|(key, _)| key == "kubernetes.io/config.mirror");
    if is_static {
        return Some("static pods cannot be resized");
    }
    let is_windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    is_windows.then_some("windows pods cannot be resized")
}

/// Tells whether the node of a pod knows of resizes: it then says what running containers have.
fn is_supported(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let running = statuses.iter().find(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.is_none_or(|status| status.resources.is_some())
}

fn same_order(errors: &mut FieldErrors, path: &Path, list: &str, old: &[Container], new: &[Container]) {
    if old.len() != new.len() {
        return errors.forbidden(path, format!("{list} may not be added or removed on resize"));
    }
    for (index, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old.name != new.name) {
        let why = format!("{list} may not be renamed or reordered on resize");
        errors.forbidden(&path.index(index).child("name"), why);
    }
}

/// Checks the resources of the pod as a whole.
fn of_pod(
    errors: &mut FieldErrors,
    path: &Path,
    old: Option<&ResourceRequirements>,
    new: Option<&ResourceRequirements>,
) {
    let at = path.child("resources");
    if old.is_some() && new.is_none() {
        return errors.forbidden(&at, "pod-level resources cannot be removed");
    }
    kept(errors, &at, "pod-level resource", old, new);
    if others(old) != others(new) {
        errors.forbidden(path, "only cpu and memory resources are mutable at pod-level");
    }
}

/// Checks that no amount is taken away.
fn kept(
    errors: &mut FieldErrors,
    path: &Path,
    what: &str,
    old: Option<&ResourceRequirements>,
    new: Option<&ResourceRequirements>,
) {
    let requests = |r: Option<&ResourceRequirements>| r.and_then(|r| r.requests.clone()).unwrap_or_default();
    let limits = |r: Option<&ResourceRequirements>| r.and_then(|r| r.limits.clone()).unwrap_or_default();
    for (list, old, new) in [("requests", requests(old), requests(new)), ("limits", limits(old), limits(new))] {
        if old.keys().any(|name| !new.contains_key(name)) {
            errors.forbidden(&path.child(list), format!("{what} {list} cannot be removed"));
        }
    }
}

/// Tells whether two containers differ in more than processor and memory.
fn differ_otherwise(old: &Container, new: &Container) -> bool {
    let bare = |container: &Container| comparable(&Container { resources: None, ..container.clone() });
    others(old.resources.as_ref()) != others(new.resources.as_ref()) || bare(old) != bare(new)
}

/// Returns what resources say of other things than processor and memory.
fn others(resources: Option<&ResourceRequirements>) -> impl PartialEq {
    let resources = resources.cloned().unwrap_or_default();
    let rest = |list: Option<BTreeMap<String, Quantity>>| {
        let mut list = list.unwrap_or_default();
        list.retain(|name, _| !COMPUTE.contains(&name.as_str()));
        list
    };
    (rest(resources.requests), rest(resources.limits), resources.claims.unwrap_or_default())
}

fn without_containers(spec: &PodSpec) -> PodSpec {
    PodSpec { containers: Vec::new(), init_containers: None, resources: None, ..spec.clone() }
}

const ONLY_COMPUTE: &str = "only cpu and memory resources are mutable";
