//! The shim's containers: their life from set-up to removal.

use std::{
    fs, io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use cri::{ContainerId, ContainerState, ContainerStatus, ExitReason, NamespaceMode};
use rustix::{
    net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType},
    pipe::PipeFlags,
    process::Pid,
    thread::ThreadNameSpaceType,
};

use super::{
    attach::Attached,
    log::{LogFile, Stream, Unfinished},
    server::{CHUNK, Piece, Server, Waiter, read_piece},
};
use crate::{
    cgroup::{self, PodCgroup},
    container::{
        ContainerSpec,
        group::Group,
        init::{self, FAILED, GO, MAX_MESSAGE, READY, REFUSED, REPLACED, Setup},
        process::Streams,
        user::Identity,
    },
    protocol::{Answer, Change, Refusal},
    record::{self, Durability, now},
    sys::{self, Cloned},
};

/// Number of a container, command or client within one shim's life.
pub(super) type Key = u64;

/// Exit code of a container whose program was not executed (containerd; contract S5-08).
const START_ERROR: i32 = 128;
/// Most bytes taken from a pipe after its writer has ended: what a full pipe can hold.
const MAX_DRAIN: usize = 1 << 20;

/// Where a container is in its life.
enum Stage {
    /// Its first process sets itself up.
    SettingUp(Waiter),
    /// Ready to go, or known not to be able to: then with the reason.
    Created { broken: Option<String> },
    /// Told to execute the program.
    Starting(Waiter),
    /// The program runs.
    Running,
    /// Over.
    Exited,
}

/// A first process that has not been waited for.
struct Init {
    pid: Pid,
    pidfd: OwnedFd,
}

/// One output stream.
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) stream: Stream,
    unfinished: Unfinished,
}

/// A container and everything that belongs to it while it lives.
pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    pub(super) status: ContainerStatus,
    pub(super) identity: Option<Identity>,
    pub(super) group: Group,
    stage: Stage,
    init: Option<Init>,
    /// Another process is to take the place of `init`.
    replaced: bool,
    channel: Option<OwnedFd>,
    pub(super) outputs: Vec<Output>,
    /// Kept open so that a container with `stdin` does not read an end of file, and for those who attach.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) attached: Attached,
    log: LogFile,
    kill_at: Option<Instant>,
    stop_waiters: Vec<Waiter>,
    remove_waiters: Vec<Waiter>,
    /// Never came to be; forgotten as soon as its process has ended.
    refused: bool,
}

impl Container {
    /// Returns the channel (no stream) and the outputs that can be read now.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (Option<Stream>, BorrowedFd<'_>)> {
        let channel = self.channel.iter().map(|fd| (None, fd.as_fd()));
        let outputs = self.outputs.iter().filter(|output| !self.attached.is_behind(output.stream));
        channel.chain(outputs.map(|output| (Some(output.stream), output.fd.as_fd())))
    }

    /// Returns its first process, until that was waited for.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.init.as_ref().map(|init| init.pid)
    }

    /// Returns a descriptor of its first process if the program runs.
    pub(super) fn running(&self) -> Option<BorrowedFd<'_>> {
        let init = self.init.as_ref()?;
        matches!(self.stage, Stage::Running).then(|| init.pidfd.as_fd())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.kill_at
    }

    fn signal(&self, signal: i32) {
        if let Some(init) = &self.init {
            // A process that has ended cannot be signalled, and need not be.
            let _ = sys::send_signal(init.pidfd.as_fd(), signal);
        }
    }
}

impl Server {
    pub(super) fn find(&self, id: &ContainerId) -> Option<Key> {
        self.containers.iter().find(|(_, container)| container.status.id == *id).map(|(&key, _)| key)
    }

    fn require(&self, id: &ContainerId) -> Result<Key, Refusal> {
        self.find(id).ok_or_else(|| Refusal::NotFound(id.clone()))
    }

