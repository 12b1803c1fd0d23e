//! Why a store cannot be opened, and why it stops.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store in a data directory could not be opened. Nothing that was stored has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server works on the directory.
    #[error("the data directory {} is in use by the server with process ID {pid}", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// What the other server wrote into its lock file: its process ID.
        pid: String,
    },
    /// The operating system refused something.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done, such as `reading`.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why it did not work.
        source: io::Error,
    },
    /// A file holds something else than what was once on disk.
    #[error(
        "the store file {} is damaged at byte {offset}: {what}; nothing was changed: restore the data directory from \
         a backup, or move it away to start with an empty one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes from its beginning.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file that must be there is not.
    #[error(
        "the store file {} is missing; nothing was changed: restore the data directory from a backup, or move it away \
         to start with an empty one",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A later version has written the file.
    #[error(
        "the store file {} has format {found}, but this version reads no format after {known}: use the version that \
         wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format version.
        found: u32,
        /// The last format version that can be read.
        known: u32,
    },
}

/// Why the store takes no more: it was closed, or a write did not reach the disk. After that, what the disk holds
/// is known only when it is opened again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store takes no more: {cause}")]
pub struct StoreFailure {
    pub(super) cause: Arc<str>,
}
