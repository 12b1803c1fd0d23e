//! Decides what to do next about a Job (job_controller.go: syncJob, manageJob,
//! trackJobStatusAndRemoveFinalizers).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::children::Claims;
use crate::events::Note;
use crate::job::backoff::{finished_at, index_until};
use crate::job::facts::{self, Facts, is_active, is_ready, is_terminating, is_tracked, phase};
use crate::job::policy::{self, Judgement};
use crate::job::status::{Uncounted, Verdict, non_zero, set_condition};
use crate::job::{
    Backoff, Deletion, INDEX_FAILURE_COUNT, INDEX_IGNORED_FAILURE_COUNT, IndexFailures, Indexes, JobPlan, JobView,
    NewPod,
};
use crate::meta;

/// Pods created or deleted by one plan (S9-14).
const PODS_PER_PLAN: usize = 500;

/// Pods that are being counted at one time (S9-18).
const MOST_UNCOUNTED: usize = 500;

/// Decides what to do next about a Job.
///
/// Guarantees: a settled plan stays settled until the view changes or `wake_at` comes. Carrying
/// plans out, wholly or in part, counts each pod once and never has more active pods than the
/// Job's parallelism.
#[must_use]
pub fn plan(view: &JobView<'_>) -> JobPlan {
    let job = view.job;
    let idle = JobPlan { backoff: view.backoff.clone(), ..JobPlan::default() };
    let Some(spec) = job.spec.as_ref().filter(|_| !facts::is_managed_elsewhere(job)) else { return idle };
    let own: Vec<&Arc<Pod>> = view.pods.iter().filter(|pod| is_own(job, pod)).collect();
    if facts::finished(job).is_some() {
        let untrack = own.into_iter().filter(|pod| is_tracked(pod)).cloned().collect();
        return JobPlan { untrack, ..idle };
    }
    let Some(facts) = Facts::read(spec) else {
        let note = Note::warning("UnknownCompletionMode", "Skipped Job sync because completion mode is unknown");
        return JobPlan { notes: vec![note], ..idle };
    };
    let claims = claims(job, spec, view.pods);
    if !claims.is_settled() {
        return JobPlan { backoff: idle.backoff, ..claims };
    }
    Pass::new(view, facts, own).decide()
}

fn is_own(job: &Job, pod: &Pod) -> bool {
    meta::is_controlled_by(&pod.metadata, meta::uid(&job.metadata))
}

/// Adoption and release (S9-20).
fn claims(job: &Job, spec: &JobSpec, pods: &[Arc<Pod>]) -> JobPlan {
    let Some(wanted) = facts::selector(spec) else { return JobPlan::default() };
    let Claims { adopt, release } = Claims::find(&job.metadata, &wanted, pods);
    JobPlan { adopt, release, ..JobPlan::default() }
}

/// One plan in the making.
struct Pass<'a> {
    job: &'a ObjectMeta,
    facts: Facts<'a>,
    now: Timestamp,
    manage: bool,
    pods: Vec<&'a Arc<Pod>>,
    /// Pods that are not finished and not told to stop; kept current with the plan's own steps.
    active: Vec<&'a Arc<Pod>>,
    terminating: usize,
    ready: usize,
    /// Pods that have ended and are in no counter yet.
    newly_succeeded: Vec<&'a Arc<Pod>>,
    newly_failed: Vec<&'a Arc<Pod>>,
    uncounted: Uncounted,
    succeeded_indexes: Indexes,
    failed_indexes: Indexes,
    before: JobStatus,
    status: JobStatus,
    plan: JobPlan,
}

