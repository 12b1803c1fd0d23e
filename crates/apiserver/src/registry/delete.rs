//! `delete`: grace, finalizers, dependents, removal.

use std::sync::Arc;

use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use jiff::Timestamp;
use serde_json::Value;

use super::meta::{FOREGROUND, ORPHAN};
use super::selection::Selection;
use super::strategy::{self, Dependents};
use super::{MOST_ROUNDS, Place, Registry, meta};
use crate::store::{Change, CommitError, Expected, Object};

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
}

/// `propagationPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// What became of a deletion.
#[derive(Clone, Debug)]
pub(crate) enum Deleted {
    /// The object is no more; this was its last content.
    Gone(Arc<Object>),
    /// Somebody still has to do something before it goes.
    Pending(Arc<Object>),
}

impl Deleted {
    pub(crate) fn object(&self) -> &Arc<Object> {
        match self {
            Self::Gone(object) | Self::Pending(object) => object,
        }
    }
}

/// What a deletion has to do with the object as it is.
enum Step {
    /// Nothing: a deletion that is at least as urgent is under way.
    Wait,
    /// Write this first; then remove it if nothing holds it.
    Mark { marked: Value, then_remove: bool },
    /// Remove it.
    Remove,
}

impl Registry {
    /// Deletes an object, and what follows from that in its namespace.
    pub(crate) fn delete(&self, place: Place<'_>, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        if strategy::is_namespace(place.kind) {
            return self.delete_namespace(place, options);
        }
        let deleted = self.delete_only(place, options)?;
        if let Deleted::Gone(object) = &deleted
            && !options.dry_run
        {
            self.after_remove(place.kind, object);
        }
        Ok(deleted)
    }

    /// Deletes every selected object; returns those that were found.
    pub(crate) fn delete_collection(
        &self,
        selection: &Selection,
        options: &DeleteOptions,
    ) -> Result<Vec<Arc<Object>>, ApiError> {
        let kind = selection.kind();
        let mut touched = Vec::new();
        for object in selection.pick(&self.store.snapshot(&strategy::table(kind))) {
            match self.delete(Place::of(kind, object.value()), options) {
                Ok(deleted) => touched.push(Arc::clone(deleted.object())),
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(touched)
    }

    /// Deletes an object without any consequence for others.
    pub(crate) fn delete_only(&self, place: Place<'_>, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        // Written by an earlier round, to be removed by the next step. A node agent that saw the mark may be quicker:
        // then the object is gone as was asked for, also if there is another one of its name by now.
        let mut marked: Option<Arc<Object>> = None;
        for _ in 0..MOST_ROUNDS {
            let old = match (self.get(place), &marked) {
                (Ok(old), Some(mine)) if meta::uid(old.value()) != meta::uid(mine.value()) => {
                    return Ok(Deleted::Gone(Arc::clone(mine)));
                }
                (Err(error), Some(mine)) if error.code == 404 => return Ok(Deleted::Gone(Arc::clone(mine))),
                (old, _) => old?,
            };
            check_preconditions(place, old.value(), options)?;
            let step = next_step(place.kind, old.value(), options, self.now());
            if options.dry_run {
                return Ok(dry(&old, step));
            }
            match self.take_step(place.kind, old, step, &mut marked) {
                Ok(deleted) => return Ok(deleted),
                Err(CommitError::Changed | CommitError::Exists) => {}
                Err(CommitError::Missing) => return marked.map(Deleted::Gone).ok_or_else(|| place.not_found()),
            }
        }
        Err(place.modified())
    }

    /// Carries a step out. `marked_for_removal` gets the object once it is marked and nothing but its removal is left to do.
    fn take_step(
        &self,
        kind: &ResourceType,
        old: Arc<Object>,
        step: Step,
        marked_for_removal: &mut Option<Arc<Object>>,
    ) -> Result<Deleted, CommitError> {
        let table = strategy::table(kind);
        let commit = |object: &Object, change| {
            self.store.commit(&table, object.key(), Expected::Revision(object.revision()), change)
        };
        match step {
            Step::Wait => Ok(Deleted::Pending(old)),
            Step::Remove => commit(&old, Change::Delete).map(Deleted::Gone),
            Step::Mark { marked, then_remove } => {
                let marked = if marked == *old.value() { old } else { commit(&old, Change::Put(marked))? };
                if !then_remove {
                    return Ok(Deleted::Pending(marked));
                }
                *marked_for_removal = Some(Arc::clone(&marked));
                commit(&marked, Change::Delete).map(Deleted::Gone)
            }
        }
    }
}

fn dry(old: &Object, step: Step) -> Deleted {
    let draft = |value| Arc::new(Object::draft(old.shared_key(), value));
    match step {
        Step::Wait => Deleted::Pending(draft(old.value().clone())),
        Step::Mark { marked, then_remove: false } => Deleted::Pending(draft(marked)),
        Step::Mark { marked, then_remove: true } => Deleted::Gone(draft(marked)),
        Step::Remove => Deleted::Gone(draft(old.value().clone())),
    }
}

/// The checks of `rest.BeforeDelete`; they name the kind where others name the resource.
pub(super) fn check_preconditions(place: Place<'_>, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let uid = meta::uid(old);
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). \
             The object might have been deleted and then recreated"
        );
        return Err(place.conflict_as(&place.kind.qualified_kind(), &why));
    }
    let version = meta::text(old, "resourceVersion");
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        );
        return Err(place.conflict_as(&place.kind.qualified_kind(), &why));
    }
    Ok(())
}

