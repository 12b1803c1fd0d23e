//! The one writer of the log.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::super::{Event, EventKind};
use super::compaction::{CompactionLimits, Image, write_snapshot};
use super::disk::{Disk, DiskFile};
use super::format::{self, Kind};
use super::recovery::begin_log;
use super::{OpenError, Recovered, StoreFailure};

/// A change on its way to the disk.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) table: Arc<str>,
    pub(crate) event: Arc<Event>,
    /// Told when the change is on disk.
    pub(crate) newest: watch::Sender<u64>,
}

/// How far the disk has come.
#[derive(Clone, Debug)]
struct Durable {
    /// All changes up to this one are on disk.
    revision: u64,
    failure: Option<StoreFailure>,
}

/// The log of a store; whoever drops it waits until all changes are on disk.
#[derive(Debug)]
pub(crate) struct Log {
    queue: Arc<Queue>,
    /// Alone holds the disk.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Takes the dataset as it is, for a snapshot; `None` when the store is gone.
pub(crate) type TakeImage = Box<dyn Fn() -> Option<Image> + Send>;

impl Log {
    /// Goes on with the newest log of what was recovered.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        recovered: &Recovered,
        limits: CompactionLimits,
        image: TakeImage,
    ) -> Result<Self, OpenError> {
        let name = Kind::Log.name(recovered.generation);
        let failed = |action, source| OpenError::Io { action, path: disk.path(&name), source };
        let queue = Arc::new(Queue {
            pending: Mutex::default(),
            arrived: Condvar::new(),
            room: Condvar::new(),
            durable: watch::Sender::new(Durable { revision: recovered.revision, failure: None }),
        });
        let committer = Committer {
            file: disk.open(&name).map_err(|source| failed("opening", source))?,
            generation: recovered.generation,
            offset: recovered.length,
            buffer: Vec::new(),
            snapshot_bytes: recovered.snapshot_bytes,
            snapshot_is_due: recovered.needs_snapshot,
            snapshot: None,
            disk: Arc::clone(&disk),
            queue: Arc::clone(&queue),
            limits,
            image,
        };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run())
            .map_err(|source| failed("starting the writer of", source))?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Waits while too many changes are on their way. To be called before a change is made, without its lock.
    pub(crate) fn wait_for_room(&self) {
        let mut pending = self.queue.lock();
        while pending.entries.len() >= MOST_PENDING && !pending.closed {
            pending = self.queue.room.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands over a change; to be called in order of revision.
    pub(crate) fn append(&self, entry: Entry) {
        let mut pending = self.queue.lock();
        // After the end nobody sees the change, for no request is answered.
        if !pending.closed {
            pending.entries.push(entry);
            self.queue.arrived.notify_one();
        }
    }

    /// The newest revision that is on disk.
    pub(crate) fn durable_revision(&self) -> u64 {
        self.queue.durable.borrow().revision
    }

    /// Fails if the store has failed.
    pub(crate) fn check(&self) -> Result<(), StoreFailure> {
        self.queue.durable.borrow().failure.clone().map_or(Ok(()), Err)
    }

    /// Returns when all changes up to a revision are on disk.
    ///
    /// # Errors
    /// The store has failed.
    pub(crate) async fn settled(&self, revision: u64) -> Result<(), StoreFailure> {
        self.wait_for(|durable| durable.revision >= revision).await;
        self.check()
    }

    /// Returns when the store has failed or was closed.
    pub(crate) async fn failed(&self) -> StoreFailure {
        loop {
            self.wait_for(|_| false).await;
            if let Err(failure) = self.check() {
                return failure;
            }
        }
    }

    /// Takes no more, and returns when all changes are on disk and the disk is given back.
    pub(crate) fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread is on record already.
            let _ = thread.join();
        }
    }

    /// Returns when this is so, or when the store has failed.
    async fn wait_for(&self, mut reached: impl FnMut(&Durable) -> bool) {
        let mut durable = self.queue.durable.subscribe();
        // The sender lives as long as `self`.
        let _ = durable.wait_for(|durable| durable.failure.is_some() || reached(durable)).await;
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Debug)]
struct Queue {
    pending: Mutex<Pending>,
    arrived: Condvar,
    room: Condvar,
    durable: watch::Sender<Durable>,
}

#[derive(Debug, Default)]
struct Pending {
    entries: Vec<Entry>,
    closed: bool,
}

