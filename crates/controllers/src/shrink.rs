//! Drops what no controller reads from objects before they are kept.

use k8s_openapi::api::core::v1::{Container, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::api::Metadata;

/// Of an object of any kind only that is kept which ownership depends on.
pub(crate) fn metadata(object: &mut Metadata) {
    let metadata = &mut object.metadata;
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        uid: metadata.uid.take(),
        resource_version: metadata.resource_version.take(),
        owner_references: metadata.owner_references.take(),
        finalizers: metadata.finalizers.take(),
        deletion_timestamp: metadata.deletion_timestamp.take(),
        ..ObjectMeta::default()
    };
    object.types = None;
}

/// Field management is for writers by apply; it is often half of an object.
pub(crate) fn managed<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
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
