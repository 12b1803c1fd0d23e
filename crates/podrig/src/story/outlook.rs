//! Judges from a pod's status whether it can still come to an end by itself.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

/// What can be expected of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// It goes on; nothing speaks against its end.
    Open,
    /// It has reached a terminal phase.
    Ended {
        /// Whether the phase is `Succeeded`.
        succeeded: bool,
    },
    /// It cannot start, and nobody is there to change that: the image cannot be had, the program cannot
    /// be executed, an object that it names is missing.
    Hopeless {
        /// The container.
        container: String,
        /// Reason as the status shows it.
        reason: String,
        /// Message as the status shows it.
        message: String,
    },
    /// Some main containers have ended, these still run: unless they end by themselves, the pod never does.
    ServerLeft {
        /// Ended, with exit codes.
        ended: Vec<(String, i32)>,
        /// Still running.
        running: Vec<String>,
    },
    /// A plain init container runs and others wait for its end.
    InitRuns {
        /// The init container.
        container: String,
        /// Whether it declares ports, as servers do.
        declares_ports: bool,
    },
}

/// Waiting reasons that no retry can mend while nobody changes images or objects.
const HOPELESS: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "RunContainerError",
];

/// Judges one pod.
pub(crate) fn outlook(pod: &Pod) -> Outlook {
    let status = pod.status.as_ref();
    match status.and_then(|s| s.phase.as_deref()) {
        Some("Succeeded") => return Outlook::Ended { succeeded: true },
        Some("Failed") => return cannot_start(pod).unwrap_or(Outlook::Ended { succeeded: false }),
        Some(_) | None => {}
    }
    cannot_start(pod).or_else(|| init_runs(pod)).or_else(|| server_left(pod)).unwrap_or(Outlook::Open)
}

fn cannot_start(pod: &Pod) -> Option<Outlook> {
    all_statuses(pod).find_map(|status| {
        let state = status.state.as_ref()?;
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.clone()?;
            return HOPELESS.contains(&reason.as_str()).then(|| Outlook::Hopeless {
                container: status.name.clone(),
                reason,
                message: waiting.message.clone().unwrap_or_default(),
            });
        }
        let terminated = state.terminated.as_ref()?;
        (terminated.reason.as_deref() == Some("StartError")).then(|| Outlook::Hopeless {
            container: status.name.clone(),
            reason: "StartError".into(),
            message: terminated.message.clone().unwrap_or_default(),
        })
    })
}

fn init_runs(pod: &Pod) -> Option<Outlook> {
    let spec = pod.spec.as_ref()?;
    let statuses = pod.status.as_ref()?.init_container_statuses.as_deref()?;
    let running = statuses.iter().find(|s| is_running(s) && !is_sidecar(spec.init_containers.as_deref(), &s.name))?;
    let container = spec.init_containers.as_ref()?.iter().find(|c| c.name == running.name)?;
    Some(Outlook::InitRuns {
        container: running.name.clone(),
        declares_ports: container.ports.as_ref().is_some_and(|ports| !ports.is_empty()),
    })
}

fn server_left(pod: &Pod) -> Option<Outlook> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    let running: Vec<String> = statuses.iter().filter(|s| is_running(s)).map(|s| s.name.clone()).collect();
    let ended: Vec<(String, i32)> = statuses
        .iter()
        .filter_map(|s| Some((s.name.clone(), s.state.as_ref()?.terminated.as_ref()?.exit_code)))
        .collect();
    let all_known = running.len() + ended.len() == statuses.len();
    (all_known && !running.is_empty() && !ended.is_empty()).then_some(Outlook::ServerLeft { ended, running })
}

fn all_statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let inits = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    inits.iter().chain(status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default())
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

fn is_sidecar(inits: Option<&[Container]>, name: &str) -> bool {
    inits.unwrap_or_default().iter().any(|c| c.name == name && c.restart_policy.as_deref() == Some("Always"))
}
