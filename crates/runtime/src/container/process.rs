//! The last steps of every process in a container, be it the first or an executed command.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use cri::{SeccompProfile, SecurityContext};
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
    process::{Gid, Signal, Uid},
};

use super::{caps, program, seccomp, user::Identity};
use crate::sys;

/// Descriptor number of the channel to the shim while a child sets itself up: the first after the
/// standard streams, so that everything above it can be closed.
const CHANNEL: i32 = 3;

/// Standard streams of a process to be.
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// What to execute, and as whom.
pub(crate) struct Process<'a> {
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [String],
    pub(crate) cwd: &'a str,
    pub(crate) identity: &'a Identity,
    pub(crate) security: &'a SecurityContext,
}

/// Puts the streams in place and closes every other descriptor but the channel, which moves to a fixed
/// number. Nothing of the host's remains open for the program, nor for a working directory like
/// `/proc/self/fd/7` (CVE-2024-21626).
pub(crate) fn settle_descriptors(streams: &Streams, channel: OwnedFd) -> rustix::io::Result<BorrowedFd<'static>> {
    // Out of the way of the numbers that are about to be replaced.
    let high = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 10);
    let (stdin, stdout, stderr) = (high(&streams.stdin)?, high(&streams.stdout)?, high(&streams.stderr)?);
    let moved = high(&channel)?;
    rustix::stdio::dup2_stdin(&stdin)?;
    rustix::stdio::dup2_stdout(&stdout)?;
    rustix::stdio::dup2_stderr(&stderr)?;
    let fixed = sys::move_descriptor(moved.as_fd(), CHANNEL)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    // Closed by number, not by their owners.
    std::mem::forget((stdin, stdout, stderr, moved, channel));
    sys::close_from(CHANNEL.unsigned_abs() + 1);
    Ok(fixed)
}

/// Takes the user, the capabilities and the filter, and executes the program. Returns only on failure.
pub(crate) fn become_program(process: &Process<'_>) -> String {
    match prepare(process) {
        Ok(ready) => {
            let error = sys::execute(&ready.program, &ready.args, &ready.env);
            format!("exec {}: {}", ready.program.to_string_lossy(), program::describe(&error))
        }
        Err(message) => message,
    }
}

struct Ready {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

fn prepare(process: &Process<'_>) -> Result<Ready, String> {
    let identity = process.identity;
    let allowed = caps::allowed(process.security)?;
    let filter = match &process.security.seccomp {
        _ if process.security.privileged => None,
        SeccompProfile::Unconfined => None,
        SeccompProfile::RuntimeDefault => Some(seccomp::runtime_default(allowed)?),
        SeccompProfile::Localhost(path) => {
            return Err(format!("seccomp profile {}: profiles of the host are not supported", path.display()));
        }
    };
    let entered = enter(process.cwd);
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, so it comes first then, as late as possible otherwise.
    let early = filter.as_ref().filter(|_| !process.security.no_new_privileges);
    if let Some(filter) = early {
        sys::install_filter(filter).map_err(|error| format!("seccomp: {error}"))?;
    }
    caps::drop_bounding(allowed).map_err(|e| format!("drop capabilities: {e}"))?;
    give_streams(identity.uid);
    change_user(identity).map_err(|e| format!("become user {}: {e}", identity.uid))?;
    caps::apply(allowed, identity.uid).map_err(|e| format!("set capabilities: {e}"))?;
    // A change of user forgets this, so it stands after it. The program ends with its shim.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| format!("prctl: {e}"))?;
    // What root could not enter (a network file system, say), the user may.
    if entered.is_err() {
        enter(process.cwd)?;
    }
    let mut env = process.env.to_vec();
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home));
    }
    let ready = Ready {
        program: program::find(process.args.first().map_or("", String::as_str), &env)?,
        args: c_strings(process.args)?,
        env: c_strings(&env)?,
    };
    refuse_own_binary(&ready.program)?;
    sys::reset_signals();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if process.security.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|e| format!("set no_new_privs: {e}"))?;
        if let Some(filter) = &filter {
            sys::install_filter(filter).map_err(|error| format!("seccomp: {error}"))?;
        }
    }
    Ok(ready)
}

fn enter(cwd: &str) -> Result<(), String> {
    rustix::process::chdir(cwd)
        .map_err(|error| format!("chdir to cwd ({cwd:?}) failed: {}", program::describe(&error.into())))?;
    // A directory outside of the container has no path in it.
    match std::env::current_dir() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(format!("chdir to cwd ({cwd:?}) failed: it lies outside of the container")),
    }
}

/// Gives the standard streams to the user, so that `/dev/stdout` and the like can be opened (as runc does).
fn give_streams(uid: u32) {
    let null = |stat: &rustix::fs::Stat| {
        FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == rustix::fs::makedev(1, 3)
    };
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        if rustix::fs::fstat(stream).is_ok_and(|stat| stat.st_uid != uid && !null(&stat)) {
            // A file system that knows no owners is no reason not to run.
            let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None);
        }
    }
}

fn change_user(identity: &Identity) -> rustix::io::Result<()> {
    let groups: Vec<Gid> = identity.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn c_strings(strings: &[String]) -> Result<Vec<CString>, String> {
    let convert = |s: &String| CString::new(s.as_str()).map_err(|_| format!("{s:?} contains a NUL character"));
    strings.iter().map(convert).collect()
}

/// Refuses an image that executes the runtime's own binary through `/proc/self/exe` (CVE-2019-5736).
fn refuse_own_binary(program: &CString) -> Result<(), String> {
    let open = |path: &CString| rustix::fs::open(path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let (Ok(program), Ok(own)) = (open(program), open(&c"/proc/self/exe".to_owned())) else { return Ok(()) };
    let same = rustix::fs::fstat(&program)
        .ok()
        .zip(rustix::fs::fstat(&own).ok())
        .is_some_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
    if same { Err("exec: the container runtime itself cannot be executed".into()) } else { Ok(()) }
}

/// Makes the working directory with all its parents, if it is missing.
pub(crate) fn create_working_directory(root: BorrowedFd<'_>, cwd: &str) -> Result<(), String> {
    super::resolve::create_dir_in(root, Path::new(cwd), 0o755)
        .map(drop)
        .map_err(|error| format!("mkdir {cwd}: {}", program::describe(&error)))
}
