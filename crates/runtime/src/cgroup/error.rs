//! Errors of the cgroup module.

use std::{io, path::PathBuf, time::Duration};

/// Result of a cgroup operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a cgroup operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(clippy::error_impl_error, reason = "always used with its module's name")]
pub enum Error {
    /// No cgroup file system is mounted.
    #[error("no cgroup file system is mounted")]
    NotMounted,
    /// A name would leave the place it is meant for.
    #[error("invalid cgroup name {name:?}")]
    InvalidName {
        /// As given.
        name: String,
    },
    /// A file of the cgroup file system could not be used.
    #[error("couldn't {action} {}", path.display())]
    Io {
        /// What was being done: `read`, `write "max" to`, `create`, …
        action: String,
        /// The file or directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A limit was asked for that this machine cannot enforce here.
    #[error(
        "couldn't set {limit} of cgroup {}: the {controller} controller is not available (not mounted, or not delegated)",
        group.display()
    )]
    Unsupported {
        /// What was asked for.
        limit: &'static str,
        /// The cgroup, relative to its hierarchies.
        group: PathBuf,
        /// The missing controller.
        controller: &'static str,
    },
    /// Processes did not die in time.
    #[error("processes of cgroup {} still live {waited:?} after SIGKILL", group.display())]
    Busy {
        /// The cgroup, relative to its hierarchies.
        group: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The kernel refused the device filter.
    #[error("couldn't {action} the device filter of cgroup {}", path.display())]
    DeviceFilter {
        /// What was being done.
        action: &'static str,
        /// The cgroup's directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}
