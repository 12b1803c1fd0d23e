//! State directories of one running `podrig`, their locks, and the removal of what a dead one left.
//!
//! Each running command is an *instance* with directories of its own, named by a random id. It holds a
//! lock on a file named like them; the kernel drops the lock when the process dies, however it dies.
//! So whoever gets that lock knows that the instance is dead and removes everything it left. The lock files lie in
//! one place for the whole machine, since pods share the machine's network and cgroups whatever directories their
//! instances use; each says where its instance keeps its state.
//!
//! A *server's* instance is different: it belongs to its data directory, which keeps its id, and stays when the server
//! ends or dies, since its pods go on. It is dead only when its data directory is gone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::files;

/// Lock files of all instances on the machine. They are of no use after a reboot, so they lie in memory.
const LOCKS: &str = "/run/podrig/locks";

/// Lock files of servers, named by the ids of their instances.
const SERVERS: &str = "/run/podrig/servers";

/// Which ranges of the host's ids pods with users of their own have, of all instances.
pub(crate) const HOST_IDS: &str = "/run/podrig/host-ids";

/// Held while instances appear and disappear.
const ALL: &str = "/run/podrig/instances.lock";

/// Where state is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dirs {
    /// Images and the persistent part of instances.
    pub data: PathBuf,
    /// Sockets and secrets; gone after a reboot.
    pub run: PathBuf,
}

impl Dirs {
    /// Returns the directory of the image store.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Makes the paths independent of the working directory.
    fn absolute(&self) -> Result<Self> {
        let absolute = |path: &Path| path.canonicalize().with_context(|| format!("resolving {}", path.display()));
        Ok(Self { data: absolute(&self.data)?, run: absolute(&self.run)? })
    }

    fn data_of(&self, id: &str) -> PathBuf {
        self.data.join("instances").join(id)
    }

    fn run_of(&self, id: &str) -> PathBuf {
        self.run.join("instances").join(id)
    }

    fn server_data(&self) -> PathBuf {
        self.data.join("server")
    }

    fn server_run(&self, id: &str) -> PathBuf {
        self.run.join("servers").join(id)
    }

    /// Keeps the id of the server's instance.
    fn server_id(&self) -> PathBuf {
        self.server_data().join("id")
    }
}

/// A live instance. Dropping it without [`Instance::remove`] leaves its state to the next start.
#[derive(Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Persistent part of its state.
    pub data: PathBuf,
    /// Volatile part of its state.
    pub run: PathBuf,
    dirs: Dirs,
    lock: File,
}

/// What a server's lock file says.
#[derive(Debug, Serialize, Deserialize)]
struct ServerLock {
    dirs: Dirs,
    pid: u32,
}

impl Instance {
    /// Sweeps dead instances, then makes a new one.
    ///
    /// # Errors
    /// When the directories cannot be made, or a dead instance's remains cannot be removed.
    pub fn create(dirs: &Dirs) -> Result<Self> {
        let dirs = prepare(dirs)?;
        // Held while instances appear and disappear, so that nobody sees a half-made one.
        let _all = lock_all()?;
        sweep(&dirs)?;
        let id = new_id();
        let mut lock = open_lock(&lock_path(&id))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("locking instance {id}"))?;
        let text = serde_json::to_vec(&dirs).context("encoding the directories")?;
        lock.write_all(&text).with_context(|| format!("writing the lock of instance {id}"))?;
        let (data, run) = (dirs.data_of(&id), dirs.run_of(&id));
        make_dir(&data)?;
        make_dir(&run)?;
        Ok(Self { id, data, run, dirs, lock })
    }

    /// Sweeps dead instances, then opens the one of the server of these directories, or makes it.
    ///
    /// # Errors
    /// When another server has it, the directories cannot be made, or a dead instance's remains cannot be removed.
    pub fn open_server(dirs: &Dirs) -> Result<Self> {
        let dirs = prepare(dirs)?;
        let _all = lock_all()?;
        let data = dirs.server_data();
        make_dir(&data)?;
        let id = match files::read(&dirs.server_id())? {
            Some(text) => check_id(text.trim()).with_context(|| format!("reading {}", dirs.server_id().display()))?,
            None => {
                let id = new_id();
                files::replace(&dirs.server_id(), id.as_bytes())?;
                id
            }
        };
        let mut lock = open_lock(&server_lock_path(&id))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(taken(&dirs, &mut lock).into());
        }
        let text = serde_json::to_vec(&ServerLock { dirs: dirs.clone(), pid: std::process::id() });
        lock.set_len(0)
            .and_then(|()| lock.write_all(&text?))
            .with_context(|| format!("writing the lock of instance {id}"))?;
        sweep(&dirs)?;
        let run = dirs.server_run(&id);
        make_dir(&run)?;
        Ok(Self { id, data, run, dirs, lock })
    }

    /// Makes a directory in the persistent part.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let dir = self.data.join(name);
        make_dir(&dir)?;
        Ok(dir)
    }

    /// Returns what the runtime of the instance works with.
    pub(crate) fn runtime_options(&self, shim: PathBuf) -> runtime::Options {
        runtime_options(&self.id, &self.data, &self.run, shim)
    }

    /// Returns where the logs of its pods are.
    pub fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// Makes the directory for what shall outlive the instance.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn kept(&self) -> Result<PathBuf> {
        let dir = self.dirs.data.join("kept").join(&self.id);
        make_dir(&dir)?;
        Ok(dir)
    }

    /// Removes the instance's state. Its pods must have ended; whatever is left of them is removed too.
    ///
    /// # Errors
    /// When something cannot be removed; the next start tries again.
    pub fn remove(self) -> Result<()> {
        let _all = lock_all()?;
        remove(&self.dirs, &self.id)?;
        drop(self.lock);
        remove_empty(&self.dirs);
        Ok(())
    }
}

