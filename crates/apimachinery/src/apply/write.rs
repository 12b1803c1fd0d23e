//! Tracks writes and carries out applies.

use serde_json::{Map, Value};

use super::{
    FieldSet,
    managers::{Manager, Managers, Operation, Owned, is_reset},
    typed::{self, Comparison},
};
use crate::{
    schema::{self, Definition, Type},
    scheme::ResourceType,
    status::{ApiError, Cause},
};

/// Who writes what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// What is written.
    pub ty: &'static ResourceType,
    /// Name of the manager; may be empty.
    pub manager: &'a str,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// The time now, as the API writes times.
    pub now: &'a str,
}

/// What an apply does with fields that others have set to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It is refused.
    No,
    /// It takes them over.
    Yes,
}

/// The manager that `kubectl apply --server-side` is unless told otherwise.
const KUBECTL: &str = "kubectl";

/// Where `kubectl apply` keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who gets the fields of an object that nobody was tracked on before its first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Most bytes of all annotations together (`TotalAnnotationSizeLimitB`).
const MOST_ANNOTATION_BYTES: usize = 256 << 10;

/// Notes in the new version of an object who has set what by this update.
///
/// `old` is absent when the object is being created. `given` is what the request says of managed fields: an object's own
/// list replaces the present one, a list with one empty entry forgets all, no list leaves it as it is. Objects that nobody
/// is tracked on stay so.
///
/// ```
/// use apimachinery::{apply::{self, Writer}, scheme};
/// use serde_json::{Value, json};
/// let ty = scheme::by_name("configmap").unwrap();
/// let writer = Writer { ty, manager: "me", subresource: "", now: "2024-01-01T00:00:00Z" };
/// let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
/// apply::track(&writer, None, &mut object, &Value::Null);
/// assert_eq!(object["metadata"]["managedFields"], json!([{"manager": "me", "operation": "Update", "apiVersion": "v1",
///     "time": "2024-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:k": {}}}}]));
/// ```
pub fn track(writer: &Writer<'_>, old: Option<&Value>, new: &mut Value, given: &Value) {
    let Some(definition) = schema::of(writer.ty) else { return };
    let present = old.map_or(&Value::Null, managed_fields);
    let resets = writer.subresource.is_empty() && is_reset(given);
    let own = (writer.subresource.is_empty() && !resets && given != present)
        .then(|| Managers::read(given))
        .flatten()
        .filter(|managers| !managers.0.is_empty());
    set_managed_fields(new, Value::Null);
    let comparison = compare_without_managers(definition, old, new);
    if comparison.is_empty() && !resets && own.is_none() {
        set_managed_fields(new, present.clone());
        return;
    }
    let mut managers =
        if resets { Managers::default() } else { own.unwrap_or_else(|| Managers::read(present).unwrap_or_default()) };
    if old.is_none() || !managers.0.is_empty() {
        note_update(writer, &mut managers, &comparison);
        managers.cap();
    }
    set_managed_fields(new, managers.write());
}

/// Compares an object that has no managed fields with one that may have them.
fn compare_without_managers(definition: &'static Definition, old: Option<&Value>, new: &Value) -> Comparison {
    let mut before = old.cloned().unwrap_or_else(|| typed::empty(definition));
    set_managed_fields(&mut before, Value::Null);
    typed::compare(Type::Object(definition), Some(&before), Some(new))
}

/// `managedFieldsUpdater.Update`: whatever the write changes now belongs to its manager alone.
fn note_update(writer: &Writer<'_>, managers: &mut Managers, comparison: &Comparison) {
    let counted = comparison.without(&ignored(writer.subresource));
    let changed = counted.changed();
    let others: Vec<Manager> = managers.0.keys().cloned().collect();
    others.iter().for_each(|manager| managers.take(manager, &changed, &counted.removed));
    let set = changed.difference(&stripped());
    if set.is_empty() {
        return;
    }
    let manager = Manager::new(Operation::Update, writer.manager, writer.ty.api_version, writer.subresource);
    let before = managers.0.remove(&manager).map(|owned| owned.fields).unwrap_or_default();
    let owned =
        Owned { fields: before.union(set), api_version: writer.ty.api_version.to_owned(), time: writer.now.to_owned() };
    managers.0.insert(manager, owned);
}

