//! From the files back to the dataset.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde_json::Value;

use super::super::{FIRST_REVISION, Object, Objects};
use super::format::{self, BadHeader, FORMAT, Frame, HEADER_BYTES, Kind, NoFrame, Operation, Record};
use super::{Disk, OpenError};

/// What the files held, and where the log goes on.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The newest revision.
    pub(crate) revision: u64,
    pub(crate) tables: HashMap<Arc<str>, Objects>,
    /// The newest log.
    pub(super) generation: u64,
    /// Length of the newest log.
    pub(super) length: u64,
    /// Size of the snapshot; 0 without one.
    pub(super) snapshot_bytes: u64,
    /// There is more than one log: a snapshot was not completed.
    pub(super) needs_snapshot: bool,
}

/// Reads the dataset, begins a log if there is none, and makes sure that all of what was read is on disk.
///
/// A torn end of the newest log is cut off: nobody was told of what it held.
///
/// # Errors
/// Whatever cannot be read whole. Nothing has been changed then.
pub(crate) fn recover(disk: &dyn Disk) -> Result<Recovered, OpenError> {
    let reader = Reader { disk };
    let names = disk.names().map_err(|source| reader.io("reading", "", source))?;
    let files = Files::among(&names);
    let Some(newest) = files.newest_log(disk)? else { return begin(&reader) };
    let mut recovered = Recovered {
        revision: FIRST_REVISION,
        tables: HashMap::new(),
        generation: newest,
        length: 0,
        snapshot_bytes: 0,
        needs_snapshot: newest > files.base,
    };
    if files.base != FIRST_GENERATION || files.has_snapshot {
        recovered.load_snapshot(&reader, files.base)?;
    }
    for generation in files.base..newest {
        recovered.replay(&reader, generation, false)?;
    }
    let last = recovered.replay(&reader, newest, true)?;
    secure(&reader, &recovered, last.as_ref())?;
    for name in &files.stale {
        disk.remove(name).map_err(|source| reader.io("removing", name, source))?;
    }
    Ok(recovered)
}

/// Begins the log of a new dataset.
fn begin(reader: &Reader<'_>) -> Result<Recovered, OpenError> {
    let name = Kind::Log.name(FIRST_GENERATION);
    begin_log(reader.disk, FIRST_GENERATION).map_err(|source| reader.io("creating", &name, source))?;
    Ok(Recovered {
        revision: FIRST_REVISION,
        tables: HashMap::new(),
        generation: FIRST_GENERATION,
        length: HEADER_BYTES as u64,
        snapshot_bytes: 0,
        needs_snapshot: false,
    })
}

/// Makes an empty log; its name is there only when its header is on disk.
pub(super) fn begin_log(disk: &dyn Disk, generation: u64) -> io::Result<()> {
    let name = Kind::Log.name(generation);
    let unfinished = unfinished(&name);
    let mut file = disk.create(&unfinished)?;
    file.write_at(0, &format::header(Kind::Log, generation))?;
    file.sync()?;
    publish(disk, &unfinished, &name)
}

/// Gives a file that is on disk its final name, for sure.
///
/// Its present name must be on disk before: else a crash could keep the new name and lose what it was given to, and
/// give it to a file that an earlier start left under the old one.
pub(super) fn publish(disk: &dyn Disk, unfinished: &str, name: &str) -> io::Result<()> {
    disk.sync_names()?;
    disk.rename(unfinished, name)?;
    disk.sync_names()
}

/// The name of a file that is still being made.
pub(super) fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

/// The names of files that a snapshot of this generation makes useless, among all names.
pub(super) fn older_than(names: &[String], base: u64) -> impl Iterator<Item = &String> {
    names.iter().filter(move |name| {
        [Kind::Log, Kind::Snapshot].iter().any(|kind| kind.generation(name).is_some_and(|this| this < base))
    })
}

