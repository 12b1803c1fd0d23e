//! Which thresholds are met, and what the node is short of (pkg/kubelet/eviction/eviction_manager.go `synchronize`).

use std::{collections::BTreeMap, time::Duration};

use apimachinery::quantity::Quantity;
use pod_lifecycle::MonoTime;

use super::options::{Signal, Threshold};

/// What the node is short of, as its conditions tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    Memory,
    Disk,
    Pids,
}

impl Condition {
    /// Returns the type of the condition.
    pub(crate) fn type_(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pids => "PIDPressure",
        }
    }
}

/// What pods give back when they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    Storage,
    Inodes,
    Pids,
}

impl Resource {
    /// Returns its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Storage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }
}

impl Signal {
    pub(crate) fn condition(self) -> Condition {
        match self {
            Self::Memory => Condition::Memory,
            Self::NodeFs | Self::NodeFsInodes | Self::ImageFs | Self::ImageFsInodes => Condition::Disk,
            Self::Pids => Condition::Pids,
        }
    }

    pub(crate) fn resource(self) -> Resource {
        match self {
            Self::Memory => Resource::Memory,
            Self::NodeFs | Self::ImageFs => Resource::Storage,
            Self::NodeFsInodes | Self::ImageFsInodes => Resource::Inodes,
            Self::Pids => Resource::Pids,
        }
    }
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) available: i64,
    pub(crate) capacity: i64,
}

/// What was seen at one time. What cannot be measured is missing and meets no threshold.
pub(crate) type Observations = BTreeMap<Signal, Observation>;

/// A threshold that is to be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Starved {
    pub(crate) signal: Signal,
    /// Pods are evicted with hardly any grace.
    pub(crate) hard: bool,
    /// Less than this is too little.
    pub(crate) quantity: Quantity,
    /// So much there is.
    pub(crate) available: Quantity,
}

/// What follows from an observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Conditions that hold: now, or not long ago.
    pub(crate) conditions: Vec<Condition>,
    /// The threshold to act on.
    pub(crate) starved: Option<Starved>,
    /// When the judgement changes without anything else changing: a grace or a condition is over.
    pub(crate) next: Option<MonoTime>,
}

/// What earlier observations have left.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// Thresholds that are met, by position, and since when.
    met: BTreeMap<usize, MonoTime>,
    /// When each condition was last true.
    observed: BTreeMap<Condition, MonoTime>,
}

impl Pressure {
    /// Judges an observation. A threshold whose grace was over stays met until its minimum is reclaimed.
    pub(crate) fn judge(
        &mut self,
        thresholds: &[Threshold],
        transition: Duration,
        seen: &Observations,
        now: MonoTime,
    ) -> Judgement {
        let old = std::mem::take(&mut self.met);
        let over = |since: &MonoTime, threshold: &Threshold| now.0.saturating_sub(since.0) >= threshold.grace;
        for (index, threshold) in thresholds.iter().enumerate() {
            let since = old.get(&index);
            let unresolved = since.is_some_and(|since| over(since, threshold)) && is_met(threshold, seen, true);
            if unresolved || is_met(threshold, seen, false) {
                self.met.insert(index, since.copied().unwrap_or(now));
                self.observed.insert(threshold.signal.condition(), now);
            }
        }
        self.observed.retain(|_, at| *at == now || now.0.saturating_sub(at.0) < transition);
        let met = || self.met.iter().map(|(index, since)| (&thresholds[*index], since));
        // Memory first (`byEvictionPriority`).
        let starved = met().filter(|(threshold, since)| over(since, threshold)).map(|(threshold, _)| threshold);
        let starved = starved.min_by_key(|threshold| threshold.signal != Signal::Memory);
        let graces = met().filter(|(threshold, since)| !over(since, threshold)).map(|(t, since)| *since + t.grace);
        let ends = self.observed.values().filter(|at| **at != now).map(|at| *at + transition);
        Judgement {
            conditions: self.observed.keys().copied().collect(),
            starved: starved.and_then(|threshold| starve(threshold, seen)),
            next: graces.chain(ends).min(),
        }
    }
}

/// Tells whether there is enough of everything, minimum reclaims included.
pub(crate) fn is_enough(thresholds: &[Threshold], seen: &Observations) -> bool {
    !thresholds.iter().any(|threshold| is_met(threshold, seen, true))
}

fn is_met(threshold: &Threshold, seen: &Observations, with_minimum_reclaim: bool) -> bool {
    seen.get(&threshold.signal).is_some_and(|observed| {
        let more = threshold.minimum_reclaim.filter(|_| with_minimum_reclaim).map(|more| more.of(observed.capacity));
        threshold.value.of(observed.capacity) + more.unwrap_or(Quantity::ZERO)
            > Quantity::from_units(observed.available)
    })
}

