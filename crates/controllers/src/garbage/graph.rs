//! Who owns whom, as far as it has been seen.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::scheme::ResourceType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::meta::{self, Key};

/// Waits for dependents to be gone before the object goes.
pub const FOREGROUND: &str = "foregroundDeletion";

/// Waits for dependents to be let go before the object goes.
pub const ORPHAN: &str = "orphan";

/// An object, as far as ownership is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: &'static ResourceType,
    /// Its name.
    pub key: Key,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// What its deletion waits for; none if nobody deletes it, or nothing of ours is waited for.
    pub waits: Option<Waits>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// What a deletion waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// The end of its dependents.
    Foreground,
    /// That its dependents no longer name it.
    Orphan,
}

impl Waits {
    pub(crate) const fn finalizer(self) -> &'static str {
        match self {
            Self::Foreground => FOREGROUND,
            Self::Orphan => ORPHAN,
        }
    }
}

impl Object {
    /// Reads an object's metadata.
    #[must_use]
    pub fn read(kind: &'static ResourceType, metadata: &ObjectMeta) -> Self {
        let deleting = meta::is_deleting(metadata);
        let waits = if meta::has_finalizer(metadata, ORPHAN) {
            Some(Waits::Orphan)
        } else {
            meta::has_finalizer(metadata, FOREGROUND).then_some(Waits::Foreground)
        };
        Self {
            kind,
            key: Key::of(metadata),
            owners: meta::owners(metadata).to_vec(),
            waits: waits.filter(|_| deleting),
            deleting,
        }
    }

    /// Whether the reference names this object. The uid alone can be forged or mistaken.
    #[must_use]
    pub fn is_named_by(&self, reference: &OwnerReference, dependent: &Key) -> bool {
        let group =
            |api_version: &str| api_version.split_once('/').map_or_else(String::new, |(group, _)| group.to_owned());
        reference.kind == self.kind.kind
            && reference.name == self.key.name
            && group(&reference.api_version) == self.kind.group
            && (self.key.namespace.is_empty() || self.key.namespace == dependent.namespace)
    }
}

/// All objects that have been seen, by uid.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    objects: BTreeMap<String, Object>,
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Takes in a version of an object. Returns the uids to look at.
    pub fn put(&mut self, uid: &str, object: Object) -> Vec<String> {
        let old = self.take(uid);
        for owner in &object.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
        }
        let owners_changed = old.as_ref().is_none_or(|old| old.owners != object.owners) && !object.owners.is_empty();
        let starts_to_wait = object.waits.is_some() && old.as_ref().is_none_or(|old| old.waits != object.waits);
        let freed = old.iter().flat_map(|old| &old.owners).filter(|owner| !object.owners.contains(owner));
        let mut look: Vec<String> = freed.map(|owner| owner.uid.clone()).collect();
        if owners_changed || starts_to_wait {
            look.push(uid.to_owned());
        }
        self.objects.insert(uid.to_owned(), object);
        look
    }

    /// Takes in that an object is gone. Returns the uids to look at.
    pub fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(old) = self.take(uid) else { return Vec::new() };
        let owners = old.owners.into_iter().map(|owner| owner.uid);
        owners.chain(self.dependents_of(uid).map(str::to_owned)).collect()
    }

    fn take(&mut self, uid: &str) -> Option<Object> {
        let old = self.objects.remove(uid)?;
        for owner in &old.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        Some(old)
    }

    /// The object with that uid.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid)
    }

    /// The uids of the objects that name this owner.
    pub fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &str> {
        self.dependents.get(uid).into_iter().flatten().map(String::as_str)
    }

    /// Dependents whose end the owner's deletion in the foreground waits for.
    pub(crate) fn blocking(&self, uid: &str) -> bool {
        let blocks = |dependent: &Object| {
            dependent.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
        };
        self.dependents_of(uid).filter_map(|dependent| self.get(dependent)).any(blocks)
    }
}
