//! What a container shows of the host, opened with the rights of the host's root: a process that has entered a pod's user
//! namespace has them no more, and only needs to put these things in their places.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use cri::NamespaceMode;

use super::{
    group::View,
    init::Setup,
    mounts::{ImageVolumes, Volume, open_all},
    rootfs::{Devices, clone_tree, mount_overlay},
};
use crate::sys;

/// Everything that a container's root directory is filled with.
pub(crate) struct Sources<'a> {
    pub(crate) devices: Devices,
    pub(crate) cgroups: View,
    /// The pod's files, with the paths where they belong.
    pub(crate) files: Vec<(String, OwnedFd)>,
    pub(crate) volumes: Vec<Volume<'a>>,
}

impl<'a> Sources<'a> {
    /// Opens all of it.
    pub(crate) fn open(setup: &Setup<'a>) -> Result<Self, String> {
        let config = &setup.spec.config;
        let privileged = config.security.privileged;
        let shm = match setup.sandbox.namespaces.ipc {
            NamespaceMode::Node => Path::new("/dev/shm").to_path_buf(),
            NamespaceMode::Pod | NamespaceMode::Container => setup.sandbox_dir.join("shm"),
        };
        let scratch = setup.dir.join("volumes");
        let images = ImageVolumes { layers: &setup.spec.image_volumes, scratch: &scratch };
        Ok(Self {
            devices: Devices::open(&shm, &setup.dir.join("devices"), privileged, setup.users)?,
            cgroups: setup.cgroup.open_view(!privileged)?,
            files: open_etc_files(setup)?,
            volumes: open_all(&config.mounts, &images, privileged, setup.users)?,
        })
    }
}

/// Mounts the image's layers with the container's own on top.
pub(crate) fn mount_root(setup: &Setup<'_>) -> Result<(), String> {
    let path = |name: &str| setup.dir.join(name);
    let (upper, work, target) = (path(crate::record::WRITABLE_LAYER), path("work"), path("rootfs"));
    let failed = |error: std::io::Error| format!("mount root file system: {error}");
    if let Some(users) = setup.users {
        users.give(std::fs::File::open(&upper).map_err(failed)?.as_fd()).map_err(failed)?;
    }
    let privileged = setup.spec.config.security.privileged;
    mount_overlay(&setup.spec.layers, Some((&upper, &work)), &target, privileged, setup.users).map_err(failed)
}

/// Opens the pod's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`, unless a volume takes the place.
fn open_etc_files(setup: &Setup<'_>) -> Result<Vec<(String, OwnedFd)>, String> {
    let open = |name: &str, target: &str| {
        let tree = clone_tree(&setup.sandbox_dir.join(name), false)?;
        if let Some(users) = setup.users {
            users.translate(&tree)?;
        }
        let read_only = if setup.spec.config.security.read_only_root { libc::MOUNT_ATTR_RDONLY } else { 0 };
        sys::set_mount_attributes(tree.as_fd(), false, libc::MOUNT_ATTR_NODEV | read_only, libc::MS_PRIVATE)?;
        std::io::Result::Ok((target.to_owned(), tree))
    };
    ["hosts", "hostname", "resolv.conf"]
        .iter()
        .map(|name| (name, format!("/etc/{name}")))
        .filter(|(_, target)| setup.spec.config.mounts.iter().all(|mount| mount.container_path != *target))
        .map(|(name, target)| open(name, &target).map_err(|e| format!("{target}: {e}")))
        .collect()
}
