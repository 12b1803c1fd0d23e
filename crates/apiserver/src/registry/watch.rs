//! `watch`: the changes of a selection, as a stream of JSON lines.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::status::ApiError;
use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::list::{parse_revision, revision_error};
use super::selection::Selection;
use super::{Clock, Registry, strategy};
use crate::http::body::BoxError;
use crate::http::query::ListOptions;
use crate::render::{Headers, Render};
use crate::store::{Cursor, Event, EventKind, Object};

impl Registry {
    /// Starts to watch. A version that is too old is told in the stream, as the real server does.
    pub(crate) fn watch(
        &self,
        selection: Selection,
        options: &ListOptions,
        render: Render,
        permit: OwnedSemaphorePermit,
    ) -> Result<impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static, ApiError> {
        let table = strategy::table(selection.kind());
        let asked = options.resource_version.as_deref().map(parse_revision).transpose()?.unwrap_or(0);
        let from_now = options.send_initial_events == Some(false) && asked == 0;
        let with_state = options.send_initial_events.unwrap_or(asked == 0);
        let mut initial = VecDeque::new();
        let mut start = asked;
        if with_state || from_now {
            let snapshot = self.store.snapshot(&table);
            start = snapshot.revision;
            if start < asked {
                return Err(crate::error::too_large_resource_version(asked, start));
            }
            if with_state {
                initial = selection.pick(&snapshot).into();
            }
        }
        let state = self.store.cursor(&table, start).map_or_else(
            |error| State::Refused(revision_error(error)),
            |cursor| State::Initial { objects: initial, cursor, mark_end: options.send_initial_events == Some(true) },
        );
        let seconds = options.timeout_seconds.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_SECONDS);
        let watcher = Watcher {
            selection,
            render,
            headers: Headers::Shown,
            clock: self.clock.clone(),
            bookmarks: options.allow_bookmarks,
            end: Instant::now() + Duration::from_secs(seconds.min(MOST_SECONDS)),
            unseen: 0,
            _permit: permit,
        };
        Ok(futures::stream::unfold((watcher, state), |(mut watcher, state)| async move {
            let (chunk, state) = watcher.step(state).await?;
            Some((Ok(chunk), (watcher, state)))
        }))
    }
}

struct Watcher {
    selection: Selection,
    render: Render,
    headers: Headers,
    clock: Clock,
    bookmarks: bool,
    end: Instant,
    /// Changes read since the client was last told a version.
    unseen: usize,
    _permit: OwnedSemaphorePermit,
}

enum State {
    /// The version was too old.
    Refused(ApiError),
    /// Objects that were there at the beginning are being sent.
    Initial { objects: VecDeque<Arc<Object>>, cursor: Cursor, mark_end: bool },
    /// Changes are sent as they come.
    Following(Cursor),
    /// All is said.
    Over,
}

impl Watcher {
    /// The next piece of the stream; `None` at its end.
    async fn step(&mut self, state: State) -> Option<(Bytes, State)> {
        let mut out = BytesMut::new();
        match state {
            State::Over => None,
            State::Refused(error) => {
                put_line(&mut out, "ERROR", error.to_status().to_string().as_bytes());
                Some((out.freeze(), State::Over))
            }
            State::Initial { objects, cursor, mark_end } if !objects.is_empty() || (mark_end && self.bookmarks) => {
                Some(self.initial(out, objects, cursor, mark_end))
            }
            State::Initial { cursor, .. } | State::Following(cursor) => self.follow(out, cursor).await,
        }
    }

    fn initial(
        &mut self,
        mut out: BytesMut,
        mut objects: VecDeque<Arc<Object>>,
        cursor: Cursor,
        mark_end: bool,
    ) -> (Bytes, State) {
        for object in objects.drain(..objects.len().min(MOST_EVENTS_AT_ONCE)) {
            self.put_object(&mut out, "ADDED", &object);
        }
        if !objects.is_empty() {
            return (out.freeze(), State::Initial { objects, cursor, mark_end });
        }
        if mark_end && self.bookmarks {
            self.put_bookmark(&mut out, cursor.revision(), true);
        }
        (out.freeze(), State::Following(cursor))
    }

