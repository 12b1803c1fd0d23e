//! Server-side apply, and who owns which fields after a write.

use apimachinery::apply::{self, Force, Writer};
use apimachinery::decode::Json;
use apimachinery::prepare::{self, Subresource};
use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use apimachinery::time::seconds;
use serde_json::{Value, json};

use super::update::{Part, check_place};
use super::{Place, Registry, WriteOptions, Written, meta, strategy};
use crate::rules;

/// How the owners of fields come into an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// They follow from what the write changes.
    Tracked,
    /// The object says them itself, since an apply has made it.
    Settled,
}

/// A write of an existing object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rewrite<'a> {
    pub(crate) part: Part,
    /// As managed fields name it; empty for the object itself.
    pub(crate) subresource: &'static str,
    pub(crate) options: &'a WriteOptions,
    pub(crate) ownership: Ownership,
}

impl<'a> Rewrite<'a> {
    /// A write of which the server finds out what it changes.
    pub(crate) fn tracked(part: Part, options: &'a WriteOptions) -> Self {
        let subresource = match part {
            Part::Of(Subresource::None) => "",
            Part::Of(Subresource::Status) => "status",
            Part::Of(Subresource::EphemeralContainers) => "ephemeralcontainers",
            Part::Of(Subresource::Resize) => "resize",
            Part::Finalize => "finalize",
        };
        Self { part, subresource, options, ownership: Ownership::Tracked }
    }
}

impl Registry {
    /// Applies what a manager says; creates the object if it is not there.
    pub(crate) fn apply(
        &self,
        place: Place<'_>,
        part: Part,
        applied: &Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        check(place, applied)?;
        let write = Rewrite { ownership: Ownership::Settled, ..Rewrite::tracked(part, options) };
        let force = if options.force { Force::Yes } else { Force::No };
        let merged = |live: &Value| {
            let now = seconds(self.now());
            let merged = apply::apply(&writer(place.kind, write, &now), live, applied, force)?;
            rules::decode(place.kind, Json { value: merged, duplicates: Vec::new() }, options.validation)
        };
        let whole = part == Part::Of(Subresource::None);
        if whole && self.store.get(&strategy::table(place.kind), &place.key()).is_none() {
            check_creatable(place, applied)?;
            let nothing = json!({"apiVersion": place.kind.api_version, "kind": place.kind.kind, "metadata": {}});
            let created =
                self.create_decoded(place.kind, place.namespace, merged(&nothing)?, options, Ownership::Settled);
            match created {
                // Somebody was quicker.
                Err(error) if error.reason == "AlreadyExists" && !options.dry_run => {}
                outcome => return outcome,
            }
        }
        self.rewrite(place, write, merged)
    }

    /// The managed fields of an object that is being created.
    pub(crate) fn first_owners(
        &self,
        kind: &'static ResourceType,
        object: &Value,
        options: &WriteOptions,
        ownership: Ownership,
    ) -> Result<Value, ApiError> {
        let given = meta::field(object, "managedFields");
        if ownership == Ownership::Settled {
            return Ok(given.clone());
        }
        let mut object = object.clone();
        prepare::default(kind, &mut object)?;
        let now = seconds(self.now());
        let write = Rewrite::tracked(Part::Of(Subresource::None), options);
        apply::track(&writer(kind, write, &now), None, &mut object, given);
        Ok(meta::field(&object, "managedFields").clone())
    }

    /// Sets the managed fields of the version that follows `old`. `given` are those that the client sent or an apply has
    /// settled.
    pub(crate) fn next_owners(
        &self,
        kind: &'static ResourceType,
        write: Rewrite<'_>,
        old: &Value,
        new: &mut Value,
        given: Value,
    ) {
        match write.ownership {
            Ownership::Tracked => {
                let now = seconds(self.now());
                apply::track(&writer(kind, write, &now), Some(old), new, &given);
            }
            Ownership::Settled => {
                meta::set(new, "managedFields", given);
                apply::keep_times(old, new);
            }
        }
    }
}

fn writer<'a>(kind: &'static ResourceType, write: Rewrite<'a>, now: &'a str) -> Writer<'a> {
    Writer { ty: kind, manager: &write.options.manager, subresource: write.subresource, now }
}

/// The checks of `applyPatcher` and `structuredMergeManager.Apply`.
fn check(place: Place<'_>, applied: &Value) -> Result<(), ApiError> {
    for (key, expected) in [("apiVersion", place.kind.api_version), ("kind", place.kind.kind)] {
        let found = applied[key].as_str().unwrap_or_default();
        if found != expected {
            let text =
                format!("invalid object type: {key} is \"{found}\" in the applied object, must be \"{expected}\"");
            return Err(ApiError::bad_request(text));
        }
    }
    if !meta::field(applied, "managedFields").is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    check_place(place, applied)
}

fn check_creatable(place: Place<'_>, applied: &Value) -> Result<(), ApiError> {
    let uid = meta::uid(applied);
    if uid.is_empty() {
        return Ok(());
    }
    Err(place
        .conflict(&format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found")))
}
