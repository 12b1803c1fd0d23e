//! The first process of a container, from its birth to the execution of its program.

use std::{
    fs,
    io::{self, IoSlice, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use cri::SandboxConfig;
use rustix::{
    fs::{Mode, OFlags},
    net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
    pipe::PipeFlags,
    pty::OpenptFlags,
    thread::UnshareFlags,
};

use super::{
    ContainerSpec,
    group::Group,
    mounts::attach_all,
    process::{Process, Streams, become_program, create_working_directory, settle_descriptors},
    resolve::open_in,
    rootfs::{Root, clone_tree},
    sources::{Sources, mount_root},
    user::{Identity, identify},
    users::Users,
};
use crate::sys::{self, Cloned};

/// First byte of a message from the child: it is ready; the rest is its [`Identity`] as JSON.
pub(crate) const READY: u8 = b'R';
/// First byte of a message from the child: the configuration cannot be satisfied; the rest says why.
pub(crate) const REFUSED: u8 = b'C';
/// First byte of a message from the child: it could not be set up or executed; the rest says why.
pub(crate) const FAILED: u8 = b'F';
/// First byte of a message from the child: another process takes its place, whose descriptor comes with it; the rest is
/// that process's id.
pub(crate) const REPLACED: u8 = b'P';
/// The byte that lets a ready child go on.
pub(crate) const GO: u8 = b'G';
/// Largest message of a child.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

/// What a real node puts before the reason why a program was not started.
pub(crate) const START_PREFIX: &str = "unable to start container process: error during container init: ";

/// What the child gets from the shim.
pub(crate) struct Setup<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) sandbox: &'a SandboxConfig,
    pub(crate) sandbox_dir: &'a Path,
    /// The container's own directory: `upper`, `work`, `rootfs`, `volumes`.
    pub(crate) dir: &'a Path,
    pub(crate) cgroup: &'a Group,
    /// The pod's user namespace, if it has one of its own.
    pub(crate) users: Option<&'a Users>,
    /// Whether the container gets a PID namespace that is yet to be made, because it is to belong to `users`.
    pub(crate) own_pids: bool,
    /// `None`: a terminal is made.
    pub(crate) streams: Option<Streams>,
}

/// Runs in the child. Never returns.
pub(crate) fn run(setup: Setup<'_>, channel: OwnedFd) -> ! {
    let failure = match prepare(&setup, channel.as_fd()) {
        Ok((identity, terminal)) => launch(&setup, &identity, terminal, channel),
        Err((kind, message)) => {
            say(channel.as_fd(), kind, &message);
            sys::exit_now(1)
        }
    };
    match failure {
        Ok(never) => match never {},
        Err(()) => sys::exit_now(1),
    }
}

type Failure = (u8, String);

/// The two ends of a new terminal.
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

impl Terminal {
    fn open(master: OwnedFd) -> io::Result<Self> {
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        Ok(Self { master, slave })
    }
}

fn prepare(setup: &Setup<'_>, channel: BorrowedFd<'_>) -> Result<(Identity, Option<Terminal>), Failure> {
    let failed = |message: String| (FAILED, format!("{START_PREFIX}{message}"));
    setup.cgroup.join().map_err(|e| failed(format!("join cgroup: {e}")))?;
    rustix::process::umask(Mode::empty());
    if let Some(score) = setup.spec.config.resources.oom_score_adj {
        set_oom_score(score).map_err(|e| failed(format!("set oom_score_adj: {e}")))?;
    }
    // Image layers that cannot be shown are told when the container is made, as by a snapshotter of containerd.
    let refused = |message: String| if setup.users.is_some() { (REFUSED, message) } else { failed(message) };
    mount_root(setup).map_err(refused)?;
    let sources = Sources::open(setup).map_err(failed)?;
    let root = open_root(setup, channel).map_err(failed)?;
    // Fails only for a process group leader, which a new process is not.
    rustix::process::setsid().map_err(|e| failed(format!("setsid: {e}")))?;
    setup.cgroup.enter_namespace().map_err(|e| failed(format!("cgroup namespace: {e}")))?;
    let security = &setup.spec.config.security;
    let identity = identify(root.fd(), &setup.spec.image_user, security).map_err(|message| (REFUSED, message))?;
    let terminal = fill_root(setup, &sources, &root).map_err(failed)?;
    if security.read_only_root {
        root.seal().map_err(|e| failed(format!("make root read-only: {e}")))?;
    }
    root.enter().map_err(|e| failed(format!("pivot_root: {e}")))?;
    Ok((identity, terminal))
}

