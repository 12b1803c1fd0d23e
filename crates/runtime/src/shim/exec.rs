//! Commands executed in a running container, such as probes and hooks.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use cri::{ContainerId, ExecOutput, ExecRequest, ExecSession};
use rustix::{
    fs::OFlags,
    pipe::PipeFlags,
    process::{Pid, Signal},
    thread::ThreadNameSpaceType,
};

use super::{
    log::Stream,
    server::{CHUNK, Piece, Server, Waiter, read_piece},
    table::{Container, Key, channel, clone_into, null, output_pipe, receive},
};
use crate::{
    container::{
        init::{FAILED, READY, own_terminal, say, send_ready, set_oom_score, terminal_streams},
        process::{Process, Streams, become_program, settle_descriptors},
        users::Users,
    },
    protocol::{Answer, Handle, Refusal},
    sys::{self, Cloned},
};

/// What a real node puts before the reason why a command was not executed.
const EXEC_PREFIX: &str = "exec failed: unable to start container process: ";
/// Rounds of looking for processes to kill after a time-out; each kill may race with a fork.
const KILL_ROUNDS: usize = 5;
/// Most commands at once in one sandbox.
const MAX_EXECS: usize = 512;

/// A command that runs.
pub(super) struct Exec {
    pub(super) pid: Pid,
    waiter: Waiter,
    channel: Option<OwnedFd>,
    role: Role,
    failure: Option<String>,
}

/// What is done with a command's streams.
enum Role {
    /// They are collected.
    Captured(Captured),
    /// Its client has them, or gets them with the terminal: these.
    Session(cri::Streams),
}

struct Captured {
    stdout: Capture,
    stderr: Capture,
    limit: usize,
    deadline: Option<Instant>,
    timed_out: bool,
}

struct Capture {
    fd: Option<OwnedFd>,
    bytes: Vec<u8>,
}

/// A command as the child needs it.
struct Command<'a> {
    args: &'a [String],
    /// `None`: a terminal is made.
    streams: Option<Streams>,
}

/// Where a command is executed.
struct Place<'a> {
    /// The container's first process.
    running: BorrowedFd<'a>,
    users: Option<&'a Users>,
}

impl Exec {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (Option<Stream>, BorrowedFd<'_>)> {
        let channel = self.channel.iter().map(|fd| (None, fd.as_fd()));
        let captured = match &self.role {
            Role::Captured(captured) => Some(captured),
            Role::Session(_) => None,
        };
        channel.chain(captured.into_iter().flat_map(Captured::descriptors))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Captured(captured) => captured.deadline,
            Role::Session(_) => None,
        }
    }
}

impl Captured {
    fn descriptors(&self) -> impl Iterator<Item = (Option<Stream>, BorrowedFd<'_>)> {
        let stdout = self.stdout.fd.iter().map(|fd| (Some(Stream::Stdout), fd.as_fd()));
        let stderr = self.stderr.fd.iter().map(|fd| (Some(Stream::Stderr), fd.as_fd()));
        stdout.chain(stderr)
    }

    fn pump(&mut self, stream: Stream, rounds: usize) {
        let limit = self.limit;
        let capture = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let mut chunk = [0; CHUNK];
        for _ in 0..rounds {
            let Some(fd) = &capture.fd else { return };
            match read_piece(fd, &mut chunk) {
                Piece::Bytes(read) => {
                    let room = limit.saturating_sub(capture.bytes.len());
                    capture.bytes.extend(&chunk[..read.min(room)]);
                }
                Piece::NotNow => return,
                Piece::End => capture.fd = None,
            }
        }
    }

    /// Returns what was written until the end.
    fn finish(mut self, exit_code: i32) -> ExecOutput {
        // A pipe holds 64 KiB, two chunks; the end comes after them.
        self.pump(Stream::Stdout, 4);
        self.pump(Stream::Stderr, 4);
        let (stdout, stderr) = (self.stdout.bytes, self.stderr.bytes);
        ExecOutput { stdout, stderr, exit_code, timed_out: self.timed_out }
    }
}

impl Server {
    /// Executes a command; answered when it has ended.
    pub(super) fn exec(&mut self, waiter: Waiter, id: &ContainerId, request: &ExecRequest) -> Result<(), Refusal> {
        let internal = |error: io::Error| failed(id, &error);
        let (out, stdout) = output_pipe().map_err(internal)?;
        let (err, stderr) = output_pipe().map_err(internal)?;
        let streams = Streams { stdin: null().map_err(internal)?, stdout, stderr };
        let role = Role::Captured(Captured {
            stdout: Capture { fd: Some(out), bytes: Vec::new() },
            stderr: Capture { fd: Some(err), bytes: Vec::new() },
            limit: request.output_limit,
            deadline: request.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            timed_out: false,
        });
        self.launch(waiter, id, Command { args: &request.command, streams: Some(streams) }, role)
    }

