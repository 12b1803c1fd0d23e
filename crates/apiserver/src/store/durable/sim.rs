//! A disk in memory that loses power, lies or hesitates as a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

/// Random numbers from a seed (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % bound.max(1)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<(Mutex<Sim>, Condvar)>);

#[derive(Clone, Debug, Default)]
struct Sim {
    inodes: Vec<Inode>,
    /// As the system shows them.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since they were synced.
    name_changes: Vec<NameChange>,
    /// Operations until the power goes.
    fuse: Option<usize>,
    off: bool,
    syncs_are_held: bool,
    syncs_fail: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that the next sync writes.
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

const SECTOR: usize = 512;

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, Sim> {
        self.0.0.lock().expect("disk")
    }

    /// The power goes after so many more operations.
    pub(crate) fn burn_down(&self, operations: usize) {
        self.lock().fuse = Some(operations);
    }

    /// From now on syncs do not return, until they are let go.
    pub(crate) fn hold_syncs(&self, held: bool) {
        self.lock().syncs_are_held = held;
        self.0.1.notify_all();
    }

    /// From now on syncs fail, and what they should have written counts as written.
    pub(crate) fn fail_syncs(&self) {
        self.lock().syncs_fail = true;
    }

    /// The disk after its process was killed: all is as the system's cache has it.
    pub(crate) fn after_kill(&self) -> Self {
        let sim = Sim { fuse: None, off: false, syncs_are_held: false, syncs_fail: false, ..self.lock().clone() };
        Self(Arc::new((Mutex::new(sim), Condvar::new())))
    }

    /// The disk after the power went: of what was not synced, any sectors and names may be there.
    pub(crate) fn after_power_loss(&self, dice: &mut Dice) -> Self {
        let old = self.lock();
        let mut names = old.durable_names.clone();
        for change in &old.name_changes {
            if dice.coin() {
                change.apply(&mut names);
            }
        }
        let inodes = old.inodes.iter().map(|inode| inode.after_power_loss(dice)).collect();
        let sim = Sim { inodes, durable_names: names.clone(), names, ..Sim::default() };
        Self(Arc::new((Mutex::new(sim), Condvar::new())))
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let sim = self.lock();
        sim.inodes[sim.names[name]].content.clone()
    }

    pub(crate) fn set_content(&self, name: &str, content: Vec<u8>) {
        let mut sim = self.lock();
        let inode = sim.names[name];
        sim.inodes[inode] = Inode { durable: content.clone(), content, dirty: BTreeSet::new() };
    }

    /// The names of all files and their sizes.
    pub(crate) fn files(&self) -> BTreeMap<String, usize> {
        let sim = self.lock();
        sim.names.iter().map(|(name, inode)| (name.clone(), sim.inodes[*inode].content.len())).collect()
    }
}

impl Sim {
    /// Counts an operation. When the power goes with this one, it is done in part.
    fn operation(&mut self) -> io::Result<Power> {
        if self.off {
            return Err(power_is_off());
        }
        match &mut self.fuse {
            Some(0) => {
                self.off = true;
                Ok(Power::Goes)
            }
            Some(left) => {
                *left -= 1;
                Ok(Power::Stays)
            }
            None => Ok(Power::Stays),
        }
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let power = self.operation()?;
        change.apply(&mut self.names);
        self.name_changes.push(change);
        power.outcome()
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    Stays,
    Goes,
}

impl Power {
    fn outcome(self) -> io::Result<()> {
        if self == Self::Stays { Ok(()) } else { Err(power_is_off()) }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, inode) => _ = names.insert(name.clone(), *inode),
            Self::Unlink(name) => _ = names.remove(name),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Inode {
    fn mark(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.content, &mut self.durable, sector);
        }
    }

    fn after_power_loss(&self, dice: &mut Dice) -> Self {
        let (least, most) = (self.durable.len().min(self.content.len()), self.durable.len().max(self.content.len()));
        let mut content = self.durable.clone();
        content.resize(if dice.coin() { most } else { least + dice.below(most - least + 1) }, 0);
        let keep = dice.below(4);
        for sector in &self.dirty {
            if keep == 3 || (keep > 0 && dice.coin()) {
                copy_sector(&self.content, &mut content, *sector);
            }
        }
        Self { durable: content.clone(), content, dirty: BTreeSet::new() }
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a size in memory")
}

fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

impl Disk for SimDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/data").join(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let sim = self.lock();
        Ok(sim.inodes[sim.inode(name)?].content.clone())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut sim = self.lock();
        let inode = sim.inodes.len();
        sim.inodes.push(Inode::default());
        sim.change_name(NameChange::Link(name.to_owned(), inode))?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.lock().inode(name)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut sim = self.lock();
        sim.inode(name)?;
        sim.change_name(NameChange::Unlink(name.to_owned()))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut sim = self.lock();
        sim.operation()?.outcome()?;
        sim.durable_names = sim.names.clone();
        sim.name_changes.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut sim = self.disk.lock();
        let power = sim.operation()?;
        let bytes = if power == Power::Goes { &bytes[..bytes.len() / 2] } else { bytes };
        let start = to_usize(offset);
        let inode = &mut sim.inodes[self.inode];
        let end = start + bytes.len();
        if inode.content.len() < end {
            inode.content.resize(end, 0);
        }
        inode.content[start..end].copy_from_slice(bytes);
        inode.mark(start, end);
        power.outcome()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut sim = self.disk.lock();
        let power = sim.operation()?;
        sim.inodes[self.inode].content.truncate(to_usize(length));
        power.outcome()
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut sim = self.disk.lock();
        while sim.syncs_are_held {
            sim = self.disk.0.1.wait(sim).unwrap_or_else(PoisonError::into_inner);
        }
        sim.operation()?.outcome()?;
        if sim.syncs_fail {
            sim.inodes[self.inode].dirty.clear();
            return Err(io::Error::other("the disk is sick"));
        }
        sim.inodes[self.inode].sync();
        Ok(())
    }
}
