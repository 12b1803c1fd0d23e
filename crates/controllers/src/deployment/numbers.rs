//! How many pods a Deployment and its ReplicaSets have, may have and must have
//! (deployment_util.go).

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(crate) use crate::replicaset::replicas as size;

/// Default of maxSurge and maxUnavailable; the API server has filled it in already.
const QUARTER: &str = "25%";

/// What a Deployment asks for, with defaults applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) replicas: i32,
    /// Pods beyond `replicas` that a rolling update may have.
    pub(crate) max_surge: i32,
    /// Pods of `replicas` that a rolling update may lack.
    pub(crate) max_unavailable: i32,
    pub(crate) rolling: bool,
    pub(crate) min_ready_seconds: i32,
    /// Seconds without progress after which people are told; none if never.
    pub(crate) progress_deadline: Option<i32>,
    /// Old ReplicaSets to keep; none if all.
    pub(crate) history_limit: Option<usize>,
    pub(crate) paused: bool,
}

impl Numbers {
    pub(crate) fn read(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.as_ref();
        let rolling = strategy.and_then(|s| s.type_.as_deref()).is_none_or(|name| name == "RollingUpdate");
        let (max_surge, max_unavailable) = match rolling {
            true => fenceposts(strategy.and_then(|s| s.rolling_update.as_ref()), replicas),
            false => (0, 0),
        };
        Self {
            replicas,
            max_surge,
            max_unavailable: max_unavailable.min(replicas),
            rolling,
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            progress_deadline: spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX),
            history_limit: spec
                .revision_history_limit
                .filter(|limit| *limit != i32::MAX)
                .map(|limit| limit.try_into().unwrap_or(0)),
            paused: spec.paused == Some(true),
        }
    }

    pub(crate) fn of(deployment: &Deployment) -> Self {
        Self::read(&deployment.spec.clone().unwrap_or_default())
    }

    /// Pods that there may be.
    pub(crate) const fn most(&self) -> i32 {
        self.replicas.saturating_add(self.max_surge)
    }

    /// Pods that must be available.
    pub(crate) const fn least_available(&self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

/// Both bounds in pods: the surge rounded up, the lack rounded down, and never both zero, since
/// nothing could move then.
fn fenceposts(strategy: Option<&RollingUpdateDeployment>, replicas: i32) -> (i32, i32) {
    let quarter = IntOrString::String(QUARTER.to_owned());
    let surge = strategy.and_then(|s| s.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = strategy.and_then(|s| s.max_unavailable.as_ref()).unwrap_or(&quarter);
    match (scaled(surge, replicas, true), scaled(unavailable, replicas, false)) {
        (0, 0) => (0, 1),
        bounds => bounds,
    }
}

/// A number, or a share of `of`; what is neither counts as nothing.
fn scaled(value: &IntOrString, of: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            let hundredfold = i64::from(of).saturating_mul(percent.max(0));
            i32::try_from(if up { hundredfold.saturating_add(99) / 100 } else { hundredfold / 100 }).unwrap_or(i32::MAX)
        }
    }
}

/// Pods asked for by all of them.
pub(crate) fn sizes<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>) -> i32 {
    sets.into_iter().map(|set| size(set)).sum()
}

/// Whether the status is about the ReplicaSet as it is.
pub(crate) fn is_observed(set: &ReplicaSet) -> bool {
    set.metadata.generation <= set.status.as_ref().and_then(|status| status.observed_generation)
}

/// Pods that are there, as the ReplicaSet says.
pub(crate) fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Pods that are ready.
pub(crate) fn ready(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
}

/// Pods that have been ready for long enough.
pub(crate) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Pods that are stopping, if the ReplicaSet says how many.
pub(crate) fn terminating(set: &ReplicaSet) -> Option<i32> {
    set.status.as_ref()?.terminating_replicas
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bounds(surge: Value, unavailable: Value, replicas: i32) -> (i32, i32) {
        let strategy = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        fenceposts(Some(&serde_json::from_value(strategy).unwrap()), replicas)
    }

    #[test]
    fn shares_are_rounded_in_favour_of_more_pods() {
        assert_eq!(bounds(json!("25%"), json!("25%"), 10), (3, 2));
        assert_eq!(bounds(json!("1%"), json!("99%"), 1), (1, 0));
        assert_eq!(bounds(json!(2), json!(3), 1), (2, 3));
    }

    #[test]
    fn something_may_always_move() {
        assert_eq!(bounds(json!(0), json!("1%"), 3), (0, 1));
        assert_eq!(bounds(json!(0), json!(0), 3), (0, 1));
    }
}