impl<'a> Pass<'a> {
    fn new(view: &JobView<'a>, facts: Facts<'a>, pods: Vec<&'a Arc<Pod>>) -> Self {
        let mut before = view.job.status.clone().unwrap_or_default();
        before.uncounted_terminated_pods.get_or_insert_default();
        let mut status = before.clone();
        let mut uncounted = Uncounted::read(&before);
        let tracked: BTreeSet<&str> = pods.iter().filter(|p| is_tracked(p)).map(|p| meta::uid(&p.metadata)).collect();
        uncounted.settle(&mut status, &tracked);
        let active: Vec<_> = pods.iter().copied().filter(|pod| is_active(pod)).collect();
        let mut pass = Self {
            job: &view.job.metadata,
            now: view.now,
            manage: view.manage,
            terminating: pods.iter().filter(|pod| is_terminating(pod)).count(),
            ready: active.iter().filter(|pod| is_ready(pod)).count(),
            active,
            newly_succeeded: Vec::new(),
            newly_failed: Vec::new(),
            succeeded_indexes: Indexes::default(),
            failed_indexes: Indexes::default(),
            plan: JobPlan { backoff: observe(view.backoff, &pods, &facts), ..JobPlan::default() },
            facts,
            pods,
            uncounted,
            before,
            status,
        };
        pass.find_newly_ended();
        pass.find_ended_indexes();
        pass
    }

    fn find_newly_ended(&mut self) {
        for &pod in &self.pods {
            let new = is_tracked(pod) && !self.uncounted.contains(meta::uid(&pod.metadata));
            if !new || !self.facts.has_valid_index(pod) {
                continue;
            }
            if phase(pod) == "Succeeded" {
                self.newly_succeeded.push(pod);
            } else if self.facts.has_failed(pod) {
                self.newly_failed.push(pod);
            }
        }
    }

    fn find_ended_indexes(&mut self) {
        let Some(end) = self.facts.indexes else { return };
        self.succeeded_indexes = Indexes::parse(self.before.completed_indexes.as_deref().unwrap_or_default(), end);
        self.succeeded_indexes.extend(&indexes_of(&self.newly_succeeded));
        let Some(limit) = self.facts.backoff_limit_per_index else { return };
        self.failed_indexes = Indexes::parse(self.before.failed_indexes.as_deref().unwrap_or_default(), end);
        for pod in self.pods.iter().filter(|pod| is_tracked(pod) && self.facts.has_failed(pod)) {
            if let Some(index) = self.facts.valid_index(pod).filter(|_| self.ends_index(pod, limit)) {
                self.failed_indexes.insert(index);
            }
        }
    }

    /// Whether this failure is one too many for its index (S9-42), or ends it by rule.
    fn ends_index(&self, pod: &Pod, limit: u32) -> bool {
        match policy::judge(self.facts.failure_policy, pod) {
            Judgement::FailIndex => true,
            Judgement::Ignore => false,
            Judgement::Count | Judgement::FailJob(_) => facts::failure_count(pod, INDEX_FAILURE_COUNT) >= limit,
        }
    }

    fn decide(mut self) -> JobPlan {
        if self.status.start_time.is_none() && !self.facts.suspended {
            self.status.start_time = Some(meta::api_time(self.now));
        }
        let verdict = self.verdict();
        self.plan.wake_at = self.deadline().filter(|_| verdict.is_none());
        let verdict = match verdict {
            Some(verdict) => self.stop_all().then_some(verdict),
            None => self.carry_on(),
        };
        let retained = self.retained_failures();
        self.count(verdict.as_ref(), &retained);
        self.finish(verdict.as_ref());
        self.into_plan()
    }

    // ---- Does it end? -------------------------------------------------------------------------

    /// Why the Job ends, in the order in which reasons are looked for (S9-30, S9-33).
    fn verdict(&self) -> Option<Verdict> {
        Verdict::announced(&self.before)
            .or_else(|| self.failed_by_policy())
            .or_else(|| self.failed_by_limit())
            .or_else(|| self.failed_by_indexes())
            .or_else(|| self.succeeded_by_policy())
    }

    fn failed_by_policy(&self) -> Option<Verdict> {
        self.facts.failure_policy?;
        let failed = self.pods.iter().filter(|pod| self.facts.has_failed(pod));
        failed.map(|pod| policy::judge(self.facts.failure_policy, pod)).find_map(|judgement| match judgement {
            Judgement::FailJob(message) => Some(Verdict::failure("PodFailurePolicy", message)),
            Judgement::Count | Judgement::Ignore | Judgement::FailIndex => None,
        })
    }

