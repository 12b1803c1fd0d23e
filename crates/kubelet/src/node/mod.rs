//! The node object and its lease (pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus).

mod heartbeat;
mod machine;
mod status;

use std::collections::BTreeMap;

pub(crate) use heartbeat::heartbeat;
use k8s_openapi::{
    api::core::v1::{Node, NodeSpec, NodeStatus},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use machine::architecture;
pub(crate) use machine::memory_bytes;
use pod_lifecycle::EventType;
pub(crate) use status::Room;

use crate::{
    Options,
    clock::{api_time, wall_nanos},
    events::{EventRecorder, Regarding},
    eviction::Condition,
};

/// Creates the node object, or brings an existing one up to date; returns it as it is now. It may be repeated.
pub(crate) async fn register(
    client: &Client,
    events: &EventRecorder,
    options: &Options,
    room: &Room,
    short: &[Condition],
) -> Result<Node, kube::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let node = node(options);
    let stored = match api.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let metadata = serde_json::json!({
                "metadata": {"labels": node.metadata.labels, "annotations": node.metadata.annotations}
            });
            api.patch(&options.node_name, &PatchParams::default(), &Patch::Merge(metadata)).await?
        }
        other => other?,
    };
    let now = api_time(wall_nanos());
    let status = status::status(options, room, None, short, stored.status.as_ref(), &now);
    report(&api, events, options, &stored.status.unwrap_or_default(), &status).await
}

/// Writes the status, and tells of conditions that came or went.
async fn report(
    api: &Api<Node>,
    events: &EventRecorder,
    options: &Options,
    before: &NodeStatus,
    status: &NodeStatus,
) -> Result<Node, kube::Error> {
    let patch = serde_json::json!({"status": status});
    let node = api.patch_status(&options.node_name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    for reason in status::transitions(before, status) {
        let message = format!("Node {} status is now: {reason}", options.node_name);
        events.record(Regarding::node(&options.node_name), EventType::Normal, &reason, message);
    }
    Ok(node)
}

fn node(options: &Options) -> Node {
    let mut node = Node { spec: Some(NodeSpec::default()), ..Node::default() };
    node.metadata.name = Some(options.node_name.clone());
    node.metadata.labels = Some(labels(options));
    // There is no controller that could attach volumes instead; this is the default of a kubelet.
    let attach = ("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned());
    node.metadata.annotations = Some(BTreeMap::from([attach]));
    node
}

/// Returns the labels of the node object.
pub(crate) fn labels(options: &Options) -> BTreeMap<String, String> {
    let mut labels = options.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", options.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// Resources by name.
pub(crate) type Quantities = BTreeMap<String, Quantity>;