    /// Executes a command with live streams; answered with them, and again when the command has ended.
    pub(super) fn exec_session(
        &mut self,
        waiter: Waiter,
        id: &ContainerId,
        session: &ExecSession,
    ) -> Result<(), Refusal> {
        self.begin_session(waiter)?;
        let role = Role::Session(session.streams);
        if session.tty {
            // Its streams come from the child, with the terminal.
            return self.launch(waiter, id, Command { args: &session.command, streams: None }, role);
        }
        let (streams, handles) = session_pipes(session.streams).map_err(|error| failed(id, &error))?;
        self.launch(waiter, id, Command { args: &session.command, streams: Some(streams) }, role)?;
        self.hand_over(waiter, handles);
        Ok(())
    }

    fn launch(&mut self, waiter: Waiter, id: &ContainerId, command: Command<'_>, role: Role) -> Result<(), Refusal> {
        let key = self.find(id).ok_or_else(|| Refusal::NotFound(id.clone()))?;
        let Some(container) = self.containers.get(&key) else { return Ok(()) };
        let Some(running) = container.running() else {
            return Err(Refusal::FailedPrecondition(format!("container {id} is not running")));
        };
        if self.execs.len() >= MAX_EXECS {
            return Err(Refusal::FailedPrecondition(format!("{MAX_EXECS} commands run in this pod already")));
        }
        let users = self.namespaces.users.as_ref();
        if let (Some(users), Some(streams)) = (users, &command.streams) {
            users.give_pipes(streams).map_err(|error| failed(id, &error))?;
        }
        let (ours, theirs) = channel().map_err(|error| failed(id, &error))?;
        let pid = match clone_into(Some(running), self.own_pids.as_fd(), 0, container.group.directory()) {
            Ok(Cloned::Parent(pid, _)) => pid,
            Ok(Cloned::Child) => {
                drop(ours);
                run(container, Place { running, users }, command, theirs)
            }
            // Its first process ended this moment.
            Err(error) => return Err(Refusal::FailedPrecondition(format!("container {id} is not running: {error}"))),
        };
        let key = self.new_key();
        self.execs.insert(key, Exec { pid, waiter, channel: Some(ours), role, failure: None });
        Ok(())
    }

    pub(super) fn on_exec_channel(&mut self, key: Key) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        let Some(channel) = &exec.channel else { return };
        match receive(channel.as_fd()) {
            Ok(Some((message, _))) if message.first() == Some(&FAILED) => {
                exec.failure = Some(String::from_utf8_lossy(&message[1..]).into_owned());
            }
            Ok(Some((message, Some(terminal)))) if message.first() == Some(&READY) => {
                let (waiter, handles) = (exec.waiter, terminal_handles(&exec.role));
                let fds = vec![terminal.as_fd(); handles.len()];
                self.reply_with(waiter, Answer::Handles(handles), &fds);
            }
            Ok(None) => {}
            Ok(Some(_)) | Err(()) => exec.channel = None,
        }
    }

    pub(super) fn on_exec_output(&mut self, key: Key, stream: Stream) {
        if let Some(Exec { role: Role::Captured(captured), .. }) = self.execs.get_mut(&key) {
            captured.pump(stream, 1);
        }
    }

    /// Answers with what the command has written until its end. What it left running may write on, unread.
    pub(super) fn on_exec_exit(&mut self, key: Key, code: i32) {
        for _ in 0..2 {
            // What it said before it ended: at most its terminal, and a failure.
            self.on_exec_channel(key);
        }
        let Some(exec) = self.execs.remove(&key) else { return };
        let result = match (exec.failure, exec.role) {
            (Some(message), _) => Err(Refusal::StartFailed(message)),
            (None, Role::Captured(captured)) => Ok(Answer::Output(captured.finish(code).into())),
            (None, Role::Session(_)) => Ok(Answer::Ended(code)),
        };
        self.reply(exec.waiter, result);
    }

    pub(super) fn strike_exec_deadlines(&mut self, at: Instant) {
        for exec in self.execs.values_mut() {
            if let Role::Captured(captured) = &mut exec.role
                && captured.deadline.is_some_and(|deadline| deadline <= at)
            {
                captured.deadline = None;
                captured.timed_out = true;
                kill_session(exec.pid);
            }
        }
    }
}

fn failed(id: &ContainerId, error: &io::Error) -> Refusal {
    Refusal::Internal(format!("exec in container {id}: {error}"))
}

