//! Eviction by the node: the pod ends as failed (contract S4-57; kubelet `eviction_manager.go`
//! `evictPod`).

use std::time::Duration;

use crate::{EventType, PodMachine, machine::Life, status::Verdict};

impl PodMachine {
    /// Begins to end the pod, which is over a limit of its own. That is no disruption, and shows as none. One that is ending already goes on as it does.
    pub(crate) fn evict(&mut self, message: String) {
        if self.life != Life::Active || self.verdict.is_some() || self.delete_grace.is_some() {
            return;
        }
        self.event(None, EventType::Warning, REASON, message.clone());
        self.verdict = Some(Verdict { reason: REASON, message, disruption: false });
        self.delete(GRACE);
    }
}

const REASON: &str = "Evicted";
/// Grace of evictions by limits (`immediateEvictionGracePeriodSeconds`).
const GRACE: Duration = Duration::from_secs(1);
