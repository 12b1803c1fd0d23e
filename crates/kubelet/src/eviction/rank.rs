//! Which pod goes first, and what is said of it (pkg/kubelet/eviction/helpers.go `rankMemoryPressure`,
//! `rankDiskPressureFunc`, `rankPIDPressure`, `evictionMessage`).

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, sync::Arc};

use apimachinery::{
    quantity::Quantity,
    resources::{Amounts, container_requests, has_pod_level, parse, pod_requests},
};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::pressure::{Resource, Starved};

/// Priority from which on a pod is critical (`SystemCriticalPriority`).
const CRITICAL: i32 = 2_000_000_000;

/// What a pod has of the resource that is short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The pod as a whole.
    pub(crate) total: i64,
    /// Its containers by name, as far as they are told apart.
    pub(crate) containers: BTreeMap<String, i64>,
}

/// A pod that could go.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) pod: Arc<Pod>,
    /// `None`: not known.
    pub(crate) usage: Option<Usage>,
}

/// Tells whether a pod is needed by the node more than the node by the pod.
pub(crate) fn is_critical(pod: &Pod) -> bool {
    priority(pod) >= CRITICAL
}

/// Puts those that are to go first in front: of processes, those that matter least; else those of which nothing is
/// known, then those that use more than they asked for, and among them those that matter least; and then the ones that
/// use most.
pub(crate) fn rank(resource: Resource, candidates: &mut [Candidate]) {
    candidates.sort_by_cached_key(|Candidate { pod, usage }| {
        let used = usage.as_ref().map_or(0, |usage| usage.total);
        let requests = pod.spec.as_ref().map(pod_requests).unwrap_or_default();
        // The kubelet takes the request of bytes off the number of files, too.
        let (exceeded, asked) = match resource {
            Resource::Memory => (amount(&requests, "memory"), amount(&requests, "memory")),
            Resource::Storage => (amount(&requests, STORAGE), amount(&requests, STORAGE)),
            Resource::Inodes => (0, amount(&requests, STORAGE)),
            Resource::Pids => (i64::MAX, 0),
        };
        let unknown = usage.is_none() && resource != Resource::Pids;
        (!unknown, used <= exceeded, priority(pod), Reverse(used.saturating_sub(asked)))
    });
}

/// Returns what is said of an evicted pod.
pub(crate) fn message(starved: &Starved, candidate: &Candidate) -> String {
    let resource = starved.signal.resource();
    let name = resource.name();
    let Starved { quantity, available, .. } = starved;
    let mut text =
        format!("The node was low on resource: {name}. Threshold quantity: {quantity}, available: {available}. ");
    let (Some(usage), Some(spec)) = (&candidate.usage, &candidate.pod.spec) else { return text };
    let mut blame = |what: &str, used: i64, request: Quantity| {
        let used = Quantity::from_bytes(used);
        let _ = write!(text, "{what} was using {used}, request is {request}, has larger consumption of {name}. ");
    };
    if let Some(request) = pod_level_request(resource, spec) {
        let pod = candidate.pod.metadata.name.as_deref().unwrap_or_default();
        blame(&format!("Pod {pod}"), usage.total, request);
    }
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let request = container_requests(container).get(name).copied().unwrap_or(Quantity::ZERO);
        if let Some(&used) = usage.containers.get(&container.name)
            && Quantity::from_bytes(used) > request
        {
            blame(&format!("Container {}", container.name), used, request);
        }
    }
    text
}

/// Returns the memory that the pod as a whole asks for, whatever its containers do.
fn pod_level_request(resource: Resource, spec: &PodSpec) -> Option<Quantity> {
    let whole = spec.resources.as_ref().filter(|_| resource == Resource::Memory && has_pod_level(spec))?;
    parse(whole.requests.as_ref()).get(resource.name()).copied()
}

fn amount(requests: &Amounts, name: &str) -> i64 {
    requests.get(name).map_or(0, Quantity::ceil)
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

const STORAGE: &str = "ephemeral-storage";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::options::Signal, *};

    /// A pod that asks for so many Mi of memory and storage, and uses so many (negative: nobody knows).
    fn candidate(name: &str, priority: i32, asks: i64, uses: i64) -> Candidate {
        let amounts = json!({"memory": format!("{asks}Mi"), STORAGE: format!("{asks}Mi")});
        let spec = json!({
            "priority": priority,
            "containers": [{"name": "c", "image": "i", "resources": {"requests": amounts}}]
        });
        with_spec(name, spec, uses)
    }

    fn with_spec(name: &str, spec: Value, uses: i64) -> Candidate {
        let pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        let usage = Usage { total: uses << 20, containers: [("c".to_owned(), uses << 20)].into() };
        Candidate { pod: Arc::new(pod), usage: Some(usage).filter(|_| uses >= 0) }
    }

    fn order(resource: Resource, mut candidates: Vec<Candidate>) -> String {
        rank(resource, &mut candidates);
        let names: Vec<_> = candidates.iter().map(|c| c.pod.metadata.name.as_deref().unwrap()).collect();
        names.join(" ")
    }

    #[test]
    fn s4_56_pods_above_their_requests_go_first_then_by_priority_then_by_the_excess() {
        let pods = || {
            vec![
                candidate("within", -5, 100, 100),
                candidate("little", 0, 100, 110),
                candidate("much", 0, 0, 90),
                candidate("important", 10, 0, 900),
                candidate("unknown", 99, 0, -1),
            ]
        };
        for resource in [Resource::Memory, Resource::Storage] {
            assert_eq!(order(resource, pods()), "unknown much little important within", "{resource:?}");
        }
        assert_eq!(order(Resource::Inodes, pods()), "unknown within much little important", "nobody asks for files");
        assert_eq!(order(Resource::Pids, pods()), "within little much important unknown");
    }

    fn starved(signal: Signal) -> Starved {
        let quantity = |text: &str| text.parse().unwrap();
        Starved { signal, hard: true, quantity: quantity("100Mi"), available: quantity("60Mi") }
    }

    #[test]
    fn s4_56_the_message_names_threshold_and_containers_above_their_request() {
        let low = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 60Mi. ";
        let c = "Container c was using 30Mi, request is 10Mi, has larger consumption of memory. ";
        assert_eq!(message(&starved(Signal::Memory), &candidate("p", 0, 10, 30)), format!("{low}{c}"));
        assert_eq!(message(&starved(Signal::Memory), &candidate("p", 0, 30, 30)), low);
        assert_eq!(message(&starved(Signal::Memory), &candidate("p", 0, 10, -1)), low);
        let whole = json!({
            "resources": {"requests": {"memory": "20Mi"}},
            "containers": [{"name": "main", "image": "i"}],
            "initContainers": [{"name": "c", "image": "i"}]
        });
        let text = "Pod p was using 30Mi, request is 20Mi, has larger consumption of memory. Container c was using 30Mi, \
                    request is 0, has larger consumption of memory. ";
        assert_eq!(message(&starved(Signal::Memory), &with_spec("p", whole.clone(), 30)), format!("{low}{text}"));
        let low = "The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: 60Mi. ";
        let c = "Container c was using 30Mi, request is 0, has larger consumption of ephemeral-storage. ";
        assert_eq!(message(&starved(Signal::ImageFs), &with_spec("p", whole, 30)), format!("{low}{c}"));
    }

    #[test]
    fn s4_56_pods_that_the_node_needs_are_critical() {
        assert!(is_critical(&candidate("p", 2_000_000_000, 0, 0).pod));
        assert!(!is_critical(&candidate("p", 1_999_999_999, 0, 0).pod));
    }
}
