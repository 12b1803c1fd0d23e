//! Flags about a machine that runs short of something: the kubelet's, with its values.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use kubelet::{EvictionFlags, EvictionOptions, ImageGcOptions};

use crate::error::CommandError;

/// When pods are evicted.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Eviction, as by a kubelet")]
pub(crate) struct Eviction {
    /// Evict pods at once when there is less than this
    ///
    /// By default memory.available<100Mi; served nodes also nodefs.available<1Gi, nodefs.inodesFree<5%,
    /// imagefs.available<1Gi and imagefs.inodesFree<5%. Signals: memory.available, nodefs.available, nodefs.inodesFree, imagefs.available,
    /// imagefs.inodesFree, pid.available. An empty value evicts for nothing.
    #[arg(long, value_name = "SIGNAL<AMOUNT,…")]
    eviction_hard: Option<String>,

    /// Evict pods when there has been less than this for a while
    #[arg(long, default_value = "", hide_default_value = true, value_name = "SIGNAL<AMOUNT,…")]
    eviction_soft: String,

    /// How long that while is
    #[arg(long, default_value = "", hide_default_value = true, value_name = "SIGNAL=TIME,…")]
    eviction_soft_grace_period: String,

    /// How much more there must be before it is enough again
    #[arg(long, default_value = "", hide_default_value = true, value_name = "SIGNAL=AMOUNT,…")]
    eviction_minimum_reclaim: String,

    /// Seconds that pods evicted by a soft threshold have at most
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    eviction_max_pod_grace_period: u32,

    /// How long the node shows a pressure after it has gone
    #[arg(long, default_value = "5m0s", value_name = "TIME", value_parser = duration)]
    eviction_pressure_transition_period: Duration,
}

impl Eviction {
    /// Reads the flags. `hard` are the hard thresholds if none are given.
    pub(crate) fn options(&self, hard: &str) -> Result<EvictionOptions, CommandError> {
        let flags = EvictionFlags {
            hard: self.eviction_hard.as_deref().unwrap_or(hard),
            soft: &self.eviction_soft,
            soft_grace_period: &self.eviction_soft_grace_period,
            minimum_reclaim: &self.eviction_minimum_reclaim,
        };
        let mut options = flags.parse().context("reading the eviction thresholds").map_err(CommandError::usage)?;
        options.max_pod_grace = Duration::from_secs(self.eviction_max_pod_grace_period.into());
        options.transition_period = self.eviction_pressure_transition_period;
        Ok(options)
    }
}

/// When images are removed that nobody uses.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Removal of unused images, as by a kubelet; loaded ones stay")]
pub(crate) struct ImageGc {
    /// Per cent of the disk in use from which on they are removed; 100: only before pods would have to go
    #[arg(long, default_value_t = 100, value_name = "PER CENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    image_gc_high_threshold: u8,

    /// Per cent in use down to which they are removed then
    #[arg(long, default_value_t = 80, value_name = "PER CENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    image_gc_low_threshold: u8,

    /// How long they must have been unused
    #[arg(long, default_value = "2m0s", value_name = "TIME", value_parser = duration)]
    minimum_image_ttl_duration: Duration,
}

impl ImageGc {
    /// Reads the flags.
    pub(crate) fn options(&self) -> Result<ImageGcOptions, CommandError> {
        let (high_percent, low_percent) = (self.image_gc_high_threshold, self.image_gc_low_threshold);
        if low_percent >= high_percent {
            return Err(CommandError::usage(anyhow!(
                "imageGCLowThresholdPercent (--image-gc-low-threshold) {low_percent} must be less than \
                 imageGCHighThresholdPercent (--image-gc-high-threshold) {high_percent}"
            )));
        }
        Ok(ImageGcOptions { high_percent, low_percent, minimum_age: self.minimum_image_ttl_duration })
    }
}

/// Parses a duration as the kubelet does: `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let nanos = apimachinery::duration::parse(text).and_then(|nanos| u64::try_from(nanos).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| format!("time: invalid duration {text:?}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::{run, serve};

    #[derive(Debug, clap::Parser)]
    struct Flags {
        #[command(flatten)]
        eviction: Eviction,
        #[command(flatten)]
        images: ImageGc,
    }

    #[test]
    fn s4_56_defaults_are_thresholds_and_bad_flags_are_bad_usage() {
        let none = Flags::parse_from(["x"]);
        let options = none.eviction.options(serve::DEFAULT_EVICTION_HARD).unwrap();
        assert_eq!((options.max_pod_grace, options.transition_period), (Duration::ZERO, Duration::from_secs(300)));
        assert_ne!(none.eviction.options(run::DEFAULT_EVICTION_HARD).unwrap(), options);
        let images = ImageGcOptions { high_percent: 100, low_percent: 80, minimum_age: Duration::from_secs(120) };
        assert_eq!(none.images.options().unwrap(), images);
        let error = |args: &[&str]| {
            let flags = Flags::parse_from([&["x"], args].concat());
            flags.eviction.options("").err().or_else(|| flags.images.options().err()).unwrap().to_string()
        };
        let text = "error: reading the eviction thresholds\n  because: unsupported eviction signal disk";
        assert_eq!(error(&["--eviction-hard", "disk<1"]), text);
        assert!(
            error(&["--image-gc-low-threshold", "100"]).contains("(--image-gc-low-threshold) 100 must be less than")
        );
    }
}
