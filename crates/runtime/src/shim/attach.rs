//! Attached clients: copies of a container's output, and its input.
//!
//! A copy goes into a pipe that the agent reads. When a pipe is full the container's output waits with it (as under
//! containerd), so that nothing gets lost; a client that then takes nothing for [`STALL`] is detached, so that nobody
//! holds a container up for long. The log is written first and misses nothing either way.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use cri::{ContainerId, Streams};
use rustix::{fs::OFlags, io::Errno, pipe::PipeFlags};

use super::{
    log::Stream,
    server::{Server, Waiter},
    table::Container,
};
use crate::protocol::{Answer, Handle, Refusal};

/// Longest time that a container waits for a client that takes no output.
const STALL: Duration = Duration::from_secs(5);

/// The clients attached to one container.
#[derive(Default)]
pub(super) struct Attached {
    clients: Vec<Waiter>,
    taps: Vec<Tap>,
}

/// A copy of one stream for one client.
struct Tap {
    client: Waiter,
    stream: Stream,
    pipe: OwnedFd,
    /// What the pipe did not take: at most a piece of output, and at the container's end what its pipes held.
    pending: Vec<u8>,
    /// When the client is given up, while something is pending.
    deadline: Option<Instant>,
}

impl Attached {
    /// Copies a piece of output to everybody who wants it.
    pub(super) fn give(&mut self, stream: Stream, bytes: &[u8]) {
        self.taps.retain_mut(|tap| tap.stream != stream || tap.give(bytes));
    }

    /// Lets a stream end for everybody who has all of it.
    pub(super) fn end(&mut self, stream: Stream) {
        self.taps.retain(|tap| tap.stream != stream || !tap.pending.is_empty());
    }

    /// Writes what is pending, and ends the streams that have `ended`.
    pub(super) fn flush(&mut self, ended: impl Fn(Stream) -> bool) {
        self.taps.retain_mut(|tap| tap.flush() && !(tap.pending.is_empty() && ended(tap.stream)));
    }

    /// Returns whether output has to wait for a client.
    pub(super) fn is_behind(&self, stream: Stream) -> bool {
        self.taps.iter().any(|tap| tap.stream == stream && !tap.pending.is_empty())
    }

    /// Returns the pipes that are full.
    pub(super) fn full(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.taps.iter().filter(|tap| !tap.pending.is_empty()).map(|tap| tap.pipe.as_fd())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.taps.iter().filter_map(|tap| tap.deadline).min()
    }

    /// Lets go of clients that are gone. Those that have heard of the container's end may go before they have read
    /// all of its output.
    pub(super) fn keep(&mut self, is_there: impl Fn(Waiter) -> bool) {
        let gone: Vec<_> = self.clients.extract_if(.., |client| !is_there(*client)).collect();
        self.taps.retain(|tap| !gone.contains(&tap.client));
    }

    /// Gives up clients that took nothing for too long, and returns them.
    fn strike(&mut self, at: Instant) -> Vec<Waiter> {
        let late = self.taps.iter().filter(|tap| tap.deadline.is_some_and(|deadline| deadline <= at));
        let late: Vec<_> = late.map(|tap| tap.client).collect();
        self.clients.retain(|client| !late.contains(client));
        self.taps.retain(|tap| !late.contains(&tap.client));
        late
    }

    /// Returns the clients that have to hear of the container's end. Copies that are pending go on.
    pub(super) fn take_clients(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.clients)
    }
}

impl Tap {
    /// Returns false when nobody reads.
    fn give(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend(bytes);
        self.flush()
    }

    /// Writes what it can; returns false when nobody reads.
    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.pipe, &self.pending) {
                Ok(written) => {
                    self.pending.drain(..written);
                    self.deadline = None;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.deadline = self.deadline.or_else(|| Instant::now().checked_add(STALL));
                    return true;
                }
                Err(_) => return false,
            }
        }
        self.pending = Vec::new();
        self.deadline = None;
        true
    }
}

