//! Events for `kubectl describe` (contract S12).
//!
//! Recording never blocks a pod: events go through one bounded queue to one task, which keeps their order,
//! merges equal ones by count and limits the rate of each object, as client-go's correlator does
//! (client-go/tools/record/events_cache.go).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use pod_lifecycle::{EventType, PodPlan};
use tokio::{sync::mpsc, time::Instant};

use crate::clock::{api_time, wall_nanos};

/// Events that may wait: more than a thousand pods produce in the time of one slow API call.
const QUEUE: usize = 1024;
/// Remembered events, for merging (events_cache.go `maxLruCacheEntries`).
const REMEMBERED: usize = 4096;
/// Events that one object may have at once (`defaultSpamBurst`).
const BURST: f64 = 25.0;
/// Time after which one more is allowed (`defaultSpamQPS`).
const REFILL: Duration = Duration::from_secs(300);
/// Different messages of one reason about one object from which on they are combined
/// (`defaultAggregateMaxEvents`).
const SIMILAR: usize = 10;
/// How long ago the last of them may be (`defaultAggregateIntervalInSeconds`).
const SIMILAR_WITHIN: Duration = Duration::from_secs(600);
/// Name of the component that events come from.
const COMPONENT: &str = "kubelet";

/// One event to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The object: pods mostly.
    pub(crate) regarding: Regarding,
    /// Severity.
    pub(crate) type_: EventType,
    /// `Pulled`, `Killing`, …
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
    /// When it happened.
    pub(crate) at: i64,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Regarding {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Part of the object: `spec.containers{name}`.
    pub(crate) field_path: Option<String>,
}

impl Regarding {
    /// Names a node. The kubelet knows no other id than its name.
    pub(crate) fn node(name: &str) -> Self {
        let (namespace, name, uid) = ("default".to_owned(), name.to_owned(), name.to_owned());
        Self { kind: "Node", namespace, name, uid, field_path: None }
    }

    /// Names a pod, or a container of it.
    pub(crate) fn pod(plan: &PodPlan, field_path: Option<String>) -> Self {
        Self {
            kind: "Pod",
            namespace: plan.namespace.clone(),
            name: plan.name.clone(),
            uid: plan.uid.clone(),
            field_path,
        }
    }
}

/// Hands events to the task that writes them.
#[derive(Debug, Clone)]
pub(crate) struct EventRecorder {
    queue: mpsc::Sender<Record>,
}

impl EventRecorder {
    /// Queues an event; one that finds the queue full is dropped, with a warning.
    pub(crate) fn record(&self, regarding: Regarding, type_: EventType, reason: &str, message: impl Into<String>) {
        let record = Record { regarding, type_, reason: reason.to_owned(), message: message.into(), at: wall_nanos() };
        if let Err(e) = self.queue.try_send(record) {
            tracing::warn!("event dropped: {e}");
        }
    }
}

/// Makes a recorder and the future that writes its events; the future ends when all recorders are gone.
pub(crate) fn recorder(client: Client, host: String) -> (EventRecorder, impl Future<Output = ()> + Send) {
    let (queue, mut records) = mpsc::channel(QUEUE);
    let writer = async move {
        let mut correlator = Correlator::default();
        while let Some(record) = records.recv().await {
            if let Some(step) = correlator.correlate(record, Instant::now())
                && let Err(e) = write(&client, &host, &mut correlator, step).await
            {
                if is_refused_for_good(&e) {
                    tracing::debug!("event not recorded: {e}");
                } else {
                    tracing::warn!("event not recorded: {e}");
                }
            }
        }
    };
    (EventRecorder { queue }, writer)
}

/// Tells whether an event comes too late: its namespace is ending or gone, and takes nothing any more.
fn is_refused_for_good(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 404 || (status.code == 403 && causes.any(|cause| cause.reason == "NamespaceTerminating"))
}

/// Key under which equal events are merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    regarding: Regarding,
    warning: bool,
    reason: String,
    message: String,
}

/// A written event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    name: String,
    count: i32,
}

/// What is to be written.
#[derive(Debug)]
struct Step {
    key: Key,
    record: Record,
    earlier: Option<Written>,
}

/// Decides which events are new, which are repeats, and which are too many.
#[derive(Debug, Default)]
struct Correlator {
    known: Recent<Key, Written>,
    buckets: Recent<String, (f64, Instant)>,
    similar: Recent<(String, bool, String), Similar>,
}

