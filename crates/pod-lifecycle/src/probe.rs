//! Probes: when each is run, and what its results add up to (contract S6; kubelet `prober/worker.go`).
//!
//! A probe belongs to the instance that the published status shows as running. It is run for the first
//! time when the initial delay after the start is over, then once a period, until the instance ends.

use std::time::Duration;

use crate::{
    ContainerIdx, ContainerPlan, Deadline, Effect, EffectId, EventType, MomentKind, MonoTime, PodMachine, ProbeKind,
    ProbeOutcome, ProbePlan, Timer, container::Instance, machine::Purpose,
};

/// The probes of one container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes {
    /// The instance they look at.
    pub(crate) of: Option<String>,
    startup: Probe,
    liveness: Probe,
    readiness: Probe,
}

/// One probe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probe {
    /// What counts.
    pub(crate) verdict: Verdict,
    /// Result of the last run, and how many runs in a row gave it. Kept across instances (contract S6-08).
    streak: Option<(bool, u32)>,
    /// Paused until there is another instance (contract S6-09).
    pub(crate) on_hold: bool,
    /// When the next run is due; none while one is going on.
    pub(crate) due: Option<MonoTime>,
    /// Runs that begin before this time are tries: only their success counts.
    counts_from: MonoTime,
    /// The run going on, and when it began.
    pub(crate) running: Option<(EffectId, MonoTime)>,
}

/// What the last status of an earlier life of the agent said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) running_since: MonoTime,
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

/// What a probe's results add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    #[default]
    Unknown,
    Success,
    Failure,
}

impl Probes {
    pub(crate) fn get(&self, kind: ProbeKind) -> &Probe {
        match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Liveness => &self.liveness,
            ProbeKind::Readiness => &self.readiness,
        }
    }

    pub(crate) fn get_mut(&mut self, kind: ProbeKind) -> &mut Probe {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Liveness => &mut self.liveness,
            ProbeKind::Readiness => &mut self.readiness,
        }
    }

    /// Turns to a new instance; initial results as in contract S6-06.
    pub(crate) fn watch(&mut self, id: &str, started: MonoTime, plan: &ContainerPlan) {
        self.of = Some(id.to_owned());
        for kind in KINDS {
            let probe = self.get_mut(kind);
            probe.on_hold = false;
            probe.verdict = initial(kind);
            probe.due = plan.probe(kind).map(|p| first_run(kind, started, p));
            probe.counts_from = plan.probe(kind).map_or(started, |p| first_count(kind, started, p));
        }
    }

    /// Returns what a probe says of an instance; `None`: it looks at another one.
    pub(crate) fn verdict_on(&self, kind: ProbeKind, instance: &Instance) -> Option<Verdict> {
        (self.of.as_ref() == Some(&instance.view.id)).then_some(self.get(kind).verdict)
    }

    /// Returns whether the instance that is watched has started (contract S5-20), given that it runs.
    pub(crate) fn started(&self, plan: &ContainerPlan) -> bool {
        plan.startup.is_none() || self.startup.verdict == Verdict::Success
    }

    /// Returns whether the instance that is watched is ready (contract S5-21), given that it has started.
    pub(crate) fn ready(&self, plan: &ContainerPlan) -> bool {
        plan.readiness.is_none() || self.readiness.verdict == Verdict::Success
    }

    /// Turns to an instance that an earlier life of the agent has looked at already: what its status said
    /// goes on to hold (contract S3-56), and first runs are spread over the period (contract S3-58).
    pub(crate) fn resume(&mut self, id: &str, now: MonoTime, plan: &ContainerPlan, seen: Seen, seed: u64) {
        self.watch(id, seen.running_since, plan);
        if seen.started {
            self.startup.verdict = Verdict::Success;
        }
        if seen.ready {
            self.readiness.verdict = Verdict::Success;
        }
        for (kind, salt) in KINDS.into_iter().zip(1..) {
            if let Some(probe) = plan.probe(kind) {
                let probe_now = self.get_mut(kind);
                probe_now.due = probe_now.due.max(Some(now + share(probe.period, seed, salt)));
            }
        }
    }

    /// Returns the probes that are run in the present state: the startup probe until it has passed, the
    /// others afterwards (contract S6-04).
    pub(crate) fn active(&self, plan: &ContainerPlan) -> impl Iterator<Item = ProbeKind> + use<> {
        let started = self.started(plan);
        let kinds: Vec<_> = KINDS
            .into_iter()
            .filter(|&kind| !self.get(kind).on_hold && (kind == ProbeKind::Startup) != started)
            .collect();
        kinds.into_iter()
    }
}

