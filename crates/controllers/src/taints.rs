//! What a node is short of keeps pods away from it: its conditions become taints
//! (pkg/controller/nodelifecycle/node_lifecycle_controller.go `doNoScheduleTaintingPass`, contract S4-56).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::api::{self, Doing as _, Result};
use crate::cache::{Cache, Change};
use crate::clock::SharedClock;
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// Conditions and their taints.
const TAINTS: [(&str, &str); 3] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];
const EFFECT: &str = "NoSchedule";

/// Returns the taints that a node is to have, if it has others. Those that are about something else stay.
fn wanted(node: &Node, now: jiff::Timestamp) -> Option<Vec<Taint>> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let is_short = |condition: &str| conditions.iter().any(|c| c.type_ == condition && c.status == "True");
    let is = |taint: &Taint, key: &str| taint.key == key && taint.effect == EFFECT;
    let stale = |taint: &Taint| TAINTS.iter().any(|(condition, key)| is(taint, key) && !is_short(condition));
    let mut wanted: Vec<_> = taints.iter().filter(|taint| !stale(taint)).cloned().collect();
    for (condition, key) in TAINTS {
        if is_short(condition) && !taints.iter().any(|taint| is(taint, key)) {
            let time_added = Some(meta::api_time(now));
            wanted.push(Taint { key: key.to_owned(), effect: EFFECT.to_owned(), time_added, value: None });
        }
    }
    (wanted != taints).then_some(wanted)
}

/// Taints nodes.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) nodes: Arc<Cache<Node>>,
    pub(crate) clock: SharedClock,
}

impl Controller {
    /// Looks at a node once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(node) = self.nodes.get(&key) else { return Ok(Next::Idle) };
        let Some(taints) = wanted(&node, self.clock.now()) else { return Ok(Next::Idle) };
        let patch = json!({
            "metadata": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version },
            "spec": { "taints": taints },
        });
        let nodes = Api::<Node>::all(self.client.clone());
        match nodes.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(patched) => self.nodes.apply(patched),
            // The watch tells what it has become.
            Err(error) if api::has_changed(&error) => {}
            Err(error) => return Err(error).doing("tainting node", &key),
        }
        Ok(Next::Idle)
    }

    /// Queues a node.
    pub(crate) fn node_changed(change: &Change<'_, Node>, queue: &Queue<Key>) {
        if let Some(node) = change.new {
            queue.add(Key::of(&node.metadata));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(short: &[&str], taints: serde_json::Value) -> Node {
        let all = TAINTS.map(|(condition, _)| {
            json!({"type": condition, "status": if short.contains(&condition) { "True" } else { "False" }})
        });
        serde_json::from_value(json!({"spec": {"taints": taints}, "status": {"conditions": all}})).unwrap()
    }

    fn keys(node: &Node) -> Option<Vec<String>> {
        let taints = wanted(node, jiff::Timestamp::UNIX_EPOCH)?;
        Some(taints.into_iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect())
    }

    #[test]
    fn s4_56_what_a_node_is_short_of_taints_it_until_it_is_not() {
        let (memory, disk) =
            ("node.kubernetes.io/memory-pressure:NoSchedule", "node.kubernetes.io/disk-pressure:NoSchedule");
        let own = json!({"key": "own", "effect": "NoSchedule"});
        let memory_taint = json!({"key": TAINTS[0].1, "effect": "NoSchedule"});
        assert_eq!(keys(&node(&[], json!([]))), None);
        assert_eq!(keys(&node(&[], json!([own]))), None);
        let both = node(&["MemoryPressure", "DiskPressure"], json!([own]));
        assert_eq!(keys(&both), Some(vec!["own:NoSchedule".to_owned(), memory.to_owned(), disk.to_owned()]));
        assert_eq!(keys(&node(&["MemoryPressure"], json!([memory_taint, own]))), None);
        assert_eq!(keys(&node(&[], json!([memory_taint, own]))), Some(vec!["own:NoSchedule".to_owned()]));
    }
}
