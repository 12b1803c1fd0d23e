//! The shim's loop: who is connected, what is readable, what is due.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, ipproto},
    process::{WaitOptions, WaitStatus},
};

use super::{
    exec::Exec,
    log::Stream,
    namespaces::Namespaces,
    table::{Container, Key},
};
use crate::{
    protocol::{Answer, Call, Change, Handle, MAX_HANDLES, MAX_LINE, Message, Refusal, Request},
    record::{SandboxRecord, now},
};

/// Most sessions at once; each has up to three descriptors here, of about a thousand that a process may have.
const MAX_SESSIONS: usize = 256;
/// Most clients at once: the agent, its successor, some tools, and sessions.
const MAX_CLIENTS: usize = 16 + MAX_SESSIONS;
/// Most bytes waiting for a client that does not read; then it is dropped.
const MAX_UNSENT: usize = 2 * MAX_LINE;
/// What a wait that no number can express is cut to.
const FAR: Timespec = Timespec { tv_sec: i32::MAX as i64, tv_nsec: 0 };
/// Bytes read at a time.
pub(super) const CHUNK: usize = 32 * 1024;

/// Who waits for an answer: client and number of the request.
pub(super) type Waiter = (u64, u64);

/// State of a shim.
pub(super) struct Server {
    pub(super) dir: PathBuf,
    pub(super) record: SandboxRecord,
    /// Held, not used: see [`super::setup::LOCK_FILE`].
    _lock: File,
    listener: UnixListener,
    signals: OwnedFd,
    pub(super) own_pids: OwnedFd,
    pub(super) namespaces: Namespaces,
    clients: BTreeMap<u64, Client>,
    pub(super) containers: BTreeMap<Key, Container>,
    pub(super) execs: BTreeMap<Key, Exec>,
    next_key: u64,
    pub(super) shutdown: Option<Waiter>,
    ended: bool,
}

struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// It wants answers only.
    is_session: bool,
}

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy)]
enum Token {
    Signals,
    Listener,
    Client(u64),
    Channel(Key),
    Output(Key, Stream),
    Attached(Key),
    ExecChannel(Key),
    ExecOutput(Key, Stream),
}

impl Server {
    pub(super) fn new(
        dir: PathBuf,
        record: SandboxRecord,
        lock: File,
        listener: UnixListener,
        signals: OwnedFd,
        own_pids: OwnedFd,
        namespaces: Namespaces,
    ) -> Self {
        Self {
            dir,
            record,
            _lock: lock,
            listener,
            signals,
            own_pids,
            namespaces,
            clients: BTreeMap::new(),
            containers: BTreeMap::new(),
            execs: BTreeMap::new(),
            next_key: 0,
            shutdown: None,
            ended: false,
        }
    }

    /// Serves until the sandbox is shut down.
    pub(super) fn run(&mut self) -> ExitCode {
        while !self.ended {
            for token in self.wait() {
                self.handle(token);
            }
            self.strike_deadlines(Instant::now());
            self.flush_clients();
            for container in self.containers.values_mut() {
                container.attached.keep(|(client, _)| self.clients.contains_key(&client));
            }
        }
        let _ = std::fs::remove_file(&self.record.socket);
        ExitCode::SUCCESS
    }

