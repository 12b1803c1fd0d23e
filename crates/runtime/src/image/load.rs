//! Loads image archives: what `docker save`, `podman save`, `skopeo`, `buildx` and `umoci` write.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use cri::ImageInfo;
use serde::Deserialize;

use super::{
    Error, Store,
    archive::Archive,
    digest::Digest,
    document::{self, Config, Descriptor, Manifest},
    name,
    unpack::Budget,
    work::{NewImage, Work},
};

/// Annotation with the name of an image; often only the tag (OCI image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the full name (containerd, BuildKit, Docker).
const IMAGE_NAME: &str = "io.containerd.image.name";
/// An image layout's list of images (OCI image-spec, image-layout.md).
const OCI_INDEX: &str = "index.json";
/// The list of images of `docker save`.
const DOCKER_MANIFEST: &str = "manifest.json";

impl Store {
    /// Loads all images of an archive that this machine can run: a tar file of `docker save` or of an OCI image
    /// layout (gzip, Zstandard or plain), the same from standard input (`-`), or an OCI image layout directory.
    ///
    /// Names come from the archive. An image without a name is listed by its id. All images are added or none, and
    /// pinned: a person chose exactly these, so neither a registry is asked for a newer one nor does garbage
    /// collection remove them.
    ///
    /// # Errors
    /// When the archive is not one, is incomplete, is not what its digests say, holds nothing for this machine, or
    /// is refused by [`super::Limits`] or a layer's content. Nothing is left behind then.
    pub fn load(&self, path: &Path) -> Result<Vec<ImageInfo>, Error> {
        self.load_as(path, None)
    }

    /// Loads an archive with exactly one image and gives it this name instead of those in the archive.
    ///
    /// # Errors
    /// As [`Store::load`]; [`Error::InvalidName`] when `name` is no reference with a tag.
    pub fn load_named(&self, path: &Path, name: &str) -> Result<ImageInfo, Error> {
        let reference = name::parse(name)?;
        if reference.digest().is_some() {
            let message = "a digest cannot be given as a name".to_owned();
            return Err(Error::InvalidName { image: name.to_owned(), message });
        }
        let images = self.load_as(path, Some(reference.whole()))?;
        images.into_iter().next().ok_or_else(|| Error::UnknownFormat { path: path.to_owned() })
    }

    fn load_as(&self, path: &Path, name: Option<String>) -> Result<Vec<ImageInfo>, Error> {
        let work = Work::begin(self)?;
        let archive = Archive::open(path, &work)?;
        let mut found = if archive.has(OCI_INDEX) {
            oci_images(&archive)?
        } else if archive.has(DOCKER_MANIFEST) {
            docker_images(&archive)?
        } else {
            return Err(Error::UnknownFormat { path: path.to_owned() });
        };
        if let Some(name) = name {
            let [image] = found.as_mut_slice() else {
                return Err(archive.refuse(format!("holds {} images, a name fits only one", found.len())));
            };
            image.tags = vec![name];
        }
        let images = found.into_iter().map(|image| image.take(&archive, &work)).collect::<Result<Vec<_>, _>>()?;
        work.commit(&images)
    }
}

/// An image in an archive.
struct Found {
    config: Vec<u8>,
    layers: Vec<FoundLayer>,
    blobs: Vec<Vec<u8>>,
    tags: Vec<String>,
    repo_digests: Vec<String>,
}

struct FoundLayer {
    member: String,
    blob: Option<Digest>,
}

impl Found {
    /// Unpacks the layers that the store does not have yet.
    fn take(self, archive: &Archive, work: &Work) -> Result<NewImage, Error> {
        let what = format!("configuration of image {}", Digest::of(&self.config));
        let config = Config::parse(&what, &self.config, archive.limits().layers)?;
        if config.layers().len() != self.layers.len() {
            let (says, has) = (config.layers().len(), self.layers.len());
            return Err(document::refuse(&what, format!("names {says} layers, the manifest {has}")));
        }
        let budget = Budget::new(*archive.limits());
        let mut size = self.config.len() as u64;
        for (layer, diff) in self.layers.iter().zip(config.layers()) {
            let (mut reader, bytes) = archive.reader(&layer.member)?;
            size += bytes;
            if !work.has_layer(*diff) {
                work.unpack(reader.by_ref(), layer.blob, *diff, &budget)?;
            }
        }
        Ok(NewImage {
            config: self.config,
            size,
            blobs: self.blobs,
            tags: self.tags,
            repo_digests: self.repo_digests,
            // Put here by hand: a choice of exactly this image.
            pinned: true,
        })
    }
}

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

fn docker_manifest(archive: &Archive) -> Result<Vec<DockerImage>, Error> {
    let images: Vec<DockerImage> = document::json(DOCKER_MANIFEST, &archive.document(DOCKER_MANIFEST)?)?;
    if images.len() > archive.limits().manifests {
        return Err(archive.refuse(format!("{} images", images.len())));
    }
    Ok(images)
}

fn docker_images(archive: &Archive) -> Result<Vec<Found>, Error> {
    docker_manifest(archive)?
        .into_iter()
        .map(|image| {
            let config = archive.document(&image.config)?;
            // Named by its digest: `<hex>.json`, or `blobs/sha256/<hex>` since Docker 25.
            let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
            if let Some(promised) = Digest::from_hex(stem) {
                check_digest(&image.config, promised, &config)?;
            }
            let layers = image.layers.unwrap_or_default().into_iter();
            Ok(Found {
                config,
                layers: layers.map(|member| FoundLayer { member, blob: None }).collect(),
                blobs: Vec::new(),
                tags: image.repo_tags.unwrap_or_default().iter().map(|tag| full_name(tag)).collect::<Result<_, _>>()?,
                repo_digests: Vec::new(),
            })
        })
        .collect()
}

