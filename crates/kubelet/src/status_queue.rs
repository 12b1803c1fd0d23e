//! Statuses on their way from the driver of a pod to the writer of its status.
//!
//! Guarantees: the sender never waits; a status that shows a container or the pod in another state than the one before
//! is written on its own, so that a watcher sees every step, as long as the writer is not too far behind; whoever must
//! know that a status is stored is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ContainerState, PodStatus};
use tokio::sync::watch;

/// Statuses that may wait. A restart makes three (terminated, waiting, running); a writer that falls further behind
/// leaves steps out.
const MOST_WAITING: usize = 16;

/// What counts as settled once nothing can be stored any more.
const NEVER_AGAIN: u64 = u64::MAX;

/// A status and its place in the order of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbered {
    number: u64,
    pub(crate) status: Arc<PodStatus>,
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct StatusSender {
    /// Number of the last status sent.
    last: u64,
    waiting: watch::Sender<VecDeque<Numbered>>,
    settled: watch::Receiver<u64>,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct StatusReceiver {
    waiting: watch::Receiver<VecDeque<Numbered>>,
    settled: watch::Sender<u64>,
}

/// Makes a queue with nothing in it.
pub(crate) fn channel() -> (StatusSender, StatusReceiver) {
    let (waiting, waiting_rx) = watch::channel(VecDeque::new());
    let (settled, settled_rx) = watch::channel(0);
    (StatusSender { waiting, last: 0, settled: settled_rx }, StatusReceiver { waiting: waiting_rx, settled })
}

impl StatusSender {
    /// Hands a status over for writing.
    pub(crate) fn send(&mut self, status: PodStatus) {
        self.last += 1;
        let next = Numbered { number: self.last, status: Arc::new(status) };
        let settled = *self.settled.borrow();
        self.waiting.send_modify(|waiting| {
            waiting.retain(|w| w.number > settled);
            let same_step = waiting.back().is_some_and(|w| step(&w.status) == step(&next.status));
            if same_step || waiting.len() == MOST_WAITING {
                waiting.pop_back();
            }
            waiting.push_back(next);
        });
    }

    /// Waits until every status sent so far is settled: stored, refused for good, or without an object that could
    /// take it. Never ends if the writer dies before that.
    pub(crate) fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let number = self.last;
        let mut settled = self.settled.clone();
        async move {
            if settled.wait_for(|settled| *settled >= number).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

impl StatusReceiver {
    /// Waits for a status that is not settled; `None`: all are, and there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Numbered> {
        let settled = *self.settled.borrow();
        let unsettled = |w: &&Numbered| w.number > settled;
        let waiting = self.waiting.wait_for(|waiting| waiting.iter().any(|w| unsettled(&w))).await.ok()?;
        waiting.iter().find(unsettled).cloned()
    }

    /// Says that nothing more is to be done for a status.
    pub(crate) fn settle(&self, numbered: &Numbered) {
        self.settled.send_replace(numbered.number);
    }

    /// Gives a status up if there is a newer one.
    pub(crate) fn pass_over(&self, numbered: &Numbered) {
        if self.waiting.borrow().back().is_some_and(|newest| newest.number > numbered.number) {
            self.settle(numbered);
        }
    }

    /// Says that no status can be stored any more.
    pub(crate) fn settle_all(&self) {
        self.settled.send_replace(NEVER_AGAIN);
    }
}

/// Kinds of container states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Waiting,
    Running,
    Terminated,
}

fn kind(state: Option<&ContainerState>) -> Kind {
    match state {
        Some(ContainerState { terminated: Some(_), .. }) => Kind::Terminated,
        Some(ContainerState { running: Some(_), .. }) => Kind::Running,
        Some(_) | None => Kind::Waiting,
    }
}

/// Returns what distinguishes the steps of a pod's life: its phase and the kind of every container's state.
fn step(status: &PodStatus) -> (Option<&str>, BTreeMap<&str, Kind>) {
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let containers = lists.into_iter().flatten().flatten();
    (status.phase.as_deref(), containers.map(|c| (c.name.as_str(), kind(c.state.as_ref()))).collect())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::{Value, json};

    use super::*;

    fn status(state: &str, message: usize) -> PodStatus {
        let mut main = json!({"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0});
        main["state"] = json!({state: {"exitCode": 1}});
        let status: Value = json!({"message": message.to_string(), "containerStatuses": [main]});
        serde_json::from_value(status).expect("a status")
    }

    /// Takes all that is waiting, as a writer does.
    fn written(queue: &mut StatusReceiver) -> Vec<String> {
        let mut messages = Vec::new();
        while let Some(Some(next)) = queue.next().now_or_never() {
            messages.push(next.status.message.clone().unwrap_or_default());
            queue.settle(&next);
        }
        messages
    }

    #[test]
    fn every_step_is_written_and_only_the_newest_status_of_each() {
        let (mut sender, mut queue) = channel();
        for (message, state) in
            ["waiting", "running", "running", "terminated", "waiting", "waiting"].into_iter().enumerate()
        {
            sender.send(status(state, message));
        }
        assert_eq!(written(&mut queue), ["0", "2", "3", "5"]);
        sender.send(status("waiting", 6));
        assert_eq!(written(&mut queue), ["6"]);
    }

    #[test]
    fn a_writer_that_is_too_far_behind_still_writes_the_newest_status() {
        let (mut sender, mut queue) = channel();
        for message in 0..100 {
            sender.send(status(["running", "terminated"][message % 2], message));
        }
        let written = written(&mut queue);
        assert_eq!(written.len(), MOST_WAITING);
        assert_eq!(written.last().map(String::as_str), Some("99"));
    }

    #[test]
    fn only_the_newest_status_is_not_passed_over() {
        let (mut sender, mut queue) = channel();
        sender.send(status("running", 0));
        sender.send(status("terminated", 1));
        for _ in 0..3 {
            let next = queue.next().now_or_never().flatten().expect("a status");
            queue.pass_over(&next);
        }
        assert_eq!(written(&mut queue), ["1"]);
    }

    #[test]
    fn a_status_is_settled_once_it_or_a_newer_one_in_its_place_is() {
        let (mut sender, mut queue) = channel();
        assert_eq!(sender.settled().now_or_never(), Some(()), "nothing sent");
        sender.send(status("running", 0));
        let first = sender.settled();
        sender.send(status("running", 1));
        sender.send(status("terminated", 2));
        let last = sender.settled();
        let next = queue.next().now_or_never().flatten().expect("a status");
        queue.settle(&next);
        assert_eq!(first.now_or_never(), Some(()));
        assert_eq!(sender.settled().now_or_never(), None);
        queue.settle_all();
        assert_eq!(last.now_or_never(), Some(()));
    }
}
