//! What controllers do with the objects that they own: claim them, create them, delete them.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use apimachinery::selector::LabelSelector;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as ApiSelector, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams, PropagationPolicy};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{self, Doing as _, Result, api, cause};
use crate::cache::Cache;
use crate::events::{Note, Recorder};
use crate::job::suffix;
use crate::meta::{self, Key};

/// Calls to the API that one pass makes at a time.
const CALLS: usize = 32;

/// Names tried for one pod before the pass is given up.
const NAME_ATTEMPTS: usize = 5;

/// Makes calls side by side; completes them all, and returns the first error.
pub(crate) async fn all(calls: Vec<BoxFuture<'_, Result<()>>>) -> Result<()> {
    let outcomes: Vec<Result<()>> = stream::iter(calls).buffer_unordered(CALLS).collect().await;
    outcomes.into_iter().collect()
}

// ---- Claims -----------------------------------------------------------------------------------

/// Objects whose owner is to change because of what the owner selects
/// (controller_ref_manager.go: `ClaimObject`).
#[derive(Debug, Clone, PartialEq)]
pub struct Claims<K> {
    /// Objects that are selected and that nobody controls, to become the owner's.
    pub adopt: Vec<Arc<K>>,
    /// Objects of the owner that it no longer selects, to be let go.
    pub release: Vec<Arc<K>>,
}

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self { adopt: Vec::new(), release: Vec::new() }
    }
}

impl<K: Resource<DynamicType = ()>> Claims<K> {
    /// Finds them; none if the owner is being deleted.
    pub(crate) fn find<'a>(
        owner: &ObjectMeta,
        selector: &LabelSelector,
        objects: impl IntoIterator<Item = &'a Arc<K>>,
    ) -> Self
    where
        K: 'a,
    {
        let mut claims = Self::default();
        if meta::is_deleting(owner) {
            return claims;
        }
        for object in objects {
            let metadata = object.meta();
            let matches = selector.matches_map(metadata.labels.as_ref());
            let stranger = meta::controller(metadata).is_none();
            if stranger && matches && !meta::is_deleting(metadata) {
                claims.adopt.push(Arc::clone(object));
            } else if meta::is_controlled_by(metadata, meta::uid(owner)) && !matches {
                claims.release.push(Arc::clone(object));
            }
        }
        claims
    }
}

impl<K> Claims<K> {
    /// Whether there is nothing to claim.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.adopt.is_empty() && self.release.is_empty()
    }
}

/// Carries claims out. The owner is read again before anything is adopted: the cache may be late
/// about its deletion.
pub(crate) async fn claim<O, K>(
    client: &Client,
    owners: &Cache<O>,
    children: &Cache<K>,
    owner: &O,
    claims: &Claims<K>,
) -> Result<()>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static,
{
    let uid = meta::uid(owner.meta());
    for child in &claims.release {
        let left: Vec<&OwnerReference> = meta::owners(child.meta()).iter().filter(|o| o.uid != uid).collect();
        rewrite(client, children, child.as_ref(), json!({ "ownerReferences": left })).await?;
    }
    if claims.adopt.is_empty() {
        return Ok(());
    }
    let fresh = api::refresh(client, owners, owner).await?;
    if fresh.is_none_or(|fresh| meta::is_deleting(fresh.meta())) {
        return Ok(());
    }
    let reference = meta::controller_reference(&O::api_version(&()), &O::kind(&()), owner.meta());
    for child in &claims.adopt {
        let references: Vec<&OwnerReference> = meta::owners(child.meta()).iter().chain([&reference]).collect();
        rewrite(client, children, child.as_ref(), json!({ "ownerReferences": references })).await?;
    }
    Ok(())
}

/// Changes metadata of exactly this version of an object; if it has changed meanwhile, only the
/// cache is brought up to date.
pub(crate) async fn rewrite<K>(client: &Client, cache: &Cache<K>, object: &K, mut metadata: Value) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static,
{
    let key = Key::of(object.meta());
    metadata["uid"] = json!(object.meta().uid);
    metadata["resourceVersion"] = json!(object.meta().resource_version);
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    match api::<K>(client, &key.namespace).patch(&key.name, &PatchParams::default(), &patch).await {
        Ok(patched) => cache.apply(patched),
        Err(error) if api::is_conflict(&error) || api::is_not_found(&error) => {
            api::refresh(client, cache, object).await?;
        }
        Err(error) => return Err(error).doing("claiming", &key),
    }
    Ok(())
}

// ---- Pods -------------------------------------------------------------------------------------

/// Creates and deletes pods, and tells people about it.
pub(crate) struct PodControl {
    pub(crate) client: Client,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) recorder: Recorder,
    seed: u64,
    /// Names given so far; makes them unique.
    serial: AtomicU64,
}

impl PodControl {
    pub(crate) const fn new(client: Client, pods: Arc<Cache<Pod>>, recorder: Recorder, seed: u64) -> Self {
        Self { client, pods, recorder, seed, serial: AtomicU64::new(0) }
    }