/// What the names of the files say.
struct Files {
    /// Generation of the newest snapshot, or of the first log.
    base: u64,
    has_snapshot: bool,
    /// From the base on, in order.
    logs: Vec<u64>,
    /// Of no use any more.
    stale: Vec<String>,
}

impl Files {
    fn among(names: &[String]) -> Self {
        let snapshot = names.iter().filter_map(|name| Kind::Snapshot.generation(name)).max();
        let base = snapshot.unwrap_or(FIRST_GENERATION);
        let mut logs: Vec<u64> =
            names.iter().filter_map(|name| Kind::Log.generation(name)).filter(|log| *log >= base).collect();
        logs.sort_unstable();
        let unfinished = names.iter().filter(|name| name.ends_with(UNFINISHED));
        let stale = older_than(names, base).chain(unfinished).cloned().collect();
        Self { base, has_snapshot: snapshot.is_some(), logs, stale }
    }

    /// The newest log; `None` if nothing was ever stored.
    fn newest_log(&self, disk: &dyn Disk) -> Result<Option<u64>, OpenError> {
        let missing = |kind: Kind, generation| OpenError::Missing { path: disk.path(&kind.name(generation)) };
        for (generation, log) in (self.base..).zip(&self.logs) {
            match () {
                () if generation == *log => {}
                () if generation == FIRST_GENERATION => return Err(missing(Kind::Snapshot, *log)),
                () => return Err(missing(Kind::Log, generation)),
            }
        }
        if self.logs.is_empty() && self.has_snapshot {
            return Err(missing(Kind::Log, self.base));
        }
        Ok(self.logs.last().copied())
    }
}

/// The last frame of a log.
struct LastFrame {
    start: u64,
    bytes: Vec<u8>,
}

/// Makes sure that what was read is on disk, and cuts off what was torn.
///
/// The process before may have died between a write and its sync, or of a failed sync, after which the system's
/// cache may call pages clean that never reached the disk. Only the last frame can be such a one: it is written
/// once more in its place.
fn secure(reader: &Reader<'_>, recovered: &Recovered, last: Option<&LastFrame>) -> Result<(), OpenError> {
    let name = Kind::Log.name(recovered.generation);
    let rewrite = || {
        let mut file = reader.disk.open(&name)?;
        file.truncate(recovered.length)?;
        if let Some(frame) = last {
            file.write_at(frame.start, &frame.bytes)?;
        }
        file.sync()?;
        reader.disk.sync_names()
    };
    rewrite().map_err(|source| reader.io("securing", &name, source))
}

impl Recovered {
    fn load_snapshot(&mut self, reader: &Reader<'_>, generation: u64) -> Result<(), OpenError> {
        let file = reader.file(Kind::Snapshot, generation)?;
        self.snapshot_bytes = file.bytes.len() as u64;
        let mut at = HEADER_BYTES;
        loop {
            let Ok(frame) = format::frame(&file.bytes, at) else { return Err(file.bad_frame(at)) };
            for record in file.records(at, &frame)? {
                if record.operation == Operation::End {
                    self.revision = record.revision;
                    return if frame.end == file.bytes.len() { Ok(()) } else { Err(file.bad_frame(frame.end)) };
                }
                self.apply(&file, at, &record)?;
            }
            at = frame.end;
        }
    }

    /// Applies a log; of the newest one, the end may be torn.
    fn replay(
        &mut self,
        reader: &Reader<'_>,
        generation: u64,
        is_newest: bool,
    ) -> Result<Option<LastFrame>, OpenError> {
        let file = reader.file(Kind::Log, generation)?;
        let (mut last, mut at) = (None, HEADER_BYTES);
        while at < file.bytes.len() {
            let frame = match format::frame(&file.bytes, at) {
                Ok(frame) => frame,
                Err(NoFrame::Torn) if is_newest && !format::has_frame_after(&file.bytes, at) => {
                    tracing::warn!(file = %reader.disk.path(&file.name).display(), offset = at, "cutting off a torn write");
                    break;
                }
                Err(NoFrame::Torn | NoFrame::Damaged) => return Err(file.bad_frame(at)),
            };
            for record in file.records(at, &frame)? {
                self.replay_record(&file, at, &record)?;
            }
            last = Some(at..frame.end);
            at = frame.end;
        }
        self.length = at as u64;
        Ok(last.map(|range| LastFrame { start: range.start as u64, bytes: file.bytes[range].to_vec() }))
    }

