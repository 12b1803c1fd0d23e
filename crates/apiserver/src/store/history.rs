//! The last changes of one table.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Object, RevisionError};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One change.
#[derive(Debug)]
pub(crate) struct Event {
    /// Revision of the change.
    pub(crate) revision: u64,
    pub(crate) kind: EventKind,
    /// The object after the change; of a removal, the last content with the removal's revision.
    pub(crate) object: Arc<Object>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Object>>,
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistoryLimits {
    /// Never more changes than this.
    pub(crate) most: usize,
    /// Older changes go, unless they are among the last [`HistoryLimits::least`].
    pub(crate) age: Duration,
    /// Kept whatever their age.
    pub(crate) least: usize,
    /// Never more memory than this, as far as it can be told without much work.
    pub(crate) bytes: usize,
}

impl Default for HistoryLimits {
    /// Five minutes, as etcd's compaction by the API server keeps. A version of a pod is some 30 KB in
    /// memory, so these are at most 60 MB while a thousand pods start, and 8 MB when all is calm. Large objects, which a client
    /// may write again and again, are kept as far as they take no more than twice that.
    fn default() -> Self {
        Self { most: 2048, age: Duration::from_secs(300), least: 256, bytes: 128 << 20 }
    }
}

/// Changes in order of revision, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<(Instant, Arc<Event>)>,
    /// What the objects of the events take.
    bytes: usize,
    /// Revision of the newest change that was dropped.
    dropped: u64,
}

impl History {
    /// A history that begins after a revision.
    pub(crate) fn since(revision: u64) -> Self {
        Self { events: VecDeque::new(), bytes: 0, dropped: revision }
    }

    pub(crate) fn push(&mut self, event: Arc<Event>, now: Instant) {
        self.bytes = self.bytes.saturating_add(event.object.footprint());
        self.events.push_back((now, event));
    }

    /// Drops what is beyond the limits.
    pub(crate) fn trim(&mut self, now: Instant, limits: HistoryLimits) {
        while self.events.len() > limits.most || self.bytes > limits.bytes || self.oldest_is_stale(now, limits) {
            match self.events.pop_front() {
                Some((_, event)) => {
                    self.bytes = self.bytes.saturating_sub(event.object.footprint());
                    self.dropped = event.revision;
                }
                None => break,
            }
        }
    }

    fn oldest_is_stale(&self, now: Instant, limits: HistoryLimits) -> bool {
        self.events.len() > limits.least
            && self.events.front().is_some_and(|(at, _)| now.duration_since(*at) > limits.age)
    }

    /// Fails if a change after `revision` was dropped.
    pub(crate) fn check(&self, revision: u64) -> Result<(), RevisionError> {
        if revision < self.dropped {
            return Err(RevisionError::Expired { asked: revision, oldest: self.dropped });
        }
        Ok(())
    }

    /// All changes after `revision`.
    pub(crate) fn after(&self, revision: u64) -> Result<Vec<Arc<Event>>, RevisionError> {
        self.between(revision, u64::MAX, usize::MAX)
    }

    /// The first changes after `revision` and up to `last`, at most `most`.
    pub(crate) fn between(&self, revision: u64, last: u64, most: usize) -> Result<Vec<Arc<Event>>, RevisionError> {
        self.check(revision)?;
        let start = self.events.partition_point(|(_, event)| event.revision <= revision);
        let events = self.events.range(start..).map(|(_, event)| event);
        Ok(events.take_while(|event| event.revision <= last).take(most).cloned().collect())
    }
}
