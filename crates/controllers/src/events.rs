//! Events for people: a recorder that controllers share, and the rules that keep events few.
//!
//! Recording never waits: events go through a bounded queue to one writer. What does not fit is
//! dropped, as in client-go; events are best effort by contract of the API.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

use crate::clock::SharedClock;
use crate::meta::api_time;

/// Whether an event tells of something normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// Information only.
    Normal,
    /// Something may be wrong.
    Warning,
}

impl EventType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What an event says, without whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Normal or Warning.
    pub event_type: EventType,
    /// One word for machines.
    pub reason: Cow<'static, str>,
    /// One sentence for people.
    pub message: String,
}

impl Note {
    /// A normal note.
    pub(crate) fn normal(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { event_type: EventType::Normal, reason: reason.into(), message: message.into() }
    }

    /// A warning.
    pub(crate) fn warning(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { event_type: EventType::Warning, reason: reason.into(), message: message.into() }
    }
}

/// Records events of one component.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Recorded>,
    clock: SharedClock,
    component: &'static str,
}

#[derive(Debug)]
struct Recorded {
    about: ObjectReference,
    component: &'static str,
    note: Note,
    at: Timestamp,
}

/// Events that wait for being written; client-go's broadcaster queues as many.
const QUEUE: usize = 1000;

impl Recorder {
    /// Makes a recorder and the writer that must be polled for its events to be written.
    pub(crate) fn new(client: Client, clock: SharedClock) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Writer { client, receiver, correlator: Correlator::default() };
        (Self { sender, clock, component: "" }, writer)
    }

    /// The same recorder for another component.
    pub(crate) fn of(&self, component: &'static str) -> Self {
        Self { component, ..self.clone() }
    }

    /// Records a note about an object.
    pub(crate) fn record<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note) {
        self.record_about(object.object_ref(&()), note);
    }

    /// Records a note about an object that is known by name only.
    pub(crate) fn record_about(&self, about: ObjectReference, note: Note) {
        let recorded = Recorded { about, component: self.component, note, at: self.clock.now() };
        if let Err(error) = self.sender.try_send(recorded) {
            tracing::debug!(%error, "event dropped");
        }
    }
}

/// Writes recorded events.
pub(crate) struct Writer {
    client: Client,
    receiver: mpsc::Receiver<Recorded>,
    correlator: Correlator,
}

/// How long the events that are left at the end may take.
const DRAIN: Duration = Duration::from_secs(2);

impl Writer {
    /// Writes events until every recorder is gone.
    pub(crate) async fn run(&mut self) {
        while let Some(recorded) = self.receiver.recv().await {
            self.write(recorded).await;
        }
    }

    /// Writes what is queued, for a bounded time.
    pub(crate) async fn drain(mut self) {
        self.receiver.close();
        // Running out of time only loses events, which are best effort.
        let _ = tokio::time::timeout(DRAIN, self.run()).await;
    }

    async fn write(&mut self, recorded: Recorded) {
        let key = EventKey::of(&recorded);
        let Some(decision) = self.correlator.decide(&recorded) else { return };
        let outcome = match &decision {
            Decision::Create { .. } => self.create(&recorded, &decision).await,
            Decision::Repeat { .. } => self.repeat(&recorded, &decision).await,
        };
        match outcome {
            Ok(()) => {}
            Err(error) => {
                self.correlator.forget(&key);
                tracing::debug!(%error, reason = %recorded.note.reason, "event not written");
            }
        }
    }

    fn api(&self, recorded: &Recorded) -> Api<Event> {
        Api::namespaced(self.client.clone(), event_namespace(&recorded.about))
    }

    async fn create(&self, recorded: &Recorded, decision: &Decision) -> kube::Result<()> {
        let event = build(recorded, decision.name(), decision.message(), 1);
        self.api(recorded).create(&PostParams::default(), &event).await.map(drop)
    }

    async fn repeat(&self, recorded: &Recorded, decision: &Decision) -> kube::Result<()> {
        let patch = json!({
            "count": decision.count(),
            "lastTimestamp": api_time(recorded.at),
            "message": decision.message(),
        });
        let patched =
            self.api(recorded).patch(decision.name(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop);
        match patched {
            // It has been cleaned up meanwhile: tell it anew with the count so far.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let event = build(recorded, decision.name(), decision.message(), decision.count());
                self.api(recorded).create(&PostParams::default(), &event).await.map(drop)
            }
            other => other,
        }
    }
}

