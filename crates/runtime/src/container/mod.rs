//! One container: from a specification to an executed program.
//!
//! All of this runs in a child of the shim that has one thread and no way back: it sets itself up, says
//! that it is ready, waits for the word, and executes the program.

pub(crate) mod caps;
pub(crate) mod group;
pub(crate) mod init;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod resolve;
pub(crate) mod rootfs;
pub(crate) mod seccomp;
pub(crate) mod sources;
pub(crate) mod user;
pub(crate) mod users;

use std::{collections::BTreeMap, path::PathBuf};

use cri::{ContainerConfig, ContainerId, ImageUser, Nanos};
use serde::{Deserialize, Serialize};

/// Everything the shim needs to make a container: the configuration, with the image's part worked in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    /// Its id.
    pub(crate) id: ContainerId,
    /// When it was asked for.
    pub(crate) created_at: Nanos,
    /// As given by the caller.
    pub(crate) config: ContainerConfig,
    /// Image id, for the status.
    pub(crate) image_ref: String,
    /// The image's user, looked up inside its root file system.
    pub(crate) image_user: ImageUser,
    /// Unpacked layers, topmost first.
    pub(crate) layers: Vec<PathBuf>,
    /// Layers of images that are mounted as volumes, by image id.
    pub(crate) image_volumes: BTreeMap<String, Vec<PathBuf>>,
    /// Program and arguments.
    pub(crate) args: Vec<String>,
    /// Complete environment but for `HOME`, as `NAME=value`.
    pub(crate) env: Vec<String>,
    /// Working directory.
    pub(crate) cwd: String,
    /// Signal that asks it to end.
    pub(crate) stop_signal: i32,
}
