//! What the API server asks the node that runs a pod.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use apimachinery::status::ApiError;

/// The pod that a request to a node is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReference {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Tells the pod from earlier ones of the same name.
    pub uid: String,
}

/// `PodLogOptions`, with the container already chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container whose output is wanted.
    pub container: String,
    /// Goes on until the container ends.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Lines from this time on.
    pub since: Option<Timestamp>,
    /// Only so many last lines.
    pub tail_lines: Option<u64>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Ends after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Output of a container, in pieces of any size.
pub struct LogStream(pub BoxStream<'static, std::io::Result<Bytes>>);

impl fmt::Debug for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogStream")
    }
}

/// `PodExecOptions` or `PodAttachOptions`, with the container already chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// The container.
    pub container: String,
    /// The client sends input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants standard error; never together with `tty`.
    pub stderr: bool,
    /// The process has a terminal.
    pub tty: bool,
}

/// Size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Bytes for a process.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Bytes from a process.
pub type Output = Pin<Box<dyn AsyncRead + Send>>;

/// A connection to a port of a pod.
pub trait Connection: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Connection for T {}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The command of an exec ended with this code.
    Exited(i32),
    /// An attached container ended (its code is in the pod's status), or the client's input did, and with it the
    /// attachment; the streams are to be dropped then, once what is on its way has been read.
    Detached,
}

/// A running exec or attach: the near ends of the process's streams.
///
/// Dropping it lets go of the streams: the process of an exec reads the end of its input, or its terminal hangs up;
/// an attached container goes on.
pub struct Session {
    /// Takes input; shutting it down is the end of input. `None`: it was not asked for, or the container that is
    /// attached to has none, in which case what the client sends gets lost.
    pub stdin: Option<Input>,
    /// Gives standard output, if it was asked for; with a terminal, everything.
    pub stdout: Option<Output>,
    /// Gives standard error, if it was asked for.
    pub stderr: Option<Output>,
    /// Changes the size of the terminal, if there is one.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Comes when the command has ended. Output may still be on its way then.
    ///
    /// # Errors
    /// When the command was not executed (no such program), or an attached client was given up because it took no
    /// output. The message is the runtime's; the server's `Status` says what it was about.
    pub end: BoxFuture<'static, Result<SessionEnd, ApiError>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// The way from the API server to the node agents.
pub trait NodeProxy: Send + Sync {
    /// Opens the log of a container.
    fn logs(&self, pod: PodReference, options: LogOptions) -> BoxFuture<'static, Result<LogStream, ApiError>>;

    /// Executes a command in a running container.
    ///
    /// # Errors
    /// When there is no such running container or the options contradict each other: the code is that of the
    /// kubelet's HTTP answer, the message its body.
    fn exec(
        &self,
        pod: PodReference,
        command: Vec<String>,
        options: SessionOptions,
    ) -> BoxFuture<'static, Result<Session, ApiError>> {
        let _ = (pod, command, options);
        Box::pin(async { Err(unable("execute commands")) })
    }

    /// Joins the streams of a running container's own process.
    fn attach(&self, pod: PodReference, options: SessionOptions) -> BoxFuture<'static, Result<Session, ApiError>> {
        let _ = (pod, options);
        Box::pin(async { Err(unable("attach to containers")) })
    }

    /// Connects to a TCP port inside the pod's network, at `localhost`.
    fn port_forward(
        &self,
        pod: PodReference,
        port: u16,
    ) -> BoxFuture<'static, Result<Pin<Box<dyn Connection>>, ApiError>> {
        let _ = (pod, port);
        Box::pin(async { Err(unable("forward ports")) })
    }
}

fn unable(what: &str) -> ApiError {
    ApiError::plain(501, "NotImplemented", format!("the node of this pod cannot {what}"))
}