fn starve(threshold: &Threshold, seen: &Observations) -> Option<Starved> {
    let observed = seen.get(&threshold.signal)?;
    let available = match threshold.signal.resource() {
        Resource::Memory | Resource::Storage => Quantity::from_bytes(observed.available),
        Resource::Inodes | Resource::Pids => Quantity::from_units(observed.available),
    };
    let quantity = threshold.value.of(observed.capacity);
    Some(Starved { signal: threshold.signal, hard: threshold.grace.is_zero(), quantity, available })
}

#[cfg(test)]
mod tests {
    use super::{super::options::EvictionFlags, *};

    const PERIOD: Duration = Duration::from_secs(300);

    /// Judges what is available at these times, in seconds and Mi of 1000, and tells what came of it.
    fn play(flags: EvictionFlags<'_>, seen: &[(u64, Signal, i64)]) -> Vec<(Vec<Condition>, Option<bool>, Option<u64>)> {
        let thresholds = flags.parse().unwrap().thresholds;
        let mut pressure = Pressure::default();
        let steps = seen.iter().map(|&(second, signal, available)| {
            let seen = [(signal, Observation { available: available << 20, capacity: 1000 << 20 })].into();
            let judged = pressure.judge(&thresholds, PERIOD, &seen, MonoTime(Duration::from_secs(second)));
            (judged.conditions, judged.starved.map(|starved| starved.hard), judged.next.map(|next| next.0.as_secs()))
        });
        steps.collect()
    }

    #[test]
    fn s4_56_a_hard_threshold_counts_at_once_and_its_condition_stays_for_a_while() {
        let flags = EvictionFlags { hard: "memory.available<100Mi", ..EvictionFlags::default() };
        let seen = [0, 10, 20, 309, 310].map(|second| (second, Signal::Memory, if second == 10 { 99 } else { 100 }));
        let memory = vec![Condition::Memory];
        let want = [
            (vec![], None, None),
            (memory.clone(), Some(true), None),
            (memory.clone(), None, Some(310)),
            (memory, None, Some(310)),
            (vec![], None, None),
        ];
        assert_eq!(play(flags, &seen), want);
    }

    #[test]
    fn s4_56_a_soft_threshold_waits_for_its_grace_while_the_condition_shows_at_once() {
        let flags = EvictionFlags {
            soft: "nodefs.available<10%",
            soft_grace_period: "nodefs.available=30s",
            ..EvictionFlags::default()
        };
        let seen = [(0, 50), (10, 100), (20, 50), (49, 50), (50, 50)].map(|(at, mib)| (at, Signal::NodeFs, mib));
        let disk = vec![Condition::Disk];
        let want = [
            (disk.clone(), None, Some(30)),
            // One tenth in 32 bits is a little more than a tenth.
            (disk.clone(), None, Some(30)),
            (disk.clone(), None, Some(30)),
            (disk.clone(), Some(false), None),
            (disk, Some(false), None),
        ];
        assert_eq!(play(flags, &seen), want);
        let interrupted = [(0, 50), (10, 101), (20, 50)].map(|(at, mib)| (at, Signal::NodeFs, mib));
        assert_eq!(play(flags, &interrupted)[2].2, Some(50), "the grace begins anew");
    }

    #[test]
    fn s4_56_what_was_starved_is_so_until_the_minimum_is_reclaimed() {
        let flags = EvictionFlags {
            hard: "memory.available<100Mi",
            minimum_reclaim: "memory.available=50Mi",
            ..EvictionFlags::default()
        };
        let seen = [(0, 120), (1, 90), (2, 149), (3, 150), (4, 120)].map(|(at, mib)| (at, Signal::Memory, mib));
        let starved: Vec<_> = play(flags, &seen).into_iter().map(|(_, starved, _)| starved.is_some()).collect();
        assert_eq!(starved, [false, true, true, false, false]);
    }

    #[test]
    fn s4_56_memory_comes_first_and_amounts_are_written_as_they_were_given() {
        let flags =
            EvictionFlags { hard: "pid.available<10,nodefs.inodesFree<5k,memory.available<1Gi", ..Default::default() };
        let thresholds = flags.parse().unwrap().thresholds;
        let little = Observation { available: 3 << 20, capacity: 1 << 30 };
        let mut seen = Observations::from([
            (Signal::Memory, little),
            (Signal::NodeFsInodes, Observation { available: 4000, ..little }),
        ]);
        let judge = |seen: &Observations| {
            let starved = Pressure::default().judge(&thresholds, PERIOD, seen, MonoTime(Duration::ZERO)).starved;
            starved.map(|s| (s.signal, s.quantity.to_string(), s.available.to_string()))
        };
        assert_eq!(judge(&seen), Some((Signal::Memory, "1Gi".to_owned(), "3Mi".to_owned())));
        seen.remove(&Signal::Memory);
        assert_eq!(judge(&seen), Some((Signal::NodeFsInodes, "5k".to_owned(), "4k".to_owned())));
        seen.clear();
        assert_eq!(judge(&seen), None, "what cannot be measured meets no threshold");
        assert!(is_enough(&thresholds, &seen));
    }
}
