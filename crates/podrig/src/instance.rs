//! State directories of one running `podrig`, their locks, and the removal of what a dead one left.
//!
//! Each running command is an *instance* with directories of its own, named by a random id. It holds a
//! lock on a file named like them; the kernel drops the lock when the process dies, however it dies.
//! So whoever gets that lock knows that the instance is dead and removes everything it left.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::fs::FlockOperation;

/// Where state is kept.
#[derive(Debug, Clone)]
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

    fn locks(&self) -> PathBuf {
        self.data.join("locks")
    }

    fn data_of(&self, id: &str) -> PathBuf {
        self.data.join("instances").join(id)
    }

    fn run_of(&self, id: &str) -> PathBuf {
        self.run.join("instances").join(id)
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

impl Instance {
    /// Sweeps dead instances, then makes a new one.
    ///
    /// # Errors
    /// When the directories cannot be made, or a dead instance's remains cannot be removed.
    pub fn create(dirs: &Dirs) -> Result<Self> {
        for dir in [&dirs.data, &dirs.run, &dirs.locks()] {
            make_dir(dir)?;
        }
        // Held while instances appear and disappear, so that nobody sees a half-made one.
        let _all = lock_all(dirs)?;
        sweep(dirs)?;
        let id = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let lock = open_lock(&lock_path(dirs, &id))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("locking instance {id}"))?;
        let (data, run) = (dirs.data_of(&id), dirs.run_of(&id));
        make_dir(&data)?;
        make_dir(&run)?;
        Ok(Self { id, data, run, dirs: dirs.clone(), lock })
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
        let _all = lock_all(&self.dirs)?;
        remove(&self.dirs, &self.id)?;
        drop(self.lock);
        remove_empty(&self.dirs);
        Ok(())
    }
}

/// Returns what the runtime of an instance works with.
pub(crate) fn runtime_options(dirs: &Dirs, id: &str, shim: PathBuf) -> runtime::Options {
    let defaults = runtime::Options::new(id, dirs.data_of(id), dirs.run_of(id));
    runtime::Options { shim_exe: shim, ..defaults }
}

fn sweep(dirs: &Dirs) -> Result<()> {
    let entries = fs::read_dir(dirs.locks()).with_context(|| format!("listing {}", dirs.locks().display()))?;
    for entry in entries {
        let path = entry.context("listing instances")?.path();
        let Some(id) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let lock = open_lock(&path)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(dirs, &id).with_context(|| format!("removing what instance {id} left"))?;
        }
    }
    Ok(())
}

/// Removes all of an instance; its lock file goes last, so that an interrupted removal is taken up again.
fn remove(dirs: &Dirs, id: &str) -> Result<()> {
    let (data, run) = (dirs.data_of(id), dirs.run_of(id));
    let images = runtime::image::Store::open(&dirs.images()).context("opening the image store")?;
    // No shim is started any more, so it does not matter which executable it would be.
    let options = runtime_options(dirs, id, PathBuf::new());
    runtime::sweep(&options, &images).with_context(|| format!("ending the pods of instance {id}"))?;
    for dir in [&data, &run] {
        remove_tree(dir)?;
    }
    fs::remove_file(lock_path(dirs, id)).with_context(|| format!("removing the lock of instance {id}"))
}

/// Removes directories that the last instance leaves empty; images stay.
fn remove_empty(dirs: &Dirs) {
    for dir in [dirs.data.join("instances"), dirs.run.join("instances"), dirs.run.clone()] {
        // Not empty: somebody else still needs it.
        let _ = fs::remove_dir(dir);
    }
}

fn lock_path(dirs: &Dirs, id: &str) -> PathBuf {
    dirs.locks().join(id).with_extension("lock")
}

fn lock_all(dirs: &Dirs) -> Result<File> {
    let path = dirs.data.join("instances.lock");
    let lock = open_lock(&path)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).with_context(|| format!("locking {}", path.display()))?;
    Ok(lock)
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
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
