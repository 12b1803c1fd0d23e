//! Unfinished work: layers and blobs on their way into the store.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use cri::ImageInfo;

use super::{
    Error, Store,
    digest::Digest,
    document::Config,
    index::{Index, sync_dir},
    lock::Lock,
    store::ignore_missing,
    unpack::{self, Budget},
};

/// Files that are synchronised one by one: a single program with its configuration.
const SYNC_SINGLY: usize = 32;

/// A private directory in the store. Dropped without [`Work::commit`], it leaves nothing behind; after a crash the
/// next opening of the store removes it.
#[derive(Debug)]
pub(crate) struct Work {
    store: Store,
    dir: PathBuf,
    /// Tells [`Store::open`] that this work goes on.
    _owned: Lock,
    /// Keeps the layers that are already in the store there.
    _uses_store: Lock,
    unpacked: Mutex<BTreeSet<Digest>>,
}

/// An image whose layers are unpacked or in the store already.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) config: Vec<u8>,
    /// Bytes of compressed layers and configuration.
    pub(crate) size: u64,
    /// Manifest and indexes, as they were.
    pub(crate) blobs: Vec<Vec<u8>>,
    /// `registry/repository:tag`.
    pub(crate) tags: Vec<String>,
    /// `registry/repository@digest`.
    pub(crate) repo_digests: Vec<String>,
    pub(crate) pinned: bool,
}

impl Work {
    /// Makes a place to work in.
    pub(crate) fn begin(store: &Store) -> Result<Self, Error> {
        let dir = store.path("tmp").join(unique());
        let uses_store = Lock::shared(&store.path("use.lock"))?;
        let lock = Lock::shared(&store.path("lock"))?;
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(Error::io("making", &dir))?;
        let owned = Lock::exclusive(&dir)?;
        drop(lock);
        let work = Self {
            store: store.clone(),
            dir,
            _owned: owned,
            _uses_store: uses_store,
            unpacked: Mutex::new(BTreeSet::new()),
        };
        for name in ["layers", "blobs"] {
            let path = work.path(name);
            fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::io("making", path))?;
        }
        Ok(work)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A place for files of the caller's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether the layer needs no unpacking any more. It stays so until this work ends.
    pub(crate) fn has_layer(&self, diff: Digest) -> bool {
        self.unpacked().contains(&diff) || self.store.layer(diff).is_dir()
    }

    /// Unpacks a layer, checking what it is: `blob` as it is read, `diff` after decompression.
    pub(crate) fn unpack(
        &self,
        reader: impl Read,
        blob: Option<Digest>,
        diff: Digest,
        budget: &Budget,
    ) -> Result<(), Error> {
        let partial = self.path("layers").join(format!("{}.{}", diff.hex(), unique()));
        let result = self.unpack_into(&partial, reader, blob, diff, budget);
        if result.is_err() {
            // The refused bytes go at once, whatever the caller does with the rest of his work.
            remove_tree(&partial)?;
            return result;
        }
        let mut unpacked = self.unpacked();
        if unpacked.insert(diff) {
            let place = self.path("layers").join(diff.hex());
            fs::rename(&partial, &place).map_err(Error::io("writing", place))
        } else {
            remove_tree(&partial)
        }
    }

    fn unpack_into(
        &self,
        dir: &Path,
        reader: impl Read,
        blob: Option<Digest>,
        diff: Digest,
        budget: &Budget,
    ) -> Result<(), Error> {
        let root = dir.join("fs");
        let make = || {
            fs::DirBuilder::new().mode(0o700).create(dir)?;
            fs::DirBuilder::new().mode(0o755).create(&root)?;
            File::open(&root)
        };
        let root = make().map_err(Error::io("making", dir))?;
        let found = unpack::unpack(reader, root.as_fd(), budget)
            .map_err(|source| Error::Layer { layer: diff.to_string(), source })?;
        let differs = |what: &str, expected: Digest, actual: Digest| Error::Digest {
            what: what.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        };
        match blob {
            Some(blob) if blob != found.blob => Err(differs("a layer", blob, found.blob)),
            _ if diff != found.diff => Err(differs("an uncompressed layer", diff, found.diff)),
            _ => Ok(()),
        }
    }