/// The [`REMEMBERED`] entries that came last.
#[derive(Debug)]
struct Recent<K, V> {
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// Returns the entry of this key; a new one takes the place of the oldest.
    fn get_or_insert(&mut self, key: K, new: V) -> &mut V {
        if !self.entries.contains_key(&key) {
            self.order.push_back(key.clone());
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
        }
        self.entries.entry(key).or_insert(new)
    }
}

/// Messages of one reason about one object.
#[derive(Debug)]
struct Similar {
    messages: BTreeSet<String>,
    last: Instant,
}

impl Correlator {
    /// Returns what to write; `None`: the object has had too many.
    fn correlate(&mut self, mut record: Record, now: Instant) -> Option<Step> {
        let mut key = Key {
            regarding: record.regarding.clone(),
            warning: record.type_ == EventType::Warning,
            reason: record.reason.clone(),
            message: record.message.clone(),
        };
        if self.are_many(&key, now) {
            record.message = format!("(combined from similar events): {}", record.message);
            (key.regarding.field_path, key.message) = (None, String::new());
        }
        if !self.allowed(&record.regarding.uid, now) {
            return None;
        }
        let earlier = self.known.entries.get(&key).cloned();
        Some(Step { key, record, earlier })
    }

    /// Tells whether there have been so many different messages of this reason that they become one event.
    fn are_many(&mut self, key: &Key, now: Instant) -> bool {
        let group = (key.regarding.uid.clone(), key.warning, key.reason.clone());
        let similar = self.similar.get_or_insert(group, Similar { messages: BTreeSet::new(), last: now });
        if now.duration_since(similar.last) > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        similar.messages.insert(key.message.clone());
        let many = similar.messages.len() >= SIMILAR;
        if many {
            similar.messages.pop_first();
        }
        many
    }

    fn allowed(&mut self, uid: &str, now: Instant) -> bool {
        let (tokens, since) = self.buckets.get_or_insert(uid.to_owned(), (BURST, now));
        let left = refilled(*tokens, *since, now);
        let allowed = left >= 1.0;
        (*tokens, *since) = (if allowed { left - 1.0 } else { left }, now);
        allowed
    }

    fn remember(&mut self, key: Key, written: Written) {
        self.known.get_or_insert(key, written.clone()).clone_from(&written);
    }
}

fn refilled(tokens: f64, since: Instant, now: Instant) -> f64 {
    let more = now.duration_since(since).as_secs_f64() / REFILL.as_secs_f64();
    (tokens + more).min(BURST)
}

async fn write(client: &Client, host: &str, correlator: &mut Correlator, step: Step) -> Result<(), kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &step.record.regarding.namespace);
    if let Some(earlier) = step.earlier {
        let count = earlier.count.saturating_add(1);
        let message = &step.record.message;
        let patch = serde_json::json!({"count": count, "lastTimestamp": api_time(step.record.at), "message": message});
        match api.patch(&earlier.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                correlator.remember(step.key, Written { name: earlier.name, count });
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(e) => return Err(e),
        }
    }
    let event = new_event(host, &step.record);
    let name = event.metadata.name.clone().unwrap_or_default();
    api.create(&PostParams::default(), &event).await?;
    correlator.remember(step.key, Written { name, count: 1 });
    Ok(())
}

