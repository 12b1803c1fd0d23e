//! Limits of local storage, which only looking can enforce (pkg/kubelet/eviction/eviction_manager.go
//! `localStorageEviction`; contract S4-57).
//!
//! Nobody else has to be looked at: a pod without such a limit is never measured.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use apimachinery::resources as rules;
use cri::{ContainerFilter, ImageService, RuntimeService};
use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::{executor::PodContext, names::pod_uid, paths::PodPaths, resources::quantity, volumes};

/// How often pods are measured (kubelet `monitoringInterval`).
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
const STORAGE: &str = "ephemeral-storage";

/// Bytes that a pod uses on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// By name: root file system and logs.
    pub(crate) containers: BTreeMap<String, u64>,
    /// By name: volumes that count as the pod's own.
    volumes: BTreeMap<String, u64>,
    /// Files of all of these.
    pub(crate) inodes: u64,
}

impl Usage {
    /// Returns the bytes of all.
    pub(crate) fn total(&self) -> u64 {
        self.containers.values().chain(self.volumes.values()).sum()
    }
}

impl<R: RuntimeService + ImageService> PodContext<R> {
    /// Measures the pod, and says why it is to be evicted if it is. What cannot be measured counts as nothing.
    pub(crate) async fn over_storage_limit(self) -> Option<String> {
        exceeded(&self.plan.pod, &usage(&*self.node.runtime, &self.plan.pod, &self.paths).await?)
    }
}

/// Measures a pod; `None`: the runtime does not say what it has of it.
pub(crate) async fn usage<R: RuntimeService>(runtime: &R, pod: &Arc<Pod>, paths: &PodPaths) -> Option<Usage> {
    let mut places = BTreeMap::new();
    let filter = ContainerFilter { sandbox: None, pod_uid: Some(pod_uid(pod).to_owned()) };
    let mut all = runtime.list_containers(filter).await.ok()?;
    all.sort_by_key(|container| (container.attempt, container.created_at));
    for container in all {
        if let Ok(layer) = runtime.writable_layer(&container.id).await {
            let logs = paths.logs.join(&container.name);
            places.insert(container.name, [layer, logs]);
        }
    }
    let (pod, paths) = (Arc::clone(pod), paths.clone());
    tokio::task::spawn_blocking(move || measure(&pod, &paths, &places)).await.ok()
}

/// Tells whether a pod has a limit of local storage.
pub(crate) fn has_limit(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let of_volume = volumes::volumes_of(pod).any(|volume| size_limit(volume).is_some());
    of_volume || rules::pod_limits(spec).contains_key(STORAGE)
}

fn measure(pod: &Pod, paths: &PodPaths, places: &BTreeMap<String, [PathBuf; 2]>) -> Usage {
    let on_disk = |volume: &&Volume| volume.empty_dir.is_some() && !in_memory(volume);
    let volumes = volumes::volumes_of(pod).filter(on_disk);
    let mut inodes = 0;
    let mut sum = |dirs: &[PathBuf]| {
        let sizes = dirs.iter().map(|dir| size(dir));
        sizes.fold(0, |bytes, size| {
            inodes += size.inodes;
            bytes + size.bytes
        })
    };
    let containers = places.iter().map(|(name, dirs)| (name.clone(), sum(dirs))).collect();
    let volumes = volumes
        .map(|volume| (volume.name.clone(), sum(&[paths.disk_volume(volumes::EMPTY_DIR, &volume.name)])))
        .collect();
    Usage { containers, volumes, inodes }
}

/// Returns the message of the first limit that is exceeded: volumes first, then the pod, then containers.
fn exceeded(pod: &Pod, usage: &Usage) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    for volume in volumes::volumes_of(pod) {
        let used = usage.volumes.get(&volume.name).copied().unwrap_or(0);
        if let Some(limit) = size_limit(volume).filter(|&limit| exceeds(used, limit)) {
            return Some(format!("Usage of EmptyDir volume {:?} exceeds the limit \"{limit}\". ", volume.name));
        }
    }
    if let Some(&limit) = rules::pod_limits(spec).get(STORAGE).filter(|&&limit| exceeds(usage.total(), limit)) {
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
    }
    // Main containers only.
    spec.containers.iter().find_map(|container| {
        let limit = rules::container_limits(container).get(STORAGE).copied()?;
        let used = usage.containers.get(&container.name).copied().unwrap_or(0);
        let text = format!("Container {} exceeded its local ephemeral storage limit \"{limit}\". ", container.name);
        exceeds(used, limit).then_some(text)
    })
}

