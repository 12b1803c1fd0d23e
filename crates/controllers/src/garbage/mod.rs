//! The garbage collector: deletes what belongs to deleted objects, in the background or in the
//! foreground, or lets it go.

mod graph;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use apimachinery::scheme::{self, ResourceType};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::DynamicObject;
use kube::{Api, Client, Resource};
use serde_json::{Value, json};
use std::sync::Arc;

pub use graph::{FOREGROUND, Graph, ORPHAN, Object, Waits};
pub use plan::{Action, Existence, plan};

use crate::api::{self, Doing as _, Metadata, Result};
use crate::cache::Change;
use crate::events::{Note, Recorder};
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// The component that events name.
pub(crate) const COMPONENT: &str = "garbage-collector-controller";

/// Attempts to change an object that others change at the same time.
const ATTEMPTS: usize = 5;

/// The garbage collector.
pub(crate) struct Collector {
    client: Client,
    graph: Mutex<Graph>,
    queue: Arc<Queue<String>>,
    recorder: Recorder,
}

impl Collector {
    pub(crate) fn new(client: Client, queue: Arc<Queue<String>>, recorder: Recorder) -> Self {
        Self { client, graph: Mutex::default(), queue, recorder }
    }

    /// Takes in what happened to an object.
    pub(crate) fn observe<K: Resource>(&self, kind: &'static ResourceType, change: &Change<'_, K>) {
        let Some(object) = change.new.or(change.old) else { return };
        let uid = meta::uid(object.meta());
        let look = match change.new {
            Some(new) => self.graph().put(uid, Object::read(kind, new.meta())),
            None => self.graph().remove(uid),
        };
        look.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, uid: &str) -> Option<Object> {
        self.graph().get(uid).cloned()
    }

    /// Looks at an object once.
    pub(crate) async fn pass(self: Arc<Self>, uid: String) -> Result<Next> {
        let mut asked = BTreeMap::new();
        loop {
            let Some(object) = self.object(&uid) else { return Ok(Next::Idle) };
            let action = plan(&self.graph(), &uid, &asked);
            let Action::Ask(owners) = action else {
                self.act(&uid, &object, action).await?;
                return Ok(Next::Idle);
            };
            for owner in owners {
                self.tell_foreign_owner(&uid, &object, &owner);
                let existence = self.ask(&object.key, &owner).await?;
                asked.insert(owner.uid, existence);
            }
        }
    }

    async fn act(&self, uid: &str, object: &Object, action: Action) -> Result<()> {
        match action {
            Action::Keep | Action::Ask(_) => Ok(()),
            Action::Delete { foreground } => self.delete(uid, object, foreground).await,
            Action::DropOwners(gone) => self.drop_owners(uid, object, &gone).await,
            Action::LetGo(waits) => self.drop_finalizer(uid, object, waits.finalizer()).await,
            Action::LookAt(dependents) => {
                dependents.into_iter().for_each(|dependent| self.queue.add(dependent));
                Ok(())
            }
            Action::Orphan(dependents) => self.orphan(uid, object, &dependents).await,
        }
    }

    fn api(&self, kind: &ResourceType, namespace: &str) -> Api<DynamicObject> {
        api::api_of(&self.client, kind, namespace)
    }

    /// Asks the API server whether an owner exists.
    async fn ask(&self, dependent: &Key, owner: &OwnerReference) -> Result<Existence> {
        let kind = scheme::by_kind(&owner.api_version, &owner.kind);
        // What has no namespace cannot belong to what has one: nothing can be concluded.
        let kind = kind.filter(|kind| !kind.namespaced || !dependent.namespace.is_empty());
        let Some(kind) = kind else { return Ok(Existence::Unknown) };
        let key = Key::new(if kind.namespaced { dependent.namespace.as_str() } else { "" }, &owner.name);
        let found: Option<Metadata> =
            self.api(kind, &key.namespace).get_metadata_opt(&key.name).await.doing("reading owner", &key)?;
        let present = found.is_some_and(|found| meta::uid(&found.metadata) == owner.uid);
        Ok(if present { Existence::Present } else { Existence::Absent })
    }

