//! Writes entries below one directory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
        fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat,
        utimensat,
    },
    io::Errno,
};

use super::{Refusal, UnpackError};
use crate::image::{
    Limits,
    tar_entries::{Entry, Kind},
};

/// Prefix of the name of a deleted file (OCI image-spec, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory whose lower contents are hidden (same place).
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Prefix of files that AUFS kept for itself; they mean nothing elsewhere.
const AUFS_PRIVATE: &[u8] = b".wh..wh.";
/// How overlayfs marks the same (Documentation/filesystems/overlayfs.rst).
pub(crate) const OVERLAY_OPAQUE: &str = "trusted.overlay.opaque";
/// `NAME_MAX` of Linux.
const NAME_MAX: usize = 255;
/// Mode of directories that the archive uses without having an entry for them, as container tools do.
const IMPLIED_DIRECTORY_MODE: u32 = 0o755;
/// A concurrent rename elsewhere makes `openat2` ask for another try (openat2(2), EAGAIN).
const RESOLVE_TRIES: usize = 128;

/// A directory being filled from a layer archive.
pub(crate) struct Tree<'a> {
    root: BorrowedFd<'a>,
    limits: &'a Limits,
    /// Modification times of directories, set last because filling a directory changes its own.
    directories: BTreeMap<Vec<u8>, Timespec>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, limits: &'a Limits) -> Self {
        Self { root, limits, directories: BTreeMap::new() }
    }

    /// Adds one entry whose content is read from `data`.
    pub(crate) fn add(&mut self, entry: &Entry, data: &mut impl Read) -> Result<(), UnpackError> {
        self.try_add(entry, data).map_err(|e| e.of(&entry.path))
    }

    /// Completes what had to wait for the last entry.
    pub(crate) fn finish(self) -> Result<(), UnpackError> {
        for (path, mtime) in self.directories.iter().rev() {
            let set = || -> Result<(), Errno> {
                match beneath(self.root, path, OFlags::DIRECTORY | OFlags::NOFOLLOW) {
                    Ok(dir) => futimens(dir, &times(*mtime)),
                    // Replaced by a later entry.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(()),
                    Err(e) => Err(e),
                }
            };
            set().map_err(|e| Problem::from(e).of(path))?;
        }
        Ok(())
    }

    fn try_add(&mut self, entry: &Entry, data: &mut impl Read) -> Result<(), Problem> {
        let path = clean(&entry.path, self.limits)?;
        let Some(name) = path.last() else {
            // The image's root itself.
            if entry.kind != Kind::Directory {
                return Err(Refusal::NotAName.into());
            }
            return self.set_directory(&[], openat(self.root, c".", DIRECTORY, Mode::empty())?, entry);
        };
        let parents = path.get(..path.len() - 1).unwrap_or_default();
        if name.starts_with(WHITEOUT) {
            return self.whiteout(parents, name, entry);
        }
        match entry.kind {
            Kind::Device => return Err(Refusal::Device.into()),
            Kind::Other(kind) => return Err(Refusal::Kind(kind).into()),
            Kind::File | Kind::HardLink | Kind::Symlink | Kind::Directory | Kind::Fifo => {}
        }
        let parent = self.directory(parents)?;
        if entry.kind == Kind::Directory {
            let dir = make_directory(parent.as_fd(), name)?;
            return self.set_directory(&path, dir, entry);
        }
        // Resolved before the old file goes, or a link to itself would destroy it.
        let target = if entry.kind == Kind::HardLink { Some(self.link_target(entry)?) } else { None };
        clear(parent.as_fd(), name)?;
        match (entry.kind, target) {
            (Kind::HardLink, Some((dir, target))) => {
                linkat(dir, target, parent, *name, AtFlags::empty()).map_err(|e| match e {
                    Errno::NOENT | Errno::PERM | Errno::ISDIR => Refusal::LinkTarget.into(),
                    e => Problem::from(e),
                })
            }
            (Kind::Symlink, _) => {
                symlinkat(entry.link.as_slice(), &parent, *name).map_err(|e| match e {
                    Errno::NAMETOOLONG | Errno::NOENT => Refusal::NotAName.into(),
                    e => Problem::from(e),
                })?;
                set_by_name(parent.as_fd(), name, entry)
            }
            (Kind::Fifo, _) => {
                mknodat(&parent, *name, FileType::Fifo, Mode::from_raw_mode(entry.mode), 0)?;
                set_by_name(parent.as_fd(), name, entry)
            }
            (Kind::File, _) => write_file(parent.as_fd(), name, entry, data),
            (Kind::HardLink | Kind::Directory | Kind::Device | Kind::Other(_), _) => Ok(()),
        }
    }

    /// Opens a directory of the layer, making it if the archive has no entry for it (yet).
    fn directory(&self, path: &[&[u8]]) -> Result<OwnedFd, Problem> {
        match beneath(self.root, &join(path), OFlags::DIRECTORY) {
            Ok(dir) => return Ok(dir),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(resolve_problem(e)),
        }
        let mut dir = openat(self.root, c".", DIRECTORY, Mode::empty())?;
        for depth in 1..=path.len() {
            let (here, name) =
                (path.get(..depth).unwrap_or_default(), path.get(depth - 1).copied().unwrap_or_default());
            dir = match beneath(self.root, &join(here), OFlags::DIRECTORY) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    // Exists as a link whose target does not: nothing may be made through it.
                    mkdirat(&dir, name, Mode::from_raw_mode(IMPLIED_DIRECTORY_MODE)).map_err(|e| match e {
                        Errno::EXIST => Refusal::NotADirectory.into(),
                        e => Problem::from(e),
                    })?;
                    let made = openat(&dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                    fchmod(&made, Mode::from_raw_mode(IMPLIED_DIRECTORY_MODE))?;
                    made
                }
                Err(e) => return Err(resolve_problem(e)),
            };
        }
        Ok(dir)
    }

    /// Directory and name that a hard link points to.
    fn link_target<'e>(&self, entry: &'e Entry) -> Result<(OwnedFd, &'e [u8]), Problem> {
        let target = clean(&entry.link, self.limits)?;
        let (name, parents) = target.split_last().ok_or(Refusal::LinkTarget)?;
        let dir = beneath(self.root, &join(parents), OFlags::DIRECTORY).map_err(|e| match e {
            Errno::NOENT => Refusal::LinkTarget.into(),
            e => resolve_problem(e),
        })?;
        let stat = statat(&dir, *name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| Refusal::LinkTarget)?;
        // A whiteout hides a file of another layer; it is not one that could be linked.
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Symlink | FileType::Fifo => Ok((dir, *name)),
            FileType::Directory
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Err(Refusal::LinkTarget.into()),
        }
    }

    /// Turns a whiteout of the archive into one of overlayfs.
    ///
    /// It speaks of lower layers only: what this layer has under the same name stays visible.
    fn whiteout(&self, parents: &[&[u8]], name: &[u8], entry: &Entry) -> Result<(), Problem> {
        if name == OPAQUE {
            return set_opaque(&self.directory(parents)?);
        }
        if name.starts_with(AUFS_PRIVATE) {
            return Ok(());
        }
        let hidden = name.strip_prefix(WHITEOUT).unwrap_or_default();
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Refusal::NotAName.into());
        }
        let parent = self.directory(parents)?;
        match statat(&parent, hidden, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                set_opaque(&openat(&parent, hidden, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?)
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => {
                mknodat(&parent, hidden, FileType::CharacterDevice, Mode::empty(), 0)?;
                Ok(utimensat(&parent, hidden, &times(timespec(entry)), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Err(e) => Err(e.into()),
        }
    }

    fn set_directory(&mut self, path: &[&[u8]], dir: OwnedFd, entry: &Entry) -> Result<(), Problem> {
        set_by_fd(dir.as_fd(), entry)?;
        self.directories.insert(join(path), timespec(entry));
        Ok(())
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What went wrong with an entry that is named later.
enum Problem {
    Refused(Refusal),
    Read(io::Error),
    Io(io::Error),
}

impl Problem {
    fn of(self, path: &[u8]) -> UnpackError {
        let path = String::from_utf8_lossy(path).into_owned();
        match self {
            Self::Refused(reason) => UnpackError::Refused { path, reason },
            Self::Read(source) => UnpackError::Read(source),
            Self::Io(source) => UnpackError::Write { path, source },
        }
    }
}

impl From<Refusal> for Problem {
    fn from(reason: Refusal) -> Self {
        Self::Refused(reason)
    }
}

impl From<Errno> for Problem {
    fn from(e: Errno) -> Self {
        Self::Io(e.into())
    }
}

/// Splits a path of an archive into its names; empty for the root.
fn clean<'p>(path: &'p [u8], limits: &Limits) -> Result<Vec<&'p [u8]>, Refusal> {
    // The root itself may be called so: umoci does.
    if path.starts_with(b"/") && path != b"/" {
        return Err(Refusal::Absolute);
    }
    if path.is_empty() || path.contains(&0) {
        return Err(Refusal::NotAName);
    }
    if path.len() > limits.path_bytes {
        return Err(Refusal::TooLong);
    }
    let names: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&b"..".as_slice()) {
        return Err(Refusal::Parent);
    }
    if names.iter().any(|name| name.len() > NAME_MAX) {
        return Err(Refusal::TooLong);
    }
    if names.len() > limits.path_depth {
        return Err(Refusal::TooDeep);
    }
    Ok(names)
}

fn join(names: &[&[u8]]) -> Vec<u8> {
    if names.is_empty() { b".".to_vec() } else { names.join(&b'/') }
}

/// Opens what is at `path` below `root`; the kernel refuses (`EXDEV`) whatever would lead out of it.
fn beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RESOLVE_TRIES => tries += 1,
            result => return result,
        }
    }
}

