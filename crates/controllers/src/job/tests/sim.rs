//! A Job, its pods and an API server that does what plans say, in one struct.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::facts;
use super::*;
use crate::meta;

/// How much of a plan is done before the controller dies.
pub(super) const ALL: usize = usize::MAX;

#[derive(Debug, Clone)]
pub(super) struct Sim {
    pub(super) job: Job,
    /// What is stored.
    pub(super) pods: BTreeMap<String, Pod>,
    /// What the controller has seen.
    pub(super) seen: BTreeMap<String, Arc<Pod>>,
    pub(super) backoff: Backoff,
    pub(super) now: i64,
    pub(super) created: usize,
    pub(super) notes: Vec<Note>,
    /// Pods that have succeeded.
    pub(super) succeeded: BTreeSet<String>,
    /// Pods that have failed, or that somebody wanted to be gone.
    pub(super) failed: BTreeSet<String>,
}

impl Sim {
    pub(super) fn new(job: Job) -> Self {
        let (pods, seen, backoff, succeeded, failed) = <_>::default();
        Self { job, pods, seen, backoff, now: 100, created: 0, notes: Vec::new(), succeeded, failed }
    }

    pub(super) fn plan(&self) -> JobPlan {
        self.plan_managing(true)
    }

    pub(super) fn plan_managing(&self, manage: bool) -> JobPlan {
        let pods: Vec<Arc<Pod>> = self.seen.values().cloned().collect();
        plan(&JobView { job: &self.job, pods: &pods, backoff: &self.backoff, now: at(self.now), manage })
    }

    /// Makes a plan and does its first `steps` steps. Returns the plan.
    pub(super) fn step(&mut self, steps: usize) -> JobPlan {
        let plan = self.plan();
        let mut left = steps;
        let mut may = || {
            let may = left > 0;
            left = left.saturating_sub(1);
            may
        };
        for deletion in &plan.delete {
            if deletion.uncounted && may() {
                self.untrack(&deletion.pod);
            }
            if may() {
                self.delete(meta::uid(&deletion.pod.metadata));
            }
        }
        for new in &plan.create {
            if may() {
                self.create(new);
            }
        }
        if let Some(status) = &plan.status
            && may()
        {
            self.job.status = Some(status.clone());
        }
        for pod in &plan.untrack {
            if may() {
                self.untrack(pod);
            }
        }
        if may() {
            self.notes.extend(plan.notes.iter().cloned());
            self.backoff = plan.backoff.clone();
        }
        plan
    }

    /// Makes and does plans until there is nothing to do. Returns the last one.
    pub(super) fn settle(&mut self) -> JobPlan {
        for _ in 0..100 {
            self.see_all();
            if self.step(ALL).is_settled() {
                return self.plan();
            }
        }
        panic!("never settles: {self:#?}");
    }

    /// The controller dies and another one starts.
    pub(super) fn restart(&mut self) {
        self.backoff = Backoff::default();
        self.see_all();
    }

    pub(super) fn see_all(&mut self) {
        self.seen = self.pods.iter().map(|(uid, pod)| (uid.clone(), Arc::new(pod.clone()))).collect();
    }

    pub(super) fn see(&mut self, uid: &str) {
        match self.pods.get(uid) {
            Some(pod) => drop(self.seen.insert(uid.to_owned(), Arc::new(pod.clone()))),
            None => drop(self.seen.remove(uid)),
        }
    }

    pub(super) fn add(&mut self, pod: Pod) {
        self.pods.insert(meta::uid(&pod.metadata).to_owned(), pod);
        self.see_all();
    }

    fn create(&mut self, new: &NewPod) {
        self.created += 1;
        let mut pod = build(&self.job, new, &format!("{:03}", self.created));
        let uid = format!("p{:03}", self.created);
        pod.metadata.uid = Some(uid.clone());
        pod.metadata.creation_timestamp = Some(Time(at(self.now)));
        self.pods.insert(uid.clone(), pod);
        self.see(&uid);
    }

    pub(super) fn delete(&mut self, uid: &str) {
        let now = at(self.now + 30);
        // It counts as failed even if it succeeds before anybody hears of it.
        self.failed.insert(uid.to_owned());
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.metadata.deletion_timestamp.get_or_insert(Time(now));
            pod.metadata.deletion_grace_period_seconds = Some(30);
        }
        self.collect(uid);
        self.see(uid);
    }

    fn untrack(&mut self, pod: &Pod) {
        let uid = meta::uid(&pod.metadata).to_owned();
        if let Some(pod) = self.pods.get_mut(&uid) {
            pod.metadata.finalizers = None;
        }
        self.collect(&uid);
        self.see(&uid);
    }

    /// The kubelet says that a pod has ended; the controller may not know yet.
    pub(super) fn end(&mut self, uid: &str, phase: &str, code: i32) {
        let status = serde_json::from_value(ended(phase, code, self.now)).unwrap();
        if let Some(pod) = self.pods.get_mut(uid).filter(|pod| !crate::pod::is_terminal(pod)) {
            pod.status = Some(status);
            let ended = if phase == "Succeeded" { &mut self.succeeded } else { &mut self.failed };
            ended.insert(uid.to_owned());
        }
        self.collect(uid);
    }

    /// A deleted pod is gone when it has ended and nothing holds it.
    fn collect(&mut self, uid: &str) {
        let over =
            |pod: &Pod| meta::is_deleting(&pod.metadata) && !facts::is_tracked(pod) && crate::pod::is_terminal(pod);
        if self.pods.get(uid).is_some_and(over) {
            self.pods.remove(uid);
        }
    }

    pub(super) fn active(&self) -> Vec<String> {
        self.pods.iter().filter(|(_, pod)| facts::is_active(pod)).map(|(uid, _)| uid.clone()).collect()
    }

    pub(super) fn unfinished(&self) -> Vec<String> {
        self.pods.iter().filter(|(_, pod)| !crate::pod::is_terminal(pod)).map(|(uid, _)| uid.clone()).collect()
    }

    pub(super) fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    /// Counters and conditions in a few words.
    pub(super) fn summary(&self) -> String {
        let status = self.status();
        let mut words = Vec::new();
        let mut number = |name: &str, value: Option<i32>| {
            if let Some(value) = value.filter(|value| *value != 0) {
                words.push(format!("{name} {value}"));
            }
        };
        number("active", status.active);
        number("ready", status.ready);
        number("terminating", status.terminating);
        number("succeeded", status.succeeded);
        number("failed", status.failed);
        words.extend(status.completed_indexes.map(|indexes| format!("completed {indexes}")));
        words.extend(status.failed_indexes.filter(|i| !i.is_empty()).map(|indexes| format!("broken {indexes}")));
        for condition in status.conditions.into_iter().flatten() {
            words.push(format!("{}={}/{}", condition.type_, condition.status, condition.reason.unwrap_or_default()));
        }
        words.join(", ")
    }
}
