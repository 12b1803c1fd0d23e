//! The container's view of the file system, built from descriptors: no path that an image or a volume
//! controls is ever resolved outside of the new root.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags,
    },
    thread::UnshareFlags,
};

use super::{
    resolve::{create_dir_in, create_file_in, open_in},
    users::Users,
};
use crate::sys;

/// Devices that every container has, with their numbers (`admin-guide/devices.txt`).
const DEVICES: [(&str, (u32, u32)); 6] =
    [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)), ("urandom", (1, 9)), ("tty", (5, 0))];

/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", KCORE),
];

/// Not in every kernel.
const KCORE: &str = "/proc/kcore";

/// What a kubelet asks to hide (`pkg/securitycontext/util.go`, `defaultMaskedPaths`).
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What a kubelet asks to make read-only (same file, `defaultReadonlyPaths`).
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Attributes that most file systems of a container have.
pub(crate) const INERT: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Most entries of the host's `/dev` copied for a privileged container.
const MAX_HOST_DEVICES: usize = 4096;

/// A root directory under construction.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Takes the directory at `path`, which must be a mount point, as the root.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Attaches a mount over everything and takes it as the root.
    pub(crate) fn over_all(mount: OwnedFd) -> io::Result<Self> {
        attach(&mount, fs::File::open("/")?.as_fd())?;
        Ok(Self { fd: mount })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Attaches a mount to the directory `path`, made if missing.
    pub(crate) fn attach_dir(&self, mount: &OwnedFd, path: &str) -> Result<(), String> {
        let target = create_dir_in(self.fd(), Path::new(path), 0o755).map_err(|e| format!("mkdir {path}: {e}"))?;
        attach(mount, target.as_fd()).map_err(|e| format!("mount on {path}: {e}"))
    }

    /// Attaches a mount to the file `path`, made if missing.
    pub(crate) fn attach_file(&self, mount: &OwnedFd, path: &str) -> Result<(), String> {
        let target = create_file_in(self.fd(), Path::new(path)).map_err(|e| format!("create {path}: {e}"))?;
        attach(mount, target.as_fd()).map_err(|e| format!("mount on {path}: {e}"))
    }

    /// Mounts `/proc` of the calling process's PID namespace.
    pub(crate) fn mount_proc(&self) -> Result<(), String> {
        self.mount_new("proc", &[], INERT, "/proc")
    }

    /// Mounts `/sys` of the calling process's network namespace.
    pub(crate) fn mount_sys(&self, read_only: bool) -> Result<(), String> {
        let read_only = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
        self.mount_new("sysfs", &[], INERT | read_only, "/sys")
    }

    /// Mounts `/dev` with the devices, terminals, queues and shared memory.
    pub(crate) fn mount_dev(&self, devices: &Devices) -> Result<(), String> {
        self.attach_dir(&devices.dev, "/dev")?;
        let pts = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
        self.mount_new("devpts", &options, pts, "/dev/pts")?;
        self.mount_new("mqueue", &[], INERT, "/dev/mqueue")?;
        self.attach_dir(&devices.shm, "/dev/shm")?;
        for (link, target) in
            DEVICE_LINKS.into_iter().filter(|(_, target)| *target != KCORE || Path::new(KCORE).exists())
        {
            let dev = open_in(self.fd(), Path::new("dev"), OFlags::PATH).map_err(|e| format!("/dev: {e}"))?;
            rustix::fs::symlinkat(target, &dev, link).map_err(|e| format!("link /dev/{link}: {e}"))?;
        }
        devices.nodes.iter().try_for_each(|(name, tree)| self.attach_file(tree, &format!("/dev/{name}")))
    }

    /// Hides what the kernel tells about the host, and protects what would change it.
    pub(crate) fn mask_paths(&self, devices: &Devices) -> Result<(), String> {
        let null = devices.nodes.iter().find(|(name, _)| *name == "null");
        let (_, null) = null.ok_or("mask paths: there is no null device")?;
        for path in MASKED {
            self.mask(Path::new(path), null).map_err(|e| format!("mask {path}: {e}"))?;
        }
        for path in READ_ONLY {
            self.make_read_only(Path::new(path)).map_err(|e| format!("make {path} read-only: {e}"))?;
        }
        Ok(())
    }

    fn mask(&self, path: &Path, null: &OwnedFd) -> io::Result<()> {
        let target = match open_in(self.fd(), path, OFlags::PATH) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let is_dir = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
        let cover = if is_dir {
            let attributes = INERT | MountAttrFlags::MOUNT_ATTR_RDONLY;
            new_file_system("tmpfs", &[("mode", "755"), ("size", "0"), ("nr_inodes", "1")], attributes)?
        } else {
            clone_tree_at(null.as_fd(), false)?
        };
        attach(&cover, target.as_fd())
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        let target = match open_in(self.fd(), path, OFlags::PATH) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let tree = clone_tree_at(target.as_fd(), true)?;
        sys::set_mount_attributes(tree.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0)?;
        attach(&tree, target.as_fd())
    }

    fn mount_new(
        &self,
        kind: &str,
        options: &[(&str, &str)],
        attributes: MountAttrFlags,
        path: &str,
    ) -> Result<(), String> {
        let mount = new_file_system(kind, options, attributes).map_err(|e| format!("mount {kind} on {path}: {e}"))?;
        self.attach_dir(&mount, path)
    }

    /// Makes the root file system itself read-only; mounts on it keep their own attributes.
    pub(crate) fn seal(&self) -> io::Result<()> {
        sys::set_mount_attributes(self.fd(), false, libc::MOUNT_ATTR_RDONLY, 0)
    }

    /// Makes this the root of the calling process's mount namespace and forgets the old one.
    pub(crate) fn enter(self) -> io::Result<()> {
        rustix::process::fchdir(&self.fd)?;
        // Both at the same place: the old root then lies on top of the new one and can be taken off.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")?;
        Ok(())
    }
}

