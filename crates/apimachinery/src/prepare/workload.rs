//! What is special about writing PodTemplates, ReplicaSets and Deployments.
//!
//! Source: `pkg/apis/apps/v1/defaults.go` and the strategies of `pkg/registry/apps`.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet, ReplicaSetStatus},
        core::v1::PodTemplate,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use super::defaults::{fill, template};

pub(super) fn pod_template(object: &mut PodTemplate) {
    template(object.template.get_or_insert_default());
}

pub(super) fn new_replica_set(set: &mut ReplicaSet) {
    replica_set(set);
    set.status = Some(ReplicaSetStatus::default());
}

pub(super) fn replica_set(set: &mut ReplicaSet) {
    let spec = set.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    template(spec.template.get_or_insert_default());
}

pub(super) fn new_deployment(deployment: &mut Deployment) {
    self::deployment(deployment);
    deployment.status = Some(DeploymentStatus::default());
}

pub(super) fn deployment(deployment: &mut Deployment) {
    let spec: &mut DeploymentSpec = deployment.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    strategy(spec.strategy.get_or_insert_default());
    spec.revision_history_limit.get_or_insert(10);
    spec.progress_deadline_seconds.get_or_insert(600);
    template(&mut spec.template);
}

fn strategy(strategy: &mut DeploymentStrategy) {
    fill(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() != Some("RollingUpdate") {
        return;
    }
    let rolling = strategy.rolling_update.get_or_insert_default();
    for share in [&mut rolling.max_unavailable, &mut rolling.max_surge] {
        share.get_or_insert_with(|| IntOrString::String("25%".into()));
    }
}

/// A Deployment counts changes of its annotations as well, since they are handed down to its ReplicaSets.
pub(super) fn annotations_changed(old: &Value, new: &Value) -> bool {
    let annotations = |object: &Value| object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations(old) != annotations(new)
}
