//! One cgroup: the directories of one path in all hierarchies.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags};

use super::{Cgroups, Result, file, is_gone, reap};

/// Controllers that limits need, enabled below every v2 cgroup on the way to a pod's.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// Where the processes of a v2 root go that is the root of a container only: like any other cgroup but the
/// machine's root it may not have both processes and controllers below.
const ROOT_LEAF: &str = "podrig-init";

/// How often a directory is made again when another process removes its parent at that moment.
const CREATE_TRIES: u32 = 10;

/// A cgroup, existing or not.
#[derive(Debug, Clone)]
pub(super) struct Group {
    cgroups: Arc<Cgroups>,
    path: PathBuf,
}

/// Where a controller's files of a cgroup are.
#[derive(Debug)]
pub(super) enum Place {
    V1(PathBuf),
    V2(PathBuf),
}

impl Group {
    pub(super) fn new(cgroups: &Arc<Cgroups>, path: &Path) -> Self {
        Self { cgroups: Arc::clone(cgroups), path: path.to_owned() }
    }

    pub(super) fn child(&self, name: &str) -> Self {
        Self::new(&self.cgroups, &self.path.join(name))
    }

    pub(super) fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where `controller` is found; for v2 that does not say that it is enabled.
    pub(super) fn place(&self, controller: &str) -> Option<Place> {
        let v1 = self.cgroups.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|c| c == controller));
        match v1 {
            Some(hierarchy) => Some(Place::V1(hierarchy.mount.join(&self.path))),
            None => self.unified().map(Place::V2),
        }
    }

    /// Returns the directory in the v2 hierarchy, if that is mounted.
    pub(super) fn unified(&self) -> Option<PathBuf> {
        self.cgroups.unified.as_ref().map(|mount| mount.join(&self.path))
    }

    /// Returns the directories in all hierarchies.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        self.mounts().map(|mount| mount.join(&self.path)).collect()
    }

    /// Returns the directory that knows the cgroup's processes best.
    pub(super) fn main_directory(&self) -> Option<PathBuf> {
        self.mounts().last().map(|mount| mount.join(&self.path))
    }

    fn mounts(&self) -> impl Iterator<Item = &PathBuf> {
        self.cgroups.v1.iter().map(|hierarchy| &hierarchy.mount).chain(&self.cgroups.unified)
    }

    pub(super) fn exists(&self) -> bool {
        self.main_directory().is_some_and(|dir| dir.exists())
    }

    /// Makes the directories, and those above them.
    pub(super) fn create(&self) -> Result<()> {
        for hierarchy in &self.cgroups.v1 {
            let cpuset = hierarchy.controllers.iter().any(|controller| controller == "cpuset");
            self.create_in(&hierarchy.mount, if cpuset { inherit_cpuset } else { |_, _| Ok(()) })?;
        }
        match &self.cgroups.unified {
            Some(mount) if self.cgroups.is_unified() => self.create_in(mount, |parent, _| enable_controllers(parent)),
            Some(mount) => self.create_in(mount, |_, _| Ok(())),
            None => Ok(()),
        }
    }

    /// Makes the directory below `mount`; `prepare` sees each level's parent and the level itself.
    ///
    /// The usual case is that only the last level is missing and needs one system call.
    fn create_in(&self, mount: &Path, prepare: fn(&Path, &Path) -> Result<()>) -> Result<()> {
        let dir = mount.join(&self.path);
        for _ in 1..CREATE_TRIES {
            match create_levels(mount, &self.path, prepare) {
                Err(super::Error::Io { source, .. }) if is_gone(&source) && mount.exists() => {}
                other => return other,
            }
        }
        Err(file::failed("create", &dir, io::ErrorKind::NotFound.into()))
    }

    /// Enables the controllers for the cgroups below this one (v2).
    pub(super) fn distribute_controllers(&self) -> Result<()> {
        match self.unified() {
            Some(dir) if self.cgroups.is_unified() => enable_controllers(&dir),
            Some(_) | None => Ok(()),
        }
    }

    /// Has the kernel kill all processes of this cgroup when one has to die for want of memory (v2).
    pub(super) fn kill_as_a_whole(&self) -> Result<()> {
        let Some(Place::V2(dir)) = self.place("memory") else { return Ok(()) };
        match file::write(&dir.join("memory.oom.group"), "1") {
            Err(super::Error::Io { source, .. }) if is_gone(&source) => Ok(()),
            other => other,
        }
    }

    pub(super) fn add_process(&self, pid: u32) -> Result<()> {
        let pid = pid.to_string();
        self.directories().iter().try_for_each(|dir| file::write(&dir.join("cgroup.procs"), &pid))
    }

    /// Opens the directory if it alone makes up the cgroup.
    pub(super) fn directory(&self) -> Result<Option<OwnedFd>> {
        if self.cgroups.is_unified() { self.unified_directory() } else { Ok(None) }
    }

    /// Moves the calling process, which must have one thread and have been born into the unified hierarchy's
    /// part of this cgroup, into its parts in the v1 hierarchies.
    ///
    /// `tasks` instead of `cgroup.procs`: for the calling thread alone the kernel spares itself the lock that
    /// keeps thread groups together, and with it the wait for an RCU grace period of some 15 ms.
    pub(super) fn join(&self) -> Result<()> {
        let hierarchies = self.cgroups.v1.iter().map(|hierarchy| hierarchy.mount.join(&self.path).join("tasks"));
        hierarchies.into_iter().try_for_each(|tasks| file::write(&tasks, "0"))
    }

    /// Opens the directory in the unified hierarchy, if there is one.
    pub(super) fn unified_directory(&self) -> Result<Option<OwnedFd>> {
        let Some(dir) = self.unified() else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&dir, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(errno) => Err(file::failed("open", &dir, errno.into())),
        }
    }

    pub(super) fn oom_kills(&self) -> Result<u64> {
        let path = match self.place("memory") {
            Some(Place::V1(dir)) => dir.join("memory.oom_control"),
            Some(Place::V2(dir)) => dir.join("memory.events"),
            None => return Ok(0),
        };
        match file::read_key(&path, "oom_kill") {
            Err(super::Error::Io { source, .. }) if is_gone(&source) && self.exists() => Ok(0),
            other => other,
        }
    }

    /// Returns the processes in this cgroup and below.
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        match self.main_directory() {
            Some(dir) => reap::pids_below(&dir),
            None => Ok(Vec::new()),
        }
    }

    /// Removes the directories above this one as long as they are empty.
    pub(super) fn remove_empty_ancestors(&self) {
        for path in self.path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()) {
            for mount in self.mounts() {
                // A parent that others still use refuses with EBUSY, which is the point.
                drop(fs::remove_dir(mount.join(path)));
            }
        }
    }
}