/// Moves the calling process to an empty root in a mount namespace of its own: who may look at the process does not see
/// the files of the host through it.
pub(crate) fn leave_files() -> io::Result<()> {
    sys::unshare(UnshareFlags::NEWNS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let read_only = INERT | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let options = [("mode", "555"), ("size", "4k"), ("nr_inodes", "1")];
    Root::over_all(new_file_system("tmpfs", &options, read_only)?)?.enter()
}

/// What a container's `/dev` is made of.
pub(crate) struct Devices {
    /// The file system of `/dev`; with nodes for the devices of the host if the container is privileged.
    dev: OwnedFd,
    shm: OwnedFd,
    /// Devices that every container has; none if it is privileged.
    nodes: Vec<(&'static str, OwnedFd)>,
}

impl Devices {
    /// Opens them. Shared memory lies at `shm`, and nodes can be made at `scratch`.
    ///
    /// Nodes are bound from a file system of the container's own, and `/dev` itself allows none: what a process with
    /// CAP_MKNOD makes anywhere in the container cannot be opened, whatever the device cgroup does; and changing the
    /// mode of a node does not change the host's.
    pub(crate) fn open(shm: &Path, scratch: &Path, privileged: bool, users: Option<&Users>) -> Result<Self, String> {
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
        if !privileged {
            attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
        }
        let failed = |error: io::Error| format!("mount tmpfs on /dev: {error}");
        let dev = new_file_system("tmpfs", &[("mode", "755"), ("size", "65536k")], attributes).map_err(failed)?;
        let copy = clone_tree(shm, true);
        let copy = copy.and_then(|tree| users.map_or(Ok(()), |users| users.translate(&tree)).map(|()| tree));
        let shm = copy.map_err(|e| format!("shared memory {}: {e}", shm.display()))?;
        if let Some(users) = users {
            users.give(dev.as_fd()).map_err(failed)?;
        }
        let nodes = if privileged {
            copy_devices(dev.as_fd(), Path::new("/dev"), Path::new(""), &mut { MAX_HOST_DEVICES })
                .map_err(|e| format!("copy devices of the host: {e}"))?;
            Vec::new()
        } else {
            make_devices(scratch).map_err(|e| format!("make devices: {e}"))?;
            let open = |name| clone_tree(&scratch.join(name), false).map(|tree| (name, tree));
            let nodes: io::Result<_> = DEVICES.iter().map(|(name, _)| open(*name)).collect();
            nodes.map_err(|e| format!("devices: {e}"))?
        };
        Ok(Self { dev, shm, nodes })
    }
}

/// Mounts a small file system at `target` and makes the standard devices in it.
fn make_devices(target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = new_file_system("tmpfs", &[("mode", "755"), ("size", "4k"), ("nr_inodes", "16")], attributes)?;
    for (name, (major, minor)) in DEVICES {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&mount, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)?;
    }
    attach(&mount, fs::File::open(target)?.as_fd())
}

/// Attaches a detached mount to an open directory or file.
pub(crate) fn attach(mount: &OwnedFd, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, c"", target, c"", flags)?)
}

