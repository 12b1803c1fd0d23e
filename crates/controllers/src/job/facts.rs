//! What a Job and its pods say, as the planner asks for it.

use std::cmp::Reverse;

use apimachinery::selector::LabelSelector;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, PodFailurePolicy, SuccessPolicy};
use k8s_openapi::api::core::v1::Pod;

use crate::meta;
pub(crate) use crate::pod::{all_containers, condition, is_active, is_ready, is_terminating, phase};

/// Keeps a pod until the Job has counted it (S9-10).
pub const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// The pod's completion index (S9-11).
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Failures of the pod's index before this pod (S9-12).
pub const INDEX_FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";

/// Failures of the pod's index that the failure policy ignored (S9-12).
pub const INDEX_IGNORED_FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// The only value of `managedBy` that means this controller (S9-07).
const OUR_CONTROLLER: &str = "kubernetes.io/job-controller";

/// Default of backoffLimit (S9-01); the API server has filled it in already.
const BACKOFF_LIMIT: i32 = 6;

/// A Job's specification with defaults applied.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    pub(crate) parallelism: i32,
    pub(crate) completions: Option<i32>,
    /// The number of indexes of an Indexed Job.
    pub(crate) indexes: Option<u32>,
    pub(crate) backoff_limit: i32,
    pub(crate) backoff_limit_per_index: Option<u32>,
    pub(crate) max_failed_indexes: Option<u32>,
    pub(crate) active_deadline_seconds: Option<i64>,
    pub(crate) suspended: bool,
    /// Replacements wait for the terminal phase (S9-17).
    pub(crate) only_replace_failed: bool,
    pub(crate) restarts_in_place: bool,
    pub(crate) failure_policy: Option<&'a PodFailurePolicy>,
    pub(crate) success_policy: Option<&'a SuccessPolicy>,
}

impl<'a> Facts<'a> {
    /// Reads the specification; none if its completion mode is unknown.
    pub(crate) fn read(spec: &'a JobSpec) -> Option<Self> {
        let completions = spec.completions;
        let indexes = match spec.completion_mode.as_deref() {
            None | Some("NonIndexed") => None,
            Some("Indexed") => Some(count(completions.unwrap_or(1))),
            Some(_) => return None,
        };
        Some(Self {
            parallelism: spec.parallelism.unwrap_or(1),
            completions,
            indexes,
            backoff_limit: spec.backoff_limit.unwrap_or_else(|| default_backoff_limit(spec)),
            backoff_limit_per_index: spec.backoff_limit_per_index.map(count),
            max_failed_indexes: spec.max_failed_indexes.map(count),
            active_deadline_seconds: spec.active_deadline_seconds,
            suspended: spec.suspend == Some(true),
            only_replace_failed: only_replace_failed(spec),
            restarts_in_place: restart_policy(spec) == Some("OnFailure"),
            failure_policy: spec.pod_failure_policy.as_ref(),
            success_policy: spec.success_policy.as_ref(),
        })
    }

    /// Whether the pod has failed as far as the Job is concerned (S9-17).
    pub(crate) fn has_failed(&self, pod: &Pod) -> bool {
        let stopping = meta::is_deleting(&pod.metadata) && phase(pod) != "Succeeded";
        phase(pod) == "Failed" || (!self.only_replace_failed && stopping)
    }

    /// Whether the pod may be counted: always for NonIndexed, else with a valid index.
    pub(crate) fn has_valid_index(&self, pod: &Pod) -> bool {
        self.indexes.is_none() || self.valid_index(pod).is_some()
    }

    /// The pod's index, if the Job has such an index.
    pub(crate) fn valid_index(&self, pod: &Pod) -> Option<u32> {
        index(pod).filter(|index| self.indexes.is_some_and(|end| *index < end))
    }
}

fn default_backoff_limit(spec: &JobSpec) -> i32 {
    spec.backoff_limit_per_index.map_or(BACKOFF_LIMIT, |_| i32::MAX)
}

fn only_replace_failed(spec: &JobSpec) -> bool {
    match spec.pod_replacement_policy.as_deref() {
        Some(policy) => policy == "Failed",
        None => spec.pod_failure_policy.is_some(),
    }
}

fn restart_policy(spec: &JobSpec) -> Option<&str> {
    spec.template.spec.as_ref()?.restart_policy.as_deref()
}

/// A number that validation has made non-negative.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// The Job's selector, if it has a valid one.
pub(crate) fn selector(spec: &JobSpec) -> Option<LabelSelector> {
    LabelSelector::from_api(spec.selector.as_ref()?).ok()
}

/// Whether another controller manages the Job.
pub(crate) fn is_managed_elsewhere(job: &Job) -> bool {
    let managed_by = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    managed_by.is_some_and(|name| name != OUR_CONTROLLER)
}

/// The true condition of that type.
pub(crate) fn job_condition<'a>(job: &'a Job, condition_type: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == condition_type && c.status == "True")
}

/// The Job's last condition: Complete or Failed.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    job_condition(job, "Complete").or_else(|| job_condition(job, "Failed"))
}

/// Whether the pod still waits for being counted.
pub(crate) fn is_tracked(pod: &Pod) -> bool {
    meta::has_finalizer(&pod.metadata, TRACKING_FINALIZER)
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The pod's completion index.
pub(crate) fn index(pod: &Pod) -> Option<u32> {
    annotation(pod, COMPLETION_INDEX)?.parse().ok()
}

/// The pod's number of earlier failures of that kind.
pub(crate) fn failure_count(pod: &Pod, name: &str) -> u32 {
    annotation(pod, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Orders pods by how little is lost with them, least first (S9-14; controller_utils.go: ActivePods).
pub(crate) fn removal_rank(pod: &Pod) -> impl Ord + use<> {
    let assigned = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    let phase = match phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let ready_since = condition(pod, "Ready").and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    let restarts = all_containers(pod).map(|c| c.restart_count).max().unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0);
    (
        assigned,
        phase,
        is_ready(pod),
        Reverse(ready_since.filter(|_| is_ready(pod))),
        Reverse(restarts),
        Reverse(created),
    )
}