fn resolve_problem(e: Errno) -> Problem {
    match e {
        Errno::XDEV | Errno::LOOP => Refusal::LeadsOut.into(),
        Errno::NOTDIR => Refusal::NotADirectory.into(),
        e => e.into(),
    }
}

/// Makes a directory or keeps the one that is there.
fn make_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Problem> {
    let open = || openat(parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => return Ok(open()?),
        Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    match open() {
        Ok(dir) => Ok(dir),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => {
            let hides_lower = is_whiteout(parent, name)?;
            clear(parent, name)?;
            mkdirat(parent, name, Mode::RWXU)?;
            let dir = open()?;
            if hides_lower {
                set_opaque(&dir)?;
            }
            Ok(dir)
        }
        Err(e) => Err(e.into()),
    }
}

fn is_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Problem> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice)
}

/// Removes what is in the way of a new file: the last entry of a path wins.
fn clear(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Problem> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // Only an empty directory: no tool writes a filled one and then a file of the same name.
        Err(Errno::ISDIR) => unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(|e| match e {
            Errno::NOTEMPTY | Errno::EXIST => Refusal::NotADirectory.into(),
            e => e.into(),
        }),
        Err(e) => Err(e.into()),
    }
}

fn write_file(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry, data: &mut impl Read) -> Result<(), Problem> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
    copy(data, &mut file)?;
    set_by_fd(file.as_fd(), entry)?;
    Ok(futimens(&file, &times(timespec(entry)))?)
}

