//! Errors of the runtime, with the distinctions that a pod status shows.

/// Result of a runtime call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of object was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A sandbox.
    Sandbox,
    /// A container.
    Container,
    /// An image.
    Image,
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sandbox => "sandbox",
            Self::Container => "container",
            Self::Image => "image",
        })
    }
}

/// Why a runtime call failed. `Display` gives one sentence fit for a pod status or event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The object does not exist (any more).
    #[error("{kind} {id:?} not found")]
    NotFound {
        /// Kind of object.
        kind: ObjectKind,
        /// Id or name as asked for.
        id: String,
    },
    /// The image's name is not a valid reference.
    #[error("couldn't parse image name {image:?}: {message}")]
    InvalidImageName {
        /// As given.
        image: String,
        /// What is wrong.
        message: String,
    },
    /// The registry could not be reached or did not answer as a registry does.
    #[error("failed to pull image {image:?}: {message}")]
    RegistryUnavailable {
        /// Full reference.
        image: String,
        /// What happened.
        message: String,
    },
    /// The image could not be had: unknown, refused, broken.
    #[error("failed to pull image {image:?}: {message}")]
    PullFailed {
        /// Full reference.
        image: String,
        /// What happened.
        message: String,
    },
    /// The process could not be started: no such file, not executable, bad working directory, bad user.
    #[error("{message}")]
    StartFailed {
        /// What the user should read.
        message: String,
    },
    /// The request cannot be carried out in the present state (exec in a stopped container, say).
    #[error("{message}")]
    FailedPrecondition {
        /// What is in the way.
        message: String,
    },
    /// The configuration is refused.
    #[error("{message}")]
    InvalidArgument {
        /// Which part, and why.
        message: String,
    },
    /// Something that the runtime depends on failed.
    #[error("{message}")]
    Internal {
        /// What was being done, to which object, and the causes.
        message: String,
    },
}
