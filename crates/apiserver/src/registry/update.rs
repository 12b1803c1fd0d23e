//! `update` and `patch`, of whole objects and of their status.

use std::sync::Arc;

use apimachinery::decode::{FieldValidation, Json};
use apimachinery::prepare::Subresource;
use apimachinery::status::ApiError;
use serde_json::{Value, json};

use super::apply::{Ownership, Rewrite};
use super::create::check_size;
use super::{MOST_ROUNDS, Place, Registry, WriteOptions, Written, meta, strategy};
use crate::rules;
use crate::store::{Change, CommitError, Expected, Object};

/// Which part of an object a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object or a subresource of it.
    Of(Subresource),
    /// `spec.finalizers` of a namespace.
    Finalize,
}

/// A patch, by its content type.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own, with merge keys.
    Strategic(Value),
}

/// What a client wants an object to be, with warnings.
type Wanted = (Value, Vec<String>);

impl Registry {
    /// Replaces an object with what a client sent.
    pub(crate) fn update(
        &self,
        place: Place<'_>,
        part: Part,
        body: Json,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let wanted = rules::decode(place.kind, body, options.validation)?;
        check_place(place, &wanted.0)?;
        let absent = strategy::creates_on_update(place.kind)
            && self.store.get(&strategy::table(place.kind), &place.key()).is_none();
        if absent {
            return self.create_decoded(place.kind, place.namespace, wanted, options, Ownership::Tracked);
        }
        if meta::text(&wanted.0, "resourceVersion").is_empty() && !strategy::updates_unconditionally(place.kind) {
            return Err(must_be_versioned(place));
        }
        self.rewrite(place, Rewrite::tracked(part, options), |_| Ok(wanted.clone()))
    }

    /// Changes an object by a patch.
    pub(crate) fn patch(
        &self,
        place: Place<'_>,
        part: Part,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        self.rewrite(place, Rewrite::tracked(part, options), |old| {
            let mut patched = old.clone();
            rules::apply_patch(place.kind, &mut patched, patch)?;
            let wanted = decode_patched(place, patched, options.validation)?;
            check_place(place, &wanted.0)?;
            Ok(wanted)
        })
    }

    /// Reads, computes and writes until nobody came between.
    ///
    /// A `resourceVersion` in what is wanted must be the present one, so a client that names it is
    /// told of a conflict and one that does not is simply last.
    pub(crate) fn rewrite(
        &self,
        place: Place<'_>,
        write: Rewrite<'_>,
        wanted: impl Fn(&Value) -> Result<Wanted, ApiError>,
    ) -> Result<Written, ApiError> {
        let _guard = strategy::is_service(place.kind).then(|| self.one_at_a_time());
        for _ in 0..MOST_ROUNDS {
            let old = self.get(place)?;
            if write.options.only.is_some_and(|only| only != old.revision()) {
                return Err(place.modified());
            }
            let (wanted, warnings) = wanted(old.value())?;
            let given = meta::field(&wanted, "managedFields").clone();
            let mut new = self.next_version(place, write.part, wanted, old.value())?;
            self.next_owners(place.kind, write, old.value(), &mut new, given);
            let written = |object| Written { object, created: false, warnings };
            if new == *old.value() {
                return Ok(written(old));
            }
            check_size(&new)?;
            if write.options.dry_run {
                return Ok(written(Arc::new(Object::draft(old.shared_key(), new))));
            }
            match self.replace(place, &old, new) {
                Ok(object) => return Ok(written(object)),
                Err(CommitError::Changed | CommitError::Exists) => {}
                Err(CommitError::Missing) => return Err(place.not_found()),
            }
        }
        Err(place.modified())
    }

    /// The version that follows `old` when a client wants `wanted`.
    fn next_version(&self, place: Place<'_>, part: Part, wanted: Value, old: &Value) -> Result<Value, ApiError> {
        let mut new = wanted;
        check_version(place, &new, old)?;
        match part {
            Part::Of(part) => {
                rules::prepare_update(place.kind, &mut new, old, part, self.now())?;
                rules::validate_update(place.kind, &new, old, part)?;
                if strategy::is_service(place.kind) {
                    self.allocate_for_service(place.kind, &mut new)?;
                }
            }
            Part::Finalize => new = with_namespace_finalizers(&new, old),
        }
        Ok(new)
    }

    /// Writes a new version, or removes the object if the new version has nothing left to wait for.
    fn replace(&self, place: Place<'_>, old: &Object, new: Value) -> Result<Arc<Object>, CommitError> {
        let table = strategy::table(place.kind);
        let expected = Expected::Revision(old.revision());
        if strategy::is_gone_after_update(place.kind, old.value(), &new) {
            let removed = self.store.commit(&table, old.key(), expected, Change::DeleteAs(new))?;
            self.after_remove(place.kind, &removed);
            return Ok(removed);
        }
        let written = self.store.commit(&table, old.key(), expected, Change::Put(new))?;
        self.after_event_write(place.kind, &written);
        self.after_update(place.kind, &written);
        Ok(written)
    }
}

/// Checks the versions that the client named, if any.
fn check_version(place: Place<'_>, wanted: &Value, old: &Value) -> Result<(), ApiError> {
    let (uid, old_uid) = (meta::uid(wanted), meta::uid(old));
    if !uid.is_empty() && uid != old_uid {
        return Err(
            place.conflict(&format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}"))
        );
    }
    let version = meta::text(wanted, "resourceVersion");
    if !version.is_empty() && version != meta::text(old, "resourceVersion") {
        return Err(place.modified());
    }
    Ok(())
}

fn with_namespace_finalizers(new: &Value, old: &Value) -> Value {
    let mut result = old.clone();
    result["spec"]["finalizers"] = new["spec"]["finalizers"].clone();
    if result["spec"]["finalizers"].is_null() {
        result["spec"] = json!({});
    }
    result
}

fn decode_patched(place: Place<'_>, patched: Value, validation: FieldValidation) -> Result<Wanted, ApiError> {
    rules::decode(place.kind, Json { value: patched, duplicates: Vec::new() }, validation)
}

pub(super) fn check_place(place: Place<'_>, object: &Value) -> Result<(), ApiError> {
    let (name, namespace) = (meta::name(object), meta::namespace(object));
    if name.is_empty() {
        let text =
            format!("the name of the object ({} based on URL) was undeterminable: name must be provided", place.name);
        return Err(ApiError::bad_request(text));
    }
    if name != place.name {
        let text = format!("the name of the object ({name}) does not match the name on the URL ({})", place.name);
        return Err(ApiError::bad_request(text));
    }
    if place.kind.namespaced && !namespace.is_empty() && namespace != place.namespace {
        let text = format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            place.namespace
        );
        return Err(ApiError::bad_request(text));
    }
    Ok(())
}

fn must_be_versioned(place: Place<'_>) -> ApiError {
    let mut errors = apimachinery::field::FieldErrors::default();
    let path = apimachinery::field::Path::new("metadata").child("resourceVersion");
    errors.invalid(&path, 0, "must be specified for an update");
    ApiError::invalid(place.kind, place.name, &errors)
}
