//! Decides what becomes of an object when its owners change (garbagecollector.go: attemptToDeleteItem,
//! processDeletingDependentsItem, attemptToOrphan).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::garbage::graph::{Graph, Waits};
use crate::meta::Key;

/// Whether an owner exists, as the API server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// It does.
    Present,
    /// It does not, or another object has its name.
    Absent,
    /// Its kind is not known here, so nothing is concluded from it.
    Unknown,
}

/// What to do about an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing.
    Keep,
    /// Ask the API server for these owners, and decide again.
    Ask(Vec<OwnerReference>),
    /// Delete it, in the foreground if it has dependents of its own to wait for.
    Delete {
        /// Whether to wait for its dependents.
        foreground: bool,
    },
    /// Take the references to these owners from it.
    DropOwners(Vec<String>),
    /// Its deletion waits no longer: take the finalizer.
    LetGo(Waits),
    /// Look at its dependents, which are to be deleted before it.
    LookAt(Vec<String>),
    /// Make its dependents forget it, then take the finalizer.
    Orphan(Vec<String>),
}

/// Decides about the object with that uid.
#[must_use]
pub fn plan(graph: &Graph, uid: &str, asked: &BTreeMap<String, Existence>) -> Action {
    let Some(object) = graph.get(uid) else { return Action::Keep };
    let dependents = || graph.dependents_of(uid).map(str::to_owned).collect();
    match object.waits {
        Some(Waits::Orphan) => return Action::Orphan(dependents()),
        Some(Waits::Foreground) if graph.blocking(uid) => return Action::LookAt(dependents()),
        Some(Waits::Foreground) => return Action::LetGo(Waits::Foreground),
        None if object.deleting => return Action::Keep,
        None => {}
    }
    let owners = Owners::sort(graph, &object.key, &object.owners, asked);
    if !owners.unknown.is_empty() {
        return Action::Ask(owners.unknown);
    }
    if owners.solid > 0 {
        let gone: Vec<String> = owners.absent.into_iter().chain(owners.waiting).collect();
        return if gone.is_empty() { Action::Keep } else { Action::DropOwners(gone) };
    }
    if owners.waiting.is_empty() && owners.absent.is_empty() {
        return Action::Keep;
    }
    let foreground = !owners.waiting.is_empty() && graph.dependents_of(uid).next().is_some();
    Action::Delete { foreground }
}

/// Owners by what they mean for their dependent.
#[derive(Debug, Default)]
struct Owners {
    /// They keep it.
    solid: usize,
    /// They are gone.
    absent: Vec<String>,
    /// They wait for it to go.
    waiting: Vec<String>,
    unknown: Vec<OwnerReference>,
}

impl Owners {
    fn sort(
        graph: &Graph,
        dependent: &Key,
        references: &[OwnerReference],
        asked: &BTreeMap<String, Existence>,
    ) -> Self {
        let mut owners = Self::default();
        for reference in references {
            let seen = graph.get(&reference.uid).filter(|owner| owner.is_named_by(reference, dependent));
            match (seen, asked.get(&reference.uid)) {
                (Some(owner), _) if owner.waits == Some(Waits::Foreground) => {
                    owners.waiting.push(reference.uid.clone())
                }
                (Some(_), _) | (None, Some(Existence::Present | Existence::Unknown)) => owners.solid += 1,
                (None, Some(Existence::Absent)) => owners.absent.push(reference.uid.clone()),
                (None, None) => owners.unknown.push(reference.clone()),
            }
        }
        owners
    }
}
