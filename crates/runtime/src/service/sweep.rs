//! Removing what an instance left that is not coming back.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use cri::Result;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    process::{Flock, FlockOffsetType, FlockType, Pid, PidfdFlags, Signal},
};

use super::{Images, Options, internal, leases, open_network, remove_dir};
use crate::{
    cgroup::{Cgroups, PodCgroup},
    net::Network,
    record::SandboxRecord,
    shim::LOCK_FILE,
};

/// Longest wait for a killed shim.
const DEATH_WAIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Ends all sandboxes of the options' instance and removes them with everything that belongs to them:
/// shims, containers, cgroups, sockets, directories. No agent may run the instance.
///
/// # Errors
/// [`cri::Error::Internal`] with the first thing that could not be removed; the rest is removed all the same.
pub fn sweep(options: &Options, images: &impl Images) -> Result<()> {
    let root = options.sandboxes_dir();
    let entries = match fs::read_dir(&root) {
        // The directories may have been deleted; cgroups and addresses are the machine's.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other.map_err(|e| internal(&format!("list {}", root.display()), &e))?),
    };
    let network = open_network(options)?;
    let outcomes = entries.into_iter().flatten().flatten().map(|entry| remove_sandbox(&entry.path(), images, &network));
    // All are tried before the first failure is returned.
    outcomes.collect::<Vec<_>>().into_iter().collect::<Result<()>>()?;
    let swept = Cgroups::detect().and_then(|cgroups| cgroups.sweep(&options.cgroup_parent));
    swept.map_err(|e| internal(&format!("remove cgroup {}", options.cgroup_parent), &e))?;
    network.sweep(&options.network.instance).map_err(|e| internal("release the instance's addresses", &e))
}

/// Removes one sandbox, finished or not.
pub(super) fn remove_sandbox(dir: &Path, images: &impl Images, network: &Network) -> Result<()> {
    match SandboxRecord::load(dir) {
        Ok(record) => end_processes(dir, &record, network)?,
        // Without a record there is no shim: it is written before one is started.
        Err(error) => tracing::debug!(dir = %dir.display(), %error, "sandbox without a record"),
    }
    leases::release_others(images, dir, |_| false)?;
    remove_dir(dir).map_err(|e| internal(&format!("remove {}", dir.display()), &e))
}

/// Kills the shim and all containers of a sandbox and gives back its cgroup, address and socket.
pub(super) fn end_processes(dir: &Path, record: &SandboxRecord, network: &Network) -> Result<()> {
    kill_shim(dir).map_err(|e| internal(&format!("end the shim of {}", dir.display()), &e))?;
    let pod = PodCgroup::open(&record.cgroups, &record.cgroup_parent, &record.cgroup_name());
    pod.and_then(|pod| pod.remove()).map_err(|e| internal("remove the pod's cgroup", &e))?;
    network.release(&record.id.0).map_err(|e| internal("release the pod's address", &e))?;
    match fs::remove_file(&record.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(internal(&format!("remove {}", record.socket.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Kills whoever holds the sandbox's lock. Asking the kernel for the holder, before and after getting hold of
/// the process, makes sure that it is no other process with a recycled id.
fn kill_shim(dir: &Path) -> io::Result<()> {
    let path = dir.join(LOCK_FILE);
    let lock = match rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => File::from(other?),
    };
    while let Some(pid) = holder(&lock)? {
        let process = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => continue,
            other => other?,
        };
        if holder(&lock)? != Some(pid) {
            continue;
        }
        match rustix::process::pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DEATH_WAIT))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

fn holder(lock: &File) -> io::Result<Option<Pid>> {
    let question =
        Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    Ok(rustix::process::fcntl_getlk(lock, &question)?.and_then(|held| held.pid))
}