fn full_name(tag: &str) -> Result<String, Error> {
    Ok(name::parse(tag)?.whole())
}

fn oci_images(archive: &Archive) -> Result<Vec<Found>, Error> {
    let Manifest::Index(entries) = Manifest::parse(OCI_INDEX, &archive.document(OCI_INDEX)?)? else {
        return Err(archive.refuse(format!("{OCI_INDEX} is no image index")));
    };
    if entries.len() > archive.limits().manifests {
        return Err(archive.refuse(format!("{} images", entries.len())));
    }
    // Entries of one name are one image for several platforms; one without a name is an image of its own.
    let mut groups: BTreeMap<(Option<String>, usize), Vec<Descriptor>> = BTreeMap::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let name = annotated_name(&entry);
        let place = if name.is_some() { 0 } else { i };
        groups.entry((name, place)).or_default().push(entry);
    }
    let mut images: Vec<Found> = Vec::new();
    let mut unfit = None;
    for ((name, _), entries) in groups {
        match oci_image(archive, name, &entries) {
            Ok(image) => merge(&mut images, image),
            Err(e @ Error::Platform { .. }) => unfit = Some(e),
            Err(e) => return Err(e),
        }
    }
    if let (true, Some(unfit)) = (images.is_empty(), unfit) {
        return Err(unfit);
    }
    add_docker_tags(archive, &mut images)?;
    Ok(images)
}

/// The same image under several names is one image.
fn merge(images: &mut Vec<Found>, image: Found) {
    match images.iter_mut().find(|other| other.config == image.config) {
        Some(other) => {
            other.tags.extend(image.tags);
            other.repo_digests.extend(image.repo_digests);
            other.blobs.extend(image.blobs);
        }
        None => images.push(image),
    }
}

/// Docker 25 and later writes both formats in one; only the older has all names.
fn add_docker_tags(archive: &Archive, images: &mut [Found]) -> Result<(), Error> {
    if !archive.has(DOCKER_MANIFEST) {
        return Ok(());
    }
    for entry in docker_manifest(archive)? {
        let Ok(config) = archive.document(&entry.config) else { continue };
        if let Some(image) = images.iter_mut().find(|image| image.config == config) {
            for tag in entry.repo_tags.unwrap_or_default() {
                image.tags.push(full_name(&tag)?);
            }
        }
    }
    Ok(())
}

/// The name an entry carries, if it is one: a lone tag such as `latest` is not.
fn annotated_name(entry: &Descriptor) -> Option<String> {
    let name = entry.annotations.get(IMAGE_NAME).or_else(|| entry.annotations.get(REF_NAME))?;
    name.contains([':', '/']).then(|| name.clone())
}

/// Follows indexes down to the image for this machine.
fn oci_image(archive: &Archive, name: Option<String>, entries: &[Descriptor]) -> Result<Found, Error> {
    let what = name.clone().unwrap_or_else(|| archive.path().display().to_string());
    let mut chosen = first(&what, document::choose(&what, entries)?)?;
    let top = chosen.digest;
    let mut blobs = Vec::new();
    for _ in 0..=archive.limits().index_depth {
        let bytes = blob(archive, chosen.digest)?;
        let manifest = Manifest::parse(&format!("manifest {}", chosen.digest), &bytes)?;
        blobs.push(bytes);
        match manifest {
            Manifest::Index(entries) => {
                // An archive made for one platform may keep the index for all: what is missing cannot be meant.
                let fitting = document::choose(&what, &entries)?;
                let present = fitting.iter().find(|d| archive.has(&blob_path(d.digest))).cloned();
                chosen = present.map_or_else(|| first(&what, fitting), Ok)?;
            }
            Manifest::Image { config, layers } => {
                let reference = name.as_deref().map(name::parse).transpose()?;
                return Ok(Found {
                    config: blob(archive, config.digest)?,
                    layers: layers
                        .into_iter()
                        .map(|layer| FoundLayer { member: blob_path(layer.digest), blob: Some(layer.digest) })
                        .collect(),
                    blobs,
                    tags: reference.iter().filter(|r| r.tag().is_some()).map(tag_of).collect(),
                    repo_digests: reference.iter().map(|r| name::with_digest(r, &top.to_string())).collect(),
                });
            }
        }
    }
    Err(archive.refuse("has too many nested indexes".to_owned()))
}

/// The name without a digest, should it have both.
fn tag_of(reference: &oci_spec::distribution::Reference) -> String {
    format!("{}/{}:{}", reference.registry(), reference.repository(), reference.tag().unwrap_or_default())
}

fn first(what: &str, entries: Vec<Descriptor>) -> Result<Descriptor, Error> {
    entries.into_iter().next().ok_or_else(|| document::refuse(what, "has no image"))
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a document by digest and checks it.
fn blob(archive: &Archive, digest: Digest) -> Result<Vec<u8>, Error> {
    let path = blob_path(digest);
    let bytes = archive.document(&path)?;
    check_digest(&path, digest, &bytes)?;
    Ok(bytes)
}

/// Compares a document with the digest that was promised.
pub(crate) fn check_digest(what: &str, promised: Digest, bytes: &[u8]) -> Result<(), Error> {
    let actual = Digest::of(bytes);
    if actual == promised {
        return Ok(());
    }
    Err(Error::Digest { what: what.to_owned(), expected: promised.to_string(), actual: actual.to_string() })
}
