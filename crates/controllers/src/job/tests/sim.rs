//! A Job, its pods and an API server that does what plans say, in one struct.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::facts;
use super::*;
use crate::meta;

/// How much of a plan is done before the controller dies.
pub(super) const ALL: usize = usize::MAX;

/// Which calls of a plan are made, and which of them fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// The controller dies after that many calls.
    pub(super) calls: usize,
    /// The call that is refused.
    pub(super) refused: Option<usize>,
    /// Calls of one kind are made side by side: this one comes first.
    pub(super) first: usize,
}

impl Fate {
    /// Whether the next call is made and answered.
    const fn next(&mut self) -> bool {
        if self.calls == 0 {
            return false;
        }
        self.calls -= 1;
        match self.refused {
            Some(0) => return false,
            Some(n) => self.refused = Some(n - 1),
            None => {}
        }
        true
    }

    const fn has_failed(&self) -> bool {
        matches!(self.refused, Some(0))
    }

    fn order<'a, T>(&self, calls: &'a [T]) -> impl Iterator<Item = &'a T> {
        let (late, early) = calls.split_at(self.first % calls.len().max(1));
        early.iter().chain(late)
    }
}

/// Why a plan was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The Job has been edited meanwhile.
    Conflict,
    /// A call was refused.
    Refused,
}

#[derive(Debug, Clone)]
pub(super) struct Sim {
    pub(super) job: Job,
    /// The specification that the controller knows, if it is not the present one.
    pub(super) known: Option<JobSpec>,
    /// What is stored.
    pub(super) pods: BTreeMap<String, Pod>,
    /// What the controller has seen.
    pub(super) seen: BTreeMap<String, Arc<Pod>>,
    pub(super) backoff: Backoff,
    pub(super) now: i64,
    pub(super) created: usize,
    pub(super) notes: Vec<Note>,
    /// Pods that are gone, as they were last.
    pub(super) gone: BTreeMap<String, Pod>,
    /// Pods that anybody has deleted.
    pub(super) deleted: BTreeSet<String>,
    /// Pods that are not to be counted.
    pub(super) discarded: BTreeSet<String>,
    /// Pods of which the controller has seen that they failed and count.
    pub(super) seen_failed: BTreeSet<String>,
    /// Indexes have come or gone.
    pub(super) scaled: bool,
    /// Containers that have run again.
    pub(super) restarts: usize,
}

impl Sim {
    pub(super) fn new(job: Job) -> Self {
        let (pods, seen, backoff, gone) = <_>::default();
        let (deleted, discarded, seen_failed) = <_>::default();
        let (known, created, notes) = (None, 0, Vec::new());
        Self {
            job,
            known,
            pods,
            seen,
            backoff,
            now: 100,
            created,
            notes,
            gone,
            deleted,
            discarded,
            seen_failed,
            scaled: false,
            restarts: 0,
        }
    }

    /// The Job as the controller knows it.
    pub(super) fn known_job(&self) -> Job {
        Job { spec: self.known.clone().or_else(|| self.job.spec.clone()), ..self.job.clone() }
    }

    pub(super) fn known_spec(&self) -> JobSpec {
        self.known_job().spec.unwrap()
    }

