//! What the runtime shows, as the engine sees it.

use pod_lifecycle::{
    ContainerIdx, ContainerView, ContainerViewState, PodPlan, RuntimeView, SandboxView, Timestamp, UserView,
};

use crate::{names, paths::PodPaths, termination};

/// Returns the view of a sandbox.
pub(crate) fn sandbox(status: &cri::SandboxStatus) -> SandboxView {
    SandboxView {
        id: status.id.0.clone(),
        attempt: status.metadata.attempt,
        ready: status.state == cri::SandboxState::Ready,
        ips: status.ips.clone(),
        created_at: Timestamp(status.created_at),
    }
}

/// Returns the view of a container, its termination message read and cut; `None`: the plan has no such
/// container (any more).
pub(crate) fn container(plan: &PodPlan, paths: &PodPaths, status: &cri::ContainerStatus) -> Option<ContainerView> {
    let container = plan.find(&status.name)?;
    Some(ContainerView {
        container,
        id: status.id.0.clone(),
        sandbox: status.sandbox.0.clone(),
        attempt: status.attempt,
        image: status.image.clone(),
        image_id: status.image_ref.clone(),
        spec_hash: status.annotations.get(names::CONTAINER_HASH).cloned().unwrap_or_default(),
        created_at: Timestamp(status.created_at),
        user: status.user.as_ref().map(user),
        state: state(plan, paths, status, container),
    })
}

fn user(user: &cri::LinuxUser) -> UserView {
    UserView { uid: user.uid, gid: user.gid, groups: user.groups.clone() }
}

/// Returns all that the runtime has of a pod.
pub(crate) fn runtime_view(
    plan: &PodPlan,
    paths: &PodPaths,
    sandboxes: &[cri::SandboxStatus],
    containers: &[cri::ContainerStatus],
) -> RuntimeView {
    RuntimeView {
        sandboxes: sandboxes.iter().map(sandbox).collect(),
        containers: containers.iter().filter_map(|c| container(plan, paths, c)).collect(),
    }
}

fn state(
    plan: &PodPlan,
    paths: &PodPaths,
    status: &cri::ContainerStatus,
    container: ContainerIdx,
) -> ContainerViewState {
    let started_at = (status.started_at > 0).then_some(Timestamp(status.started_at));
    match (status.state, started_at) {
        (cri::ContainerState::Created, _) => ContainerViewState::Created,
        (cri::ContainerState::Running, started) => {
            ContainerViewState::Running { started_at: started.unwrap_or(Timestamp(status.created_at)) }
        }
        (cri::ContainerState::Exited, started_at) => ContainerViewState::Exited {
            started_at,
            finished_at: Timestamp(status.finished_at),
            exit_code: status.exit_code,
            reason: exit_reason(status).as_str().to_owned(),
            message: termination::message(plan, plan.container(container), paths, status),
        },
        (cri::ContainerState::Unknown, started_at) => ContainerViewState::Exited {
            started_at,
            finished_at: Timestamp(status.finished_at.max(status.started_at)),
            exit_code: UNKNOWN_EXIT,
            reason: cri::ExitReason::Unknown.as_str().to_owned(),
            message: LOST.to_owned(),
        },
    }
}

/// Exit code of a container whose end nobody saw (contract S3-59).
const UNKNOWN_EXIT: i32 = 137;
/// Message of such an end (pkg/kubelet/kubelet_pods.go).
const LOST: &str = "The container could not be located when the pod was terminated";

fn exit_reason(status: &cri::ContainerStatus) -> cri::ExitReason {
    status.reason.unwrap_or(if status.exit_code == 0 { cri::ExitReason::Completed } else { cri::ExitReason::Error })
}