fn event_namespace(about: &ObjectReference) -> &str {
    about.namespace.as_deref().filter(|ns| !ns.is_empty()).unwrap_or("default")
}

fn build(recorded: &Recorded, name: &str, message: &str, count: i32) -> Event {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(event_namespace(&recorded.about).to_owned()),
        ..ObjectMeta::default()
    };
    Event {
        metadata,
        involved_object: recorded.about.clone(),
        reason: Some(recorded.note.reason.clone().into_owned()),
        message: Some(message.to_owned()),
        type_: Some(recorded.note.event_type.as_str().to_owned()),
        count: Some(count),
        first_timestamp: Some(api_time(recorded.at)),
        last_timestamp: Some(api_time(recorded.at)),
        source: Some(EventSource { component: Some(recorded.component.to_owned()), host: None }),
        reporting_component: Some(recorded.component.to_owned()),
        reporting_instance: Some(String::new()),
        ..Event::default()
    }
}

/// What makes two events equal, so that they are merged (S12-19).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct EventKey {
    group: GroupKey,
    message: String,
}

/// What makes two events similar, so that too many of them are combined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    about: AboutKey,
    event_type: EventType,
    reason: Cow<'static, str>,
}

/// Whose rate is limited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct AboutKey {
    component: &'static str,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

impl AboutKey {
    fn of(recorded: &Recorded) -> Self {
        let text = |s: &Option<String>| s.clone().unwrap_or_default();
        let about = &recorded.about;
        Self {
            component: recorded.component,
            kind: text(&about.kind),
            namespace: text(&about.namespace),
            name: text(&about.name),
            uid: text(&about.uid),
        }
    }
}

impl EventKey {
    fn of(recorded: &Recorded) -> Self {
        let group = GroupKey {
            about: AboutKey::of(recorded),
            event_type: recorded.note.event_type,
            reason: recorded.note.reason.clone(),
        };
        Self { group, message: recorded.note.message.clone() }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Create { name: String, message: String },
    Repeat { name: String, message: String, count: i32 },
}

impl Decision {
    fn name(&self) -> &str {
        match self {
            Self::Create { name, .. } | Self::Repeat { name, .. } => name,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Create { message, .. } | Self::Repeat { message, .. } => message,
        }
    }

    const fn count(&self) -> i32 {
        match self {
            Self::Create { .. } => 1,
            Self::Repeat { count, .. } => *count,
        }
    }
}

/// Decides what becomes of a recorded event: written, merged into an earlier one, or dropped.
/// The numbers are those of client-go's event correlator.
#[derive(Debug, Default)]
struct Correlator {
    written: Bounded<EventKey, (String, i32)>,
    groups: Bounded<GroupKey, Group>,
    buckets: Bounded<AboutKey, Bucket>,
}

#[derive(Debug, Clone)]
struct Group {
    messages: Vec<String>,
    last: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u32,
    refilled: Timestamp,
}

/// Objects, groups and events remembered (client-go: 4096).
const REMEMBERED: usize = 4096;

/// Different messages of similar events within `GROUP_WINDOW` before they are combined.
const GROUP_SIZE: usize = 10;
const GROUP_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// Events about one object at once, and the time for one more (S12-19).
const BURST: u32 = 25;
const REFILL: SignedDuration = SignedDuration::from_mins(5);

impl Correlator {
    fn decide(&mut self, recorded: &Recorded) -> Option<Decision> {
        let mut key = EventKey::of(recorded);
        let combined = self.combine(&key, recorded.at);
        if combined {
            key.message = String::new();
        }
        if !self.take_token(&key.group.about, recorded.at) {
            return None;
        }
        let message = if combined {
            format!("(combined from similar events): {}", recorded.note.message)
        } else {
            recorded.note.message.clone()
        };
        if let Some((name, count)) = self.written.get_mut(&key) {
            *count = count.saturating_add(1);
            return Some(Decision::Repeat { name: name.clone(), message, count: *count });
        }
        let object = recorded.about.name.as_deref().unwrap_or("unnamed");
        let serial = self.written.inserted;
        let nanos = recorded.at.as_nanosecond();
        // Two events of one nanosecond need two names.
        let name = format!("{object}.{:x}", nanos + i128::from(serial % 1000));
        self.written.insert(key, (name.clone(), 1));
        Some(Decision::Create { name, message })
    }

