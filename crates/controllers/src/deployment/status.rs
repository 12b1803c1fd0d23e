//! The status of a Deployment and its conditions (sync.go: `calculateStatus`; progress.go).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use crate::deployment::numbers::{Numbers, actual, available, ready, sizes, terminating};
use crate::meta;

pub(crate) const PROGRESSING: &str = "Progressing";
pub(crate) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The rollout is complete.
const NEW_RS_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// How long after the deadline the next look is due: the API has whole seconds.
const AFTER_DEADLINE: SignedDuration = SignedDuration::from_secs(1);

/// A condition as of now.
pub(crate) fn condition(
    condition_type: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: condition_type.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_update_time: Some(meta::api_time(now)),
        last_transition_time: Some(meta::api_time(now)),
    }
}

/// The condition of that type.
pub(crate) fn find<'a>(status: &'a DeploymentStatus, condition_type: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.as_ref()?.iter().find(|c| c.type_ == condition_type)
}

/// Whether the condition has that reason.
pub(crate) fn has_reason(condition: Option<&DeploymentCondition>, reason: &str) -> bool {
    condition.is_some_and(|c| c.reason.as_deref() == Some(reason))
}

/// Sets a condition unless it says the same already; the time of its last transition stays as long
/// as its status does.
pub(crate) fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(old) = find(status, &new.type_) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time.clone();
        }
    }
    remove(status, &new.type_);
    status.conditions.get_or_insert_default().push(new);
}

fn remove(status: &mut DeploymentStatus, condition_type: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_ != condition_type);
    }
    status.conditions = status.conditions.take().filter(|conditions| !conditions.is_empty());
}

/// Whether all pods are of the present template, available, and no others are left.
pub(crate) fn is_complete(deployment: &Deployment, numbers: &Numbers, status: &DeploymentStatus) -> bool {
    let wanted = numbers.replicas;
    let counts = [status.updated_replicas, status.replicas, status.available_replicas];
    counts.into_iter().all(|count| count.unwrap_or(0) == wanted)
        && status.observed_generation >= deployment.metadata.generation
}

/// Counts and availability, with the conditions that were there before.
pub(crate) fn count(
    deployment: &Deployment,
    numbers: &Numbers,
    all: &[Arc<ReplicaSet>],
    present: Option<&Arc<ReplicaSet>>,
    now: Timestamp,
) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let sum = |number: fn(&ReplicaSet) -> i32| all.iter().map(|set| number(set)).sum::<i32>();
    let sum_available = sum(available);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: non_zero(sum(actual)),
        updated_replicas: non_zero(present.map_or(0, |set| actual(set))),
        ready_replicas: non_zero(sum(ready)),
        available_replicas: non_zero(sum_available),
        unavailable_replicas: non_zero((sizes(all) - sum_available).max(0)),
        // Known only when every ReplicaSet tells it.
        terminating_replicas: all.iter().map(|set| terminating(set)).sum(),
        collision_count: before.collision_count,
        conditions: before.conditions,
    };
    let available = if sum_available >= numbers.least_available() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, condition("Available", available.0, available.1, available.2, now));
    status
}

fn non_zero(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count != 0)
}

/// Adds how a rollout gets on. Returns when to look again for that.
pub(crate) fn judge_progress(
    deployment: &Deployment,
    numbers: &Numbers,
    all: &[Arc<ReplicaSet>],
    present: Option<&Arc<ReplicaSet>>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    let before = deployment.status.clone().unwrap_or_default();
    match numbers.progress_deadline {
        None => remove(status, PROGRESSING),
        Some(deadline) => {
            let who = match present {
                Some(set) => format!("ReplicaSet {:?}", meta::name(&set.metadata)),
                None => format!("Deployment {:?}", meta::name(&deployment.metadata)),
            };
            progress(deployment, numbers, deadline, &before, &who, status, now);
        }
    }
    match replica_failure(all, present) {
        Some(failure) => set(status, failure),
        None => remove(status, REPLICA_FAILURE),
    }
    let open = find(status, PROGRESSING).filter(|c| {
        let reason = c.reason.as_deref();
        reason != Some(TIMED_OUT) && reason != Some(NEW_RS_AVAILABLE) && !is_complete(deployment, numbers, status)
    });
    due_at(open?, numbers.progress_deadline?)?.checked_add(AFTER_DEADLINE).ok()
}

fn progress(
    deployment: &Deployment,
    numbers: &Numbers,
    deadline: i32,
    before: &DeploymentStatus,
    who: &str,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    let current = find(before, PROGRESSING);
    if status.replicas == status.updated_replicas && has_reason(current, NEW_RS_AVAILABLE) {
        return;
    }
    if is_complete(deployment, numbers, status) {
        let message = format!("{who} has successfully progressed.");
        set(status, condition(PROGRESSING, "True", NEW_RS_AVAILABLE, message, now));
    } else if has_progressed(before, status) {
        let mut new = condition(PROGRESSING, "True", "ReplicaSetUpdated", format!("{who} is progressing."), now);
        if let Some(current) = current.filter(|current| current.status == "True") {
            new.last_transition_time = current.last_transition_time.clone();
        }
        // Even if it says the same: the time of the update is what the deadline counts from.
        remove(status, PROGRESSING);
        set(status, new);
    } else if has_timed_out(find(status, PROGRESSING), deadline, now) {
        let message = format!("{who} has timed out progressing.");
        set(status, condition(PROGRESSING, "False", TIMED_OUT, message, now));
    }
}

fn has_progressed(before: &DeploymentStatus, status: &DeploymentStatus) -> bool {
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    status.updated_replicas > before.updated_replicas
        || old(status) < old(before)
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas
}

fn has_timed_out(current: Option<&DeploymentCondition>, deadline: i32, now: Timestamp) -> bool {
    let Some(current) = current.filter(|current| !has_reason(Some(current), NEW_RS_AVAILABLE)) else { return false };
    has_reason(Some(current), TIMED_OUT) || due_at(current, deadline).is_some_and(|due| due < now)
}

fn due_at(condition: &DeploymentCondition, deadline: i32) -> Option<Timestamp> {
    condition.last_update_time.as_ref()?.0.checked_add(SignedDuration::from_secs(deadline.into())).ok()
}

/// Whether lack of progress has been told.
pub(crate) fn is_timed_out(status: &DeploymentStatus) -> bool {
    has_reason(find(status, PROGRESSING), TIMED_OUT)
}

/// What keeps a ReplicaSet from having its pods; the present one's trouble comes first.
fn replica_failure(all: &[Arc<ReplicaSet>], present: Option<&Arc<ReplicaSet>>) -> Option<DeploymentCondition> {
    let conditions = present.into_iter().chain(all).filter_map(|set| set.status.as_ref()?.conditions.as_ref());
    let failure = conditions.flatten().find(|c| c.type_ == REPLICA_FAILURE)?.clone();
    Some(DeploymentCondition {
        type_: failure.type_,
        status: failure.status,
        reason: failure.reason,
        message: failure.message,
        last_update_time: failure.last_transition_time.clone(),
        last_transition_time: failure.last_transition_time,
    })
}
