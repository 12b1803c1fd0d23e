//! Events do not stay: an hour after its last write an event goes, and there is a most of them.
//!
//! Writing an event is what clears old ones away, so an idle server does nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use apimachinery::scheme::{self, ResourceType};
use apimachinery::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Registry, strategy};
use crate::store::{Change, Expected, Object};

/// Writes of events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct EventWrites(Mutex<VecDeque<Write>>);

#[derive(Debug)]
struct Write {
    at: Timestamp,
    table: String,
    key: String,
    /// If the event is at another revision by now, a later entry speaks for it.
    revision: u64,
}

/// Default of `--event-ttl`.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

/// A bound for memory: some tens of megabytes when all are large.
const MOST_WRITES: usize = 10_000;

impl EventWrites {
    fn push(&self, write: Write) -> Vec<Write> {
        let now = write.at;
        let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writes.push_back(write);
        let mut old = Vec::new();
        while writes.len() > MOST_WRITES || writes.front().is_some_and(|write| now.duration_since(write.at) > LIFE) {
            old.extend(writes.pop_front());
        }
        old
    }
}

impl Registry {
    /// Notes the events that are stored already, in the order of their times.
    pub(crate) fn resume_events(&self) {
        for kind in scheme::all().iter().filter(|kind| is_event(kind) && kind.group.is_empty()) {
            let snapshot = self.store.snapshot(&strategy::table(kind));
            let mut events: Vec<_> = snapshot.range("", "").map(|event| (self.last_seen(event), event)).collect();
            events.sort_by_key(|(at, event)| (*at, event.revision()));
            for (at, event) in events {
                self.note_event_write(kind, event, at);
            }
        }
    }

    /// Notes that an event was written, and removes those whose time is over.
    pub(crate) fn after_event_write(&self, kind: &ResourceType, event: &Object) {
        if is_event(kind) {
            self.note_event_write(kind, event, self.now());
        }
    }

    fn note_event_write(&self, kind: &ResourceType, event: &Object, at: Timestamp) {
        let table = strategy::table(kind);
        let write = Write { at, table, key: event.key().to_owned(), revision: event.revision() };
        for old in self.event_writes.push(write) {
            // Changed or gone since: nothing to do.
            let _ = self.store.commit(&old.table, &old.key, Expected::Revision(old.revision), Change::Delete);
        }
    }

    /// The latest time that an event tells; now, if it tells none or one to come.
    fn last_seen(&self, event: &Object) -> Timestamp {
        let times = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
        let value = |path| event.value().pointer(path).and_then(Value::as_str).and_then(time::parse);
        let now = self.now();
        times.into_iter().filter_map(value).max().map_or(now, |at| at.min(now))
    }
}

fn is_event(kind: &ResourceType) -> bool {
    kind.plural == "events"
}
