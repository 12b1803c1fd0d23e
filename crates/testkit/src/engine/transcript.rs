//! What a machine has said, as lines that a person can check.
//!
//! `>` an effect is begun, `!` an event, `=` what has changed in the status, `~` a moment, `#` the end. A
//! container in a status reads `name Running rs #2`: state, then `R` ready and `S` started in capitals when
//! they hold, then the restart count; `last=` tells of the instance before.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodCondition, PodStatus};
use pod_lifecycle::{ContainerIdx, Effect, EventType, HookKind, MomentKind, Output, PodEvent, ProbeKind};

use super::World;

/// Writes a transcript.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Whether steps that are the same for every container are shown too.
    pub verbose: bool,
    text: String,
    shown: BTreeMap<String, String>,
}

impl Transcript {
    /// Writes down all that was said in a world.
    pub fn of(world: &World, verbose: bool) -> String {
        let mut transcript = Self { verbose, ..Self::default() };
        for said in world.said() {
            transcript.add(world, said.at, &said.output);
        }
        transcript.text
    }

    /// Returns every status of a world, whole, on one line each.
    pub fn statuses(world: &World) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for said in world.said() {
            if let Output::Status(status) = &said.output {
                let parts: Vec<_> = status_parts(status).into_iter().map(|(_, text)| text).collect();
                lines.push(parts.join("; "));
            }
        }
        lines.dedup();
        lines
    }

    /// Returns every event of a world once, in the order of its first coming.
    pub fn events(world: &World) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for said in world.said() {
            if let Output::Event(event) = &said.output {
                let line = event_text(world, event).trim_end().to_owned();
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }

    fn line(&mut self, at: Duration, text: &str) {
        let time = format!("{:.1}", at.as_secs_f64());
        let _ = writeln!(self.text, "{time:<6} {}", text.trim_end());
    }

    fn add(&mut self, world: &World, at: Duration, output: &Output) {
        match output {
            Output::Run { effect, .. } => {
                if let Some(text) = self.effect(world, effect) {
                    self.line(at, &format!("> {text}"));
                }
            }
            Output::Event(event) => {
                if self.verbose || !TRIO.contains(&event.reason.as_str()) {
                    self.line(at, &format!("! {}", event_text(world, event)));
                }
            }
            Output::Status(status) => {
                let changes = self.changes(status);
                if !changes.is_empty() {
                    self.line(at, &format!("= {}", changes.join("; ")));
                }
            }
            Output::Moment(moment) if self.verbose => {
                let who = moment.container.map_or_else(|| "pod".to_owned(), |idx| world.name_of(idx));
                self.line(at, &format!("~ {who} #{} {}", moment.attempt, moment_text(&moment.kind)));
            }
            Output::Cancel(_) if self.verbose => self.line(at, "> cancel"),
            Output::Finished(outcome) => self.line(at, &format!("# {outcome:?}")),
            Output::Cancel(_) | Output::Moment(_) | Output::Wait(_) => {}
        }
    }

    fn effect(&self, world: &World, effect: &Effect) -> Option<String> {
        let name = |idx: &ContainerIdx| world.name_of(*idx);
        let text = match effect {
            Effect::PrepareVolumes => "prepare volumes".to_owned(),
            Effect::CreateSandbox { attempt } => format!("create sandbox {attempt}"),
            Effect::StopSandbox { .. } => "stop sandbox".to_owned(),
            Effect::RemoveSandbox { .. } => "remove sandbox".to_owned(),
            Effect::EnsureImage { container, volume: None } => format!("image of {}", name(container)),
            Effect::EnsureImage { container, volume: Some(volume) } => {
                format!("image of {volume} for {}", name(container))
            }
            Effect::CreateContainer { container, attempt, .. } => format!("create {} #{attempt}", name(container)),
            Effect::StartContainer { container, .. } => format!("start {}", name(container)),
            Effect::RunHook { container, hook, .. } => format!("{} of {}", hook_text(*hook), name(container)),
            Effect::Probe { container, probe, .. } => format!("{} probe of {}", probe_text(*probe), name(container)),
            Effect::StopContainer { container, grace, reason, .. } => {
                format!("stop {} within {}s ({reason:?})", name(container), grace.as_secs())
            }
            Effect::Resize { containers, .. } => {
                let names = containers.iter().map(|resized| format!(" {}", name(&resized.container)));
                format!("resize pod{}", names.collect::<String>())
            }
            Effect::RemoveContainer { container, .. } => format!("remove old {}", name(container)),
            Effect::Cleanup => "clean up".to_owned(),
        };
        let same_for_all = match effect {
            Effect::EnsureImage { .. }
            | Effect::CreateContainer { .. }
            | Effect::Probe { .. }
            | Effect::RemoveContainer { .. } => true,
            Effect::PrepareVolumes
            | Effect::CreateSandbox { .. }
            | Effect::StopSandbox { .. }
            | Effect::RemoveSandbox { .. }
            | Effect::StartContainer { .. }
            | Effect::RunHook { .. }
            | Effect::StopContainer { .. }
            | Effect::Resize { .. }
            | Effect::Cleanup => false,
        };
        (self.verbose || !same_for_all).then_some(text)
    }

    fn changes(&mut self, status: &PodStatus) -> Vec<String> {
        let mut changed = Vec::new();
        for (key, text) in status_parts(status) {
            if self.shown.insert(key, text.clone()).as_ref() != Some(&text) {
                changed.push(text);
            }
        }
        changed
    }
}

