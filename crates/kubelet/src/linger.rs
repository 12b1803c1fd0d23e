//! The end of a pod that has nothing left on the node: its object is deleted once that is asked for, and its logs
//! once the object is gone (contract S4-45).

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use pod_lifecycle::PodPlan;
use tokio::sync::watch;

use crate::{node_context::NodeContext, paths::PodPaths, pod_worker::Desired, status::WriterEnd, volumes};

/// First pause after a failed deletion.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// Longest pause after failed deletions.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Waits until the object is to be deleted, deletes it, waits until it is gone (finalizers may hold it), and removes
/// the logs.
pub(crate) async fn until_gone<R>(
    node: &Arc<NodeContext<R>>,
    plan: &PodPlan,
    paths: &PodPaths,
    mut desired: watch::Receiver<Desired>,
    end: WriterEnd,
) {
    let deleting = |d: &Desired| d.gone || d.pod.metadata.deletion_timestamp.is_some();
    if end == WriterEnd::Recorded && desired.wait_for(deleting).await.is_ok() {
        let gone = desired.borrow().gone;
        if !gone {
            delete(node, plan).await;
        }
    }
    if desired.wait_for(|d| d.gone).await.is_ok()
        && let Err(e) = volumes::remove_tree(&paths.logs)
    {
        tracing::warn!(pod = plan.full_name(), "logs not removed: {e}");
    }
}

/// Deletes the object at once if it is still the same; that it is gone already is fine.
async fn delete<R>(node: &NodeContext<R>, plan: &PodPlan) {
    let api: Api<Pod> = Api::namespaced(node.client.0.clone(), &plan.namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(plan.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    let mut pause = FIRST_RETRY;
    loop {
        match api.delete(&plan.name, &params).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(e) => tracing::warn!(pod = plan.full_name(), "object not deleted, trying again: {e}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
    }
}
