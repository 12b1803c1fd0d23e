//! What a namespace that goes still holds: it is deleted, pods first, and the namespace says how far
//! that is (`pkg/controller/namespace/deletion`).

use std::collections::BTreeMap;

use apimachinery::scheme::{self, ResourceType};
use apimachinery::time::seconds;
use serde_json::{Value, json};

use super::delete::{DeleteOptions, Deleted, Propagation};
use super::{MOST_ROUNDS, Place, Registry, condition, meta, strategy};
use crate::store::{Change, Expected};

/// What is left after everything was told to go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remains {
    /// Objects by resource and group, as people are told.
    objects: BTreeMap<String, usize>,
    /// Objects by the finalizers that hold them.
    finalizers: BTreeMap<String, usize>,
    /// Why objects could not be told to go.
    failures: Vec<String>,
}

impl Remains {
    fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn add(&mut self, kind: &ResourceType, object: &Value) {
        *self.objects.entry(format!("{}.{}", kind.plural, kind.group)).or_default() += 1;
        for finalizer in meta::finalizers(object) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
}

impl Registry {
    /// Deletes what a namespace that goes still holds; when it holds nothing, removes it.
    ///
    /// Pods go first, so that what they stop with (tokens, configuration) is there until they have stopped.
    pub(crate) fn advance_namespace(&self, name: &str) {
        if self.is_active(name) {
            return;
        }
        let mut remains = self.clear(name, strategy::is_pod);
        if remains.is_empty() {
            remains = self.clear(name, |kind| !strategy::is_pod(kind));
        }
        match remains.is_empty() {
            true => self.finish_namespace(name),
            false => self.report_remains(name, &remains),
        }
    }

    /// Tells objects of some kinds to go, those that have not been told yet.
    fn clear(&self, name: &str, wanted: impl Fn(&ResourceType) -> bool) -> Remains {
        let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        let prefix = format!("{name}/");
        let mut remains = Remains::default();
        for kind in scheme::all().iter().filter(|kind| kind.namespaced && wanted(kind)) {
            for object in self.store.snapshot(&strategy::table(kind)).range(&prefix, "") {
                if meta::is_deleting(object.value()) {
                    remains.add(kind, object.value());
                    continue;
                }
                match self.delete_only(Place::of(kind, object.value()), &options) {
                    Ok(Deleted::Gone(_)) => {}
                    Ok(Deleted::Pending(marked)) => remains.add(kind, marked.value()),
                    Err(error) if error.code == 404 => {}
                    Err(error) => {
                        remains.add(kind, object.value());
                        remains.failures.push(error.message);
                    }
                }
            }
        }
        remains
    }

    fn report_remains(&self, name: &str, remains: &Remains) {
        let Some(kind) = scheme::by_plural("", "v1", "namespaces") else { return };
        for _ in 0..MOST_ROUNDS {
            let Some(old) = self.namespace(name).filter(|old| meta::is_deleting(old.value())) else { return };
            let mut new = old.value().clone();
            for condition in conditions(remains) {
                condition::set(&mut new, condition, &seconds(self.now()));
            }
            if new == *old.value() {
                return;
            }
            let expected = Expected::Revision(old.revision());
            if self.store.commit(&strategy::table(kind), old.key(), expected, Change::Put(new)).is_ok() {
                return;
            }
        }
    }

    /// Removes an empty namespace, unless a finalizer of its own still holds it.
    fn finish_namespace(&self, name: &str) {
        let Some(kind) = scheme::by_plural("", "v1", "namespaces") else { return };
        for _ in 0..MOST_ROUNDS {
            let Some(old) = self.namespace(name).filter(|old| meta::is_deleting(old.value())) else { return };
            let mut new = old.value().clone();
            new["spec"] = json!({});
            if !meta::finalizers(&new).is_empty() {
                for condition in conditions(&Remains::default()) {
                    condition::set(&mut new, condition, &seconds(self.now()));
                }
            }
            let change = match meta::finalizers(&new).is_empty() {
                true => Change::DeleteAs(new),
                false if new == *old.value() => return,
                false => Change::Put(new),
            };
            if self.store.commit(&strategy::table(kind), old.key(), Expected::Revision(old.revision()), change).is_ok()
            {
                return;
            }
        }
    }
}

/// What the namespace says of its deletion. Kinds are compiled in, so finding them never fails.
fn conditions(remains: &Remains) -> [Value; 5] {
    let condition = |name: &str, status: bool, reason: &str, message: String| {
        let status = if status { "True" } else { "False" };
        json!({"type": name, "status": status, "reason": reason, "message": message})
    };
    let list = |of: &BTreeMap<String, usize>, verb: &str| {
        of.iter()
            .map(|(name, count)| format!("{name} {verb} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let failed = match remains.failures.first() {
        Some(first) => (
            true,
            "ContentDeletionFailed",
            format!("Failed to delete all resource types, {} remaining: {first}", remains.failures.len()),
        ),
        None => {
            (false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization".to_owned())
        }
    };
    let content = match remains.objects.is_empty() {
        true => (false, "ContentRemoved", "All content successfully removed".to_owned()),
        false => {
            (true, "SomeResourcesRemain", format!("Some resources are remaining: {}", list(&remains.objects, "has")))
        }
    };
    let finalizers = match remains.finalizers.is_empty() {
        true => (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned()),
        false => (
            true,
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {}", list(&remains.finalizers, "in")),
        ),
    };
    let discovered = "All resources successfully discovered".to_owned();
    let parsed = "All legacy kube types successfully parsed".to_owned();
    [
        condition("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", discovered),
        condition("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions", parsed),
        condition("NamespaceDeletionContentFailure", failed.0, failed.1, failed.2),
        condition("NamespaceContentRemaining", content.0, content.1, content.2),
        condition("NamespaceFinalizersRemaining", finalizers.0, finalizers.1, finalizers.2),
    ]
}
