//! Why a layer is refused.

use std::io;

/// Why unpacking a layer ended.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The stream cannot be read: damaged, cut short, not a tar archive, or larger than allowed.
    #[error("reading the layer")]
    Read(#[source] io::Error),
    /// An entry is not acceptable.
    #[error("refused entry {path:?}: {reason}")]
    Refused {
        /// As in the archive.
        path: String,
        /// Why.
        reason: Refusal,
    },
    /// An entry could not be written.
    #[error("writing entry {path:?}")]
    Write {
        /// As in the archive.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There are more files than allowed.
    #[error("the image has more than {limit} files")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The path starts with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// The path has a `..`.
    #[error("the path contains \"..\"")]
    Parent,
    /// The path names nothing: empty, or a NUL byte in it.
    #[error("the path is not a file name")]
    NotAName,
    /// The path or one of its components is longer than Linux allows.
    #[error("the path is too long")]
    TooLong,
    /// The path has too many directories.
    #[error("the path is too deep")]
    TooDeep,
    /// A directory of the path is a symbolic link that leads out of the image.
    #[error("a symbolic link leads out of the image")]
    LeadsOut,
    /// A directory of the path is something else.
    #[error("a part of the path is not a directory")]
    NotADirectory,
    /// A hard link whose target is a directory or missing.
    #[error("the target of the hard link is not a file of this layer")]
    LinkTarget,
    /// A block or character device.
    #[error("device files are not allowed")]
    Device,
    /// The owner is no user id of Linux.
    #[error("the owner is out of range")]
    Owner,
    /// An entry type that is not known.
    #[error("unknown entry type {0}")]
    Kind(u8),
}
