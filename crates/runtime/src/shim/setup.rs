//! Becoming a sandbox.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
};

use cri::{MemoryVolume, NamespaceMode, SandboxConfig};
use rustix::{fs::FlockOperation, mount::MountAttrFlags};

use super::{namespaces, server::Server};
use crate::{
    container::{
        init::set_oom_score,
        rootfs::{INERT, attach, clone_tree, new_file_system},
        users::Users,
    },
    record::SandboxRecord,
    sys::{self, Cloned},
};

/// As low as goes: when memory runs out a shim is the last to be killed (`-999` as containerd's shim).
const OOM_SCORE: i32 = -999;

/// Size of `/dev/shm`, as containerd and Docker have it.
const SHM_SIZE: &str = "65536k";

/// Which process this is after [`detach`].
pub(super) enum Detached {
    /// The one that was started; it has nothing more to do.
    Starter,
    /// Its child, in a session of its own.
    Shim,
}

/// Leaves the session and the process tree of whoever started this.
pub(super) fn detach() -> io::Result<Detached> {
    // Fails for a process group leader, which a forked child of the agent is not.
    let _ = rustix::process::setsid();
    match sys::clone_process(0, None)? {
        Cloned::Child => Ok(Detached::Shim),
        Cloned::Parent(..) => Ok(Detached::Starter),
    }
}

/// Closes the pipe to the starter.
pub(super) fn let_go_of_starter() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Takes the sandbox's lock, makes its namespaces and file systems, and listens.
pub(super) fn set_up(dir: &Path) -> Result<Server, String> {
    let record = SandboxRecord::load(dir).map_err(|e| format!("read record in {}: {e}", dir.display()))?;
    let lock = take_lock(dir)?;
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE] {
        sys::ignore_signal(signal);
    }
    let _ = rustix::thread::set_name(c"podrig-shim");
    let _ = set_oom_score(OOM_SCORE);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|e| format!("subreaper: {e}"))?;
    let signals = sys::child_signals().map_err(|e| format!("signalfd: {e}"))?;
    let own_pids = File::open("/proc/self/ns/pid").map_err(|e| format!("PID namespace: {e}"))?;
    let namespaces = namespaces::make(&record.config)?;
    mount_own(dir, &record.config)?;
    if let Some(users) = &namespaces.users {
        check_mappable(dir, users)?;
    }
    let listener = listen(&record.socket).map_err(|e| format!("listen on {}: {e}", record.socket.display()))?;
    Ok(Server::new(dir.to_path_buf(), record, lock, listener, signals, own_pids.into(), namespaces))
}

/// Finds out at once whether files can be shown with other owners where the sandbox's own lie: without, no container
/// of it could be set up.
fn check_mappable(dir: &Path, users: &Users) -> Result<(), String> {
    let tree = clone_tree(dir, false).map_err(|e| format!("{}: {e}", dir.display()))?;
    users.translate(&tree).map_err(|e| format!("user namespace: {}: {e}", dir.display()))
}

/// Takes the lock that shows, to whoever asks the kernel for its holder, which process the shim is.
fn take_lock(dir: &Path) -> Result<File, String> {
    let path = dir.join(LOCK_FILE);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|e| format!("open {}: {e}", path.display()))?;
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| format!("lock {}: {e}", path.display()))?;
    Ok(file)
}

/// Locked by the shim as long as it lives.
pub(crate) const LOCK_FILE: &str = "lock";

fn mount_own(dir: &Path, config: &SandboxConfig) -> Result<(), String> {
    if config.namespaces.ipc != NamespaceMode::Node {
        let options = [("mode", "1777"), ("size", SHM_SIZE)];
        mount_at(&dir.join("shm"), &options, INERT).map_err(|e| format!("mount shared memory: {e}"))?;
    }
    config.memory_volumes.iter().try_for_each(|volume| {
        mount_memory(volume).map_err(|e| format!("mount memory volume {}: {e}", volume.path.display()))
    })
}

fn mount_memory(volume: &MemoryVolume) -> io::Result<()> {
    let mode = format!("{:o}", volume.mode);
    let size = volume.size_bytes.map(|bytes| bytes.to_string());
    let group = volume.gid.map(|gid| gid.to_string());
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    options.extend(group.as_deref().map(|group| ("gid", group)));
    mount_at(&volume.path, &options, MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID)
}

fn mount_at(path: &Path, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let mount = new_file_system("tmpfs", options, attributes)?;
    let target = File::open(path)?;
    attach(&mount, std::os::fd::AsFd::as_fd(&target))
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
