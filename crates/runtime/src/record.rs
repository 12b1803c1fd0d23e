//! Records on disk: small JSON files that are replaced as a whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::cgroup::Cgroups;
use cri::{ContainerStatus, Nanos, SandboxConfig, SandboxId, SandboxState};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Name of a sandbox's record in its directory.
const SANDBOX_FILE: &str = "sandbox.json";
/// Name of a container's record in its directory.
const CONTAINER_FILE: &str = "container.json";
/// Directory in a container's that holds what it writes to its root file system.
pub(crate) const WRITABLE_LAYER: &str = "upper";
/// Directory of the containers' directories in a sandbox's.
const CONTAINERS: &str = "containers";
/// Largest record read back. A configuration is bounded by the API server's own limit of 1.5 MiB.
const MAX_RECORD: u64 = 16 << 20;

/// What outlives the agent about a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) id: SandboxId,
    pub(crate) config: SandboxConfig,
    pub(crate) created_at: Nanos,
    /// `NotReady` also while it is being made: an agent that dies then leaves one that nobody knows of.
    pub(crate) state: SandboxState,
    /// Whether `run_sandbox` succeeded.
    pub(crate) complete: bool,
    pub(crate) ips: Vec<std::net::IpAddr>,
    /// Socket of its shim.
    pub(crate) socket: PathBuf,
    /// The machine's cgroups.
    pub(crate) cgroups: Cgroups,
    /// The cgroup that pods' cgroups are made in.
    pub(crate) cgroup_parent: String,
}

impl SandboxRecord {
    /// Returns the name of the pod's cgroup, after `pod`. A pod may have two sandboxes for a moment, the old
    /// and the new one, and killing all of one must not reach the other.
    pub(crate) fn cgroup_name(&self) -> String {
        format!("{}-{}", self.config.metadata.uid, self.id.0.get(..8).unwrap_or_default())
    }

    pub(crate) fn load(dir: &Path) -> io::Result<Self> {
        read_json(&dir.join(SANDBOX_FILE))
    }

    pub(crate) fn save(&self, dir: &Path) -> io::Result<()> {
        replace_file(&dir.join(SANDBOX_FILE), &serde_json::to_vec(self)?, Durability::Process)
    }
}

/// Returns the directory of a container in its sandbox's.
pub(crate) fn container_dir(sandbox_dir: &Path, id: &cri::ContainerId) -> PathBuf {
    sandbox_dir.join(CONTAINERS).join(&id.0)
}

/// Returns the path of a container's record.
pub(crate) fn container_file(sandbox_dir: &Path, id: &cri::ContainerId) -> PathBuf {
    container_dir(sandbox_dir, id).join(CONTAINER_FILE)
}

/// Writes a container's record.
pub(crate) fn save_container(sandbox_dir: &Path, status: &ContainerStatus, durability: Durability) -> io::Result<()> {
    replace_file(&container_file(sandbox_dir, &status.id), &serde_json::to_vec(status)?, durability)
}

/// Returns the ids of all containers that have a directory in a sandbox's.
pub(crate) fn container_ids(sandbox_dir: &Path) -> io::Result<Vec<cri::ContainerId>> {
    let entries = match fs::read_dir(sandbox_dir.join(CONTAINERS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let name =
        |entry: io::Result<fs::DirEntry>| Ok(cri::ContainerId(entry?.file_name().to_string_lossy().into_owned()));
    entries.map(name).collect()
}

/// Reads all containers' records of a sandbox; one that cannot be read is left out.
pub(crate) fn load_containers(sandbox_dir: &Path) -> io::Result<Vec<ContainerStatus>> {
    let mut found = Vec::new();
    for id in container_ids(sandbox_dir)? {
        let path = container_file(sandbox_dir, &id);
        match read_json(&path) {
            Ok(status) => found.push(status),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "unreadable container record"),
        }
    }
    Ok(found)
}

/// What a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of any process.
    Process,
    /// The end of the machine's power, too.
    Power,
}

/// Replaces a file's content: whoever reads, now or after a crash, finds the old or the new one.
pub(crate) fn replace_file(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    if durability == Durability::Power {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)?;
    if let Some(parent) = path.parent().filter(|_| durability == Durability::Power) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_RECORD).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Returns the present time.
pub(crate) fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
}

/// Returns 64 random hexadecimal digits.
pub(crate) fn random_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
