//! Calls to the API that several controllers make, and what their errors mean.

use apimachinery::scheme::ResourceType;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, DynamicObject, NamespaceResourceScope, PartialObjectMeta};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use thiserror::Error;

use crate::cache::Cache;
use crate::meta::{self, Key};

/// A call to the API failed.
#[derive(Debug, Error)]
#[error("{doing} {object}")]
pub(crate) struct ApiError {
    /// What was being done, as a participle.
    pub(crate) doing: &'static str,
    /// With which object.
    pub(crate) object: Key,
    /// What the API, or the way to it, said.
    #[source]
    pub(crate) source: Box<kube::Error>,
}

pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Says what was being done, with which object.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str, object: &Key) -> Result<T>;
}

impl<T> Doing<T> for kube::Result<T> {
    fn doing(self, what: &'static str, object: &Key) -> Result<T> {
        self.map_err(|error| ApiError { doing: what, object: object.clone(), source: Box::new(error) })
    }
}

/// What went wrong, without how the client library wraps it.
pub(crate) fn cause(error: &kube::Error) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum of which one variant is told apart")]
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum of which one variant is told apart")]
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// Another write came first, or the object is not the one that was meant, or exists already.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    code(error) == Some(409)
}

/// The object is gone, or not as it was: a new plan is to be made.
pub(crate) fn has_changed(error: &kube::Error) -> bool {
    is_not_found(error) || is_conflict(error)
}

/// Whether nothing is known about the outcome: the server may or may not have done it.
pub(crate) fn is_ambiguous(error: &kube::Error) -> bool {
    code(error).is_none_or(|code| code >= 500)
}

/// The namespace is going away, so nothing can be created in it.
pub(crate) fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// An API of one namespace.
pub(crate) fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// The metadata of an object of any kind.
pub(crate) type Metadata = PartialObjectMeta<DynamicObject>;

/// An API of a kind that is known by name only. Without a namespace it is about all of them.
pub(crate) fn api_of(client: &Client, kind: &ResourceType, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version.to_owned(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    };
    if kind.namespaced && !namespace.is_empty() {
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    }
}

/// Reads an object anew into the cache.
pub(crate) async fn refresh<K>(client: &Client, cache: &Cache<K>, known: &K) -> Result<Option<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static,
{
    let key = Key::of(known.meta());
    let fresh = api::<K>(client, &key.namespace).get_opt(&key.name).await.doing("reading", &key)?;
    let same = fresh.filter(|fresh| meta::uid(fresh.meta()) == meta::uid(known.meta()));
    match &same {
        Some(fresh) => cache.apply(fresh.clone()),
        None => cache.bury(known.meta()),
    }
    Ok(same)
}

/// Deletes exactly this object. Returns whether it was still there.
pub(crate) async fn delete<K>(
    client: &Client,
    cache: &Cache<K>,
    object: &K,
    propagation: PropagationPolicy,
) -> Result<bool>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static,
{
    let key = Key::of(object.meta());
    let preconditions = Preconditions { uid: object.meta().uid.clone(), resource_version: None };
    let params = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    match api::<K>(client, &key.namespace).delete(&key.name, &params).await {
        Ok(answer) => {
            match answer.left().filter(|left| meta::is_deleting(left.meta())) {
                Some(stopping) => cache.apply(stopping),
                None => cache.bury(object.meta()),
            }
            Ok(true)
        }
        Err(error) if is_not_found(&error) || is_conflict(&error) => {
            cache.bury(object.meta());
            Ok(false)
        }
        Err(error) => Err(error).doing("deleting", &key),
    }
}

/// Takes a finalizer from exactly this object; that it is gone already is fine too.
pub(crate) async fn remove_finalizer<K>(client: &Client, cache: &Cache<K>, object: &K, finalizer: &str) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static,
{
    let key = Key::of(object.meta());
    let mut current = object.clone();
    for _ in 0..FINALIZER_ATTEMPTS {
        let Some(patch) = finalizer_patch(&current, finalizer) else { return Ok(()) };
        let patched = api::<K>(client, &key.namespace).patch(&key.name, &PatchParams::default(), &patch).await;
        match patched {
            Ok(patched) => {
                cache.apply(patched);
                return Ok(());
            }
            Err(error) if is_not_found(&error) => {
                cache.bury(object.meta());
                return Ok(());
            }
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error).doing("removing a finalizer from", &key),
        }
        let Some(fresh) = refresh(client, cache, object).await? else { return Ok(()) };
        current = fresh;
    }
    let error = kube::Error::Api(Box::new(kube::core::Status::failure("object changes all the time", "Conflict")));
    Err(error).doing("removing a finalizer from", &key)
}

/// Attempts to change an object that others change at the same time.
const FINALIZER_ATTEMPTS: usize = 5;

/// The version makes the patch fail if anything else has changed, for instance the object is
/// another one of that name.
fn finalizer_patch<K: Resource>(object: &K, finalizer: &str) -> Option<Patch<serde_json::Value>> {
    if !meta::has_finalizer(object.meta(), finalizer) {
        return None;
    }
    let left: Vec<&String> = object.meta().finalizers.iter().flatten().filter(|f| *f != finalizer).collect();
    let left = Some(left).filter(|left| !left.is_empty());
    let metadata = json!({
        "uid": object.meta().uid,
        "resourceVersion": object.meta().resource_version,
        "finalizers": left,
    });
    Some(Patch::Merge(json!({ "metadata": metadata })))
}
