//! A pod that the node does not take: it is told so and waits for its deletion (contract S5-46).

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use pod_lifecycle::{EventType, PodPlan};
use tokio::sync::watch;

use crate::{
    admission::Rejection,
    events::Regarding,
    linger,
    node_context::NodeContext,
    paths::PodPaths,
    pod_worker::Desired,
    status::{self, WriterEnd},
    status_queue,
};

/// Records the refusal and stays until the object is gone.
pub(crate) async fn refuse<R>(
    node: Arc<NodeContext<R>>,
    plan: PodPlan,
    rejection: Rejection,
    desired: watch::Receiver<Desired>,
) {
    let about = Regarding::pod(&plan, None);
    node.events.record(about, EventType::Warning, &rejection.reason, rejection.message.clone());
    let (mut sender, queue) = status_queue::channel();
    sender.send(rejection.status(&plan.pod));
    drop(sender);
    let api: Api<Pod> = Api::namespaced(node.client.0.clone(), &plan.namespace);
    let host_ips = node.options.node_ips.iter().map(ToString::to_string).collect();
    let end: WriterEnd = status::writer(api, queue, Arc::clone(&plan.pod), host_ips).await;
    let paths = PodPaths::new(&node.options, &plan.pod);
    linger::until_gone(&node, &plan, &paths, desired, end).await;
}
