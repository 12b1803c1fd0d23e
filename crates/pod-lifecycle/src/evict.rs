//! Eviction by the node: the pod ends as failed (contract S4-56, S4-57; kubelet `eviction_manager.go`
//! `evictPod`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{EventType, PodMachine, machine::Life, status::Verdict};

/// Why the node evicts a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    /// For people; goes into status and event.
    pub message: String,
    /// Whether the node ran short of something, rather than the pod over a limit of its own. Only the former shows
    /// as a disruption (contract S4-56).
    pub pressure: bool,
}

impl PodMachine {
    /// Begins to end the pod. One that is ending already goes on as it does.
    pub(crate) fn evict(&mut self, eviction: Eviction) {
        if self.life != Life::Active || self.verdict.is_some() || self.delete_grace.is_some() {
            return;
        }
        self.event(None, EventType::Warning, REASON, eviction.message.clone());
        self.verdict = Some(Verdict { reason: REASON, message: eviction.message, disruption: eviction.pressure });
        self.delete(GRACE);
    }
}

const REASON: &str = "Evicted";
/// Grace of evictions by limits and hard thresholds (`immediateEvictionGracePeriodSeconds`).
const GRACE: Duration = Duration::from_secs(1);
