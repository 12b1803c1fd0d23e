//! Carries out the plans for the endpoints of services.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{PostParams, PropagationPolicy};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{self, Doing as _, Result, api};
use crate::cache::{Cache, Change};
use crate::clock::SharedClock;
use crate::endpoints::{
    CONTROLLER, EndpointsView, MANAGED_BY, SERVICE_NAME, SLICE_CONTROLLER, SLICE_MANAGED_BY, members, plan, plan_legacy,
};
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// Label of a node that says in which zone it is.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Keeps the endpoints of services.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) services: Arc<Cache<Service>>,
    pub(crate) slices: Arc<Cache<EndpointSlice>>,
    pub(crate) endpoints: Arc<Cache<Endpoints>>,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) nodes: Arc<Cache<Node>>,
    pub(crate) clock: SharedClock,
}

impl Controller {
    /// Looks at a service once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let endpoints = self.endpoints.get(&key);
        let Some(service) = self.services.get(&key) else {
            // Slices go with their owner; Endpoints have none.
            if let Some(left) = endpoints.filter(|left| label(&left.metadata, MANAGED_BY) == Some(CONTROLLER)) {
                api::delete(&self.client, &self.endpoints, left.as_ref(), PropagationPolicy::Background).await?;
            }
            return Ok(Next::Idle);
        };
        let (pods, slices) = (self.pods.in_namespace(&key.namespace), self.own_slices(&key));
        let view = EndpointsView {
            service: &service,
            pods: &pods,
            slices: &slices,
            endpoints: endpoints.as_deref(),
            zones: &self.zones(),
            now: self.clock.now(),
        };
        match self.execute(&key, &view).await {
            Err(error) if api::has_changed(&error.source) => Ok(Next::Again),
            Err(error) if api::is_namespace_terminating(&error.source) => Ok(Next::Idle),
            outcome => outcome.map(|()| Next::Idle),
        }
    }

    fn own_slices(&self, service: &Key) -> Vec<Arc<EndpointSlice>> {
        let mut slices = self.slices.in_namespace(&service.namespace);
        slices.retain(|slice| {
            label(&slice.metadata, SERVICE_NAME) == Some(service.name.as_str())
                && label(&slice.metadata, SLICE_MANAGED_BY) == Some(SLICE_CONTROLLER)
        });
        slices
    }

    fn zones(&self) -> BTreeMap<String, String> {
        let zone = |node: &Arc<Node>| Some((node.metadata.name.clone()?, label(&node.metadata, ZONE)?.to_owned()));
        self.nodes.all().iter().filter_map(zone).collect()
    }

    async fn execute(&self, key: &Key, view: &EndpointsView<'_>) -> Result<()> {
        let plan = plan(view);
        for slice in &plan.create {
            self.create(key, &self.slices, slice).await?;
        }
        for slice in &plan.update {
            self.replace(&self.slices, slice).await?;
        }
        for slice in &plan.delete {
            api::delete(&self.client, &self.slices, slice.as_ref(), PropagationPolicy::Background).await?;
        }
        match plan_legacy(view) {
            None => Ok(()),
            Some(new) if view.endpoints.is_none() => self.create(key, &self.endpoints, &new).await,
            Some(new) => self.replace(&self.endpoints, &new).await,
        }
    }

    async fn create<K>(&self, key: &Key, cache: &Cache<K>, new: &K) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + 'static,
    {
        let created = api::<K>(&self.client, &key.namespace).create(&PostParams::default(), new).await;
        cache.apply(created.doing("creating endpoints of service", key)?);
        Ok(())
    }

    /// The version makes it fail if the object has changed since the decision.
    async fn replace<K>(&self, cache: &Cache<K>, new: &K) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + 'static,
    {
        let key = Key::of(new.meta());
        match api::<K>(&self.client, &key.namespace).replace(&key.name, &PostParams::default(), new).await {
            Ok(written) => {
                cache.apply(written);
                Ok(())
            }
            Err(error) => {
                if api::has_changed(&error) {
                    api::refresh(&self.client, cache, new).await?;
                }
                Err(error).doing("writing endpoints", &key)
            }
        }
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Queues a service that changed.
    pub(crate) fn service_changed(change: &Change<'_, Service>, queue: &Queue<Key>) {
        if let Some(service) = change.new.or(change.old) {
            queue.add(Key::of(&service.metadata));
        }
    }

    /// Queues the services that a pod is, or was, behind.
    pub(crate) fn pod_changed(&self, change: &Change<'_, Pod>, queue: &Queue<Key>) {
        let pods: Vec<&Arc<Pod>> = [change.old, change.new].into_iter().flatten().collect();
        let Some(namespace) = pods.first().map(|pod| meta::namespace(&pod.metadata).to_owned()) else { return };
        for service in self.services.in_namespace(&namespace) {
            let Some((_, selector)) = members::selecting(&service) else { continue };
            if pods.iter().any(|pod| selector.matches_map(pod.metadata.labels.as_ref())) {
                queue.add(Key::of(&service.metadata));
            }
        }
    }

    /// Queues the service of a slice that somebody else changed.
    pub(crate) fn slice_changed(change: &Change<'_, EndpointSlice>, queue: &Queue<Key>) {
        let Some(slice) = change.new.or(change.old) else { return };
        if let Some(service) = label(&slice.metadata, SERVICE_NAME) {
            queue.add(Key::new(meta::namespace(&slice.metadata), service));
        }
    }

    /// Queues the service of Endpoints that somebody else changed.
    pub(crate) fn endpoints_changed(change: &Change<'_, Endpoints>, queue: &Queue<Key>) {
        if let Some(endpoints) = change.new.or(change.old) {
            queue.add(Key::of(&endpoints.metadata));
        }
    }
}

fn label<'a>(object: &'a k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, name: &str) -> Option<&'a str> {
    object.labels.as_ref()?.get(name).map(String::as_str)
}