    /// Forgets an event that was not written, so that its next occurrence is written anew.
    fn forget(&mut self, key: &EventKey) {
        self.written.remove(key);
    }

    fn combine(&mut self, key: &EventKey, now: Timestamp) -> bool {
        let fresh = Group { messages: Vec::new(), last: now };
        let group = self.groups.entry(&key.group, || fresh.clone());
        if now.duration_since(group.last) > GROUP_WINDOW {
            *group = fresh;
        }
        group.last = now;
        if group.messages.len() < GROUP_SIZE && !group.messages.contains(&key.message) {
            group.messages.push(key.message.clone());
        }
        group.messages.len() >= GROUP_SIZE
    }

    fn take_token(&mut self, about: &AboutKey, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(about, || Bucket { tokens: BURST, refilled: now });
        let earned = now.duration_since(bucket.refilled).as_secs() / REFILL.as_secs();
        if let Ok(earned @ 1..) = u32::try_from(earned) {
            bucket.tokens = bucket.tokens.saturating_add(earned).min(BURST);
            bucket.refilled = now;
        }
        let allowed = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        allowed
    }
}

/// A map that forgets its oldest entries.
#[derive(Debug)]
struct Bounded<K, V> {
    map: BTreeMap<K, V>,
    order: VecDeque<K>,
    inserted: u64,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), order: VecDeque::new(), inserted: 0 }
    }
}

impl<K: Clone + Ord, V> Bounded<K, V> {
    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    fn insert(&mut self, key: K, value: V) {
        self.make_room(&key);
        self.map.insert(key, value);
    }

    fn entry(&mut self, key: &K, fresh: impl FnOnce() -> V) -> &mut V {
        self.make_room(key);
        self.map.entry(key.clone()).or_insert_with(fresh)
    }

    fn make_room(&mut self, key: &K) {
        if self.map.contains_key(key) {
            return;
        }
        self.inserted += 1;
        self.order.push_back(key.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.map.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &K) {
        if self.map.remove(key).is_some() {
            self.order.retain(|k| k != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(reason: &'static str, message: &str, second: i64) -> Recorded {
        let about = ObjectReference { name: Some("job".into()), uid: Some("u".into()), ..ObjectReference::default() };
        Recorded {
            about,
            component: "job-controller",
            note: Note::normal(reason, message),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn s12_19_equal_events_are_merged_with_a_count() {
        let mut correlator = Correlator::default();
        let first = correlator.decide(&recorded("R", "same", 1)).unwrap();
        let second = correlator.decide(&recorded("R", "same", 2)).unwrap();
        assert!(matches!(first, Decision::Create { .. }));
        assert_eq!((second.name(), second.count()), (first.name(), 2));
        let other = correlator.decide(&recorded("R", "other", 2)).unwrap();
        assert_ne!(other.name(), first.name());
    }

    #[test]
    fn s12_19_the_rate_about_one_object_is_limited() {
        let mut correlator = Correlator::default();
        let kept = (0..40).filter(|_| correlator.decide(&recorded("R", "same", 1)).is_some()).count();
        assert_eq!(kept, 25);
        assert!(correlator.decide(&recorded("R", "same", 301)).is_some(), "one more after five minutes");
        assert!(correlator.decide(&recorded("R", "same", 302)).is_none());
    }

    #[test]
    fn ten_similar_messages_are_combined() {
        let mut correlator = Correlator::default();
        let names: Vec<_> = (0..12)
            .map(|i| correlator.decide(&recorded("Created", &format!("pod {i}"), 1)).unwrap())
            .map(|d| (d.name().to_owned(), d.message().to_owned()))
            .collect();
        assert_eq!(names[10].0, names[11].0);
        assert_eq!(names[11].1, "(combined from similar events): pod 11");
    }
}
