//! PodTemplates, ReplicaSets, Deployments and ControllerRevisions.
//!
//! Source of rules and texts: `pkg/apis/apps/validation`.

use k8s_openapi::{
    api::{
        apps::v1::{
            ControllerRevision, Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, ReplicaSetSpec,
            RollingUpdateDeployment,
        },
        core::v1::{PodTemplate, PodTemplateSpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector as ApiSelector, util::intstr::IntOrString},
};
use serde_json::{Value, json};

use super::{immutable, label_selector, not_negative, pod, text};
use crate::{
    field::{FieldErrors, Path},
    selector::LabelSelector,
};

/// Checks a PodTemplate.
pub(super) fn pod_template(errors: &mut FieldErrors, object: &PodTemplate) {
    let empty = PodTemplateSpec::default();
    pod::template(errors, &Path::new("template"), object.template.as_ref().unwrap_or(&empty));
}

/// Checks a ReplicaSet.
pub(super) fn replica_set(errors: &mut FieldErrors, set: &ReplicaSet) {
    let path = Path::new("spec");
    let empty = ReplicaSetSpec::default();
    let spec = set.spec.as_ref().unwrap_or(&empty);
    not_negative(errors, &path.child("replicas"), spec.replicas.map(i64::from));
    not_negative(errors, &path.child("minReadySeconds"), spec.min_ready_seconds.map(i64::from));
    let none = PodTemplateSpec::default();
    selected_template(errors, &path, Some(&spec.selector), spec.template.as_ref().unwrap_or(&none));
}

/// Checks a changed ReplicaSet.
pub(super) fn replica_set_update(errors: &mut FieldErrors, old: &ReplicaSet, new: &ReplicaSet) {
    replica_set(errors, new);
    let selector = |set: &ReplicaSet| set.spec.as_ref().map(|spec| spec.selector.clone());
    immutable(errors, &Path::new("spec").child("selector"), selector(old).as_ref(), selector(new).as_ref());
}

/// Checks a Deployment.
pub(super) fn deployment(errors: &mut FieldErrors, deployment: &Deployment) {
    let path = Path::new("spec");
    let empty = DeploymentSpec::default();
    let spec = deployment.spec.as_ref().unwrap_or(&empty);
    not_negative(errors, &path.child("replicas"), spec.replicas.map(i64::from));
    selected_template(errors, &path, Some(&spec.selector), &spec.template);
    if let Some(strategy) = &spec.strategy {
        deployment_strategy(errors, &path.child("strategy"), strategy);
    }
    let ready = spec.min_ready_seconds.unwrap_or_default();
    not_negative(errors, &path.child("minReadySeconds"), Some(ready.into()));
    not_negative(errors, &path.child("revisionHistoryLimit"), spec.revision_history_limit.map(i64::from));
    if let Some(deadline) = spec.progress_deadline_seconds {
        let path = path.child("progressDeadlineSeconds");
        not_negative(errors, &path, Some(deadline.into()));
        if deadline <= ready {
            errors.invalid(&path, deadline, "must be greater than minReadySeconds");
        }
    }
}

/// Checks a changed Deployment.
pub(super) fn deployment_update(errors: &mut FieldErrors, old: &Deployment, new: &Deployment) {
    deployment(errors, new);
    let selector = |deployment: &Deployment| deployment.spec.as_ref().map(|spec| spec.selector.clone());
    immutable(errors, &Path::new("spec").child("selector"), selector(old).as_ref(), selector(new).as_ref());
}

/// `ValidatePodTemplateSpecForReplicaSet` and the checks of the selector before it.
fn selected_template(
    errors: &mut FieldErrors,
    path: &Path,
    selector: Option<&ApiSelector>,
    template: &PodTemplateSpec,
) {
    let at = path.child("selector");
    let parsed = selector.map(|selector| {
        label_selector(errors, &at, selector);
        LabelSelector::from_api(selector).ok().filter(|parsed| !parsed.is_empty())
    });
    match &parsed {
        None => errors.required(&at, ""),
        Some(None) => {
            let empty = selector.is_some_and(|selector| *selector == ApiSelector::default());
            let why = if empty { "empty selector is invalid for deployment" } else { "invalid label selector" };
            errors.invalid(&at, json!(selector), why);
        }
        Some(Some(parsed)) => {
            let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
            if !parsed.matches_map(labels) {
                let at = path.child("template").child("metadata").child("labels");
                errors.invalid(&at, json!(labels), "`selector` does not match template `labels`");
            }
        }
    }
    let path = path.child("template");
    pod::template(errors, &path, template);
    let Some(spec) = &template.spec else { return };
    let policy = text(&spec.restart_policy);
    if policy != "Always" {
        errors.not_supported(&path.child("spec").child("restartPolicy"), policy, &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let path = path.child("spec").child("activeDeadlineSeconds");
        errors.forbidden(&path, "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}

fn deployment_strategy(errors: &mut FieldErrors, path: &Path, strategy: &DeploymentStrategy) {
    match (text(&strategy.type_), &strategy.rolling_update) {
        ("Recreate", Some(_)) => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            errors.forbidden(&path.child("rollingUpdate"), why);
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => {
            errors.required(&path.child("rollingUpdate"), "this should be defaulted and never be nil");
        }
        ("RollingUpdate", Some(rolling)) => rolling_update(errors, &path.child("rollingUpdate"), rolling),
        (other, _) => errors.not_supported(path, other, &["Recreate", "RollingUpdate"]),
    }
}

fn rolling_update(errors: &mut FieldErrors, path: &Path, rolling: &RollingUpdateDeployment) {
    let unavailable = path.child("maxUnavailable");
    let fewer = share(errors, &unavailable, rolling.max_unavailable.as_ref());
    let more = share(errors, &path.child("maxSurge"), rolling.max_surge.as_ref());
    let given = json!(rolling.max_unavailable);
    if fewer == Some(0) && more == Some(0) {
        errors.invalid(&unavailable, given.clone(), "may not be 0 when `maxSurge` is 0");
    }
    let percent = matches!(rolling.max_unavailable, Some(IntOrString::String(_)));
    if percent && fewer.is_some_and(|fewer| fewer > 100) {
        errors.invalid(&unavailable, given, "must not be greater than 100%");
    }
}

/// Checks a number or percentage and returns its value.
fn share(errors: &mut FieldErrors, path: &Path, share: Option<&IntOrString>) -> Option<i64> {
    match share {
        None => Some(0),
        Some(IntOrString::Int(number)) => {
            not_negative(errors, path, Some((*number).into()));
            Some((*number).into())
        }
        Some(IntOrString::String(percent)) => {
            let digits = percent.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            let value = digits.and_then(|digits| digits.parse().ok());
            if value.is_none() {
                errors.invalid(path, percent.as_str(), PERCENT_RULE);
            }
            value
        }
    }
}

const PERCENT_RULE: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  \
    or '93%', regex used for validation is '[0-9]+%')";

/// Checks a changed status of a ReplicaSet or Deployment: numbers, and which may not exceed which.
pub(super) fn status(errors: &mut FieldErrors, object: &Value) {
    let path = Path::new("status");
    let count = |field: &str| object["status"][field].as_i64();
    let fields = ["observedGeneration", "replicas", "fullyLabeledReplicas", "updatedReplicas", "readyReplicas"];
    for field in fields.into_iter().chain(["availableReplicas", "unavailableReplicas"]) {
        not_negative(errors, &path.child(field), count(field));
    }
    for (field, most, name) in [
        ("fullyLabeledReplicas", "replicas", "status.replicas"),
        ("updatedReplicas", "replicas", "status.replicas"),
        ("readyReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ] {
        if let Some(value) = count(field).filter(|value| *value > count(most).unwrap_or_default()) {
            errors.invalid(&path.child(field), value, format!("cannot be greater than {name}"));
        }
    }
}

/// Checks a ControllerRevision.
pub(super) fn controller_revision(errors: &mut FieldErrors, revision: &ControllerRevision) {
    not_negative(errors, &Path::new("revision"), Some(revision.revision));
    let data = revision.data.as_ref().map(|data| &data.0);
    match data {
        None | Some(Value::Null) => errors.required(&Path::new("data"), "data is mandatory"),
        Some(Value::Object(_)) => {}
        Some(_) => errors.invalid(&Path::new("data"), "", "data must be an object"),
    }
}

/// Checks a changed ControllerRevision: what it holds never changes.
pub(super) fn controller_revision_update(errors: &mut FieldErrors, old: &ControllerRevision, new: &ControllerRevision) {
    controller_revision(errors, new);
    immutable(errors, &Path::new("data"), old.data.as_ref(), new.data.as_ref());
}
