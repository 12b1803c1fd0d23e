//! The versioned dataset: every object in memory, one revision counter, one writer at a time.
//!
//! Maps are persistent, so a reader takes a consistent snapshot in constant time and never holds
//! the lock while it works. [`Store::commit`] is the only place that changes anything. Of a store with a durable
//! log below, readers may see what is not on disk yet, so nothing that was read is told to a client before
//! [`Store::settled`] has returned; cursors deliver only what is on disk.

mod durable;
mod history;
mod object;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use imbl::OrdMap;
use serde_json::Value;
use tokio::sync::watch;

pub(crate) use durable::{CompactionLimits, DataDir, Disk};
pub use durable::{OpenError, StoreFailure};
pub(crate) use history::{Event, EventKind, HistoryLimits};
pub(crate) use object::Object;

use durable::{Entry, Image, Log, TakeImage};
use history::History;

/// Name of a table: the resource and its group, such as `pods` or `jobs.batch`.
pub(crate) type TableName = str;

/// Objects of one table by key. Cloning it takes no time and shares what is not changed later.
type Objects = OrdMap<Arc<str>, Arc<Object>>;

/// What a commit demands of the object's present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// No object has this key.
    Absent,
    /// The object is there, at this revision.
    Revision(u64),
}

/// What a commit does.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Writes this value; the store sets its `metadata.resourceVersion`.
    Put(Value),
    /// Removes the object as it is.
    Delete,
    /// Removes the object; its last content is this value.
    DeleteAs(Value),
}

/// Why a commit did not happen; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommitError {
    /// The key is taken.
    #[error("an object with this key exists")]
    Exists,
    /// The key is free, but an object was expected there.
    #[error("no object has this key")]
    Missing,
    /// Somebody else wrote the object since it was read.
    #[error("the object has changed")]
    Changed,
}

/// Why history cannot be read from a revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RevisionError {
    /// Older than what the history still holds.
    #[error("revision {asked} is older than the oldest kept one, {oldest}")]
    Expired {
        /// The revision asked for.
        asked: u64,
        /// The oldest revision from which all changes are known.
        oldest: u64,
    },
    /// Nothing has this revision yet.
    #[error("revision {asked} is newer than the newest one, {current}")]
    Future {
        /// The revision asked for.
        asked: u64,
        /// The newest revision.
        current: u64,
    },
}

/// All objects of one table at one revision.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The revision of the whole dataset when the snapshot was taken.
    pub(crate) revision: u64,
    objects: Objects,
}

impl Snapshot {
    /// Whether nothing in the table was written between the two; takes no time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.objects.ptr_eq(&other.objects)
    }

    /// Objects whose key begins with `prefix`, from `start` (inclusive) on, in key order.
    pub(crate) fn range<'a>(&'a self, prefix: &'a str, start: &str) -> impl Iterator<Item = &'a Arc<Object>> {
        let from = if start > prefix { start } else { prefix };
        self.objects
            .range::<_, str>((Bound::Included(from), Bound::Unbounded))
            .map(|(_, object)| object)
            .take_while(move |object| object.key().starts_with(prefix))
    }
}

/// The dataset; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    state: Arc<Mutex<State>>,
    limits: HistoryLimits,
    /// Without one, all is lost with the process, and so nothing needs to be waited for.
    log: Option<Arc<Log>>,
}

#[derive(Debug)]
struct State {
    revision: u64,
    /// No changes up to this revision are known.
    opened: u64,
    tables: HashMap<Arc<str>, Table>,
}

#[derive(Debug)]
struct Table {
    name: Arc<str>,
    objects: Objects,
    history: History,
    newest: watch::Sender<u64>,
}

