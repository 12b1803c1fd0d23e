//! The Job controller under random events: late views, crashes and refused calls in the middle of plans, edits, pods
//! that end in any way, deletions by others, lost nodes.

use k8s_openapi::api::batch::v1::{JobCondition, JobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::super::backoff::finished_at;
use super::super::facts;
use super::sim::{ALL, Fate, Sim};
use super::*;
use crate::meta;
use crate::property::runner;

/// Exit codes and what the failure policy, if there is one, makes of them.
const IGNORED: i32 = 3;
const FAILS_INDEX: i32 = 4;
const FAILS_JOB: i32 = 5;
const COUNTED: i32 = 6;

#[derive(Debug, Clone)]
enum Event {
    /// One plan is made. After so many calls the controller dies and starts again.
    Pass(usize, usize),
    /// One plan is made, and one of its calls is refused.
    Refused(usize, usize),
    Restart,
    /// The controller hears of a pod.
    See(usize),
    /// The controller hears of the last edit of the Job.
    SeeJob,
    Run(usize),
    /// A container runs again.
    Again(usize),
    Succeed(usize),
    Fail(usize, i32),
    /// Somebody deletes a pod.
    Delete(usize),
    /// A node is gone; its pod is marked as failed and deleted.
    LoseNode(usize),
    Time(i64),
    Parallelism(i32),
    /// An Indexed Job gets as many completions as parallel pods.
    Scale(i32),
    Suspend(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let pod = || 0usize..64;
    let code = prop::sample::select(vec![1, 1, 1, 1, IGNORED, IGNORED, FAILS_INDEX, FAILS_JOB, COUNTED]);
    prop_oneof![
        8 => (Just(ALL), pod()).prop_map(|(calls, first)| Event::Pass(calls, first)),
        4 => (0usize..8, pod()).prop_map(|(calls, first)| Event::Pass(calls, first)),
        3 => (0usize..8, pod()).prop_map(|(call, first)| Event::Refused(call, first)),
        1 => Just(Event::Restart),
        8 => pod().prop_map(Event::See),
        1 => Just(Event::SeeJob),
        4 => pod().prop_map(Event::Run),
        1 => pod().prop_map(Event::Again),
        4 => pod().prop_map(Event::Succeed),
        3 => (pod(), code).prop_map(|(pod, code)| Event::Fail(pod, code)),
        1 => pod().prop_map(Event::Delete),
        1 => pod().prop_map(Event::LoseNode),
        3 => (0i64..40).prop_map(Event::Time),
        1 => (0i32..5).prop_map(Event::Parallelism),
        1 => (0i32..7).prop_map(Event::Scale),
        1 => any::<bool>().prop_map(Event::Suspend),
    ]
}

fn spec() -> impl Strategy<Value = Value> {
    let per_index = (prop::option::of(0i32..3), prop::option::of(0i32..3));
    let policies = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (1i32..5, 1i32..7, 0i32..4, prop::option::weighted(0.2, 5i64..200));
    (any::<bool>(), per_index, policies, numbers).prop_map(
        |(indexed, (per_index, most), (late, judged, queue, again), (parallelism, completions, limit, deadline))| {
            let mut spec = json!({
                "completionMode": if indexed { "Indexed" } else { "NonIndexed" },
                "podReplacementPolicy": if late || judged { "Failed" } else { "TerminatingOrFailed" },
                "parallelism": parallelism, "completions": completions, "backoffLimit": limit,
                "activeDeadlineSeconds": deadline,
            });
            let per_index = per_index.filter(|_| indexed);
            if per_index.is_some() {
                spec["backoffLimitPerIndex"] = json!(per_index);
                spec["maxFailedIndexes"] = json!(most);
                spec["backoffLimit"] = json!(i32::MAX);
            }
            if judged {
                spec["podFailurePolicy"] = json!({"rules": failure_rules(per_index.is_some())});
            } else if again {
                spec["template"] = json!({
                    "metadata": {"labels": {"job": "job"}},
                    "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "app"}]},
                });
            }
            if indexed && queue {
                spec["successPolicy"] = json!({"rules": [{"succeededIndexes": "0-2", "succeededCount": 2}]});
            } else if queue {
                spec["completions"] = Value::Null;
            }
            spec
        },
    )
}

fn failure_rules(per_index: bool) -> Vec<Value> {
    let exit = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let lost = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    let mut rules = vec![lost, exit("Ignore", IGNORED), exit("FailJob", FAILS_JOB), exit("Count", COUNTED)];
    rules.extend(per_index.then(|| exit("FailIndex", FAILS_INDEX)));
    rules
}

fn pick(uids: &[String], n: usize) -> Option<String> {
    uids.get(n % uids.len().max(1)).cloned()
}

fn apply(sim: &mut Sim, event: &Event) {
    let all: Vec<String> = sim.pods.keys().chain(sim.seen.keys()).cloned().collect();
    let unfinished = sim.unfinished();
    let update = |sim: &mut Sim, n: usize, update: &dyn Fn(&mut Pod)| {
        pick(&unfinished, n).into_iter().for_each(|uid| update(sim.pods.get_mut(&uid).unwrap()));
    };
    match event {
        Event::Pass(calls, first) => {
            sim.pass(Fate { calls: *calls, refused: None, first: *first });
            if *calls != ALL {
                sim.restart();
            }
        }
        Event::Refused(call, first) => sim.pass(Fate { calls: ALL, refused: Some(*call), first: *first }),
        Event::Restart => sim.restart(),
        Event::See(n) => pick(&all, *n).into_iter().for_each(|uid| sim.see(&uid)),
        Event::SeeJob => sim.known = None,
        Event::Run(n) => update(sim, *n, &|pod| {
            let status = json!({
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0}],
            });
            pod.status = Some(serde_json::from_value(status).unwrap());
        }),
        Event::Again(n) => {
            sim.restarts += 1;
            update(sim, *n, &|pod| {
                let mut all = pod.status.iter_mut().flat_map(|status| status.container_statuses.iter_mut().flatten());
                all.by_ref().for_each(|container| container.restart_count += 1);
            });
        }
        Event::Succeed(n) => pick(&unfinished, *n).into_iter().for_each(|uid| sim.end(&uid, "Succeeded", 0)),
        Event::Fail(n, code) => pick(&unfinished, *n).into_iter().for_each(|uid| sim.end(&uid, "Failed", *code)),
        Event::Delete(n) => {
            pick(&unfinished, *n).into_iter().for_each(|uid| unnoticed(sim, &uid, |sim| sim.delete(&uid)));
        }
        Event::LoseNode(n) => pick(&unfinished, *n).into_iter().for_each(|uid| lose_node(sim, &uid)),
        Event::Time(seconds) => sim.now += seconds,
        Event::Parallelism(n) => sim.edit(|spec| spec.parallelism = Some(*n)),
        Event::Scale(n) => scale(sim, *n),
        Event::Suspend(on) => sim.edit(|spec| spec.suspend = Some(*on)),
    }
}

