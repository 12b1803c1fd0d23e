//! Where things of a pod lie on disk.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::{
    Options,
    names::{pod_name, pod_namespace, pod_uid},
};

/// Directories of one pod.
///
/// Guarantee: no component comes from a container; names are DNS labels and uids that the API server
/// has validated, and [`is_plain`] is checked again where a directory is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodPaths {
    /// Disk volumes and termination messages.
    pub(crate) root: PathBuf,
    /// Volumes in memory.
    pub(crate) run: PathBuf,
    /// Log directory.
    pub(crate) logs: PathBuf,
}

impl PodPaths {
    /// Computes the directories of a pod.
    pub(crate) fn new(options: &Options, pod: &Pod) -> Self {
        Self::of(options, pod_namespace(pod), pod_name(pod), pod_uid(pod))
    }

    /// Computes the directories from the pod's names.
    pub(crate) fn of(options: &Options, namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            root: options.root_dir.join("pods").join(uid),
            run: options.run_dir.join("pods").join(uid),
            logs: options.log_dir.join(format!("{namespace}_{name}_{uid}")),
        }
    }

    /// Returns the directory of a volume on disk.
    pub(crate) fn disk_volume(&self, plugin: &str, name: &str) -> PathBuf {
        self.root.join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
    }

    /// Returns the directory of a volume in memory.
    pub(crate) fn memory_volume(&self, plugin: &str, name: &str) -> PathBuf {
        self.run.join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
    }

    /// Returns the file that an instance writes its termination message to.
    pub(crate) fn termination_message(&self, container: &str, attempt: u32) -> PathBuf {
        self.root.join("containers").join(container).join(format!("{attempt}.message"))
    }

    /// Returns the log file of an instance.
    pub(crate) fn log(&self, container: &str, attempt: u32) -> PathBuf {
        self.logs.join(log_path(container, attempt))
    }
}

/// Returns the log file of an instance, relative to the pod's log directory.
pub(crate) fn log_path(container: &str, attempt: u32) -> PathBuf {
    Path::new(container).join(format!("{attempt}.log"))
}

/// Tells whether a name is a single, ordinary path component.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}
