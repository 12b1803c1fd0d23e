//! The clock of the controllers: they ask for the time and for being woken at a time, nothing else.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

/// Tells the wall time and waits for it.
///
/// Deadlines of the Kubernetes API (schedules, back-off, time to live) are wall times, so waiting
/// is for a wall time too. An implementation must notice when the wall clock is set.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the wall time.
    fn now(&self) -> Timestamp;

    /// Completes when the wall time is `deadline` or later. It may complete earlier; the caller
    /// looks at the time again and waits on.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()>;
}

/// The clock that everybody shares.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

/// Longest uninterrupted wait. The monotonic clock stands still while a machine is suspended, and
/// somebody may set the wall clock: a far deadline is looked at again this often.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let left = Duration::try_from(deadline.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::time::sleep(left.min(LONGEST_WAIT)).boxed()
    }
}
