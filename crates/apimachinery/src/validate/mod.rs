//! The rules that objects must keep.
//!
//! Sources of rules and texts: `pkg/apis/{core,batch}/validation` and apimachinery `pkg/api/validation`. Field paths
//! and texts are those of Kubernetes, because clients and people know them.

mod config;
mod container;
mod cron_job;
mod env;
mod failure_policy;
mod handler;
mod job;
mod meta;
mod mounts;
pub mod names;
mod pod;
mod pod_level;
mod policy;
mod rbac;
mod resize;
mod resources;
mod restart;
mod security;
mod service;
mod small;
mod status;
mod update;
pub(crate) mod volume;
mod workload;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, ReplicaSet},
    batch::v1::{CronJob, Job},
    coordination::v1::Lease,
    core::v1::{ConfigMap, Event, LimitRange, Pod, PodTemplate, ResourceQuota, Secret, Service},
    discovery::v1::EndpointSlice,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef},
    scheduling::v1::PriorityClass,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use policy::SYSTEM_CLASSES;

use crate::{
    decode,
    field::{FieldErrors, Path},
    scheme::ResourceType,
};

/// Checks a new object. It must have gone through [`crate::prepare::create`].
///
/// ```
/// use apimachinery::{scheme, validate};
/// use serde_json::json;
/// let pod = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": {
///     "containers": [{"name": "main", "image": "x", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
///     "initContainers": [{"name": "main", "image": "x", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
///     "dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}});
/// let errors = validate::create(scheme::by_name("pod").unwrap(), &pod);
/// assert_eq!(errors.to_string(), r#"spec.initContainers[0].name: Duplicate value: "main""#);
/// ```
pub fn create(ty: &ResourceType, object: &Value) -> FieldErrors {
    let mut errors = meta::create(ty, object);
    let e = &mut errors;
    match (ty.group, ty.kind) {
        ("", "Pod") => typed(e, object, |e, pod: &Pod| pod::create(e, pod)),
        ("", "ConfigMap") => typed(e, object, |e, map: &ConfigMap| config::config_map(e, map)),
        ("", "Secret") => typed(e, object, |e, secret: &Secret| config::secret(e, secret)),
        ("", "Event") => typed(e, object, |e, event: &Event| config::event(e, event)),
        ("events.k8s.io", "Event") => typed(e, object, |e, event: &Event| config::new_event(e, event)),
        ("batch", "Job") => typed(e, object, |e, job: &Job| job::create(e, job)),
        ("batch", "CronJob") => typed(e, object, |e, cron_job: &CronJob| cron_job::create(e, cron_job)),
        ("", "Service") => typed(e, object, |e, service: &Service| service::service(e, service)),
        ("", "LimitRange") => typed(e, object, |e, range: &LimitRange| policy::limit_range(e, range)),
        ("", "ResourceQuota") => typed(e, object, |e, quota: &ResourceQuota| policy::resource_quota(e, quota)),
        ("scheduling.k8s.io", "PriorityClass") => {
            typed(e, object, |e, class: &PriorityClass| policy::priority_class(e, class));
        }
        ("coordination.k8s.io", "Lease") => typed(e, object, |e, lease: &Lease| small::lease(e, lease)),
        ("discovery.k8s.io", "EndpointSlice") => {
            typed(e, object, |e, slice: &EndpointSlice| small::endpoint_slice(e, slice));
        }
        ("rbac.authorization.k8s.io", _) => access(e, ty, object),
        ("", "PodTemplate") => typed(e, object, |e, template: &PodTemplate| workload::pod_template(e, template)),
        ("apps", "ReplicaSet") => typed(e, object, |e, set: &ReplicaSet| workload::replica_set(e, set)),
        ("apps", "Deployment") => typed(e, object, |e, object: &Deployment| workload::deployment(e, object)),
        ("apps", "ControllerRevision") => typed(e, object, |e, revision: &ControllerRevision| {
            workload::controller_revision(e, revision);
        }),
        _ => {}
    }
    errors
}