/// Does something of which nobody tells the controller.
fn unnoticed(sim: &mut Sim, uid: &str, act: impl FnOnce(&mut Sim)) {
    let (seen, failed) = (sim.seen.get(uid).cloned(), sim.seen_failed.clone());
    act(sim);
    sim.seen_failed = failed;
    match seen {
        Some(pod) => drop(sim.seen.insert(uid.to_owned(), pod)),
        None => drop(sim.seen.remove(uid)),
    }
}

fn lose_node(sim: &mut Sim, uid: &str) {
    let lost = json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]});
    let now = Time(at(sim.now));
    let pod = sim.pods.get_mut(uid).unwrap();
    pod.status = Some(serde_json::from_value(lost).unwrap());
    pod.metadata.deletion_timestamp = Some(now);
    pod.metadata.deletion_grace_period_seconds = Some(0);
    sim.deleted.insert(uid.to_owned());
    sim.collect(uid);
}

fn scale(sim: &mut Sim, n: i32) {
    let spec = sim.job.spec.as_ref().unwrap();
    // A success policy may not name indexes that are not there.
    if spec.completion_mode.as_deref() == Some("Indexed") && spec.success_policy.is_none() {
        sim.scaled = true;
        sim.edit(|spec| (spec.completions, spec.parallelism) = (Some(n), Some(n)));
    }
}

// ---- What must hold ---------------------------------------------------------------------------

fn number(value: Option<i32>) -> usize {
    usize::try_from(value.unwrap_or(0)).unwrap()
}

impl Sim {
    /// Whether the pod has failed as far as the Job is concerned.
    pub(super) fn has_failed(&self, pod: &Pod) -> bool {
        let stopping = meta::is_deleting(&pod.metadata) && facts::phase(pod) != "Succeeded";
        facts::phase(pod) == "Failed" || (stopping && !self.replaces_late())
    }

    fn replaces_late(&self) -> bool {
        self.job.spec.as_ref().unwrap().pod_replacement_policy.as_deref() == Some("Failed")
    }

    /// Whether a failure of the pod counts.
    pub(super) fn counts(&self, pod: &Pod) -> bool {
        let judged = self.job.spec.as_ref().unwrap().pod_failure_policy.is_some();
        let lost = facts::condition(pod, "DisruptionTarget").is_some();
        !judged || (exit_code(pod) != Some(IGNORED) && !lost)
    }

