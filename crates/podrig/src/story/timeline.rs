//! Draws a pod's life as bars, one row a container, and lists its steps below.

use std::fmt::Write as _;

use pod_lifecycle::{HookKind, Moment, MomentKind, ProbeKind, Role, StopReason};

use super::{ContainerStory, Instance, PodStory};

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// Whether colours may be used.
    pub(crate) color: bool,
}

/// Fewest columns a bar gets; below that it tells nothing.
const MIN_BAR: usize = 20;
const CREATED: char = '·';
const STARTING: char = '░';
const RUNNING: char = '█';
const STOPPING: char = '▒';

/// Draws the timeline of one pod; `until` ends the bars of what still runs.
pub(crate) fn draw(story: &PodStory, until: i64, style: Style) -> String {
    let end = story.ended().max(until.min(story.ended().max(until)));
    let names = story.containers.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let label = names + 2 + role_name(Role::Sidecar).len();
    let width = style.width.saturating_sub(label + 22).max(MIN_BAR);
    let scale = Scale { began: story.began, span: (end - story.began).max(1), width };
    let mut out = String::new();
    let _ = writeln!(out, "pod/{}", story.name);
    let _ = writeln!(out, "  {:label$}  {}", "", scale.axis());
    for container in &story.containers {
        let role = paint(style, Paint::Dim, &format!("{:<7}", role_name(container.role)));
        let bar = bar(container, &scale, end, style);
        let _ = writeln!(out, "  {:<names$}  {role}  {bar}  {}", container.name, ending(container, style));
    }
    let _ = writeln!(
        out,
        "  {:label$}  {}",
        "",
        paint(
            style,
            Paint::Dim,
            &format!("{CREATED} created  {STARTING} running, not started  {RUNNING} running  {STOPPING} told to stop")
        )
    );
    out.push('\n');
    for line in steps(story, style) {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// Returns the name of a role as the documentation uses it.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Init => "init",
        Role::Sidecar => "sidecar",
        Role::Main => "main",
        Role::Ephemeral => "ephemeral",
    }
}

struct Scale {
    began: i64,
    span: i64,
    width: usize,
}

impl Scale {
    /// Maps a time to a column, both ends included.
    fn column(&self, at: i64) -> usize {
        let offset = i128::from((at - self.began).clamp(0, self.span));
        let columns = i128::try_from(self.width.saturating_sub(1)).unwrap_or(0);
        usize::try_from(offset * columns / i128::from(self.span)).unwrap_or(0)
    }

    fn axis(&self) -> String {
        let end = seconds(self.span);
        let half = seconds(self.span / 2);
        let middle = self.width / 2;
        let mut axis = format!("0{:>1$}", half, middle.saturating_sub(1));
        let rest = self.width.saturating_sub(axis.chars().count());
        let _ = write!(axis, "{end:>rest$}");
        axis
    }
}

fn bar(container: &ContainerStory, scale: &Scale, end: i64, style: Style) -> String {
    let mut cells = vec![' '; scale.width];
    for instance in container.instances() {
        let gone = instance.exit.as_ref().map_or(end, |(at, ..)| *at);
        for (from, to, symbol) in segments(container, &instance, gone) {
            cells[scale.column(from)..=scale.column(to)].fill(symbol);
        }
    }
    let failed = container.last_instance().and_then(|i| i.exit).is_some_and(|(_, code, _)| code != 0);
    let color = match (container.role, failed) {
        (Role::Main | Role::Init, true) => Paint::Red,
        (Role::Sidecar | Role::Ephemeral, _) => Paint::Blue,
        (Role::Main | Role::Init, false) => Paint::Green,
    };
    paint(style, color, &cells.into_iter().collect::<String>())
}

/// Splits an instance's life into stretches with one symbol each; later ones overwrite earlier ones.
fn segments(container: &ContainerStory, instance: &Instance, gone: i64) -> Vec<(i64, i64, char)> {
    let mut segments = Vec::new();
    if let Some(created) = instance.created {
        segments.push((created, instance.started.unwrap_or(gone), CREATED));
    }
    if let Some(started) = instance.started {
        let useful = if container.startup_probe { instance.startup_passed } else { Some(started) };
        segments.push((started, useful.unwrap_or(gone), STARTING));
        if let Some(useful) = useful {
            segments.push((useful, gone, RUNNING));
        }
    }
    if let Some((stop, _)) = instance.stop {
        segments.push((stop.min(gone), gone, STOPPING));
    }
    segments
}

