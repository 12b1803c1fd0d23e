//! Signs of life: a lease every few seconds, the status when it changed or every few minutes.

use std::{sync::Arc, time::Duration};

use cri::ImageService;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Room, report,
    status::{changed, status},
};
use crate::{
    Options,
    clock::{api_time, wall_nanos},
    node_context::NodeContext,
};

/// Where the leases of nodes are.
const NAMESPACE: &str = "kube-node-lease";
/// How long a lease is good for (`nodeLeaseDurationSeconds`), and when it is renewed: after a quarter of that.
const LEASE_SECONDS: i32 = 40;
const RENEWAL: Duration = Duration::from_secs(10);
/// How often the status is written although nothing changed (`nodeStatusReportFrequency`).
const REPORT: Duration = Duration::from_secs(300);

/// Renews the lease and the status of a registered node, for ever: now and then if that is wanted, and when it comes
/// to be short of something. What fails is tried again at the next turn.
pub(crate) async fn heartbeat<R: ImageService>(context: Arc<NodeContext<R>>, room: Room, node: Node) {
    let options = &context.options;
    let nodes: Api<Node> = Api::all(context.client.0.clone());
    let leases: Api<Lease> = Api::namespaced(context.client.0.clone(), NAMESPACE);
    let mut last = (node.status.clone().unwrap_or_default(), Instant::now());
    let mut short = context.gauge.changes();
    let mut turns = interval(RENEWAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What has not been written yet is tried again.
    let mut failed = false;
    loop {
        let is_turn = tokio::select! {
            _ = turns.tick(), if options.heartbeat || failed => options.heartbeat,
            Ok(()) = short.changed() => false,
            else => return,
        };
        if is_turn && let Err(e) = renew(&leases, options, &node).await {
            tracing::warn!(node = options.node_name, "lease not renewed: {e}");
        }
        let images = context.runtime.list_images().await.map_err(|e| tracing::warn!("images not listed: {e}")).ok();
        let conditions = context.gauge.conditions(context.clock.now().mono);
        let next = status(options, &room, images, &conditions, Some(&last.0), &api_time(wall_nanos()));
        if !changed(&last.0, &next) && last.1.elapsed() < REPORT {
            continue;
        }
        failed = match report(&nodes, &context.events, options, &last.0, &next).await {
            Ok(_) => {
                last = (next, Instant::now());
                false
            }
            Err(e) => {
                tracing::warn!(node = options.node_name, "status of the node not written: {e}");
                true
            }
        };
    }
}

/// Renews the lease, or makes it.
async fn renew(leases: &Api<Lease>, options: &Options, node: &Node) -> Result<(), kube::Error> {
    let spec = LeaseSpec {
        holder_identity: Some(options.node_name.clone()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(serde_json::json!({"spec": spec}));
    match leases.patch(&options.node_name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let mut lease = Lease { spec: Some(spec), ..Lease::default() };
            lease.metadata.name = Some(options.node_name.clone());
            lease.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: options.node_name.clone(),
                uid: node.metadata.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            }]);
            leases.create(&PostParams::default(), &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}