fn status_parts(status: &PodStatus) -> Vec<(String, String)> {
    let mut parts = vec![("phase".to_owned(), phase_text(status))];
    let conditions: Vec<_> = status.conditions.iter().flatten().filter_map(condition_text).collect();
    parts.push(("conditions".to_owned(), format!("[{}]", conditions.join(" "))));
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let statuses = lists.into_iter().flatten().flatten();
    parts.extend(statuses.map(|status| (format!("container {}", status.name), container_text(status))));
    parts
}

fn phase_text(status: &PodStatus) -> String {
    let phase = status.phase.clone().unwrap_or_default();
    match &status.reason {
        Some(reason) => format!("{phase} ({reason})"),
        None => phase,
    }
}

/// `PodScheduled` says nothing here and is left out.
fn condition_text(condition: &PodCondition) -> Option<String> {
    let name = match condition.type_.as_str() {
        "PodScheduled" => return None,
        "PodReadyToStartContainers" => "Sandbox",
        "ContainersReady" => "Containers",
        other => other,
    };
    let reason = condition.reason.as_deref().map(|reason| format!("/{reason}")).unwrap_or_default();
    Some(format!("{name}={}{reason}", condition.status))
}

fn container_text(status: &ContainerStatus) -> String {
    let state = status.state.as_ref().map(state_text).unwrap_or_default();
    let ready = if status.ready { 'R' } else { 'r' };
    let started = if status.started == Some(true) { 'S' } else { 's' };
    let mut text = format!("{} {state} {ready}{started} #{}", status.name, status.restart_count);
    if let Some(last) = status.last_state.as_ref().filter(|last| last.terminated.is_some()) {
        let _ = write!(text, " last={}", state_text(last));
    }
    text
}

fn state_text(state: &ContainerState) -> String {
    if let Some(terminated) = &state.terminated {
        return format!("{}({})", terminated.reason.as_deref().unwrap_or("-"), terminated.exit_code);
    }
    if state.running.is_some() {
        return "Running".to_owned();
    }
    let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
    format!("Waiting:{}", reason.unwrap_or("-"))
}

fn event_text(world: &World, event: &PodEvent) -> String {
    let who = event.container.map(|idx| format!("{} ", world.name_of(idx))).unwrap_or_default();
    let kind = if event.type_ == EventType::Warning { "Warning " } else { "" };
    format!("{who}{kind}{}: {}", event.reason, event.message)
}

fn moment_text(kind: &MomentKind) -> String {
    match kind {
        MomentKind::HookStarted(hook) => format!("{} began", hook_text(*hook)),
        MomentKind::HookEnded { hook, ok } => format!("{} ended, ok={ok}", hook_text(*hook)),
        MomentKind::Exited { exit_code, reason } => format!("exited {exit_code} {reason}"),
        MomentKind::StopSignal { reason } => format!("stop signal ({reason:?})"),
        MomentKind::BackOff { delay } => format!("back-off {}s", delay.as_secs()),
        MomentKind::StartFailed { reason, .. } => format!("start failed: {reason}"),
        MomentKind::Phase(phase) => format!("phase {phase}"),
        MomentKind::ProbePassed(probe) => format!("{} probe passed", probe_text(*probe)),
        MomentKind::ProbeFailed(probe) => format!("{} probe failed", probe_text(*probe)),
        MomentKind::SandboxReady => "sandbox ready".to_owned(),
        MomentKind::Created => "created".to_owned(),
        MomentKind::Started => "started".to_owned(),
        MomentKind::Ready => "ready".to_owned(),
        MomentKind::NotReady => "not ready".to_owned(),
    }
}

fn hook_text(hook: HookKind) -> &'static str {
    match hook {
        HookKind::PostStart => "postStart",
        HookKind::PreStop => "preStop",
    }
}

fn probe_text(probe: ProbeKind) -> &'static str {
    match probe {
        ProbeKind::Startup => "startup",
        ProbeKind::Liveness => "liveness",
        ProbeKind::Readiness => "readiness",
    }
}

/// Events that every start leads to; left out unless asked for.
const TRIO: [&str; 3] = ["Pulled", "Created", "Started"];
