//! Exact steps of pods for those who draw timelines.

use pod_lifecycle::{Moment, PodPlan, Role};

/// One step in the life of a pod, with its exact time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineRecord {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// Name of the container; `None`: the step is the pod's.
    pub container: Option<String>,
    /// Its part in the pod.
    pub role: Option<Role>,
    /// What happened, and when.
    pub moment: Moment,
}

impl TimelineRecord {
    /// Names the pod and container of a moment.
    pub(crate) fn new(plan: &PodPlan, moment: Moment) -> Self {
        let container = moment.container.and_then(|idx| plan.containers.get(idx.index()));
        Self {
            namespace: plan.namespace.clone(),
            pod: plan.name.clone(),
            uid: plan.uid.clone(),
            container: container.map(|c| c.spec.name.clone()),
            role: container.map(|c| c.role),
            moment,
        }
    }
}