impl Queue {
    /// All changes that wait, at least one; `None` when there will be no more.
    fn take(&self) -> Option<Vec<Entry>> {
        let mut pending = self.lock();
        while pending.entries.is_empty() {
            if pending.closed {
                return None;
            }
            pending = self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        self.room.notify_all();
        Some(std::mem::take(&mut pending.entries))
    }

    /// Takes no more changes; those that wait are still written.
    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
        self.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // No step under the lock can panic half-way.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Committer {
    disk: Arc<dyn Disk>,
    queue: Arc<Queue>,
    limits: CompactionLimits,
    image: TakeImage,
    file: Box<dyn DiskFile>,
    generation: u64,
    /// Length of the log.
    offset: u64,
    buffer: Vec<u8>,
    snapshot_bytes: u64,
    snapshot_is_due: bool,
    snapshot: Option<JoinHandle<io::Result<u64>>>,
}

impl Committer {
    fn run(mut self) {
        let cause = self.write_all().map_or_else(|error| self.failure(&error), |()| "the server was closed".to_owned());
        // Closed before it is told: who hears of the failure must not wait for room.
        self.queue.close();
        self.queue.durable.send_modify(|durable| durable.failure = Some(StoreFailure { cause: cause.into() }));
        if let Some(snapshot) = self.snapshot.take() {
            self.end_snapshot(snapshot);
        }
    }

    fn write_all(&mut self) -> io::Result<()> {
        while let Some(entries) = self.queue.take() {
            self.commit(&entries)?;
            self.compact()?;
        }
        Ok(())
    }

    fn failure(&self, error: &io::Error) -> String {
        let log = self.disk.path(&Kind::Log.name(self.generation));
        let cause = format!("writing {} at byte {}: {error}; start the server again", log.display(), self.offset);
        tracing::error!(%cause, "the store has failed");
        cause
    }

    /// Writes changes frame by frame. A frame is begun only when the one before is on disk.
    fn commit(&mut self, mut entries: &[Entry]) -> io::Result<()> {
        while !entries.is_empty() {
            let (frame, rest) = entries.split_at(self.fill_frame(entries));
            self.file.write_at(self.offset, &self.buffer)?;
            self.file.sync()?;
            self.offset += self.buffer.len() as u64;
            self.publish(frame);
            entries = rest;
        }
        self.buffer.shrink_to(FRAME_BYTES_AIM);
        Ok(())
    }

    /// Makes a frame of as many changes as fit, at least one. Returns how many.
    fn fill_frame(&mut self, entries: &[Entry]) -> usize {
        format::begin_frame(&mut self.buffer);
        let mut count = 0;
        for Entry { table, event, .. } in entries {
            match event.kind {
                EventKind::Added | EventKind::Modified => format::put(&mut self.buffer, table, &event.object),
                EventKind::Deleted => format::delete(&mut self.buffer, table, event.object.key(), event.revision),
            }
            count += 1;
            if self.buffer.len() >= FRAME_BYTES_AIM {
                break;
            }
        }
        format::finish_frame(&mut self.buffer);
        count
    }

    /// Tells that changes are on disk: first how far the disk has come, then that there is something to read.
    fn publish(&self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        self.queue.durable.send_modify(|durable| durable.revision = last.event.revision);
        for entry in entries {
            entry.newest.send_replace(entry.event.revision);
        }
    }

    /// Begins a new log and lets a thread write the snapshot before it, when the log has become too long.
    fn compact(&mut self) -> io::Result<()> {
        if let Some(snapshot) = self.snapshot.take_if(|snapshot| snapshot.is_finished()) {
            self.end_snapshot(snapshot);
        }
        let is_due = self.snapshot_is_due || self.limits.are_passed(self.offset, self.snapshot_bytes);
        if !is_due || self.snapshot.is_some() {
            return Ok(());
        }
        self.snapshot_is_due = false;
        let generation = self.generation + 1;
        begin_log(&*self.disk, generation)?;
        self.file = self.disk.open(&Kind::Log.name(generation))?;
        self.generation = generation;
        self.offset = format::HEADER_BYTES as u64;
        // Taken after the new log was begun: it may hold changes of that log, which are skipped when it is read.
        let Some(image) = (self.image)() else { return Ok(()) };
        let disk = Arc::clone(&self.disk);
        let thread = std::thread::Builder::new().name("store-snapshot".to_owned());
        self.snapshot = Some(thread.spawn(move || write_snapshot(&*disk, generation, &image))?);
        Ok(())
    }

    /// A snapshot that failed is no harm: its generation's logs are kept, and the next one is tried when the log
    /// has grown as much again.
    fn end_snapshot(&mut self, snapshot: JoinHandle<io::Result<u64>>) {
        match snapshot.join() {
            Ok(Ok(bytes)) => self.snapshot_bytes = bytes,
            Ok(Err(error)) => {
                let name = Kind::Snapshot.name(self.generation);
                tracing::warn!(file = %self.disk.path(&name).display(), %error, "cannot write a snapshot of the store");
            }
            Err(_) => tracing::error!("the thread that writes a snapshot of the store has panicked"),
        }
    }
}

/// Changes on their way to the disk. Well below what a table's history keeps, so that a watcher that waits for the
/// disk does not lose its place.
const MOST_PENDING: usize = 512;

/// A frame is complete when it is as large as this.
const FRAME_BYTES_AIM: usize = 1024 * 1024;
