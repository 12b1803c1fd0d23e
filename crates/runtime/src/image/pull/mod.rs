//! Pulls images from registries (OCI distribution-spec), HTTPS only but for registries of this machine itself.
//!
//! The HTTP side is in [`registry`]. It is our own, small as it is: the ready-made client at hand ends the process
//! on a token with a line break in it and reads manifests of any size into memory.

mod registry;

use std::{fs::File, io, path::PathBuf, sync::Arc, time::Duration};

use cri::{ImageAuth, ImageInfo};
use futures::{StreamExt as _, TryStreamExt as _};
use oci_spec::distribution::Reference;
use registry::Registry;
use tokio::sync::Semaphore;

use super::{
    Error, Store,
    digest::{Digest, HashingWriter},
    docker_config::{self, Login},
    document::{self, Config, Descriptor, Manifest},
    error::chain,
    load::check_digest,
    name,
    unpack::Budget,
    work::{NewImage, Work},
};

/// Layers of one image downloaded and unpacked at once: what containerd does.
const PARALLEL_LAYERS: u32 = 3;
/// For manifests and configuration together: some kilobytes, on the slowest line.
const DOCUMENTS_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes collected before they are written to disk on a blocking thread.
const WRITE_CHUNK: usize = 1 << 20;

impl Store {
    /// Pulls an image and unpacks it. Layers that the store has are not downloaded.
    ///
    /// The credentials are tried in turn, then those of the user's Docker configuration; nobody's if there are none.
    /// Dropping the future ends the pull and removes what it has so far.
    ///
    /// # Errors
    /// [`cri::Error::InvalidImageName`]; [`cri::Error::RegistryUnavailable`] when there is no answer, or none that
    /// a registry gives; [`cri::Error::PullFailed`] when the registry does not know the image or does not give it,
    /// and when the image is broken or refused; [`cri::Error::Internal`] when the store cannot be written.
    pub async fn pull(&self, name: &str, auth: Vec<ImageAuth>) -> cri::Result<ImageInfo> {
        let reference = name::parse(name)?;
        let image = reference.whole();
        let (credentials, note) = credentials(&reference, auth);
        let pulled = async {
            let (registry, resolved) = resolve_with_any(self, &reference, credentials).await?;
            download(self, registry, resolved).await
        };
        pulled.await.map_err(|e| e.for_image(image, note.as_deref()))
    }

    /// Credentials for a registry from the user's Docker configuration (`$DOCKER_CONFIG/config.json`, or
    /// `~/.docker/config.json`). [`Store::pull`] uses them by itself.
    ///
    /// Those that Docker keeps in a credential helper are left out, with a warning: helpers are programs.
    #[must_use]
    pub fn docker_config_auth(registry: &str) -> Option<ImageAuth> {
        match docker_config::login(registry) {
            Login::Known(auth) => Some(auth),
            Login::Unusable(reason) => {
                tracing::warn!(registry, reason, "Docker's credentials cannot be used");
                None
            }
            Login::None => None,
        }
    }
}

/// Why a pull failed, before the image's name is put to it.
#[derive(Debug)]
enum PullError {
    /// Not for us, or not there: another credential may open it.
    Denied(String),
    /// No proper answer.
    Unavailable(String),
    /// A proper answer that is of no use.
    Broken(String),
    /// The store refused it.
    Store(Error),
}

impl From<Error> for PullError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl PullError {
    fn for_image(self, image: String, note: Option<&str>) -> cri::Error {
        match self {
            Self::Unavailable(message) => cri::Error::RegistryUnavailable { image, message },
            Self::Broken(message) => cri::Error::PullFailed { image, message },
            Self::Denied(message) => {
                let message = note.map_or_else(|| message.clone(), |note| format!("{message} ({note})"));
                cri::Error::PullFailed { image, message }
            }
            Self::Store(error) => match error {
                Error::Io { .. }
                | Error::Damaged { .. }
                | Error::NotFound { .. }
                | Error::InvalidOwner { .. }
                | Error::InvalidName { .. } => error.into(),
                Error::UnknownFormat { .. }
                | Error::Archive { .. }
                | Error::Layer { .. }
                | Error::Digest { .. }
                | Error::Platform { .. }
                | Error::Document { .. } => cri::Error::PullFailed { image, message: chain(&error) },
            },
        }
    }
}

