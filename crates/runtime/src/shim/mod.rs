//! The process that is a sandbox: it holds the pod's namespaces, is the parent of its containers,
//! writes their logs, records their ends, and answers on a socket.
//!
//! One thread, one loop, a few hundred kilobytes. It outlives the agent that started it.

mod attach;
mod exec;
mod log;
mod namespaces;
mod server;
mod setup;
mod table;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{container::rootfs::clone_tree, sys};
pub(crate) use setup::LOCK_FILE;

/// First argument that makes the binary a shim.
pub const ARGUMENT: &str = "shim";

/// What a starting shim tells its parent on standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Greeting {
    /// It is set up and listens; this is its process id.
    Ready(u32),
    /// It could not set the sandbox up.
    Failed(String),
}

/// Runs a shim. The binary calls this before anything else (no threads yet) when its first argument is
/// [`ARGUMENT`]; `args` are those after it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(dir), None) = (args.next().map(PathBuf::from), args.next()) else { return ExitCode::from(2) };
    match setup::detach() {
        Ok(setup::Detached::Starter) => return ExitCode::SUCCESS,
        Ok(setup::Detached::Shim) => {}
        Err(error) => {
            greet(&Greeting::Failed(format!("start shim: {error}")));
            return ExitCode::FAILURE;
        }
    }
    match setup::set_up(&dir) {
        Ok(mut server) => {
            greet(&Greeting::Ready(std::process::id()));
            setup::let_go_of_starter();
            server.run()
        }
        Err(message) => {
            greet(&Greeting::Failed(message));
            ExitCode::FAILURE
        }
    }
}

fn greet(greeting: &Greeting) {
    if let Ok(line) = serde_json::to_vec(greeting) {
        let mut out = io::stdout();
        // A starter that is gone does not matter: the next agent connects to the socket.
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

/// Starts a shim for the sandbox in `dir` and returns the process that says how that went.
///
/// The binary is executed from a read-only mount of its own, attached nowhere: processes in containers find it
/// as `/proc/PID/exe` of the runtime's children, and cannot change it there (CVE-2019-5736).
pub(crate) fn start(exe: &Path, dir: &Path) -> io::Result<Child> {
    let sealed = seal(exe);
    if let Err(error) = &sealed {
        tracing::debug!(exe = %exe.display(), %error, "the shim's binary is not protected by a mount");
    }
    let messages = File::options().append(true).create(true).open(dir.join("shim.log"))?;
    let mut command = match &sealed {
        // The descriptor closes on exec, after the path was followed.
        Ok(mount) => Command::new(format!("/proc/self/fd/{}", mount.as_raw_fd())),
        Err(_) => Command::new(exe),
    };
    command.arg0(exe.file_name().unwrap_or(exe.as_os_str())).arg(ARGUMENT).arg(dir).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(messages);
    command.spawn()
}

fn seal(exe: &Path) -> io::Result<OwnedFd> {
    let mount = clone_tree(exe, false)?;
    sys::set_mount_attributes(mount.as_fd(), false, libc::MOUNT_ATTR_RDONLY, libc::MS_PRIVATE)?;
    Ok(mount)
}
