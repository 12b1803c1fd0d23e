//! The store's index: which names mean which image, and what each image consists of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{Error, digest::Digest, name::Wanted};

/// Version of the file format. A store of another version is refused rather than guessed at.
const VERSION: u32 = 1;

/// One file, replaced as a whole: readers need no lock and see either the old or the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    /// `registry/repository:tag` to image id.
    pub(crate) tags: BTreeMap<String, Digest>,
    /// By image id, the digest of the configuration.
    pub(crate) images: BTreeMap<Digest, Record>,
}

/// What an image consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Digests of the uncompressed layers, the lowest first.
    pub(crate) layers: Vec<Digest>,
    /// Bytes of compressed layers and configuration.
    pub(crate) size: u64,
    /// Manifests and indexes it was found by.
    pub(crate) blobs: BTreeSet<Digest>,
    /// `registry/repository@digest` of those.
    pub(crate) repo_digests: BTreeSet<String>,
    pub(crate) pinned: bool,
}

impl Record {
    /// Whether nobody put the image in by hand, and none of these leases is of it.
    pub(crate) fn is_unused(&self, leased: &BTreeSet<Vec<Digest>>) -> bool {
        !self.pinned && !leased.contains(&self.layers)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { version: VERSION, tags: BTreeMap::new(), images: BTreeMap::new() }
    }
}

impl Index {
    /// Reads the file; a missing one is an empty index.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io("reading", path)(e)),
        };
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let index: Self = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if index.version != VERSION {
            return Err(damaged(format!("format version {} is not known to this program", index.version)));
        }
        Ok(index)
    }

    /// Replaces the file durably. The caller holds the store's lock.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::io("writing", path)(e.into()))?;
        write_durably(path, &bytes)
    }

    /// Finds an image by tag, digest, id or the beginning of its id.
    pub(crate) fn find(&self, wanted: &Wanted) -> Option<Digest> {
        match wanted {
            Wanted::Id(id) => self.images.contains_key(id).then_some(*id),
            Wanted::Digest { name } => {
                self.images.iter().find(|(_, record)| record.repo_digests.contains(name)).map(|(id, _)| *id)
            }
            Wanted::Tag { name, id_prefix } => self.tags.get(name).copied().or_else(|| {
                let prefix = id_prefix.as_deref()?;
                let mut fitting = self.images.keys().filter(|id| id.hex().starts_with(prefix));
                // Ambiguous is as good as unknown.
                fitting.next().filter(|_| fitting.next().is_none()).copied()
            }),
        }
    }

    /// Layers of all images.
    pub(crate) fn layers(&self) -> BTreeSet<Digest> {
        self.images.values().flat_map(|record| record.layers.iter().copied()).collect()
    }

    /// Tags of an image.
    pub(crate) fn tags_of(&self, id: Digest) -> Vec<String> {
        self.tags.iter().filter(|(_, i)| **i == id).map(|(tag, _)| tag.clone()).collect()
    }

    /// Takes a name away, and the image with its last tag. True if something changed.
    ///
    /// A digest name only goes alone while tags are left; an id takes everything with it.
    pub(crate) fn remove(&mut self, wanted: &Wanted) -> bool {
        let Some(id) = self.find(wanted) else { return false };
        match wanted {
            Wanted::Tag { name, .. } if self.tags.contains_key(name) => {
                self.tags.remove(name);
            }
            Wanted::Digest { name } => {
                if let Some(record) = self.images.get_mut(&id) {
                    record.repo_digests.remove(name);
                }
            }
            Wanted::Id(_) | Wanted::Tag { .. } => self.tags.retain(|_, i| *i != id),
        }
        if self.tags_of(id).is_empty() {
            self.images.remove(&id);
        }
        true
    }
}

/// Writes a file so that after a crash it is there completely or not at all.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), sync_dir)
    };
    write().map_err(Error::io("writing", path))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> (Index, Digest, Digest) {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut index = Index::default();
        let record = Record { repo_digests: [format!("docker.io/library/a@{b}")].into(), ..Record::default() };
        index.images = [(a, record), (b, Record::default())].into();
        index.tags = [("docker.io/library/a:latest", a), ("docker.io/library/a:1", a)]
            .map(|(name, id)| (name.to_owned(), id))
            .into();
        (index, a, b)
    }

    fn find(index: &Index, name: &str) -> Option<Digest> {
        index.find(&Wanted::parse(name).unwrap())
    }

    #[test]
    fn images_are_found_by_tag_digest_id_and_unique_prefix() {
        let (index, a, b) = index();
        assert_eq!(find(&index, "a"), Some(a));
        assert_eq!(find(&index, "a:1"), Some(a));
        assert_eq!(find(&index, "a:2"), None);
        assert_eq!(find(&index, &format!("a@{b}")), Some(a));
        assert_eq!(find(&index, &b.to_string()), Some(b));
        assert_eq!(find(&index, &b.hex()[..12]), Some(b));
        assert_eq!(find(&index, &format!("sha256:{}", &b.hex()[..20])), Some(b));
        assert_eq!(find(&index, &b.hex()[..11]), None);
    }

    #[test]
    fn an_image_goes_with_its_last_tag_or_by_id() {
        let remove = |names: &[&str]| {
            let (mut index, a, _) = index();
            for name in names {
                index.remove(&Wanted::parse(name).unwrap());
            }
            (index.images.contains_key(&a), index.tags.len())
        };
        assert_eq!(remove(&["a:1"]), (true, 1));
        assert_eq!(remove(&["a:1", "a"]), (false, 0));
        assert_eq!(remove(&[&Digest::of(b"a").to_string()]), (false, 0));
        assert_eq!(remove(&[&format!("a@{}", Digest::of(b"b"))]), (true, 2));
        assert_eq!(remove(&["other"]), (true, 2));
    }
}
