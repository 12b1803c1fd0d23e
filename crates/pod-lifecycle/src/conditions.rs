//! The pod's conditions (contract S5.c; kubelet `status/generate.go`).

use k8s_openapi::api::core::v1::PodCondition;

use crate::{ContainerIdx, PodMachine, Role, machine::Life, phase::Phase, resize, restart};

/// A condition without its times.
struct Draft {
    status: &'static str,
    reason: Option<&'static str>,
    message: Option<String>,
    /// The pod's, unless it tells of an older one.
    generation: Option<i64>,
}

impl PodMachine {
    /// Computes all conditions: foreign ones first, then the agent's in their order (contract S5-30).
    pub(crate) fn conditions(&self, phase: Phase) -> Vec<PodCondition> {
        let containers_ready = self.containers_ready(phase);
        let ready = self.ready(&containers_ready);
        let mut own = self.resizes();
        own.extend([
            (READY_TO_START, self.ready_to_start()),
            (INITIALIZED, self.initialized(phase)),
            (READY, ready),
            (CONTAINERS_READY, containers_ready),
            (SCHEDULED, Draft::yes()),
        ]);
        if self.plan.containers.iter().any(restart::has_restart_all_rule) {
            own.push((RESTARTING_ALL, self.restarting_all()));
        }
        // Said at once, so that an agent that comes back knows it; the kubelet says it at the end.
        if let Some(verdict) = self.verdict.as_ref().filter(|verdict| verdict.disruption) {
            let message = Some(verdict.message.clone());
            own.push((DISRUPTION_TARGET, Draft { reason: Some(BY_AGENT), message, ..Draft::yes() }));
        }
        let own = own.into_iter().map(|(type_, draft)| self.finish(type_, draft));
        let foreign = self.foreign_conditions.iter().cloned();
        // One that is shared, and was set by others or by an earlier status, is not there twice.
        let own: Vec<_> = own.collect();
        foreign.filter(|one| own.iter().all(|other| other.type_ != one.type_)).chain(own.iter().cloned()).collect()
    }

    /// KEP-1287: there only while they are true. One that goes on keeps the generation of the pod that asked.
    fn resizes(&self) -> Vec<(&'static str, Draft)> {
        let mut all = Vec::new();
        if let Some(pending) = &self.resize.pending {
            let message = Some(pending.message.clone());
            all.push((resize::PENDING, Draft { reason: Some(pending.reason()), message, ..Draft::yes() }));
        }
        if let Some(progress) = &self.resize.progress {
            let reason = progress.error.as_ref().map(|_| resize::ERROR);
            let draft = Draft { reason, message: progress.error.clone(), ..Draft::yes() };
            all.push((resize::IN_PROGRESS, Draft { generation: Some(progress.generation), ..draft }));
        }
        all
    }

    /// S5-31
    fn ready_to_start(&self) -> Draft {
        if self.sandbox.ready().is_some() && !self.has_ended() { Draft::yes() } else { Draft::no() }
    }

    fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }

    /// S3-40
    fn restarting_all(&self) -> Draft {
        if !self.restarting_all {
            return Draft::no();
        }
        let message = Some("container exited with restart policy rule".to_owned());
        Draft { reason: Some("RestartAllContainersStarted"), message, ..Draft::yes() }
    }

    /// S5-32 to S5-36
    fn initialized(&self, phase: Phase) -> Draft {
        if phase == Phase::Succeeded {
            return Draft { reason: Some(POD_COMPLETED), ..Draft::yes() };
        }
        if self.plan.main_indices().any(|idx| self.shown[idx.index()].ever_left_waiting()) || self.was_initialized() {
            return Draft::yes();
        }
        let complete = |idx: &ContainerIdx| match self.plan.container(*idx).role {
            Role::Sidecar => self.shown_started(*idx),
            Role::Init | Role::Main | Role::Ephemeral => self.shown_ready(*idx),
        };
        let incomplete: Vec<_> = self.plan.init_indices().filter(|idx| !complete(idx)).collect();
        if incomplete.is_empty() {
            return Draft::yes();
        }
        let message = format!("containers with incomplete status: [{}]", self.names(&incomplete));
        Draft { reason: Some("ContainersNotInitialized"), message: Some(message), ..Draft::no() }
    }

    /// S5-36: what was initialised once stays so.
    fn was_initialized(&self) -> bool {
        let old = self.published.conditions.iter().flatten().find(|condition| condition.type_ == INITIALIZED);
        old.is_some_and(|condition| condition.status == "True")
    }

    /// S5-37, S5-39
    fn containers_ready(&self, phase: Phase) -> Draft {
        match phase {
            Phase::Succeeded => return Draft { reason: Some(POD_COMPLETED), ..Draft::no() },
            Phase::Failed => return Draft { reason: Some("PodFailed"), ..Draft::no() },
            Phase::Pending | Phase::Running => {}
        }
        let counted = self.plan.sidecar_indices().chain(self.plan.main_indices());
        let unready: Vec<_> = counted.filter(|&idx| !self.shown_ready(idx)).collect();
        if unready.is_empty() {
            return Draft::yes();
        }
        let message = format!("containers with unready status: [{}]", self.names(&unready));
        Draft { reason: Some("ContainersNotReady"), message: Some(message), ..Draft::no() }
    }

    /// S5-38
    fn ready(&self, containers_ready: &Draft) -> Draft {
        if containers_ready.status != "True" {
            let Draft { status, reason, message, generation: _ } = containers_ready;
            return Draft { status, reason: *reason, message: message.clone(), generation: None };
        }
        let problems: Vec<_> = self.plan.readiness_gates.iter().filter_map(|gate| self.gate_problem(gate)).collect();
        if problems.is_empty() {
            return Draft::yes();
        }
        Draft { reason: Some("ReadinessGatesNotReady"), message: Some(problems.join(", ")), ..Draft::no() }
    }

    fn gate_problem(&self, gate: &str) -> Option<String> {
        match self.foreign_conditions.iter().find(|condition| condition.type_ == gate) {
            None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
            Some(condition) if condition.status != "True" => {
                let status = &condition.status;
                Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {status}"))
            }
            Some(_) => None,
        }
    }

    fn names(&self, indices: &[ContainerIdx]) -> String {
        let names: Vec<_> = indices.iter().map(|&idx| self.plan.container(idx).name()).collect();
        names.join(" ")
    }

    /// S5-40: the transition time changes only with the status.
    fn finish(&self, type_: &str, draft: Draft) -> PodCondition {
        let old = self.published.conditions.iter().flatten().find(|condition| condition.type_ == type_);
        let unchanged = old.filter(|condition| condition.status == draft.status);
        let since = unchanged.and_then(|condition| condition.last_transition_time.clone());
        PodCondition {
            type_: type_.to_owned(),
            status: draft.status.to_owned(),
            reason: draft.reason.map(ToOwned::to_owned),
            message: draft.message,
            last_transition_time: Some(since.unwrap_or_else(|| self.now.wall.to_k8s())),
            observed_generation: draft.generation.or(Some(self.plan.generation)).filter(|&generation| generation != 0),
            last_probe_time: None,
        }
    }
}

impl Draft {
    fn yes() -> Self {
        Self { status: "True", reason: None, message: None, generation: None }
    }

    fn no() -> Self {
        Self { status: "False", reason: None, message: None, generation: None }
    }
}

/// Returns why an agent has begun to end the pod for the node's sake, if one has.
pub(crate) fn disruption(conditions: &[PodCondition]) -> Option<String> {
    let condition = conditions.iter().find(|condition| is_disruption_by_agent(condition))?;
    Some(condition.message.clone().unwrap_or_default())
}

/// Tells whether a condition that others set too (`PodConditionSharedByKubelet`) comes from the agent.
pub fn is_disruption_by_agent(condition: &PodCondition) -> bool {
    condition.type_ == DISRUPTION_TARGET && condition.reason.as_deref() == Some(BY_AGENT)
}

/// Tells whether the agent alone sets a condition (contract S5-30).
pub fn is_own_condition(condition: &PodCondition) -> bool {
    OWN.contains(&condition.type_.as_str())
}

/// Returns the conditions that the agent does not own.
pub fn foreign_conditions(conditions: &[PodCondition]) -> Vec<PodCondition> {
    conditions.iter().filter(|condition| !is_own_condition(condition)).cloned().collect()
}

const READY_TO_START: &str = "PodReadyToStartContainers";
const INITIALIZED: &str = "Initialized";
const READY: &str = "Ready";
const CONTAINERS_READY: &str = "ContainersReady";
const SCHEDULED: &str = "PodScheduled";
pub(crate) const RESTARTING_ALL: &str = "AllContainersRestarting";
/// Shared with whoever asks for an eviction.
const DISRUPTION_TARGET: &str = "DisruptionTarget";
const BY_AGENT: &str = "TerminationByKubelet";
const OWN: [&str; 8] = [
    READY_TO_START,
    INITIALIZED,
    READY,
    CONTAINERS_READY,
    SCHEDULED,
    RESTARTING_ALL,
    resize::PENDING,
    resize::IN_PROGRESS,
];
const POD_COMPLETED: &str = "PodCompleted";