/// Opens the mounted root; before that it enters the pod's user namespace if there is one.
fn open_root(setup: &Setup<'_>, channel: BorrowedFd<'_>) -> Result<Root, String> {
    let target = setup.dir.join("rootfs");
    let failed = |error: io::Error| format!("open root file system: {error}");
    let Some(users) = setup.users else { return Root::open(&target).map_err(failed) };
    let tree = clone_tree(&target, false).map_err(failed)?;
    users.enter().map_err(|e| format!("enter user namespace: {e}"))?;
    if setup.own_pids {
        replace_self(channel).map_err(|e| format!("make PID namespace: {e}"))?;
    } else {
        sys::unshare(UnshareFlags::NEWNS).map_err(|e| format!("make mount namespace: {e}"))?;
    }
    Root::over_all(tree).map_err(failed)
}

/// Returns in a new process, the first of new PID and mount namespaces, that takes this one's place at the shim. This
/// one ends: a PID namespace belongs to the user namespace of who makes it, and that has to be entered first.
fn replace_self(channel: BorrowedFd<'_>) -> io::Result<()> {
    let (told, telling) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    match sys::clone_sibling(libc::CLONE_NEWPID | libc::CLONE_NEWNS)? {
        Cloned::Child => {
            drop(telling);
            // Ends when the shim has been told: else it would not know whose end it learns of.
            rustix::io::read(&told, &mut [0; 1])?;
            Ok(())
        }
        Cloned::Parent(pid, pidfd) => {
            let sent = send(channel, REPLACED, &pid.as_raw_nonzero().to_string(), Some(pidfd.as_fd()));
            sys::exit_now(i32::from(sent.is_err()))
        }
    }
}

fn fill_root(setup: &Setup<'_>, sources: &Sources<'_>, root: &Root) -> Result<Option<Terminal>, String> {
    let config = &setup.spec.config;
    let privileged = config.security.privileged;
    root.mount_proc()?;
    root.mount_dev(&sources.devices)?;
    root.mount_sys(!privileged)?;
    sources.cgroups.mount_in(root)?;
    sources.files.iter().try_for_each(|(path, tree)| root.attach_file(tree, path))?;
    attach_all(root, &sources.volumes)?;
    let terminal = if config.tty { Some(open_terminal(root)?) } else { None };
    if !privileged && !config.security.unmasked_proc {
        root.mask_paths(&sources.devices)?;
    }
    create_working_directory(root.fd(), &setup.spec.cwd)?;
    Ok(terminal)
}

