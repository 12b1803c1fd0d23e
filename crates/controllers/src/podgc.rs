//! Deletes pods that nobody else will ever delete (podgc/gc_controller.go): those of nodes that are
//! gone, those that stop without ever having had a node, and ended ones when there are too many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use crate::api::{self, Doing as _, Result, api};
use crate::cache::{Cache, Change};
use crate::clock::SharedClock;
use crate::meta::{self, Key};
use crate::pod;
use crate::queue::{Next, Queue};

/// How long a node must be gone before its pods are given up.
pub const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);

/// What to do about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Somebody else cares for it.
    Keep,
    /// Look again at that time.
    KeepUntil(Timestamp),
    /// Its node is gone: it has failed, and nobody can stop it.
    Orphaned,
    /// It is to stop and never ran.
    NeverRan,
}

/// Decides about a pod. `gone` says since when its node has been missing, if it is.
#[must_use]
pub fn decide(pod: &Pod, gone: Option<Timestamp>, now: Timestamp) -> Decision {
    if pod::node(pod).is_none() {
        return if meta::is_deleting(&pod.metadata) { Decision::NeverRan } else { Decision::Keep };
    }
    match gone.and_then(|since| since.checked_add(QUARANTINE).ok()) {
        None => Decision::Keep,
        Some(end) if end > now => Decision::KeepUntil(end),
        Some(_) => Decision::Orphaned,
    }
}

/// The ended pods beyond `limit`: evicted ones first, then the oldest.
#[must_use]
pub fn surplus(pods: &[Arc<Pod>], limit: usize) -> Vec<Arc<Pod>> {
    let mut ended: Vec<Arc<Pod>> = pods.iter().filter(|pod| pod::is_terminal(pod)).cloned().collect();
    let count = ended.len().saturating_sub(limit);
    ended.sort_by_cached_key(|pod| {
        let evicted = pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted");
        let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (!evicted, created, meta::name(&pod.metadata).to_owned())
    });
    ended.truncate(count);
    ended
}

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// One pod.
    Pod(Key),
    /// The number of ended pods.
    Surplus,
}

/// Collects pods.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) nodes: Arc<Cache<Node>>,
    pub(crate) clock: SharedClock,
    /// Ended pods to keep.
    pub(crate) limit: usize,
    /// Ended pods that there are.
    pub(crate) ended: AtomicUsize,
    /// Missing nodes, and since when they are known to be.
    pub(crate) gone: Mutex<BTreeMap<String, Timestamp>>,
}

impl Controller {
    /// Looks at a pod, or at the number of pods, once.
    pub(crate) async fn pass(self: Arc<Self>, work: Work) -> Result<Next> {
        match work {
            Work::Pod(key) => self.look_at(&key).await,
            Work::Surplus => {
                for pod in surplus(&self.pods.all(), self.limit) {
                    self.delete(&pod).await?;
                }
                Ok(Next::Idle)
            }
        }
    }

    async fn look_at(&self, key: &Key) -> Result<Next> {
        let Some(pod) = self.pods.get(key) else { return Ok(Next::Idle) };
        match decide(&pod, self.gone_since(&pod), self.clock.now()) {
            Decision::Keep => return Ok(Next::Idle),
            Decision::KeepUntil(time) => return Ok(Next::At(time)),
            Decision::NeverRan => {}
            Decision::Orphaned => {
                // The cache may be late about a node that has come back.
                let node = pod::node(&pod).unwrap_or_default();
                let nodes = Api::<Node>::all(self.client.clone());
                if nodes.get_opt(node).await.doing("reading node", &Key::new("", node))?.is_some() {
                    return Ok(Next::Idle);
                }
                self.mark_failed(&pod).await?;
            }
        }
        self.delete(&pod).await?;
        Ok(Next::Idle)
    }

    /// Since when the pod's node has been missing.
    fn gone_since(&self, pod: &Pod) -> Option<Timestamp> {
        let node = pod::node(pod)?;
        if self.nodes.get(&Key::new("", node)).is_some() {
            self.gone().remove(node);
            return None;
        }
        Some(*self.gone().entry(node.to_owned()).or_insert_with(|| self.clock.now()))
    }

