//! The delay of new pods after failed ones (S9-16).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::job::facts;
use crate::meta;

/// Delay after the first failure (job_controller.go: DefaultJobPodFailureBackOff).
const FIRST_DELAY: SignedDuration = SignedDuration::from_secs(10);

/// Longest delay (job_controller.go: MaxJobPodFailureBackOff).
const LAST_DELAY: SignedDuration = SignedDuration::from_mins(10);

/// A Job's pod failures since its last success.
///
/// Observing a pod twice changes nothing, so after a restart the record can be made anew from the
/// pods that are still there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    last_success: Option<Timestamp>,
    /// When each pod failed, by uid; only those after the last success.
    failures: BTreeMap<String, Timestamp>,
}

impl Backoff {
    /// Takes in a pod that has finished.
    pub(crate) fn observe(&mut self, pod: &Pod, succeeded: bool) {
        let at = finished_at(pod);
        if succeeded {
            self.last_success = self.last_success.max(Some(at));
            let last_success = self.last_success;
            self.failures.retain(|_, at| Some(*at) > last_success);
        } else if Some(at) > self.last_success {
            // The first sighting counts: a pod that is told to stop gets a finish time again later.
            self.failures.entry(meta::uid(&pod.metadata).to_owned()).or_insert(at);
        }
    }

    /// When the next pod may be created; none if at once.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        let last = self.failures.values().max()?;
        delayed(*last, self.failures.len())
    }
}

/// When the replacement of an index's failed pod may be created.
pub(crate) fn index_until(pod: &Pod, failures: u32) -> Option<Timestamp> {
    delayed(finished_at(pod), usize::try_from(failures).unwrap_or(usize::MAX))
}

fn delayed(last: Timestamp, failures: usize) -> Option<Timestamp> {
    let doublings = u32::try_from(failures.checked_sub(1)?).unwrap_or(u32::MAX);
    let factor = 2i32.saturating_pow(doublings.min(16));
    Some(last.saturating_add((FIRST_DELAY * factor).min(LAST_DELAY)).unwrap_or(Timestamp::MAX))
}

/// When a pod finished: the last end of its containers, sidecars included; else when it became
/// unready; else when its deletion was asked for.
pub(crate) fn finished_at(pod: &Pod) -> Timestamp {
    containers_finished_at(pod)
        .or_else(|| unready_since(pod))
        .or_else(|| deletion_asked_at(pod))
        .or_else(|| pod.metadata.creation_timestamp.as_ref().map(|t| t.0))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn containers_finished_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let mains = status.container_statuses.iter().flatten();
    let inits = status.init_container_statuses.iter().flatten();
    let ends: Option<Vec<Timestamp>> = mains.chain(inits).map(container_finished_at).collect();
    ends?.into_iter().max()
}

fn container_finished_at(container: &ContainerStatus) -> Option<Timestamp> {
    Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
}

fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = facts::condition(pod, "Ready").filter(|c| c.status == "False")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

fn deletion_asked_at(pod: &Pod) -> Option<Timestamp> {
    let end = pod.metadata.deletion_timestamp.as_ref()?.0;
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    end.checked_sub(grace).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::{at, failed_pod};

    #[test]
    fn s9_16_delays_double_from_ten_seconds_to_ten_minutes() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(), None);
        let delays: Vec<i64> = (0..9)
            .map(|n| {
                backoff.observe(&failed_pod(&format!("p{n}"), 100 + n), false);
                backoff.until().unwrap().as_second() - (100 + n)
            })
            .collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
    }

    #[test]
    fn s9_16_failures_count_since_the_last_success_and_once_each() {
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            backoff.observe(&failed_pod("a", 100), false);
        }
        assert_eq!(backoff.until(), Some(at(110)));
        backoff.observe(&failed_pod("b", 105), true);
        assert_eq!(backoff.until(), None);
        backoff.observe(&failed_pod("a", 100), false);
        assert_eq!(backoff.until(), None, "it failed before the success");
        backoff.observe(&failed_pod("c", 107), false);
        assert_eq!(backoff.until(), Some(at(117)));
    }
}