/// Makes a terminal in the container's own instance and shows it as `/dev/console`.
fn open_terminal(root: &Root) -> Result<Terminal, String> {
    let master = open_in(root.fd(), Path::new("dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY);
    let terminal = master.map_err(Into::into).and_then(Terminal::open).map_err(|e| format!("open terminal: {e}"))?;
    let name = rustix::pty::ptsname(&terminal.master, Vec::new()).map_err(|e| format!("name terminal: {e}"))?;
    let node = open_in(root.fd(), Path::new(&*name.to_string_lossy()), OFlags::PATH)
        .map_err(|e| format!("find terminal: {e}"))?;
    let tree = super::rootfs::clone_tree_at(node.as_fd(), false).map_err(|e| format!("show terminal: {e}"))?;
    root.attach_file(&tree, "/dev/console")?;
    Ok(terminal)
}

/// Makes a terminal in a process that is inside of the container already. The container may have put anything in
/// its place, which is not used then.
pub(crate) fn own_terminal() -> io::Result<Terminal> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?;
    if rustix::fs::fstatfs(&master)?.f_type != DEVPTS_SUPER_MAGIC {
        return Err(io::Error::other("/dev/pts/ptmx is not of a file system for terminals"));
    }
    Terminal::open(master)
}

/// `DEVPTS_SUPER_MAGIC` of `linux/magic.h`.
const DEVPTS_SUPER_MAGIC: rustix::fs::FsWord = 0x1cd1;

/// Sets the score; a refusal is accepted, because lowering it needs CAP_SYS_RESOURCE.
pub(crate) fn set_oom_score(score: i32) -> io::Result<()> {
    match fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

enum Never {}

fn launch(setup: &Setup<'_>, identity: &Identity, terminal: Option<Terminal>, channel: OwnedFd) -> Result<Never, ()> {
    let ready = serde_json::to_string(identity).map_err(drop)?;
    send_ready(channel.as_fd(), &ready, terminal.as_ref().map(|terminal| terminal.master.as_fd())).map_err(drop)?;
    wait_for_go(channel.as_fd())?;
    let tell = |channel: BorrowedFd<'_>, message: String| say(channel, FAILED, &format!("{START_PREFIX}{message}"));
    let streams = match (&setup.streams, &terminal) {
        (_, Some(terminal)) => terminal_streams(&terminal.slave).map_err(drop)?,
        (Some(streams), None) => Streams {
            stdin: streams.stdin.try_clone().map_err(drop)?,
            stdout: streams.stdout.try_clone().map_err(drop)?,
            stderr: streams.stderr.try_clone().map_err(drop)?,
        },
        (None, None) => return Err(()),
    };
    let channel = settle_descriptors(&streams, channel).map_err(drop)?;
    std::mem::forget((streams, terminal));
    let config = &setup.spec.config;
    let process = Process {
        args: &setup.spec.args,
        env: &setup.spec.env,
        cwd: &setup.spec.cwd,
        identity,
        security: &config.security,
    };
    tell(channel, become_program(&process));
    Err(())
}

/// Makes the terminal the controlling one of this session.
pub(crate) fn terminal_streams(slave: &OwnedFd) -> io::Result<Streams> {
    rustix::process::ioctl_tiocsctty(slave)?;
    Ok(Streams { stdin: slave.try_clone()?, stdout: slave.try_clone()?, stderr: slave.try_clone()? })
}

pub(crate) fn send_ready(channel: BorrowedFd<'_>, text: &str, terminal: Option<BorrowedFd<'_>>) -> io::Result<()> {
    send(channel, READY, text, terminal)
}

fn send(channel: BorrowedFd<'_>, kind: u8, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut message = vec![kind];
    message.write_all(text.as_bytes())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fd.into_iter().collect();
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::net::sendmsg(channel, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the word; without it (the shim is gone) there is nothing to go on for.
pub(crate) fn wait_for_go(channel: BorrowedFd<'_>) -> Result<(), ()> {
    let mut word = [0; 1];
    loop {
        match rustix::net::recv(channel, &mut word, RecvFlags::empty()) {
            Ok((_, 1)) if word[0] == GO => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            _ => return Err(()),
        }
    }
}

/// Tells the shim why this process ends.
pub(crate) fn say(channel: BorrowedFd<'_>, kind: u8, message: &str) {
    let mut bytes = vec![kind];
    bytes.extend(message.as_bytes().iter().take(MAX_MESSAGE - 1));
    // If the shim is gone nobody is left to be told.
    let _ = rustix::net::send(channel, &bytes, SendFlags::NOSIGNAL);
}
