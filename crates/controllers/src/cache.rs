//! What a controller has seen of one kind: every object's newest known version.
//!
//! The cache is written by the watch and by the controllers themselves, which put the server's
//! answers to their own writes into it. So a controller always sees its own writes and needs no
//! expectations. Versions decide which of two copies is newer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use tokio::sync::watch;

use crate::meta::{self, Key};

/// What happened to one object, as handlers are told.
#[derive(Debug)]
pub(crate) struct Change<'a, K> {
    pub(crate) old: Option<&'a Arc<K>>,
    pub(crate) new: Option<&'a Arc<K>>,
}

type Handler<K> = dyn Fn(Change<'_, K>) + Send + Sync;

/// All objects of one kind, kept current.
pub(crate) struct Cache<K> {
    inner: RwLock<Inner<K>>,
    handlers: RwLock<Vec<Arc<Handler<K>>>>,
    synced: watch::Sender<bool>,
    shrink: fn(&mut K),
}

struct Inner<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Keys by the uid of the controlling owner; objects without one are under the empty uid.
    by_controller: BTreeMap<String, BTreeSet<Key>>,
    /// Objects that are known to be gone although the watch has not said so yet.
    buried: BTreeSet<String>,
}

impl<K: Resource + 'static> Cache<K> {
    /// An empty cache. `shrink` drops what nobody reads of an object before it is kept.
    pub(crate) fn new(shrink: fn(&mut K)) -> Self {
        let inner = Inner { objects: BTreeMap::new(), by_controller: BTreeMap::new(), buried: BTreeSet::new() };
        Self { inner: RwLock::new(inner), handlers: RwLock::default(), synced: watch::Sender::new(false), shrink }
    }

    /// Adds a handler. It is called after each change, outside the cache's lock, and must be quick.
    pub(crate) fn on_change(&self, handler: impl Fn(Change<'_, K>) + Send + Sync + 'static) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(handler));
    }

    /// Completes when the first list is complete.
    pub(crate) async fn wait_synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// The same for whoever wants to wait without holding on to this reference.
    pub(crate) fn synced(self: &Arc<Self>) -> BoxFuture<'static, ()>
    where
        K: Send + Sync,
    {
        let cache = Arc::clone(self);
        async move { cache.wait_synced().await }.boxed()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().objects.get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read().objects.values().cloned().collect()
    }

    /// The objects of a namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.select_in(namespace, |objects| objects.map(|(_, object)| Arc::clone(object)).collect())
    }

    /// How many objects the namespace has.
    pub(crate) fn count_in(&self, namespace: &str) -> usize {
        self.select_in(namespace, |objects| objects.count())
    }

    fn select_in<T>(&self, namespace: &str, take: impl FnOnce(&mut dyn Iterator<Item = (&Key, &Arc<K>)>) -> T) -> T {
        let inner = self.read();
        let first = Key::new(namespace, "");
        take(&mut inner.objects.range(first..).take_while(|(key, _)| key.namespace == namespace))
    }

    /// The objects that the owner controls.
    pub(crate) fn controlled_by(&self, owner_uid: &str) -> Vec<Arc<K>> {
        self.select(owner_uid, |_| true)
    }

    /// The objects of a namespace that nobody controls.
    pub(crate) fn without_controller(&self, namespace: &str) -> Vec<Arc<K>> {
        self.select("", |key| key.namespace == namespace)
    }

    fn select(&self, owner_uid: &str, wanted: impl Fn(&Key) -> bool) -> Vec<Arc<K>> {
        let inner = self.read();
        let keys = inner.by_controller.get(owner_uid).into_iter().flatten();
        keys.filter(|key| wanted(key)).filter_map(|key| inner.objects.get(key).cloned()).collect()
    }

    /// Takes in a version of an object, unless a newer one is known.
    pub(crate) fn apply(&self, mut object: K) {
        (self.shrink)(&mut object);
        let key = Key::of(object.meta());
        let new = Arc::new(object);
        let old = {
            let mut inner = self.write();
            let uid = meta::uid(new.meta());
            if inner.buried.contains(uid) || inner.objects.get(&key).is_some_and(|old| is_newer(old.meta(), new.meta()))
            {
                return;
            }
            inner.put(key, Arc::clone(&new))
        };
        match old.as_ref() {
            Some(old) if meta::uid(old.meta()) != meta::uid(new.meta()) => {
                self.tell(Some(old), None);
                self.tell(None, Some(&new));
            }
            old => self.tell(old, Some(&new)),
        }
    }

    /// Takes in that an object is gone, as the watch says it.
    pub(crate) fn remove(&self, gone: &ObjectMeta) {
        self.drop_object(gone, false);
    }

    /// Takes in that an object is gone, as somebody else than the watch found out.
    pub(crate) fn bury(&self, gone: &ObjectMeta) {
        self.drop_object(gone, true);
    }

    fn drop_object(&self, gone: &ObjectMeta, ahead_of_watch: bool) {
        let (key, uid) = (Key::of(gone), meta::uid(gone));
        let old = {
            let mut inner = self.write();
            let present = inner.objects.get(&key).is_some_and(|old| meta::uid(old.meta()) == uid);
            if ahead_of_watch && present {
                inner.buried.insert(uid.to_owned());
            } else {
                inner.buried.remove(uid);
            }
            if present { inner.take(&key) } else { None }
        };
        if let Some(old) = old {
            self.tell(Some(&old), None);
        }
    }

    /// Replaces everything by a complete list that the server made at `version`.
    pub(crate) fn replace(&self, listed: Vec<K>, version: u64) {
        let present: BTreeSet<String> = listed.iter().map(|o| meta::uid(o.meta()).to_owned()).collect();
        self.write().buried.retain(|uid| present.contains(uid));
        for object in listed {
            self.apply(object);
        }
        let unlisted = |object: &Arc<K>| {
            let known = meta::version(object.meta());
            !present.contains(meta::uid(object.meta())) && (known <= version || version == 0)
        };
        let gone: Vec<Arc<K>> = self.read().objects.values().filter(|o| unlisted(o)).cloned().collect();
        for object in gone {
            self.remove(object.meta());
        }
        self.synced.send_replace(true);
    }

    fn tell(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner).clone();
        for handler in handlers {
            handler(Change { old, new });
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<K>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<K>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what is known of an object makes an incoming copy of it superfluous.
fn is_newer(known: &ObjectMeta, incoming: &ObjectMeta) -> bool {
    let (known_version, version) = (meta::version(known), meta::version(incoming));
    version != 0 && known_version >= version
}

impl<K: Resource> Inner<K> {
    fn put(&mut self, key: Key, object: Arc<K>) -> Option<Arc<K>> {
        let old = self.take(&key);
        self.by_controller.entry(controller_uid(object.meta())).or_default().insert(key.clone());
        self.objects.insert(key, object);
        old
    }

    fn take(&mut self, key: &Key) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        let owner = controller_uid(old.meta());
        if let Some(keys) = self.by_controller.get_mut(&owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_controller.remove(&owner);
            }
        }
        Some(old)
    }
}

