//! What must always hold of a machine; asked by tests after every step.

use crate::{ContainerIdx, EffectId, PodMachine, machine::Life};

/// Something that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An answer to an effect that was never asked for.
    #[error("answer to effect {effect:?}, which was never started")]
    UnknownEffect {
        /// Which.
        effect: EffectId,
    },
    /// An answer of the wrong kind.
    #[error("effect {effect:?} was answered with {answer}")]
    WrongAnswer {
        /// Which.
        effect: EffectId,
        /// The answer.
        answer: String,
    },
    /// News of a container that the pod does not have.
    #[error("container {container:?} is not in the plan")]
    UnknownContainer {
        /// Which.
        container: ContainerIdx,
    },
    /// An update of another pod, or one with other containers.
    #[error("update of another pod, or with other containers: {uid}")]
    OtherPod {
        /// Its uid.
        uid: String,
    },
    /// The machine found no rest.
    #[error("the machine takes step after step without waiting for anything")]
    Restless,
    /// The machine waits for nothing though its pod has not ended.
    #[error("nothing to wait for though the pod has not ended")]
    Stuck,
}

impl PodMachine {
    /// Checks what must hold between two inputs.
    ///
    /// # Errors
    ///
    /// The first violation that was noted or is found now.
    pub fn check(&self) -> Result<(), Violation> {
        if let Some(violation) = self.violations.first() {
            return Err(violation.clone());
        }
        let waits = !self.effects.is_empty() || self.deadline().is_some() || self.anything_running();
        if self.life != Life::Finished && !waits {
            return Err(Violation::Stuck);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Effect, MonoTime, Now, PodPlan, Timestamp, machine::Purpose};

    use super::*;

    #[test]
    fn a_machine_that_waits_for_nothing_is_stuck_unless_its_pod_has_ended() {
        let pod = serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "app"}]},
        });
        let plan: PodPlan = serde_json::from_value(pod).unwrap();
        let mut machine = PodMachine::blank(plan, Now { mono: MonoTime::default(), wall: Timestamp::default() });
        assert_eq!(machine.check(), Err(Violation::Stuck));
        machine.run(Effect::Cleanup, Purpose::Clearance);
        assert_eq!(machine.check(), Ok(()));
        machine.effects.clear();
        machine.life = Life::Finished;
        assert_eq!(machine.check(), Ok(()));
    }
}