impl Store {
    /// An empty dataset in memory.
    pub(crate) fn new(limits: HistoryLimits) -> Self {
        let state = State { revision: FIRST_REVISION, opened: 0, tables: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), limits, log: None }
    }

    /// The dataset of a disk. Revisions go on where they were; changes of before are not known any more.
    ///
    /// # Errors
    /// The disk holds something that cannot be read whole.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        limits: HistoryLimits,
        compaction: CompactionLimits,
    ) -> Result<Self, OpenError> {
        let mut recovered = durable::recover(&*disk)?;
        let mut state = State { revision: recovered.revision, opened: recovered.revision, tables: HashMap::new() };
        for (name, objects) in std::mem::take(&mut recovered.tables) {
            state.table(&name).objects = objects;
        }
        let state = Arc::new(Mutex::new(state));
        let log = Log::start(disk, &recovered, compaction, take_image(&state))?;
        Ok(Self { state, limits, log: Some(Arc::new(log)) })
    }

    /// Returns when everything that could have been read up to now is on disk.
    ///
    /// # Errors
    /// The store has failed.
    pub(crate) async fn settled(&self) -> Result<(), StoreFailure> {
        match &self.log {
            Some(log) => log.settled(self.revision()).await,
            None => Ok(()),
        }
    }

    /// Fails if the store has failed.
    pub(crate) fn check(&self) -> Result<(), StoreFailure> {
        self.log.as_ref().map_or(Ok(()), |log| log.check())
    }

    /// Takes no more, and returns when all changes are on disk and the disk is given back. A dataset in memory
    /// has nothing to close.
    pub(crate) fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }

    /// Returns when the store has failed or was closed.
    pub(crate) async fn failed(&self) -> StoreFailure {
        match &self.log {
            Some(log) => log.failed().await,
            None => std::future::pending().await,
        }
    }

    /// The newest revision of the dataset.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// The object with this key.
    pub(crate) fn get(&self, table: &TableName, key: &str) -> Option<Arc<Object>> {
        self.lock().tables.get(table)?.objects.get(key).cloned()
    }

    /// The table as it is now.
    pub(crate) fn snapshot(&self, table: &TableName) -> Snapshot {
        let mut state = self.lock();
        let revision = state.revision;
        Snapshot { revision, objects: state.table(table).objects.clone() }
    }

    /// The table as it was at `revision`, rebuilt by undoing later changes.
    pub(crate) fn snapshot_at(&self, table: &TableName, revision: u64) -> Result<Snapshot, RevisionError> {
        let mut state = self.lock();
        let current = state.revision;
        if revision > current {
            return Err(RevisionError::Future { asked: revision, current });
        }
        let table = state.table(table);
        let mut objects = table.objects.clone();
        let later = table.history.after(revision)?;
        drop(state);
        for event in later.iter().rev() {
            match &event.previous {
                Some(previous) => objects.insert(previous.shared_key(), Arc::clone(previous)),
                None => objects.remove(event.object.key()),
            };
        }
        Ok(Snapshot { revision, objects })
    }

    /// Changes one object, gives the change the next revision and tells every watcher.
    ///
    /// Returns the object as written; for a removal, as it was last, with the removal's revision.
    ///
    /// # Errors
    /// The object is not in the expected state; nothing changed.
    pub(crate) fn commit(
        &self,
        table: &TableName,
        key: &str,
        expected: Expected,
        change: Change,
    ) -> Result<Arc<Object>, CommitError> {
        if let Some(log) = &self.log {
            log.wait_for_room();
        }
        let mut state = self.lock();
        let revision = state.revision + 1;
        let table = state.table(table);
        let previous = table.objects.get(key).cloned();
        check_expected(previous.as_deref(), expected)?;
        let event = Arc::new(table.apply(key, revision, previous, change)?);
        let object = Arc::clone(&event.object);
        let now = Instant::now();
        table.history.push(Arc::clone(&event), now);
        match &self.log {
            Some(log) => log.append(Entry { table: Arc::clone(&table.name), event, newest: table.newest.clone() }),
            None => _ = table.newest.send_replace(revision),
        }
        state.revision = revision;
        // Every table, so that one that was busy once does not keep its past for ever.
        for table in state.tables.values_mut() {
            table.history.trim(now, self.limits);
        }
        Ok(object)
    }

    /// Reads the changes of a table after `revision`.
    pub(crate) fn cursor(&self, table: &TableName, revision: u64) -> Result<Cursor, RevisionError> {
        let mut state = self.lock();
        let entry = state.table(table);
        entry.history.check(revision)?;
        let newest = entry.newest.subscribe();
        drop(state);
        Ok(Cursor { store: self.clone(), table: table.to_owned(), revision, newest })
    }

    fn changes_after(&self, table: &TableName, revision: u64, most: usize) -> Result<Vec<Arc<Event>>, RevisionError> {
        let last = self.log.as_ref().map_or(u64::MAX, |log| log.durable_revision());
        self.lock().table(table).history.between(revision, last, most)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the state half changed: a commit's steps after its checks do not fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn table(&mut self, name: &TableName) -> &mut Table {
        let name: Arc<str> = name.into();
        let table = || Table::new(Arc::clone(&name), self.opened);
        self.tables.entry(Arc::clone(&name)).or_insert_with(table)
    }
}

