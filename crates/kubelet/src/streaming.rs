//! Sessions in running containers: exec, attach and port-forward (kubelet_pods.go, server.go).

use std::pin::Pin;

use cri::{
    Connection, ContainerFilter, ContainerId, ContainerState, ContainerStatus, ExecSession, ImageService,
    RuntimeService, SandboxState, Session, StreamingService, Streams,
};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::Api;

use crate::Kubelet;

/// A pod as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Tells the pod from others of that name.
    pub uid: String,
}

/// Why a session was not opened. The texts are the kubelet's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no such pod here; the kubelet answers 404.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense; the kubelet answers 400.
    #[error("{0}")]
    BadRequest(String),
    /// The container does not run, or the runtime refuses; the kubelet answers 500.
    #[error("{0}")]
    Internal(String),
}

impl<R: RuntimeService + ImageService + StreamingService> Kubelet<R> {
    /// Executes a command in a running container of a pod of this node.
    ///
    /// # Errors
    /// When there is no such pod or running container. That the command was not executed is told by
    /// [`Session::end`].
    pub async fn exec(&self, pod: &PodName, container: &str, session: ExecSession) -> Result<Session, SessionError> {
        check(session.streams, session.tty)?;
        self.find_pod(pod).await?;
        let id = self.find_running(pod, container).await?;
        let mut session = self.runtime().exec(&id, session).await.map_err(refused)?;
        let end = session.end;
        session.end = Box::pin(async { end.await.map_err(as_containerd) });
        Ok(session)
    }

    /// Joins the streams of a running container's own process. Whether that has a terminal is as its spec says.
    ///
    /// # Errors
    /// When there is no such pod or running container.
    pub async fn attach(&self, pod: &PodName, container: &str, streams: Streams) -> Result<Session, SessionError> {
        let object = self.find_pod(pod).await?;
        let tty = object.spec.as_ref().and_then(|spec| has_terminal(spec, container));
        let missing = || SessionError::Internal(format!("failed to find container {container} in pod"));
        check(streams, tty.ok_or_else(missing)?)?;
        let id = self.find_running(pod, container).await?;
        self.runtime().attach(&id, streams).await.map_err(refused)
    }

    /// Connects to a TCP port on `localhost` inside a pod of this node.
    ///
    /// # Errors
    /// When there is no such running pod, or nobody listens.
    pub async fn port_forward(&self, pod: &PodName, port: u16) -> Result<Pin<Box<dyn Connection>>, SessionError> {
        self.find_pod(pod).await?;
        let sandboxes = self.runtime().list_sandboxes().await.map_err(refused)?;
        let mut own = sandboxes.into_iter().filter(|sandbox| sandbox.metadata.uid == pod.uid);
        let sandbox = own.find(|sandbox| sandbox.state == SandboxState::Ready);
        let full_name = format!("{}_{}", pod.name, pod.namespace);
        let sandbox = sandbox.ok_or_else(|| SessionError::Internal(format!("pod not found ({full_name:?})")))?;
        self.runtime().connect(&sandbox.id, port).await.map_err(refused)
    }

    async fn find_pod(&self, pod: &PodName) -> Result<Pod, SessionError> {
        let api: Api<Pod> = Api::namespaced(self.client().clone(), &pod.namespace);
        let found = api.get_opt(&pod.name).await.map_err(|e| SessionError::Internal(e.to_string()))?;
        let node = Some(&self.options().node_name);
        let found = found.filter(|found| found.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == node);
        found.ok_or_else(|| SessionError::NotFound("pod does not exist".into()))
    }

    async fn find_running(&self, pod: &PodName, container: &str) -> Result<ContainerId, SessionError> {
        let filter = ContainerFilter { sandbox: None, pod_uid: Some(pod.uid.clone()) };
        running(self.runtime().list_containers(filter).await.map_err(refused)?, container)
    }
}

/// Chooses the running instance of a container.
fn running(all: Vec<ContainerStatus>, name: &str) -> Result<ContainerId, SessionError> {
    let mut all = all.into_iter();
    let found = all.find(|container| container.name == name && container.state == ContainerState::Running);
    found.map(|container| container.id).ok_or_else(|| SessionError::Internal(format!("container not found ({name:?})")))
}

/// Checks a session's options as the streaming server of a runtime does (kubelet/pkg/cri/streaming/server.go).
fn check(streams: Streams, tty: bool) -> Result<(), SessionError> {
    let why = if tty && streams.stderr {
        "tty and stderr cannot both be set"
    } else if !(streams.stdin || streams.stdout || streams.stderr) {
        "one of stdin, stdout, or stderr must be set"
    } else {
        return Ok(());
    };
    Err(SessionError::BadRequest(why.into()))
}

/// Returns whether a container of a spec, of whatever kind, has a terminal.
fn has_terminal(spec: &PodSpec, name: &str) -> Option<bool> {
    let init = spec.init_containers.iter().flatten();
    let common = spec.containers.iter().chain(init).map(|container| (&container.name, container.tty));
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| (&container.name, container.tty));
    common.chain(ephemeral).find(|(found, _)| *found == name).map(|(_, tty)| tty == Some(true))
}

fn refused(error: cri::Error) -> SessionError {
    SessionError::Internal(error.to_string())
}

/// Says what people know from containerd when a command was not executed.
fn as_containerd(error: cri::Error) -> cri::Error {
    if let cri::Error::StartFailed { message } = error {
        let message = format!("failed to exec in container: OCI runtime exec failed: {message}: unknown");
        return cri::Error::StartFailed { message };
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, attempt: u32, state: ContainerState) -> ContainerStatus {
        ContainerStatus {
            id: ContainerId(format!("{name}-{attempt}")),
            sandbox: cri::SandboxId("s".into()),
            name: name.into(),
            attempt,
            state,
            created_at: 0,
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: None,
            message: String::new(),
            image: String::new(),
            image_ref: String::new(),
            log_path: "/".into(),
            pid: None,
            user: None,
            labels: Default::default(),
            annotations: Default::default(),
        }
    }

    #[test]
    fn the_running_instance_of_a_container_is_meant() {
        let all = || {
            vec![
                container("app", 0, ContainerState::Exited),
                container("app", 1, ContainerState::Running),
                container("init", 0, ContainerState::Exited),
                container("next", 0, ContainerState::Created),
            ]
        };
        assert_eq!(running(all(), "app"), Ok(ContainerId("app-1".into())));
        for name in ["init", "next", "nobody"] {
            assert_eq!(running(all(), name), Err(SessionError::Internal(format!("container not found ({name:?})"))));
        }
    }

    #[test]
    fn impossible_streams_are_refused() {
        let error = |text: &str| Err(SessionError::BadRequest(text.into()));
        let streams = |stdin, stdout, stderr| Streams { stdin, stdout, stderr };
        assert_eq!(check(streams(true, true, true), true), error("tty and stderr cannot both be set"));
        assert_eq!(check(streams(false, false, false), false), error("one of stdin, stdout, or stderr must be set"));
        assert_eq!(check(streams(false, true, true), false), Ok(()));
        assert_eq!(check(streams(true, true, false), true), Ok(()));
    }

    #[test]
    fn the_spec_says_who_has_a_terminal() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({
            "containers": [{"name": "app"}],
            "initContainers": [{"name": "side", "tty": true}],
            "ephemeralContainers": [{"name": "debug", "tty": true}],
        }))
        .expect("a spec");
        let found = ["app", "side", "debug", "nobody"].map(|name| has_terminal(&spec, name));
        assert_eq!(found, [Some(false), Some(true), Some(true), None]);
    }
}