/// Applies what a client says to an object.
///
/// `live` is the object as it is; when there is none, an object that holds nothing but its name. The result is to be
/// decoded, defaulted and checked like any other update.
///
/// # Errors
/// `Conflict` with a cause for each field that others have set otherwise; a text without reason, as the API server
/// has it, for fields that the type does not have.
pub fn apply(writer: &Writer<'_>, live: &Value, applied: &Value, force: Force) -> Result<Value, ApiError> {
    let definition = schema::of(writer.ty).ok_or_else(ApiError::unknown_path)?;
    check(writer, definition, applied)?;
    let attempt = |force: Force| merge(writer, definition, live, applied, force);
    let mut result = match attempt(force) {
        Ok(result) => result,
        Err(conflicts) if writer.manager == KUBECTL => {
            let allowed = last_applied(definition, live);
            let left = conflicts.without(&allowed);
            if !left.0.is_empty() {
                return Err(left.into_error());
            }
            attempt(Force::Yes).map_err(Conflicts::into_error)?
        }
        Err(conflicts) => return Err(conflicts.into_error()),
    };
    if writer.manager == KUBECTL {
        renew_last_applied(&mut result, applied);
    }
    Ok(result)
}

/// Gives an object its old managed fields back if the new ones differ in nothing but times and the object is the same.
pub fn keep_times(old: &Value, new: &mut Value) {
    let (present, given) = (managed_fields(old).clone(), managed_fields(new).clone());
    if present == given || without_times(&present) != without_times(&given) {
        return;
    }
    set_managed_fields(new, present);
    if new != old {
        set_managed_fields(new, given);
    }
}

fn without_times(entries: &Value) -> Value {
    let mut entries = entries.clone();
    for entry in entries.as_array_mut().into_iter().flatten() {
        entry.as_object_mut().map(|entry| entry.remove("time"));
    }
    entries
}

fn check(writer: &Writer<'_>, definition: &'static Definition, applied: &Value) -> Result<(), ApiError> {
    let problems = typed::check(Type::Object(definition), applied);
    if problems.is_empty() {
        return Ok(());
    }
    let text = |key: &str| applied["metadata"][key].as_str().unwrap_or_default();
    let name = match text("namespace") {
        "" => format!("/{}", text("name")),
        namespace => format!("{namespace}/{}", text("name")),
    };
    let message = format!(
        "failed to create typed patch object ({name}; {}, Kind={}): {}",
        writer.ty.api_version,
        writer.ty.kind,
        typed::join(&problems)
    );
    Err(ApiError::plain(500, "", message))
}

/// Fields that others have set to something else, by who has set them.
struct Conflicts(Vec<(Manager, FieldSet)>);

impl Conflicts {
    fn without(self, allowed: &FieldSet) -> Self {
        let left = self.0.into_iter().map(|(manager, fields)| (manager, fields.difference(allowed)));
        Self(left.filter(|(_, fields)| !fields.is_empty()).collect())
    }

    /// `NewConflictError`.
    fn into_error(self) -> ApiError {
        let mut causes = Vec::new();
        let mut groups = Vec::new();
        for (manager, fields) in &self.0 {
            let who = manager.describe();
            groups.push(format!("conflicts with {who}:"));
            for field in fields.paths() {
                groups.push(format!("- {field}"));
                causes.push(Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    message: format!("conflict with {who}"),
                    field,
                });
            }
        }
        let message = match causes.as_slice() {
            [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
            many => format!("Apply failed with {} conflicts: {}", many.len(), groups.join("\n")),
        };
        let mut error = ApiError::plain(409, "Conflict", message);
        error.details.causes = causes;
        error
    }
}

