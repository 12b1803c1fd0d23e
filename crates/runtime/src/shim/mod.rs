//! The process that is a sandbox: it holds the pod's namespaces, is the parent of its containers,
//! writes their logs, records their ends, and answers on a socket.
//!
//! One thread, one loop, a few hundred kilobytes. It outlives the agent that started it.

mod exec;
mod log;
mod server;
mod setup;
mod table;

use std::{
    ffi::OsString,
    fs::File,
    io::Write,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use serde::{Deserialize, Serialize};
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
        let mut out = std::io::stdout();
        // A starter that is gone does not matter: the next agent connects to the socket.
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

/// Returns the command that starts a shim for the sandbox in `dir`.
pub(crate) fn command(exe: &std::path::Path, dir: &std::path::Path) -> std::io::Result<Command> {
    let messages = File::options().append(true).create(true).open(dir.join("shim.log"))?;
    let mut command = Command::new(exe);
    command.arg(ARGUMENT).arg(dir).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(messages);
    Ok(command)
}
