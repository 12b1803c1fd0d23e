//! Images: identity, metadata that starting a container depends on, credentials.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// The user an image wants its containers to run as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageUser {
    /// Nothing said: root.
    #[default]
    Unset,
    /// A number.
    Uid(u32),
    /// A name, to be looked up in the image's `/etc/passwd`.
    Name(String),
}

/// What is known of a stored image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Digest of its configuration: `sha256:…`.
    pub id: String,
    /// Full names with tag: `docker.io/library/busybox:1.37.0`.
    pub repo_tags: Vec<String>,
    /// Full names with manifest digest.
    pub repo_digests: Vec<String>,
    /// Size of its compressed layers and configuration in bytes.
    pub size: u64,
    /// User of its containers.
    pub user: ImageUser,
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, as `NAME=value`.
    pub env: Vec<String>,
    /// `WorkingDir`.
    pub working_dir: String,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
    /// Put into the store by hand: not removed by garbage collection, and used without asking a registry.
    pub pinned: bool,
}

/// An image that no container is made of, and that nobody put into the store by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedImage {
    /// Digest of its configuration.
    pub id: String,
    /// When it was pulled, or the last container of it was made or removed: whichever came last.
    pub used_at: Nanos,
}

/// What came of removing an unused image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, with what only it had.
    Removed,
    /// It has come into use, or is not there: nothing was done.
    Used,
    /// Somebody pulls or loads an image and may count on what this one has: nothing was done.
    Busy,
}

/// Credentials for one registry. Its `Debug` hides the secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum ImageAuth {
    /// User name and password.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

impl std::fmt::Debug for ImageAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Basic { username, .. } => {
                write!(f, "Basic {{ username: {username:?}, password: … }}")
            }
            Self::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}
