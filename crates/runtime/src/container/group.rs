//! A container's cgroup, as the shim and its children use it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use cri::Resources;
use rustix::{mount::MountAttrFlags, thread::UnshareFlags};

use super::{
    resolve::open_in,
    rootfs::{INERT, Root, clone_tree, new_file_system},
};
use crate::{
    cgroup::{self, ContainerCgroup, ContainerView, DeviceRule, PodCgroup, V1Mount},
    sys,
};

/// Where containers expect it.
const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The cgroup of one container.
#[derive(Debug)]
pub(crate) struct Group {
    cgroup: ContainerCgroup,
    /// For being born into it, where that is possible.
    directory: Option<OwnedFd>,
}

impl Group {
    /// Makes the cgroup with its limits.
    pub(crate) fn create(pod: &PodCgroup, id: &str, resources: &Resources, privileged: bool) -> cgroup::Result<Self> {
        let cgroup = ContainerCgroup::create(pod, id, resources)?;
        if !privileged {
            cgroup.restrict_devices(&DeviceRule::STANDARD)?;
        }
        let directory = cgroup.unified_directory()?;
        Ok(Self { cgroup, directory })
    }

    /// Returns what a child is to be cloned into.
    pub(crate) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    /// Moves the calling process in, as far as it was not born here.
    pub(crate) fn join(&self) -> cgroup::Result<()> {
        self.cgroup.join()
    }

    /// Leaves the host's view of the hierarchy for one that begins here, where there is one hierarchy.
    pub(crate) fn enter_namespace(&self) -> io::Result<()> {
        match self.cgroup.container_view() {
            ContainerView::V2 => sys::unshare(UnshareFlags::NEWCGROUP),
            ContainerView::V1(_) => Ok(()),
        }
    }

    /// Opens what the container is to see of the hierarchies.
    pub(crate) fn open_view(&self, read_only: bool) -> Result<View, String> {
        let read_only = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
        let hierarchies = match self.cgroup.container_view() {
            ContainerView::V2 => None,
            ContainerView::V1(mounts) => Some(open_v1(mounts, read_only).map_err(|e| format!("mount cgroups: {e}"))?),
        };
        Ok(View { read_only, hierarchies })
    }

    /// Returns how often the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.cgroup.oom_kills().unwrap_or(0)
    }

    /// Kills every process of the group.
    pub(crate) fn kill_all(&self) {
        // What survives keeps the group from being removed; that is told then.
        let _ = self.cgroup.kill_all();
    }

    /// Removes the group.
    pub(crate) fn remove(&self) -> cgroup::Result<()> {
        self.cgroup.remove()
    }
}

/// The container's own part of the hierarchies.
pub(crate) struct View {
    read_only: MountAttrFlags,
    /// `None`: there is one hierarchy, shown as the cgroup namespace has it.
    hierarchies: Option<Vec<(V1Mount, OwnedFd)>>,
}

impl View {
    /// Shows it where containers expect it.
    pub(crate) fn mount_in(&self, root: &Root) -> Result<(), String> {
        if let Some(hierarchies) = &self.hierarchies {
            return mount_v1(root, hierarchies, self.read_only);
        }
        let mount = new_file_system("cgroup2", &[], INERT | self.read_only);
        root.attach_dir(&mount.map_err(|e| format!("mount cgroup2: {e}"))?, MOUNT_POINT)
    }
}

fn open_v1(mounts: Vec<V1Mount>, read_only: MountAttrFlags) -> io::Result<Vec<(V1Mount, OwnedFd)>> {
    let open = |mount: V1Mount| {
        let tree = clone_tree(&mount.source, false)?;
        sys::set_mount_attributes(tree.as_fd(), false, u64::from((INERT | read_only).bits()), libc::MS_PRIVATE)?;
        Ok((mount, tree))
    };
    mounts.into_iter().map(open).collect()
}

fn mount_v1(root: &Root, mounts: &[(V1Mount, OwnedFd)], read_only: MountAttrFlags) -> Result<(), String> {
    let failed = |error: io::Error| format!("mount cgroups: {error}");
    let base = new_file_system("tmpfs", &[("mode", "755")], INERT).map_err(failed)?;
    root.attach_dir(&base, MOUNT_POINT)?;
    for (mount, tree) in mounts {
        root.attach_dir(tree, &format!("{MOUNT_POINT}/{}", mount.name))?;
        let top = open_in(root.fd(), Path::new(MOUNT_POINT), rustix::fs::OFlags::PATH);
        let top = top.map_err(|e| failed(e.into()))?;
        for link in &mount.links {
            rustix::fs::symlinkat(&mount.name, &top, link).map_err(|e| failed(e.into()))?;
        }
    }
    sys::set_mount_attributes(base.as_fd(), false, u64::from(read_only.bits()), 0).map_err(failed)
}
