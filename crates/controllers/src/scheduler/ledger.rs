//! What the pods of each node take.

use std::collections::BTreeMap;

use apimachinery::quantity::Quantity;
use apimachinery::resources::Amounts;
use k8s_openapi::api::core::v1::Pod;

use crate::meta;
use crate::scheduler::requests;

/// What is taken of each node, by pods that are bound or about to be.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pods: BTreeMap<String, Entry>,
    nodes: BTreeMap<String, Taken>,
}

#[derive(Debug, Clone)]
struct Entry {
    node: String,
    amounts: Amounts,
}

/// What is taken of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    pub(crate) amounts: Amounts,
    pub(crate) pods: i64,
}

impl Ledger {
    /// Books a pod on a node, in place of what was booked for it before.
    pub fn book(&mut self, pod: &Pod, node: &str) {
        let uid = meta::uid(&pod.metadata);
        let amounts = requests(pod);
        if self.pods.get(uid).is_some_and(|entry| entry.node == node && entry.amounts == amounts) {
            return;
        }
        self.forget(uid);
        let taken = self.nodes.entry(node.to_owned()).or_default();
        taken.pods += 1;
        for (name, amount) in &amounts {
            let sum = taken.amounts.entry(name.clone()).or_default();
            *sum = *sum + *amount;
        }
        self.pods.insert(uid.to_owned(), Entry { node: node.to_owned(), amounts });
    }

    /// Frees what is booked for a pod. Returns whether anything was.
    pub fn forget(&mut self, uid: &str) -> bool {
        let Some(entry) = self.pods.remove(uid) else { return false };
        if let Some(taken) = self.nodes.get_mut(&entry.node) {
            taken.pods -= 1;
            for (name, amount) in entry.amounts {
                let sum = taken.amounts.entry(name).or_default();
                *sum = sum.minus(amount);
            }
        }
        true
    }

    /// Whether the pod is booked.
    #[must_use]
    pub fn contains(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    pub(crate) fn pods_on(&self, node: &str) -> i64 {
        self.nodes.get(node).map_or(0, |taken| taken.pods)
    }

    pub(crate) fn taken_of(&self, node: &str, resource: &str) -> Quantity {
        let taken = self.nodes.get(node).and_then(|taken| taken.amounts.get(resource));
        taken.copied().unwrap_or(Quantity::ZERO)
    }
}
