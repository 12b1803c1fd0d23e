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

    /// Returns all pods as they are now that were not told to go yet.
    pub(super) fn candidates(&self) -> Vec<Arc<Pod>> {
        let members = self.0.borrow();
        let staying = members.values().filter(|member| member.eviction.borrow().is_none());
        staying.map(|member| Arc::clone(&member.pod.borrow().pod)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn s4_56_a_pod_that_was_told_to_go_and_is_still_there_is_no_candidate() {
        let roster = Roster::new();
        let (_desired, pod) = watch::channel(Desired { pod: Arc::default(), pending: None, gone: false });
        let _slow = roster.join("slow", pod.clone());
        let _other = roster.join("other", pod);
        let eviction = Eviction { message: String::new(), grace: Duration::ZERO };
        let ended = tokio::time::timeout(Duration::from_secs(1), roster.evict("slow", eviction)).await;
        assert!(ended.is_err(), "it stays");
        assert_eq!(roster.candidates().len(), 1);
    }
}