    /// Somebody edits the Job; the controller has not heard of it.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut JobSpec)) {
        let spec = self.job.spec.as_mut().unwrap();
        self.known.get_or_insert_with(|| spec.clone());
        edit(spec);
    }

    pub(super) fn plan(&self) -> JobPlan {
        self.plan_managing(true)
    }

    pub(super) fn plan_managing(&self, manage: bool) -> JobPlan {
        let pods: Vec<Arc<Pod>> = self.seen.values().cloned().collect();
        plan(&JobView { job: &self.known_job(), pods: &pods, backoff: &self.backoff, now: at(self.now), manage })
    }

    /// Makes a plan and does its first `steps` steps. Returns the plan.
    pub(super) fn step(&mut self, steps: usize) -> JobPlan {
        let plan = self.plan();
        // The plan is all that the caller wants.
        let _ = self.carry_out(&plan, Fate { calls: steps, refused: None, first: 0 });
        plan
    }

    /// One pass of the controller, as `reconcile.rs` makes it.
    pub(super) fn pass(&mut self, fate: Fate) {
        let plan = self.plan();
        let managed = !(plan.delete.is_empty() && plan.create.is_empty());
        if self.carry_out(&plan, fate) == Err(Trouble::Refused) && managed {
            let plan = self.plan_managing(false);
            let _ = self.carry_out(&plan, Fate { calls: ALL, refused: None, first: 0 });
        }
    }

    fn carry_out(&mut self, plan: &JobPlan, mut fate: Fate) -> Result<(), Trouble> {
        self.backoff = plan.backoff.clone();
        let check = |fate: &Fate| if fate.has_failed() { Err(Trouble::Refused) } else { Ok(()) };
        for deletion in fate.order(&plan.delete).collect::<Vec<_>>() {
            if deletion.uncounted && fate.next() {
                self.discarded.insert(meta::uid(&deletion.pod.metadata).to_owned());
                self.untrack(&deletion.pod);
            }
            if fate.next() {
                self.delete(meta::uid(&deletion.pod.metadata));
            }
        }
        check(&fate)?;
        for new in &plan.create {
            if fate.next() {
                self.create(new);
            }
        }
        check(&fate)?;
        if let Some(status) = &plan.status
            && fate.next()
        {
            if self.known.take().is_some() {
                return Err(Trouble::Conflict);
            }
            let before = self.job.status.replace(status.clone()).unwrap_or_default();
            self.check_status(&before);
        }
        check(&fate)?;
        for pod in fate.order(&plan.untrack).collect::<Vec<_>>() {
            if fate.next() {
                self.untrack(pod);
            }
        }
        check(&fate)?;
        if fate.next() {
            self.notes.extend(plan.notes.iter().cloned());
        }
        Ok(())
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
        self.known = None;
        let all: Vec<String> = self.pods.keys().chain(self.seen.keys()).cloned().collect();
        all.iter().for_each(|uid| self.see(uid));
    }

    pub(super) fn see(&mut self, uid: &str) {
        match self.pods.get(uid) {
            Some(pod) => drop(self.seen.insert(uid.to_owned(), Arc::new(pod.clone()))),
            None => drop(self.seen.remove(uid)),
        }
        let Some(pod) = self.seen.get(uid).filter(|pod| facts::is_tracked(pod)) else { return };
        if self.has_failed(pod) && self.counts(pod) {
            self.seen_failed.insert(uid.to_owned());
        } else if !self.is_booked_as_failed(uid) {
            // It was told to stop and has succeeded nevertheless.
            self.seen_failed.remove(uid);
        }
    }

    fn is_booked_as_failed(&self, uid: &str) -> bool {
        let uncounted = self.status().uncounted_terminated_pods.unwrap_or_default();
        uncounted.failed.iter().flatten().any(|booked| booked == uid)
    }

    pub(super) fn add(&mut self, pod: Pod) {
        self.pods.insert(meta::uid(&pod.metadata).to_owned(), pod);
        self.see_all();
    }

    fn create(&mut self, new: &NewPod) {
        self.created += 1;
        let mut pod = build(&self.known_job(), new, &format!("{:03}", self.created));
        let uid = format!("p{:03}", self.created);
        pod.metadata.uid = Some(uid.clone());
        pod.metadata.creation_timestamp = Some(Time(at(self.now)));
        self.pods.insert(uid.clone(), pod);
        self.see(&uid);
        self.check_creation(&uid);
    }

    pub(super) fn delete(&mut self, uid: &str) {
        let now = at(self.now + 30);
        self.deleted.insert(uid.to_owned());
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
        }
        self.collect(uid);
    }

    /// A deleted pod is gone when it has ended and nothing holds it.
    pub(super) fn collect(&mut self, uid: &str) {
        let over =
            |pod: &Pod| meta::is_deleting(&pod.metadata) && !facts::is_tracked(pod) && crate::pod::is_terminal(pod);
        if self.pods.get(uid).is_some_and(over) {
            self.gone.extend(self.pods.remove_entry(uid));
        }
    }

    /// Every pod that there ever was, as it is or was last.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Pod)> {
        self.pods.iter().chain(&self.gone)
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
