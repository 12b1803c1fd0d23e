//! Drops what no controller reads from objects before they are kept.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Container, Node, Pod};
use kube::core::PartialObjectMeta;

/// Field management is for writers by apply; it is often half of an object.
pub(crate) fn job(job: &mut Job) {
    job.metadata.managed_fields = None;
}

/// See [`job`].
pub(crate) fn cronjob(cronjob: &mut CronJob) {
    cronjob.metadata.managed_fields = None;
}

/// See [`job`].
pub(crate) fn deployment(deployment: &mut Deployment) {
    deployment.metadata.managed_fields = None;
}

/// See [`job`].
pub(crate) fn replica_set(replica_set: &mut ReplicaSet) {
    replica_set.metadata.managed_fields = None;
}

/// See [`job`]. Annotations can be large and say nothing about ownership.
pub(crate) fn metadata<K>(object: &mut PartialObjectMeta<K>) {
    object.metadata.managed_fields = None;
    object.metadata.annotations = None;
}

/// Of a pod, its metadata and status are kept, and what decides where it can run.
pub(crate) fn pod(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    let Some(spec) = &mut pod.spec else { return };
    spec.volumes = None;
    spec.security_context = None;
    let inits = spec.init_containers.iter_mut().flatten();
    for container in inits.chain(&mut spec.containers) {
        *container = Container {
            name: std::mem::take(&mut container.name),
            resources: container.resources.take(),
            restart_policy: container.restart_policy.take(),
            ports: container.ports.take(),
            ..Container::default()
        };
    }
}

/// Images of a node are a long list.
pub(crate) fn node(node: &mut Node) {
    node.metadata.managed_fields = None;
    if let Some(status) = &mut node.status {
        status.images = None;
    }
}
