//! Cgroups of pods and containers, for cgroup v1, v2 and the hybrid of both.
//!
//! A pod has one cgroup, `<parent>/pod<uid>`, and each container one below it, as the kubelet lays them
//! out. With v1 a "cgroup" here means the directory of that name in every mounted hierarchy; with v2 it
//! is one directory. In the hybrid layout each controller is used where it is mounted, and the unified
//! hierarchy serves for killing and for learning when a cgroup is empty.
//!
//! Paths are relative to the mount points, so that the module also works inside a container whose
//! cgroup is the root of what it sees.
//!
//! Everything is synchronous and may be repeated after a crash: creating what exists and removing what is
//! gone succeed.

mod detect;
mod device_filter;
mod devices;
mod error;
mod file;
mod group;
mod limits;
mod reap;
mod view;

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use cri::{Memory, Resources};
pub use devices::{DeviceAccess, DeviceKind, DeviceRule};
pub use error::{Error, Result};
use group::Group;
pub use limits::weight_of_shares;
use serde::{Deserialize, Serialize};
pub use view::{ContainerView, V1Mount};

/// Child of a v2 pod cgroup for processes that belong to no container: a v2 cgroup that distributes
/// controllers may not hold processes itself (cgroup-v2.rst, "No Internal Process Constraint").
const LEAF: &str = "shim";

/// The cgroup hierarchies of this machine. Serialisable, so that a shim need not look again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    v1: Vec<Hierarchy>,
    unified: Option<PathBuf>,
}

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hierarchy {
    controllers: Vec<String>,
    mount: PathBuf,
}

impl Cgroups {
    /// Finds the hierarchies that the calling process sees.
    ///
    /// # Errors
    /// [`Error::NotMounted`] when there is none.
    pub fn detect() -> Result<Self> {
        detect::detect()
    }

    /// Describes a machine whose only hierarchy is v2, mounted at `mount`.
    pub fn unified_at(mount: impl Into<PathBuf>) -> Self {
        Self { v1: Vec::new(), unified: Some(mount.into()) }
    }

    /// Returns whether the machine has cgroup v2 only.
    pub fn is_unified(&self) -> bool {
        self.v1.is_empty()
    }

    /// Kills every process in and below `parent` and removes it, whoever made it; what is not there is no
    /// error. Directories above that have become empty are removed too.
    ///
    /// # Errors
    /// [`Error::Busy`] when processes survive; [`Error::InvalidName`], [`Error::Io`].
    pub fn sweep(&self, parent: &str) -> Result<()> {
        let group = Group::new(&Arc::new(self.clone()), &relative(parent)?);
        group.remove()?;
        group.remove_empty_ancestors();
        Ok(())
    }
}

/// The cgroup of a pod.
#[derive(Debug, Clone)]
pub struct PodCgroup {
    group: Group,
}

impl PodCgroup {
    /// Creates the cgroup `<parent>/pod<uid>`, or takes it over, and sets its limits.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a limit that cannot be enforced; [`Error::InvalidName`], [`Error::Io`].
    pub fn create(cgroups: &Cgroups, parent: &str, pod_uid: &str, resources: &Resources) -> Result<Self> {
        let pod = Self::open(cgroups, parent, pod_uid)?;
        pod.group.create()?;
        pod.group.distribute_controllers()?;
        limits::apply(&pod.group, resources)?;
        Ok(pod)
    }

    /// Names the cgroup that [`Self::create`] made earlier, maybe in another process. Touches nothing.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    pub fn open(cgroups: &Cgroups, parent: &str, pod_uid: &str) -> Result<Self> {
        let path = relative(parent)?.join(component(&format!("pod{pod_uid}"))?);
        Ok(Self { group: Group::new(&Arc::new(cgroups.clone()), &path) })
    }

    /// Moves a process that belongs to no container (the shim) into the pod.
    ///
    /// # Errors
    /// [`Error::Io`], with `ESRCH` when there is no such process.
    pub fn add_process(&self, pid: u32) -> Result<()> {
        if !self.group.cgroups().is_unified() {
            return self.group.add_process(pid);
        }
        let leaf = self.group.child(LEAF);
        leaf.create()?;
        leaf.add_process(pid)
    }

    /// Changes the limits that are given.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a limit that cannot be enforced; [`Error::Io`].
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        limits::apply(&self.group, resources)
    }

    /// Returns the memory in use and its limit; zero and none without a memory controller.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn memory(&self) -> Result<Memory> {
        limits::memory(&self.group)
    }

    /// Returns how many processes the kernel has killed in the pod for want of memory. With v1, those of
    /// containers are counted in their own cgroups only.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn oom_kills(&self) -> Result<u64> {
        self.group.oom_kills()
    }

    /// Returns the processes of the pod: the containers' and the shim.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pids(&self) -> Result<Vec<u32>> {
        self.group.pids()
    }

    /// Sends SIGKILL to every process of the pod, the shim included. Does not wait for their end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn kill_all(&self) -> Result<()> {
        self.group.kill_all()
    }

    /// Removes the cgroup and everything below, after killing what still runs there.
    ///
    /// # Errors
    /// [`Error::Busy`] when a process survives SIGKILL for long; [`Error::Io`].
    pub fn remove(&self) -> Result<()> {
        self.group.remove()
    }

    /// Returns the path of the cgroup, relative to the mount points.
    pub fn path(&self) -> &Path {
        self.group.path()
    }
}

