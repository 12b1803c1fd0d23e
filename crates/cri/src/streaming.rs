//! Live streams into sandboxes: commands with streams, attaching, connections to ports.

use std::{fmt, future::Future, pin::Pin};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ContainerId, Result, SandboxId};

/// Bytes for a process; shutting it down is the end of input.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Bytes from a process.
pub type Output = Pin<Box<dyn AsyncRead + Send>>;

/// A connection to a port.
pub trait Connection: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Connection for T {}

/// Which streams of a process are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output; with a terminal, everything.
    pub stdout: bool,
    /// Standard error; with a terminal there is none.
    pub stderr: bool,
}

/// A command to execute with live streams; it runs as [`crate::ExecRequest`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSession {
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// The wanted streams.
    pub streams: Streams,
    /// Whether it gets a terminal of its own.
    pub tty: bool,
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Sets the size of a terminal. One that is gone has no size to be set, which is no error.
pub type Resize = Box<dyn Fn(TerminalSize) + Send + Sync>;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The process ended with this code; 128 + n after death by signal n.
    Exited(i32),
    /// The client's input ended, and with it the attachment; the container goes on.
    Detached,
}

/// The near ends of a process's streams.
///
/// Dropping it lets go of them: the process of an exec reads the end of its input, or its terminal hangs up; an
/// attached container goes on.
pub struct Session {
    /// Takes input, if that was wanted.
    pub stdin: Option<Input>,
    /// Gives standard output, if that was wanted.
    pub stdout: Option<Output>,
    /// Gives standard error, if that was wanted and there is no terminal.
    pub stderr: Option<Output>,
    /// Sets the size of the terminal, if there is one.
    pub resize: Option<Resize>,
    /// Comes with the end. Output may still be on its way then.
    pub end: Pin<Box<dyn Future<Output = Result<SessionEnd>> + Send>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// Opens live streams into what a [`crate::RuntimeService`] runs.
pub trait StreamingService: Send + Sync + 'static {
    /// Executes a command in a running container.
    ///
    /// # Errors
    /// [`crate::Error::FailedPrecondition`] when the container does not run or has too many sessions. A program that
    /// cannot be executed is told by [`Session::end`], as [`crate::Error::StartFailed`].
    fn exec(&self, id: &ContainerId, session: ExecSession) -> impl Future<Output = Result<Session>> + Send;

    /// Joins the streams of a running container's own process: its output from now on, besides the log.
    ///
    /// Input reaches a container that was configured with `stdin`, and gets lost otherwise. Output waits for a client
    /// that takes it slowly, and so does the container; one that takes nothing for seconds is detached.
    ///
    /// # Errors
    /// [`crate::Error::FailedPrecondition`] when the container does not run or has too many sessions.
    fn attach(&self, id: &ContainerId, streams: Streams) -> impl Future<Output = Result<Session>> + Send;

    /// Connects to a TCP port on `localhost` inside a sandbox, by IPv4 and, failing that, IPv6.
    ///
    /// # Errors
    /// [`crate::Error::FailedPrecondition`] when nobody listens there.
    fn connect(&self, sandbox: &SandboxId, port: u16) -> impl Future<Output = Result<Pin<Box<dyn Connection>>>> + Send;
}