fn controller_uid(object: &ObjectMeta) -> String {
    meta::controller(object).map(|owner| owner.uid.clone()).unwrap_or_default()
}

impl<K> Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
        let metadata = ObjectMeta {
            namespace: Some("ns".into()),
            name: Some(name.into()),
            uid: Some(uid.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn versions(cache: &Cache<ConfigMap>) -> Vec<u64> {
        cache.all().iter().map(|o| meta::version(&o.metadata)).collect()
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let cache = Cache::new(|_| {});
        cache.apply(object("a", "1", 7));
        cache.apply(object("a", "1", 5));
        assert_eq!(versions(&cache), [7]);
        cache.apply(object("a", "1", 8));
        assert_eq!(versions(&cache), [8]);
    }

    #[test]
    fn a_late_watch_event_does_not_bring_a_deleted_object_back() {
        let cache = Cache::new(|_| {});
        cache.apply(object("a", "1", 7));
        cache.bury(&object("a", "1", 7).metadata);
        cache.apply(object("a", "1", 8));
        assert!(versions(&cache).is_empty());
        cache.remove(&object("a", "1", 9).metadata);
        cache.apply(object("a", "2", 10));
        assert_eq!(versions(&cache), [10]);
    }

    #[test]
    fn a_list_removes_what_it_lacks_but_not_what_was_written_after_it() {
        let cache = Cache::new(|_| {});
        cache.apply(object("old", "1", 3));
        cache.apply(object("own-write", "2", 9));
        cache.replace(vec![object("listed", "3", 4)], 6);
        let names: Vec<_> = cache.all().iter().map(|o| meta::name(&o.metadata).to_owned()).collect();
        assert_eq!(names, ["listed", "own-write"]);
    }
}