impl Probe {
    /// Takes the result of a run. Returns the verdict it leads to, if it leads to one (contract S6-07).
    pub(crate) fn record(&mut self, kind: ProbeKind, passed: bool, plan: &ProbePlan) -> Option<Verdict> {
        let run = match self.streak {
            Some((last, run)) if last == passed => run.saturating_add(1),
            Some(_) | None => 1,
        };
        self.streak = Some((passed, run));
        let threshold = if passed { plan.success_threshold } else { plan.failure_threshold };
        if run < threshold {
            return None;
        }
        self.verdict = if passed { Verdict::Success } else { Verdict::Failure };
        // S6-09: nothing more is asked of an instance that is judged for good.
        if kind == ProbeKind::Startup || (kind == ProbeKind::Liveness && !passed) {
            self.on_hold = true;
            self.streak = None;
        }
        Some(self.verdict)
    }

    /// Sets the time of the next run after one that began at `began`: late runs are not caught up with
    /// (contract S6-26).
    pub(crate) fn schedule(&mut self, began: MonoTime, now: MonoTime, plan: &ProbePlan) {
        self.due = Some((began + plan.period).max(now));
    }
}

impl PodMachine {
    /// Runs what is due.
    pub(crate) fn run_due_probes(&mut self) {
        let now = self.now.mono;
        let due: Vec<_> = self.probe_deadlines().filter(|deadline| deadline.at <= now).map(|d| d.why).collect();
        for timer in due {
            if let Timer::Probe(idx, kind) = timer
                && let Some(id) = self.instance_id(idx)
            {
                let effect = self.run(Effect::Probe { container: idx, id, probe: kind }, Purpose::Probe(idx, kind));
                let probe = self.containers[idx.index()].probes.get_mut(kind);
                probe.due = None;
                probe.running = Some((effect, now));
            }
        }
    }

    pub(crate) fn probe_deadlines(&self) -> impl Iterator<Item = Deadline> {
        self.plan.indices().flat_map(move |idx| {
            let probes = &self.containers[idx.index()].probes;
            let active = probes.active(self.plan.container(idx));
            active.filter_map(move |kind| Some(Deadline { at: probes.get(kind).due?, why: Timer::Probe(idx, kind) }))
        })
    }

    /// Takes the result of a run (contract S6-07, S6-16, S6-18, S6-22).
    pub(crate) fn probed(&mut self, idx: ContainerIdx, kind: ProbeKind, outcome: ProbeOutcome) {
        let Some(plan) = self.plan.container(idx).probe(kind).cloned() else { return };
        let now = self.now.mono;
        let probe = self.containers[idx.index()].probes.get_mut(kind);
        let Some((_, began)) = probe.running.take() else { return };
        probe.schedule(began, now, &plan);
        let passed = matches!(outcome, ProbeOutcome::Success { .. });
        if !passed && began < probe.counts_from {
            return;
        }
        self.tell_probe_outcome(idx, kind, &outcome);
        let probe = self.containers[idx.index()].probes.get_mut(kind);
        if matches!(outcome, ProbeOutcome::Error { .. }) {
            return;
        }
        let before = probe.verdict;
        let Some(verdict) = probe.record(kind, passed, &plan) else { return };
        if verdict == before {
            return;
        }
        let moment = if passed { MomentKind::ProbePassed(kind) } else { MomentKind::ProbeFailed(kind) };
        self.moment(self.now.wall, Some(idx), moment);
        self.dirty = true;
        self.publish(); // S5-24
    }

    fn tell_probe_outcome(&mut self, idx: ContainerIdx, kind: ProbeKind, outcome: &ProbeOutcome) {
        let title = title(kind);
        let (reason, message) = match outcome {
            ProbeOutcome::Success { warning: None } => return,
            ProbeOutcome::Success { warning: Some(warning) } => {
                ("ProbeWarning", format!("{title} probe warning: {warning}"))
            }
            ProbeOutcome::Failure { output } => ("Unhealthy", format!("{title} probe failed: {output}")),
            ProbeOutcome::Error { message } => {
                ("Unhealthy", format!("{title} probe errored and resulted in unknown state: {message}"))
            }
        };
        self.event(Some(idx), EventType::Warning, reason, message);
    }

