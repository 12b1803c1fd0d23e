//! A pod's own user namespace: whose files those of the host are in it, and how a process becomes its root.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use cri::{IdMapping, UserNamespace};
use rustix::{
    fs::{AtFlags, FileType},
    process::{DumpableBehavior, Gid, Uid},
    thread::LinkNameSpaceType,
};

use super::process::Streams;
use crate::sys;

/// A user namespace, held open.
#[derive(Debug)]
pub(crate) struct Users {
    namespace: OwnedFd,
    /// What its root is on the host.
    root: (Uid, Gid),
}

impl Users {
    /// Takes a namespace with these ids.
    ///
    /// # Errors
    /// The text for the user when root is not among the ids.
    pub(crate) fn new(namespace: OwnedFd, ids: &UserNamespace) -> Result<Self, String> {
        let root = |mappings: &[IdMapping]| {
            let mapping = mappings.iter().find(|mapping| mapping.container_id == 0 && mapping.length > 0);
            mapping.map(|mapping| mapping.host_id).ok_or("user namespace: id 0 must be mapped")
        };
        Ok(Self { namespace, root: (Uid::from_raw(root(&ids.uids)?), Gid::from_raw(root(&ids.gids)?)) })
    }

    /// Makes a mount that is attached nowhere yet show its files with the owners that they have in this namespace.
    pub(crate) fn translate(&self, mount: &OwnedFd) -> io::Result<()> {
        sys::map_mount_ids(mount.as_fd(), self.namespace.as_fd()).map_err(|error| {
            let hint = match error.raw_os_error() {
                Some(libc::EINVAL) => " (the file system has no idmapped mounts on this kernel)",
                _ => "",
            };
            io::Error::other(format!("failed to set MOUNT_ATTR_IDMAP: {error}{hint}"))
        })
    }

    /// Gives a file to this namespace's root.
    pub(crate) fn give(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::fs::chownat(file, c"", Some(self.root.0), Some(self.root.1), AtFlags::EMPTY_PATH)?)
    }

    /// Gives those streams to this namespace's root that are pipes: it passes them on to the container's user.
    pub(crate) fn give_pipes(&self, streams: &Streams) -> io::Result<()> {
        for stream in [&streams.stdin, &streams.stdout, &streams.stderr] {
            if FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode) == FileType::Fifo {
                self.give(stream.as_fd())?;
            }
        }
        Ok(())
    }

    /// Lets the calling process enter as root. It has no rights outside any more.
    ///
    /// Until it executes a program, it cannot be looked into from inside: it has files and memory of the host.
    pub(crate) fn enter(&self) -> io::Result<()> {
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        rustix::thread::move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::User))?;
        become_root()
    }
}

/// Makes the calling process root of the user namespace that it is in.
pub(crate) fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?)
}
