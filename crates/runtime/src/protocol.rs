//! What agent and shim say to each other: one JSON object a line, over a unix socket.
//!
//! A client sends [`Request`]s and gets, in any order, one [`Message::Reply`] for each, and a
//! [`Message::Event`] for every change, before the reply that the change leads to.
//!
//! A session (exec with streams, attach) has a connection of its own. It gets two replies: [`Answer::Handles`], which
//! comes with the descriptors of its streams, and [`Answer::Ended`]. The bytes of a session then never pass the shim,
//! but for copies of what goes to the log.

use std::time::Duration;

use cri::{ContainerId, ContainerStatus, ExecOutput, ExecRequest, ExecSession, Nanos, Streams};
use serde::{Deserialize, Serialize};

use crate::container::ContainerSpec;

/// Longest line: a request carries at most one pod's configuration, a reply one command's output.
pub(crate) const MAX_LINE: usize = 64 << 20;

/// A request, with a number of the client's choice that comes back in the reply.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) call: Call,
}

/// What can be asked of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// All containers.
    List,
    /// Set a container up.
    Create(Box<ContainerSpec>),
    /// Execute its program.
    Start(ContainerId),
    /// Stop signal now, SIGKILL after `grace`; answered when it has ended.
    Stop { id: ContainerId, grace: Duration },
    /// End it if it runs, and forget it.
    Remove(ContainerId),
    /// Execute a command in it; answered when the command has ended.
    Exec { id: ContainerId, request: ExecRequest },
    /// Execute a command with live streams: a session.
    Session { id: ContainerId, session: ExecSession },
    /// Join the streams of the container's own process: a session.
    Attach { id: ContainerId, streams: Streams },
    /// Make TCP sockets in the sandbox's network: one of IPv4 and, where the kernel has it, one of IPv6.
    Sockets,
    /// End everything; answered when all exits are recorded. The shim then ends.
    Shutdown,
}

/// What a shim says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The answer to the request with this number.
    Reply { id: u64, result: Result<Answer, Refusal> },
    /// Something changed.
    Event { at: Nanos, change: Change, status: Box<ContainerStatus> },
}

/// Answers to [`Call`]s.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Done, nothing to tell.
    Done,
    /// To [`Call::List`].
    Containers(Vec<ContainerStatus>),
    /// To [`Call::Start`].
    Started(Box<ContainerStatus>),
    /// To [`Call::Exec`].
    Output(Output),
    /// To [`Call::Session`], [`Call::Attach`] and [`Call::Sockets`]: what the descriptors are that come with it.
    Handles(Vec<Handle>),
    /// To [`Call::Session`] and [`Call::Attach`], as the second reply: the process ended with this code.
    Ended(i32),
}

/// What a descriptor is that comes with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Handle {
    /// Takes input; closing it is the end of input.
    Stdin,
    /// Takes input that has other sources too; closing it ends nothing but the attachment.
    SharedStdin,
    Stdout,
    Stderr,
    /// A terminal, to set its size.
    Terminal,
    /// A socket that is not connected.
    Socket,
}

/// Most descriptors that come with one answer.
pub(crate) const MAX_HANDLES: usize = 4;

/// An [`ExecOutput`] on its way; bytes travel as the characters U+0000 to U+00FF.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Output {
    stdout: String,
    stderr: String,
    exit_code: i32,
    timed_out: bool,
}

impl From<ExecOutput> for Output {
    fn from(output: ExecOutput) -> Self {
        let text = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect();
        Self {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            exit_code: output.exit_code,
            timed_out: output.timed_out,
        }
    }
}

impl From<Output> for ExecOutput {
    fn from(output: Output) -> Self {
        let bytes = |text: String| text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
        Self {
            stdout: bytes(output.stdout),
            stderr: bytes(output.stderr),
            exit_code: output.exit_code,
            timed_out: output.timed_out,
        }
    }
}

/// What changed about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// It was set up.
    Created,
    /// Its program runs.
    Started,
    /// It ended; the exit is recorded.
    Exited,
    /// It was sent this signal.
    Signalled(i32),
    /// It is forgotten.
    Removed,
}

/// Why a shim refuses; the cases of [`cri::Error`] that it can cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    NotFound(ContainerId),
    StartFailed(String),
    FailedPrecondition(String),
    InvalidArgument(String),
    Internal(String),
}

impl From<Refusal> for cri::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(id) => Self::NotFound { kind: cri::ObjectKind::Container, id: id.0 },
            Refusal::StartFailed(message) => Self::StartFailed { message },
            Refusal::FailedPrecondition(message) => Self::FailedPrecondition { message },
            Refusal::InvalidArgument(message) => Self::InvalidArgument { message },
            Refusal::Internal(message) => Self::Internal { message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_survives_the_way_through_json() {
        let output =
            ExecOutput { stdout: (0..=255).collect(), stderr: b"\n\"\\".to_vec(), exit_code: 3, timed_out: false };
        let line = serde_json::to_string(&Output::from(output.clone())).unwrap();
        assert!(!line.contains('\n'));
        let back: Output = serde_json::from_str(&line).unwrap();
        assert_eq!(ExecOutput::from(back), output);
    }
}
