//! What must hold at every step (safety), and that there is always a next one (liveness).

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::PodStatus;
use pod_lifecycle::{ContainerIdx, ContainerViewState, Effect, Output, PodPlan, ProbeKind, Role, StopReason};
use testkit::engine::{Action, Fact, Said, World};

/// Looks at all that is said and done.
#[derive(Debug)]
pub(crate) struct Guard {
    heard: usize,
    life: u64,
    last: Option<PodStatus>,
    /// Shortest grace that any kill of the pod may have.
    grace: Duration,
    /// When the kill of the pod going on began.
    killing_since: Option<Duration>,
    /// The runtime has lost nothing so far.
    remembers: bool,
    steps: u32,
}

impl Guard {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            heard: 0,
            life: 0,
            last: None,
            grace: world.plan().grace,
            killing_since: None,
            remembers: true,
            steps: 0,
        }
    }

    /// Takes note of what is about to happen.
    pub(crate) fn expect(&mut self, action: &Action) {
        match action {
            Action::Delete { grace: Some(grace) } | Action::Evict(grace, _, false) => {
                self.grace = self.grace.min(*grace);
            }
            // An agent that comes back goes on with the least: it does not know how long this has lasted.
            Action::Evict(grace, _, true) => self.grace = self.grace.min(*grace).min(Duration::from_secs(1)),
            Action::RecordsLost => self.remembers = false,
            Action::Delete { grace: None }
            | Action::AgentRestarts
            | Action::AgentDies { .. }
            | Action::Exit { .. }
            | Action::NewsOf { .. }
            | Action::SandboxLost
            | Action::ShutDown
            | Action::RecordsOf(_)
            | Action::Image { .. }
            | Action::Deadline(_)
            | Action::Resize { .. }
            | Action::Debug(_)
            | Action::Phase(_)
            | Action::Behaves { .. } => {}
        }
    }

    pub(crate) fn run_until(&mut self, world: &mut World, until: Duration) -> Result<(), String> {
        self.look(world)?;
        while world.finished().is_none() && world.step(until) {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err("no end of steps".to_owned());
            }
            self.look(world)?;
        }
        world.run_until(until);
        Ok(())
    }

    pub(crate) fn look(&mut self, world: &World) -> Result<(), String> {
        world.check().map_err(|violation| violation.to_string())?;
        at_most_one_alive(world)?;
        if self.remembers {
            ephemeral_at_most_once(world)?;
        }
        let said = &world.said()[self.heard..];
        if let Some(end) = said.iter().position(|said| matches!(said.output, Output::Finished(_)))
            && end + 1 != said.len()
        {
            return Err("something was said after the end".to_owned());
        }
        for said in said {
            self.hear(world, said)?;
        }
        self.heard = world.said().len();
        Ok(())
    }

    fn hear(&mut self, world: &World, said: &Said) -> Result<(), String> {
        if said.life != self.life {
            self.life = said.life;
            self.killing_since = None;
            self.last = world.log().from.as_ref().map(|(stored, _)| stored.clone());
        }
        match &said.output {
            Output::Status(status) => self.status(status),
            Output::Run { effect, .. } => self.effect(world, said.at, effect),
            Output::Event(event) => {
                if event.message.starts_with("Stopping container") {
                    self.killing_since.get_or_insert(said.at);
                }
                Ok(())
            }
            Output::Cancel(_) | Output::Moment(_) | Output::Finished(_) | Output::Wait(_) => Ok(()),
        }
    }

    fn effect(&self, world: &World, at: Duration, effect: &Effect) -> Result<(), String> {
        let plan = world.plan();
        match effect {
            Effect::StartContainer { container, .. } if plan.container(*container).role == Role::Main => {
                all_before_started(world, *container)
            }
            Effect::CreateContainer { container, .. } if is_alive(world, *container) => {
                Err(format!("{} is created beside a live instance", plan.container(*container).name()))
            }
            Effect::StopContainer { container, grace, reason: StopReason::PodEnds, .. }
                if plan.container(*container).role == Role::Sidecar && any_main_alive(world) =>
            {
                let since = self.killing_since.map_or(Duration::ZERO, |since| at.saturating_sub(since));
                let over = *grace <= FLOOR && since >= Duration::from_secs(self.grace.as_secs());
                if over {
                    Ok(())
                } else {
                    Err(format!("{} is stopped before the mains", plan.container(*container).name()))
                }
            }
            Effect::PrepareVolumes
            | Effect::CreateSandbox { .. }
            | Effect::StopSandbox { .. }
            | Effect::RemoveSandbox { .. }
            | Effect::EnsureImage { .. }
            | Effect::CreateContainer { .. }
            | Effect::StartContainer { .. }
            | Effect::RunHook { .. }
            | Effect::Probe { .. }
            | Effect::StopContainer { .. }
            | Effect::RemoveContainer { .. }
            | Effect::Resize { .. }
            | Effect::Cleanup => Ok(()),
        }
    }

    fn status(&mut self, status: &PodStatus) -> Result<(), String> {
        let terminal = |status: &PodStatus| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let ready = |status: &PodStatus, type_: &str| {
            status.conditions.iter().flatten().any(|c| c.type_ == type_ && c.status == "True")
        };
        if terminal(status) && ready(status, "Ready") {
            return Err("ready in a terminal phase".to_owned());
        }
        if let Some(last) = &self.last {
            if terminal(last) && last.phase != status.phase {
                return Err(format!("left phase {:?} for {:?}", last.phase, status.phase));
            }
            if ready(last, "Initialized") && !ready(status, "Initialized") {
                return Err("Initialized was taken back".to_owned());
            }
            let (before, now) = (counts(last), counts(status));
            if let Some((name, _)) = before.iter().find(|(name, count)| now.get(*name).is_none_or(|now| now < count)) {
                return Err(format!("restart count of {name} fell"));
            }
        }
        self.last = Some(status.clone());
        Ok(())
    }
}

