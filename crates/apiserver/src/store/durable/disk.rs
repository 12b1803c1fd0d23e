//! The few things that the store does to a disk.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::OpenError;

/// A directory of files. Nothing is on disk before it was synced.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// How people know the file.
    fn path(&self, name: &str) -> PathBuf;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// The whole content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Creates a file, or empties the one that is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to change it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns when all changes of names are on disk.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile: fmt::Debug + Send {
    /// Writes all bytes at a place; the file grows as needed.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Returns when content and length are on disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory that this process alone works on, as long as the value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, and takes its lock.
    ///
    /// # Errors
    /// Another process has the lock, or the directory cannot be made.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        create_dir(path).map_err(|source| OpenError::Io { action: "creating", path: path.to_owned(), source })?;
        let lock_path = path.join(LOCK);
        let refused = |source| OpenError::Io { action: "locking", path: lock_path.clone(), source };
        let mut options = OpenOptions::new();
        let mut lock =
            options.create(true).read(true).append(true).mode(FILE_MODE).open(&lock_path).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&lock_path).map_err(refused)?.trim().to_owned();
                return Err(OpenError::InUse { dir: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(refused)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

/// Makes a directory for the owner alone, on disk as well.
fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).try_for_each(sync_dir)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Disk for DataDir {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        // A name that is not text is none of ours.
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default())).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(FILE_MODE);
        Ok(Box::new(options.open(self.path(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Objects hold secrets: nobody but the owner reads them.
const FILE_MODE: u32 = 0o600;

/// Holds the process ID of whoever has its lock; the kernel drops the lock with the process.
const LOCK: &str = "lock";