    /// Nobody has wanted the pod to be gone.
    fn undisturbed(&self, uid: &str) -> bool {
        !self.deleted.contains(uid) && !self.discarded.contains(uid)
    }

    fn number_of(&self, fulfilled: impl Fn(&str, &Pod) -> bool) -> usize {
        self.all().filter(|(uid, pod)| fulfilled(uid, pod)).count()
    }

    /// A pod has been created: was that right?
    pub(super) fn check_creation(&self, uid: &str) {
        let (spec, index) = (self.known_spec(), facts::index(&self.pods[uid]));
        let parallelism = number(spec.parallelism);
        assert!(self.active().len() <= parallelism, "too many active: {}", show(self));
        if self.replaces_late() {
            assert!(self.unfinished().len() <= parallelism, "replaced too early: {}", show(self));
        }
        let succeeded = |uid: &str, pod: &Pod| facts::phase(pod) == "Succeeded" && self.undisturbed(uid);
        match (index, spec.completions) {
            (None, Some(completions)) => {
                let used = self.active().len() + self.number_of(succeeded);
                assert!(used <= number(Some(completions)), "more pods than work: {}", show(self));
            }
            (Some(index), Some(completions)) => {
                assert!(i64::from(index) < i64::from(completions), "no such index: {}", show(self));
                let same = |pod: &Pod| facts::index(pod) == Some(index);
                let active = self.pods.values().filter(|pod| same(pod) && facts::is_active(pod)).count();
                assert_eq!(active, 1, "two pods of one index: {}", show(self));
                let again = self.number_of(|uid, pod| same(pod) && succeeded(uid, pod)) > 0;
                assert!(self.scaled || !again, "an index runs again: {}", show(self));
                self.check_index(index, spec.backoff_limit_per_index);
            }
            (_, None) => {}
        }
        let failed = self.seen_failed.len();
        assert!(self.scaled || failed <= number(spec.backoff_limit), "one try too many: {}", show(self));
        self.check_delay(index.filter(|_| spec.backoff_limit_per_index.is_some()));
    }

    /// An index gets no more tries than it may have, unless the Job itself has thrown one away.
    fn check_index(&self, index: u32, limit: Option<i32>) {
        let Some(limit) = limit else { return };
        let pods = || self.all().filter(|(_, pod)| facts::index(pod) == Some(index));
        if self.scaled || pods().any(|(uid, _)| self.discarded.contains(uid)) {
            return;
        }
        let failed = pods().filter(|(uid, _)| self.seen_failed.contains(*uid)).count();
        assert!(failed <= number(Some(limit)), "one try of index {index} too many: {}", show(self));
    }

    /// Ten seconds at least lie between the failure that the controller knows of and the next try.
    fn check_delay(&self, index: Option<u32>) {
        let of_index = |pod: &&Arc<Pod>| index.is_none_or(|index| facts::index(pod) == Some(index));
        let known = self.seen.values().filter(of_index).filter(|pod| facts::is_tracked(pod));
        let failed = known.filter(|pod| facts::phase(pod) == "Failed").map(|pod| finished_at(pod)).max();
        let succeeded = self.all().filter(|(_, pod)| facts::phase(pod) == "Succeeded");
        let succeeded = succeeded.map(|(_, pod)| finished_at(pod)).max();
        if let Some(failed) = failed.filter(|failed| Some(*failed) > succeeded) {
            assert!(self.now >= failed.as_second() + 10, "the next try comes too early: {}", show(self));
        }
    }
}

fn fails_job(spec: &JobSpec, pod: &Pod) -> bool {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules).filter(|rule| rule.action == "FailJob");
    let codes: Vec<_> = rules.filter_map(|rule| rule.on_exit_codes.as_ref()).collect();
    exit_code(pod).is_some_and(|code| codes.iter().any(|c| c.values.contains(&code) == (c.operator == "In")))
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let container = facts::all_containers(pod).next()?;
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

impl Sim {
    /// A status has been written: is it true?
    pub(super) fn check_status(&self, before: &JobStatus) {
        let status = self.status();
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let count = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
        let succeeded = self.number_of(|_, pod| facts::phase(pod) == "Succeeded");
        let failed = self.number_of(|uid, pod| self.deleted.contains(uid) || facts::phase(pod) == "Failed");
        assert!(number(status.succeeded) + count(&uncounted.succeeded) <= succeeded, "{}", show(self));
        assert!(number(status.failed) + count(&uncounted.failed) <= failed, "{}", show(self));
        assert!(before.failed <= status.failed, "failures are forgotten: {}", show(self));
        assert!(self.scaled || before.succeeded <= status.succeeded, "successes are forgotten: {}", show(self));
        self.check_conditions(before, &status);
    }

