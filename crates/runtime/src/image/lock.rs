//! Locks between processes and threads: `flock` on files of the store.
//!
//! The kernel lets go of them when their holder dies, however it dies. Every acquisition opens its file
//! anew, so that threads of one process exclude each other, too.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::Error;

/// A lock that is held until dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its descriptor")] File);

impl Lock {
    /// Waits for the lock to be free of holders.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, Error> {
        Self::take(path, FlockOperation::LockExclusive).map_err(Error::io("locking", path))
    }

    /// Waits for the lock to be free of exclusive holders.
    pub(crate) fn shared(path: &Path) -> Result<Self, Error> {
        Self::take(path, FlockOperation::LockShared).map_err(Error::io("locking", path))
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>, Error> {
        match Self::take(path, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(Error::io("locking", path)(e)),
        }
    }

    fn take(path: &Path, operation: FlockOperation) -> io::Result<Self> {
        let file = if path.is_dir() {
            File::open(path)?
        } else {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?
        };
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Self(file)),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
