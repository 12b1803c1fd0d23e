//! What pods are granted of the node (pkg/kubelet/allocation/allocation_manager.go).
//!
//! A pod is granted what it asks for when it comes. From then on a change of its resources counts only once it has
//! been granted as a whole; until then the pod goes on with what it has. There is no record of ours: the status
//! of a pod says what its containers have.

use std::{cmp::Reverse, collections::BTreeMap};

use apimachinery::resources::{COMPUTE, QosClass, pod_requests, qos_class};
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, ResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use pod_lifecycle::{PendingResize, RESIZE_PENDING};

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
    if let (Some(asked), Some(has)) = (&mut spec.resources, &status.resources) {
        (asked.requests, asked.limits) = (has.requests.clone(), has.limits.clone());
    }
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

/// Place of a resize among those that wait for room; the least goes first (`sortPendingResizes`): what needs no more
/// than there is, then the pods that matter more, then those with guarantees, then what has waited longest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    needs_more: bool,
    priority: Reverse<i32>,
    without_guarantee: bool,
    /// Nothing comes after every time.
    since: (bool, Option<Time>),
}

impl Turn {
    /// Returns the place of a pod that has been granted something else than what it wants.
    pub(crate) fn of(wanted: &Pod, granted: &Pod) -> Self {
        let empty = PodSpec::default();
        let (new, old) = (wanted.spec.as_ref().unwrap_or(&empty), granted.spec.as_ref().unwrap_or(&empty));
        let (more, less) = (pod_requests(new), pod_requests(old));
        let needs_more = COMPUTE.iter().any(|name| admission::asked(&more, name) > admission::asked(&less, name));
        let conditions = wanted.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let pending = conditions.into_iter().find(|condition| condition.type_ == RESIZE_PENDING);
        Self {
            needs_more,
            priority: Reverse(new.priority.unwrap_or_default()),
            without_guarantee: qos_class(new) != QosClass::Guaranteed,
            since: (pending.is_none(), pending.and_then(|condition| condition.last_transition_time.clone())),
        }
    }
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
    for name in COMPUTE.into_iter().rev() {
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
        let of_pod = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let mut whole: Pod = serde_json::from_value(json!({"spec": {"containers": [], "resources": of_pod("4")},
            "status": {"resources": of_pod("3")}}))
        .expect("a pod");
        let has = |pod: &Pod| json!(pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()));
        assert_eq!(has(&from_status(&whole)), of_pod("3"));
        whole.status = None;
        assert_eq!(has(&from_status(&whole)), of_pod("4"), "one that never ran gets what it asks for");
    }

    #[test]
    fn s8_06_what_waits_for_room_is_tried_again_in_its_turn() {
        let waiting = |name: &str, cpu: &str, more: Value| {
            let mut pod = pod(cpu);
            pod.metadata.name = Some(name.to_owned());
            let spec = pod.spec.as_mut().expect("spec");
            spec.priority = more["priority"].as_i64().map(|n| i32::try_from(n).expect("small"));
            if more["guaranteed"] == true {
                let amounts = json!({"cpu": cpu, "memory": "1Mi"});
                let resources = json!({"requests": amounts, "limits": amounts});
                spec.containers[0].resources = serde_json::from_value(resources).expect("resources");
            }
            if let Some(since) = more["since"].as_str() {
                let condition = json!({"type": "PodResizePending", "status": "True", "lastTransitionTime": since});
                pod.status = serde_json::from_value(json!({"conditions": [condition]})).expect("a status");
            }
            pod
        };
        let late = "2026-01-01T00:02:00Z";
        let mut pods = [
            waiting("new", "3", json!({})),
            waiting("late", "3", json!({"since": late})),
            waiting("early", "3", json!({"since": "2026-01-01T00:01:00Z"})),
            waiting("guaranteed", "3", json!({"since": late, "guaranteed": true})),
            waiting("important", "3", json!({"since": late, "priority": 10})),
            waiting("smaller", "1", json!({"since": late})),
        ];
        pods.sort_by_key(|wanted| Turn::of(wanted, &pod("2")));
        let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(names, ["smaller", "important", "guaranteed", "early", "late", "new"]);
    }
}