fn ending(container: &ContainerStory, style: Style) -> String {
    let restarts = container.last_instance().map_or(0, |i| i.attempt);
    let again = if restarts > 0 { format!(", {restarts} restarts") } else { String::new() };
    match container.last_instance() {
        None => paint(style, Paint::Dim, "never started"),
        Some(Instance { exit: Some((_, 0, reason)), .. }) => {
            paint(style, Paint::Green, &format!("exit 0 {reason}{again}"))
        }
        Some(Instance { exit: Some((_, code, reason)), .. }) => {
            let color = if container.role == Role::Sidecar { Paint::Dim } else { Paint::Red };
            paint(style, color, &format!("exit {code} {reason}{again}"))
        }
        Some(_) => paint(style, Paint::Yellow, &format!("running{again}")),
    }
}

/// Lists every step of every container in the order of time.
fn steps(story: &PodStory, style: Style) -> Vec<String> {
    let names = story.containers.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let mut steps: Vec<(&ContainerStory, &Moment)> =
        story.containers.iter().flat_map(|c| c.moments.iter().map(move |m| (c, m))).collect();
    steps.sort_by_key(|(_, moment)| moment.at);
    steps
        .into_iter()
        .map(|(container, moment)| {
            let at = format!("{:>9.3}s", seconds_f64(moment.at.0 - story.began));
            format!("{}  {:<names$}  {}", paint(style, Paint::Dim, &at), container.name, describe(moment))
        })
        .collect()
}

/// Says what a moment was in a few words.
fn describe(moment: &Moment) -> String {
    match &moment.kind {
        MomentKind::SandboxReady => "sandbox ready".into(),
        MomentKind::Created => "created".into(),
        MomentKind::Started if moment.attempt > 0 => format!("started (restart {})", moment.attempt),
        MomentKind::Started => "started".into(),
        MomentKind::HookStarted(hook) => format!("{} hook begins", hook_name(*hook)),
        MomentKind::HookEnded { hook, ok: true } => format!("{} hook ended", hook_name(*hook)),
        MomentKind::HookEnded { hook, ok: false } => format!("{} hook failed", hook_name(*hook)),
        MomentKind::ProbePassed(probe) => format!("{} probe passed", probe_name(*probe)),
        MomentKind::ProbeFailed(probe) => format!("{} probe failed", probe_name(*probe)),
        MomentKind::Ready => "ready".into(),
        MomentKind::NotReady => "not ready".into(),
        MomentKind::StopSignal { reason } => format!("stop signal sent: {}", stop_reason(*reason)),
        MomentKind::Exited { exit_code, reason } => format!("exited with {exit_code} ({reason})"),
        MomentKind::BackOff { delay } => format!("restart waits {} s (CrashLoopBackOff)", delay.as_secs()),
        MomentKind::StartFailed { reason, message } => format!("cannot start: {reason}: {message}"),
        MomentKind::Phase(phase) => format!("phase {phase}"),
    }
}

fn hook_name(hook: HookKind) -> &'static str {
    match hook {
        HookKind::PostStart => "postStart",
        HookKind::PreStop => "preStop",
    }
}

fn probe_name(probe: ProbeKind) -> &'static str {
    match probe {
        ProbeKind::Startup => "startup",
        ProbeKind::Liveness => "liveness",
        ProbeKind::Readiness => "readiness",
    }
}

fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::PodEnds => "the pod ends",
        StopReason::Liveness => "liveness probe failed",
        StopReason::Startup => "startup probe failed",
        StopReason::PostStartHook => "postStart hook failed",
        StopReason::Resize => "its resources changed",
        StopReason::DefinitionChanged => "its definition changed",
        StopReason::RestartAll => "all containers restart",
    }
}

/// Formats nanoseconds as seconds, with as many digits as are worth reading.
pub(super) fn seconds(nanos: i64) -> String {
    let seconds = seconds_f64(nanos);
    if seconds < 10.0 { format!("{seconds:.2}s") } else { format!("{seconds:.1}s") }
}

#[expect(clippy::cast_precision_loss, reason = "spans of a run are far below 2^53 ns; display only")]
fn seconds_f64(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

#[derive(Clone, Copy)]
enum Paint {
    Red,
    Green,
    Yellow,
    Blue,
    Dim,
}

fn paint(style: Style, paint: Paint, text: &str) -> String {
    let code = match paint {
        Paint::Red => 31,
        Paint::Green => 32,
        Paint::Yellow => 33,
        Paint::Blue => 34,
        Paint::Dim => 2,
    };
    if style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
