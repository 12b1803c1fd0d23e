//! Stands in for the engine's machine until that is there: waits for ever.

use k8s_openapi::api::core::v1::PodStatus;
use pod_lifecycle::{Input, Now, Output, PodPlan, RuntimeView};

/// Has the interface of the engine's machine and does nothing.
#[derive(Debug)]
pub(crate) struct PodMachine {
    _plan: PodPlan,
}

impl PodMachine {
    /// Takes a new pod.
    pub(crate) fn new(plan: PodPlan, _now: Now, _seed: u64) -> Self {
        Self { _plan: plan }
    }

    /// Takes a pod over.
    pub(crate) fn restore(plan: PodPlan, _last: &PodStatus, _seen: RuntimeView, _now: Now, _seed: u64) -> Self {
        Self { _plan: plan }
    }

    /// Takes an input.
    pub(crate) fn handle(&mut self, _now: Now, _input: Input) {}

    /// Waits.
    pub(crate) fn poll(&mut self) -> Output {
        Output::Wait(None)
    }
}