    /// Creates `count` pods in batches of 1, 2, 4, …: if creation fails for a reason that all
    /// share, few calls find that out (S9-14, controller `slowStartBatch`). `make` gets the
    /// position of the pod and a suffix that makes its name unique.
    pub(crate) async fn create_all<O>(
        &self,
        owner: &O,
        count: usize,
        make: &(impl Fn(usize, &str) -> Pod + Sync),
    ) -> Result<()>
    where
        O: Resource<DynamicType = ()> + Sync,
    {
        let (mut done, mut batch) = (0, 1);
        while done < count {
            let end = count.min(done + batch);
            all((done..end).map(|at| self.create(owner, at, make).boxed()).collect()).await?;
            (done, batch) = (end, batch * 2);
        }
        Ok(())
    }

    async fn create<O>(&self, owner: &O, at: usize, make: &(impl Fn(usize, &str) -> Pod + Sync)) -> Result<()>
    where
        O: Resource<DynamicType = ()> + Sync,
    {
        match self.create_named(owner.meta(), at, make).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", meta::name(&pod.metadata));
                self.pods.apply(pod);
                self.recorder.record(owner, Note::normal("SuccessfulCreate", message));
                Ok(())
            }
            Err(error) if api::is_namespace_terminating(&error.source) => Err(error),
            Err(error) => {
                let message = format!("Error creating: {}", cause(&error.source));
                self.recorder.record(owner, Note::warning("FailedCreate", message));
                Err(error)
            }
        }
    }

    /// Creates a pod under a fresh name. An attempt whose outcome is unknown is repeated under the
    /// same name, so that it cannot make two pods.
    async fn create_named(
        &self,
        owner: &ObjectMeta,
        at: usize,
        make: &(impl Fn(usize, &str) -> Pod + Sync),
    ) -> Result<Pod> {
        let pods = api::<Pod>(&self.client, meta::namespace(owner));
        let mut pod = make(at, &self.next_suffix(owner));
        let mut uncertain = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match pods.create(&PostParams::default(), &pod).await {
                Ok(created) => return Ok(created),
                Err(error) => error,
            };
            let name = Key::of(&pod.metadata);
            let repeat = api::is_conflict(&error) || api::is_ambiguous(&error);
            if attempt >= NAME_ATTEMPTS || !repeat {
                return Err(error).doing("creating pod", &name);
            }
            if api::is_conflict(&error) {
                // After an attempt with unknown outcome this is that attempt's pod.
                if let Some(own) = self.own_pod(owner, &name).await?.filter(|_| uncertain) {
                    return Ok(own);
                }
                pod = make(at, &self.next_suffix(owner));
            }
            uncertain = api::is_ambiguous(&error);
        }
    }

    /// The pod of that name, if it is the owner's.
    async fn own_pod(&self, owner: &ObjectMeta, name: &Key) -> Result<Option<Pod>> {
        let found = api::<Pod>(&self.client, &name.namespace).get_opt(&name.name).await.doing("reading pod", name)?;
        Ok(found.filter(|pod| meta::is_controlled_by(&pod.metadata, meta::uid(owner))))
    }

    fn next_suffix(&self, owner: &ObjectMeta) -> String {
        suffix(self.seed, meta::uid(owner), self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// Deletes a pod of the owner.
    pub(crate) async fn delete<O: Resource<DynamicType = ()>>(&self, owner: &O, pod: &Pod) -> Result<()> {
        let deleted = api::delete(&self.client, &self.pods, pod, PropagationPolicy::Background).await;
        match &deleted {
            Ok(true) => {
                let message = format!("Deleted pod: {}", meta::name(&pod.metadata));
                self.recorder.record(owner, Note::normal("SuccessfulDelete", message));
            }
            Ok(false) => {}
            Err(error) => {
                let message = format!("Error deleting: {}", cause(&error.source));
                self.recorder.record(owner, Note::warning("FailedDelete", message));
            }
        }
        deleted.map(drop)
    }
}

// ---- Status -----------------------------------------------------------------------------------

/// Writes the status of exactly this version of an object. If it has changed meanwhile, the cache
/// is brought up to date and the error, which is a conflict, returned.
pub(crate) async fn write_status<K>(client: &Client, cache: &Cache<K>, new: &K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + 'static,
{
    let key = Key::of(new.meta());
    match api::<K>(client, &key.namespace).replace_status(&key.name, &PostParams::default(), new).await {
        Ok(written) => {
            cache.apply(written);
            Ok(())
        }
        Err(error) => {
            if api::is_conflict(&error) || api::is_not_found(&error) {
                api::refresh(client, cache, new).await?;
            }
            Err(error).doing("writing the status of", &key)
        }
    }
}

/// Whether the selector, if there is a valid one, selects the object.
pub(crate) fn selects(selector: Option<&ApiSelector>, object: &ObjectMeta) -> bool {
    let selector = selector.and_then(|selector| LabelSelector::from_api(selector).ok());
    selector.is_some_and(|selector| !selector.is_empty() && selector.matches_map(object.labels.as_ref()))
}