    /// Begins to set a container up; answered when its first process is ready.
    pub(super) fn create(&mut self, waiter: Waiter, spec: ContainerSpec) -> Result<(), Refusal> {
        if self.find(&spec.id).is_some() {
            return Err(Refusal::InvalidArgument(format!("container {} exists", spec.id)));
        }
        let internal = |what: &str, error: io::Error| Refusal::Internal(format!("create container: {what}: {error}"));
        let dir = record::container_dir(&self.dir, &spec.id);
        for name in [record::WRITABLE_LAYER, "work", "rootfs"] {
            fs::create_dir_all(dir.join(name)).map_err(|e| internal("directories", e))?;
        }
        let status = self.initial_status(&spec);
        let log = LogFile::open(&status.log_path).map_err(|e| internal("log file", e))?;
        record::save_container(&self.dir, &status, Durability::Process).map_err(|e| internal("record", e))?;
        let group = self.create_group(&spec).map_err(|e| Refusal::Internal(format!("create container: {e}")))?;
        let (streams, outputs, stdin) = make_streams(&spec).map_err(|e| internal("pipes", e))?;
        let users = self.namespaces.users.as_ref();
        if let (Some(users), Some(streams)) = (users, &streams) {
            users.give_pipes(streams).map_err(|e| internal("pipes", e))?;
        }
        let (ours, theirs) = channel().map_err(|e| internal("channel", e))?;
        let (pids, new_pids) = self.pid_namespace(&spec)?;
        let replaced = new_pids && users.is_some();
        let namespaces = libc::CLONE_NEWNS | if new_pids && !replaced { libc::CLONE_NEWPID } else { 0 };
        let cloned =
            clone_into(pids, self.own_pids.as_fd(), namespaces, group.directory()).map_err(|e| internal("clone", e))?;
        let (pid, pidfd) = match cloned {
            Cloned::Parent(pid, pidfd) => (pid, pidfd),
            Cloned::Child => {
                drop(ours);
                let setup = Setup {
                    spec: &spec,
                    sandbox: &self.record.config,
                    sandbox_dir: &self.dir,
                    dir: &dir,
                    cgroup: &group,
                    users,
                    own_pids: replaced,
                    streams,
                };
                init::run(setup, theirs)
            }
        };
        let key = self.new_key();
        let container = Container {
            spec,
            status,
            identity: None,
            group,
            stage: Stage::SettingUp(waiter),
            init: Some(Init { pid, pidfd }),
            replaced,
            channel: Some(ours),
            outputs,
            stdin,
            attached: Attached::default(),
            log,
            kill_at: None,
            stop_waiters: Vec::new(),
            remove_waiters: Vec::new(),
            refused: false,
        };
        self.containers.insert(key, container);
        Ok(())
    }

    /// Returns a member of the PID namespace that a container joins, if any, and whether it gets one of its own.
    fn pid_namespace(&self, spec: &ContainerSpec) -> Result<(Option<BorrowedFd<'_>>, bool), Refusal> {
        let own = self.record.config.namespaces.pid == NamespaceMode::Container;
        let Some(target) = spec.config.pid_target.as_ref().filter(|_| own) else {
            return Ok((self.namespaces.pod_pids.as_ref().map(AsFd::as_fd), own));
        };
        let running = self.containers.get(&self.require(target)?).and_then(Container::running);
        let gone = || Refusal::FailedPrecondition(format!("target container {target} is not running"));
        Ok((Some(running.ok_or_else(gone)?), false))
    }

    /// Returns whether a container can have processes that do not end with its first one: it has no PID namespace of its
    /// own, or another process is taking the place of the first one.
    fn may_be_outlived(&self, container: &Container) -> bool {
        let shared = self.record.config.namespaces.pid != NamespaceMode::Container;
        shared || container.spec.config.pid_target.is_some() || container.replaced
    }

    fn initial_status(&self, spec: &ContainerSpec) -> ContainerStatus {
        ContainerStatus {
            id: spec.id.clone(),
            sandbox: self.record.id.clone(),
            name: spec.config.name.clone(),
            attempt: spec.config.attempt,
            state: ContainerState::Created,
            created_at: spec.created_at,
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: None,
            message: String::new(),
            image: spec.config.image_name.clone(),
            image_ref: spec.image_ref.clone(),
            log_path: self.record.config.log_directory.join(&spec.config.log_path),
            pid: None,
            user: None,
            labels: spec.config.labels.clone(),
            annotations: spec.config.annotations.clone(),
        }
    }

