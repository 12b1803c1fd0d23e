//! Which instance's log is meant (kubelet_pods.go `validateContainerLogStatus`, contract S11-26).

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use cri::{ContainerFilter, ContainerState, ImageService, RuntimeEvent, RuntimeEventKind, RuntimeService};
use futures::Stream;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::Api;
use tokio::sync::broadcast;

use super::{LogOptions, read};
use crate::{Kubelet, paths::PodPaths};

/// Why a log cannot be shown. The texts are the kubelet's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such pod here; an API server answers 404.
    #[error("{0}")]
    NotFound(String),
    /// The container has no such log (yet); an API server answers 400.
    #[error("{0}")]
    BadRequest(String),
    /// The API or the runtime did not answer.
    #[error("{0}")]
    Internal(String),
}

/// An instance of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instance {
    id: String,
    attempt: u32,
}

impl<R: RuntimeService + ImageService> Kubelet<R> {
    /// Streams the log of a container of a pod of this node.
    ///
    /// # Errors
    /// With the texts that `kubectl logs` shows on a cluster.
    pub async fn container_logs(
        &self,
        namespace: &str,
        name: &str,
        container: &str,
        options: LogOptions,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<R>, LogError> {
        let api: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let pod = api.get_opt(name).await.map_err(|e| LogError::Internal(e.to_string()))?;
        let missing = || LogError::NotFound(format!("pod {name:?} cannot be found - no logs available"));
        let pod = pod.ok_or_else(missing)?;
        let status = pod.status.clone().unwrap_or_default();
        let instance = instance(name, &status, container, options.previous).map_err(LogError::BadRequest)?;
        // Subscribed before the look at the present state, so that no end is missed.
        let events = self.runtime().events();
        let (path, running) = self.locate(&pod, container, &instance).await?;
        let runtime = Arc::clone(self.runtime());
        let ended = async move {
            if running {
                until_ended(runtime, events, &instance.id).await;
            }
        };
        Ok(read(path, options, ended))
    }

    /// Returns the file of an instance, and whether it still grows.
    async fn locate(&self, pod: &Pod, container: &str, instance: &Instance) -> Result<(PathBuf, bool), LogError> {
        let filter = ContainerFilter { sandbox: None, pod_uid: pod.metadata.uid.clone() };
        let known = self.runtime().list_containers(filter).await.map_err(|e| LogError::Internal(e.to_string()))?;
        let found = known.into_iter().find(|c| c.id.0 == instance.id);
        Ok(match found {
            Some(status) => (status.log_path, status.state == ContainerState::Running),
            // Its record is gone; its log stays until the pod is deleted.
            None => (PodPaths::new(self.options(), pod).log(container, instance.attempt), false),
        })
    }
}

/// Waits until a container does not run any more.
async fn until_ended<R: RuntimeService>(runtime: Arc<R>, mut events: broadcast::Receiver<RuntimeEvent>, id: &str) {
    loop {
        match events.recv().await {
            Ok(RuntimeEvent { kind: RuntimeEventKind::ContainerExited(status), .. }) if status.id.0 == id => return,
            Ok(RuntimeEvent { kind: RuntimeEventKind::SandboxLost(_), .. })
            | Err(broadcast::error::RecvError::Lagged(_)) => {
                let status = runtime.container_status(&cri::ContainerId(id.to_owned())).await;
                if !status.is_ok_and(|s| s.state == ContainerState::Running) {
                    return;
                }
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Chooses the instance; the error is the text to be shown.
fn instance(pod: &str, status: &PodStatus, container: &str, previous: bool) -> Result<Instance, String> {
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut all = lists.into_iter().flat_map(|l| l.iter().flatten());
    let found = all.find(|s| s.name == container);
    let found = found.ok_or_else(|| format!("container {container:?} in pod {pod:?} is not available"))?;
    let state = found.state.clone().unwrap_or_default();
    let last = found.last_state.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.container_id.clone());
    let last = last.filter(|id| !id.is_empty());
    let own = attempt(found);
    let at = |id: &str, attempt: u32| Instance { id: strip(id), attempt };
    if previous {
        let missing = || format!("previous terminated container {container:?} in pod {pod:?} not found");
        // While it waits for a restart the count is still that of the last instance.
        let before = if state.waiting.is_some() { own } else { own.saturating_sub(1) };
        return Ok(at(&last.ok_or_else(missing)?, before));
    }
    if state.running.is_some() {
        return Ok(at(found.container_id.as_deref().unwrap_or_default(), own));
    }
    let terminated = || format!("container {container:?} in pod {pod:?} is terminated");
    if let Some(ended) = &state.terminated {
        let id = ended.container_id.clone().filter(|id| !id.is_empty()).or(last);
        return Ok(at(&id.ok_or_else(terminated)?, own));
    }
    if found.last_state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        return Ok(at(&last.ok_or_else(terminated)?, own));
    }
    let why = match state.waiting.and_then(|w| w.reason).as_deref() {
        Some("ErrImagePull") => "image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => "trying and failing to pull image".to_owned(),
        Some(reason) => reason.to_owned(),
        None => return Err(format!("container {container:?} in pod {pod:?} is waiting to start - no logs yet")),
    };
    Err(format!("container {container:?} in pod {pod:?} is waiting to start: {why}"))
}

fn attempt(status: &ContainerStatus) -> u32 {
    u32::try_from(status.restart_count).unwrap_or(0)
}

/// Removes the runtime's name from a container id of a status.
fn strip(id: &str) -> String {
    id.split_once("://").map_or(id, |(_, id)| id).to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_in_result, reason = "the fixtures are valid; only what is tested may fail")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn choose(status: Value, previous: bool) -> Result<(String, u32), String> {
        let status: PodStatus = serde_json::from_value(status).expect("a status");
        instance("p", &status, "c", previous).map(|i| (i.id, i.attempt))
    }

    fn one(state: Value, last: Value) -> Value {
        json!({"initContainerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 2,
            "containerID": "podrig://now", "state": state, "lastState": last}]})
    }

