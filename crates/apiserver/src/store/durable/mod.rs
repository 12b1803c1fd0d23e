//! What survives the process: an append-only log of changes, and snapshots that keep it short.
//!
//! ```text
//! commit (memory, under the lock) -> queue -> committer: one frame, one sync for all that has come
//!         -> durable revision -> answers and watches that waited for it
//! ```
//!
//! Files are numbered by generation. `N.snapshot` is the dataset of a moment after `N.log` was begun, so a
//! snapshot and all logs from its number on give the dataset; without a snapshot, logs begin at 1. A file gets
//! its name only when its content is on disk, and a log is begun only when the one before is on disk whole. So
//! only the end of the newest log can be torn, and everything else that cannot be read is damage.
//!
//! Guarantees: what [`Log::settled`] has let through survives power loss. Assumptions: the device writes sectors
//! of 512 bytes whole or not at all, and what a file system adds to a file reads as zeros until it is written.

mod committer;
mod compaction;
mod disk;
mod error;
mod format;
mod recovery;

pub(crate) use committer::{Entry, Log, TakeImage};
pub(crate) use compaction::{CompactionLimits, Image};
pub(crate) use disk::{DataDir, Disk};
pub use error::{OpenError, StoreFailure};
pub(crate) use recovery::{Recovered, recover};

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
pub(crate) mod sim;
#[cfg(test)]
mod tests;
