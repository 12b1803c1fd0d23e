//! What a shim needs of control groups.

use std::io;

use crate::container::rootfs::Root;

/// The group of one container.
#[derive(Debug, Default)]
pub(crate) struct Group {}

impl Group {
    /// Moves the calling process into the group.
    pub(crate) fn join(&self) -> io::Result<()> {
        Ok(())
    }

    /// Shows the container its own part of the hierarchy.
    pub(crate) fn mount_in(&self, _root: &Root, _read_only: bool) -> Result<(), String> {
        Ok(())
    }

    /// Returns how often the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        0
    }

    /// Kills every process of the group.
    pub(crate) fn kill_all(&self) {}

    /// Removes the group.
    pub(crate) fn remove(&self) {}
}
