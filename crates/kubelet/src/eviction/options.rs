//! What the node evicts pods for, in the notation of the kubelet's flags (pkg/kubelet/eviction/helpers.go
//! `ParseThresholdConfig`).

use std::{collections::BTreeMap, time::Duration};

use apimachinery::{duration, quantity::Quantity};

/// When pods have to go for the node's sake, and when images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvictionOptions {
    pub(crate) thresholds: Vec<Threshold>,
    /// Longest grace of a pod that is evicted by a soft threshold.
    pub max_pod_grace: Duration,
    /// How long a condition of the node stays after it was last true.
    pub transition_period: Duration,
    /// When images are removed; `None`: never.
    pub images: Option<ImageGcOptions>,
}

/// When images that nobody uses are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageGcOptions {
    /// Per cent of their file system in use from which on they are removed; 100: only if pods would have to go else.
    pub high_percent: u8,
    /// Per cent that shall be in use then.
    pub low_percent: u8,
    /// How long they must have been unused.
    pub minimum_age: Duration,
}

/// Values of the kubelet's flags.
#[derive(Debug, Clone, Copy, Default)]
pub struct EvictionFlags<'a> {
    /// `--eviction-hard`: `memory.available<100Mi,nodefs.available<10%`.
    pub hard: &'a str,
    /// `--eviction-soft`, in the same notation.
    pub soft: &'a str,
    /// `--eviction-soft-grace-period`: `memory.available=1m30s`.
    pub soft_grace_period: &'a str,
    /// `--eviction-minimum-reclaim`: `imagefs.available=2Gi`.
    pub minimum_reclaim: &'a str,
}

/// Why flags cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvictionFlagError(String);

impl EvictionFlags<'_> {
    /// Reads the thresholds.
    ///
    /// # Errors
    /// In the kubelet's words, when one is malformed or a soft one has no grace period.
    pub fn parse(&self) -> Result<EvictionOptions, EvictionFlagError> {
        let mut thresholds = parse_thresholds(self.hard)?;
        let graces = parse_each(self.soft_grace_period, '=', parse_grace)?;
        for soft in parse_thresholds(self.soft)? {
            let grace = graces.get(&soft.signal).copied().ok_or_else(|| {
                let signal = soft.signal.name();
                EvictionFlagError(format!("grace period must be specified for the soft eviction threshold {signal}"))
            })?;
            thresholds.push(Threshold { grace, ..soft });
        }
        let reclaims = parse_each(self.minimum_reclaim, '=', parse_reclaim)?;
        for threshold in &mut thresholds {
            threshold.minimum_reclaim = reclaims.get(&threshold.signal).copied();
        }
        Ok(EvictionOptions { thresholds, ..EvictionOptions::default() })
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Memory that is not in use, or can be had back at once.
    Memory,
    /// Bytes of the file system of volumes, logs and what containers write.
    NodeFs,
    /// Files that can be made there.
    NodeFsInodes,
    /// Bytes of the file system of images.
    ImageFs,
    /// Files that can be made there.
    ImageFsInodes,
    /// Processes that can be started.
    Pids,
}

impl Signal {
    const ALL: [Self; 6] =
        [Self::Memory, Self::NodeFs, Self::NodeFsInodes, Self::ImageFs, Self::ImageFsInodes, Self::Pids];

    /// Returns what it is called in flags.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::NodeFs => "nodefs.available",
            Self::NodeFsInodes => "nodefs.inodesFree",
            Self::ImageFs => "imagefs.available",
            Self::ImageFsInodes => "imagefs.inodesFree",
            Self::Pids => "pid.available",
        }
    }

    /// Finds a signal. File systems of writable layers alone (`containerfs`) are known and, as by the kubelet, ignored:
    /// their thresholds are those of `nodefs`.
    fn parse(name: &str) -> Result<Option<Self>, EvictionFlagError> {
        if matches!(name, "containerfs.available" | "containerfs.inodesFree") {
            tracing::warn!("threshold of {name} ignored: that of nodefs holds");
            return Ok(None);
        }
        let found = Self::ALL.into_iter().find(|signal| signal.name() == name);
        found.map(Some).ok_or_else(|| EvictionFlagError(format!("unsupported eviction signal {name}")))
    }
}

/// From when on a signal tells of want.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) signal: Signal,
    /// Less than this is too little.
    pub(crate) value: Amount,
    /// How long it must have been too little; zero: hard.
    pub(crate) grace: Duration,
    /// How much more there must be before it is enough again.
    pub(crate) minimum_reclaim: Option<Amount>,
}

/// So much, or such a part of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    Absolute(Quantity),
    /// Between 0 and 1, as exact as the kubelet's.
    Share(f32),
}

impl Amount {
    /// Returns how much it is of a capacity.
    pub(crate) fn of(self, capacity: i64) -> Quantity {
        match self {
            Self::Absolute(quantity) => quantity,
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as the kubelet computes")]
            Self::Share(share) => Quantity::from_bytes((capacity as f64 * f64::from(share)) as i64),
        }
    }
}

fn parse_thresholds(text: &str) -> Result<Vec<Threshold>, EvictionFlagError> {
    let values = parse_each(text, '<', parse_value)?;
    let thresholds = values.into_iter().filter_map(|(signal, value)| {
        Some(Threshold { signal, value: value?, grace: Duration::ZERO, minimum_reclaim: None })
    });
    Ok(thresholds.collect())
}

