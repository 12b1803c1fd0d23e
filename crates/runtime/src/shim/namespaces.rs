//! The namespaces that a sandbox holds for its containers.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use cri::{IdMapping, NamespaceMode, SandboxConfig, UserNamespace};
use rustix::{
    mount::MountPropagationFlags,
    net::{RecvFlags, SendFlags},
    process::{Pid, Signal, WaitOptions},
    thread::{ThreadNameSpaceType, UnshareFlags},
};

use super::table::channel;
use crate::{
    container::{
        init::{FAILED, GO, MAX_MESSAGE, READY, say, wait_for_go},
        rootfs::leave_files,
        users::{Users, become_root},
    },
    sys::{self, Cloned},
};

/// Those that the shim is not in itself.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// The pod's user namespace, to which all others but the shim's mounts belong then.
    pub(super) users: Option<Users>,
    /// The first process of the pod's shared PID namespace.
    pub(super) pod_pids: Option<OwnedFd>,
}

/// Makes a sandbox's namespaces and moves the shim into those of mounts, network, IPC and names.
pub(super) fn make(config: &SandboxConfig) -> Result<Namespaces, String> {
    let mut own = UnshareFlags::empty();
    if config.namespaces.network != NamespaceMode::Node {
        own |= UnshareFlags::NEWNET | UnshareFlags::NEWUTS;
    }
    if config.namespaces.ipc != NamespaceMode::Node {
        own |= UnshareFlags::NEWIPC;
    }
    let with_mounts = if config.user_namespace.is_some() { UnshareFlags::empty() } else { own };
    sys::unshare(UnshareFlags::NEWNS | with_mounts).map_err(|e| format!("make namespaces: {e}"))?;
    // What is mounted here stays here; what the host mounts and unmounts is followed, so that no file
    // system of the host is kept busy.
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", follow).map_err(|e| format!("mount propagation: {e}"))?;
    let shares_pids = config.namespaces.pid == NamespaceMode::Pod;
    if let Some(ids) = &config.user_namespace {
        return make_for_users(config, ids, shares_pids);
    }
    configure(config)?;
    let pod_pids = if shares_pids { Some(start_pause()?) } else { None };
    Ok(Namespaces { users: None, pod_pids })
}

/// Makes the user namespace together with those that are to belong to it: the kernel gives a new namespace to the
/// user namespace of its maker.
fn make_for_users(config: &SandboxConfig, ids: &UserNamespace, shares_pids: bool) -> Result<Namespaces, String> {
    let modes = config.namespaces;
    if [modes.network, modes.ipc, modes.pid].contains(&NamespaceMode::Node) {
        return Err("user namespace: the host's network, IPC and PID namespaces cannot be used with it".into());
    }
    let failed = |error: io::Error| format!("make user namespace: {error}");
    let (ours, theirs) = channel().map_err(failed)?;
    let kinds = libc::CLONE_NEWUSER | if shares_pids { libc::CLONE_NEWPID } else { 0 };
    let (pid, holder) = match sys::clone_process(kinds, None).map_err(cannot_clone)? {
        Cloned::Child => {
            drop(ours);
            hold(config, shares_pids, &theirs)
        }
        Cloned::Parent(pid, holder) => (pid, holder),
    };
    drop(theirs);
    write_mappings(pid, "uid_map", &ids.uids)?;
    write_mappings(pid, "gid_map", &ids.gids)?;
    let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
    let namespace = File::open(&path).map_err(|e| format!("open {path}: {e}"))?;
    let users = Users::new(namespace.into(), ids)?;
    await_holder(ours.as_fd())?;
    let kinds = ThreadNameSpaceType::NETWORK | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    rustix::thread::move_into_thread_name_spaces(
        holder.as_fd(),
        kinds | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
    )
    .map_err(|e| format!("enter namespaces: {e}"))?;
    // The holder is not needed any more, unless it is the first process of the pod.
    drop(ours);
    if !shares_pids {
        rustix::process::waitpid(Some(pid), WaitOptions::empty()).map_err(|e| failed(e.into()))?;
    }
    Ok(Namespaces { users: Some(users), pod_pids: shares_pids.then_some(holder) })
}

fn cannot_clone(error: io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EUSERS) => " (too many of them; see /proc/sys/user/max_user_namespaces)",
        Some(libc::EINVAL) => " (this kernel has none)",
        _ => "",
    };
    format!("make user namespace: {error}{hint}")
}

