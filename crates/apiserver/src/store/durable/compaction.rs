//! Snapshots, so that the log does not grow for ever.

use std::io;
use std::sync::Arc;

use super::super::Objects;
use super::disk::{Disk, DiskFile};
use super::format::{self, Kind};
use super::recovery::{older_than, publish, unfinished};

/// When a snapshot is written: when the newest log is larger than `least` plus twice the last snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactionLimits {
    /// In bytes.
    pub(crate) least: u64,
}

impl Default for CompactionLimits {
    /// Some thousand writes; a snapshot as often as this costs little, and a log as long as this is read in a
    /// moment.
    fn default() -> Self {
        Self { least: 8 * 1024 * 1024 }
    }
}

impl CompactionLimits {
    pub(super) fn are_passed(self, log: u64, snapshot: u64) -> bool {
        log > self.least.saturating_add(snapshot.saturating_mul(2))
    }
}

/// The dataset at one revision.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) revision: u64,
    pub(crate) tables: Vec<(Arc<str>, Objects)>,
}

/// Writes the snapshot of a generation, and removes the files that it replaces. Returns its size.
pub(super) fn write_snapshot(disk: &dyn Disk, generation: u64, image: &Image) -> io::Result<u64> {
    let name = Kind::Snapshot.name(generation);
    let unfinished = unfinished(&name);
    let mut file = Writer { file: disk.create(&unfinished)?, offset: 0, buffer: Vec::new() };
    if let Err(error) = file.write(image, generation) {
        // It may be the disk that is full. Should this fail as well, the next start removes it.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    // The old files go only when the new name is sure to be there.
    publish(disk, &unfinished, &name)?;
    for old in older_than(&disk.names()?, generation) {
        disk.remove(old)?;
    }
    Ok(file.offset)
}

struct Writer {
    file: Box<dyn DiskFile>,
    offset: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn write(&mut self, image: &Image, generation: u64) -> io::Result<()> {
        self.append(&format::header(Kind::Snapshot, generation))?;
        format::begin_frame(&mut self.buffer);
        for (table, objects) in &image.tables {
            for object in objects.values() {
                format::put(&mut self.buffer, table, object);
                if self.buffer.len() >= SNAPSHOT_FRAME_BYTES {
                    self.append_frame()?;
                }
            }
        }
        format::end(&mut self.buffer, image.revision);
        self.append_frame()?;
        self.file.sync()
    }

    fn append_frame(&mut self) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.buffer);
        format::finish_frame(&mut frame);
        self.append(&frame)?;
        format::begin_frame(&mut frame);
        self.buffer = frame;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// Large enough that a frame's head is nothing, small enough to hold in memory.
const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;