    fn failed_by_limit(&self) -> Option<Verdict> {
        if self.failed() > i64::from(self.facts.backoff_limit) || self.too_many_restarts() {
            return Some(Verdict::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
        }
        self.deadline()
            .filter(|deadline| *deadline <= self.now)
            .map(|_| Verdict::failure("DeadlineExceeded", "Job was active longer than specified deadline"))
    }

    /// Failed pods, counted or about to be, without those that the policy ignores (S9-31).
    fn failed(&self) -> i64 {
        let new = self.newly_failed.iter().filter(|pod| self.counts(pod)).count() + self.uncounted.failed.len();
        i64::from(self.status.failed.unwrap_or(0)) + i64::try_from(new).unwrap_or(i64::MAX)
    }

    fn counts(&self, pod: &Pod) -> bool {
        policy::judge(self.facts.failure_policy, pod) != Judgement::Ignore
    }

    /// Restarts of all containers, sidecars included, under restartPolicy OnFailure (S9-22).
    fn too_many_restarts(&self) -> bool {
        let running = self.pods.iter().filter(|pod| matches!(phase(pod), "Pending" | "Running"));
        let restarts: i64 =
            running.flat_map(|pod| facts::all_containers(pod)).map(|c| i64::from(c.restart_count)).sum();
        self.facts.restarts_in_place && restarts >= i64::from(self.facts.backoff_limit).max(1)
    }

    /// When the Job has been active for too long (S9-40).
    fn deadline(&self) -> Option<Timestamp> {
        let allowed = self.facts.active_deadline_seconds.filter(|_| !self.facts.suspended)?;
        let start = self.status.start_time.as_ref()?.0;
        Some(start.saturating_add(SignedDuration::from_secs(allowed)).unwrap_or(Timestamp::MAX))
    }

    fn failed_by_indexes(&self) -> Option<Verdict> {
        let end = self.facts.indexes?;
        self.facts.backoff_limit_per_index?;
        let failed = self.failed_indexes.len();
        if self.facts.max_failed_indexes.is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(Verdict::failure("MaxFailedIndexesExceeded", message));
        }
        let all_done = failed + self.succeeded_indexes.len() >= end;
        (failed > 0 && all_done).then(|| Verdict::failure("FailedIndexes", "Job has failed indexes"))
    }

    fn succeeded_by_policy(&self) -> Option<Verdict> {
        let message = policy::success(self.facts.success_policy, &self.succeeded_indexes, self.facts.indexes?)?;
        Some(Verdict::new(true, "SuccessPolicy", message))
    }

    // ---- Pods ---------------------------------------------------------------------------------

    /// Deletes what is active. Returns whether nothing active will be left.
    fn stop_all(&mut self) -> bool {
        if self.manage {
            self.delete(self.active.clone(), false);
        }
        self.active.is_empty()
    }

    fn delete(&mut self, pods: Vec<&'a Arc<Pod>>, uncounted: bool) {
        let gone: BTreeSet<&str> = pods.iter().map(|pod| meta::uid(&pod.metadata)).collect();
        self.active.retain(|pod| !gone.contains(meta::uid(&pod.metadata)));
        self.terminating += pods.len();
        self.ready -= pods.iter().filter(|pod| is_ready(pod)).count();
        self.plan.delete.extend(pods.into_iter().map(|pod| Deletion { pod: Arc::clone(pod), uncounted }));
    }

    /// Brings the number of pods to what is wanted. Returns a verdict if all work is done.
    fn carry_on(&mut self) -> Option<Verdict> {
        let managed = self.manage && !meta::is_deleting(self.job);
        if managed {
            self.manage_pods();
        }
        let done = match self.facts.completions {
            None => self.succeeded() > 0,
            Some(completions) => self.succeeded() >= i64::from(completions),
        };
        if done && self.active.is_empty() && self.plan.create.is_empty() {
            return Some(Verdict::new(true, "CompletionsReached", "Reached expected number of succeeded pods"));
        }
        if managed {
            self.tell_suspension();
        }
        None
    }

    fn succeeded(&self) -> i64 {
        if self.facts.indexes.is_some() {
            return i64::from(self.succeeded_indexes.len());
        }
        let new = self.newly_succeeded.len() + self.uncounted.succeeded.len();
        i64::from(self.status.succeeded.unwrap_or(0)) + i64::try_from(new).unwrap_or(i64::MAX)
    }