/// `Store.Delete` and `updateForGracefulDeletionAndFinalizers` of the generic registry.
fn next_step(kind: &ResourceType, old: &Value, options: &DeleteOptions, now: Timestamp) -> Step {
    let graceful = graceful(kind, old, options.grace, now);
    let finalizers = finalizers_after(kind, old, options.propagation);
    let changed = finalizers != meta::finalizers(old);
    let (mut marked, grace) = match graceful {
        Graceful::UnderWay => return Step::Wait,
        Graceful::Begin(marked) => {
            let grace = meta::deletion_grace(&marked).unwrap_or(0);
            (marked, grace)
        }
        Graceful::Not if finalizers.is_empty() && !changed => return Step::Remove,
        Graceful::Not => (mark_at_once(old, finalizers.is_empty(), now), 0),
    };
    meta::set_finalizers(&mut marked, &finalizers);
    Step::Mark { marked, then_remove: finalizers.is_empty() && grace == 0 }
}

/// Marks an object that only finalizers keep; an earlier mark stays.
fn mark_at_once(old: &Value, unheld: bool, now: Timestamp) -> Value {
    let mut marked = old.clone();
    if !unheld {
        let at = meta::deletion_timestamp(old).filter(|at| *at <= now).unwrap_or(now);
        meta::mark_deleting(&mut marked, at, 0);
    }
    marked
}

/// How a graceful deletion goes on.
enum Graceful {
    /// The kind, or this state of the object, knows no grace.
    Not,
    /// It has begun, and the request does not hurry it.
    UnderWay,
    /// It begins or becomes more urgent: the marked object.
    Begin(Value),
}

/// S1-32, S1-33: `rest.BeforeDelete`.
fn graceful(kind: &ResourceType, old: &Value, asked: Option<i64>, now: Timestamp) -> Graceful {
    let asked = asked.map(|grace| if grace < 0 { 1 } else { grace });
    let Some(period) = strategy::graceful_period(kind, old, asked) else { return Graceful::Not };
    if !meta::is_deleting(old) {
        let mut marked = old.clone();
        meta::mark_deleting(&mut marked, meta::later(now, period), period);
        return Graceful::Begin(marked);
    }
    let Some(present) = meta::deletion_grace(old).filter(|grace| *grace != 0) else { return Graceful::Not };
    match asked {
        Some(asked) if asked < present => Graceful::Begin(hurried(old, present, asked, now)),
        Some(_) | None => Graceful::UnderWay,
    }
}

/// Moves the end of the grace to `asked` seconds after its begin, but not into the past.
fn hurried(old: &Value, present: i64, asked: i64, now: Timestamp) -> Value {
    let end = meta::deletion_timestamp(old).unwrap_or(now);
    let earlier = meta::later(end, asked.saturating_sub(present));
    let (end, grace) = if earlier < now { (now, asked.min(1)) } else { (earlier, asked) };
    let mut marked = old.clone();
    meta::mark_deleting(&mut marked, end, grace);
    marked
}

/// `deletionFinalizersForGarbageCollection`: at most one of the two finalizers of the collector.
fn finalizers_after(kind: &ResourceType, old: &Value, asked: Option<Propagation>) -> Vec<String> {
    let present = meta::finalizers(old);
    let by_object = || {
        present.iter().find_map(|finalizer| match *finalizer {
            ORPHAN => Some(Propagation::Orphan),
            FOREGROUND => Some(Propagation::Foreground),
            _ => None,
        })
    };
    let by_kind = || match strategy::default_dependents(kind) {
        Dependents::Orphan => Propagation::Orphan,
        Dependents::Delete => Propagation::Background,
    };
    let wanted = match asked.or_else(by_object).unwrap_or_else(by_kind) {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    let (of_collector, others): (Vec<&str>, Vec<&str>) =
        present.iter().partition(|finalizer| matches!(**finalizer, ORPHAN | FOREGROUND));
    // Order matters only in that an object is not rewritten for nothing.
    if of_collector == wanted.as_slice() {
        return present.into_iter().map(str::to_owned).collect();
    }
    others.into_iter().chain(wanted).map(str::to_owned).collect()
}
