//! What a container sees at `/sys/fs/cgroup`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::group::Group;

/// How to build `/sys/fs/cgroup` in a container. All of it is to be mounted read-only, with `nosuid`,
/// `nodev`, `noexec`: a writable one lets the container lift its own limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerView {
    /// Enter a new cgroup namespace after joining the cgroup, and mount `cgroup2` there.
    V2,
    /// Mount a tmpfs, make these directories in it and bind the sources there, then make the tmpfs
    /// read-only.
    V1(Vec<V1Mount>),
}

/// One v1 hierarchy in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1Mount {
    /// Directory below `/sys/fs/cgroup`: `memory`, `cpu,cpuacct`, `systemd`.
    pub name: String,
    /// The container's own cgroup in that hierarchy, on the host; to be bound there.
    pub source: PathBuf,
    /// Names below `/sys/fs/cgroup` to be made as symbolic links to `name` (`cpu`, `cpuacct`).
    pub links: Vec<String>,
}

pub(super) fn of(group: &Group) -> ContainerView {
    if group.cgroups().is_unified() {
        return ContainerView::V2;
    }
    let mounts = group.cgroups().v1.iter().map(|hierarchy| V1Mount {
        name: hierarchy.controllers.iter().map(|name| plain(name)).collect::<Vec<_>>().join(","),
        source: hierarchy.mount.join(group.path()),
        links: match hierarchy.controllers.as_slice() {
            [_] => Vec::new(),
            several => several.iter().map(|name| plain(name).to_owned()).collect(),
        },
    });
    ContainerView::V1(mounts.collect())
}

/// Strips the mark of a hierarchy without controllers.
fn plain(controller: &str) -> &str {
    controller.strip_prefix("name=").unwrap_or(controller)
}