    /// Conditions come in two steps, for good, and for a reason.
    fn check_conditions(&self, before: &JobStatus, status: &JobStatus) {
        for name in ["SuccessCriteriaMet", "FailureTarget", "Complete", "Failed"] {
            let old = condition(before, name);
            assert!(old.is_none() || old == condition(status, name), "{name} was taken back: {}", show(self));
        }
        for (first, then) in [("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")] {
            if let Some(end) = condition(status, then) {
                let announced = condition(before, first).map(|c| (&c.reason, &c.message));
                assert_eq!(announced, Some((&end.reason, &end.message)), "{then} was not announced: {}", show(self));
                assert_eq!(self.unfinished(), Vec::<String>::new(), "{then} comes too early: {}", show(self));
            }
        }
        let over = condition(before, "Complete").or_else(|| condition(before, "Failed"));
        assert!(over.is_none() || before == status, "a finished Job does not change: {}", show(self));
        if let Some(verdict) = condition(status, "SuccessCriteriaMet")
            && condition(before, "SuccessCriteriaMet").is_none()
            && verdict.reason.as_deref() == Some("CompletionsReached")
        {
            let booked = status.uncounted_terminated_pods.as_ref().and_then(|all| all.succeeded.as_ref());
            let (done, spec) = (number(status.succeeded) + booked.map_or(0, Vec::len), self.known_spec());
            let wanted = number(spec.completions.or(Some(1)));
            assert!(done >= wanted, "complete with {done} of {wanted}: {}", show(self));
        }
        if let Some(verdict) = condition(status, "FailureTarget") {
            assert_eq!(condition(status, "SuccessCriteriaMet"), None, "{}", show(self));
            if condition(before, "FailureTarget").is_none() {
                check_failure(self, status, verdict.reason.as_deref().unwrap_or_default());
            }
        }
    }
}

fn condition<'a>(status: &'a JobStatus, name: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == name && c.status == "True")
}

/// The Job does not fail without reason.
fn check_failure(sim: &Sim, status: &JobStatus, reason: &str) {
    let spec = sim.known_spec();
    let failed = |uid: &str, pod: &Pod| {
        (facts::phase(pod) == "Failed" && sim.counts(pod))
            || (sim.deleted.contains(uid) && !sim.discarded.contains(uid))
    };
    let indexes = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), u32::MAX);
    let (broken, done) = (indexes(&status.failed_indexes), indexes(&status.completed_indexes));
    let right = match reason {
        "BackoffLimitExceeded" => {
            let restarts_count = spec.template.spec.as_ref().unwrap().restart_policy.as_deref() == Some("OnFailure");
            let most = number(spec.backoff_limit);
            (restarts_count && sim.restarts >= most.max(1)) || sim.number_of(failed) > most
        }
        "DeadlineExceeded" => {
            let start = status.start_time.as_ref().unwrap().0.as_second();
            sim.now >= start + spec.active_deadline_seconds.unwrap()
        }
        "PodFailurePolicy" => sim.number_of(|_, pod| fails_job(&spec, pod)) > 0,
        "MaxFailedIndexesExceeded" => broken.len() as usize > number(spec.max_failed_indexes),
        "FailedIndexes" => !broken.is_empty() && (broken.len() + done.len()) as usize >= number(spec.completions),
        _ => false,
    };
    assert!(right, "failed for no reason: {}", show(sim));
    let limit = number(spec.backoff_limit_per_index);
    for index in (0..64).filter(|index| broken.contains(*index)) {
        let of_index = |pod: &Pod| facts::index(pod) == Some(index);
        let at_once = sim.number_of(|_, pod| of_index(pod) && exit_code(pod) == Some(FAILS_INDEX)) > 0;
        let tries = sim.number_of(|uid, pod| of_index(pod) && failed(uid, pod));
        let judged = spec.pod_failure_policy.is_some();
        assert!((judged && at_once) || tries > limit, "index {index} failed for no reason: {}", show(sim));
    }
}