/// `Updater.Apply`.
fn merge(
    writer: &Writer<'_>,
    definition: &'static Definition,
    live: &Value,
    applied: &Value,
    force: Force,
) -> Result<Value, Conflicts> {
    let ty = Type::Object(definition);
    let mut managers = Managers::read(managed_fields(live)).unwrap_or_default();
    let mut live = live.clone();
    set_managed_fields(&mut live, Value::Null);
    if managers.0.is_empty() && !live["metadata"]["uid"].is_null() {
        let before = Writer { manager: BEFORE_FIRST_APPLY, ..*writer };
        note_update(&before, &mut managers, &compare_without_managers(definition, None, &live));
    }
    let manager = Manager::new(Operation::Apply, writer.manager, writer.ty.api_version, writer.subresource);
    let ignored = ignored(writer.subresource);
    let last = managers.0.remove(&manager).map(|owned| owned.fields).unwrap_or_default();
    let set = typed::fields(ty, applied).recursive_difference(&ignored);
    let owned = |fields| Owned { fields, api_version: writer.ty.api_version.to_owned(), time: writer.now.to_owned() };
    managers.0.insert(manager.clone(), owned(set));
    let merged = prune(ty, typed::merge(ty, &live, applied), &managers, &last);
    let comparison = typed::compare(ty, Some(&live), Some(&merged)).without(&ignored);
    let changed = comparison.changed();
    let others: Vec<Manager> = managers.0.keys().filter(|other| **other != manager).cloned().collect();
    let conflicts = others.iter().map(|other| (other.clone(), managers.0[other].fields.intersection(&changed)));
    let conflicts: Vec<_> = conflicts.filter(|(_, fields)| !fields.is_empty()).collect();
    if force == Force::No && !conflicts.is_empty() {
        return Err(Conflicts(conflicts));
    }
    others.iter().for_each(|other| managers.take(other, &changed, &comparison.removed));
    managers.take(&manager, &stripped(), &FieldSet::default());
    let mut result = merged;
    set_managed_fields(&mut result, managers.write());
    Ok(result)
}

/// Removes what the manager no longer says, unless others have set it or nobody had said that it was the manager's.
fn prune(ty: Type, merged: Value, managers: &Managers, last: &FieldSet) -> Value {
    if last.is_empty() {
        return merged;
    }
    let last = last.with_structs(ty);
    let pruned = typed::remove(ty, &merged, &last);
    let all = typed::fields(ty, &merged).with_structs(ty);
    let left = |pruned: &Value| typed::fields(ty, pruned).with_structs(ty);
    // Back comes what somebody owns.
    let kept = left(&pruned).union(managers.all_fields().with_structs(ty));
    let pruned = typed::remove(ty, &merged, &all.difference(&kept));
    // Back comes what the manager had not set.
    let gone = all.difference(&left(&pruned)).intersection(&last);
    typed::remove(ty, &merged, &gone)
}

/// Fields that `kubectl apply` has set before and that are still as it set them: server-side apply may take them over.
fn last_applied(definition: &'static Definition, live: &Value) -> FieldSet {
    let ty = Type::Object(definition);
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    let Ok(last @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return FieldSet::default() };
    let changed = typed::compare(ty, Some(live), Some(&last));
    typed::fields(ty, &last).difference(&changed.modified).difference(&changed.added).difference(&changed.removed)
}

/// Keeps the annotation of `kubectl apply` up to date where there is one, so that clients can go back to it.
fn renew_last_applied(object: &mut Value, applied: &Value) {
    let Some(Value::Object(annotations)) = object["metadata"].get_mut("annotations") else { return };
    if !annotations.contains_key(LAST_APPLIED) {
        return;
    }
    let mut applied = applied.clone();
    if let Some(Value::Object(own)) = applied["metadata"].get_mut("annotations") {
        own.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.to_owned(), format!("{applied}\n").into());
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > MOST_ANNOTATION_BYTES {
        annotations.remove(LAST_APPLIED);
    }
}

/// Fields that a write to this part does not change, so that nobody owns them by it (`GetResetFields`).
fn ignored(subresource: &str) -> FieldSet {
    match subresource {
        "" => FieldSet::of_names(&["status"]),
        "status" => FieldSet::of_names(&["spec"])
            .union(FieldSet::of_names(&["metadata", "deletionTimestamp"]))
            .union(FieldSet::of_names(&["metadata", "ownerReferences"])),
        _ => FieldSet::default(),
    }
}

/// Fields that nobody owns (`stripMetaManager`).
fn stripped() -> FieldSet {
    const OF_METADATA: [&str; 8] =
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];
    let mut all = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        all = all.union(FieldSet::of_names(&[name]));
    }
    OF_METADATA.iter().fold(all, |all, name| all.union(FieldSet::of_names(&["metadata", name])))
}

fn managed_fields(object: &Value) -> &Value {
    &object["metadata"]["managedFields"]
}

/// Sets the managed fields, or removes them if null.
fn set_managed_fields(object: &mut Value, entries: Value) {
    let Value::Object(object) = object else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(metadata) = metadata else { return };
    if entries.is_null() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), entries);
    }
}