fn counts(status: &PodStatus) -> BTreeMap<String, i32> {
    let lists = status.init_container_statuses.iter().chain(&status.container_statuses);
    lists.flatten().map(|status| (status.name.clone(), status.restart_count)).collect()
}

fn is_alive(world: &World, container: ContainerIdx) -> bool {
    world
        .containers()
        .any(|view| view.container == container && matches!(view.state, ContainerViewState::Running { .. }))
}

fn any_main_alive(world: &World) -> bool {
    world.plan().main_indices().any(|idx| is_alive(world, idx))
}

fn at_most_one_alive(world: &World) -> Result<(), String> {
    for idx in world.plan().indices() {
        let alive = world
            .containers()
            .filter(|view| view.container == idx && matches!(view.state, ContainerViewState::Running { .. }));
        if alive.count() > 1 {
            return Err(format!("two live instances of {}", world.plan().container(idx).name()));
        }
    }
    Ok(())
}

/// S2-23: an ephemeral container is started once, unless the runtime forgets it before a status tells of it.
fn ephemeral_at_most_once(world: &World) -> Result<(), String> {
    let of = |idx| move |fact: &&Fact| matches!(fact, Fact::Started { container, .. } if *container == idx);
    let again = world.plan().ephemeral_indices().find(|&idx| world.facts().iter().filter(of(idx)).count() > 1);
    again.map_or(Ok(()), |idx| Err(format!("{} is started again", world.plan().container(idx).name())))
}

/// Before a main is started, every plain init container has succeeded and every sidecar has started up, in the
/// sandbox at hand.
fn all_before_started(world: &World, main: ContainerIdx) -> Result<(), String> {
    let plan = world.plan();
    let current = world.containers().filter(|view| view.container == main).max_by_key(|view| view.attempt);
    let Some(sandbox) = current.map(|view| view.sandbox.clone()) else { return Ok(()) };
    let missing = plan.init_indices().find(|&idx| !has_let_go(world, plan, idx, &sandbox));
    missing.map_or(Ok(()), |idx| {
        let (main, idx) = (plan.container(main).name(), plan.container(idx).name());
        Err(format!("{main} is started though {idx} has not let it"))
    })
}

fn has_let_go(world: &World, plan: &PodPlan, idx: ContainerIdx, in_sandbox: &str) -> bool {
    let container = plan.container(idx);
    let started = |wanted: &str| {
        world
            .facts()
            .iter()
            .any(|fact| matches!(fact, Fact::Started { id, sandbox, .. } if id == wanted && sandbox == in_sandbox))
    };
    world.facts().iter().any(|fact| match fact {
        Fact::Exited { container: of, sandbox, code, .. } if container.role == Role::Init => {
            *of == idx && sandbox == in_sandbox && *code == 0
        }
        Fact::Passed { container: of, id, probe: ProbeKind::Startup } if container.startup.is_some() => {
            *of == idx && started(id)
        }
        Fact::Started { container: of, sandbox, .. } if container.role == Role::Sidecar => {
            *of == idx && sandbox == in_sandbox && container.startup.is_none()
        }
        Fact::Started { .. } | Fact::Exited { .. } | Fact::Passed { .. } => false,
    })
}

/// More than any schedule needs.
const MAX_STEPS: u32 = 200_000;
/// Time between stop signal and SIGKILL when the grace is over (contract S4-12).
const FLOOR: Duration = Duration::from_secs(2);