fn runtime_options(id: &str, data: &Path, run: &Path, shim: PathBuf) -> runtime::Options {
    runtime::Options { shim_exe: shim, ..runtime::Options::new(id, data, run) }
}

fn prepare(dirs: &Dirs) -> Result<Dirs> {
    for dir in [&dirs.data, &dirs.run, Path::new(LOCKS), Path::new(SERVERS)] {
        make_dir(dir)?;
    }
    dirs.absolute()
}

fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

/// An id becomes part of paths.
fn check_id(id: &str) -> Result<String> {
    let good = id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit());
    good.then(|| id.to_owned()).with_context(|| format!("{id:?} is not the id of an instance"))
}

/// The directories belong to a server that runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerRuns {
    /// In this data directory.
    #[error("another server (process {pid}) uses {}", data.display())]
    Here { pid: u32, data: PathBuf },
    /// In the directory that this one is a copy of: their pods cannot be told apart.
    #[error("{} is a copy of {}, whose server runs (process {pid})", data.display(), original.display())]
    InOriginal { pid: u32, data: PathBuf, original: PathBuf },
    /// It is just starting.
    #[error("another server uses {}", data.display())]
    Starting { data: PathBuf },
}

/// Says who has the server's lock.
fn taken(dirs: &Dirs, lock: &mut File) -> ServerRuns {
    let mut text = String::new();
    let owner = lock.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<ServerLock>(&text).ok());
    let data = dirs.data.clone();
    match owner {
        None => ServerRuns::Starting { data },
        Some(ServerLock { dirs, pid }) if dirs.data == data => ServerRuns::Here { pid, data },
        Some(ServerLock { dirs, pid }) => ServerRuns::InOriginal { pid, data, original: dirs.data },
    }
}

/// Removes what dead instances left: all on this machine, and what a reboot left in these directories.
fn sweep(dirs: &Dirs) -> Result<()> {
    for id in names(Path::new(LOCKS))?.iter().filter_map(|name| name.strip_suffix(".lock")) {
        let mut lock = open_lock(&lock_path(id))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let mut text = String::new();
        lock.read_to_string(&mut text).with_context(|| format!("reading the lock of instance {id}"))?;
        // One that died before it had written its directories has none.
        let theirs = serde_json::from_str(&text).unwrap_or_else(|_| dirs.clone());
        remove(&theirs, id).with_context(|| format!("removing what instance {id} left"))?;
    }
    for id in names(Path::new(SERVERS))?.iter().filter_map(|name| name.strip_suffix(".lock")) {
        sweep_server(id).with_context(|| format!("removing what the server {id} left"))?;
    }
    for id in names(&dirs.data.join("instances"))?.iter().filter(|id| !lock_path(id).exists()) {
        remove(dirs, id).with_context(|| format!("removing what instance {id} left"))?;
    }
    Ok(())
}

/// Removes what a server left whose data directory is gone. Any other comes back, or its pods are still wanted.
fn sweep_server(id: &str) -> Result<()> {
    let path = server_lock_path(id);
    let mut lock = open_lock(&path)?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let mut text = String::new();
    lock.read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
    // One that died before it had written its directories has no pods.
    if let Ok(ServerLock { dirs, .. }) = serde_json::from_str(&text) {
        if files::read(&dirs.server_id())?.is_some_and(|owner| owner.trim() == id) {
            return Ok(());
        }
        let options = runtime_options(id, &dirs.server_data(), &dirs.server_run(id), PathBuf::new());
        runtime::sweep(&options, &NoImages).context("ending its pods")?;
        remove_tree(&dirs.server_run(id))?;
    }
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
}

/// The image store of a data directory that is gone.
struct NoImages;

impl runtime::Images for NoImages {
    fn lease(&self, image_id: &str, _: &str) -> cri::Result<runtime::ImageRoot> {
        Err(cri::Error::NotFound { kind: cri::ObjectKind::Image, id: image_id.to_owned() })
    }

    fn release(&self, _: &str) -> cri::Result<()> {
        Ok(())
    }
}

/// Lists a directory; a missing one is empty.
fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("listing {}", dir.display()))?,
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Removes all of an instance; its lock file goes last, so that an interrupted removal is taken up again.
fn remove(dirs: &Dirs, id: &str) -> Result<()> {
    let (data, run) = (dirs.data_of(id), dirs.run_of(id));
    let images = runtime::image::Store::open(&dirs.images()).context("opening the image store")?;
    // No shim is started any more, so it does not matter which executable it would be.
    let options = runtime_options(id, &data, &run, PathBuf::new());
    runtime::sweep(&options, &images).with_context(|| format!("ending the pods of instance {id}"))?;
    for dir in [&data, &run] {
        remove_tree(dir)?;
    }
    kubelet::release_host_ids(Path::new(HOST_IDS)).with_context(|| format!("clearing {HOST_IDS}"))?;
    match fs::remove_file(lock_path(id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the lock of instance {id}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes directories that the last instance leaves empty; images stay.
fn remove_empty(dirs: &Dirs) {
    for dir in [dirs.data.join("instances"), dirs.run.join("instances"), dirs.run.clone()] {
        // Not empty: somebody else still needs it.
        let _ = fs::remove_dir(dir);
    }
}

fn lock_path(id: &str) -> PathBuf {
    Path::new(LOCKS).join(id).with_extension("lock")
}

fn server_lock_path(id: &str) -> PathBuf {
    Path::new(SERVERS).join(id).with_extension("lock")
}

fn lock_all() -> Result<File> {
    let lock = open_lock(Path::new(ALL))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).with_context(|| format!("locking {ALL}"))?;
    Ok(lock)
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

fn make_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("making directory {}", path.display()))
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
