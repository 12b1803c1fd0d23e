//! What pods are granted of the node (pkg/kubelet/allocation/allocation_manager.go).
//!
//! A pod is granted what it asks for when it comes. From then on a change of its resources counts only once it has
//! been granted as a whole; until then the pod goes on with what it has. There is no record of ours: the status
//! of a pod says what its containers have.

use std::collections::BTreeMap;

use apimachinery::resources::pod_requests;
use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use pod_lifecycle::PendingResize;

use crate::admission;

/// Returns the pod as asked for, but with the resources that were granted.
pub(crate) fn with_grant(wanted: &Pod, granted: &Pod) -> Pod {
    let mut pod = wanted.clone();
    let (Some(spec), Some(old)) = (&mut pod.spec, &granted.spec) else { return pod };
    spec.resources.clone_from(&old.resources);
    let all = |inits: &Option<Vec<Container>>, mains: &[Container]| -> BTreeMap<String, Option<ResourceRequirements>> {
        let each = inits.iter().flatten().chain(mains);
        each.map(|container| (container.name.clone(), container.resources.clone())).collect()
    };
    let known = all(&old.init_containers, &old.containers);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        if let Some(resources) = known.get(&container.name) {
            container.resources.clone_from(resources);
        }
    }
    pod
}

/// Returns a pod that an earlier agent ran with the resources that its containers have.
pub(crate) fn from_status(pod: &Pod) -> Pod {
    let mut known = pod.clone();
    let (Some(spec), Some(status)) = (&mut known.spec, &pod.status) else { return known };
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let has = lists.into_iter().flatten().flatten().filter_map(|c| Some((c.name.as_str(), c.resources.as_ref()?)));
    let has: BTreeMap<_, _> = has.collect();
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        if let Some(has) = has.get(container.name.as_str()) {
            let asked = container.resources.clone().unwrap_or_default();
            if (&asked.requests, &asked.limits) != (&has.requests, &has.limits) {
                let (requests, limits) = (has.requests.clone(), has.limits.clone());
                container.resources = Some(ResourceRequirements { requests, limits, ..asked });
            }
        }
    }
    known
}

/// Decides whether a pod that runs gets other resources, beside those that are here (contract S8-06, S8-08).
///
/// # Errors
/// Why not, or not now.
pub(crate) fn judge(
    wanted: &Pod,
    others: &[&Pod],
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<(), PendingResize> {
    let Some(spec) = &wanted.spec else { return Ok(()) };
    let requests = pod_requests(spec);
    for name in ["memory", "cpu"] {
        let (requested, capacity) = (admission::asked(&requests, name), admission::offered(allocatable, name));
        if requested > capacity {
            let what = format!("{name}, requested: {requested}, capacity: {capacity}");
            return Err(PendingResize::new(true, format!("Node didn't have enough capacity: {what}"), wanted));
        }
    }
    let there: Vec<_> = others.iter().filter_map(|pod| pod.spec.as_ref()).collect();
    let fits = admission::fits_resources(spec, &there, allocatable);
    fits.map_err(|rejection| PendingResize::new(false, rejection.message, wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(cpu: &str) -> Pod {
        let c = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}});
        serde_json::from_value(json!({"metadata": {"name": "p", "generation": 3}, "spec": {"containers": [c]}}))
            .expect("a pod")
    }

    fn resources(pod: &Pod) -> Value {
        json!(pod.spec.as_ref().expect("spec").containers[0].resources)
    }

    #[test]
    fn s8_06_s8_08_a_resize_beyond_the_node_is_infeasible_and_one_without_room_is_deferred() {
        let allocatable = [("cpu", "4"), ("memory", "1Gi"), ("pods", "10")];
        let allocatable = allocatable.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into();
        let other = pod("2");
        assert_eq!(judge(&pod("2"), &[&other], &allocatable), Ok(()));
        let later = judge(&pod("3"), &[&other], &allocatable).expect_err("no room");
        let text = "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000";
        assert_eq!((later.reason(), later.message.as_str(), later.generation), ("Deferred", text, 3));
        let never = judge(&pod("5"), &[], &allocatable).expect_err("no such node");
        let text = "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000";
        assert_eq!((never.reason(), never.message.as_str()), ("Infeasible", text));
        assert!(never.summary.ends_with(&format!("\"error\":{}}}", json!(text))), "{}", never.summary);
    }

    #[test]
    fn s8_06_a_pod_keeps_what_it_was_granted_and_an_agent_that_comes_back_reads_it_from_the_status() {
        assert_eq!(resources(&with_grant(&pod("3"), &pod("1"))), json!({"requests": {"cpu": "1"}}));
        let mut told = pod("3");
        told.status = serde_json::from_value(json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "",
            "ready": true, "restartCount": 0, "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]}))
        .expect("a status");
        assert_eq!(resources(&from_status(&told)), json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}));
    }
}
