//! What can go wrong with images, and how it is told over the runtime interface.

use std::{io, path::PathBuf};

use super::unpack::UnpackError;

/// Why an operation of the image store failed.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::error_impl_error, reason = "used as `image::Error`, like the errors of the other modules")]
pub enum Error {
    /// The file system refused.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done, fit to stand before the path.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is no image archive.
    #[error("{} is neither a `docker save` archive nor an OCI image layout", path.display())]
    UnknownFormat {
        /// The archive.
        path: PathBuf,
    },
    /// The archive is incomplete or contradicts itself.
    #[error("image archive {}: {reason}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A layer was refused; nothing of it remains.
    #[error("unpacking layer {layer}")]
    Layer {
        /// Its `sha256:…` after decompression.
        layer: String,
        /// Why.
        source: UnpackError,
    },
    /// Content is not what its digest promises.
    #[error("digest of {what} is {actual}, expected {expected}")]
    Digest {
        /// Which content.
        what: String,
        /// As promised.
        expected: String,
        /// As computed.
        actual: String,
    },
    /// The image is made for other machines.
    #[error("no image for {wanted} in {what}, only for {found}")]
    Platform {
        /// Image or archive.
        what: String,
        /// This machine.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// A manifest or configuration cannot be understood.
    #[error("{what}: {reason}")]
    Document {
        /// Which one.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The name is no image reference.
    #[error("couldn't parse image name {image:?}: {message}")]
    InvalidName {
        /// As given.
        image: String,
        /// What is wrong.
        message: String,
    },
    /// A lease owner's id cannot be used as a file name.
    #[error("invalid lease owner {owner:?}: must be 1 to 200 characters of A-Z a-z 0-9 - _ .")]
    InvalidOwner {
        /// As given.
        owner: String,
    },
    /// The image is not in the store.
    #[error("image {image:?} not found")]
    NotFound {
        /// As asked for.
        image: String,
    },
    /// The store's own files cannot be understood.
    #[error("image store file {}: {reason}; remove the image store's directory and load the images again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl From<Error> for cri::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidName { image, message } => Self::InvalidImageName { image, message },
            Error::NotFound { image } => Self::NotFound { kind: cri::ObjectKind::Image, id: image },
            Error::InvalidOwner { .. } => Self::InvalidArgument { message: error.to_string() },
            Error::Io { .. }
            | Error::UnknownFormat { .. }
            | Error::Archive { .. }
            | Error::Layer { .. }
            | Error::Digest { .. }
            | Error::Platform { .. }
            | Error::Document { .. }
            | Error::Damaged { .. } => Self::Internal { message: error.chain() },
        }
    }
}
