//! Decides what to do next about a ReplicaSet (replica_set.go: `manageReplicas`; replica_set_utils.go:
//! `calculateStatus`).

use std::sync::Arc;

use apimachinery::prepare::generated_name;
use apimachinery::selector::LabelSelector;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::children::Claims;
use crate::replicaset::rank::victims;
use crate::replicaset::{ReplicaSetPlan, ReplicaSetView};
use crate::{meta, pod};

/// Pods created or deleted by one plan (replica_set.go: `BurstReplicas`).
const PODS_PER_PLAN: usize = 500;

/// The condition that says that pods cannot be created or deleted.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Decides what to do next about a ReplicaSet.
///
/// Guarantees: a settled plan stays settled until the view changes or `wake_at` comes. Carrying
/// plans out, wholly or in part, never leads to more active pods than replicas by creating.
#[must_use]
pub fn plan(view: &ReplicaSetView<'_>) -> ReplicaSetPlan {
    let metadata = &view.replica_set.metadata;
    let selector = view.replica_set.spec.as_ref().and_then(|spec| LabelSelector::from_api(&spec.selector).ok());
    let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { return ReplicaSetPlan::default() };
    let claims = Claims::find(metadata, &selector, view.pods.iter().filter(|pod| pod::is_active(pod)));
    if !claims.is_empty() && view.failure.is_none() {
        return ReplicaSetPlan { claims, ..ReplicaSetPlan::default() };
    }
    let own = |pod: &&Arc<Pod>| meta::is_controlled_by(&pod.metadata, meta::uid(metadata));
    let own: Vec<Arc<Pod>> = view.pods.iter().filter(own).cloned().collect();
    let (active, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|pod| pod::is_active(pod));
    let managed = view.failure.is_none() && !meta::is_deleting(metadata);
    let wanted = usize::try_from(replicas(view.replica_set)).unwrap_or(0);
    if managed && active.len() < wanted {
        return ReplicaSetPlan { create: (wanted - active.len()).min(PODS_PER_PLAN), ..ReplicaSetPlan::default() };
    }
    if managed && active.len() > wanted {
        let surplus = (active.len() - wanted).min(PODS_PER_PLAN);
        let delete = victims(active, view.related, surplus, view.now);
        return ReplicaSetPlan { delete, ..ReplicaSetPlan::default() };
    }
    let terminating = others.iter().filter(|pod| pod::is_terminating(pod)).count();
    report(view, &active, terminating)
}

/// The number of pods asked for.
pub(crate) fn replicas(replica_set: &ReplicaSet) -> i32 {
    replica_set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

// ---- Status -----------------------------------------------------------------------------------

fn report(view: &ReplicaSetView<'_>, active: &[Arc<Pod>], terminating: usize) -> ReplicaSetPlan {
    let replica_set = view.replica_set;
    let before = replica_set.status.clone().unwrap_or_default();
    let spec = replica_set.spec.clone().unwrap_or_default();
    let rest = SignedDuration::from_secs(spec.min_ready_seconds.unwrap_or(0).max(0).into());
    let template = spec.template.and_then(|template| template.metadata).and_then(|m| m.labels).unwrap_or_default();
    let labels = LabelSelector::from_labels(template.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let ready: Vec<Option<Timestamp>> =
        active.iter().filter(|pod| pod::is_ready(pod)).map(|pod| available_at(pod, rest)).collect();
    let status = ReplicaSetStatus {
        replicas: number(active.len()),
        fully_labeled_replicas: non_zero(
            active.iter().filter(|pod| labels.matches_map(pod.metadata.labels.as_ref())).count(),
        ),
        ready_replicas: non_zero(ready.len()),
        available_replicas: non_zero(ready.iter().flatten().filter(|at| **at <= view.now).count()),
        terminating_replicas: Some(number(terminating)),
        observed_generation: replica_set.metadata.generation,
        conditions: conditions(view, &before, active.len()),
    };
    ReplicaSetPlan {
        wake_at: ready.into_iter().flatten().filter(|at| *at > view.now).min(),
        status: Some(status).filter(|status| *status != before),
        ..ReplicaSetPlan::default()
    }
}

/// When a ready pod has been ready for long enough.
fn available_at(pod: &Pod, rest: SignedDuration) -> Option<Timestamp> {
    if rest.is_zero() {
        return Some(Timestamp::MIN);
    }
    let since = pod::condition(pod, "Ready")?.last_transition_time.as_ref()?.0;
    since.checked_add(rest).ok()
}

fn conditions(view: &ReplicaSetView<'_>, before: &ReplicaSetStatus, active: usize) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let known = conditions.iter().any(|c| c.type_ == REPLICA_FAILURE);
    match view.failure {
        None => conditions.retain(|c| c.type_ != REPLICA_FAILURE),
        Some(_) if known => {}
        Some(message) => {
            let too_few = number(active) < replicas(view.replica_set);
            conditions.push(ReplicaSetCondition {
                type_: REPLICA_FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(if too_few { "FailedCreate" } else { "FailedDelete" }.to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: Some(meta::api_time(view.now)),
            });
        }
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn non_zero(count: usize) -> Option<i32> {
    Some(number(count)).filter(|count| *count != 0)
}

// ---- Pods -------------------------------------------------------------------------------------

/// Makes a pod of the ReplicaSet. `suffix` makes its name unique.
#[must_use]
pub fn build(replica_set: &ReplicaSet, suffix: &str) -> Pod {
    let template = replica_set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    let prefix = format!("{}-", meta::name(&replica_set.metadata));
    let metadata = ObjectMeta {
        name: Some(generated_name(&prefix, suffix)),
        generate_name: Some(prefix),
        namespace: replica_set.metadata.namespace.clone(),
        labels: from.labels,
        annotations: from.annotations,
        finalizers: from.finalizers,
        owner_references: Some(vec![meta::controller_reference("apps/v1", "ReplicaSet", &replica_set.metadata)]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec, status: None }
}