    /// Turns the probes to the instances that the status has begun to show, and asks for readiness once
    /// more of those that are not ready (contract S6-05).
    pub(crate) fn watch_shown(&mut self) {
        for idx in self.plan.indices() {
            let Some(instance) = self.containers[idx.index()].current.as_ref().filter(|i| i.is_running()) else {
                continue;
            };
            let id = instance.view.id.clone();
            let started = instance.started_at().map_or(self.now.mono, |at| self.now.mono_of(at));
            let plan = self.plan.container(idx);
            let probes = &mut self.containers[idx.index()].probes;
            if probes.of.as_ref() != Some(&id) {
                probes.watch(&id, started, plan);
            } else if let Some(readiness) = plan.readiness.as_ref().filter(|_| !probes.ready(plan)) {
                let due = &mut probes.get_mut(ProbeKind::Readiness).due;
                *due = due.map(|due| due.min(started + readiness.initial_delay));
            }
        }
    }

    /// Stops a probe for good.
    pub(crate) fn stop_probe(&mut self, idx: ContainerIdx, kind: ProbeKind) {
        let probe = self.containers[idx.index()].probes.get_mut(kind);
        probe.due = None;
        if let Some((effect, _)) = probe.running.take() {
            self.cancel(effect);
        }
    }
}

/// Returns how events call a probe.
pub(crate) fn title(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Liveness => "Liveness",
        ProbeKind::Readiness => "Readiness",
    }
}

/// Returns when a probe is run for the first time. The kubelet's answer lies between the end of the initial
/// delay and a period later, as its ticks fall (contract S6-03). Here: readiness and startup are asked at
/// once, since that can only speed things up; liveness not in the very instant of the start, when hardly any
/// server answers yet.
fn first_run(kind: ProbeKind, started: MonoTime, plan: &ProbePlan) -> MonoTime {
    match kind {
        ProbeKind::Startup | ProbeKind::Readiness => started + plan.initial_delay,
        ProbeKind::Liveness if plan.initial_delay.is_zero() => started + plan.period,
        ProbeKind::Liveness => started + plan.initial_delay,
    }
}

/// Returns from when on failures count. An early failure of the startup probe does not: a container has
/// `initialDelaySeconds + failureThreshold * periodSeconds` to start up (contract S6-14).
fn first_count(kind: ProbeKind, started: MonoTime, plan: &ProbePlan) -> MonoTime {
    match kind {
        ProbeKind::Startup => started + plan.initial_delay + plan.period,
        ProbeKind::Liveness | ProbeKind::Readiness => started,
    }
}

/// Returns a part of a period that differs from seed to seed (the mixing function of SplitMix64).
fn share(period: Duration, seed: u64, salt: u64) -> Duration {
    let mut x = seed.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let permille = u32::try_from((x ^ (x >> 31)) % 1000).unwrap_or_default();
    period * permille / 1000
}

fn initial(kind: ProbeKind) -> Verdict {
    match kind {
        ProbeKind::Startup => Verdict::Unknown,
        ProbeKind::Liveness => Verdict::Success,
        ProbeKind::Readiness => Verdict::Failure,
    }
}

pub(crate) const KINDS: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plan(success_threshold: u32, failure_threshold: u32) -> ProbePlan {
        ProbePlan {
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold,
            failure_threshold,
            grace: None,
        }
    }

    #[test]
    fn s6_07_another_result_resets_the_run() {
        let mut probe = Probe::default();
        let results = [false, false, true, false, false, false];
        let verdicts = results.map(|passed| probe.record(ProbeKind::Liveness, passed, &plan(1, 3)));
        assert_eq!(verdicts, [None, None, Some(Verdict::Success), None, None, Some(Verdict::Failure)]);
    }

    #[test]
    fn s6_08_the_run_goes_on_across_instances_except_after_a_verdict() {
        let mut probe = Probe::default();
        assert_eq!(probe.record(ProbeKind::Readiness, false, &plan(1, 3)), None);
        probe.verdict = Verdict::Failure; // another instance
        probe.record(ProbeKind::Readiness, false, &plan(1, 3));
        assert_eq!(probe.record(ProbeKind::Readiness, false, &plan(1, 3)), Some(Verdict::Failure));
        let mut probe = Probe::default();
        assert_eq!(probe.record(ProbeKind::Liveness, false, &plan(1, 1)), Some(Verdict::Failure));
        assert!(probe.on_hold);
        assert_eq!(probe.record(ProbeKind::Liveness, false, &plan(1, 2)), None);
    }

    #[test]
    fn s6_26_a_slow_run_delays_only_the_next_one() {
        let mut probe = Probe::default();
        let at = |s| MonoTime(Duration::from_secs(s));
        probe.schedule(at(0), at(3), &plan(1, 1));
        assert_eq!(probe.due, Some(at(10)));
        probe.schedule(at(10), at(25), &plan(1, 1));
        assert_eq!(probe.due, Some(at(25)));
    }
}