/// What to try, and what to tell the user if nothing of it works.
fn credentials(reference: &Reference, auth: Vec<ImageAuth>) -> (Vec<Option<ImageAuth>>, Option<String>) {
    let mut all: Vec<Option<ImageAuth>> = auth.into_iter().map(Some).collect();
    let mut note = None;
    match docker_config::login(reference.registry()) {
        Login::Known(auth) => all.push(Some(auth)),
        Login::Unusable(reason) => note = Some(reason),
        Login::None => {}
    }
    if all.is_empty() {
        all.push(None);
    }
    (all, note)
}

/// The documents of the image that was chosen.
struct Resolved {
    /// Digest of what the name means.
    top: Digest,
    blobs: Vec<Vec<u8>>,
    config: Vec<u8>,
    layers: Vec<Descriptor>,
}

async fn resolve_with_any(
    store: &Store,
    reference: &Reference,
    credentials: Vec<Option<ImageAuth>>,
) -> Result<(Registry, Resolved), PullError> {
    let mut denied = PullError::Denied("no credentials".to_owned());
    for credential in credentials {
        let registry = Registry::new(reference, credential)?;
        let resolved = tokio::time::timeout(DOCUMENTS_TIMEOUT, resolve(store, &registry, reference)).await;
        match resolved {
            Ok(Ok(resolved)) => return Ok((registry, resolved)),
            Ok(Err(e @ PullError::Denied(_))) => denied = e,
            Ok(Err(e)) => return Err(e),
            Err(_) => {
                let seconds = DOCUMENTS_TIMEOUT.as_secs();
                return Err(PullError::Unavailable(format!("no manifest after {seconds} s")));
            }
        }
    }
    Err(denied)
}

/// Follows indexes down to the image for this machine.
async fn resolve(store: &Store, registry: &Registry, reference: &Reference) -> Result<Resolved, PullError> {
    let limits = store.limits();
    let image = reference.whole();
    let mut wanted = match reference.digest() {
        Some(digest) => Some(digest.parse::<Digest>().map_err(|e| PullError::Broken(e.to_string()))?),
        None => None,
    };
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    for _ in 0..=limits.index_depth {
        let name = wanted.map_or_else(|| reference.tag().unwrap_or("latest").to_owned(), |d| d.to_string());
        let bytes = registry.document(&format!("manifests/{name}"), limits.document_bytes).await?;
        if let Some(digest) = wanted {
            check_digest(&format!("manifest of {image}"), digest, &bytes)?;
        }
        let manifest = Manifest::parse(&format!("manifest of {image}"), &bytes)?;
        blobs.push(bytes);
        match manifest {
            Manifest::Index(entries) => {
                if entries.len() > limits.manifests {
                    return Err(PullError::Broken(format!("index with {} manifests", entries.len())));
                }
                wanted = document::choose(&image, &entries)?.first().map(|entry| entry.digest);
            }
            Manifest::Image { config, layers } => {
                let path = format!("blobs/{}", config.digest);
                let bytes = registry.document(&path, limits.document_bytes).await?;
                check_digest(&format!("configuration of {image}"), config.digest, &bytes)?;
                let top = blobs.first().map(|bytes| Digest::of(bytes)).unwrap_or(config.digest);
                return Ok(Resolved { top, blobs, config: bytes, layers });
            }
        }
    }
    Err(PullError::Broken("too many nested indexes".to_owned()))
}