    fn gone(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn mark_failed(&self, pod: &Pod) -> Result<()> {
        if pod::is_terminal(pod) {
            return Ok(());
        }
        let key = Key::of(&pod.metadata);
        let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        conditions.retain(|c| c.type_ != "DisruptionTarget");
        conditions.push(PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("DeletionByPodGC".to_owned()),
            message: Some("PodGC: node no longer exists".to_owned()),
            last_transition_time: Some(meta::api_time(self.clock.now())),
            ..PodCondition::default()
        });
        let patch = json!({
            "metadata": { "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version },
            "status": { "phase": "Failed", "conditions": conditions },
        });
        let pods = api::<Pod>(&self.client, &key.namespace);
        match pods.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(patched) => self.pods.apply(patched),
            Err(error) => {
                api::refresh(&self.client, &self.pods, pod).await?;
                return Err(error).doing("marking as failed pod", &key);
            }
        }
        Ok(())
    }

    /// Deletes without grace: nobody is there to use it.
    async fn delete(&self, pod: &Pod) -> Result<()> {
        let key = Key::of(&pod.metadata);
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }.grace_period(0);
        match api::<Pod>(&self.client, &key.namespace).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if api::has_changed(&error) => Ok(()),
            Err(error) => Err(error).doing("deleting", &key),
        }
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Queues a pod that may have nobody left, and counts ended ones.
    pub(crate) fn pod_changed(&self, change: &Change<'_, Pod>, queue: &Queue<Work>) {
        let ended = |pod: Option<&Arc<Pod>>| pod.is_some_and(|pod| pod::is_terminal(pod));
        match (ended(change.old), ended(change.new)) {
            (false, true) => {
                if self.ended.fetch_add(1, Ordering::Relaxed) >= self.limit {
                    queue.add(Work::Surplus);
                }
            }
            (true, false) => {
                self.ended.fetch_sub(1, Ordering::Relaxed);
            }
            (false, false) | (true, true) => {}
        }
        let Some(pod) = change.new else { return };
        let lost = match pod::node(pod) {
            None => meta::is_deleting(&pod.metadata),
            Some(node) => self.nodes.get(&Key::new("", node)).is_none(),
        };
        if lost {
            queue.add(Work::Pod(Key::of(&pod.metadata)));
        }
    }

    /// Queues the pods of a node that is gone.
    pub(crate) fn node_changed(&self, change: &Change<'_, Node>, queue: &Queue<Work>) {
        let (Some(node), None) = (change.old, change.new) else { return };
        let name = meta::name(&node.metadata);
        for pod in self.pods.all().iter().filter(|pod| pod::node(pod) == Some(name)) {
            queue.add(Work::Pod(Key::of(&pod.metadata)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(name: &str, node: &str, phase: &str, more: Value) -> Arc<Pod> {
        let mut metadata = json!({"name": name, "creationTimestamp": at(5)});
        for (field, value) in more.as_object().unwrap() {
            metadata[field] = value.clone();
        }
        let pod =
            json!({"metadata": metadata, "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_outlives_its_node_by_the_quarantine() {
        let running = pod("a", "node1", "Running", json!({}));
        assert_eq!(decide(&running, None, at(500)), Decision::Keep);
        assert_eq!(decide(&running, Some(at(100)), at(139)), Decision::KeepUntil(at(140)));
        assert_eq!(decide(&running, Some(at(100)), at(140)), Decision::Orphaned);
    }

    #[test]
    fn a_pod_without_node_goes_when_it_is_to_stop() {
        assert_eq!(decide(&pod("a", "", "Pending", json!({})), None, at(9)), Decision::Keep);
        let stopping = pod("a", "", "Pending", json!({"deletionTimestamp": at(7)}));
        assert_eq!(decide(&stopping, None, at(9)), Decision::NeverRan);
    }

    #[test]
    fn of_too_many_ended_pods_evicted_and_old_ones_go() {
        let mut evicted = pod("evicted", "n", "Failed", json!({}));
        Arc::make_mut(&mut evicted).status.as_mut().unwrap().reason = Some("Evicted".to_owned());
        let pods = [
            pod("running", "n", "Running", json!({})),
            pod("old", "n", "Succeeded", json!({"creationTimestamp": at(1)})),
            pod("new", "n", "Failed", json!({})),
            evicted,
        ];
        let names =
            |limit| surplus(&pods, limit).iter().map(|p| meta::name(&p.metadata).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(3), Vec::<String>::new());
        assert_eq!(names(1), ["evicted", "old"]);
    }
}