impl Server {
    /// Attaches a client to a container; answered with the streams, and again when the container has ended.
    pub(super) fn attach(&mut self, waiter: Waiter, id: &ContainerId, streams: Streams) -> Result<(), Refusal> {
        let key = self.find(id).ok_or_else(|| Refusal::NotFound(id.clone()))?;
        self.begin_session(waiter)?;
        let Some(container) = self.containers.get_mut(&key) else { return Ok(()) };
        if container.running().is_none() {
            return Err(Refusal::FailedPrecondition(format!("container {id} is not running")));
        }
        let handles = container.join(waiter, streams);
        let handles = handles.map_err(|error| Refusal::Internal(format!("attach to container {id}: {error}")))?;
        self.hand_over(waiter, handles);
        Ok(())
    }

    /// Detaches clients that hold a container up.
    pub(super) fn strike_attach_deadlines(&mut self, at: Instant) {
        let late: Vec<_> = self.containers.values_mut().flat_map(|container| container.attached.strike(at)).collect();
        for client in late {
            let message = format!("detached: the client took no output for {} s", STALL.as_secs());
            self.reply(client, Err(Refusal::FailedPrecondition(message)));
        }
    }

    /// Writes on to clients of a container that were behind.
    pub(super) fn on_attached(&mut self, key: super::table::Key) {
        if let Some(container) = self.containers.get_mut(&key) {
            let open: Vec<_> = container.outputs.iter().map(|output| output.stream).collect();
            container.attached.flush(|stream| !open.contains(&stream));
        }
    }

    /// Answers a session with the descriptors of its streams.
    pub(super) fn hand_over(&mut self, waiter: Waiter, handles: Vec<(Handle, OwnedFd)>) {
        let (kinds, fds): (Vec<_>, Vec<_>) = handles.into_iter().unzip();
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.reply_with(waiter, Answer::Handles(kinds), &fds);
    }
}

impl Container {
    fn join(&mut self, client: Waiter, wanted: Streams) -> io::Result<Vec<(Handle, OwnedFd)>> {
        let mut handles = Vec::new();
        let tty = self.spec.config.tty;
        let terminal = if tty { self.outputs.first().map(|output| output.fd.as_fd()) } else { None };
        if let Some(terminal) = terminal {
            handles.push((Handle::Terminal, terminal.try_clone_to_owned()?));
        }
        if wanted.stdin && self.spec.config.stdin {
            if let Some(terminal) = terminal {
                handles.push((Handle::SharedStdin, terminal.try_clone_to_owned()?));
            } else if self.spec.config.stdin_once {
                // Nobody else keeps it: it ends with this client.
                handles.extend(self.stdin.take().map(|fd| (Handle::Stdin, fd)));
            } else if let Some(stdin) = &self.stdin {
                handles.push((Handle::SharedStdin, stdin.try_clone()?));
            }
        }
        let outputs =
            [(wanted.stdout, Stream::Stdout, Handle::Stdout), (wanted.stderr && !tty, Stream::Stderr, Handle::Stderr)];
        for (_, stream, handle) in outputs.into_iter().filter(|(wanted, ..)| *wanted) {
            let (read, pipe) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            if self.outputs.iter().any(|output| output.stream == stream) {
                self.attached.taps.push(Tap { client, stream, pipe, pending: Vec::new(), deadline: None });
            }
            handles.push((handle, read));
        }
        if let Some((_, stdin)) = handles.iter().find(|(kind, _)| matches!(kind, Handle::Stdin | Handle::SharedStdin)) {
            // The container's end of the pipe is not affected.
            rustix::fs::fcntl_setfl(stdin, OFlags::NONBLOCK | rustix::fs::fcntl_getfl(stdin)?)?;
        }
        self.attached.clients.push(client);
        Ok(handles)
    }
}
