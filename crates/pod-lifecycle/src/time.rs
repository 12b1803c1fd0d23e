//! Time as data: the machine never reads a clock.

use std::{ops, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff};
use serde::{Deserialize, Serialize};

/// Monotonic time: the time since the agent's start. Serialisable, so that inputs can be replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MonoTime(pub Duration);

/// Wall-clock time: nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// The present, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Never goes back; deadlines are on this clock.
    pub mono: MonoTime,
    /// What statuses show; may jump.
    pub wall: Timestamp,
}

impl ops::Add<Duration> for MonoTime {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl ops::Sub for MonoTime {
    type Output = Duration;

    /// Returns the time from `rhs` to `self`, zero if `rhs` is later.
    fn sub(self, rhs: Self) -> Duration {
        self.0.saturating_sub(rhs.0)
    }
}

impl Timestamp {
    /// Returns the time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns the form of Kubernetes objects, which has whole seconds only (contract S5-07).
    pub fn to_k8s(self) -> Time {
        Time(jiff::Timestamp::from_second(self.0.div_euclid(NANOS)).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Reads the form of Kubernetes objects.
    pub fn from_k8s(time: &Time) -> Self {
        Self(time.0.as_second().saturating_mul(NANOS))
    }
}

impl Now {
    /// Translates a wall-clock time of the past to the monotonic clock; the future counts as now.
    pub(crate) fn mono_of(self, wall: Timestamp) -> MonoTime {
        MonoTime(self.mono.0.saturating_sub(self.wall.since(wall)))
    }
}

const NANOS: i64 = 1_000_000_000;
