//! Which pods go first when there are too many (controller_utils.go: `ActivePodsWithRanks`).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{meta, pod};

/// Annotation by which users say how costly the end of a pod is: a number, 0 if there is none.
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Picks the `count` pods that are to go.
pub(crate) fn victims(mut pods: Vec<Arc<Pod>>, related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    if count < pods.len() {
        let crowd = crowd(related);
        pods.sort_by_cached_key(|pod| rank(pod, &crowd, now));
        pods.truncate(count);
    }
    pods
}

/// Active pods by node.
fn crowd(related: &[Arc<Pod>]) -> BTreeMap<&str, usize> {
    let mut crowd = BTreeMap::new();
    for pod in related.iter().filter(|pod| pod::is_active(pod)) {
        *crowd.entry(pod::node(pod).unwrap_or_default()).or_default() += 1;
    }
    crowd
}

/// Orders pods by how little is lost with them, least first.
///
/// Among pods of about the same age the uid decides, which is as good as a die: so of a rollout's
/// pods, all born within seconds, not always the same nodes lose theirs.
fn rank(pod: &Pod, crowd: &BTreeMap<&str, usize>, now: Timestamp) -> impl Ord + use<> {
    let node = pod::node(pod);
    let phase = match pod::phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let ready = pod::is_ready(pod);
    let ready_since = pod::condition(pod, "Ready").and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    let restarts = pod::all_containers(pod).map(|c| c.restart_count).max().unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    (
        (node.is_some(), phase, ready, deletion_cost(pod)),
        Reverse(crowd.get(node.unwrap_or_default()).copied().unwrap_or(0)),
        ready_since.filter(|_| ready).map(|since| magnitude(since, now)),
        Reverse(restarts),
        created.map(|at| magnitude(at, now)),
        meta::uid(&pod.metadata).to_owned(),
    )
}

/// Invalid costs count as none; validation refuses them.
fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod.metadata.annotations.as_ref().and_then(|all| all.get(POD_DELETION_COST));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// How long ago, as the number of binary digits of the seconds.
fn magnitude(at: Timestamp, now: Timestamp) -> u32 {
    let seconds = now.duration_since(at).as_secs().max(0);
    i64::BITS - seconds.leading_zeros()
}
