//! In-place resize: containers get other resources while they run (KEP-1287; contract S8-06 to S8-08, S12-17;
//! kubelet `kuberuntime_manager.go` `computePodResizeAction`, `allocation_manager.go`, `events/`).
//!
//! The plan holds what the node has granted. What was asked for and is not granted comes beside it, as
//! [`PendingResize`], and shows in a condition only.

use k8s_openapi::{
    api::core::v1::{Container as ContainerSpec, Pod, PodCondition, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use serde::{Deserialize, Serialize};

use crate::{
    ContainerIdx, Effect, EventType, Failure, PodMachine, PodPlan, ResizedContainer,
    machine::Purpose,
    sync::{Active, ERROR_RETRY},
};

/// A resize that the node does not grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingResize {
    /// Whether it exceeds the node as a whole; otherwise it waits for room.
    pub infeasible: bool,
    /// What is missing.
    pub message: String,
    /// Generation of the pod that asked for it.
    pub generation: i64,
    /// What was asked for, as its event shows it.
    pub summary: String,
}

/// State of a pod's resizes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resize {
    pub(crate) pending: Option<PendingResize>,
    pub(crate) progress: Option<Progress>,
}

/// A resize that was granted and is not carried out yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) generation: i64,
    /// Why the last attempt failed.
    pub(crate) error: Option<String>,
    /// The resources of the pod as a whole have changed.
    pub(crate) of_pod: bool,
}

/// A container whose limits are being changed, and to what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    container: ContainerIdx,
    resources: Option<ResourceRequirements>,
}

impl PendingResize {
    /// Describes why this pod, as desired, does not get what it asks for.
    pub fn new(infeasible: bool, message: String, wanted: &Pod) -> Self {
        let generation = wanted.metadata.generation.unwrap_or_default();
        let summary = summary(wanted, Some(&message));
        Self { infeasible, message, generation, summary }
    }

    /// Returns the reason of the condition: `Infeasible` or `Deferred`.
    pub fn reason(&self) -> &'static str {
        if self.infeasible { INFEASIBLE } else { "Deferred" }
    }

    fn same_as(&self, other: &Self) -> bool {
        (self.infeasible, self.generation, &self.message) == (other.infeasible, other.generation, &other.message)
    }
}

impl Resize {
    /// Reads back what a status says. A pod that has changed since asks for something else.
    pub(crate) fn restore(plan: &PodPlan, conditions: &[PodCondition]) -> Self {
        let find = |type_: &str| conditions.iter().find(|c| c.type_ == type_);
        let generation = |c: &PodCondition| c.observed_generation.unwrap_or_default();
        let pending = find(PENDING).filter(|c| generation(c) == plan.generation).map(|c| PendingResize {
            infeasible: c.reason.as_deref() == Some(INFEASIBLE),
            message: c.message.clone().unwrap_or_default(),
            generation: generation(c),
            summary: String::new(),
        });
        let progress =
            find(IN_PROGRESS).map(|c| Progress { generation: generation(c), error: c.message.clone(), of_pod: true });
        Self { pending, progress }
    }
}

impl PodMachine {
    /// Takes note of what a new plan grants and what it does not.
    pub(crate) fn note_resize(&mut self, before: &PodPlan, pending: Option<PendingResize>) {
        let whole = |plan: &PodPlan| plan.pod.spec.as_ref().and_then(|spec| spec.resources.clone());
        let of_pod = whole(before) != whole(&self.plan);
        let mut each = before.containers.iter().zip(&self.plan.containers);
        if of_pod || each.any(|(old, new)| differ(old.spec.resources.as_ref(), new.spec.resources.as_ref())) {
            let of_pod = of_pod || self.resize.progress.as_ref().is_some_and(|progress| progress.of_pod);
            self.resize.progress = Some(Progress { generation: self.plan.generation, error: None, of_pod });
            let text = format!("Pod resize started: {}", summary(&self.plan.pod, None));
            self.event(None, EventType::Normal, "ResizeStarted", text);
        }
        if let Some(pending) = &pending
            && !self.resize.pending.as_ref().is_some_and(|old| old.same_as(pending))
        {
            let text = format!("Pod resize {}: {}", pending.reason(), pending.summary);
            self.event(None, EventType::Warning, &format!("Resize{}", pending.reason()), text);
        }
        self.resize.pending = pending;
    }

    /// Ends a resize once every running container has what the plan says.
    pub(crate) fn judge_resize(&mut self) {
        let Some(progress) = &self.resize.progress else { return };
        if progress.of_pod && self.anything_running() || self.plan.indices().any(|idx| self.resize_due(idx)) {
            return;
        }
        self.resize.progress = None;
        let text = format!("Pod resize completed: {}", summary(&self.plan.pod, None));
        self.event(None, EventType::Normal, "ResizeCompleted", text);
    }

    /// Returns whether a container runs with other resources than the plan's.
    fn resize_due(&self, idx: ContainerIdx) -> bool {
        let granted = self.plan.container(idx).spec.resources.as_ref();
        let current = self.containers[idx.index()].current.as_ref().filter(|instance| instance.is_running());
        current.is_some_and(|instance| differ(instance.resources.as_ref(), granted))
    }