fn write_mappings(pid: Pid, file: &str, mappings: &[IdMapping]) -> Result<(), String> {
    let line = |mapping: &IdMapping| format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.length);
    let text = mappings.iter().map(line).collect::<String>();
    // In one piece: the kernel takes them once.
    fs::write(format!("/proc/{}/{file}", pid.as_raw_nonzero()), &text)
        .map_err(|e| format!("map ids of the user namespace: {file} {text:?}: {e}"))
}

/// Lets the holder make and configure its namespaces, and waits until it has done so.
fn await_holder(channel: BorrowedFd<'_>) -> Result<(), String> {
    let gone = |error: rustix::io::Errno| format!("configure namespaces: {error}");
    rustix::net::send(channel, &[GO], SendFlags::NOSIGNAL).map_err(gone)?;
    await_answer(channel)
}

/// Waits until the process that is to hold namespaces says that it is done.
fn await_answer(channel: BorrowedFd<'_>) -> Result<(), String> {
    let gone = |error: rustix::io::Errno| format!("configure namespaces: {error}");
    let mut answer = vec![0; MAX_MESSAGE];
    let (read, _) = rustix::net::recv(channel, answer.as_mut_slice(), RecvFlags::empty()).map_err(gone)?;
    match answer[..read].split_first() {
        Some((&READY, _)) => Ok(()),
        Some((_, message)) => Err(String::from_utf8_lossy(message).into_owned()),
        None => Err("configure namespaces: the process that holds them is gone".into()),
    }
}

/// Runs in the first process of a user namespace. As its root it makes the namespaces, whose file systems belong to it
/// then, and sets kernel parameters, which for some namespaces nobody else can.
fn hold(config: &SandboxConfig, shares_pids: bool, channel: &OwnedFd) -> ! {
    if wait_for_go(channel.as_fd()).is_err() {
        sys::exit_now(1);
    }
    let kinds = UnshareFlags::NEWNET | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    let made = become_root().map_err(|e| format!("become root of the user namespace: {e}"));
    let made = made.and_then(|()| sys::unshare(kinds).map_err(|e| format!("make namespaces: {e}")));
    answer(channel, made.and_then(|()| configure(config)).and_then(|()| if shares_pids { hide() } else { Ok(()) }));
    if shares_pids {
        pause()
    }
    // Until the shim has entered the namespaces and closes its end.
    let _ = wait_for_go(channel.as_fd());
    sys::exit_now(0)
}

/// Sets host name and kernel parameters.
fn configure(config: &SandboxConfig) -> Result<(), String> {
    if config.namespaces.network != NamespaceMode::Node {
        rustix::system::sethostname(config.hostname.as_bytes()).map_err(|e| format!("set host name: {e}"))?;
    }
    set_kernel_parameters(config)
}

fn set_kernel_parameters(config: &SandboxConfig) -> Result<(), String> {
    let path = |name: &str| Path::new("/proc/sys").join(name.replace('.', "/"));
    if config.namespaces.network != NamespaceMode::Node {
        // As containerd by default: any user may bind any port and send pings inside the pod. In a user namespace,
        // where most of these groups do not exist, the kernel refuses the second, and containerd does not ask.
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

/// Says how it went, and ends if it did not go well.
fn answer(channel: &OwnedFd, result: Result<(), String>) {
    match result {
        Ok(()) => say(channel.as_fd(), READY, ""),
        Err(message) => {
            say(channel.as_fd(), FAILED, &message);
            sys::exit_now(1)
        }
    }
}

/// Starts the first process of the pod's shared PID namespace: it adopts orphans and does nothing else.
fn start_pause() -> Result<OwnedFd, String> {
    let failed = |error: io::Error| format!("pod's PID namespace: {error}");
    let (ours, theirs) = channel().map_err(failed)?;
    match sys::clone_process(libc::CLONE_NEWPID, None).map_err(failed)? {
        Cloned::Child => {
            answer(&theirs, hide());
            pause()
        }
        Cloned::Parent(_, pidfd) => {
            drop(theirs);
            await_answer(ours.as_fd())?;
            Ok(pidfd)
        }
    }
}

/// The containers of the pod see its first process, and some may look into it.
fn hide() -> Result<(), String> {
    leave_files().map_err(|e| format!("first process of the pod: {e}"))
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
