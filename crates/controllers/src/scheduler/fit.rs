//! Whether a pod fits a node, and which node it gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::quantity::Quantity;
use apimachinery::taint::tolerates;
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use crate::meta;
use crate::scheduler::{Ledger, requests};

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// It goes to this node.
    Bind(String),
    /// No node is ready.
    NoReadyNode,
    /// No node takes it, for the reasons in the message.
    Refused(String),
}

/// What the scheduler of Kubernetes says without nodes.
pub(crate) const NO_NODES: &str = "no nodes available to schedule pods";

/// Finds the first node, in the given order, that takes the pod.
#[must_use]
pub fn place(pod: &Pod, nodes: &[Arc<Node>], ledger: &Ledger) -> Placement {
    if !nodes.iter().any(|node| is_ready(node)) {
        return Placement::NoReadyNode;
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut preemptible = false;
    for node in nodes {
        match obstacles(pod, node, ledger) {
            Obstacles::None => return Placement::Bind(meta::name(&node.metadata).to_owned()),
            Obstacles::Lasting(reason) => *reasons.entry(reason.to_owned()).or_default() += 1,
            Obstacles::Full(full) => {
                preemptible = true;
                full.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1);
            }
        }
    }
    Placement::Refused(message(nodes.len(), &reasons, preemptible))
}

/// The text of kube-scheduler for a cluster of `count` nodes that all refuse.
fn message(count: usize, reasons: &BTreeMap<String, usize>, preemptible: bool) -> String {
    let listed: Vec<String> = reasons.iter().map(|(reason, nodes)| format!("{nodes} {reason}")).collect();
    let preemption = if preemptible {
        "No preemption victims found for incoming pod"
    } else {
        "Preemption is not helpful for scheduling"
    };
    format!(
        "0/{count} nodes are available: {}. no new claims to deallocate, preemption: 0/{count} nodes are available: \
         {count} {preemption}.",
        listed.join(", ")
    )
}

enum Obstacles {
    None,
    /// Nothing that other pods could change.
    Lasting(&'static str),
    /// Other pods have taken what it needs.
    Full(Vec<String>),
}

fn obstacles(pod: &Pod, node: &Node, ledger: &Ledger) -> Obstacles {
    let spec = pod.spec.as_ref();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        return Obstacles::Lasting("node(s) were unschedulable");
    }
    if !is_ready(node) || spec.is_some_and(|spec| !tolerates_all(spec, node)) {
        return Obstacles::Lasting("node(s) had untolerated taint(s)");
    }
    if spec.is_some_and(|spec| !selects(spec, node)) {
        return Obstacles::Lasting("node(s) didn't match Pod's node affinity/selector");
    }
    let full = missing_resources(pod, node, ledger);
    if full.is_empty() { Obstacles::None } else { Obstacles::Full(full) }
}

pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

// ---- Taints -----------------------------------------------------------------------------------

fn tolerates_all(spec: &PodSpec, node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let hard = taints.iter().filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    hard.into_iter().all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

// ---- Selector and affinity --------------------------------------------------------------------

fn selects(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let get = |key: &str| labels.and_then(|labels| labels.get(key));
    let by_label = spec.node_selector.iter().flatten().all(|(key, value)| get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    by_label && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// A term without requirements matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let by_label = |key: &str| labels.and_then(|labels| labels.get(key)).cloned();
    let by_field = |key: &str| (key == "metadata.name").then(|| meta::name(&node.metadata).to_owned());
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let fulfilled = expressions.iter().all(|r| requirement_matches(r, by_label(&r.key)))
        && fields.iter().all(|r| requirement_matches(r, by_field(&r.key)));
    fulfilled && !(expressions.is_empty() && fields.is_empty())
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.as_ref().is_some_and(|value| values.contains(value));
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    let numbers = number(value.as_ref()).zip(number(values.first()));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers.is_some_and(|(is, than)| is > than),
        "Lt" => numbers.is_some_and(|(is, than)| is < than),
        _ => false,
    }
}

// ---- Resources --------------------------------------------------------------------------------

fn missing_resources(pod: &Pod, node: &Node, ledger: &Ledger) -> Vec<String> {
    let name = meta::name(&node.metadata);
    let mut missing = Vec::new();
    if allocatable(node, "pods").is_some_and(|most| ledger.pods_on(name) >= most.ceil()) {
        missing.push("Too many pods".to_owned());
    }
    for (resource, wanted) in requests(pod).into_iter().filter(|(_, wanted)| !wanted.is_zero()) {
        let Some(has) = allocatable(node, &resource) else { continue };
        if ledger.taken_of(name, &resource) + wanted > has {
            missing.push(format!("Insufficient {resource}"));
        }
    }
    missing
}

/// What the node has of a resource: nothing of what it does not list, anything if it lists nothing.
fn allocatable(node: &Node, resource: &str) -> Option<Quantity> {
    let amounts = node.status.as_ref()?.allocatable.as_ref()?;
    Some(amounts.get(resource).and_then(|amount| Quantity::try_from(amount).ok()).unwrap_or(Quantity::ZERO))
}

/// What of a node matters for placing pods.
pub(crate) fn offer(node: &Node) -> impl PartialEq + use<'_> {
    let spec = node.spec.as_ref();
    let allocatable: Option<&BTreeMap<String, ApiQuantity>> = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let unschedulable = spec.and_then(|spec| spec.unschedulable);
    (is_ready(node), unschedulable, spec.and_then(|s| s.taints.as_ref()), node.metadata.labels.as_ref(), allocatable)
}
