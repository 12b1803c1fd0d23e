//! Volumes and files that a pod mounts into a container.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use cri::{Mount, MountPropagation, MountSource};
use rustix::fs::{FileType, Mode, OFlags};

use super::{
    resolve::{create_dir_in, open_in},
    rootfs::{Root, clone_tree_at, mount_overlay},
    users::Users,
};
use crate::sys;

/// Where images that are mounted as volumes find their layers and a place to be assembled.
pub(crate) struct ImageVolumes<'a> {
    pub(crate) layers: &'a BTreeMap<String, Vec<PathBuf>>,
    pub(crate) scratch: &'a Path,
}

/// A volume that is about to be mounted.
pub(crate) struct Volume<'a> {
    mount: &'a Mount,
    tree: OwnedFd,
    is_dir: bool,
}

/// Opens all of them, parents before children, otherwise in the given order.
pub(crate) fn open_all<'a>(
    mounts: &'a [Mount],
    images: &ImageVolumes<'_>,
    allow_devices: bool,
    users: Option<&Users>,
) -> Result<Vec<Volume<'a>>, String> {
    let mut ordered: Vec<_> = mounts.iter().collect();
    ordered.sort_by_key(|mount| Path::new(&mount.container_path).components().count());
    let open = |mount| open_one(mount, images, allow_devices, users).map_err(|error| failed(mount, &error));
    ordered.into_iter().map(open).collect()
}

/// Mounts them.
pub(crate) fn attach_all(root: &Root, volumes: &[Volume<'_>]) -> Result<(), String> {
    volumes.iter().try_for_each(|Volume { mount, tree, is_dir }| {
        let path = &mount.container_path;
        let attached = if *is_dir { root.attach_dir(tree, path) } else { root.attach_file(tree, path) };
        attached.map_err(|error| failed(mount, &error))
    })
}

fn failed(mount: &Mount, error: &str) -> String {
    format!("mount {} on {}: {error}", describe(&mount.source), mount.container_path)
}

fn describe(source: &MountSource) -> String {
    match source {
        MountSource::Host(path) => path.display().to_string(),
        MountSource::Image(id) => format!("image {id}"),
    }
}

fn open_one<'a>(
    mount: &'a Mount,
    images: &ImageVolumes<'_>,
    allow_devices: bool,
    users: Option<&Users>,
) -> Result<Volume<'a>, String> {
    let (source, read_only) = match &mount.source {
        MountSource::Host(path) => (open_host(path).map_err(|e| e.to_string())?, mount.read_only),
        MountSource::Image(id) => (open_image(id, images, users)?, true),
    };
    let source = match &mount.sub_path {
        None => source,
        Some(sub_path) => {
            open_sub_path(&source, sub_path).map_err(|e| format!("sub-path {}: {e}", sub_path.display()))?
        }
    };
    let tree = clone_tree_at(source.as_fd(), true).map_err(|e| e.to_string())?;
    if let (Some(users), MountSource::Host(_)) = (users, &mount.source) {
        users.translate(&tree).map_err(|e| e.to_string())?;
    }
    set_attributes(&tree, mount, read_only, allow_devices).map_err(|e| e.to_string())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&source).map_err(|e| e.to_string())?.st_mode);
    Ok(Volume { mount, tree, is_dir: kind == FileType::Directory })
}

/// Opens a file or directory of the host; a missing one becomes a directory, as with containerd.
fn open_host(path: &Path) -> io::Result<OwnedFd> {
    let open = || rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    match open() {
        Err(rustix::io::Errno::NOENT) => {
            fs::create_dir_all(path)?;
            Ok(open()?)
        }
        other => Ok(other?),
    }
}

fn open_image(id: &str, images: &ImageVolumes<'_>, users: Option<&Users>) -> Result<OwnedFd, String> {
    let layers = images.layers.get(id).ok_or("its layers are not known")?;
    let target = images.scratch.join(id.replace(['/', ':'], "-"));
    fs::create_dir_all(&target).map_err(|e| e.to_string())?;
    mount_overlay(layers, None, &target, false, users).map_err(|e| e.to_string())?;
    open_host(&target).map_err(|e| e.to_string())
}

/// Opens a path below a volume with the volume as root, so that no link in it leads to the host.
///
/// A missing one is made as a directory with the volume's own mode (`pkg/volume/util/subpath`).
fn open_sub_path(volume: &OwnedFd, sub_path: &Path) -> io::Result<OwnedFd> {
    match open_in(volume.as_fd(), sub_path, OFlags::PATH) {
        Err(rustix::io::Errno::NOENT) => {
            let mode = rustix::fs::fstat(volume)?.st_mode & 0o7777;
            create_dir_in(volume.as_fd(), sub_path, mode)
        }
        other => Ok(other?),
    }
}

fn set_attributes(tree: &OwnedFd, mount: &Mount, read_only: bool, allow_devices: bool) -> io::Result<()> {
    let propagation = match mount.propagation {
        MountPropagation::Private => libc::MS_PRIVATE,
        MountPropagation::HostToContainer => libc::MS_SLAVE,
        MountPropagation::Bidirectional => {
            return Err(io::Error::other("mount propagation from container to host is not supported"));
        }
    };
    let devices = if allow_devices { 0 } else { libc::MOUNT_ATTR_NODEV };
    sys::set_mount_attributes(tree.as_fd(), true, devices, propagation)?;
    if read_only {
        sys::set_mount_attributes(tree.as_fd(), mount.recursive_read_only, libc::MOUNT_ATTR_RDONLY, 0)?;
    }
    Ok(())
}
