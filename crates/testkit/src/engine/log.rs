//! What a machine was told, written down: with the same log it says the same again.

use k8s_openapi::api::core::v1::PodStatus;
use pod_lifecycle::{Input, Now, Output, PodMachine, PodPlan, RuntimeView};
use serde::{Deserialize, Serialize};

/// All that one life of a machine was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// Its pod.
    pub plan: PodPlan,
    /// Its seed.
    pub seed: u64,
    /// When it was made.
    pub begun: Now,
    /// What it was restored from; `None`: it was new.
    pub from: Option<(PodStatus, RuntimeView)>,
    /// Its inputs.
    pub inputs: Vec<(Now, Input)>,
}

impl Log {
    /// Gives a new machine the same and returns all its outputs, those that only wait left out.
    pub fn replay(&self) -> Vec<Output> {
        let plan = self.plan.clone();
        let mut machine = match &self.from {
            None => PodMachine::new(plan, self.begun, self.seed),
            Some((last, seen)) => PodMachine::restore(plan, last, seen.clone(), self.begun, self.seed),
        };
        let mut outputs = drain(&mut machine);
        for (now, input) in &self.inputs {
            machine.handle(*now, input.clone());
            outputs.extend(drain(&mut machine));
        }
        outputs
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever it is, it is collected")]
fn drain(machine: &mut PodMachine) -> Vec<Output> {
    let mut outputs = Vec::new();
    loop {
        match machine.poll() {
            Output::Wait(_) => return outputs,
            output => outputs.push(output),
        }
    }
}
