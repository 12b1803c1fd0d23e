//! Pods that run here although the API does not know them, and directories that nobody owns (contract S4-53).

use std::{sync::Arc, time::Duration};

use cri::{ContainerState, ContainerStatus, ImageService, RuntimeService, SandboxStatus};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::{
    Options, hooks, names,
    node_context::NodeContext,
    paths::{PodPaths, is_plain},
    volumes::{self, remove_tree},
};

/// Grace for preStop.
const GRACE: Duration = Duration::from_secs(1);
/// Time between stop signal and SIGKILL (contract S4-12).
const SIGNAL_GRACE: Duration = Duration::from_secs(2);

/// Ends a pod of which only the runtime knows: all containers at once, preStop from their annotations.
pub(crate) async fn terminate<R: RuntimeService + ImageService>(
    node: &Arc<NodeContext<R>>,
    uid: &str,
    sandboxes: Vec<SandboxStatus>,
    containers: Vec<ContainerStatus>,
) {
    tracing::info!(uid, "ending a pod that the API does not know");
    let pod_ip = sandboxes.iter().max_by_key(|s| s.metadata.attempt).and_then(|s| s.ips.first().copied());
    let running = containers.into_iter().filter(|c| c.state == ContainerState::Running);
    futures::future::join_all(running.map(|c| stop(node, c, pod_ip))).await;
    let mut all_removed = true;
    for sandbox in &sandboxes {
        if let Err(e) = node.runtime.remove_sandbox(&sandbox.id).await {
            tracing::warn!(uid, sandbox = %sandbox.id, "sandbox not removed: {e}");
            all_removed = false;
        }
    }
    // What may run still keeps its directories, and with them its range of ids. The next agent tries again.
    for sandbox in sandboxes.iter().filter(|_| all_removed) {
        let meta = &sandbox.metadata;
        let paths = PodPaths::of(&node.options, &meta.namespace, &meta.name, &meta.uid);
        if is_plain(&meta.uid) && is_plain(&meta.name) && is_plain(&meta.namespace) {
            let removed = volumes::remove_directories(&paths).and_then(|()| remove_tree(&paths.logs));
            if let Err(e) = removed {
                tracing::warn!(uid, "pod directories not removed: {e}");
            }
        }
    }
}

async fn stop<R: RuntimeService>(
    node: &Arc<NodeContext<R>>,
    status: ContainerStatus,
    pod_ip: Option<std::net::IpAddr>,
) {
    let hook = status.annotations.get(names::PRE_STOP);
    if let Some(hook) = hook.and_then(|json| serde_json::from_str::<LifecycleHandler>(json).ok()) {
        let target = hooks::Target {
            container: Arc::new(Container { name: status.name.clone(), ..Container::default() }),
            id: status.id.clone(),
            pod_ip,
            tls: Arc::clone(&node.tls),
        };
        hooks::run(Arc::clone(&node.runtime), target, &hook, Some(GRACE)).await;
    }
    if let Err(e) = node.runtime.stop_container(&status.id, SIGNAL_GRACE).await {
        tracing::warn!(container = %status.id, "container not stopped: {e}");
    }
}

/// Removes directories of pods that are neither known nor running.
pub(crate) fn remove_stale_directories(options: &Options, known: impl Fn(&str) -> bool) {
    let entries = |dir: &std::path::Path| {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        names.filter_map(|e| e.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    for dir in [options.root_dir.join("pods"), options.run_dir.join("pods")] {
        for uid in entries(&dir).into_iter().filter(|uid| !known(uid)) {
            report(remove_tree(&dir.join(&uid)), &uid);
        }
    }
    for name in entries(&options.log_dir) {
        let uid = name.rsplit('_').next().unwrap_or_default();
        // Only what looks like a log directory of a pod: <namespace>_<name>_<uid>.
        if name.split('_').count() == 3 && !known(uid) {
            report(remove_tree(&options.log_dir.join(&name)), &name);
        }
    }
}

fn report(result: std::io::Result<()>, what: &str) {
    if let Err(e) = result {
        tracing::warn!(what, "directory of an unknown pod not removed: {e}");
    }
}