/// The cgroup of a container.
#[derive(Debug, Clone)]
pub struct ContainerCgroup {
    group: Group,
}

impl ContainerCgroup {
    /// Creates the container's cgroup, or takes it over, and sets its limits. With v2 the kernel is told to
    /// kill all of the container when it runs out of memory (contract S8-13).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a limit that cannot be enforced; [`Error::InvalidName`], [`Error::Io`].
    pub fn create(pod: &PodCgroup, id: &str, resources: &Resources) -> Result<Self> {
        let container = Self::open(pod, id)?;
        container.group.create()?;
        limits::apply(&container.group, resources)?;
        container.group.kill_as_a_whole()?;
        Ok(container)
    }

    /// Names the cgroup that [`Self::create`] made earlier, maybe in another process. Touches nothing.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    pub fn open(pod: &PodCgroup, id: &str) -> Result<Self> {
        Ok(Self { group: pod.group.child(component(id)?) })
    }

    /// Moves a process into the container. Its threads come along, its existing children do not.
    ///
    /// # Errors
    /// [`Error::Io`], with `ESRCH` when there is no such process.
    pub fn add_process(&self, pid: u32) -> Result<()> {
        self.group.add_process(pid)
    }

    /// Opens the cgroup's directory for `CLONE_INTO_CGROUP`, which then makes [`Self::add_process`]
    /// superfluous. `None` where v1 hierarchies have to be joined as well.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn directory(&self) -> Result<Option<OwnedFd>> {
        self.group.directory()
    }

    /// Opens the cgroup's directory in the unified hierarchy, if there is one, for `CLONE_INTO_CGROUP`. A child
    /// born there has to [`Self::join`] for the rest, if there is any.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unified_directory(&self) -> Result<Option<OwnedFd>> {
        self.group.unified_directory()
    }

    /// Moves the calling process in, except for the unified hierarchy ([`Self::unified_directory`]). It must
    /// have one thread only: others would stay behind.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn join(&self) -> Result<()> {
        self.group.join()
    }

    /// Forbids all devices but those of `rules`. Without this call, a container may use those that its
    /// parents may use: all.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DeviceFilter`].
    pub fn restrict_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        devices::restrict(&self.group, rules)
    }

    /// Changes the limits that are given.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a limit that cannot be enforced; [`Error::Io`].
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        limits::apply(&self.group, resources)
    }

    /// Returns the memory in use and its limit; zero and none without a memory controller.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn memory(&self) -> Result<Memory> {
        limits::memory(&self.group)
    }

    /// Returns how many processes of the container the kernel has killed for want of memory. 0 without a
    /// memory controller.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn oom_kills(&self) -> Result<u64> {
        self.group.oom_kills()
    }

    /// Returns the processes of the container.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pids(&self) -> Result<Vec<u32>> {
        self.group.pids()
    }

    /// Sends SIGKILL to every process of the container. Does not wait for their end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn kill_all(&self) -> Result<()> {
        self.group.kill_all()
    }

    /// Removes the cgroup, after killing what still runs there.
    ///
    /// # Errors
    /// [`Error::Busy`] when a process survives SIGKILL for long; [`Error::Io`].
    pub fn remove(&self) -> Result<()> {
        self.group.remove()
    }

    /// Describes what to mount at `/sys/fs/cgroup` in the container.
    pub fn container_view(&self) -> ContainerView {
        view::of(&self.group)
    }

    /// Returns the path of the cgroup, relative to the mount points.
    pub fn path(&self) -> &Path {
        self.group.path()
    }
}

/// Takes a path such as `/podrig/default`: at least one name, and no way up.
fn relative(path: &str) -> Result<PathBuf> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Error::InvalidName { name: path.to_owned() });
    }
    names.into_iter().map(component).collect()
}

/// Takes one name of a cgroup.
fn component(name: &str) -> Result<&str> {
    let valid = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0', '\n']);
    if valid { Ok(name) } else { Err(Error::InvalidName { name: name.to_owned() }) }
}

/// Whether an error only says that something is not there (any more).
fn is_gone(error: &io::Error) -> bool {
    // ENODEV comes from files of a cgroup that is being removed.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}
