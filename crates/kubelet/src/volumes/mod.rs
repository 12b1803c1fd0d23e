//! Volumes of a pod: made before its sandbox, removed after its last container (contract S2-02, S11).

mod atomic;
mod host_path;
mod projection;
mod remove;

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};

use crate::{
    downward::Facts,
    objects::{Objects, References},
    paths::PodPaths,
    resources,
    tokens::TokenSpec,
};

pub(crate) use projection::Payload;
use projection::TokenAccess;
pub(crate) use remove::remove_tree;

/// Why a volume cannot be made; `Display` is the text of a `FailedMount` event (contract S12-13).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
pub(crate) struct VolumeError {
    /// Name of the volume.
    pub(crate) volume: String,
    /// What is wrong.
    pub(crate) message: String,
}

/// Where a volume's content is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VolumeSource {
    /// A directory or file of the host.
    Host(PathBuf),
    /// A tmpfs that the sandbox mounts at this directory.
    Memory(PathBuf),
    /// An image, by the reference that the manifest gives.
    Image(String),
}

/// One volume, ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadyVolume {
    /// Content.
    pub(crate) source: VolumeSource,
    /// Whether it is read-only however it is mounted (ConfigMaps and their like).
    pub(crate) read_only: bool,
}

/// Makes the volumes of one pod. Everything may be repeated.
pub(crate) struct Volumes<'a> {
    /// Directories of the pod.
    pub(crate) paths: &'a PodPaths,
    /// The pod and its facts.
    pub(crate) facts: &'a Facts<'a>,
    /// Group that owns the volumes (`fsGroup`).
    pub(crate) group: Option<u32>,
    /// User of all containers, if they have one in common: the only one who needs to read the token.
    pub(crate) user: Option<u32>,
}

/// Collects the objects that a pod's volumes are made of.
pub(crate) fn references(pod: &Pod) -> References {
    let mut refs = References::default();
    for volume in volumes_of(pod) {
        refs.config_maps.extend(volume.config_map.iter().map(|s| s.name.clone()));
        refs.secrets.extend(volume.secret.iter().filter_map(|s| s.secret_name.clone()));
        let sources = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        for source in sources {
            refs.config_maps.extend(source.config_map.iter().map(|s| s.name.clone()));
            refs.secrets.extend(source.secret.iter().map(|s| s.name.clone()));
            refs.tokens.extend(source.service_account_token.iter().map(TokenSpec::of));
        }
    }
    refs
}

/// Returns the volumes of a pod's spec.
pub(crate) fn volumes_of(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten())
}

/// Returns where each volume of a pod is, without looking at the disk.
pub(crate) fn locate(paths: &PodPaths, pod: &Pod) -> BTreeMap<String, ReadyVolume> {
    let ready = |source, read_only| ReadyVolume { source, read_only };
    volumes_of(pod)
        .filter_map(|volume| {
            let name = &volume.name;
            let at = if let Some(source) = &volume.host_path {
                ready(VolumeSource::Host(source.path.clone().into()), false)
            } else if let Some(source) = &volume.image {
                ready(VolumeSource::Image(source.reference.clone().unwrap_or_default()), true)
            } else if let Some(plugin) = content_plugin(volume) {
                ready(VolumeSource::Host(content_dir(paths, plugin, name)), true)
            } else {
                let dir = paths.disk_volume(EMPTY_DIR, name);
                match empty_dir(volume)?.medium.as_deref() {
                    Some("Memory") => ready(VolumeSource::Memory(dir), false),
                    _ => ready(VolumeSource::Host(dir), false),
                }
            };
            Some((name.clone(), at))
        })
        .collect()
}

/// Returns the in-memory volumes that the sandbox is to hold.
pub(crate) fn memory_volumes(paths: &PodPaths, pod: &Pod, group: Option<u32>) -> Vec<cri::MemoryVolume> {
    volumes_of(pod)
        .filter_map(|volume| Some((volume, empty_dir(volume)?)))
        .filter(|(_, source)| source.medium.as_deref() == Some("Memory"))
        .map(|(volume, source)| cri::MemoryVolume {
            path: paths.disk_volume(EMPTY_DIR, &volume.name),
            size_bytes: source
                .size_limit
                .as_ref()
                .map(|q| resources::quantity(q).ceil())
                .and_then(|v| u64::try_from(v).ok())
                .filter(|v| *v > 0),
            mode: empty_dir_mode(group),
            gid: group,
        })
        .collect()
}