    /// Puts images into the store, all or none. A tag that another image had moves to the new one.
    pub(crate) fn commit(&self, images: &[NewImage]) -> Result<Vec<ImageInfo>, Error> {
        self.write_blobs(images)?;
        if !self.unpacked().is_empty() {
            // Everything must be on disk before it is in the index, or a loss of power leaves empty files in it.
            sync_tree(&self.path("layers")).map_err(Error::io("synchronising", &self.dir))?;
        }
        let ids = self.store.change_index(|index| {
            self.move_in()?;
            images.iter().map(|image| self.add_to(index, image)).collect::<Result<Vec<_>, _>>()
        })?;
        let view = self.store.view()?;
        ids.into_iter().map(|id| view.info(id).ok_or_else(|| Error::NotFound { image: id.to_string() })).collect()
    }

    fn write_blobs(&self, images: &[NewImage]) -> Result<(), Error> {
        for bytes in images.iter().flat_map(|image| image.blobs.iter().chain([&image.config])) {
            let path = self.path("blobs").join(Digest::of(bytes).hex());
            let write = || {
                fs::write(&path, bytes)?;
                File::open(&path)?.sync_all()
            };
            write().map_err(Error::io("writing", &path))?;
        }
        Ok(())
    }

    /// Moves everything to its place. What came into the store meanwhile is the same: the names are digests.
    fn move_in(&self) -> Result<(), Error> {
        for (from, to) in [(self.path("layers"), self.store.path("layers")), (self.path("blobs"), self.store.blobs())] {
            let entries = fs::read_dir(&from).map_err(Error::io("reading", &from))?;
            for entry in entries {
                let name = entry.map_err(Error::io("reading", &from))?.file_name();
                let place = to.join(&name);
                if Digest::from_hex(&name.to_string_lossy()).is_some() && !place.is_dir() {
                    fs::rename(from.join(&name), &place).map_err(Error::io("writing", place))?;
                }
            }
            sync_dir(&to).map_err(Error::io("synchronising", to))?;
        }
        Ok(())
    }

    fn add_to(&self, index: &mut Index, image: &NewImage) -> Result<Digest, Error> {
        let id = Digest::of(&image.config);
        let what = format!("configuration of image {id}");
        let config = Config::parse(&what, &image.config, self.store.limits().layers)?;
        if let Some(missing) = config.layers().iter().find(|layer| !self.store.layer(**layer).is_dir()) {
            return Err(super::document::refuse(&what, format!("layer {missing} is missing")));
        }
        let record = index.images.entry(id).or_default();
        record.layers = config.layers().to_vec();
        record.size = image.size;
        record.pinned |= image.pinned;
        record.blobs.extend(image.blobs.iter().map(|bytes| Digest::of(bytes)));
        record.repo_digests.extend(image.repo_digests.iter().cloned());
        index.tags.extend(image.tags.iter().map(|tag| (tag.clone(), id)));
        Ok(id)
    }

    fn unpacked(&self) -> std::sync::MutexGuard<'_, BTreeSet<Digest>> {
        self.unpacked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.dir) {
            tracing::warn!(error = error.chain(), "unfinished work stays until the store is opened again");
        }
    }
}

/// A file name that no other process or thread chooses.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The time tells process ids apart that were used twice.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{now:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes a file or a directory with everything in it; never follows a link.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    let remove = || match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    ignore_missing(remove()).map_err(Error::io("removing", path))
}

/// Writes everything below `dir` to disk: file by file if it is little, or else the whole file system, which has to
/// write what others have just changed, too.
fn sync_tree(dir: &Path) -> io::Result<()> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                // The rest (links, whiteouts) has nothing but its name, which is in its directory.
                if kind.is_dir() || kind.is_file() {
                    found.push(entry.path());
                }
                if found.len() > SYNC_SINGLY {
                    return Ok(rustix::fs::syncfs(File::open(dir)?)?);
                }
            }
        }
    }
    found.iter().try_for_each(|path| File::open(path)?.sync_all())
}

/// Copies `from` into a file, refusing more than `limit` bytes.
pub(crate) fn copy_bounded(from: impl Read, to: &mut impl io::Write, limit: u64) -> io::Result<u64> {
    let copied = io::copy(&mut from.take(limit.saturating_add(1)), to)?;
    if copied > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(copied)
}
