//! The members of an image archive: a tar file (compressed or not), a stream, or a directory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

use super::{
    Error, Limits,
    codec::Decoder,
    tar_entries::{Entries, Kind},
    work::{Work, copy_bounded},
};

/// How often a link inside an archive may lead to another one.
const MAX_LINKS: usize = 8;

/// An archive whose members can be opened in any order.
pub(crate) struct Archive {
    path: PathBuf,
    limits: Limits,
    contents: Contents,
}

enum Contents {
    Directory(File),
    Tar { file: Arc<File>, members: BTreeMap<String, Member> },
}

/// Where a member's bytes are.
enum Member {
    At {
        offset: u64,
        size: u64,
    },
    /// `docker save` writes a layer that occurs twice as a link.
    Link(String),
}

impl Archive {
    /// Opens a directory, a tar file, or standard input when `path` is `-`. A compressed archive is first
    /// decompressed into `work`.
    pub(crate) fn open(path: &Path, work: &Work) -> Result<Self, Error> {
        let limits = work.store().limits();
        let contents = if path == Path::new("-") {
            tar(spool(io::stdin().lock(), path, work)?, path, &limits)?
        } else if path.is_dir() {
            Contents::Directory(File::open(path).map_err(Error::io("opening", path))?)
        } else {
            let file = File::open(path).map_err(Error::io("opening", path))?;
            let decoder = Decoder::new(BufReader::new(&file)).map_err(Error::io("reading", path))?;
            // A pipe cannot be read from the middle.
            let is_file = file.metadata().map_err(Error::io("reading", path))?.is_file();
            let plain = if decoder.is_compressed() || !is_file { spool_decoded(decoder, path, work)? } else { file };
            tar(plain, path, &limits)?
        };
        Ok(Self { path: path.to_owned(), limits, contents })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether there is a member of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.reader(name).is_ok()
    }

    /// Reads a whole document.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let (reader, _) = self.reader(name)?;
        copy_bounded(reader, &mut bytes, self.limits.document_bytes)
            .map_err(|e| self.refuse(format!("{name}: {e}")))?;
        Ok(bytes)
    }

    /// Opens a member and tells its size.
    pub(crate) fn reader(&self, name: &str) -> Result<(Box<dyn Read + Send>, u64), Error> {
        match &self.contents {
            Contents::Directory(dir) => self.open_below(dir, name),
            Contents::Tar { file, members } => {
                let mut name = name.to_owned();
                for _ in 0..MAX_LINKS {
                    match members.get(&name) {
                        Some(Member::At { offset, size }) => {
                            let reader = Slice { file: Arc::clone(file), offset: *offset, left: *size };
                            return Ok((Box::new(reader), *size));
                        }
                        Some(Member::Link(target)) => name.clone_from(target),
                        None => break,
                    }
                }
                Err(self.refuse(format!("{name} is missing")))
            }
        }
    }

    pub(crate) fn refuse(&self, reason: String) -> Error {
        Error::Archive { path: self.path.clone(), reason }
    }

    fn open_below(&self, dir: &File, name: &str) -> Result<(Box<dyn Read + Send>, u64), Error> {
        // A directory may come from anywhere, too: its documents must not make us read other files.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match openat2(dir, name, flags, Mode::empty(), resolve) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Err(self.refuse(format!("{name} is missing"))),
            Err(e) => return Err(Error::io("opening", self.path.join(name))(e.into())),
        };
        let metadata = file.metadata().map_err(Error::io("reading", self.path.join(name)))?;
        if !metadata.is_file() {
            return Err(self.refuse(format!("{name} is not a file")));
        }
        Ok((Box::new(file), metadata.len()))
    }
}

/// Copies a stream into a file of `work`, decompressed.
fn spool(from: impl Read, path: &Path, work: &Work) -> Result<File, Error> {
    spool_decoded(Decoder::new(BufReader::new(from)).map_err(Error::io("reading", path))?, path, work)
}

fn spool_decoded(from: impl Read, path: &Path, work: &Work) -> Result<File, Error> {
    let place = work.path("archive.tar");
    let mut file =
        File::options().read(true).write(true).create_new(true).open(&place).map_err(Error::io("making", place))?;
    copy_bounded(from, &mut file, work.store().limits().unpacked_bytes).map_err(Error::io("decompressing", path))?;
    Ok(file)
}

/// Finds the members of a tar file.
fn tar(mut file: File, path: &Path, limits: &Limits) -> Result<Contents, Error> {
    let mut scan = || -> io::Result<BTreeMap<String, Member>> {
        file.seek(SeekFrom::Start(0))?;
        let mut entries = Entries::new(BufReader::new(&file), limits);
        let mut members = BTreeMap::new();
        while let Some(entry) = entries.next()? {
            if members.len() >= limits.archive_members {
                return Err(io::Error::other(format!("more than {} members", limits.archive_members)));
            }
            let name = normal(&String::from_utf8_lossy(&entry.path));
            match entry.kind {
                Kind::File => members.insert(name, Member::At { offset: entry.offset, size: entry.size }),
                Kind::Symlink | Kind::HardLink => {
                    let link = String::from_utf8_lossy(&entry.link).into_owned();
                    // A symbolic link starts at its own directory, a hard link at the archive's root.
                    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                    let from_root = if entry.kind == Kind::Symlink { format!("{parent}/{link}") } else { link };
                    members.insert(name, Member::Link(normal(&from_root)))
                }
                Kind::Directory | Kind::Fifo | Kind::Device | Kind::Other(_) => None,
            };
            entries.seek_over_content()?;
        }
        Ok(members)
    };
    let members = match scan() {
        Ok(members) => members,
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(Error::UnknownFormat { path: path.to_owned() }),
        Err(e) => return Err(Error::io("reading", path)(e)),
    };
    Ok(Contents::Tar { file: Arc::new(file), members })
}

/// A path without `.`, `..` and leading slashes. It is only compared with other names, never opened.
fn normal(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

/// Part of a file, read without moving a shared position.
struct Slice {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Slice {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(buf.get_mut(..want).unwrap_or_default(), self.offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
