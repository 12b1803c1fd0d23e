//! Time as data: the machine never reads a clock.

use std::{ops, time::Duration};

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