/// Returns a detached mount of a new file system.
pub(crate) fn new_file_system(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", kind)?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, *key)?;
        } else {
            rustix::mount::fsconfig_set_string(&context, *key, *value)?;
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Returns a detached copy of the mount at `path`, with those below it if `recursive`.
pub(crate) fn clone_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let source = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    clone_tree_at(source.as_fd(), recursive)
}

/// As [`clone_tree`], of an open file.
pub(crate) fn clone_tree_at(source: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(source, c"", flags)?)
}

/// Mounts image layers (topmost first) as one writable file system at `target`.
///
/// The layers are named by descriptors: their number is then not limited by the length of their paths
/// (mount options must fit one page), and no character in them means anything. With `users`, files of the layers have
/// the owners that they have there; the writable layer shows its files as they are, so what is written there belongs
/// to the host's ids.
pub(crate) fn mount_overlay(
    layers: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    target: &Path,
    allow_devices: bool,
    users: Option<&Users>,
) -> io::Result<()> {
    let open = |path: &Path| {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        fd.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    };
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
    let lower = |layer: &PathBuf| match users {
        None => open(layer),
        // The kernel takes only what is attached somewhere. It is covered by what is mounted there in the end.
        Some(users) => {
            let tree = clone_tree(layer, false)?;
            users.translate(&tree).map_err(|e| io::Error::other(format!("{}: {e}", layer.display())))?;
            attach(&tree, open(target)?.as_fd())?;
            Ok(tree)
        }
    };
    let lower = layers.iter().map(lower).collect::<io::Result<Vec<_>>>()?;
    let mut flags = if allow_devices { MountFlags::empty() } else { MountFlags::NODEV };
    if writable.is_none() && lower.len() == 1 {
        // An overlay needs two directories; one alone is simply shown.
        let tree = clone_tree_at(lower[0].as_fd(), false)?;
        sys::set_mount_attributes(tree.as_fd(), false, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV, 0)?;
        return attach(&tree, open(target)?.as_fd());
    }
    let mut options = format!("lowerdir={}", lower.iter().map(name).collect::<Vec<_>>().join(":"));
    let writable = writable.map(|(upper, work)| Ok::<_, io::Error>((open(upper)?, open(work)?))).transpose()?;
    match &writable {
        Some((upper, work)) => options += &format!(",upperdir={},workdir={}", name(upper), name(work)),
        None => flags |= MountFlags::RDONLY,
    }
    let options = std::ffi::CString::new(options)?;
    Ok(rustix::mount::mount(c"overlay", target, c"overlay", flags, Some(options.as_c_str()))?)
}

/// Makes nodes for all devices of the host, as a privileged container expects.
fn copy_devices(root: BorrowedFd<'_>, host: &Path, below: &Path, budget: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(host.join(below))? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        let path = below.join(entry.file_name());
        let file_type = metadata.file_type();
        let skip = ["pts", "shm", "mqueue", "fd", "console", "ptmx"].iter().any(|name| path == Path::new(name));
        if skip || *budget == 0 {
            continue;
        }
        *budget -= 1;
        if file_type.is_dir() {
            create_dir_in(root, &path, 0o755)?;
            copy_devices(root, host, &path, budget)?;
        } else if file_type.is_char_device() || file_type.is_block_device() {
            let kind = if file_type.is_char_device() { FileType::CharacterDevice } else { FileType::BlockDevice };
            let mode = Mode::from_raw_mode(metadata.mode() & 0o777);
            rustix::fs::mknodat(root, &path, kind, mode, metadata.rdev())?;
        }
    }
    Ok(())
}