    fn create_group(&self, spec: &ContainerSpec) -> cgroup::Result<Group> {
        let pod = PodCgroup::open(&self.record.cgroups, &self.record.cgroup_parent, &self.record.cgroup_name())?;
        Group::create(&pod, &spec.id.0, &spec.config.resources, spec.config.security.privileged)
    }

    /// Lets a created container go on; answered when its program was executed, or was not.
    pub(super) fn start(&mut self, waiter: Waiter, id: &ContainerId) -> Result<(), Refusal> {
        let key = self.require(id)?;
        let Some(container) = self.containers.get_mut(&key) else { return Ok(()) };
        match &mut container.stage {
            Stage::Created { broken } => match broken.take() {
                Some(message) => {
                    self.fail_start(key, message.clone());
                    Err(Refusal::StartFailed(message))
                }
                None => {
                    let go = container.channel.as_ref().map(|fd| rustix::net::send(fd, &[GO], SendFlags::NOSIGNAL));
                    container.stage = Stage::Starting(waiter);
                    if !matches!(go, Some(Ok(1))) {
                        self.settle_start(key, Some("the process that was to become it is gone".into()));
                    }
                    Ok(())
                }
            },
            Stage::Running => {
                let status = Box::new(container.status.clone());
                self.reply(waiter, Ok(Answer::Started(status)));
                Ok(())
            }
            Stage::SettingUp(_) | Stage::Starting(_) => {
                Err(Refusal::FailedPrecondition(format!("container {id} is being started")))
            }
            Stage::Exited => Err(Refusal::FailedPrecondition(format!("container {id} is in Exited state"))),
        }
    }