    fn manage_pods(&mut self) {
        if self.facts.suspended {
            let pods = self.active.clone();
            return self.delete(pods.into_iter().take(PODS_PER_PLAN).collect(), true);
        }
        let wanted = self.wanted_active();
        let surplus = self.surplus(self.active.len().saturating_sub(wanted));
        if !surplus.is_empty() {
            return self.delete(surplus.into_iter().take(PODS_PER_PLAN).collect(), true);
        }
        let in_the_way = if self.facts.only_replace_failed { self.terminating } else { 0 };
        let missing = wanted.saturating_sub(in_the_way + self.active.len());
        if missing > 0 {
            self.create(missing.min(PODS_PER_PLAN));
        }
    }

    /// How many active pods the Job should have (S9-13).
    fn wanted_active(&self) -> usize {
        let wanted = match self.facts.completions {
            None if self.succeeded() > 0 => return self.active.len(),
            None => i64::from(self.facts.parallelism),
            Some(completions) => i64::from(self.facts.parallelism).min(i64::from(completions) - self.succeeded()),
        };
        usize::try_from(wanted).unwrap_or(0)
    }

    /// At least `count` active pods that the Job can do without best (S9-14).
    fn surplus(&self, count: usize) -> Vec<&'a Arc<Pod>> {
        let mut left = self.active.clone();
        left.sort_by_cached_key(|pod| facts::removal_rank(pod));
        let mut surplus = Vec::new();
        if self.facts.indexes.is_some() {
            (surplus, left) = self.split_misplaced(left);
        }
        let more = count.saturating_sub(surplus.len());
        surplus.extend(left.into_iter().take(more));
        surplus
    }

    /// Parts pods without a valid index of their own from the rest. Of two with one index, the one
    /// that ranks first for removal goes.
    fn split_misplaced(&self, ranked: Vec<&'a Arc<Pod>>) -> (Vec<&'a Arc<Pod>>, Vec<&'a Arc<Pod>>) {
        let mut keeper: BTreeMap<u32, &str> = BTreeMap::new();
        for pod in &ranked {
            if let Some(index) = self.facts.valid_index(pod) {
                keeper.insert(index, meta::uid(&pod.metadata));
            }
        }
        let misplaced = |pod: &&'a Arc<Pod>| {
            let keeper = self.facts.valid_index(pod).and_then(|index| keeper.get(&index));
            keeper.is_none_or(|keeper| *keeper != meta::uid(&pod.metadata))
        };
        ranked.into_iter().partition(misplaced)
    }

    fn create(&mut self, count: usize) {
        let per_index = self.facts.backoff_limit_per_index.is_some();
        let held = self.plan.backoff.until().filter(|until| !per_index && *until > self.now);
        if held.is_some() {
            return self.wake_at(held);
        }
        if self.facts.indexes.is_none() {
            self.plan.create = vec![NewPod::default(); count];
        } else if per_index {
            self.create_delayed_indexes(count);
        } else {
            let indexes = self.pending_indexes(count);
            self.plan.create = indexes.into_iter().map(|i| NewPod { index: Some(i), failures: None }).collect();
        }
    }

    /// The lowest indexes that have no pod and need one (S9-15).
    fn pending_indexes(&self, count: usize) -> Vec<u32> {
        let Some(end) = self.facts.indexes else { return Vec::new() };
        let mut taken = self.succeeded_indexes.clone();
        taken.extend(&self.failed_indexes);
        taken.extend(&indexes_of(&self.active));
        if self.facts.only_replace_failed {
            taken.extend(&self.pods.iter().filter(|p| is_terminating(p)).filter_map(|p| facts::index(p)).collect());
        }
        taken.missing(end).take(count).collect()
    }

    /// Indexes whose own back-off is over (S9-16).
    fn create_delayed_indexes(&mut self, count: usize) {
        let retained = self.retained_failures();
        let mut earliest: Option<Timestamp> = None;
        for index in self.pending_indexes(count) {
            let replaced = retained.get(&index).copied();
            let until = replaced.and_then(|pod| index_until(pod, absolute_failures(pod) + 1));
            match until.filter(|until| *until > self.now) {
                Some(until) => earliest = Some(earliest.map_or(until, |at| at.min(until))),
                None => {
                    let failures = Some(self.failures_after(replaced));
                    self.plan.create.push(NewPod { index: Some(index), failures });
                }
            }
        }
        self.wake_at(earliest);
    }

    fn failures_after(&self, replaced: Option<&'a Arc<Pod>>) -> IndexFailures {
        let Some(pod) = replaced else { return IndexFailures::default() };
        let mut failures = IndexFailures {
            counted: facts::failure_count(pod, INDEX_FAILURE_COUNT),
            ignored: facts::failure_count(pod, INDEX_IGNORED_FAILURE_COUNT),
        };
        let which = if self.counts(pod) { &mut failures.counted } else { &mut failures.ignored };
        *which = which.saturating_add(1);
        failures
    }

    fn wake_at(&mut self, time: Option<Timestamp>) {
        self.plan.wake_at = [self.plan.wake_at, time].into_iter().flatten().min();
    }

    /// The last failed pod of each index that has no active pod and is not done. Its annotations
    /// hold the count of failures, so it is kept until its replacement exists
    /// (job_controller.go: podsWithDelayedDeletionPerIndex).
    fn retained_failures(&self) -> BTreeMap<u32, &'a Arc<Pod>> {
        let mut retained: BTreeMap<u32, &Arc<Pod>> = BTreeMap::new();
        if self.facts.backoff_limit_per_index.is_none() {
            return retained;
        }
        let active = indexes_of(&self.active);
        let open = |index: &u32| {
            let ended = self.succeeded_indexes.contains(*index) || self.failed_indexes.contains(*index);
            !ended && !active.contains(*index)
        };
        let order = |pod: &Arc<Pod>| (absolute_failures(pod), finished_at(pod));
        for &pod in self.pods.iter().filter(|pod| is_tracked(pod) && self.facts.has_failed(pod)) {
            let Some(index) = self.facts.valid_index(pod).filter(open) else { continue };
            let last = retained.entry(index).or_insert(pod);
            if order(last) <= order(pod) {
                *last = pod;
            }
        }
        retained
    }

    fn tell_suspension(&mut self) {
        let (reason, message, event) = if self.facts.suspended {
            ("JobSuspended", "Job suspended", "Suspended")
        } else {
            ("JobResumed", "Job resumed", "Resumed")
        };
        let suspended = self.facts.suspended;
        if set_condition(&mut self.status, self.now, "Suspended", suspended, reason, message) {
            self.plan.notes.push(Note::normal(event, message));
            self.status.start_time = (!suspended).then(|| meta::api_time(self.now));
        }
    }

    // ---- Status -------------------------------------------------------------------------------

    /// Books every ended pod, to be counted when its finalizer is gone (S9-18).
    fn count(&mut self, verdict: Option<&Verdict>, retained: &BTreeMap<u32, &'a Arc<Pod>>) {
        let mut counted_indexes = self
            .facts
            .indexes
            .map(|end| Indexes::parse(self.before.completed_indexes.as_deref().unwrap_or_default(), end));
        let ends_all = verdict.is_some() || meta::is_deleting(self.job);
        let fails_all = verdict.is_some_and(|verdict| !verdict.success);
        let mut new_indexes = 0;
        for pod in self.pods.clone().into_iter().filter(|pod| is_tracked(pod)) {
            let failed = self.facts.has_failed(pod) && phase(pod) != "Succeeded";
            let ended = phase(pod) == "Succeeded" || (failed && !is_retained(pod, &self.facts, retained));
            if !ended && !ends_all {
                continue;
            }
            let uid = meta::uid(&pod.metadata);
            if phase(pod) == "Succeeded" && !self.uncounted.failed.iter().any(|u| u == uid) {
                new_indexes += self.book_success(pod, uid, counted_indexes.as_mut());
            } else if failed || fails_all {
                self.book_failure(pod, uid);
            }
            self.plan.untrack.push(Arc::clone(pod));
            if new_indexes + self.uncounted.len() >= MOST_UNCOUNTED {
                break;
            }
        }
        self.write_indexes(counted_indexes);
    }

    /// Returns how many indexes this adds.
    fn book_success(&mut self, pod: &Pod, uid: &str, indexes: Option<&mut Indexes>) -> usize {
        let Some(indexes) = indexes else {
            if !self.uncounted.contains(uid) {
                self.uncounted.succeeded.push(uid.to_owned());
            }
            return 0;
        };
        let Some(index) = self.facts.valid_index(pod).filter(|index| !indexes.contains(*index)) else { return 0 };
        indexes.insert(index);
        1
    }

    fn book_failure(&mut self, pod: &Pod, uid: &str) {
        let new = !self.uncounted.contains(uid) && self.facts.has_valid_index(pod);
        if new && self.counts(pod) {
            self.uncounted.failed.push(uid.to_owned());
        }
    }

    fn write_indexes(&mut self, counted: Option<Indexes>) {
        let Some(counted) = counted else { return };
        self.status.succeeded = non_zero(i32::try_from(counted.len()).unwrap_or(i32::MAX));
        self.status.completed_indexes = Some(counted.to_string()).filter(|text| !text.is_empty());
        if self.facts.backoff_limit_per_index.is_some() {
            self.status.failed_indexes = Some(self.failed_indexes.to_string());
        }
    }

    /// Announces the verdict, or executes the announced one when every pod is booked and has
    /// stopped (S9-34, S9-35).
    fn finish(&mut self, verdict: Option<&Verdict>) {
        let Some(verdict) = verdict else { return };
        let (now, reason, message) = (self.now, &verdict.reason, &verdict.message);
        if !verdict.announced {
            set_condition(&mut self.status, now, verdict.interim(), true, reason, message);
            return;
        }
        let left = self.uncounted.len() + self.plan.untrack.len() + self.plan.delete.len() + self.terminating;
        if left > 0 {
            return;
        }
        set_condition(&mut self.status, now, verdict.terminal(), true, reason, message);
        if verdict.success {
            self.status.completion_time = Some(meta::api_time(now));
            self.tell_surplus();
            self.plan.notes.push(Note::normal("Completed", "Job completed"));
        } else {
            self.plan.notes.push(Note::warning(reason.clone(), message));
        }
    }

    fn tell_surplus(&mut self) {
        let succeeded = self.status.succeeded.unwrap_or(0);
        if self.facts.completions.is_some_and(|completions| succeeded > completions) {
            self.plan.notes.push(Note::warning(
                "TooManySucceededPods",
                "Too many succeeded pods running after completion count reached",
            ));
        }
    }

    fn into_plan(mut self) -> JobPlan {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        self.status.active = non_zero(number(self.active.len() + self.plan.create.len()));
        self.status.ready = Some(number(self.ready));
        self.status.terminating = Some(number(self.terminating));
        self.uncounted.write(&mut self.status);
        self.plan.status = Some(self.status).filter(|status| *status != self.before);
        self.plan
    }
}