/// From here on pods just run and end, and the controller hears of everything.
fn run_to_the_end(sim: &mut Sim, fail_every: usize) {
    let spec = sim.job.spec.as_mut().unwrap();
    spec.suspend = Some(false);
    spec.parallelism = Some(spec.parallelism.unwrap().max(1));
    for round in 0..200 {
        let plan = sim.settle();
        assert!(sim.plan().is_settled(), "a settled plan stays settled");
        if finished(&sim.job).is_some() {
            return;
        }
        let unfinished = sim.unfinished();
        assert!(!unfinished.is_empty() || plan.wake_at.is_some(), "nothing to wait for: {}", show(sim));
        match unfinished.first() {
            Some(uid) if round % fail_every == 0 => sim.end(uid, "Failed", 1),
            Some(uid) => sim.end(uid, "Succeeded", 0),
            None => sim.now = plan.wake_at.unwrap().as_second(),
        }
    }
    panic!("never ends: {}", show(sim));
}

/// The counts of a finished Job are what has happened.
fn check_end(sim: &Sim) {
    let (status, spec) = (sim.status(), sim.job.spec.as_ref().unwrap());
    let complete = facts::job_condition(&sim.job, "Complete");
    assert_eq!((status.active, status.terminating, status.ready), (None, Some(0), Some(0)));
    assert_eq!(status.uncounted_terminated_pods, Some(<_>::default()));
    assert_eq!(status.completion_time.is_some(), complete.is_some());
    assert!(sim.pods.values().all(|pod| !facts::is_tracked(pod)), "no pod is held for ever");
    let succeeded = |pod: &Pod| facts::phase(pod) == "Succeeded";
    let (fewest, most) = (
        sim.number_of(|uid, pod| facts::phase(pod) == "Failed" && sim.undisturbed(uid) && sim.counts(pod)),
        sim.number_of(|uid, pod| !(sim.discarded.contains(uid) || succeeded(pod) && sim.undisturbed(uid))),
    );
    let failed = number(status.failed);
    assert!((fewest..=most).contains(&failed) || sim.scaled, "{fewest} to {most} have failed: {}", show(sim));
    let (fewest, most) = (
        sim.number_of(|uid, pod| succeeded(pod) && sim.undisturbed(uid)),
        sim.number_of(|uid, pod| succeeded(pod) && !sim.discarded.contains(uid)),
    );
    let counted = number(status.succeeded);
    if spec.completion_mode.as_deref() == Some("Indexed") {
        check_indexes(sim, &status);
    } else {
        assert!((fewest..=most).contains(&counted), "{fewest} to {most} have succeeded: {}", show(sim));
        if complete.is_none() && spec.pod_failure_policy.is_none() {
            let all = sim.number_of(|uid, _| !sim.discarded.contains(uid));
            assert_eq!(counted + failed, all, "every pod counts once: {}", show(sim));
        }
    }
}

fn check_indexes(sim: &Sim, status: &JobStatus) {
    let indexes = |fulfilled: &dyn Fn(&str) -> bool| -> Indexes {
        let pods = sim.all().filter(|(uid, pod)| facts::phase(pod) == "Succeeded" && fulfilled(uid));
        pods.filter_map(|(_, pod)| facts::index(pod)).collect()
    };
    let counted = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), u32::MAX);
    assert_eq!(counted.len() as usize, number(status.succeeded), "{}", show(sim));
    assert!(indexes(&|_| true).contains_all(&counted), "an index never succeeded: {}", show(sim));
    let certain = indexes(&|uid| sim.undisturbed(uid));
    assert!(sim.scaled || counted.contains_all(&certain), "an index is forgotten: {}", show(sim));
}

#[test]
fn s9_18_nothing_is_counted_twice_limits_hold_and_every_job_ends() {
    let case = (spec(), prop::collection::vec(event(), 0..120), 2usize..6);
    let outcome = runner(1000).run(&case, |(spec, events, fail_every)| {
        let mut sim = Sim::new(job(spec));
        for event in &events {
            apply(&mut sim, event);
        }
        run_to_the_end(&mut sim, fail_every);
        sim.restart();
        sim.settle();
        check_end(&sim);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// The state in a few lines.
fn show(sim: &Sim) -> String {
    let line = |uid: &String, pod: &Pod| {
        let (tracked, deleting) = (facts::is_tracked(pod), pod.metadata.deletion_timestamp.is_some());
        let (phase, index, discarded) = (facts::phase(pod), facts::index(pod), sim.discarded.contains(uid));
        format!("{uid} {phase} index {index:?} tracked {tracked} deleting {deleting} discarded {discarded}\n")
    };
    let stored: String = sim.pods.iter().map(|(uid, pod)| line(uid, pod)).collect();
    let seen: String = sim.seen.iter().map(|(uid, pod)| line(uid, pod)).collect();
    let gone: String = sim.gone.iter().map(|(uid, pod)| line(uid, pod)).collect();
    format!("status: {:?}\nstored:\n{stored}seen:\n{seen}gone:\n{gone}now: {}", sim.status(), sim.now)
}