    /// Handles what a first process says, or its silence: the end of the channel after the word to go
    /// means that the program was executed.
    pub(super) fn on_channel(&mut self, key: Key) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let Some(channel) = &container.channel else { return };
        let (message, fd) = match receive(channel.as_fd()) {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(()) => (Vec::new(), None),
        };
        let text = |message: &[u8]| String::from_utf8_lossy(message.get(1..).unwrap_or_default()).into_owned();
        match message.first() {
            Some(&READY) if !container.replaced => {
                container.identity = serde_json::from_slice(&message[1..]).ok();
                container.status.user = container.identity.as_ref().map(Identity::user);
                container.outputs.extend(fd.map(|fd| Output {
                    fd,
                    stream: Stream::Stdout,
                    unfinished: Unfinished::default(),
                }));
                self.settle_set_up(key, Ok(()));
            }
            Some(&REPLACED) => {
                let pid = text(&message).parse().ok().and_then(Pid::from_raw);
                self.on_replaced(key, pid.zip(fd).map(|(pid, pidfd)| Init { pid, pidfd }));
            }
            Some(&REFUSED) => self.settle_set_up(key, Err(Refused::Forever(text(&message)))),
            Some(&FAILED) => self.on_failure(key, text(&message)),
            _ => {
                container.channel = None;
                if matches!(container.stage, Stage::Starting(_)) {
                    self.settle_start(key, None);
                } else {
                    self.on_failure(key, ended_in_set_up());
                }
            }
        }
    }

    /// Follows the process that takes the place of a first one; nobody has told it yet that it is not wanted any more.
    /// One that cannot be followed is killed when the first one ends, which it does now.
    fn on_replaced(&mut self, key: Key, init: Option<Init>) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        if init.is_none() {
            let message = "the process that takes its place could not be received";
            self.on_failure(key, format!("{}{message}", init::START_PREFIX));
            return;
        }
        container.init = init;
        container.replaced = false;
        if self.shutdown.is_some() || !container.remove_waiters.is_empty() {
            container.signal(libc::SIGKILL);
        }
    }

    /// Learns, before ends of processes are looked at, which processes have taken the place of others.
    pub(super) fn learn_first_processes(&mut self) {
        let waiting = self.containers.iter().filter(|(_, container)| container.replaced);
        for key in waiting.map(|(&key, _)| key).collect::<Vec<_>>() {
            self.on_channel(key);
        }
    }

    fn on_failure(&mut self, key: Key, message: String) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        container.channel = None;
        match &mut container.stage {
            Stage::SettingUp(_) => self.settle_set_up(key, Err(Refused::AtStart(message))),
            Stage::Created { broken } => drop(broken.get_or_insert(message)),
            Stage::Starting(_) => self.settle_start(key, Some(message)),
            Stage::Running | Stage::Exited => {}
        }
    }

    fn settle_set_up(&mut self, key: Key, outcome: Result<(), Refused>) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let Stage::SettingUp(waiter) = container.stage else { return };
        match outcome {
            Ok(()) => container.stage = Stage::Created { broken: None },
            // As on a real node, where the container is set up only when it is started.
            Err(Refused::AtStart(message)) => container.stage = Stage::Created { broken: Some(message) },
            Err(Refused::Forever(message)) => {
                container.stage = Stage::Exited;
                container.refused = true;
                container.channel = None;
                container.signal(libc::SIGKILL);
                self.reply(waiter, Err(Refusal::InvalidArgument(message)));
                self.forget_when_ended(key);
                return;
            }
        }
        self.tell(key, Change::Created);
        self.reply(waiter, Ok(Answer::Done));
    }

    fn settle_start(&mut self, key: Key, failure: Option<String>) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let Stage::Starting(waiter) = container.stage else { return };
        if let Some(message) = failure {
            self.fail_start(key, message.clone());
            self.reply(waiter, Err(Refusal::StartFailed(message)));
            return;
        }
        container.stage = Stage::Running;
        container.status.state = ContainerState::Running;
        container.status.started_at = now();
        container.status.pid = container.pid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        let status = Box::new(container.status.clone());
        self.save(key, Durability::Process);
        self.tell(key, Change::Started);
        self.reply(waiter, Ok(Answer::Started(status)));
    }

    fn fail_start(&mut self, key: Key, message: String) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        container.channel = None;
        container.signal(libc::SIGKILL);
        container.status.message = message;
        self.record_exit(key, START_ERROR, ExitReason::StartError);
    }

    /// Handles output of a container.
    pub(super) fn on_output(&mut self, key: Key, stream: Stream) {
        if let Some(container) = self.containers.get_mut(&key) {
            container.pump(stream, CHUNK);
        }
    }

    /// Handles the end of a container's first process: everything it wrote is logged and its exit recorded
    /// before anybody is told.
    pub(super) fn on_exit(&mut self, key: Key, code: i32) {
        for _ in 0..3 {
            // What it said before it ended: at most that it is ready, a failure, and the end.
            self.on_channel(key);
        }
        let outlived = self.containers.get(&key).is_some_and(|container| self.may_be_outlived(container));
        if self.containers.get(&key).is_some_and(|container| container.replaced) {
            self.on_failure(key, ended_in_set_up());
        }
        let Some(container) = self.containers.get_mut(&key) else { return };
        container.init = None;
        container.kill_at = None;
        if outlived {
            container.group.kill_all();
        }
        if matches!(container.stage, Stage::Running) {
            for stream in [Stream::Stdout, Stream::Stderr] {
                container.pump(stream, MAX_DRAIN);
            }
            container.close_outputs();
            let reason = match code {
                _ if container.group.oom_kills() > 0 => ExitReason::OomKilled,
                0 => ExitReason::Completed,
                _ => ExitReason::Error,
            };
            self.record_exit(key, code, reason);
        }
        self.forget_when_ended(key);
        self.shut_down_if_empty();
    }

    fn record_exit(&mut self, key: Key, code: i32, reason: ExitReason) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        container.stage = Stage::Exited;
        let status = &mut container.status;
        status.state = ContainerState::Exited;
        status.exit_code = code;
        status.reason = Some(reason);
        status.finished_at = now().max(status.started_at);
        status.pid = None;
        let waiters = std::mem::take(&mut container.stop_waiters);
        let attached = container.attached.take_clients();
        container.stdin = None;
        self.save(key, Durability::Power);
        self.tell(key, Change::Exited);
        for client in attached {
            self.reply(client, Ok(Answer::Ended(code)));
        }
        for waiter in waiters {
            self.reply(waiter, Ok(Answer::Done));
        }
    }

    fn save(&self, key: Key, durability: Durability) {
        if let Some(container) = self.containers.get(&key) {
            // Without a record (disk full) the shim's own memory still answers; nothing better can be done.
            let _ = record::save_container(&self.dir, &container.status, durability);
        }
    }

    /// Sends the stop signal, or brings SIGKILL forward; answered when the container has ended.
    pub(super) fn stop(&mut self, waiter: Waiter, id: &ContainerId, grace: Duration) -> Result<(), Refusal> {
        let key = self.require(id)?;
        let Some(container) = self.containers.get_mut(&key) else { return Ok(()) };
        match container.stage {
            Stage::Running | Stage::Starting(_) => {}
            Stage::SettingUp(_) | Stage::Created { .. } | Stage::Exited => {
                self.reply(waiter, Ok(Answer::Done));
                return Ok(());
            }
        }
        container.stop_waiters.push(waiter);
        let first = container.kill_at.is_none();
        let deadline = Instant::now().checked_add(grace);
        container.kill_at = match (container.kill_at, deadline) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        if grace.is_zero() {
            self.strike_deadlines(Instant::now());
        } else if first {
            let signal = container.spec.stop_signal;
            container.signal(signal);
            self.tell(key, Change::Signalled(signal));
        }
        Ok(())
    }

    /// Kills what has not ended in time.
    pub(super) fn strike_deadlines(&mut self, at: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= at);
        let keys: Vec<_> = self.containers.iter().filter(|(_, c)| due(c.kill_at)).map(|(&key, _)| key).collect();
        for key in keys {
            self.kill(key);
        }
        self.strike_exec_deadlines(at);
        self.strike_attach_deadlines(at);
    }

    fn kill(&mut self, key: Key) {
        let outlived = self.containers.get(&key).is_some_and(|container| self.may_be_outlived(container));
        let Some(container) = self.containers.get_mut(&key) else { return };
        container.kill_at = None;
        container.signal(libc::SIGKILL);
        if outlived {
            container.group.kill_all();
        }
        if matches!(container.stage, Stage::Running) {
            self.tell(key, Change::Signalled(libc::SIGKILL));
        }
    }

    /// Ends a container if need be and forgets it; a container that is not there is removed already.
    pub(super) fn remove(&mut self, waiter: Waiter, id: &ContainerId) {
        let Some(key) = self.find(id) else {
            self.reply(waiter, Ok(Answer::Done));
            return;
        };
        if let Some(container) = self.containers.get_mut(&key) {
            container.remove_waiters.push(waiter);
            if container.init.is_some() {
                self.kill(key);
            }
        }
        self.forget_when_ended(key);
    }

    fn forget_when_ended(&mut self, key: Key) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let unwanted = container.refused || !container.remove_waiters.is_empty();
        let over = matches!(container.stage, Stage::Exited | Stage::Created { .. });
        if container.init.is_some() || !over || !unwanted {
            return;
        }
        let waiters = std::mem::take(&mut container.remove_waiters);
        container.group.kill_all();
        let _ = container.group.remove();
        // The record goes first: a directory without one is litter to whoever finds it.
        let _ = fs::remove_file(record::container_file(&self.dir, &container.status.id));
        self.tell(key, Change::Removed);
        self.containers.remove(&key);
        for waiter in waiters {
            self.reply(waiter, Ok(Answer::Done));
        }
    }

    /// Kills everything; the loop ends when all exits are recorded.
    pub(super) fn shut_down(&mut self, waiter: Waiter) {
        self.shutdown = Some(waiter);
        let keys: Vec<_> = self.containers.keys().copied().collect();
        for key in keys {
            self.kill(key);
        }
        self.shut_down_if_empty();
    }

    fn shut_down_if_empty(&mut self) {
        if let Some(waiter) = self.shutdown
            && self.containers.values().all(|container| container.init.is_none())
        {
            for container in self.containers.values() {
                container.group.kill_all();
                let _ = container.group.remove();
            }
            self.finish(waiter);
        }
    }
}