/// Prepares the directories of a pod.
pub(crate) fn make_directories(paths: &PodPaths) -> std::io::Result<()> {
    for dir in [&paths.root, &paths.run] {
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o750))?;
    }
    Ok(())
}

/// Removes everything of a pod but its logs.
pub(crate) fn remove_directories(paths: &PodPaths) -> std::io::Result<()> {
    remove_tree(&paths.root)?;
    remove_tree(&paths.run)
}

impl Volumes<'_> {
    /// Makes every volume that can be made, and returns what is wrong with the others.
    pub(crate) fn prepare(&self, objects: &Objects) -> Vec<VolumeError> {
        let failed = |volume: &Volume| {
            let message = self.prepare_one(volume, objects).err()?;
            Some(VolumeError { volume: volume.name.clone(), message })
        };
        volumes_of(self.facts.pod).filter_map(failed).collect()
    }

    /// Writes the content volumes again where their objects changed (contract S11-05).
    pub(crate) fn refresh(&self, objects: &Objects) -> Result<(), VolumeError> {
        volumes_of(self.facts.pod).filter(|v| content_plugin(v).is_some()).try_for_each(|volume| {
            self.prepare_one(volume, objects).map_err(|message| VolumeError { volume: volume.name.clone(), message })
        })
    }

    fn token_access(&self) -> TokenAccess {
        TokenAccess { user: self.user, only_owner: self.user.is_some() || self.group.is_some() }
    }

    fn prepare_one(&self, volume: &Volume, objects: &Objects) -> Result<(), String> {
        if let Some(plugin) = content_plugin(volume) {
            let payload = projection::payload(volume, self.facts, objects, self.token_access())?;
            let dir = content_dir(self.paths, plugin, &volume.name);
            return atomic::write(&dir, &payload, self.group).map_err(|e| e.to_string());
        }
        if let Some(source) = &volume.host_path {
            return host_path::check(Path::new(&source.path), source.type_.as_deref().unwrap_or_default())
                .map_err(|e| e.to_string());
        }
        if volume.image.is_some() {
            return Ok(());
        }
        match empty_dir(volume) {
            Some(_) => self.make_empty_dir(&volume.name).map_err(|e| e.to_string()),
            None => Err("this kind of volume is not supported on a single machine".to_owned()),
        }
    }

    /// Makes an emptyDir's directory; one that is there already belongs to the containers and is left
    /// alone.
    fn make_empty_dir(&self, name: &str) -> std::io::Result<()> {
        let dir = self.paths.disk_volume(EMPTY_DIR, name);
        if let Some(parent) = dir.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match std::fs::create_dir(&dir) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(e) => return Err(e),
        }
        if let Some(group) = self.group {
            chown(&dir, None, Some(group))?;
        }
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(empty_dir_mode(self.group)))
    }
}

pub(crate) const EMPTY_DIR: &str = "empty-dir";

/// World-writable (contract S11-02); files made in it belong to `fsGroup` if there is one.
fn empty_dir_mode(group: Option<u32>) -> u32 {
    if group.is_some() { 0o2777 } else { 0o777 }
}

/// Returns the emptyDir source; a volume without any source is one too (contract S11-03).
fn empty_dir(volume: &Volume) -> Option<EmptyDirVolumeSource> {
    volume.empty_dir.clone().or_else(|| {
        let bare = Volume { name: volume.name.clone(), ..Volume::default() };
        (*volume == bare).then(EmptyDirVolumeSource::default)
    })
}

/// Names the plugin of a volume whose content we write.
fn content_plugin(volume: &Volume) -> Option<&'static str> {
    if volume.config_map.is_some() {
        Some("configmap")
    } else if volume.secret.is_some() {
        Some("secret")
    } else if volume.downward_api.is_some() {
        Some("downward-api")
    } else if volume.projected.is_some() {
        Some("projected")
    } else {
        None
    }
}

/// ConfigMaps lie on disk, everything that may hold a secret in memory (contract S11-06).
fn content_dir(paths: &PodPaths, plugin: &str, name: &str) -> PathBuf {
    match plugin {
        "configmap" => paths.disk_volume(plugin, name),
        _ => paths.memory_volume(plugin, name),
    }
}

#[cfg(test)]
mod tests;