    pub(super) fn new_key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    fn wait(&self) -> Vec<Token> {
        let mut tokens = vec![Token::Signals, Token::Listener];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        for (&key, client) in &self.clients {
            let out = if client.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            tokens.push(Token::Client(key));
            fds.push(PollFd::new(&client.stream, PollFlags::IN | out));
        }
        for (&key, container) in &self.containers {
            for (token, fd) in container.descriptors() {
                tokens.push(token.map_or(Token::Channel(key), |stream| Token::Output(key, stream)));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
            for fd in container.attached.full() {
                tokens.push(Token::Attached(key));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::OUT));
            }
        }
        for (&key, exec) in &self.execs {
            for (token, fd) in exec.descriptors() {
                tokens.push(token.map_or(Token::ExecChannel(key), |stream| Token::ExecOutput(key, stream)));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
        }
        let timeout = self.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(FAR)
        });
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        tokens.into_iter().zip(&fds).filter(|(_, fd)| ready(fd)).map(|(token, _)| token).collect()
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Signals => self.reap(),
            Token::Listener => self.accept(),
            Token::Client(client) => self.read_client(client),
            Token::Channel(key) => self.on_channel(key),
            Token::Output(key, stream) => self.on_output(key, stream),
            Token::Attached(key) => self.on_attached(key),
            Token::ExecChannel(key) => self.on_exec_channel(key),
            Token::ExecOutput(key, stream) => self.on_exec_output(key, stream),
        }
    }

    fn reap(&mut self) {
        let mut buffer = [0; 128];
        while rustix::io::read(&self.signals, &mut buffer).is_ok_and(|read| read > 0) {}
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(code) = exit_code(status) else { continue };
            self.learn_first_processes();
            if let Some(key) = self.containers.iter().find(|(_, c)| c.pid() == Some(pid)).map(|(&key, _)| key) {
                self.on_exit(key, code);
            } else if let Some(key) = self.execs.iter().find(|(_, exec)| exec.pid == pid).map(|(&key, _)| key) {
                self.on_exec_exit(key, code);
            }
            // Others are orphans that this process adopted.
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let containers = self.containers.values().filter_map(Container::deadline);
        let attached = self.containers.values().filter_map(|container| container.attached.deadline());
        containers.chain(attached).chain(self.execs.values().filter_map(Exec::deadline)).min()
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() >= MAX_CLIENTS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let key = self.new_key();
            self.clients.insert(key, Client { stream, received: Vec::new(), unsent: Vec::new(), is_session: false });
        }
    }

    fn read_client(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        let mut chunk = [0; CHUNK];
        match client.stream.read(&mut chunk) {
            Ok(0) => drop(self.clients.remove(&key)),
            Ok(read) => {
                client.received.extend(&chunk[..read]);
                self.handle_lines(key);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => drop(self.clients.remove(&key)),
        }
    }

    fn handle_lines(&mut self, key: u64) {
        while let Some(client) = self.clients.get_mut(&key) {
            let Some(end) = client.received.iter().position(|&byte| byte == b'\n') else {
                if client.received.len() > MAX_LINE {
                    self.clients.remove(&key);
                }
                return;
            };
            let line: Vec<u8> = client.received.drain(..=end).collect();
            if client.received.is_empty() {
                client.received = Vec::new();
            }
            match serde_json::from_slice::<Request>(&line) {
                Ok(request) => self.on_request((key, request.id), request.call),
                Err(_) => drop(self.clients.remove(&key)),
            }
        }
    }

    fn on_request(&mut self, waiter: Waiter, call: Call) {
        let outcome = match call {
            Call::List => {
                let all = self.containers.values().map(|container| container.status.clone()).collect();
                self.reply(waiter, Ok(Answer::Containers(all)));
                Ok(())
            }
            Call::Create(_) | Call::Start(_) | Call::Exec { .. } | Call::Session { .. } if self.shutdown.is_some() => {
                Err(Refusal::FailedPrecondition("the sandbox is being stopped".into()))
            }
            Call::Create(spec) => self.create(waiter, *spec),
            Call::Start(id) => self.start(waiter, &id),
            Call::Stop { id, grace } => self.stop(waiter, &id, grace),
            Call::Remove(id) => {
                self.remove(waiter, &id);
                Ok(())
            }
            Call::Exec { id, request } => self.exec(waiter, &id, &request),
            Call::Session { id, session } => self.exec_session(waiter, &id, &session),
            Call::Attach { id, streams } => self.attach(waiter, &id, streams),
            Call::Sockets => self.make_sockets(waiter),
            Call::Shutdown => {
                self.shut_down(waiter);
                Ok(())
            }
        };
        if let Err(refusal) = outcome {
            self.reply(waiter, Err(refusal));
        }
    }

    pub(super) fn reply(&mut self, (client, id): Waiter, result: Result<Answer, Refusal>) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.queue(&Message::Reply { id, result });
        }
    }

    /// Replies with descriptors, at once: a session's client has nothing else waiting for it.
    pub(super) fn reply_with(&mut self, (key, id): Waiter, answer: Answer, fds: &[BorrowedFd<'_>]) {
        if let Some(client) = self.clients.get_mut(&key)
            && client.send(&Message::Reply { id, result: Ok(answer) }, fds).is_err()
        {
            self.clients.remove(&key);
        }
    }

    /// Makes a client one of those whose connection is a session.
    pub(super) fn begin_session(&mut self, (client, _): Waiter) -> Result<(), Refusal> {
        if self.clients.values().filter(|client| client.is_session).count() >= MAX_SESSIONS {
            return Err(Refusal::FailedPrecondition(format!("{MAX_SESSIONS} sessions run in this pod already")));
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.is_session = true;
        }
        Ok(())
    }

    /// Makes sockets here, in the pod's network; whoever gets them connects them, wherever it runs.
    fn make_sockets(&mut self, waiter: Waiter) -> Result<(), Refusal> {
        let socket = |family| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
        };
        let first = socket(AddressFamily::INET).map_err(|e| Refusal::Internal(format!("make a socket: {e}")))?;
        let all = [Ok(first), socket(AddressFamily::INET6)];
        self.hand_over(waiter, all.into_iter().flatten().map(|fd| (Handle::Socket, fd)).collect());
        Ok(())
    }

    /// Tells all clients of a change. Whatever has to be durable was written before.
    pub(super) fn tell(&mut self, key: Key, change: Change) {
        let Some(container) = self.containers.get(&key) else { return };
        let message = Message::Event { at: now(), change, status: Box::new(container.status.clone()) };
        for client in self.clients.values_mut().filter(|client| !client.is_session) {
            client.queue(&message);
        }
    }

    fn flush_clients(&mut self) {
        self.clients.retain(|_, client| client.flush().is_ok());
    }

    /// Ends the loop after a last word to the client that asked for it.
    pub(super) fn finish(&mut self, waiter: Waiter) {
        self.reply(waiter, Ok(Answer::Done));
        for client in self.clients.values_mut() {
            // A client that does not read must not keep the process: what the socket takes at once is all.
            let _ = client.flush();
        }
        self.ended = true;
    }
}

impl Client {
    fn queue(&mut self, message: &Message) {
        if self.unsent.len() < MAX_UNSENT && serde_json::to_writer(&mut self.unsent, message).is_ok() {
            self.unsent.push(b'\n');
        }
    }

    /// Sends a message with descriptors, which travel with its first byte.
    fn send(&mut self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.flush()?;
        if !self.unsent.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDLES))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = rustix::net::sendmsg(&self.stream, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?;
        self.unsent.extend(&line[sent..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        if self.unsent.len() >= MAX_UNSENT { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Returns the code by the shell's convention: 128 + n after signal n. `None` if the process has not ended.
fn exit_code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}

/// What came of reading a descriptor that does not block.
pub(super) enum Piece {
    Bytes(usize),
    NotNow,
    End,
}

/// Reads once.
pub(super) fn read_piece(fd: impl AsFd, buffer: &mut [u8]) -> Piece {
    match rustix::io::read(fd, buffer) {
        Ok(0) => Piece::End,
        Ok(read) => Piece::Bytes(read),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Piece::NotNow,
        // The other end of a terminal that nobody has open (EIO) and anything worse.
        Err(_) => Piece::End,
    }
}