/// Reads pairs of signal and value. Of two of one signal the later counts.
fn parse_each<T>(
    text: &str,
    separator: char,
    parse: impl Fn(Signal, &str) -> Result<T, EvictionFlagError>,
) -> Result<BTreeMap<Signal, T>, EvictionFlagError> {
    let mut all = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once(separator)
            .ok_or_else(|| EvictionFlagError(format!("malformed pair, expect string{separator}string")))?;
        if let Some(signal) = Signal::parse(name.trim())? {
            all.insert(signal, parse(signal, value.trim())?);
        }
    }
    Ok(all)
}

/// Reads a threshold; `None`: 0% and 100% mean none.
fn parse_value(signal: Signal, text: &str) -> Result<Option<Amount>, EvictionFlagError> {
    let name = signal.name();
    if matches!(text, "0%" | "100%") {
        return Ok(None);
    }
    match parse_amount(text)? {
        Amount::Share(share) if share < 0.0 => {
            Err(EvictionFlagError(format!("eviction percentage threshold {name} must be >= 0%: {text}")))
        }
        Amount::Share(share) if share > 1.0 => {
            Err(EvictionFlagError(format!("eviction percentage threshold {name} must be <= 100%: {text}")))
        }
        Amount::Absolute(quantity) if quantity.is_negative() || quantity.is_zero() => {
            Err(EvictionFlagError(format!("eviction threshold {name} must be positive: {quantity}")))
        }
        amount @ (Amount::Absolute(_) | Amount::Share(_)) => Ok(Some(amount)),
    }
}

fn parse_reclaim(signal: Signal, text: &str) -> Result<Amount, EvictionFlagError> {
    let name = signal.name();
    match parse_amount(text)? {
        Amount::Share(share) if share <= 0.0 => {
            Err(EvictionFlagError(format!("eviction percentage minimum reclaim {name} must be positive: {text}")))
        }
        Amount::Absolute(quantity) if quantity.is_negative() => {
            Err(EvictionFlagError(format!("negative eviction minimum reclaim specified for {name}")))
        }
        amount @ (Amount::Absolute(_) | Amount::Share(_)) => Ok(amount),
    }
}

fn parse_amount(text: &str) -> Result<Amount, EvictionFlagError> {
    let Some(number) = text.strip_suffix('%') else {
        return text.parse().map(Amount::Absolute).map_err(|e| EvictionFlagError(format!("{e}: {text:?}")));
    };
    let percent = number.parse::<f32>().ok().filter(|percent| percent.is_finite());
    let invalid = || EvictionFlagError(format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"));
    percent.map(|percent| Amount::Share(percent / 100.0)).ok_or_else(invalid)
}

fn parse_grace(_: Signal, text: &str) -> Result<Duration, EvictionFlagError> {
    let nanos = duration::parse(text).ok_or_else(|| EvictionFlagError(format!("time: invalid duration {text:?}")))?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| {
        EvictionFlagError(format!("invalid eviction grace period specified: {text}, must be a positive value"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(hard: &str, soft: &str, soft_grace_period: &str, minimum_reclaim: &str) -> Result<Vec<Threshold>, String> {
        let flags = EvictionFlags { hard, soft, soft_grace_period, minimum_reclaim };
        flags.parse().map(|options| options.thresholds).map_err(|e| e.to_string())
    }

    #[test]
    fn s4_56_thresholds_are_amounts_or_parts_soft_ones_with_a_grace() {
        let thresholds = parse(
            "memory.available<100Mi,nodefs.available<10%,imagefs.available<0%,containerfs.available<1Gi",
            "memory.available<1.5Gi",
            "memory.available=1m30s",
            "memory.available=50%",
        );
        let thresholds = thresholds.unwrap();
        let shown: Vec<_> =
            thresholds.iter().map(|t| (t.signal.name(), t.value.of(1 << 30), t.grace.as_secs())).collect();
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        let want = [
            ("memory.available", quantity("100Mi"), 0),
            // A tenth is not exact in the 32 bits that the kubelet takes for it.
            ("nodefs.available", quantity("107374184"), 0),
            ("memory.available", quantity("1536Mi"), 90),
        ];
        assert_eq!(shown, want);
        assert_eq!(thresholds[0].minimum_reclaim, Some(Amount::Share(0.5)));
        assert_eq!(parse("", "", "", ""), Ok(vec![]));
    }

    #[test]
    fn s4_56_flags_that_say_nothing_clear_are_refused_in_the_kubelets_words() {
        let cases = [
            ("memory.available=1Gi", "", "", "malformed pair, expect string<string"),
            ("memory<1Gi", "", "", "unsupported eviction signal memory"),
            ("memory.available<-5%", "", "", "eviction percentage threshold memory.available must be >= 0%: -5%"),
            ("memory.available<105%", "", "", "eviction percentage threshold memory.available must be <= 100%: 105%"),
            ("memory.available<0", "", "", "eviction threshold memory.available must be positive: 0"),
            ("memory.available<x%", "", "", r#"strconv.ParseFloat: parsing "x": invalid syntax"#),
            (
                "",
                "pid.available<10%",
                "memory.available=1m",
                "grace period must be specified for the soft eviction threshold pid.available",
            ),
            (
                "",
                "pid.available<10%",
                "pid.available=-1m",
                "invalid eviction grace period specified: -1m, must be a positive value",
            ),
            ("", "pid.available<10%", "pid.available=1", r#"time: invalid duration "1""#),
        ];
        for (hard, soft, grace, want) in cases {
            assert_eq!(parse(hard, soft, grace, ""), Err(want.to_owned()), "{hard} {soft}");
        }
        let reclaim = |text: &str| parse("", "", "", text).unwrap_err();
        assert_eq!(
            reclaim("memory.available=-1Gi"),
            "negative eviction minimum reclaim specified for memory.available"
        );
        let text = "eviction percentage minimum reclaim memory.available must be positive: 0%";
        assert_eq!(reclaim("memory.available=0%"), text);
    }
}