fn ended_in_set_up() -> String {
    format!("{}the process ended while it was set up", init::START_PREFIX)
}

/// Why a container could not be set up.
enum Refused {
    /// The configuration is at fault; the container is not created.
    Forever(String),
    /// Told when it is started.
    AtStart(String),
}

impl Container {
    /// Copies output to the log, at most about `limit` bytes.
    fn pump(&mut self, stream: Stream, limit: usize) {
        let mut chunk = [0; CHUNK];
        let Some(index) = self.outputs.iter().position(|output| output.stream == stream) else { return };
        let mut taken = 0;
        while taken < limit {
            let output = &mut self.outputs[index];
            match read_piece(&output.fd, &mut chunk) {
                Piece::Bytes(read) => {
                    taken += read;
                    self.log.add(stream, &mut output.unfinished, &chunk[..read], now());
                    self.attached.give(stream, &chunk[..read]);
                }
                Piece::NotNow => return,
                Piece::End => {
                    self.log.finish(stream, &mut output.unfinished, now());
                    self.outputs.remove(index);
                    self.attached.end(stream);
                    return;
                }
            }
        }
    }

    fn close_outputs(&mut self) {
        for mut output in std::mem::take(&mut self.outputs) {
            self.log.finish(output.stream, &mut output.unfinished, now());
            self.attached.end(output.stream);
        }
    }
}

