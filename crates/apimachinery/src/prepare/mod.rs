//! What the API server does to an object before it checks and stores it: defaults, system fields, the split between
//! spec and status.
//!
//! Sources: apiserver `registry/rest/{create,update}.go`, `pkg/apis/{core,batch}/v1/defaults.go`, the strategies of
//! pods and jobs, and the admission of service accounts and priorities.

mod defaults;
pub(crate) mod job;
mod meta;
mod pod;
mod policy;
mod service;
mod workload;

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        batch::v1::{CronJob, CronJobStatus, Job, JobStatus},
        core::v1::{Namespace, NamespaceStatus, Pod, Secret, Service},
        rbac::v1::{ClusterRoleBinding, RoleBinding},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{decode, field::quote, scheme::ResourceType, status::ApiError};

/// What a create depends on besides the object.
#[derive(Debug, Clone, Copy)]
pub struct CreateContext<'a> {
    /// Namespace of the request; absent for resources without one.
    pub namespace: Option<&'a str>,
    /// A new uid.
    pub uid: &'a str,
    /// The time now.
    pub now: Timestamp,
    /// What is appended to `generateName`: five random letters or digits.
    pub name_suffix: &'a str,
}

/// What an update depends on besides the objects.
#[derive(Debug, Clone, Copy)]
pub struct UpdateContext {
    /// The time now.
    pub now: Timestamp,
}

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Subresource {
    /// The object without its status.
    #[default]
    None,
    /// `/status`.
    Status,
    /// `/ephemeralcontainers` of a pod.
    EphemeralContainers,
    /// `/resize` of a pod.
    Resize,
}

/// Letters that generated names are made of: no vowels, so that no words come out, and nothing easily confused.
pub const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Turns random bytes into a suffix for generated names.
///
/// ```
/// let suffix = apimachinery::prepare::name_suffix([0, 1, 2, 3, 255]);
/// assert_eq!(suffix, "bcdfq");
/// ```
pub fn name_suffix(random: [u8; 5]) -> String {
    random.iter().map(|b| char::from(NAME_ALPHABET[usize::from(*b) % NAME_ALPHABET.len()])).collect()
}

