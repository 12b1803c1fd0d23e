//! The store: what is where on disk, who may touch it when.
//!
//! ```text
//! index.json             tags -> image ids -> layers; replaced atomically
//! blobs/sha256/<hex>     manifests and configurations, as they were
//! layers/<diff id>/fs    one unpacked layer each, shared by all images that have it
//! leases/<owner>         layers that a container uses, whatever the index says
//! tmp/<random>/          unfinished work, locked by its owner while he lives
//! lock                   held while the index, leases or layers change: always shortly
//! use.lock               held shared by unfinished work, so that layers it counts on stay
//! ```
//!
//! Compressed layers are not kept. A layer is renamed to its place only when it is complete and on disk, in
//! the same critical section that puts it into the index; what is in `layers/` without being in the index or
//! in a lease is therefore garbage as soon as no unfinished work is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use cri::{ImageInfo, Removal, UnusedImage};

use super::{
    Error, Limits, digest::Digest, document::Config, index::Index, lock::Lock, name::Wanted, work::remove_tree,
};

/// Longest name of a lease owner: a file name, with room for a suffix.
const MAX_OWNER: usize = 200;

/// A handle on the store in one directory. Clones share it, and so do other processes.
///
/// Its methods do plain blocking file work unless they are `async`. [`Store::status`], [`Store::list`],
/// [`Store::rootfs`] and [`Store::lease`] take microseconds and may be called from anywhere; the others belong on a
/// blocking thread. Its implementation of [`cri::ImageService`] sees to that.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limits: Limits,
    cache: Mutex<Option<Cached>>,
}

/// The index as of one version of its file.
#[derive(Debug)]
struct Cached {
    version: FileVersion,
    view: Arc<View>,
}

/// Inode, size, change time: a replaced file differs in one of them.
type FileVersion = Option<(u64, u64, i64, i64)>;

/// The index with what the configurations say.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) index: Index,
    images: BTreeMap<Digest, Image>,
}

#[derive(Debug)]
struct Image {
    info: ImageInfo,
    /// `User` of the configuration, with the group.
    user: String,
}

/// The file system of an image, ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFs {
    /// Directories for overlayfs' `lowerdir`, the topmost first. Empty for an image without layers.
    pub layers: Vec<PathBuf>,
    /// `User` of the image's configuration, as written there: `[USER[:GROUP]]`, names or numbers.
    pub user: String,
    /// What is known of the image.
    pub info: ImageInfo,
}