fn create_levels(mount: &Path, path: &Path, prepare: fn(&Path, &Path) -> Result<()>) -> Result<()> {
    let mut parent = mount.to_owned();
    for name in path {
        let dir = parent.join(name);
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(file::failed("create", &dir, source)),
        }
        prepare(&parent, &dir)?;
        parent = dir;
    }
    Ok(())
}

/// Gives a new v1 cpuset what its parent has: it starts out empty, and an empty one takes no process.
fn inherit_cpuset(parent: &Path, dir: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if file::read(&dir.join(name))?.trim().is_empty() {
            file::write(&dir.join(name), file::read(&parent.join(name))?.trim())?;
        }
    }
    Ok(())
}

/// Enables the controllers for the children of a v2 cgroup, as far as they are to be had there. One that
/// is not shows when a limit that needs it is set.
fn enable_controllers(dir: &Path) -> Result<()> {
    let names = |file: &str| file::read(&dir.join(file));
    let (available, enabled) = (names("cgroup.controllers")?, names("cgroup.subtree_control")?);
    let has = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    let wanted: Vec<String> = CONTROLLERS
        .iter()
        .filter(|name| has(&available, name) && !has(&enabled, name))
        .map(|name| format!("+{name}"))
        .collect();
    let control = dir.join("cgroup.subtree_control");
    if wanted.is_empty() || file::try_write(&control, &wanted.join(" ")).is_ok() {
        return Ok(());
    }
    evacuate(dir)?;
    for name in wanted {
        if let Err(error) = file::try_write(&control, &name) {
            tracing::debug!(path = %control.display(), controller = name, %error, "controller not enabled");
        }
    }
    Ok(())
}

/// Moves the processes out of the root of a cgroup namespace, as container runtimes inside a container do.
/// Other cgroups are left alone: their processes are somebody's.
fn evacuate(dir: &Path) -> Result<()> {
    let namespace_root = fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.trim() == "0::/");
    let mount_root = dir.parent().is_none_or(|parent| !parent.join("cgroup.procs").exists());
    if !(namespace_root && mount_root && dir.join("cgroup.type").exists()) {
        return Ok(());
    }
    let leaf = dir.join(ROOT_LEAF);
    match fs::create_dir(&leaf) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(file::failed("create", &leaf, source));
        }
        Ok(()) | Err(_) => {}
    }
    for pid in reap::pids_of(dir)? {
        match file::try_write(&leaf.join("cgroup.procs"), &pid.to_string()) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                tracing::debug!(pid, %error, "process not moved out of the root cgroup");
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
