//! Eviction by the node: the pod ends as failed (contract S4-56, S4-57; kubelet `eviction_manager.go`
//! `evictPod`).

use std::time::Duration;

use crate::{EventType, PodMachine, machine::Life, status::Verdict};

impl PodMachine {
    /// Begins to end the pod: one that is over a limit of its own, which is no disruption and shows as none, or one
    /// that has to go for the node's sake. One that is being deleted goes on with this grace if that is shorter; one
    /// that is ending for another reason goes on as it does.
    pub(crate) fn evict(&mut self, message: String, grace: Duration, disruption: bool) {
        self.expect_kill_within(grace);
        if self.delete_grace.is_some() && self.verdict.is_none() {
            return self.delete(grace);
        }
        if self.life != Life::Active || self.verdict.is_some() {
            return;
        }
        self.event(None, EventType::Warning, REASON, message.clone());
        self.verdict = Some(Verdict { reason: REASON, message, disruption });
        self.delete(grace);
    }

    /// Lets it be told if the pod is not killed half as long again after this grace (contract S4-60; kubelet
    /// `pod_workers.go` `killPodNow`).
    pub(crate) fn expect_kill_within(&mut self, grace: Duration) {
        if matches!(self.life, Life::Active | Life::Stopping) && self.patience_ends.is_none() {
            self.patience_ends = Some(self.now.mono + (grace + grace / 2).max(SHORTEST_PATIENCE));
        }
    }
}

/// How long a kill may take at least (contract S4-60).
const SHORTEST_PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const REASON: &str = "Evicted";
/// Grace of evictions by hard thresholds and limits, and of one that is gone on with after a restart of the agent, which
/// does not know how long it has lasted (`immediateEvictionGracePeriodSeconds`).
pub const EVICTION_GRACE: Duration = Duration::from_secs(1);
