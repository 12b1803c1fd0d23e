//! The work queue of a controller: which objects to look at, now or at a time.
//!
//! One object is looked at by one pass at a time. Adding it while a pass runs leads to one more
//! pass. A pass that fails is repeated with growing delays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::Debug;
use std::future::{Future, pending};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::SharedClock;

/// What a pass asks for when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing until the object, or what belongs to it, changes.
    Idle,
    /// Another pass right away.
    Again,
    /// Another pass at that time, if nothing changes before.
    At(Timestamp),
}

impl Next {
    /// Another pass at that time, or nothing.
    pub(crate) fn at(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Idle, Self::At)
    }
}

/// First delay after a failed pass; doubles with each failure in a row.
const FIRST_RETRY: Duration = Duration::from_millis(10);

/// Longest delay after failed passes (job_controller.go: maximal API back-off).
const LAST_RETRY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    queued: BTreeSet<K>,
    running: BTreeSet<K>,
    wake: BTreeMap<K, Timestamp>,
    wake_order: BTreeSet<(Timestamp, K)>,
    retry: BTreeSet<(Instant, K)>,
    failures: BTreeMap<K, u32>,
}

impl<K: Clone + Ord> Queue<K> {
    pub(crate) fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: BTreeSet::new(),
            running: BTreeSet::new(),
            wake: BTreeMap::new(),
            wake_order: BTreeSet::new(),
            retry: BTreeSet::new(),
            failures: BTreeMap::new(),
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Asks for a pass over the object.
    pub(crate) fn add(&self, key: K) {
        self.lock().enqueue(key);
        self.changed.notify_one();
    }

    /// Asks for a pass at a time, in place of an earlier such request.
    pub(crate) fn add_at(&self, key: K, time: Timestamp) {
        self.lock().set_wake(key, Some(time));
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord> State<K> {
    fn enqueue(&mut self, key: K) {
        if self.queued.insert(key.clone()) && !self.running.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn set_wake(&mut self, key: K, time: Option<Timestamp>) {
        if let Some(old) = self.wake.remove(&key) {
            self.wake_order.remove(&(old, key.clone()));
        }
        if let Some(time) = time {
            self.wake.insert(key.clone(), time);
            self.wake_order.insert((time, key));
        }
    }

    /// Queues what is due.
    fn collect_due(&mut self, wall: Timestamp, mono: Instant) {
        while let Some((_, key)) = self.wake_order.first().filter(|(at, _)| *at <= wall).cloned() {
            self.set_wake(key.clone(), None);
            self.enqueue(key);
        }
        while let Some((at, key)) = self.retry.first().filter(|(at, _)| *at <= mono).cloned() {
            self.retry.remove(&(at, key.clone()));
            self.enqueue(key);
        }
    }

    fn start(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// Books the end of a pass; `None` means that it failed. Returns the delay of the retry.
    fn finish(&mut self, key: K, next: Option<Next>) -> Option<Duration> {
        self.running.remove(&key);
        if self.queued.contains(&key) {
            self.ready.push_back(key.clone());
        }
        let Some(next) = next else {
            return Some(self.retry_later(key));
        };
        self.failures.remove(&key);
        match next {
            Next::Idle => self.set_wake(key, None),
            Next::At(time) => self.set_wake(key, Some(time)),
            Next::Again => self.enqueue(key),
        }
        None
    }

    fn retry_later(&mut self, key: K) -> Duration {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let delay = (FIRST_RETRY * 2u32.saturating_pow((*failures).min(20))).min(LAST_RETRY);
        *failures += 1;
        self.retry.insert((Instant::now() + delay, key));
        delay
    }
}

/// Works on the queue for as long as it is polled, with at most `limit` passes at a time.
pub(crate) async fn work<K, F, Fut, E>(queue: &Queue<K>, clock: &SharedClock, limit: usize, pass: F)
where
    K: Clone + Ord + Debug,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Result<Next, E>>,
    E: Error + 'static,
{
    let mut passes = FuturesUnordered::new();
    loop {
        let (wake, retry) = {
            let mut state = queue.lock();
            state.collect_due(clock.now(), Instant::now());
            while passes.len() < limit
                && let Some(key) = state.start()
            {
                let outcome = pass(key.clone());
                passes.push(async move { (key, outcome.await) });
            }
            (state.wake_order.first().map(|(at, _)| *at), state.retry.first().map(|(at, _)| *at))
        };
        tokio::select! {
            Some((key, outcome)) = passes.next(), if !passes.is_empty() => finish(queue, key, outcome),
            () = queue.changed.notified() => {}
            () = wait_wall(clock, wake) => {}
            () = wait_mono(retry) => {}
        }
    }
}

fn finish<K: Clone + Ord + Debug, E: Error + 'static>(queue: &Queue<K>, key: K, outcome: Result<Next, E>) {
    let next = outcome.as_ref().ok().copied();
    let retry = queue.lock().finish(key.clone(), next);
    if let (Err(error), Some(delay)) = (outcome, retry) {
        let error: &(dyn Error + 'static) = &error;
        tracing::warn!(?key, error, ?delay, "pass failed, will be repeated");
    }
}

async fn wait_wall(clock: &SharedClock, until: Option<Timestamp>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => pending().await,
    }
}

async fn wait_mono(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_object_added_during_its_pass_gets_one_more_pass() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        let mut state = queue.lock();
        assert_eq!(state.start(), Some("a"));
        state.enqueue("a");
        state.enqueue("a");
        assert_eq!(state.start(), None, "one pass at a time");
        state.finish("a", Some(Next::Idle));
        assert_eq!(state.start(), Some("a"));
        state.finish("a", Some(Next::Idle));
        assert_eq!(state.start(), None);
    }

    #[test]
    fn a_pass_replaces_the_wake_up_of_the_pass_before() {
        let queue = Queue::new();
        queue.add_at("a", at(10));
        let mut state = queue.lock();
        state.enqueue("a");
        state.start();
        state.finish("a", Some(Next::At(at(20))));
        state.collect_due(at(15), Instant::now());
        assert_eq!(state.start(), None);
        state.collect_due(at(20), Instant::now());
        assert_eq!(state.start(), Some("a"));
    }

    #[test]
    fn failures_delay_the_next_pass_longer_each_time_up_to_a_bound() {
        let queue = Queue::new();
        let mut state = queue.lock();
        let delays: Vec<_> = (0..25)
            .map(|_| {
                state.enqueue("a");
                state.start();
                state.finish("a", None).unwrap()
            })
            .collect();
        assert_eq!(delays[..3], [FIRST_RETRY, FIRST_RETRY * 2, FIRST_RETRY * 4]);
        assert_eq!(delays[24], LAST_RETRY);
    }
}
