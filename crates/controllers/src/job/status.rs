//! Edits of a Job's status: conditions, counters, pods that are being counted.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus, UncountedTerminatedPods};

use crate::meta::api_time;

/// Why a Job ends, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) success: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Whether the status says it already (S9-34: first FailureTarget or SuccessCriteriaMet).
    pub(crate) announced: bool,
}

impl Verdict {
    pub(crate) fn new(success: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { success, reason: reason.to_owned(), message: message.into(), announced: false }
    }

    pub(crate) fn failure(reason: &str, message: impl Into<String>) -> Self {
        Self::new(false, reason, message)
    }

    /// The verdict that an earlier plan has announced (S9-33).
    pub(crate) fn announced(status: &JobStatus) -> Option<Self> {
        let read = |condition_type, success| {
            let condition = true_condition(status, condition_type)?;
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            let verdict = Self::new(success, &text(&condition.reason), text(&condition.message));
            Some(Self { announced: true, ..verdict })
        };
        read("SuccessCriteriaMet", true).or_else(|| read("FailureTarget", false))
    }

    pub(crate) const fn interim(&self) -> &'static str {
        if self.success { "SuccessCriteriaMet" } else { "FailureTarget" }
    }

    pub(crate) const fn terminal(&self) -> &'static str {
        if self.success { "Complete" } else { "Failed" }
    }
}

pub(crate) fn true_condition<'a>(status: &'a JobStatus, condition_type: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == condition_type && c.status == "True")
}

/// Makes the condition say that. Returns whether it said something else before; a condition that
/// is absent says False (job_controller.go: ensureJobConditionStatus).
pub(crate) fn set_condition(
    status: &mut JobStatus,
    now: Timestamp,
    condition_type: &str,
    value: bool,
    reason: &str,
    message: &str,
) -> bool {
    let text = if value { "True" } else { "False" };
    if true_condition(status, condition_type).is_some() == value {
        return false;
    }
    let conditions = status.conditions.get_or_insert_default();
    let old = conditions.iter_mut().find(|c| c.type_ == condition_type);
    let new = JobCondition {
        type_: condition_type.to_owned(),
        status: text.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(api_time(now)),
        last_transition_time: Some(api_time(now)),
    };
    match old {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    true
}

/// Adds to a counter that is absent when zero.
pub(crate) fn add(counter: &mut Option<i32>, more: usize) {
    let sum = counter.unwrap_or(0).saturating_add(i32::try_from(more).unwrap_or(i32::MAX));
    *counter = non_zero(sum);
}

/// A number as the API writes it: absent when zero.
pub(crate) const fn non_zero(number: i32) -> Option<i32> {
    if number == 0 { None } else { Some(number) }
}

/// A list as the API writes it: absent when empty.
fn non_empty(list: Vec<String>) -> Option<Vec<String>> {
    Some(list).filter(|list| !list.is_empty())
}

/// The pods that are being counted, by uid.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uncounted {
    pub(crate) succeeded: Vec<String>,
    pub(crate) failed: Vec<String>,
}

impl Uncounted {
    pub(crate) fn read(status: &JobStatus) -> Self {
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        Self { succeeded: uncounted.succeeded.unwrap_or_default(), failed: uncounted.failed.unwrap_or_default() }
    }

    pub(crate) fn write(self, status: &mut JobStatus) {
        let (succeeded, failed) = (non_empty(self.succeeded), non_empty(self.failed));
        status.uncounted_terminated_pods = Some(UncountedTerminatedPods { failed, succeeded });
    }

    /// Counts the pods that have lost their finalizer (S9-18).
    pub(crate) fn settle(&mut self, status: &mut JobStatus, tracked: &BTreeSet<&str>) {
        let settle = |list: &mut Vec<String>| {
            let before = list.len();
            list.retain(|uid| tracked.contains(uid.as_str()));
            before - list.len()
        };
        add(&mut status.succeeded, settle(&mut self.succeeded));
        add(&mut status.failed, settle(&mut self.failed));
    }

    pub(crate) fn contains(&self, uid: &str) -> bool {
        self.succeeded.iter().chain(&self.failed).any(|u| u == uid)
    }

    pub(crate) const fn len(&self) -> usize {
        self.succeeded.len() + self.failed.len()
    }
}