/// Makes the pipes of a command, and returns the client's ends.
fn session_pipes(wanted: cri::Streams) -> io::Result<(Streams, Vec<(Handle, OwnedFd)>)> {
    let mut handles = Vec::new();
    let stdin = if wanted.stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&write, OFlags::NONBLOCK)?;
        handles.push((Handle::Stdin, write));
        read
    } else {
        null()?
    };
    let mut output = |wanted: bool, handle: Handle| {
        if !wanted {
            return Ok(fs::File::options().write(true).open("/dev/null")?.into());
        }
        let (read, write) = output_pipe()?;
        handles.push((handle, read));
        io::Result::Ok(write)
    };
    let stdout = output(wanted.stdout, Handle::Stdout)?;
    let stderr = output(wanted.stderr, Handle::Stderr)?;
    Ok((Streams { stdin, stdout, stderr }, handles))
}

/// Returns what a client gets of its command's terminal: always a hold on it, so that it does not hang up.
fn terminal_handles(role: &Role) -> Vec<Handle> {
    let mut handles = vec![Handle::Terminal];
    if let Role::Session(wanted) = role {
        handles.extend(wanted.stdin.then_some(Handle::Stdin));
        handles.extend(wanted.stdout.then_some(Handle::Stdout));
    }
    handles
}

/// Runs in the child: joins the container and becomes the command.
fn run(container: &Container, place: Place<'_>, command: Command<'_>, channel: OwnedFd) -> ! {
    let fail = |channel: BorrowedFd<'_>, message: String| -> ! {
        say(channel, FAILED, &format!("{EXEC_PREFIX}{message}"));
        sys::exit_now(1)
    };
    if let Err(message) = join(container, place) {
        fail(channel.as_fd(), message);
    }
    let Some(identity) = &container.identity else { fail(channel.as_fd(), "its user is not known".into()) };
    let mut env = container.spec.env.clone();
    let streams = match command.streams.map_or_else(|| take_terminal(channel.as_fd(), &mut env), Ok) {
        Ok(streams) => streams,
        Err(error) => fail(channel.as_fd(), format!("open terminal: {error}")),
    };
    let Ok(channel) = settle_descriptors(&streams, channel) else { sys::exit_now(1) };
    let process = Process {
        args: command.args,
        env: &env,
        cwd: &container.spec.cwd,
        identity,
        security: &container.spec.config.security,
    };
    let message = become_program(&process);
    fail(channel, message)
}

/// Makes a terminal in the container and gives its other end away.
fn take_terminal(channel: BorrowedFd<'_>, env: &mut Vec<String>) -> io::Result<Streams> {
    let terminal = own_terminal()?;
    send_ready(channel, "", Some(terminal.master.as_fd()))?;
    // As containerd, whatever the container has.
    env.retain(|variable| !variable.starts_with("TERM="));
    env.push("TERM=xterm".into());
    terminal_streams(&terminal.slave)
}

fn join(container: &Container, place: Place<'_>) -> Result<(), String> {
    container.group.join().map_err(|e| format!("join cgroup: {e}"))?;
    if let Some(score) = container.spec.config.resources.oom_score_adj {
        set_oom_score(score).map_err(|e| format!("set oom_score_adj: {e}"))?;
    }
    rustix::process::setsid().map_err(|e| format!("setsid: {e}"))?;
    let namespaces = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::CONTROL_GROUP;
    rustix::thread::move_into_thread_name_spaces(place.running, namespaces)
        .map_err(|e| format!("join namespaces: {e}"))?;
    place.users.map_or(Ok(()), Users::enter).map_err(|e| format!("join user namespace: {e}"))
}

/// Kills a command with everything it started: its session and all descendants.
fn kill_session(leader: Pid) {
    for _ in 0..KILL_ROUNDS {
        let victims = session_and_descendants(leader.as_raw_nonzero().get());
        for pid in victims.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if victims.is_empty() {
            return;
        }
    }
}

fn session_and_descendants(leader: i32) -> BTreeSet<i32> {
    let processes: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| parentage(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|rest| (pid, rest)))
        .collect();
    let mut found = BTreeSet::new();
    let mut grew = true;
    while grew {
        let before = found.len();
        for &(pid, Parentage { parent, session, .. }) in &processes {
            if pid == leader || session == leader || found.contains(&parent) {
                found.insert(pid);
            }
        }
        grew = found.len() > before;
    }
    let ended: BTreeSet<i32> = processes.iter().filter(|(_, p)| p.ended).map(|&(pid, _)| pid).collect();
    &found - &ended
}

#[derive(Clone, Copy)]
struct Parentage {
    parent: i32,
    session: i32,
    ended: bool,
}

/// Parses `/proc/PID/stat`; the command's name in parentheses may contain anything.
fn parentage(stat: &str) -> Option<Parentage> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let ended = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Parentage { parent, session, ended })
}