    #[test]
    fn s11_26_the_running_or_last_dead_instance_is_meant() {
        let ended = |id: &str| json!({"terminated": {"exitCode": 1, "containerID": id}});
        let running = json!({"running": {}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let ok = |id: &str, n| Ok((id.to_owned(), n));
        let err = |text: &str| Err(text.to_owned());
        let cases = [
            (one(running.clone(), json!({})), false, ok("now", 2)),
            (one(ended("podrig://dead"), json!({})), false, ok("dead", 2)),
            (one(waiting("CrashLoopBackOff"), ended("podrig://dead")), false, ok("dead", 2)),
            (one(running.clone(), ended("podrig://dead")), true, ok("dead", 1)),
            (one(waiting("CrashLoopBackOff"), ended("podrig://dead")), true, ok("dead", 2)),
            (one(running, json!({})), true, err("previous terminated container \"c\" in pod \"p\" not found")),
            (one(ended(""), json!({})), false, err("container \"c\" in pod \"p\" is terminated")),
            (
                one(waiting("PodInitializing"), json!({})),
                false,
                err("container \"c\" in pod \"p\" is waiting to start: PodInitializing"),
            ),
            (
                one(waiting("ErrImagePull"), json!({})),
                false,
                err("container \"c\" in pod \"p\" is waiting to start: image can't be pulled"),
            ),
            (
                one(waiting("ImagePullBackOff"), json!({})),
                false,
                err("container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"),
            ),
            (one(json!({}), json!({})), false, err("container \"c\" in pod \"p\" is waiting to start - no logs yet")),
            (json!({}), false, err("container \"c\" in pod \"p\" is not available")),
        ];
        for (status, previous, want) in cases {
            assert_eq!(choose(status.clone(), previous), want, "{status} previous={previous}");
        }
    }
}