fn exceeds(used: u64, limit: apimachinery::quantity::Quantity) -> bool {
    u64::try_from(limit.ceil()).is_ok_and(|limit| used > limit)
}

/// Returns the limit of a volume on disk. One in memory cannot grow beyond its own.
fn size_limit(volume: &Volume) -> Option<apimachinery::quantity::Quantity> {
    let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
    Some(quantity(limit)).filter(|limit| !limit.is_zero() && !in_memory(volume))
}

fn in_memory(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref() == Some("Memory"))
}

/// What files take of the disk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Size {
    bytes: u64,
    inodes: u64,
}

/// Adds up what the files below a directory take of the disk, each once. Links are not followed.
fn size(dir: &Path) -> Size {
    let (mut total, mut seen) = (Size::default(), BTreeSet::new());
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            // Only what has several names can come again: a container may make more files than there is memory for.
            if meta.is_dir() || meta.nlink() < 2 || seen.insert((meta.dev(), meta.ino())) {
                total.bytes += meta.blocks() * BLOCK;
                total.inodes += 1;
            }
            if meta.is_dir() {
                left.push(entry.path());
            }
        }
    }
    total
}

/// Unit of `st_blocks`.
const BLOCK: u64 = 512;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn limited(name: &str, storage: &str) -> Value {
        json!({"name": name, "image": "i", "resources": {"limits": {STORAGE: storage}}})
    }

    fn pod(init: Value, main: Value, volumes: Value) -> Pod {
        let spec = json!({"initContainers": init, "containers": main, "volumes": volumes});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod")
    }

    fn usage(containers: &[(&str, u64)], volumes: &[(&str, u64)]) -> Usage {
        let map = |list: &[(&str, u64)]| list.iter().map(|(name, mib)| ((*name).to_owned(), mib << 20)).collect();
        Usage { containers: map(containers), volumes: map(volumes), inodes: 0 }
    }

    #[test]
    fn s4_57_a_sidecar_over_its_own_limit_but_under_the_pods_is_left_alone() {
        let mut sidecar = limited("proxy", "1Mi");
        sidecar["restartPolicy"] = json!("Always");
        let pod = pod(json!([sidecar]), json!([limited("app", "4Mi")]), json!([]));
        assert!(has_limit(&pod));
        assert_eq!(exceeded(&pod, &usage(&[("proxy", 3), ("app", 1)], &[])), None);
        let text = "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ";
        assert_eq!(exceeded(&pod, &usage(&[("proxy", 3), ("app", 3)], &[])).as_deref(), Some(text));
        let text = "Container app exceeded its local ephemeral storage limit \"4Mi\". ";
        assert_eq!(exceeded(&pod, &usage(&[("app", 5)], &[])).as_deref(), Some(text));
    }

    #[test]
    fn s4_57_a_volume_on_disk_has_its_own_limit_and_one_in_memory_is_not_looked_at() {
        let volumes = json!([
            {"name": "disk", "emptyDir": {"sizeLimit": "1Mi"}},
            {"name": "mem", "emptyDir": {"sizeLimit": "1Mi", "medium": "Memory"}}
        ]);
        let pod = pod(json!([]), json!([{"name": "app", "image": "i"}]), volumes);
        assert!(has_limit(&pod));
        assert_eq!(exceeded(&pod, &usage(&[("app", 9)], &[("disk", 1), ("mem", 9)])), None);
        let text = "Usage of EmptyDir volume \"disk\" exceeds the limit \"1Mi\". ";
        assert_eq!(exceeded(&pod, &usage(&[], &[("disk", 2)])).as_deref(), Some(text));
    }

    #[test]
    fn s4_57_files_count_once_and_a_pod_without_limits_is_not_measured() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("sub")).expect("made");
        std::fs::write(dir.path().join("sub/file"), vec![1; 1 << 20]).expect("written");
        let once = size(dir.path());
        assert!(once.bytes >= 1 << 20, "{once:?}");
        assert_eq!(once.inodes, 2);
        std::fs::hard_link(dir.path().join("sub/file"), dir.path().join("again")).expect("linked");
        assert_eq!(size(dir.path()), once);
        assert!(!has_limit(&pod(
            json!([]),
            json!([{"name": "app", "image": "i"}]),
            json!([{"name": "v", "emptyDir": {}}])
        )));
    }
}