impl Store {
    /// Opens the store in `dir`, making it if need be, and clears away what crashed processes left.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Damaged`] if the index cannot be fully read.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(dir, Limits::default())
    }

    /// Like [`Store::open`], accepting images within other limits.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(dir: &Path, limits: Limits) -> Result<Self, Error> {
        let store = Self { inner: Arc::new(Inner { dir: dir.to_owned(), limits, cache: Mutex::new(None) }) };
        for dir in [dir.to_owned(), store.blobs(), store.path("layers"), store.path("leases"), store.path("tmp")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Error::io("making", dir))?;
        }
        Index::read(&store.index_path())?;
        store.sweep()?;
        store.collect_garbage()?;
        Ok(store)
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Looks an image up by name, id or an unambiguous beginning (12 digits or more) of its id.
    ///
    /// # Errors
    /// [`cri::Error::InvalidImageName`] when `name` is no reference.
    pub fn status(&self, name: &str) -> cri::Result<Option<ImageInfo>> {
        let wanted = Wanted::parse(name)?;
        let view = self.view()?;
        Ok(view.index.find(&wanted).and_then(|id| view.info(id)))
    }

    /// Lists all images, ordered by id.
    ///
    /// # Errors
    /// [`cri::Error::Internal`] when the store cannot be read.
    pub fn list(&self) -> cri::Result<Vec<ImageInfo>> {
        let view = self.view()?;
        Ok(view.images.keys().filter_map(|id| view.info(*id)).collect())
    }

    /// Takes a name away, and the image with its last tag; an id takes the image with all its names.
    ///
    /// What is not there is no error. Layers of other images and layers under a lease stay.
    ///
    /// # Errors
    /// [`cri::Error::InvalidImageName`] when `name` is no reference.
    pub fn remove(&self, name: &str) -> cri::Result<()> {
        let wanted = Wanted::parse(name)?;
        self.change_index(|index| {
            index.remove(&wanted);
            Ok(())
        })?;
        Ok(self.collect_garbage()?)
    }

    /// Lists the images that nobody put into the store by hand and no lease is of, the one that was not used for
    /// longest first. Clears away what is left of images that were removed during unfinished work.
    ///
    /// # Errors
    /// [`cri::Error::Internal`] when the store cannot be read.
    pub fn unused(&self) -> cri::Result<Vec<UnusedImage>> {
        self.collect_garbage()?;
        let view = self.view()?;
        let leased = self.leased()?;
        let images = view.index.images.iter().filter(|(_, record)| record.is_unused(&leased));
        let mut unused: Vec<_> =
            images.map(|(id, _)| UnusedImage { id: id.to_string(), used_at: self.used_at(*id) }).collect();
        unused.sort_by_key(|image| image.used_at);
        Ok(unused)
    }

    /// Removes an image with all its names if it is one of [`Store::unused`] still. Changes nothing while unfinished
    /// work may count on its layers, since that would free no space.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub fn remove_unused(&self, id: &str) -> cri::Result<Removal> {
        let wanted = Wanted::parse(id)?;
        // No lease can be taken meanwhile.
        let removed = self.collect_garbage_after(|index| {
            let leased = self.leased()?;
            let record = index.find(&wanted).and_then(|id| index.images.get(&id));
            Ok(record.is_some_and(|record| record.is_unused(&leased)) && index.remove(&wanted))
        })?;
        Ok(match removed {
            Some(true) => Removal::Removed,
            Some(false) => Removal::Used,
            None => Removal::Busy,
        })
    }

    /// Returns the layers of an image for a short look. A container needs a [`Store::lease`].
    ///
    /// # Errors
    /// [`cri::Error::NotFound`] when there is no image with this id (or name).
    pub fn rootfs(&self, image_id: &str) -> cri::Result<RootFs> {
        Ok(self.find_rootfs(image_id)?.1)
    }

    /// Returns the layers of an image and keeps them until [`Store::release`], even if the image is removed.
    ///
    /// The lease outlives this process. A second one of the same owner replaces the first, so an owner (a
    /// container) may repeat the call.
    ///
    /// # Errors
    /// [`cri::Error::NotFound`] when there is no image with this id (or name),
    /// [`cri::Error::InvalidArgument`] when the owner cannot be a file name.
    pub fn lease(&self, image_id: &str, owner: &str) -> cri::Result<RootFs> {
        let path = self.lease_path(owner)?;
        let _lock = Lock::shared(&self.path("lock"))?;
        let (id, rootfs) = self.find_rootfs(image_id)?;
        let layers = self.view()?.index.images.get(&id).map(|record| record.layers.clone()).unwrap_or_default();
        let text: String = layers.iter().map(|layer| layer.hex() + "\n").collect();
        // Not synchronised: after a loss of power no container is left that needs it.
        let new = self.path("tmp").join(format!("lease-{owner}"));
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(Error::io("writing", path))?;
        self.mark_used(id);
        Ok(rootfs)
    }

    /// Ends a lease. Ending one that is not there succeeds.
    ///
    /// # Errors
    /// [`cri::Error::InvalidArgument`] when the owner cannot be a file name.
    pub fn release(&self, owner: &str) -> cri::Result<()> {
        let path = self.lease_path(owner)?;
        let Some(leased) = read_lease(&path)? else { return Ok(()) };
        ignore_missing(fs::remove_file(&path)).map_err(Error::io("removing", path))?;
        // Only the last user of a removed image leaves garbage; everybody else is spared the search.
        let view = self.view()?;
        view.index.images.iter().filter(|(_, record)| record.layers == leased).for_each(|(id, _)| self.mark_used(*id));
        let indexed = view.index.layers();
        if leased.iter().any(|layer| !indexed.contains(layer)) {
            self.collect_garbage()?;
        }
        Ok(())
    }

    /// Ends all leases but those whose owner is to be kept: for an agent that restarts and knows its containers.
    ///
    /// # Errors
    /// [`cri::Error::Internal`] when the store cannot be read.
    pub fn retain_leases(&self, keep: impl Fn(&str) -> bool) -> cri::Result<()> {
        for owner in names_in(&self.path("leases"))? {
            if !keep(&owner) {
                self.release(&owner)?;
            }
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        self.inner.limits
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.inner.dir.join(name)
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.inner.dir.join("blobs/sha256")
    }

    pub(crate) fn layer(&self, id: Digest) -> PathBuf {
        self.path("layers").join(id.hex())
    }

    fn index_path(&self) -> PathBuf {
        self.path("index.json")
    }

    fn lease_path(&self, owner: &str) -> Result<PathBuf, Error> {
        let valid = !owner.is_empty()
            && owner.len() <= MAX_OWNER
            && !owner.starts_with('.')
            && owner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !valid {
            return Err(Error::InvalidOwner { owner: owner.to_owned() });
        }
        Ok(self.path("leases").join(owner))
    }

    /// The present index. Costs one `stat` while nothing changes.
    pub(crate) fn view(&self) -> Result<Arc<View>, Error> {
        let path = self.index_path();
        let version = match fs::metadata(&path) {
            Ok(m) => Some((m.ino(), m.size(), m.ctime(), m.ctime_nsec())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("reading", path)(e)),
        };
        let mut cache = self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cache.as_ref().filter(|cached| cached.version == version) {
            return Ok(Arc::clone(&cached.view));
        }
        // If the file is replaced between the two steps, the next call sees another version and reads again.
        let view = Arc::new(View::new(Index::read(&path)?, &self.blobs(), self.inner.limits));
        // A damaged image may be repaired without a change of the index.
        let is_whole = view.images.len() == view.index.images.len();
        *cache = is_whole.then(|| Cached { version, view: Arc::clone(&view) });
        Ok(view)
    }

    /// Layers of each lease.
    fn leased(&self) -> Result<BTreeSet<Vec<Digest>>, Error> {
        let dir = self.path("leases");
        let leases = names_in(&dir)?.into_iter().map(|owner| read_lease(&dir.join(owner)));
        leases.filter_map(Result::transpose).collect()
    }

    /// Remembers the present as the time when an image was used. That this can fail costs an unused image its place in
    /// the order of removal.
    fn mark_used(&self, id: Digest) {
        let path = self.blobs().join(id.hex());
        if let Err(error) = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::warn!(image = %id, "time of use not kept: {error}");
        }
    }

    /// When an image was used, or pulled; 0: not known.
    fn used_at(&self, id: Digest) -> cri::Nanos {
        let modified = fs::metadata(self.blobs().join(id.hex())).and_then(|metadata| metadata.modified());
        let since = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
    }

    /// Changes the index under the lock. `change` may move files into their places first.
    pub(crate) fn change_index<T>(&self, change: impl FnOnce(&mut Index) -> Result<T, Error>) -> Result<T, Error> {
        let _lock = Lock::exclusive(&self.path("lock"))?;
        self.change_locked(change)
    }

    fn change_locked<T>(&self, change: impl FnOnce(&mut Index) -> Result<T, Error>) -> Result<T, Error> {
        let old = Index::read(&self.index_path())?;
        let mut index = old.clone();
        let result = change(&mut index)?;
        if index != old {
            index.write(&self.index_path())?;
        }
        Ok(result)
    }

    fn find_rootfs(&self, image: &str) -> Result<(Digest, RootFs), Error> {
        let not_found = || Error::NotFound { image: image.to_owned() };
        let wanted = Wanted::parse(image)?;
        let view = self.view()?;
        let id = view.index.find(&wanted).ok_or_else(not_found)?;
        let image = view.images.get(&id).ok_or_else(not_found)?;
        let mut layers: Vec<PathBuf> = Vec::new();
        for layer in view.index.images.get(&id).map(|r| r.layers.as_slice()).unwrap_or_default().iter().rev() {
            let fs = self.layer(*layer).join("fs");
            // overlayfs refuses to stack a directory twice. The upper one decides everything the lower could.
            if layers.contains(&fs) {
                continue;
            }
            let hides_the_rest = super::unpack::is_opaque(&fs).map_err(Error::io("reading", &fs))?;
            layers.push(fs);
            // overlayfs heeds that mark on every directory but the root.
            if hides_the_rest {
                break;
            }
        }
        let info = view.info(id).ok_or_else(not_found)?;
        Ok((id, RootFs { layers, user: image.user.clone(), info }))
    }

    /// Removes the unfinished work of processes that are no more.
    fn sweep(&self) -> Result<(), Error> {
        let _lock = Lock::exclusive(&self.path("lock"))?;
        let tmp = self.path("tmp");
        for name in names_in(&tmp)? {
            let path = tmp.join(name);
            // Whoever works there holds a lock on it; it is taken together with the making under `lock`.
            let abandoned = match Lock::try_exclusive(&path) {
                Ok(lock) => lock.is_some(),
                // Its owner has just removed it.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => false,
                Err(e) => return Err(e),
            };
            if abandoned {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Removes layers and blobs that nobody needs any more, unless unfinished work may count on them: then the
    /// next call does.
    fn collect_garbage(&self) -> Result<(), Error> {
        self.collect_garbage_after(|_| Ok(())).map(drop)
    }

    /// Changes the index and removes what nobody needs then; `None`: there is unfinished work, and nothing was done.
    fn collect_garbage_after<T>(
        &self,
        change: impl FnOnce(&mut Index) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let trash = self.path("tmp").join(format!("trash-{}", super::work::unique()));
        let result = {
            let _lock = Lock::exclusive(&self.path("lock"))?;
            let Some(_use) = Lock::try_exclusive(&self.path("use.lock"))? else { return Ok(None) };
            let result = self.change_locked(change)?;
            self.move_garbage(&trash)?;
            result
        };
        // Outside the lock, because it can take long. A crash leaves it to the next opening.
        remove_tree(&trash)?;
        Ok(Some(result))
    }

    fn move_garbage(&self, trash: &Path) -> Result<(), Error> {
        let index = Index::read(&self.index_path())?;
        let mut layers = index.layers();
        for owner in names_in(&self.path("leases"))? {
            layers.extend(read_lease(&self.path("leases").join(owner))?.unwrap_or_default());
        }
        let blobs: BTreeSet<Digest> =
            index.images.iter().flat_map(|(id, record)| record.blobs.iter().chain([id])).copied().collect();
        for (dir, needed) in [(self.path("layers"), layers), (self.blobs(), blobs)] {
            for name in names_in(&dir)? {
                if Digest::from_hex(&name).is_some_and(|digest| needed.contains(&digest)) {
                    continue;
                }
                fs::DirBuilder::new().recursive(true).mode(0o700).create(trash).map_err(Error::io("making", trash))?;
                let path = dir.join(&name);
                fs::rename(&path, trash.join(&name)).map_err(Error::io("removing", path))?;
            }
        }
        Ok(())
    }
}

impl View {
    fn new(index: Index, blobs: &Path, limits: Limits) -> Self {
        let mut images = BTreeMap::new();
        for (id, record) in &index.images {
            // An image whose configuration is lost counts as absent: loading it again repairs it.
            match read_config(&blobs.join(id.hex()), *id, limits) {
                Ok(config) => {
                    let mut info = config.info(*id, record.size);
                    info.repo_tags = index.tags_of(*id);
                    info.repo_digests = record.repo_digests.iter().cloned().collect();
                    info.pinned = record.pinned;
                    images.insert(*id, Image { info, user: config.config.user });
                }
                Err(error) => tracing::warn!(image = %id, error = error.chain(), "image is damaged"),
            }
        }
        Self { index, images }
    }

    pub(crate) fn info(&self, id: Digest) -> Option<ImageInfo> {
        self.images.get(&id).map(|image| image.info.clone())
    }
}

fn read_config(path: &Path, id: Digest, limits: Limits) -> Result<Config, Error> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    Config::parse(&format!("configuration of image {id}"), &bytes, limits.layers)
}

/// Layers under a lease; `None` if it has ended.
fn read_lease(path: &Path) -> Result<Option<Vec<Digest>>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.lines().filter_map(Digest::from_hex).collect())),
        // Leases end without the lock.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("reading", path)(e)),
    }
}

/// Names of the entries of a directory.
fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    read().map_err(Error::io("reading", dir))
}

pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
