//! Unpacks one layer into a directory for overlayfs, trusting nothing.
//!
//! Guarantees: nothing outside the given directory is created, changed, linked or followed, whatever the
//! archive says; the kernel enforces it (`openat2` with `RESOLVE_BENEATH`). Relative symbolic links of the
//! layer itself that stay inside are followed as directories, as container tools do; all that lead out,
//! absolute ones included, end the unpacking with an error. The caller removes the directory then.

mod error;
mod tree;

use std::{
    io::{self, BufReader, Read},
    os::fd::BorrowedFd,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

pub use error::{Refusal, UnpackError};
use tree::{OVERLAY_OPAQUE, Tree};

use rustix::io::Errno;

use super::{
    Limits,
    codec::Decoder,
    digest::{Digest, HashingReader},
    tar_entries::Entries,
};

/// How compressed input is read: large enough that system calls do not show.
const READ_BUFFER: usize = 128 << 10;

/// What an image may still take, shared by its layers.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    bytes: AtomicU64,
    entries: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, bytes: AtomicU64::new(limits.unpacked_bytes), entries: AtomicU64::new(limits.entries) }
    }

    fn take(counter: &AtomicU64, n: u64) -> bool {
        counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n)).is_ok()
    }
}

/// Digests of a layer as stored and after decompression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerDigests {
    pub(crate) blob: Digest,
    pub(crate) diff: Digest,
}

/// Unpacks the layer read from `blob` into the empty directory `root`.
///
/// Reads `blob` to its end and returns what it was; the caller compares.
pub(crate) fn unpack(blob: impl Read, root: BorrowedFd<'_>, budget: &Budget) -> Result<LayerDigests, UnpackError> {
    let mut blob = HashingReader::new(blob);
    let decoder = Decoder::new(BufReader::with_capacity(READ_BUFFER, &mut blob)).map_err(UnpackError::Read)?;
    let mut stream = HashingReader::new(Metered { inner: decoder, budget });
    let mut entries = Entries::new(&mut stream, &budget.limits);
    let mut tree = Tree::new(root, &budget.limits);
    while let Some(entry) = entries.next().map_err(UnpackError::Read)? {
        if !Budget::take(&budget.entries, 1) {
            return Err(UnpackError::TooManyEntries { limit: budget.limits.entries });
        }
        tree.add(&entry, &mut entries.data())?;
    }
    tree.finish()?;
    let diff = stream.finish().map_err(UnpackError::Read)?;
    let blob = blob.finish().map_err(UnpackError::Read)?;
    Ok(LayerDigests { blob, diff })
}

/// Whether an unpacked directory hides everything below it.
pub(crate) fn is_opaque(dir: &Path) -> io::Result<bool> {
    let mut value = [0; 8];
    match rustix::fs::getxattr(dir, OVERLAY_OPAQUE, &mut value[..]) {
        Ok(n) => Ok(value.get(..n) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Charges what is read to the budget.
struct Metered<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if !Budget::take(&self.budget.bytes, n as u64) {
            let limit = self.budget.limits.unpacked_bytes;
            return Err(io::Error::other(format!("the image unpacks to more than {limit} bytes")));
        }
        Ok(n)
    }
}