/// Clones this process, in another PID namespace if one is given.
pub(super) fn clone_into(
    pids: Option<BorrowedFd<'_>>,
    own_pids: BorrowedFd<'_>,
    namespaces: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Cloned> {
    let Some(pids) = pids else { return sys::clone_process(namespaces, cgroup) };
    rustix::thread::move_into_thread_name_spaces(pids, ThreadNameSpaceType::PROCESS_ID)?;
    let cloned = sys::clone_process(namespaces, cgroup);
    if !matches!(cloned, Ok(Cloned::Child)) {
        let back = rustix::thread::move_into_link_name_space(own_pids, None);
        if back.is_err() {
            // Every later child would be born into the wrong namespace.
            sys::exit_now(1);
        }
    }
    cloned
}

type MadeStreams = (Option<Streams>, Vec<Output>, Option<OwnedFd>);

fn make_streams(spec: &ContainerSpec) -> io::Result<MadeStreams> {
    if spec.config.tty {
        return Ok((None, Vec::new(), None));
    }
    let output = |stream| -> io::Result<(OwnedFd, Output)> {
        let (read, write) = output_pipe()?;
        Ok((write, Output { fd: read, stream, unfinished: Unfinished::default() }))
    };
    let (stdout, out) = output(Stream::Stdout)?;
    let (stderr, err) = output(Stream::Stderr)?;
    let (stdin, kept) = if spec.config.stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        (read, Some(write))
    } else {
        (null()?, None)
    };
    Ok((Some(Streams { stdin, stdout, stderr }), vec![out, err], kept))
}

/// Returns a pipe whose reading end does not block.
pub(super) fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK)?;
    Ok((read, write))
}

/// Opens `/dev/null` for reading.
pub(super) fn null() -> io::Result<OwnedFd> {
    Ok(fs::File::open(Path::new("/dev/null"))?.into())
}

/// Returns a channel between this process and a child: messages keep their borders, and it ends with exec.
pub(super) fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

type Received = (Vec<u8>, Option<OwnedFd>);

/// Receives a message of a child with the descriptor that may come with it; `None`: there is none now.
pub(super) fn receive(channel: BorrowedFd<'_>) -> Result<Option<Received>, ()> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = match rustix::net::recvmsg(channel, &mut [io::IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
        Ok(received) if received.bytes > 0 => received,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        _ => return Err(()),
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign, open list; a child sends nothing else")]
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if let Some(fd) = &fd {
        let _ = rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK);
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, fd)))
}