    async fn follow(&mut self, mut out: BytesMut, mut cursor: Cursor) -> Option<(Bytes, State)> {
        while out.is_empty() {
            let events = tokio::select! {
                biased;
                events = cursor.next(MOST_EVENTS_AT_ONCE) => events,
                () = tokio::time::sleep_until(self.end) => return self.finish(out, &cursor),
            };
            match events {
                Ok(events) => self.put_events(&mut out, &events),
                Err(error) => {
                    put_line(&mut out, "ERROR", revision_error(error).to_status().to_string().as_bytes());
                    return Some((out.freeze(), State::Over));
                }
            }
            if out.is_empty() && self.bookmarks && self.unseen >= EVENTS_WITHOUT_BOOKMARK {
                self.put_bookmark(&mut out, cursor.revision(), false);
                self.unseen = 0;
            }
            if Instant::now() >= self.end && out.is_empty() {
                return self.finish(out, &cursor);
            }
        }
        let next = if Instant::now() >= self.end { State::Over } else { State::Following(cursor) };
        Some((out.freeze(), next))
    }

    fn finish(&mut self, mut out: BytesMut, cursor: &Cursor) -> Option<(Bytes, State)> {
        if !self.bookmarks {
            return None;
        }
        self.put_bookmark(&mut out, cursor.revision(), false);
        Some((out.freeze(), State::Over))
    }

    fn put_events(&mut self, out: &mut BytesMut, events: &[Arc<Event>]) {
        for event in events {
            self.unseen += 1;
            if let Some((kind, object)) = self.translate(event) {
                self.put_object(out, kind, &object);
                self.unseen = 0;
            }
        }
    }

    /// What a change is to somebody who sees only selected objects.
    fn translate(&self, event: &Event) -> Option<(&'static str, Arc<Object>)> {
        let was = event.previous.as_ref().filter(|previous| self.selection.matches(previous));
        let is = event.kind != EventKind::Deleted && self.selection.matches(&event.object);
        match (was, is) {
            (None, false) => None,
            (None, true) => Some(("ADDED", Arc::clone(&event.object))),
            (Some(_), true) => Some(("MODIFIED", Arc::clone(&event.object))),
            (Some(_), false) if event.kind == EventKind::Deleted => Some(("DELETED", Arc::clone(&event.object))),
            (Some(previous), false) => Some(("DELETED", Arc::new(previous.at_revision(event.revision)))),
        }
    }

    fn put_bookmark(&mut self, out: &mut BytesMut, revision: u64, end_of_initial: bool) {
        let kind = self.selection.kind();
        let mut metadata = json!({"creationTimestamp": null});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mark = json!({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata});
        self.put_object(out, "BOOKMARK", &Object::new("".into(), mark, revision));
    }

    /// The first table of a watch says what its columns are, the others are read like it.
    fn put_object(&mut self, out: &mut BytesMut, event: &str, object: &Object) {
        let text = self.render.object(self.selection.kind(), object, (self.clock)(), self.headers);
        self.headers = Headers::Left;
        put_line(out, event, &text);
    }
}

fn put_line(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(kind.len() + object.len() + 32);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}

/// So many changes are written in one piece at most.
const MOST_EVENTS_AT_ONCE: usize = 64;

/// After so many changes that were of no interest, the client is told how far it has come, so that
/// its version does not grow old. Well below what the history keeps whatever its age.
const EVENTS_WITHOUT_BOOKMARK: usize = 128;

/// A watch without a time limit ends after an hour; the real server chooses 30 to 60 minutes
/// (`--min-request-timeout`).
const DEFAULT_SECONDS: u64 = 3600;

/// A day: a bound for what clients ask.
const MOST_SECONDS: u64 = 86_400;
