//! The pods that could be evicted: those that have a worker and have not ended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use crate::pod_worker::Desired;

/// What a pod is told that has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Eviction {
    /// For people.
    pub(crate) message: String,
    /// Longest grace.
    pub(crate) grace: Duration,
}

/// All pods, by uid. A clone is another handle of the same roster.
#[derive(Debug, Clone)]
pub(crate) struct Roster(Arc<watch::Sender<BTreeMap<String, Member>>>);

#[derive(Debug)]
struct Member {
    pod: watch::Receiver<Desired>,
    eviction: watch::Sender<Option<Eviction>>,
}

/// A pod's place in the roster, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    roster: Roster,
    uid: String,
    /// Why the pod has to go.
    pub(crate) eviction: watch::Receiver<Option<Eviction>>,
}

impl Roster {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(BTreeMap::new()).0))
    }

    /// Enters a pod.
    pub(crate) fn join(&self, uid: &str, pod: watch::Receiver<Desired>) -> Membership {
        let (eviction, heard) = watch::channel(None);
        self.0.send_modify(|members| drop(members.insert(uid.to_owned(), Member { pod, eviction })));
        Membership { roster: self.clone(), uid: uid.to_owned(), eviction: heard }
    }

    /// Returns all pods as they are now.
    pub(super) fn pods(&self) -> Vec<Arc<Pod>> {
        self.0.borrow().values().map(|member| Arc::clone(&member.pod.borrow().pod)).collect()
    }

    /// Tells whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Waits until there is one.
    pub(super) async fn until_any(&self) {
        // It cannot be closed: this is the sender.
        let _ = self.0.subscribe().wait_for(|members| !members.is_empty()).await;
    }

    /// Tells a pod to go, and waits until it has.
    pub(super) async fn evict(&self, uid: &str, eviction: Eviction) {
        if let Some(member) = self.0.borrow().get(uid) {
            member.eviction.send_replace(Some(eviction));
        }
        let _ = self.0.subscribe().wait_for(|members| !members.contains_key(uid)).await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.roster.0.send_modify(|members| drop(members.remove(&self.uid)));
    }
}
