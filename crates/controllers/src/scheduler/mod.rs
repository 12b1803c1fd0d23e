//! The scheduler: finds a node for each pod and binds it there (contract S12-01).

mod fit;
mod ledger;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apimachinery::resources::requests_in_force;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::api::{self, Doing as _, Result, api};
use crate::cache::{Cache, Change};
use crate::clock::SharedClock;
use crate::events::{Note, Recorder};
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

pub use fit::{Placement, place};
pub use ledger::Ledger;

/// The component that events name.
pub(crate) const COMPONENT: &str = "default-scheduler";

/// How long a pod may wait for the first ready node before anybody is told. Pods and the node may
/// start together, and then waiting is nothing to warn about.
const FIRST_NODE: SignedDuration = SignedDuration::from_secs(2);

/// Binds pods to nodes.
pub(crate) struct Scheduler {
    pub(crate) client: Client,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) nodes: Arc<Cache<Node>>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: SharedClock,
    /// The only node to use, if set.
    pub(crate) node_name: Option<String>,
    pub(crate) ledger: Mutex<Ledger>,
}

impl Scheduler {
    /// Looks at a pod once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(pod) = self.pods.get(&key).filter(|pod| is_waiting(pod)) else { return Ok(Next::Idle) };
        let nodes: Vec<Arc<Node>> = self.nodes.all().into_iter().filter(|node| self.may_use(node)).collect();
        let placement = {
            let mut ledger = self.ledger();
            if ledger.contains(meta::uid(&pod.metadata)) {
                // Bound already; the watch has not said so yet.
                return Ok(Next::Idle);
            }
            let placement = place(&pod, &nodes, &ledger);
            if let Placement::Bind(node) = &placement {
                ledger.book(&pod, node);
            }
            placement
        };
        match placement {
            Placement::Bind(node) => self.bind(&key, &pod, &node).await,
            Placement::NoReadyNode if !self.is_overdue(&pod) => Ok(Next::at(self.overdue_at(&pod))),
            Placement::NoReadyNode => self.refuse(&key, &pod, fit::NO_NODES).await,
            Placement::Refused(message) => self.refuse(&key, &pod, &message).await,
        }
    }

    fn may_use(&self, node: &Node) -> bool {
        self.node_name.as_deref().is_none_or(|name| name == meta::name(&node.metadata))
    }

    fn overdue_at(&self, pod: &Pod) -> Option<jiff::Timestamp> {
        let created = pod.metadata.creation_timestamp.as_ref().map_or_else(|| self.clock.now(), |t| t.0);
        created.checked_add(FIRST_NODE).ok()
    }

    fn is_overdue(&self, pod: &Pod) -> bool {
        self.overdue_at(pod).is_none_or(|at| at <= self.clock.now())
    }

    async fn bind(&self, key: &Key, pod: &Pod, node: &str) -> Result<Next> {
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let pods = api::<Pod>(&self.client, &key.namespace);
        let bound: kube::Result<Status> =
            pods.create_subresource("binding", &key.name, &PostParams::default(), &binding).await;
        let Err(error) = bound else {
            let message = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
            self.recorder.record(pod, Note::normal("Scheduled", message));
            return Ok(Next::Idle);
        };
        self.ledger().forget(meta::uid(&pod.metadata));
        if api::is_not_found(&error) || api::is_conflict(&error) {
            // Gone, or bound by somebody else or by an attempt whose answer was lost.
            api::refresh(&self.client, &self.pods, pod).await?;
            return Ok(Next::Idle);
        }
        Err(error).doing("binding pod", key)
    }

    async fn refuse(&self, key: &Key, pod: &Pod, message: &str) -> Result<Next> {
        self.recorder.record(pod, Note::warning("FailedScheduling", message));
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("Unschedulable".to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(meta::api_time(self.clock.now())),
            ..PodCondition::default()
        };
        let mut conditions = pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        match conditions.iter_mut().find(|c| c.type_ == condition.type_) {
            Some(old) if old.reason == condition.reason && old.message == condition.message => return Ok(Next::Idle),
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
        let patch = json!({
            "metadata": { "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version },
            "status": { "conditions": conditions },
        });
        let pods = api::<Pod>(&self.client, &key.namespace);
        match pods.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(patched) => self.pods.apply(patched),
            Err(error) if api::is_conflict(&error) || api::is_not_found(&error) => {
                api::refresh(&self.client, &self.pods, pod).await?;
            }
            Err(error) => return Err(error).doing("marking as unschedulable pod", key),
        }
        Ok(Next::Idle)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Books what a pod takes, and queues what can now be placed.
    pub(crate) fn pod_changed(&self, change: &Change<'_, Pod>, queue: &Queue<Key>) {
        match (change.old, change.new) {
            (Some(old), None) => self.release(old, queue),
            (_, Some(pod)) if apimachinery::pod::is_terminal(pod) => self.release(pod, queue),
            (_, Some(pod)) => match node_of(pod) {
                Some(node) => self.ledger().book(pod, node),
                None => {
                    if is_waiting(pod) && change.old.is_none_or(|old| old.spec != pod.spec) {
                        queue.add(Key::of(&pod.metadata));
                    }
                }
            },
            (None, None) => {}
        }
    }

    fn release(&self, pod: &Pod, queue: &Queue<Key>) {
        if self.ledger().forget(meta::uid(&pod.metadata)) {
            self.queue_refused(queue);
        }
    }

    /// Queues every waiting pod if the node changed in a way that matters for placing.
    pub(crate) fn node_changed(&self, change: &Change<'_, Node>, queue: &Queue<Key>) {
        let matters = match (change.old, change.new) {
            (Some(old), Some(new)) => fit::offer(old) != fit::offer(new),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if matters {
            self.queue_refused(queue);
        }
    }

    fn queue_refused(&self, queue: &Queue<Key>) {
        self.pods.all().iter().filter(|pod| is_waiting(pod)).for_each(|pod| queue.add(Key::of(&pod.metadata)));
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether the pod waits for this scheduler: unbound, not gated, not being deleted, not finished.
fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name.is_empty() || name == COMPONENT);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let over = meta::is_deleting(&pod.metadata) || apimachinery::pod::is_terminal(pod);
    ours && !gated && !over && node_of(pod).is_none()
}

/// What a pod asks of its node.
fn requests(pod: &Pod) -> apimachinery::resources::Amounts {
    requests_in_force(pod)
}
