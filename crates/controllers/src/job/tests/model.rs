//! The Job controller under random events: late views, crashes in the middle of plans, pods that
//! end in any way, deletions by others.

use proptest::prelude::*;

use super::super::facts;
use super::sim::{ALL, Sim};
use super::*;

#[derive(Debug, Clone)]
enum Event {
    /// One plan is made; so many of its steps are done.
    Pass(usize),
    /// The controller dies and starts again.
    Restart,
    /// The controller hears of a pod.
    See(usize),
    Run(usize),
    Succeed(usize),
    Fail(usize),
    /// Somebody deletes a pod.
    Delete(usize),
    Time(i64),
    Parallelism(i32),
    Suspend(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Pass(ALL)),
        4 => (0usize..6).prop_map(Event::Pass),
        1 => Just(Event::Restart),
        8 => (0usize..64).prop_map(Event::See),
        4 => (0usize..64).prop_map(Event::Run),
        4 => (0usize..64).prop_map(Event::Succeed),
        3 => (0usize..64).prop_map(Event::Fail),
        1 => (0usize..64).prop_map(Event::Delete),
        3 => (0i64..40).prop_map(Event::Time),
        1 => (0i32..5).prop_map(Event::Parallelism),
        1 => any::<bool>().prop_map(Event::Suspend),
    ]
}

fn spec() -> impl Strategy<Value = Value> {
    let mode = prop::sample::select(vec!["NonIndexed", "Indexed"]);
    let policy = prop::sample::select(vec!["TerminatingOrFailed", "Failed"]);
    let per_index = prop::option::of(0i32..3);
    (mode, policy, per_index, 1i32..5, 1i32..7, 0i32..4, any::<bool>()).prop_map(
        |(mode, policy, per_index, parallelism, completions, limit, queue)| {
            let mut spec = json!({
                "completionMode": mode, "podReplacementPolicy": policy,
                "parallelism": parallelism, "completions": completions, "backoffLimit": limit,
            });
            if mode == "Indexed" && per_index.is_some() {
                spec["backoffLimitPerIndex"] = json!(per_index);
                spec["backoffLimit"] = json!(i32::MAX);
            }
            if mode == "NonIndexed" && queue {
                spec["completions"] = Value::Null;
            }
            spec
        },
    )
}

fn pick(uids: &[String], n: usize) -> Option<String> {
    uids.get(n % uids.len().max(1)).cloned()
}

fn apply(sim: &mut Sim, event: &Event) {
    let all: Vec<String> = sim.pods.keys().chain(sim.seen.keys()).cloned().collect();
    let unfinished = sim.unfinished();
    match event {
        Event::Pass(steps) => {
            sim.step(*steps);
            if *steps != ALL {
                sim.restart();
            }
        }
        Event::Restart => sim.restart(),
        Event::See(n) => pick(&all, *n).into_iter().for_each(|uid| sim.see(&uid)),
        Event::Run(n) => {
            if let Some(uid) = pick(&unfinished, *n) {
                let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
                sim.pods.get_mut(&uid).unwrap().status = Some(serde_json::from_value(status).unwrap());
            }
        }
        Event::Succeed(n) => pick(&unfinished, *n).into_iter().for_each(|uid| sim.end(&uid, "Succeeded", 0)),
        Event::Fail(n) => pick(&unfinished, *n).into_iter().for_each(|uid| sim.end(&uid, "Failed", 1)),
        Event::Delete(n) => {
            if let Some(uid) = pick(&unfinished, *n) {
                let seen = sim.seen.get(&uid).cloned();
                sim.delete(&uid);
                // Nobody has told the controller.
                seen.into_iter().for_each(|pod| drop(sim.seen.insert(uid.clone(), pod)));
            }
        }
        Event::Time(seconds) => sim.now += seconds,
        Event::Parallelism(n) => sim.job.spec.as_mut().unwrap().parallelism = Some(*n),
        Event::Suspend(on) => sim.job.spec.as_mut().unwrap().suspend = Some(*on),
    }
}

/// What must hold at any time.
fn check(sim: &Sim, end: &mut Option<JobStatus>, most_active: i32) {
    let status = sim.status();
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let count = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    let number = |value: Option<i32>| usize::try_from(value.unwrap_or(0)).unwrap();
    assert!(number(status.succeeded) + count(&uncounted.succeeded) <= sim.succeeded.len(), "{}", show(sim));
    assert!(number(status.failed) + count(&uncounted.failed) <= sim.failed.len(), "{}", show(sim));
    assert!(sim.active().len() <= usize::try_from(most_active).unwrap(), "too many active: {}", show(sim));
    if sim.job.spec.as_ref().unwrap().pod_replacement_policy.as_deref() == Some("Failed") {
        let most = usize::try_from(most_active).unwrap();
        assert!(sim.unfinished().len() <= most, "replaced too early: {}", show(sim));
    }
    if let Some(before) = end {
        assert_eq!(*before, status, "a finished Job does not change");
    } else if finished(&sim.job).is_some() {
        *end = Some(status);
    }
}

/// From here on pods just run and end, and the controller hears of everything.
fn run_to_the_end(sim: &mut Sim, end: &mut Option<JobStatus>, most_active: i32, fail_every: usize) {
    let spec = sim.job.spec.as_mut().unwrap();
    spec.suspend = Some(false);
    spec.parallelism = Some(most_active.max(1));
    for round in 0..200 {
        let plan = sim.settle();
        check(sim, end, most_active);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_counted_twice_limits_hold_and_every_job_ends(
        spec in spec(),
        events in prop::collection::vec(event(), 0..120),
        fail_every in 2usize..6,
    ) {
        let mut sim = Sim::new(job(spec));
        let mut end = None;
        let mut most_active = sim.job.spec.as_ref().unwrap().parallelism.unwrap();
        for event in &events {
            apply(&mut sim, event);
            most_active = most_active.max(sim.job.spec.as_ref().unwrap().parallelism.unwrap());
            check(&sim, &mut end, most_active);
        }
        run_to_the_end(&mut sim, &mut end, most_active, fail_every);
        let status = sim.status();
        prop_assert_eq!(status.active, None);
        prop_assert_eq!(status.uncounted_terminated_pods, Some(<_>::default()));
        sim.restart();
        sim.settle();
        prop_assert!(sim.pods.values().all(|pod| !facts::is_tracked(pod)), "no pod is held for ever");
        if facts::job_condition(&sim.job, "Failed").is_none() {
            let wanted = sim.job.spec.as_ref().unwrap().completions.unwrap_or(1);
            prop_assert!(sim.status().succeeded.unwrap_or(0) >= wanted);
        }
    }
}

/// The state in a few lines.
fn show(sim: &Sim) -> String {
    let line = |uid: &String, pod: &Pod| {
        let (tracked, deleting) = (facts::is_tracked(pod), pod.metadata.deletion_timestamp.is_some());
        let (phase, index) = (facts::phase(pod), facts::index(pod));
        format!("{uid} {phase} index {index:?} tracked {tracked} deleting {deleting}\n")
    };
    let stored: String = sim.pods.iter().map(|(uid, pod)| line(uid, pod)).collect();
    let seen: String = sim.seen.iter().map(|(uid, pod)| line(uid, pod)).collect();
    format!("status: {:?}\nstored:\n{stored}seen:\n{seen}now: {}", sim.status(), sim.now)
}