    /// Tells people of an owner in another namespace, which counts as none.
    fn tell_foreign_owner(&self, uid: &str, object: &Object, owner: &OwnerReference) {
        let seen = self.object(&owner.uid).filter(|seen| !seen.key.namespace.is_empty());
        if seen.is_none_or(|seen| seen.key.namespace == object.key.namespace) {
            return;
        }
        let (OwnerReference { api_version, kind, name, uid: owner_uid, .. }, namespace) =
            (owner, &object.key.namespace);
        let reference = format!("[{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {owner_uid}]");
        let message = format!("ownerRef {reference} does not exist in namespace {namespace:?}");
        let about = ObjectReference {
            api_version: Some(object.kind.api_version.to_owned()),
            kind: Some(object.kind.kind.to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(object.key.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        self.recorder.record_about(about, Note::warning("OwnerRefInvalidNamespace", message));
    }

    async fn delete(&self, uid: &str, object: &Object, foreground: bool) -> Result<()> {
        let policy = if foreground { PropagationPolicy::Foreground } else { PropagationPolicy::Background };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.api(object.kind, &object.key.namespace).delete(&object.key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if api::is_not_found(&error) || api::is_conflict(&error) => Ok(()),
            Err(error) => Err(error).doing("deleting", &object.key),
        }
    }

    async fn orphan(&self, uid: &str, object: &Object, dependents: &[String]) -> Result<()> {
        for dependent_uid in dependents {
            if let Some(dependent) = self.object(dependent_uid) {
                self.drop_owners(dependent_uid, &dependent, &[uid.to_owned()]).await?;
            }
        }
        self.drop_finalizer(uid, object, ORPHAN).await
    }

    async fn drop_owners(&self, uid: &str, object: &Object, gone: &[String]) -> Result<()> {
        self.edit(uid, object, |metadata| {
            let owners = meta::owners(metadata);
            let left: Vec<&OwnerReference> = owners.iter().filter(|owner| !gone.contains(&owner.uid)).collect();
            (left.len() < owners.len()).then(|| json!({ "ownerReferences": left }))
        })
        .await
    }

    async fn drop_finalizer(&self, uid: &str, object: &Object, finalizer: &str) -> Result<()> {
        self.edit(uid, object, |metadata| {
            let left: Vec<&String> = metadata.finalizers.iter().flatten().filter(|f| *f != finalizer).collect();
            meta::has_finalizer(metadata, finalizer).then(|| json!({ "finalizers": left }))
        })
        .await
    }

    /// Changes the metadata of exactly this object, unless `edit` finds nothing to change.
    async fn edit(&self, uid: &str, object: &Object, edit: impl Fn(&ObjectMeta) -> Option<Value> + Send) -> Result<()> {
        let api = self.api(object.kind, &object.key.namespace);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let found: Option<Metadata> = api.get_metadata_opt(&object.key.name).await.doing("reading", &object.key)?;
            let Some(found) = found.filter(|found| meta::uid(&found.metadata) == uid) else { return Ok(()) };
            let Some(mut metadata) = edit(&found.metadata) else { return Ok(()) };
            metadata["uid"] = json!(uid);
            metadata["resourceVersion"] = json!(found.metadata.resource_version);
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            match api.patch_metadata(&object.key.name, &PatchParams::default(), &patch).await {
                Ok(_) => return Ok(()),
                Err(error) if api::is_not_found(&error) => return Ok(()),
                Err(error) if api::is_conflict(&error) => last = Some(error),
                Err(error) => return Err(error).doing("changing the metadata of", &object.key),
            }
        }
        last.map_or(Ok(()), |error| Err(error).doing("changing the metadata of", &object.key))
    }
}