/// Appends a suffix to the prefix of a generated name, cutting the prefix so that 63 characters are enough.
///
/// ```
/// assert_eq!(apimachinery::prepare::generated_name("job-", "abcde"), "job-abcde");
/// ```
pub fn generated_name(prefix: &str, suffix: &str) -> String {
    let max = MAX_NAME.saturating_sub(suffix.len());
    let cut = (0..=max.min(prefix.len())).rev().find(|at| prefix.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{suffix}", &prefix[..cut])
}

/// Longest name that is generated (apiserver `storage/names/generate.go`).
const MAX_NAME: usize = 63;

/// Makes an object from a client ready to be checked and stored.
///
/// The object must come from [`decode::strict`]. Afterwards it has its defaults, name, namespace, uid, creation time
/// and generation, and a status as new objects have it.
///
/// ```
/// use apimachinery::{decode::{self, FieldValidation}, prepare::{self, CreateContext}, scheme};
/// let ty = scheme::by_name("pod").unwrap();
/// let pod = serde_json::json!({"metadata": {"generateName": "a-"}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
/// let (mut pod, _) = decode::strict(ty, pod, FieldValidation::Strict).unwrap();
/// let now = "2024-01-01T00:00:00Z".parse().unwrap();
/// let ctx = CreateContext { namespace: Some("default"), uid: "u-1", now, name_suffix: "x2x4x" };
/// prepare::create(ty, &mut pod, &ctx).unwrap();
/// assert_eq!(pod["metadata"]["name"], "a-x2x4x");
/// assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "Always");
/// assert_eq!(pod["status"], serde_json::json!({"phase": "Pending", "qosClass": "BestEffort"}));
/// ```
///
/// # Errors
/// `BadRequest` if the object belongs to another namespace or claims to be stored already.
pub fn create(ty: &ResourceType, object: &mut Value, ctx: &CreateContext<'_>) -> Result<(), ApiError> {
    meta::create(ty, object, ctx)?;
    match (ty.group, ty.kind) {
        ("", "Pod") => edit(object, |pod: &mut Pod| {
            defaults::pod(pod);
            pod::admit(pod);
            pod::reset_status(pod);
        }),
        ("batch", "Job") => edit(object, |job: &mut Job| {
            defaults::job(job);
            job::generate_selector(job);
            job.status = Some(JobStatus::default());
        }),
        ("batch", "CronJob") => edit(object, |cron_job: &mut CronJob| {
            defaults::cron_job(cron_job);
            cron_job.status = Some(CronJobStatus::default());
        }),
        ("", "Namespace") => edit(object, |namespace: &mut Namespace| {
            meta::name_label(namespace);
            namespace.spec.get_or_insert_default().finalizers = Some(vec!["kubernetes".into()]);
            namespace.status = Some(NamespaceStatus { phase: Some("Active".into()), conditions: None });
        }),
        ("apps", "ReplicaSet") => edit(object, workload::new_replica_set),
        ("apps", "Deployment") => edit(object, workload::new_deployment),
        ("", "Service") => edit(object, service::create),
        ("", "ResourceQuota") => {
            object["status"] = Value::Object(Map::new());
            Ok(())
        }
        _ => complete(ty, object),
    }
}

/// Fills in what is filled in alike on create and update.
fn complete(ty: &ResourceType, object: &mut Value) -> Result<(), ApiError> {
    match (ty.group, ty.kind) {
        ("", "Secret") => edit(object, secret),
        ("", "PodTemplate") => edit(object, workload::pod_template),
        ("", "LimitRange") => edit(object, policy::limit_range),
        ("scheduling.k8s.io", "PriorityClass") => edit(object, policy::priority_class),
        ("discovery.k8s.io", "EndpointSlice") => edit(object, policy::endpoint_slice),
        ("rbac.authorization.k8s.io", "RoleBinding") => {
            edit(object, |binding: &mut RoleBinding| policy::binding(&mut binding.role_ref, binding.subjects.as_mut()))
        }
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => edit(object, |binding: &mut ClusterRoleBinding| {
            policy::binding(&mut binding.role_ref, binding.subjects.as_mut());
        }),
        _ => Ok(()),
    }
}

/// Fills in the defaults of a kind and nothing else, so that it can be told what an object was given by its client.
///
/// # Errors
/// `BadRequest` if a field has the wrong type.
pub fn default(ty: &ResourceType, object: &mut Value) -> Result<(), ApiError> {
    match (ty.group, ty.kind) {
        ("", "Pod") => edit(object, defaults::pod),
        ("batch", "Job") => edit(object, defaults::job),
        ("batch", "CronJob") => edit(object, defaults::cron_job),
        ("", "Secret") => edit(object, secret),
        ("", "PodTemplate") => edit(object, workload::pod_template),
        ("apps", "ReplicaSet") => edit(object, workload::replica_set),
        ("apps", "Deployment") => edit(object, workload::deployment),
        _ => Ok(()),
    }
}

/// Makes a changed object ready to be checked and stored in place of the old one.
///
/// What this write may not change is taken over from `old`: uid, creation and deletion times, generation, and
/// everything that belongs to another subresource. A changed spec increases the generation.
///
/// ```
/// use apimachinery::{prepare::{self, Subresource, UpdateContext}, scheme};
/// use serde_json::json;
/// let old = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "a", "uid": "1", "generation": 1},
///     "spec": {"schedule": "* * * * *"}, "status": {"lastScheduleTime": "2024-01-01T00:00:00Z"}});
/// let mut new = old.clone();
/// new["spec"]["suspend"] = true.into();
/// new["status"] = json!({});
/// let ctx = UpdateContext { now: "2024-01-01T00:00:00Z".parse().unwrap() };
/// prepare::update(scheme::by_name("cronjob").unwrap(), &old, &mut new, Subresource::None, &ctx).unwrap();
/// assert_eq!(new["metadata"]["generation"], 2);
/// assert_eq!(new["status"], old["status"]);
/// ```
///
/// # Errors
/// `Conflict` if the new object has the uid of another one; `BadRequest` if it is for another namespace or name.
pub fn update(
    ty: &ResourceType,
    old: &Value,
    new: &mut Value,
    subresource: Subresource,
    _ctx: &UpdateContext,
) -> Result<(), ApiError> {
    meta::update(ty, old, new)?;
    let (old_object, new_object) = (fields(old), new.as_object_mut());
    let Some(new_object) = new_object else { return Err(ApiError::bad_request("expected an object")) };
    match subresource {
        Subresource::None if ty.has_status => carry(old_object, new_object, "status"),
        Subresource::Status => {
            carry(old_object, new_object, "spec");
            meta::keep_owners(old_object, new_object);
        }
        Subresource::EphemeralContainers | Subresource::Resize => pod::keep_other_parts(old, new_object, subresource),
        Subresource::None => {}
    }
    match (ty.group, ty.kind) {
        ("", "Pod") => edit(new, |pod: &mut Pod| {
            defaults::pod(pod);
            pod::keep_admitted(old, pod);
        })?,
        ("batch", "Job") => edit(new, defaults::job)?,
        ("batch", "CronJob") => edit(new, defaults::cron_job)?,
        ("", "Namespace") => edit(new, meta::name_label)?,
        ("apps", "ReplicaSet") => edit(new, workload::replica_set)?,
        ("apps", "Deployment") => edit(new, workload::deployment)?,
        ("", "Service") => edit(new, |service: &mut Service| service::update(old, service))?,
        _ => complete(ty, new)?,
    }
    if ty.has_generation && is_new_generation(ty, old, new, subresource) {
        meta::bump_generation(old, new);
    }
    Ok(())
}

/// Tells whether what an object asks for has changed.
fn is_new_generation(ty: &ResourceType, old: &Value, new: &Value, subresource: Subresource) -> bool {
    let changed = |field: &str| old.get(field) != new.get(field);
    match ty.kind {
        "Deployment" if subresource == Subresource::None => changed("spec") || workload::annotations_changed(old, new),
        "EndpointSlice" => changed("endpoints") || changed("ports"),
        _ => changed("spec"),
    }
}

/// Marks an object as being deleted: it stays until its finalizers are gone and its grace period is over.
///
/// ```
/// use serde_json::json;
/// let mut pod = json!({"metadata": {"name": "a", "generation": 1}});
/// apimachinery::prepare::mark_deleted(&mut pod, "2024-01-01T00:00:00Z".parse().unwrap(), 30);
/// assert_eq!(pod["metadata"], json!({"name": "a", "generation": 2,
///     "deletionTimestamp": "2024-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}));
/// ```
pub fn mark_deleted(object: &mut Value, now: Timestamp, grace_seconds: i64) {
    meta::mark_deleted(object, now, grace_seconds);
}

fn edit<T: DeserializeOwned + Serialize>(object: &mut Value, change: impl FnOnce(&mut T)) -> Result<(), ApiError> {
    let mut typed: T = decode::object(object).map_err(ApiError::bad_request)?;
    change(&mut typed);
    *object = decode::encode(&typed);
    Ok(())
}

/// Puts the `stringData` of a secret into its `data` and fills in the type.
fn secret(secret: &mut Secret) {
    for (key, text) in secret.string_data.take().unwrap_or_default() {
        secret.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
    }
    if secret.type_.as_deref().unwrap_or_default().is_empty() {
        secret.type_ = Some("Opaque".into());
    }
}

fn fields(object: &Value) -> Option<&Map<String, Value>> {
    object.as_object()
}

fn carry(old: Option<&Map<String, Value>>, new: &mut Map<String, Value>, key: &str) {
    match old.and_then(|o| o.get(key)) {
        Some(value) => new.insert(key.into(), value.clone()),
        None => new.remove(key),
    };
}

/// Says that a request and its object disagree about a name.
fn mismatch(what: &str, object: &str, request: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the {what} of the object ({}) does not match the {what} on the URL ({})",
        quote(object).trim_matches('"'),
        quote(request).trim_matches('"'),
    ))
}

#[cfg(test)]
mod tests;