/// The way from the log back to the dataset, which it must not keep alive.
fn take_image(state: &Arc<Mutex<State>>) -> TakeImage {
    let state = Arc::downgrade(state);
    Box::new(move || {
        let state = state.upgrade()?;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = state.tables.values().map(|table| (Arc::clone(&table.name), table.objects.clone())).collect();
        Some(Image { revision: state.revision, tables })
    })
}

impl Table {
    fn new(name: Arc<str>, opened: u64) -> Self {
        Self { name, objects: Objects::new(), history: History::since(opened), newest: watch::Sender::new(0) }
    }

    fn apply(
        &mut self,
        key: &str,
        revision: u64,
        previous: Option<Arc<Object>>,
        change: Change,
    ) -> Result<Event, CommitError> {
        match (change, previous) {
            (Change::Put(value), previous) => {
                let key: Arc<str> = previous.as_ref().map_or_else(|| key.into(), |old| old.shared_key());
                let object = Arc::new(Object::new(Arc::clone(&key), value, revision));
                self.objects.insert(key, Arc::clone(&object));
                let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
                Ok(Event { revision, kind, object, previous })
            }
            (Change::Delete, Some(previous)) => Ok(self.remove(previous.value().clone(), revision, previous)),
            (Change::DeleteAs(value), Some(previous)) => Ok(self.remove(value, revision, previous)),
            (Change::Delete | Change::DeleteAs(_), None) => Err(CommitError::Missing),
        }
    }

    fn remove(&mut self, last: Value, revision: u64, previous: Arc<Object>) -> Event {
        self.objects.remove(previous.key());
        let object = Arc::new(Object::new(previous.shared_key(), last, revision));
        Event { revision, kind: EventKind::Deleted, object, previous: Some(previous) }
    }
}

fn check_expected(present: Option<&Object>, expected: Expected) -> Result<(), CommitError> {
    match (present, expected) {
        (None, Expected::Absent) => Ok(()),
        (Some(_), Expected::Absent) => Err(CommitError::Exists),
        (None, Expected::Revision(_)) => Err(CommitError::Missing),
        (Some(object), Expected::Revision(revision)) if object.revision() == revision => Ok(()),
        (Some(_), Expected::Revision(_)) => Err(CommitError::Changed),
    }
}

/// A place in a table's history.
///
/// It holds no events: a reader that sleeps for too long finds its place gone and nobody else
/// notices.
#[derive(Debug)]
pub(crate) struct Cursor {
    store: Store,
    table: String,
    revision: u64,
    newest: watch::Receiver<u64>,
}

impl Cursor {
    /// Waits until there are changes and returns at most `most` of them, in order.
    ///
    /// # Errors
    /// The place has left the history; the cursor is of no more use.
    pub(crate) async fn next(&mut self, most: usize) -> Result<Vec<Arc<Event>>, RevisionError> {
        loop {
            self.newest.borrow_and_update();
            let events = self.store.changes_after(&self.table, self.revision, most)?;
            if let Some(last) = events.last() {
                self.revision = last.revision;
                return Ok(events);
            }
            if self.newest.changed().await.is_err() {
                // The sender lives in the store, and this cursor keeps the store alive.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The revision of the last change that was read.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }
}

/// Revision 0 means "any" in the API, so the empty dataset has revision 1.
const FIRST_REVISION: u64 = 1;

#[cfg(test)]
pub(crate) use durable::sim;

#[cfg(test)]
mod tests;
