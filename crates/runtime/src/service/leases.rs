//! Which images a container holds in the store, written down before they are taken: an agent that dies in
//! between leaves nothing that the next one could not give back.

use std::{collections::BTreeMap, fs, io, path::Path};

use cri::{ContainerConfig, ContainerId, MountSource, Result};

use super::{ImageRoot, Images, internal, remove_dir};
use crate::record;

/// Names the lease owners of a container, one a line, in the container's directory.
const FILE: &str = "leases";

/// Layers of the image volumes of a container, by image id.
pub(super) type Volumes = BTreeMap<String, Vec<std::path::PathBuf>>;

/// Takes the leases that a container needs: on its own image, and on those mounted as volumes.
pub(super) fn take(
    images: &impl Images,
    sandbox_dir: &Path,
    id: &ContainerId,
    config: &ContainerConfig,
) -> Result<(ImageRoot, Volumes)> {
    let volumes: Vec<&String> = config
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Image(image) => Some(image),
            MountSource::Host(_) => None,
        })
        .collect();
    let owner = |number: usize| if number == 0 { id.0.clone() } else { format!("{}-{number}", id.0) };
    let owners: Vec<String> = (0..=volumes.len()).map(owner).collect();
    let dir = record::container_dir(sandbox_dir, id);
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(dir.join(FILE), owners.join("\n")))
        .map_err(|e| internal(&format!("write the leases of container {id}"), &e))?;
    let root = images.lease(&config.image, &owners[0])?;
    let mut layers = Volumes::new();
    for (image, owner) in volumes.into_iter().zip(&owners[1..]) {
        layers.insert(image.clone(), images.lease(image, owner)?.layers);
    }
    Ok((root, layers))
}

/// Gives back what a container holds and removes its directory. Both may be gone already.
pub(super) fn release(images: &impl Images, sandbox_dir: &Path, id: &ContainerId) -> Result<()> {
    let dir = record::container_dir(sandbox_dir, id);
    let owners = match fs::read_to_string(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|e| internal(&format!("read the leases of container {id}"), &e))?,
    };
    owners.lines().try_for_each(|owner| images.release(owner))?;
    remove_dir(&dir).map_err(|e| internal(&format!("remove {}", dir.display()), &e))
}

/// Releases the containers of a sandbox that are not to be kept.
pub(super) fn release_others(
    images: &impl Images,
    sandbox_dir: &Path,
    keep: impl Fn(&ContainerId) -> bool,
) -> Result<()> {
    let all = record::container_ids(sandbox_dir)
        .map_err(|e| internal(&format!("list containers in {}", sandbox_dir.display()), &e))?;
    all.iter().filter(|id| !keep(id)).try_for_each(|id| release(images, sandbox_dir, id))
}