/// Like `io::copy`, but tells reading errors (the archive's fault) from writing errors.
fn copy(from: &mut impl Read, to: &mut File) -> Result<(), Problem> {
    use io::Write as _;
    let mut buf = vec![0; 64 << 10];
    loop {
        let n = match from.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Problem::Read(e)),
        };
        to.write_all(buf.get(..n).unwrap_or_default()).map_err(Problem::Io)?;
    }
}

/// Owner, mode, attributes: in this order, because a new owner clears set-user-ID bits and capabilities.
fn set_by_fd(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), Problem> {
    let (uid, gid) = owner(entry)?;
    fchown(fd, Some(uid), Some(gid))?;
    fchmod(fd, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_wanted(name)) {
        match fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            // The file system cannot hold them; container tools go on, too.
            Err(Errno::OPNOTSUPP) => tracing::warn!(
                path = %String::from_utf8_lossy(&entry.path),
                attribute = %String::from_utf8_lossy(name),
                "file system does not support extended attribute"
            ),
            result => result?,
        }
    }
    Ok(())
}

fn set_by_name(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Problem> {
    let (uid, gid) = owner(entry)?;
    chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if entry.kind != Kind::Symlink {
        chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
    }
    Ok(utimensat(parent, name, &times(timespec(entry)), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Attributes that mean the same on every machine. Labels and signatures of the building machine do not, and
/// `trusted.overlay.*` would let an archive steer overlayfs.
fn is_wanted(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

fn owner(entry: &Entry) -> Result<(Uid, Gid), Refusal> {
    // The largest number means "leave as it is" to chown(2).
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(Refusal::Owner);
    Ok((Uid::from_raw(id(entry.uid)?), Gid::from_raw(id(entry.gid)?)))
}

fn set_opaque(dir: &OwnedFd) -> Result<(), Problem> {
    Ok(fsetxattr(dir, OVERLAY_OPAQUE, b"y", XattrFlags::empty())?)
}

fn timespec(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() }
}

fn times(mtime: Timespec) -> Timestamps {
    Timestamps { last_access: mtime, last_modification: mtime }
}
