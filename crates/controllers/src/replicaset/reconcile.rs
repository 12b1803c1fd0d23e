//! Carries out the plans for ReplicaSets.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt as _;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use crate::api::{self, Result, cause};
use crate::cache::{Cache, Change};
use crate::children::{self, PodControl, all};
use crate::clock::SharedClock;
use crate::events::Recorder;
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};
use crate::replicaset::{ReplicaSetPlan, ReplicaSetView, build, plan};

/// The component that events name.
pub(crate) const COMPONENT: &str = "replicaset-controller";

/// The ReplicaSet controller.
pub(crate) struct Controller {
    client: Client,
    replica_sets: Arc<Cache<ReplicaSet>>,
    pods: Arc<Cache<Pod>>,
    control: PodControl,
    clock: SharedClock,
}

impl Controller {
    pub(crate) fn new(
        client: Client,
        replica_sets: Arc<Cache<ReplicaSet>>,
        pods: Arc<Cache<Pod>>,
        recorder: Recorder,
        clock: SharedClock,
        seed: u64,
    ) -> Self {
        let control = PodControl::new(client.clone(), Arc::clone(&pods), recorder, seed);
        Self { client, replica_sets, pods, control, clock }
    }

    /// Looks at a ReplicaSet once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(replica_set) = self.replica_sets.get(&key) else { return Ok(Next::Idle) };
        let plan = self.plan(&key, &replica_set, None);
        let Err(error) = self.execute(&replica_set, &plan).await else {
            return Ok(if plan.is_settled() { Next::at(plan.wake_at) } else { Next::Again });
        };
        if api::has_changed(&error.source) {
            // Somebody else wrote first; the cache has been brought up to date.
            return Ok(Next::Again);
        }
        if api::is_namespace_terminating(&error.source) {
            return Ok(Next::Idle);
        }
        if plan.create > 0 || !plan.delete.is_empty() {
            // The status shall say so even if the next attempts fail too.
            let plan = self.plan(&key, &replica_set, Some(&cause(&error.source)));
            self.execute(&replica_set, &plan).await?;
        }
        Err(error)
    }

    fn plan(&self, key: &Key, replica_set: &ReplicaSet, failure: Option<&str>) -> ReplicaSetPlan {
        let mut pods = self.pods.controlled_by(meta::uid(&replica_set.metadata));
        pods.extend(self.pods.without_controller(&key.namespace));
        let related = self.related(replica_set);
        plan(&ReplicaSetView { replica_set, pods: &pods, related: &related, now: self.clock.now(), failure })
    }

    fn related(&self, replica_set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let pods = |owner: &ReplicaSet| self.pods.controlled_by(meta::uid(&owner.metadata));
        match meta::controller(&replica_set.metadata) {
            None => pods(replica_set),
            Some(owner) => self.replica_sets.controlled_by(&owner.uid).iter().flat_map(|set| pods(set)).collect(),
        }
    }

    async fn execute(&self, replica_set: &ReplicaSet, plan: &ReplicaSetPlan) -> Result<()> {
        children::claim(&self.client, &self.replica_sets, &self.pods, replica_set, &plan.claims).await?;
        all(plan.delete.iter().map(|pod| self.control.delete(replica_set, pod).boxed()).collect()).await?;
        self.control.create_all(replica_set, plan.create, &|_, suffix| build(replica_set, suffix)).await?;
        if let Some(status) = &plan.status {
            let new = ReplicaSet { status: Some(status.clone()), ..replica_set.clone() };
            children::write_status(&self.client, &self.replica_sets, &new).await?;
        }
        Ok(())
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Queues what a change of a pod touches: its owner, or who would adopt it.
    pub(crate) fn pod_changed(&self, change: &Change<'_, Pod>, queue: &Queue<Key>) {
        let pods = [change.old, change.new].into_iter().flatten();
        let owner = |pod: &Arc<Pod>| {
            let owner = meta::controller(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet")?;
            Some(Key::new(meta::namespace(&pod.metadata), &owner.name))
        };
        let owners: BTreeSet<Key> = pods.filter_map(owner).collect();
        owners.into_iter().for_each(|key| queue.add(key));
        if let Some(pod) = change.new.filter(|pod| meta::controller(&pod.metadata).is_none()) {
            for set in self.replica_sets.all().iter().filter(|set| selects(set, pod)) {
                queue.add(Key::of(&set.metadata));
            }
        }
    }

    /// Queues a ReplicaSet that changed.
    pub(crate) fn replica_set_changed(change: &Change<'_, ReplicaSet>, queue: &Queue<Key>) {
        if let Some(set) = change.new {
            queue.add(Key::of(&set.metadata));
        }
    }
}

fn selects(set: &ReplicaSet, pod: &Pod) -> bool {
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    set.metadata.namespace == pod.metadata.namespace && children::selects(selector, &pod.metadata)
}
