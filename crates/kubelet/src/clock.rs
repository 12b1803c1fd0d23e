//! The only place that reads the time for the engine.

use std::time::Instant;

use pod_lifecycle::{MonoTime, Now, Timestamp};

/// Both clocks, counted from the agent's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Returns the present.
    pub(crate) fn now(&self) -> Now {
        Now { mono: MonoTime(self.origin.elapsed()), wall: Timestamp(wall_nanos()) }
    }

    /// Returns the instant at which the engine's clock shows `at`.
    pub(crate) fn instant(&self, at: MonoTime) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + at.0)
    }
}

/// Returns nanoseconds since the Unix epoch.
pub(crate) fn wall_nanos() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Turns nanoseconds since the epoch into an API time with whole seconds.
pub(crate) fn api_time(nanos: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    let seconds = nanos.div_euclid(1_000_000_000);
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::from_second(seconds).unwrap_or_default())
}