fn new_event(host: &str, record: &Record) -> Event {
    let about = &record.regarding;
    let mut event = Event {
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(about.kind.to_owned()),
            namespace: Some(about.namespace.clone()).filter(|n| about.kind != "Node" || n != "default"),
            name: Some(about.name.clone()),
            uid: Some(about.uid.clone()),
            field_path: about.field_path.clone(),
            resource_version: None,
        },
        type_: Some(if record.type_ == EventType::Warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(record.reason.clone()),
        message: Some(record.message.clone()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(host.to_owned()) }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(host.to_owned()),
        first_timestamp: Some(api_time(record.at)),
        last_timestamp: Some(api_time(record.at)),
        count: Some(1),
        ..Event::default()
    };
    event.metadata.namespace = Some(about.namespace.clone());
    event.metadata.name = Some(format!("{}.{:x}{:04x}", about.name, record.at, rand::random::<u16>()));
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: &str, message: &str) -> Record {
        let regarding = Regarding {
            kind: "Pod",
            namespace: "ns".to_owned(),
            name: "p".to_owned(),
            uid: uid.to_owned(),
            field_path: Some("spec.containers{c}".to_owned()),
        };
        Record { regarding, type_: EventType::Normal, reason: "Killing".to_owned(), message: message.to_owned(), at: 0 }
    }

    #[test]
    fn s12_19_equal_events_are_merged_and_others_are_not() {
        let mut correlator = Correlator::default();
        let now = Instant::now();
        let first = correlator.correlate(record("a", "x"), now).expect("allowed");
        assert_eq!(first.earlier, None);
        correlator.remember(first.key, Written { name: "p.1".to_owned(), count: 1 });
        let again = correlator.correlate(record("a", "x"), now).expect("allowed");
        assert_eq!(again.earlier, Some(Written { name: "p.1".to_owned(), count: 1 }));
        assert_eq!(correlator.correlate(record("a", "y"), now).expect("allowed").earlier, None);
        assert_eq!(correlator.correlate(record("b", "x"), now).expect("allowed").earlier, None);
    }

    #[test]
    fn s12_19_an_object_gets_25_events_at_once_and_one_more_every_five_minutes() {
        let mut correlator = Correlator::default();
        let now = Instant::now();
        let passed = (0..40).filter(|_| correlator.correlate(record("a", "x"), now).is_some()).count();
        assert_eq!(passed, 25);
        assert!(correlator.correlate(record("b", "x"), now).is_some(), "another object");
        let later = now + Duration::from_secs(301);
        assert!(correlator.correlate(record("a", "x"), later).is_some());
        assert!(correlator.correlate(record("a", "x"), later).is_none());
    }

    #[test]
    fn s12_19_the_tenth_message_of_a_reason_and_those_after_it_are_combined() {
        let mut correlator = Correlator::default();
        let start = Instant::now();
        let mut tell = |n: usize, now: Instant| {
            let step = correlator.correlate(record("a", &format!("message {n}")), now).expect("allowed");
            let name = step.earlier.map_or_else(|| format!("event {n}"), |earlier| earlier.name);
            correlator.remember(step.key, Written { name: name.clone(), count: 1 });
            (name, step.record.message)
        };
        let told: Vec<_> = (1..=12).map(|n| tell(n, start)).collect();
        assert_eq!(told[8], ("event 9".to_owned(), "message 9".to_owned()));
        assert_eq!(told[9], ("event 10".to_owned(), "(combined from similar events): message 10".to_owned()));
        assert_eq!(told[11], ("event 10".to_owned(), "(combined from similar events): message 12".to_owned()));
        assert_eq!(tell(13, start + Duration::from_secs(601)).1, "message 13", "long after");
    }

    #[test]
    fn an_event_that_its_namespace_takes_no_more_is_not_worth_a_warning() {
        let answer = |code: u16, reason: &str| {
            let details = serde_json::json!({"causes": [{"reason": reason, "message": "m", "field": "f"}]});
            let status = serde_json::json!({"code": code, "details": details});
            let status: kube::core::Status = serde_json::from_value(status).expect("a status");
            is_refused_for_good(&kube::Error::Api(Box::new(status)))
        };
        assert!(answer(403, "NamespaceTerminating") && answer(404, ""));
        assert!(!answer(403, "") && !answer(500, "NamespaceTerminating"));
    }

    #[test]
    fn what_is_remembered_of_events_does_not_grow_without_bound() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        for n in 0..=REMEMBERED {
            let step = correlator.correlate(record(&n.to_string(), "x"), now).expect("allowed");
            correlator.remember(step.key, Written { name: "p.1".to_owned(), count: 1 });
        }
        let kept = [correlator.known.entries.len(), correlator.buckets.entries.len(), correlator.similar.entries.len()];
        assert_eq!(kept, [REMEMBERED; 3]);
        assert!(!correlator.buckets.entries.contains_key("0"), "the oldest makes room");
    }

    #[test]
    fn an_event_names_its_container_and_component() {
        let event = new_event("node1", &record("a", "x"));
        assert_eq!(event.involved_object.field_path.as_deref(), Some("spec.containers{c}"));
        assert_eq!(event.source.and_then(|s| s.component).as_deref(), Some("kubelet"));
        assert!(event.metadata.name.expect("a name").starts_with("p."));
    }
}