fn is_retained(pod: &Pod, facts: &Facts<'_>, retained: &BTreeMap<u32, &Arc<Pod>>) -> bool {
    let kept = facts.valid_index(pod).and_then(|index| retained.get(&index));
    kept.is_some_and(|kept| meta::uid(&kept.metadata) == meta::uid(&pod.metadata))
}

fn indexes_of(pods: &[&Arc<Pod>]) -> Indexes {
    pods.iter().filter_map(|pod| facts::index(pod)).collect()
}

/// Earlier failures of the pod's index, ignored ones included.
fn absolute_failures(pod: &Pod) -> u32 {
    let count = |name| facts::failure_count(pod, name);
    count(INDEX_FAILURE_COUNT).saturating_add(count(INDEX_IGNORED_FAILURE_COUNT))
}

/// Takes the ended pods into the record. A pod that is told to stop and is not to be counted says
/// nothing about failures: the Job itself has deleted it.
fn observe(record: &Backoff, pods: &[&Arc<Pod>], facts: &Facts<'_>) -> Backoff {
    let mut record = record.clone();
    for pod in pods.iter().filter(|pod| is_tracked(pod) || !meta::is_deleting(&pod.metadata)) {
        let succeeded = phase(pod) == "Succeeded";
        if succeeded || facts.has_failed(pod) {
            record.observe(pod, succeeded);
        }
    }
    record
}
