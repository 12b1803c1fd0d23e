//! Carries out the plans for Deployments.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;

use crate::api::{self, Doing as _, Result, api, cause};
use crate::cache::{Cache, Change};
use crate::children;
use crate::clock::SharedClock;
use crate::deployment::plan::{collided, creation_failed};
use crate::deployment::{DeploymentPlan, DeploymentView, Update, plan, template};
use crate::events::{Note, Recorder};
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// The component that events name.
pub(crate) const COMPONENT: &str = "deployment-controller";

/// The Deployment controller.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) deployments: Arc<Cache<Deployment>>,
    pub(crate) replica_sets: Arc<Cache<ReplicaSet>>,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: SharedClock,
}

impl Controller {
    /// Looks at a Deployment once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(Next::Idle) };
        let uid = meta::uid(&deployment.metadata);
        let own = self.replica_sets.controlled_by(uid);
        let pods: Vec<Arc<Pod>> =
            own.iter().flat_map(|set| self.pods.controlled_by(meta::uid(&set.metadata))).collect();
        let replica_sets: Vec<_> =
            own.into_iter().chain(self.replica_sets.without_controller(&key.namespace)).collect();
        let now = self.clock.now();
        let view = DeploymentView { deployment: &deployment, replica_sets: &replica_sets, pods: &pods, now };
        let plan = plan(&view);
        match self.execute(&view, &plan).await {
            Ok(()) if plan.is_settled() => Ok(Next::at(plan.wake_at)),
            Ok(()) => Ok(Next::Again),
            // Somebody else wrote first; the cache has been brought up to date.
            Err(error) if api::has_changed(&error.source) => Ok(Next::Again),
            Err(error) if api::is_namespace_terminating(&error.source) => Ok(Next::Idle),
            Err(error) => Err(error),
        }
    }

    async fn execute(&self, view: &DeploymentView<'_>, plan: &DeploymentPlan) -> Result<()> {
        let deployment = view.deployment;
        children::claim(&self.client, &self.deployments, &self.replica_sets, deployment, &plan.claims).await?;
        if let Some(set) = &plan.create
            && !self.create(view, set).await?
        {
            return Ok(());
        }
        plan.notes.iter().for_each(|note| self.recorder.record(deployment, note.clone()));
        for update in &plan.update {
            self.update(deployment, update).await?;
        }
        for set in &plan.delete {
            api::delete(&self.client, &self.replica_sets, set.as_ref(), PropagationPolicy::Background).await?;
        }
        if let Some(next) = &plan.status {
            children::write_status(&self.client, &self.deployments, next.as_ref()).await?;
        }
        Ok(())
    }

    /// Creates the ReplicaSet of the present template. Returns whether it did: an earlier attempt
    /// may have done so already, or its name belongs to something else, which is then counted.
    async fn create(&self, view: &DeploymentView<'_>, set: &ReplicaSet) -> Result<bool> {
        let key = Key::of(&set.metadata);
        let sets = api::<ReplicaSet>(&self.client, &key.namespace);
        let error = match sets.create(&PostParams::default(), set).await {
            Ok(created) => {
                self.replica_sets.apply(created);
                return Ok(true);
            }
            Err(error) => error,
        };
        if api::is_conflict(&error) {
            let present = sets.get_opt(&key.name).await.doing("reading replica set", &key)?;
            let uid = meta::uid(&view.deployment.metadata);
            match present {
                Some(own)
                    if meta::is_controlled_by(&own.metadata, uid) && template::is_present(view.deployment, &own) =>
                {
                    self.replica_sets.apply(own);
                }
                _ => children::write_status(&self.client, &self.deployments, &collided(view.deployment)).await?,
            }
            return Ok(false);
        }
        if !api::is_namespace_terminating(&error) {
            let message = format!("Failed to create new replica set {:?}: {}", key.name, cause(&error));
            self.recorder.record(view.deployment, Note::warning("ReplicaSetCreateError", message.clone()));
            if let Some(next) = creation_failed(view, &message) {
                children::write_status(&self.client, &self.deployments, &next).await?;
            }
        }
        Err(error).doing("creating replica set", &key)
    }

    /// The version makes it fail if the ReplicaSet has changed since the decision.
    async fn update(&self, deployment: &Deployment, update: &Update) -> Result<()> {
        let set = &update.replica_set;
        let key = Key::of(&set.metadata);
        let mut patch = json!({"metadata": {
            "uid": set.metadata.uid,
            "resourceVersion": set.metadata.resource_version,
            "annotations": update.annotations,
        }});
        if let Some(replicas) = update.replicas {
            patch["spec"]["replicas"] = json!(replicas);
        }
        if let Some(seconds) = update.min_ready_seconds {
            patch["spec"]["minReadySeconds"] = json!(seconds);
        }
        let sets = api::<ReplicaSet>(&self.client, &key.namespace);
        match sets.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(patched) => {
                self.replica_sets.apply(patched);
                update.note().into_iter().for_each(|note| self.recorder.record(deployment, note));
                Ok(())
            }
            Err(error) => {
                if api::is_conflict(&error) || api::is_not_found(&error) {
                    api::refresh(&self.client, &self.replica_sets, set.as_ref()).await?;
                }
                Err(error).doing("changing replica set", &key)
            }
        }
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Queues a Deployment that changed.
    pub(crate) fn deployment_changed(change: &Change<'_, Deployment>, queue: &Queue<Key>) {
        if let Some(deployment) = change.new {
            queue.add(Key::of(&deployment.metadata));
        }
    }

    /// Queues the owner of a ReplicaSet that changed, or who would adopt it.
    pub(crate) fn replica_set_changed(&self, change: &Change<'_, ReplicaSet>, queue: &Queue<Key>) {
        for set in [change.old, change.new].into_iter().flatten() {
            owner(set).into_iter().for_each(|key| queue.add(key));
        }
        if let Some(set) = change.new.filter(|set| meta::controller(&set.metadata).is_none()) {
            let wants = |deployment: &Arc<Deployment>| {
                let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
                deployment.metadata.namespace == set.metadata.namespace && children::selects(selector, &set.metadata)
            };
            let adopters = self.deployments.all();
            adopters.iter().filter(|d| wants(d)).for_each(|d| queue.add(Key::of(&d.metadata)));
        }
    }

    /// Queues the Deployment that waits for the end of this pod before it creates others.
    pub(crate) fn pod_changed(&self, change: &Change<'_, Pod>, queue: &Queue<Key>) {
        let over = change.new.is_none_or(|pod| crate::pod::is_terminal(pod));
        let Some(pod) = change.old.or(change.new).filter(|_| over) else { return };
        let Some(set) = meta::controller(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet") else { return };
        let set = self.replica_sets.get(&Key::new(meta::namespace(&pod.metadata), &set.name));
        let Some(key) = set.as_deref().and_then(owner) else { return };
        let strategy = self.deployments.get(&key).and_then(|deployment| deployment.spec.clone()?.strategy?.type_);
        if strategy.as_deref() == Some("Recreate") {
            queue.add(key);
        }
    }
}

fn owner(set: &ReplicaSet) -> Option<Key> {
    let owner = meta::controller(&set.metadata).filter(|owner| owner.kind == "Deployment")?;
    Some(Key::new(meta::namespace(&set.metadata), &owner.name))
}