/// Checks a changed object against the old one. It must have gone through [`crate::prepare::update`].
pub fn update(ty: &ResourceType, old: &Value, new: &Value) -> FieldErrors {
    let mut errors = meta::update(ty, old, new);
    let e = &mut errors;
    match (ty.group, ty.kind) {
        ("", "Pod") => both(e, old, new, |e, old: &Pod, new| update::pod(e, old, new)),
        ("", "ConfigMap") => both(e, old, new, |e, old: &ConfigMap, new| config::config_map_update(e, old, new)),
        ("", "Secret") => both(e, old, new, |e, old: &Secret, new| config::secret_update(e, old, new)),
        (_, "Event") => typed(e, new, |e, event: &Event| config::event(e, event)),
        ("batch", "Job") => both(e, old, new, |e, old: &Job, new| job::update(e, old, new)),
        ("batch", "CronJob") => both(e, old, new, |e, old: &CronJob, new| cron_job::update(e, old, new)),
        ("", "Service") => both(e, old, new, |e, old: &Service, new| service::service_update(e, old, new)),
        ("", "LimitRange") => typed(e, new, |e, range: &LimitRange| policy::limit_range(e, range)),
        ("", "ResourceQuota") => {
            both(e, old, new, |e, old: &ResourceQuota, new| policy::resource_quota_update(e, old, new));
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            both(e, old, new, |e, old: &PriorityClass, new| policy::priority_class_update(e, old, new));
        }
        ("coordination.k8s.io", "Lease") => typed(e, new, |e, lease: &Lease| small::lease(e, lease)),
        ("discovery.k8s.io", "EndpointSlice") => {
            both(e, old, new, |e, old: &EndpointSlice, new| small::endpoint_slice_update(e, old, new));
        }
        ("rbac.authorization.k8s.io", kind) => {
            access(e, ty, new);
            if kind.ends_with("Binding") {
                let role = |binding: &Value| decode::object::<RoleRef>(&binding["roleRef"]).unwrap_or_default();
                rbac::same_role(e, &role(old), &role(new));
            }
        }
        ("", "PodTemplate") => typed(e, new, |e, template: &PodTemplate| workload::pod_template(e, template)),
        ("apps", "ReplicaSet") => {
            both(e, old, new, |e, old: &ReplicaSet, new| workload::replica_set_update(e, old, new));
        }
        ("apps", "Deployment") => {
            both(e, old, new, |e, old: &Deployment, new| workload::deployment_update(e, old, new));
        }
        ("apps", "ControllerRevision") => both(e, old, new, |e, old: &ControllerRevision, new| {
            workload::controller_revision_update(e, old, new);
        }),
        _ => {}
    }
    errors
}

/// Checks a changed status. The object must have gone through [`crate::prepare::update`].
pub fn status_update(ty: &ResourceType, old: &Value, new: &Value) -> FieldErrors {
    let mut errors = meta::update(ty, old, new);
    let e = &mut errors;
    match (ty.group, ty.kind) {
        ("", "Pod") => both(e, old, new, |e, old: &Pod, new| status::pod(e, old, new)),
        ("batch", "Job") => typed(e, new, |e, job: &Job| status::job(e, job)),
        ("apps", "ReplicaSet" | "Deployment") => workload::status(e, new),
        _ => {}
    }
    errors
}

/// Checks a pod whose ephemeral containers were changed through their subresource (S1-28).
pub fn ephemeral_containers_update(ty: &ResourceType, old: &Value, new: &Value) -> FieldErrors {
    let mut errors = meta::update(ty, old, new);
    both(&mut errors, old, new, |e, old: &Pod, new| update::ephemeral_containers(e, old, new));
    errors
}

/// Checks a pod whose resources were changed through the `resize` subresource.
pub fn resize_update(ty: &ResourceType, old: &Value, new: &Value) -> FieldErrors {
    let mut errors = meta::update(ty, old, new);
    both(&mut errors, old, new, |e, old: &Pod, new| resize::resize(e, old, new));
    errors
}