    /// Returns whether a running container must be restarted to get what the plan says (contract S8-07).
    pub(crate) fn resize_restarts(&self, idx: ContainerIdx) -> bool {
        let spec = &self.plan.container(idx).spec;
        let old = self.containers[idx.index()].current.as_ref().and_then(|instance| instance.resources.as_ref());
        let restarts = |resource: &str| {
            let mut policies = spec.resize_policy.iter().flatten();
            policies.any(|policy| policy.resource_name == resource && policy.restart_policy == "RestartContainer")
        };
        let changed = |resource| amounts(old, resource) != amounts(spec.resources.as_ref(), resource);
        RESIZABLE.into_iter().any(|resource| changed(resource) && restarts(resource))
    }

    /// Returns whether limits have to be changed besides those of containers that are restarted for it.
    pub(crate) fn wants_resize(&self) -> bool {
        let of_pod = self.resize.progress.as_ref().is_some_and(|progress| progress.of_pod);
        of_pod || self.plan.indices().any(|idx| self.resizes_in_place(idx))
    }

    /// A container that has to be restarted for its new resources may wait for that, as a sidecar does until it has
    /// started up.
    fn resizes_in_place(&self, idx: ContainerIdx) -> bool {
        self.resize_due(idx) && !self.resize_restarts(idx)
    }

    /// Changes the limits of the pod and of all that runs with others than the plan's and need not be restarted for it.
    pub(crate) fn begin_resize(&mut self) {
        let Some(sandbox) = self.sandbox.ready().map(|view| view.id.clone()) else { return };
        let due: Vec<_> = self.plan.indices().filter(|&idx| self.resizes_in_place(idx)).collect();
        let named = due.iter().filter_map(|&container| {
            let id = self.instance_id(container)?;
            Some(ResizedContainer { container, id })
        });
        let effect = Effect::Resize { sandbox, containers: named.collect() };
        self.run(effect, Purpose::Resize);
        let resources = |idx| self.plan.container(idx).spec.resources.clone();
        let targets = due.into_iter().map(|container| Target { container, resources: resources(container) }).collect();
        self.job = Some(Active::Resizing(targets));
    }

    pub(crate) fn resized(&mut self, result: Result<(), Failure>) {
        let Some(Active::Resizing(targets)) = self.job.take() else { return };
        match result {
            Ok(()) => {
                for target in targets {
                    if let Some(instance) = &mut self.containers[target.container.index()].current {
                        instance.resources = target.resources;
                    }
                }
                if let Some(progress) = &mut self.resize.progress {
                    (progress.error, progress.of_pod) = (None, false);
                }
                self.dirty = true;
            }
            Err(failure) => self.resize_failed(failure.message),
        }
    }

    /// S8-08: the limits stay as they are, and it is tried again.
    fn resize_failed(&mut self, error: String) {
        self.retry_in(ERROR_RETRY);
        let generation = self.plan.generation;
        let progress = self.resize.progress.get_or_insert_with(|| Progress { generation, ..Progress::default() });
        if progress.error.as_ref() != Some(&error) {
            let text = format!("Pod resize error: {}", summary(&self.plan.pod, Some(&error)));
            progress.error = Some(error);
            self.event(None, EventType::Warning, "ResizeError", text);
        }
    }
}

/// Returns whether two containers' resources differ in what can be resized.
fn differ(a: Option<&ResourceRequirements>, b: Option<&ResourceRequirements>) -> bool {
    RESIZABLE.iter().any(|resource| amounts(a, resource) != amounts(b, resource))
}

/// Returns request and limit of a resource.
fn amounts<'a>(
    resources: Option<&'a ResourceRequirements>,
    name: &str,
) -> (Option<&'a Quantity>, Option<&'a Quantity>) {
    let requests = resources.and_then(|r| r.requests.as_ref()).and_then(|list| list.get(name));
    (requests, resources.and_then(|r| r.limits.as_ref()).and_then(|list| list.get(name)))
}

/// Writes a pod's resources as events show them.
fn summary(pod: &Pod, error: Option<&str>) -> String {
    let spec = pod.spec.as_ref();
    let list = |containers: &[ContainerSpec]| containers.iter().map(Of::new).collect();
    let summary = Summary {
        init_containers: spec.and_then(|s| s.init_containers.as_deref()).map(list).unwrap_or_default(),
        containers: spec.map(|s| list(&s.containers)).unwrap_or_default(),
        generation: pod.metadata.generation.unwrap_or_default(),
        error,
    };
    serde_json::to_string(&summary).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Of>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Of>,
    generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Resources of one container.
#[derive(Serialize)]
struct Of {
    name: String,
    resources: ResourceRequirements,
}

impl Of {
    fn new(container: &ContainerSpec) -> Self {
        Self { name: container.name.clone(), resources: container.resources.clone().unwrap_or_default() }
    }
}

/// What can be resized.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
/// Type of the condition of a pod whose resize waits for room (KEP-1287).
pub const PENDING: &str = "PodResizePending";
pub(crate) const IN_PROGRESS: &str = "PodResizeInProgress";
const INFEASIBLE: &str = "Infeasible";
pub(crate) const ERROR: &str = "Error";
