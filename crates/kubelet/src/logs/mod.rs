//! Container logs: files in CRI format, one per instance (contract S11-26).

mod line;
mod read;
mod select;
mod tail;

pub use read::read;
pub use select::LogError;
pub(crate) use tail::last_lines;

use jiff::Timestamp;

/// Which part of a log is wanted, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on until the container has ended.
    pub follow: bool,
    /// The instance before the present one; looked at by [`crate::Kubelet::container_logs`] only.
    pub previous: bool,
    /// Lines from this time on.
    pub since: Option<Timestamp>,
    /// Only so many last lines.
    pub tail_lines: Option<u64>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
}
