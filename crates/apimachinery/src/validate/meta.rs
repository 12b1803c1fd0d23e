//! Names, labels, annotations, owners and finalizers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use super::{invalid_for, names, typed};
use crate::{
    field::{FieldErrors, Path},
    scheme::ResourceType,
};

/// Checks the metadata of a new object.
pub(super) fn create(ty: &ResourceType, object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::default();
    with_metadata(&mut errors, object, |errors, path, meta| {
        name(errors, path, ty, meta);
        common(errors, path, meta);
    });
    errors
}

/// Checks changed metadata. What cannot change at all has been taken over from the old object already.
pub(super) fn update(_ty: &ResourceType, old: &Value, new: &Value) -> FieldErrors {
    let mut errors = FieldErrors::default();
    with_metadata(&mut errors, new, |errors, path, new| {
        common(errors, path, new);
        with_metadata(errors, old, |errors, path, old| finalizers(errors, path, old, new));
    });
    errors
}

fn with_metadata(errors: &mut FieldErrors, object: &Value, check: impl FnOnce(&mut FieldErrors, &Path, &ObjectMeta)) {
    let path = Path::new("metadata");
    match object.get("metadata") {
        None | Some(Value::Null) => check(errors, &path, &ObjectMeta::default()),
        Some(meta) => typed(errors, meta, |errors, meta| check(errors, &path, meta)),
    }
}

fn name(errors: &mut FieldErrors, path: &Path, ty: &ResourceType, meta: &ObjectMeta) {
    let check = |text: &str| match (ty.group, ty.kind) {
        ("", "Namespace") => names::dns_label(text),
        // Events are named after what they are about, whatever its name looks like.
        (_, "Event") => Vec::new(),
        // Any segment of a path will do, which is asked of every name.
        ("rbac.authorization.k8s.io", _) => Vec::new(),
        ("", "Service") => names::dns_1035_label(text),
        _ => names::dns_subdomain(text),
    };
    if let Some(prefix) = meta.generate_name.as_deref().filter(|prefix| !prefix.is_empty()) {
        // What follows the prefix is a letter or digit.
        let whole = format!("{}a", prefix.strip_suffix('-').unwrap_or(prefix));
        invalid_for(errors, &path.child("generateName"), prefix, check(&whole));
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.required(&path.child("name"), "name or generateName is required"),
        text => invalid_for(errors, &path.child("name"), text, check(text)),
    }
    match meta.namespace.as_deref().unwrap_or_default() {
        "" if ty.namespaced => errors.required(&path.child("namespace"), ""),
        "" => {}
        text if ty.namespaced => invalid_for(errors, &path.child("namespace"), text, names::dns_label(text)),
        _ => errors.forbidden(&path.child("namespace"), "not allowed on this type"),
    }
}

fn common(errors: &mut FieldErrors, path: &Path, meta: &ObjectMeta) {
    labels(errors, &path.child("labels"), meta.labels.iter().flatten());
    annotations(errors, &path.child("annotations"), meta.annotations.iter().flatten());
    owners(errors, &path.child("ownerReferences"), meta.owner_references.as_deref().unwrap_or_default());
    let path = path.child("finalizers");
    for finalizer in meta.finalizers.iter().flatten() {
        invalid_for(errors, &path, finalizer, names::qualified_name(finalizer));
    }
}

/// Checks labels, or a map that selects by labels.
pub(super) fn labels<'a>(
    errors: &mut FieldErrors,
    path: &Path,
    labels: impl IntoIterator<Item = (&'a String, &'a String)>,
) {
    for (key, value) in labels {
        invalid_for(errors, path, key, names::qualified_name(key));
        invalid_for(errors, path, value, names::label_value(value));
    }
}

/// Checks annotations: their keys, and their size together.
pub(super) fn annotations<'a>(
    errors: &mut FieldErrors,
    path: &Path,
    annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
) {
    let mut size = 0_usize;
    for (key, value) in annotations {
        invalid_for(errors, path, key, names::qualified_name(&key.to_lowercase()));
        size = size.saturating_add(key.len()).saturating_add(value.len());
    }
    if size > MOST_ANNOTATION_BYTES {
        errors.too_long(path, MOST_ANNOTATION_BYTES);
    }
}

/// `TotalAnnotationSizeLimitB`.
const MOST_ANNOTATION_BYTES: usize = 256 << 10;

fn owners(errors: &mut FieldErrors, path: &Path, owners: &[OwnerReference]) {
    for owner in owners {
        let fields = [
            ("kind", &owner.kind, "must not be empty"),
            ("name", &owner.name, "must not be empty"),
            ("uid", &owner.uid, "must not be empty"),
            ("apiVersion", &owner.api_version, "version must not be empty"),
        ];
        for (field, value, why) in fields.into_iter().filter(|(_, value, _)| value.is_empty()) {
            errors.invalid(&path.child(field), value.as_str(), why);
        }
    }
    let mut controllers = owners.iter().filter(|owner| owner.controller == Some(true)).map(|owner| &owner.name);
    if let (Some(first), Some(second)) = (controllers.next(), controllers.next()) {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        errors.invalid(path, serde_json::to_value(owners).unwrap_or_default(), why);
    }
}

/// An object that is on its way out may lose finalizers but not get new ones.
fn finalizers(errors: &mut FieldErrors, path: &Path, old: &ObjectMeta, new: &ObjectMeta) {
    if old.deletion_timestamp.is_none() {
        return;
    }
    let before = old.finalizers.as_deref().unwrap_or_default();
    let added: Vec<String> =
        new.finalizers.iter().flatten().filter(|f| !before.contains(f)).map(|f| format!("{f:?}")).collect();
    if !added.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        errors.forbidden(&path.child("finalizers"), why);
    }
}