    fn replay_record(&mut self, file: &StoreFile<'_>, at: usize, record: &Record<'_>) -> Result<(), OpenError> {
        if record.revision <= self.revision {
            // The snapshot was taken later.
            return Ok(());
        }
        if record.revision != self.revision + 1 || record.operation == Operation::End {
            let what = format!("revision {} follows revision {}", record.revision, self.revision);
            return Err(file.damaged(at, what));
        }
        self.revision = record.revision;
        self.apply(file, at, record)
    }

    fn apply(&mut self, file: &StoreFile<'_>, at: usize, record: &Record<'_>) -> Result<(), OpenError> {
        if !self.tables.contains_key(record.table) {
            self.tables.insert(record.table.into(), Objects::new());
        }
        let Some(objects) = self.tables.get_mut(record.table) else { return Ok(()) };
        match record.operation {
            Operation::Put(text) => {
                let value: Value = serde_json::from_slice(text).map_err(|error| {
                    file.damaged(at, format!("the object {} {} cannot be read: {error}", record.table, record.key))
                })?;
                let key: Arc<str> = record.key.into();
                objects.insert(Arc::clone(&key), Arc::new(Object::new(key, value, record.revision)));
            }
            Operation::Delete | Operation::End => {
                objects.remove(record.key);
            }
        }
        Ok(())
    }
}

/// Reads files and says which one could not be read.
struct Reader<'a> {
    disk: &'a dyn Disk,
}

impl Reader<'_> {
    fn io(&self, action: &'static str, name: &str, source: io::Error) -> OpenError {
        OpenError::Io { action, path: self.disk.path(name), source }
    }

    fn file(&self, kind: Kind, generation: u64) -> Result<StoreFile<'_>, OpenError> {
        let name = kind.name(generation);
        let bytes = self.disk.read(&name).map_err(|source| self.io("reading", &name, source))?;
        let file = StoreFile { disk: self.disk, name, bytes };
        match format::check_header(&file.bytes, kind, generation) {
            Ok(()) => Ok(file),
            Err(BadHeader::Damaged) => Err(file.damaged(0, "it does not begin as such a file does".to_owned())),
            Err(BadHeader::Newer(found)) => {
                Err(OpenError::Newer { path: self.disk.path(&file.name), found, known: FORMAT })
            }
        }
    }
}

/// The content of a file with a good header.
struct StoreFile<'a> {
    disk: &'a dyn Disk,
    name: String,
    bytes: Vec<u8>,
}

impl StoreFile<'_> {
    fn records<'b>(&self, at: usize, frame: &Frame<'b>) -> Result<Vec<Record<'b>>, OpenError> {
        let mut rest = frame.records;
        let mut records = Vec::new();
        while !rest.is_empty() {
            match format::take_record(&mut rest) {
                Some(record) => records.push(record),
                None => return Err(self.damaged(at, "it holds a record that no version wrote".to_owned())),
            }
        }
        Ok(records)
    }

    fn bad_frame(&self, at: usize) -> OpenError {
        let what = if at >= self.bytes.len() { "the file ends too early" } else { "a checksum does not match" };
        self.damaged(at, what.to_owned())
    }

    fn damaged(&self, at: usize, what: String) -> OpenError {
        OpenError::Damaged { path: self.disk.path(&self.name), offset: at as u64, what }
    }
}

const FIRST_GENERATION: u64 = 1;
const UNFINISHED: &str = ".new";
