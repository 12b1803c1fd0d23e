//! Killing the processes of a cgroup and removing it.

use std::{
    fs,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::{Error, Result, file, group::Group, group::Place, is_gone};

/// Longest wait for killed processes: one in uninterruptible sleep may take long, a caller may not.
const DEATH_WAIT: Duration = Duration::from_secs(10);

/// How often processes are collected and killed where that is not atomic. More than once is only needed
/// when they can fork meanwhile.
const KILL_ROUNDS: u32 = 20;

/// Pause before trying again to remove a cgroup that has no process any more and is still busy: the kernel
/// may take a dead task off its cgroup only after telling of its death, and offers nothing to wait for.
const LINGER: Duration = Duration::from_millis(1);

impl Group {
    /// Sends SIGKILL to every process in this cgroup and below.
    pub(super) fn kill_all(&self) -> Result<()> {
        if let Some(dir) = self.unified() {
            // Since Linux 5.14; atomic with respect to fork.
            match file::try_write(&dir.join("cgroup.kill"), "1") {
                Ok(()) => return Ok(()),
                Err(error) if is_gone(&error) => {}
                Err(source) => return Err(file::failed("write \"1\" to", &dir.join("cgroup.kill"), source)),
            }
        }
        self.freeze(true);
        let outcome = self.main_directory().map_or(Ok(()), |dir| kill_below(&dir));
        // The signals take effect with the thaw.
        self.freeze(false);
        outcome
    }

    /// Stops the processes from forking, where possible. A half-frozen cgroup is as good: those that still
    /// run get their signal as well, and the rounds catch their children.
    fn freeze(&self, frozen: bool) {
        let outcome = match self.place("freezer") {
            Some(Place::V1(dir)) => {
                file::try_write(&dir.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
            }
            Some(Place::V2(dir)) => file::try_write(&dir.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
            None => return,
        };
        if let Err(error) = outcome.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) }) {
            tracing::debug!(group = %self.path().display(), frozen, %error, "cgroup not frozen or thawed");
        }
    }

    /// Removes the cgroup and everything below; kills what runs there.
    pub(super) fn remove(&self) -> Result<()> {
        if self.directories().iter().all(|dir| is_removed(fs::remove_dir(dir))) {
            return Ok(());
        }
        let start = Instant::now();
        loop {
            self.kill_all()?;
            self.wait_until_empty(start)?;
            match self.directories().iter().try_for_each(|dir| remove_tree(dir)) {
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < DEATH_WAIT =>
                {
                    // Processes that left the unified hierarchy, or were never in it.
                    self.directories().iter().try_for_each(|dir| kill_below(dir))?;
                    std::thread::sleep(LINGER);
                }
                other => return other,
            }
        }
    }

    fn wait_until_empty(&self, start: Instant) -> Result<()> {
        let empty = match self.unified() {
            Some(dir) => wait_for_event(&dir.join("cgroup.events"), start)?,
            None => self.wait_for_exits(start)?,
        };
        if empty { Ok(()) } else { Err(Error::Busy { group: self.path().to_owned(), waited: start.elapsed() }) }
    }

    fn wait_for_exits(&self, start: Instant) -> Result<bool> {
        for pid in self.pids()? {
            let Some(pidfd) = to_pid(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { continue };
            if !wait(&pidfd, PollFlags::IN, start) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Waits until a v2 cgroup holds no process; `false` when the time is over.
fn wait_for_event(path: &Path, start: Instant) -> Result<bool> {
    let mut events = match fs::File::open(path) {
        Ok(events) => events,
        Err(error) if is_gone(&error) => return Ok(true),
        Err(source) => return Err(file::failed("open", path, source)),
    };
    loop {
        let mut text = String::new();
        match events.rewind().and_then(|()| events.read_to_string(&mut text)) {
            Ok(_) if text.lines().any(|line| line == "populated 0") => return Ok(true),
            Ok(_) => {}
            Err(error) if is_gone(&error) => return Ok(true),
            Err(source) => return Err(file::failed("read", path, source)),
        }
        if !wait(&events, PollFlags::PRI, start) {
            return Ok(false);
        }
    }
}

/// Waits for an event until [`DEATH_WAIT`] after `start`.
fn wait(fd: &impl std::os::fd::AsFd, flags: PollFlags, start: Instant) -> bool {
    let left = DEATH_WAIT.saturating_sub(start.elapsed());
    let timeout = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::new(fd, flags)], Some(&timeout)) {
        Ok(ready) => ready > 0,
        // Interrupted by a signal: the caller looks again, or the time is over.
        Err(_) => !left.is_zero(),
    }
}

/// Kills the processes of a directory tree, again and again until none is listed or all are dying.
fn kill_below(dir: &Path) -> Result<()> {
    let mut killed = Vec::new();
    for _ in 0..KILL_ROUNDS {
        let pids = pids_below(dir)?;
        let fresh: Vec<u32> = pids.into_iter().filter(|pid| !killed.contains(pid)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for pid in fresh {
            if let Some(target) = to_pid(pid) {
                // ESRCH: it was faster.
                kill_process(target, Signal::KILL).ok();
            }
            killed.push(pid);
        }
    }
    Ok(())
}

/// Lists the processes in a cgroup directory and below; what disappears meanwhile has none.
pub(super) fn pids_below(dir: &Path) -> Result<Vec<u32>> {
    let mut pids = pids_of(dir)?;
    for child in children(dir)? {
        pids.extend(pids_below(&child)?);
    }
    Ok(pids)
}

/// Lists the processes in a cgroup directory itself.
pub(super) fn pids_of(dir: &Path) -> Result<Vec<u32>> {
    let path = dir.join("cgroup.procs");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        // A threaded v2 cgroup lists no processes: those are its ancestor's.
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        Err(source) => Err(file::failed("read", &path, source)),
    }
}

fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(file::failed("read", dir, source)),
    };
    Ok(entries
        .filter_map(|entry| entry.ok().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
        .map(|entry| entry.path())
        .collect())
}

/// Removes a cgroup directory after those below it.
fn remove_tree(dir: &Path) -> Result<()> {
    for child in children(dir)? {
        remove_tree(&child)?;
    }
    match fs::remove_dir(dir) {
        Err(source) if !is_gone(&source) => Err(file::failed("remove", dir, source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_removed(outcome: io::Result<()>) -> bool {
    outcome.map_or_else(|error| is_gone(&error), |()| true)
}

/// 0 stands for a process outside of our pid namespace.
fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
