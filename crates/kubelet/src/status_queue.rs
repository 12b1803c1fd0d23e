//! Statuses on their way from the driver of a pod to the writer of its status.
//!
//! Guarantees: the sender never waits; whoever must know that a status is stored is told.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodStatus;
use tokio::sync::watch;

/// Number of the newest status once nothing can be stored any more.
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
    newest: watch::Sender<Numbered>,
    settled: watch::Receiver<u64>,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct StatusReceiver {
    newest: watch::Receiver<Numbered>,
    settled: watch::Sender<u64>,
}

/// Makes a queue with nothing in it.
pub(crate) fn channel() -> (StatusSender, StatusReceiver) {
    let (newest, newest_rx) = watch::channel(Numbered::default());
    let (settled, settled_rx) = watch::channel(0);
    (StatusSender { newest, settled: settled_rx }, StatusReceiver { newest: newest_rx, settled })
}

impl StatusSender {
    /// Hands a status over for writing.
    pub(crate) fn send(&self, status: PodStatus) {
        self.newest.send_modify(|newest| {
            *newest = Numbered { number: newest.number + 1, status: Arc::new(status) };
        });
    }

    /// Waits until every status sent so far is settled: stored, refused for good, or without an object that could
    /// take it. Never ends if the writer dies before that.
    pub(crate) fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let number = self.newest.borrow().number;
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
        self.newest.wait_for(|newest| newest.number > settled).await.ok().map(|newest| newest.clone())
    }

    /// Says that nothing more is to be done for a status.
    pub(crate) fn settle(&self, numbered: &Numbered) {
        self.settled.send_replace(numbered.number);
    }

    /// Says that no status can be stored any more.
    pub(crate) fn settle_all(&self) {
        self.settled.send_replace(NEVER_AGAIN);
    }
}