/// Checks roles and bindings.
fn access(errors: &mut FieldErrors, ty: &ResourceType, object: &Value) {
    const ROLES: &[&str] = &["Role", "ClusterRole"];
    const CLUSTER_ROLES: &[&str] = &["ClusterRole"];
    match ty.kind {
        "Role" => typed(errors, object, |errors, role: &Role| rbac::rules(errors, role.rules.as_ref(), true)),
        "ClusterRole" => typed(errors, object, |errors, role: &ClusterRole| {
            rbac::rules(errors, role.rules.as_ref(), false);
        }),
        "RoleBinding" => typed(errors, object, |errors, binding: &RoleBinding| {
            rbac::binding(errors, &binding.role_ref, binding.subjects.as_ref(), ROLES);
        }),
        "ClusterRoleBinding" => typed(errors, object, |errors, binding: &ClusterRoleBinding| {
            rbac::binding(errors, &binding.role_ref, binding.subjects.as_ref(), CLUSTER_ROLES);
        }),
        _ => {}
    }
}

/// Checks an object that is no valid JSON form of its kind as far as possible: the form itself is the error then.
fn typed<T: DeserializeOwned>(errors: &mut FieldErrors, object: &Value, check: impl FnOnce(&mut FieldErrors, &T)) {
    match decode::object::<T>(object) {
        Ok(object) => check(errors, &object),
        Err(why) => errors.invalid(&Path::default(), Value::Null, why),
    }
}

fn both<T: DeserializeOwned>(
    errors: &mut FieldErrors,
    old: &Value,
    new: &Value,
    check: impl FnOnce(&mut FieldErrors, &T, &T),
) {
    typed(errors, new, |errors, new| typed(errors, old, |errors, old| check(errors, old, new)));
}

/// Adds one error for each problem that was found with a value.
fn invalid_for(errors: &mut FieldErrors, path: &Path, value: &str, problems: Vec<String>) {
    for problem in problems {
        errors.invalid(path, value, problem);
    }
}

/// Checks a value that must be given and must be one of a few.
fn one_of(errors: &mut FieldErrors, path: &Path, value: Option<&str>, supported: &[&str]) {
    match value.unwrap_or_default() {
        "" => errors.required(path, ""),
        value if supported.contains(&value) => {}
        value => errors.not_supported(path, value, supported),
    }
}

/// Checks that a field is as it was.
fn immutable<T: PartialEq + Serialize>(errors: &mut FieldErrors, path: &Path, old: Option<&T>, new: Option<&T>) {
    if old != new {
        errors.invalid(path, serde_json::to_value(new).unwrap_or(Value::Null), "field is immutable");
    }
}

/// Checks a label selector (`metav1validation.ValidateLabelSelector`).
fn label_selector(errors: &mut FieldErrors, path: &Path, selector: &ApiSelector) {
    meta::labels(errors, &path.child("matchLabels"), selector.match_labels.iter().flatten());
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = expression.values.as_deref().unwrap_or_default();
        match (expression.operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", true) => {
                errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            ("Exists" | "DoesNotExist", false) => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&path.child("values"), why);
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (other, _) => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        invalid_for(errors, &path.child("key"), &expression.key, names::qualified_name(&expression.key));
        for (at, value) in values.iter().enumerate() {
            invalid_for(errors, &path.child("values").index(at), value, names::label_value(value));
        }
    }
}

/// Checks that a number is not negative.
fn not_negative(errors: &mut FieldErrors, path: &Path, value: Option<i64>) {
    if let Some(value) = value.filter(|value| *value < 0) {
        errors.invalid(path, value, NOT_NEGATIVE);
    }
}

/// Checks that a number is in a range.
fn in_range(errors: &mut FieldErrors, path: &Path, value: i64, min: i64, max: i64) {
    if !(min..=max).contains(&value) {
        errors.invalid(path, value, format!("must be between {min} and {max}, inclusive"));
    }
}

/// Checks a name that must be given and be a DNS label.
fn required_label(errors: &mut FieldErrors, path: &Path, name: &str) {
    if name.is_empty() {
        errors.required(path, "");
    } else {
        invalid_for(errors, path, name, names::dns_label(name));
    }
}

/// Checks that a text is given.
fn required(errors: &mut FieldErrors, path: &Path, text: &str) {
    if text.is_empty() {
        errors.required(path, "");
    }
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

#[cfg(test)]
mod tests;