async fn download(store: &Store, registry: Registry, resolved: Resolved) -> Result<ImageInfo, PullError> {
    let limits = store.limits();
    let reference = registry.reference().clone();
    let what = format!("configuration of {}", reference.whole());
    let config = Config::parse(&what, &resolved.config, limits.layers)?;
    if config.layers().len() != resolved.layers.len() {
        let (says, has) = (config.layers().len(), resolved.layers.len());
        return Err(document::refuse(&what, format!("names {says} layers, the manifest {has}")).into());
    }
    let begin = store.clone();
    let work = Arc::new(blocking(move || Work::begin(&begin)).await?);
    let budget = Arc::new(Budget::new(limits));
    let size = resolved.layers.iter().map(|layer| layer.size).fold(resolved.config.len() as u64, u64::saturating_add);
    // Before the first byte is written: what is downloaded is on disk before it is unpacked and counted there.
    if size > limits.unpacked_bytes {
        return Err(PullError::Broken(format!(
            "layers of {size} bytes, at most {} are allowed",
            limits.unpacked_bytes
        )));
    }
    let layers: Vec<(Descriptor, Digest)> = resolved.layers.into_iter().zip(config.layers().iter().copied()).collect();
    let unpacking = Arc::new(Semaphore::new(PARALLEL_LAYERS as usize));
    let fetched = futures::stream::iter(layers)
        .map(|(layer, diff)| fetch_layer(&registry, Arc::clone(&work), Arc::clone(&budget), &unpacking, layer, diff))
        .buffer_unordered(PARALLEL_LAYERS as usize)
        .try_collect::<()>()
        .await;
    if let Err(error) = fetched {
        // Other layers may still be unpacking on their threads: they count as left behind until they end.
        let _ended = unpacking.acquire_many(PARALLEL_LAYERS).await;
        blocking(move || {
            drop(work);
            Ok::<_, Error>(())
        })
        .await?;
        return Err(error);
    }
    let tag = reference.tag().filter(|_| reference.digest().is_none());
    let new = NewImage {
        config: resolved.config,
        size,
        blobs: resolved.blobs,
        tags: tag.map(|_| reference.whole()).into_iter().collect(),
        repo_digests: vec![name::with_digest(&reference, &resolved.top.to_string())],
        pinned: false,
    };
    let images = blocking(move || work.commit(&[new])).await?;
    images.into_iter().next().ok_or_else(|| PullError::Broken("no image".to_owned()))
}

async fn fetch_layer(
    registry: &Registry,
    work: Arc<Work>,
    budget: Arc<Budget>,
    unpacking: &Arc<Semaphore>,
    layer: Descriptor,
    diff: Digest,
) -> Result<(), PullError> {
    if work.has_layer(diff) {
        return Ok(());
    }
    let path = work.path(&format!("layer-{}", super::work::unique()));
    download_blob(registry, &layer, path.clone()).await?;
    let permit = Arc::clone(unpacking).acquire_owned().await;
    blocking(move || {
        // Dropped in reverse: who gets the permit knows that the work has been let go.
        let (_permit, work) = (permit, work);
        let file = File::open(&path).map_err(Error::io("opening", &path))?;
        work.unpack(file, Some(layer.digest), diff, &budget)?;
        std::fs::remove_file(&path).map_err(Error::io("removing", path))
    })
    .await?;
    Ok(())
}

/// Downloads a blob into a file, digesting it on the way.
async fn download_blob(registry: &Registry, blob: &Descriptor, path: PathBuf) -> Result<(), PullError> {
    let mut response = registry.get(&format!("blobs/{}", blob.digest)).await?;
    let file = File::create_new(&path).map_err(Error::io("making", &path))?;
    let mut writer = HashingWriter::new(file);
    let mut left = blob.size;
    let mut buffer = Vec::with_capacity(WRITE_CHUNK);
    loop {
        let chunk = registry.chunk(&mut response).await?;
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        left = left
            .checked_sub(length)
            .ok_or_else(|| PullError::Broken(format!("blob {} is larger than its {} bytes", blob.digest, blob.size)))?;
        buffer.extend_from_slice(chunk.as_deref().unwrap_or_default());
        if buffer.len() >= WRITE_CHUNK || chunk.is_none() {
            let path = path.clone();
            (writer, buffer) = blocking(move || {
                io::Write::write_all(&mut writer, &buffer).map_err(Error::io("writing", path))?;
                buffer.clear();
                Ok::<_, Error>((writer, buffer))
            })
            .await?;
        }
        if chunk.is_none() {
            break;
        }
    }
    let (_, actual, _) = writer.finish();
    if actual != blob.digest {
        let (expected, actual) = (blob.digest.to_string(), actual.to_string());
        return Err(Error::Digest { what: "a downloaded layer".to_owned(), expected, actual }.into());
    }
    Ok(())
}

/// Runs blocking work of the store beside the async tasks.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::io("working in", "the image store")(io::Error::other(e)).into()),
    }
}
