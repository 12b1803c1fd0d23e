//! Which address belongs to which sandbox, and what the network has changed on this machine; on disk, shared by all
//! processes of the machine under one lock.
//!
//! Layout of the run directory: `lock`; `state.json`, there while the network is up; `last`, the address given out
//! last; `leases/<address>`, one file a lease. Everything is written before what it describes is done and removed
//! after that is undone, so that after `kill -9` the files name at least what is there.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use cri::PortMapping;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Error, Result, Subnet};

/// What the network has changed on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Changes each time the network is built.
    pub(super) generation: u64,
    /// All of the pod network.
    pub(super) subnet: Subnet,
    /// MTU of bridges and pods.
    pub(super) mtu: u32,
    /// Bridges, by number; `true` when complete.
    pub(super) bridges: BTreeMap<u32, bool>,
    /// Kernel parameters as they were before.
    pub(super) sysctls: BTreeMap<PathBuf, String>,
    /// NAT rules: `None`, not installed yet; `Some(false)`, impossible here.
    pub(super) nat: Option<bool>,
}

/// One address in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// The instance of Podrig that the sandbox belongs to.
    pub(super) instance: String,
    /// The sandbox.
    pub(super) sandbox: String,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub(super) ports: Vec<PortMapping>,
}

/// The run directory.
#[derive(Debug)]
pub(super) struct RunDir {
    path: PathBuf,
}

/// The run directory, locked against all other users until dropped.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    path: &'a Path,
    _lock: File,
}

impl RunDir {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let leases = path.join("leases");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&leases).map_err(failed("create", &leases))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Waits for the lock. Its holders never wait for anything but the kernel.
    pub(super) fn lock(&self) -> Result<Locked<'_>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Locked { path: &self.path, _lock: file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed("lock", &path)(errno.into())),
            }
        }
    }
}

impl Locked<'_> {
    /// Reads the state; `None` when the network is not up.
    pub(super) fn state(&self) -> Result<Option<State>> {
        read_json(&self.path.join("state.json"))
    }

    pub(super) fn set_state(&self, state: &State) -> Result<()> {
        self.write_json(&self.path.join("state.json"), state)
    }

    pub(super) fn remove_state(&self) -> Result<()> {
        remove(&self.path.join("state.json"))
    }

    /// Lists all leases; one that cannot be read (of a later version, say) is an error, not free.
    pub(super) fn leases(&self) -> Result<Vec<(Ipv4Addr, Lease)>> {
        let mut leases = Vec::new();
        for address in self.addresses()? {
            if let Some(lease) = self.lease(address)? {
                leases.push((address, lease));
            }
        }
        Ok(leases)
    }

    /// Lists the addresses in use.
    fn addresses(&self) -> Result<impl Iterator<Item = Ipv4Addr>> {
        let dir = self.path.join("leases");
        let entries = fs::read_dir(&dir).map_err(failed("read", &dir))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
    }

    pub(super) fn is_unused(&self) -> Result<bool> {
        Ok(self.addresses()?.next().is_none())
    }

    pub(super) fn lease(&self, address: Ipv4Addr) -> Result<Option<Lease>> {
        read_json(&self.lease_path(address))
    }

    pub(super) fn set_lease(&self, address: Ipv4Addr, lease: &Lease) -> Result<()> {
        self.write_json(&self.lease_path(address), lease)
    }

    pub(super) fn remove_lease(&self, address: Ipv4Addr) -> Result<()> {
        remove(&self.lease_path(address))
    }

    /// Leases a free address: the one after the last, round that bridge's part, then the next part's.
    ///
    /// An address that was just given back comes last, because the old owner's namespace may take seconds to go.
    pub(super) fn take(&self, subnet: Subnet, lease: &Lease) -> Result<Ipv4Addr> {
        let last = self.last().filter(|last| subnet.contains(*last));
        let first_part = last.map_or(0, |last| subnet.part_of(last));
        for part in (0..subnet.parts()).map(|index| subnet.part((first_part + index) % subnet.parts())) {
            let start = match last {
                Some(last) if part.contains(last) => u32::from(last).saturating_sub(u32::from(part.pod(0))) + 1,
                Some(_) | None => 0,
            };
            for address in (0..part.pods()).map(|offset| part.pod(start.wrapping_add(offset))) {
                if !self.lease_path(address).exists() {
                    self.set_lease(address, lease)?;
                    self.set_last(address)?;
                    return Ok(address);
                }
            }
        }
        Err(Error::Exhausted { subnet })
    }

    fn last(&self) -> Option<Ipv4Addr> {
        fs::read_to_string(self.path.join("last")).ok()?.trim().parse().ok()
    }

    fn set_last(&self, address: Ipv4Addr) -> Result<()> {
        let path = self.path.join("last");
        fs::write(&path, address.to_string()).map_err(failed("write", &path))
    }

    /// Replaces a file as a whole. Not synced: nothing of this outlives the machine's run.
    fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|source| Error::Corrupt { path: path.to_owned(), source })?;
        let temporary = self.path.join("new");
        let write = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?.write_all(&bytes)?;
            fs::rename(&temporary, path)
        };
        write().map_err(failed("write", path))
    }

    fn lease_path(&self, address: Ipv4Addr) -> PathBuf {
        self.path.join("leases").join(address.to_string())
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Corrupt { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path)(source)),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
