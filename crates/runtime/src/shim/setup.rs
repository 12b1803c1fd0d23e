//! Becoming a sandbox.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, PermissionsExt},
            net::UnixListener,
        },
    },
    path::Path,
};

use cri::{MemoryVolume, NamespaceMode, SandboxConfig};
use rustix::{
    fs::FlockOperation,
    mount::{MountAttrFlags, MountPropagationFlags},
    process::Signal,
    thread::UnshareFlags,
};

use super::server::Server;
use crate::{
    container::{
        init::set_oom_score,
        rootfs::{INERT, attach, new_file_system},
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
    make_namespaces(&record.config)?;
    mount_own(dir, &record.config)?;
    let pod_pids = match record.config.namespaces.pid {
        NamespaceMode::Pod => Some(start_pause().map_err(|e| format!("pod's PID namespace: {e}"))?),
        NamespaceMode::Container | NamespaceMode::Node => None,
    };
    let listener = listen(&record.socket).map_err(|e| format!("listen on {}: {e}", record.socket.display()))?;
    Ok(Server::new(dir.to_path_buf(), record, lock, listener, signals, own_pids.into(), pod_pids))
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

fn make_namespaces(config: &SandboxConfig) -> Result<(), String> {
    let mut flags = UnshareFlags::NEWNS;
    if config.namespaces.network != NamespaceMode::Node {
        flags |= UnshareFlags::NEWNET | UnshareFlags::NEWUTS;
    }
    if config.namespaces.ipc != NamespaceMode::Node {
        flags |= UnshareFlags::NEWIPC;
    }
    sys::unshare(flags).map_err(|e| format!("make namespaces: {e}"))?;
    // What is mounted here stays here; what the host mounts and unmounts is followed, so that no file
    // system of the host is kept busy.
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", follow).map_err(|e| format!("mount propagation: {e}"))?;
    if config.namespaces.network != NamespaceMode::Node {
        rustix::system::sethostname(config.hostname.as_bytes()).map_err(|e| format!("set host name: {e}"))?;
    }
    set_kernel_parameters(config)
}

fn set_kernel_parameters(config: &SandboxConfig) -> Result<(), String> {
    let path = |name: &str| Path::new("/proc/sys").join(name.replace('.', "/"));
    if config.namespaces.network != NamespaceMode::Node {
        // As containerd by default: any user may bind any port and send pings inside the pod.
        let defaults = [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];
        for (name, value) in defaults.into_iter().filter(|(name, _)| !config.sysctls.contains_key(*name)) {
            let _ = fs::write(path(name), value);
        }
    }
    config.sysctls.iter().try_for_each(|(name, value)| {
        if name.split(['.', '/']).any(|part| part.is_empty() || part == "..") {
            return Err(format!("kernel parameter {name:?}: not a name"));
        }
        fs::write(path(name), value).map_err(|e| format!("set kernel parameter {name}: {e}"))
    })
}

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

/// Starts the first process of the pod's shared PID namespace: it adopts orphans and does nothing else.
fn start_pause() -> io::Result<OwnedFd> {
    match sys::clone_process(libc::CLONE_NEWPID, None)? {
        Cloned::Child => pause(),
        Cloned::Parent(_, pidfd) => Ok(pidfd),
    }
}

fn pause() -> ! {
    sys::close_from(0);
    let _ = rustix::thread::set_name(c"pause");
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    sys::ignore_signal(libc::SIGTERM);
    // Ignored children leave no zombies, so that there is nothing to wait for.
    sys::ignore_signal(libc::SIGCHLD);
    loop {
        rustix::event::pause();
    }
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
