//! Paths inside a root that somebody else filled: no link in it leads out.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// Most links followed while making a path, as in the kernel's own walk (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Opens `path` with `root` as the root directory: links and `..` stay inside.
pub(crate) fn open_in(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..MAX_LINKS {
        match rustix::fs::openat2(root, path, flags, mode, resolve) {
            // The kernel asks to try again when something was renamed during the walk (openat2(2)).
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the directory `path` inside `root`, making what is missing of it with `mode`.
pub(crate) fn create_dir_in(root: BorrowedFd<'_>, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match create_until_link(root, &path, mode)? {
            Step::Done(fd) => return Ok(fd),
            Step::Link(elsewhere) => path = elsewhere,
        }
    }
    Err(Errno::LOOP.into())
}

/// Opens the file `path` inside `root`, making it empty, with the directories it needs, if it is missing.
pub(crate) fn create_file_in(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    match open_in(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        other => return Ok(other?),
    }
    if let Some(parent) = path.parent() {
        create_dir_in(root, parent, 0o755)?;
    }
    open_in(root, path, OFlags::CREATE | OFlags::RDONLY)?;
    Ok(open_in(root, path, OFlags::PATH)?)
}

enum Step {
    Done(OwnedFd),
    /// A link that leads to something missing: go on with this path instead.
    Link(PathBuf),
}

fn create_until_link(root: BorrowedFd<'_>, path: &Path, mode: u32) -> io::Result<Step> {
    let mut parent = open_in(root, Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?;
    let mut done = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        let name = match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir => OsStr::new(".."),
            Component::Normal(name) => name,
        };
        let here = done.join(name);
        parent = match open_in(root, &here, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => match make_one(parent.as_fd(), name, mode)? {
                Made::Directory => open_in(root, &here, OFlags::PATH | OFlags::DIRECTORY)?,
                Made::Link(target) => return Ok(Step::Link(done.join(target).join(components.as_path()))),
            },
            Err(error) => return Err(error.into()),
        };
        done = here;
    }
    Ok(Step::Done(parent))
}

enum Made {
    Directory,
    Link(PathBuf),
}

fn make_one(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<Made> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => return Ok(Made::Directory),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
        return Ok(Made::Link(PathBuf::from(OsStr::from_bytes(target.as_bytes()))));
    }
    // Somebody else made it in the meantime.
    Ok(Made::Directory)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn root(dir: &Path) -> OwnedFd {
        rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn a_link_to_the_outside_is_made_inside() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("root");
        fs::create_dir(&inside).unwrap();
        symlink("/outside/there", inside.join("link")).unwrap();
        symlink("../../../up", inside.join("climb")).unwrap();
        create_dir_in(root(&inside).as_fd(), Path::new("/link/a"), 0o755).unwrap();
        create_dir_in(root(&inside).as_fd(), Path::new("climb/b"), 0o755).unwrap();
        assert!(inside.join("outside/there/a").is_dir());
        assert!(inside.join("up/b").is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a link with .. left the root");
    }

    #[test]
    fn a_ring_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        create_dir_in(root(dir.path()).as_fd(), Path::new("a/c"), 0o755).unwrap_err();
    }

    #[test]
    fn a_file_is_made_with_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        create_file_in(root(dir.path()).as_fd(), Path::new("/etc/deep/hosts")).unwrap();
        assert!(dir.path().join("etc/deep/hosts").is_file());
    }
}
