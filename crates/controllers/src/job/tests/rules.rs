//! Rules of contract S9, one test each.

use std::borrow::Cow;

use super::super::policy::Judgement::{Count, FailJob};
use super::super::{facts, policy};
use super::sim::{ALL, Sim};
use super::*;
use crate::meta;

fn notes(sim: &Sim) -> Vec<Cow<'static, str>> {
    sim.notes.iter().map(|note| note.reason.clone()).collect()
}

#[test]
fn s9_07_a_job_that_another_controller_manages_is_left_alone() {
    let sim = Sim::new(job(json!({"managedBy": "example.com/other"})));
    assert_eq!(sim.plan(), JobPlan::default());
    let mut sim = Sim::new(job(json!({"managedBy": "kubernetes.io/job-controller"})));
    sim.settle();
    assert_eq!(sim.active().len(), 1);
}

#[test]
fn s9_10_a_pod_is_named_after_its_job_and_held_by_the_finalizer() {
    let made = build(&job(json!({})), &NewPod::default(), "abcde");
    assert_eq!(made.metadata.name.as_deref(), Some("job-abcde"));
    assert_eq!(made.metadata.generate_name.as_deref(), Some("job-"));
    assert_eq!(made.metadata.finalizers, Some(vec![TRACKING_FINALIZER.to_owned()]));
    let owner = &made.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller, owner.block_owner_deletion), ("job", Some(true), Some(true)));
    let mut long = job(json!({}));
    long.metadata.name = Some("j".repeat(63));
    let made = build(&long, &NewPod { index: Some(12), failures: None }, "abcde");
    let name = made.metadata.name.unwrap();
    assert_eq!((name.len(), name.ends_with("j-12-abcde")), (63, true), "{name}");
}

#[test]
fn s9_11_every_container_learns_its_index_sidecars_too() {
    let template = json!({"spec": {
        "initContainers": [{"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "app"}, {"name": "own", "env": [{"name": "JOB_COMPLETION_INDEX", "value": "x"}]}],
    }});
    let indexed = job(json!({"completionMode": "Indexed", "completions": 5, "template": template}));
    let made = build(&indexed, &NewPod { index: Some(3), failures: None }, "abcde");
    assert_eq!(made.metadata.name.as_deref(), Some("job-3-abcde"));
    assert_eq!(made.metadata.labels.unwrap()[COMPLETION_INDEX], "3");
    assert_eq!(made.metadata.annotations.unwrap()[COMPLETION_INDEX], "3");
    let spec = made.spec.unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("job-3"));
    let env = |c: &k8s_openapi::api::core::v1::Container| serde_json::to_value(&c.env).unwrap();
    let field = json!([{"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {
        "apiVersion": "v1", "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']",
    }}}]);
    assert_eq!(env(&spec.init_containers.unwrap()[0]), field);
    assert_eq!(env(&spec.containers[0]), field);
    assert_eq!(env(&spec.containers[1]), json!([{"name": "JOB_COMPLETION_INDEX", "value": "x"}]));
}

#[test]
fn s9_13_as_many_pods_are_active_as_work_is_left() {
    let active = |spec: Value, succeeded: usize| {
        let mut sim = Sim::new(job(spec));
        for n in 0..succeeded {
            sim.add(pod(&format!("s{n}"), ended("Succeeded", 0, 50)));
        }
        sim.settle();
        sim.active().len()
    };
    assert_eq!(active(json!({"parallelism": 3, "completions": 10}), 0), 3);
    assert_eq!(active(json!({"parallelism": 3, "completions": 10}), 8), 2);
    assert_eq!(active(json!({"parallelism": 3, "completions": 2}), 0), 2);
    assert_eq!(active(json!({"parallelism": 0, "completions": 2}), 0), 0);
    assert_eq!(active(json!({"parallelism": 3, "completions": null}), 0), 3);
    assert_eq!(active(json!({"parallelism": 3, "completions": null}), 1), 0);
}

#[test]
fn s9_14_of_too_many_pods_the_least_advanced_go_and_do_not_count_as_failed() {
    let mut sim = Sim::new(job(json!({"parallelism": 1, "completions": 5})));
    let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": time(20)}]);
    sim.add(pod("ready", json!({"phase": "Running", "conditions": ready})));
    sim.add(pod("running", json!({"phase": "Running"})));
    sim.add(pod("pending", json!({"phase": "Pending"})));
    let plan = sim.plan();
    let gone: Vec<_> = plan.delete.iter().map(|d| d.pod.metadata.uid.clone().unwrap()).collect();
    assert_eq!(gone, ["pending", "running"]);
    assert!(plan.create.is_empty());
    sim.settle();
    assert_eq!(sim.summary(), "active 1, ready 1, terminating 2");
    sim.end("pending", "Failed", 137);
    sim.end("running", "Failed", 137);
    sim.settle();
    assert_eq!(sim.summary(), "active 1, ready 1");
}

#[test]
fn s9_14_pods_are_ranked_by_node_phase_readiness_restarts_and_age() {
    let ready = |since: i64| json!([{"type": "Ready", "status": "True", "lastTransitionTime": time(since)}]);
    let mut least_first = [
        pod("unassigned", json!({"phase": "Running", "conditions": ready(10)})),
        pod("pending", json!({"phase": "Pending"})),
        pod("not-ready", json!({"phase": "Running"})),
        pod("ready-lately", json!({"phase": "Running", "conditions": ready(20)})),
        pod(
            "restarted",
            json!({"phase": "Running", "conditions": ready(10), "containerStatuses": [restarted("app", 2)]}),
        ),
        pod("young", json!({"phase": "Running", "conditions": ready(10)})),
        pod("old", json!({"phase": "Running", "conditions": ready(10)})),
    ];
    for pod in least_first.iter_mut().skip(1) {
        pod.spec.get_or_insert_default().node_name = Some("node1".to_owned());
    }
    least_first[5].metadata.creation_timestamp = Some(meta::api_time(at(2)));
    let wanted: Vec<String> = least_first.iter().map(|pod| meta::name(&pod.metadata).to_owned()).collect();
    least_first.rotate_left(3);
    least_first.sort_by_cached_key(facts::removal_rank);
    assert_eq!(least_first.iter().map(|pod| meta::name(&pod.metadata)).collect::<Vec<_>>(), wanted);
}

#[test]
fn s9_14_one_plan_makes_at_most_500_pods() {
    let sim = Sim::new(job(json!({"parallelism": 2000, "completions": 2000})));
    assert_eq!(sim.plan().create.len(), 500);
}

fn indexed(more: Value) -> Job {
    let mut made = job(json!({"completionMode": "Indexed", "completions": 4, "parallelism": 2}));
    let spec: Value = serde_json::to_value(made.spec.as_ref().unwrap()).unwrap();
    let mut spec = spec;
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    made.spec = Some(serde_json::from_value(spec).unwrap());
    made
}

fn of_index(mut pod: Pod, index: u32) -> Pod {
    pod.metadata.annotations.get_or_insert_default().insert(COMPLETION_INDEX.to_owned(), index.to_string());
    pod
}

fn new_indexes(plan: &JobPlan) -> Vec<u32> {
    plan.create.iter().filter_map(|new| new.index).collect()
}

#[test]
fn s9_15_the_lowest_free_indexes_are_handed_out() {
    let mut sim = Sim::new(indexed(json!({"parallelism": 3})));
    sim.add(of_index(pod("a", json!({"phase": "Running"})), 1));
    assert_eq!(new_indexes(&sim.plan()), [0, 2]);
    sim.add(of_index(pod("b", ended("Succeeded", 0, 50)), 0));
    assert_eq!(new_indexes(&sim.plan()), [2, 3]);
    let mut sim = Sim::new(indexed(json!({"parallelism": 3, "podReplacementPolicy": "Failed"})));
    sim.add(of_index(pod("stopping", json!({"phase": "Running"})), 0));
    sim.delete("stopping");
    assert_eq!(new_indexes(&sim.plan()), [1, 2], "index 0 is held until its pod has stopped");
}

#[test]
fn s9_14_of_two_pods_with_one_index_one_goes() {
    let mut sim = Sim::new(indexed(json!({})));
    sim.add(of_index(pod("a", json!({"phase": "Pending"})), 1));
    sim.add(of_index(pod("b", json!({"phase": "Running"})), 1));
    sim.add(of_index(pod("c", json!({"phase": "Running"})), 9));
    let plan = sim.plan();
    let gone: Vec<_> = plan.delete.iter().map(|d| d.pod.metadata.uid.clone().unwrap()).collect();
    assert_eq!(gone, ["a", "c"]);
}

#[test]
fn s9_16_replacements_wait_longer_after_each_failure() {
    let mut sim = Sim::new(job(json!({})));
    let mut gaps = Vec::new();
    sim.settle();
    for _ in 0..4 {
        let running = sim.active().remove(0);
        sim.end(&running, "Failed", 1);
        let failed = sim.now;
        let wake = sim.settle().wake_at.unwrap();
        assert!(sim.active().is_empty());
        sim.now = wake.as_second();
        sim.settle();
        gaps.push(sim.now - failed);
    }
    assert_eq!(gaps, [10, 20, 40, 80]);
}

#[test]
fn s9_16_the_delay_starts_when_the_sidecars_have_ended_and_survives_a_restart() {
    let mut sim = Sim::new(job(json!({})));
    sim.add(pod(
        "a",
        json!({
            "phase": "Failed",
            "containerStatuses": [container("app", 1, 90)],
            "initContainerStatuses": [container("sidecar", 0, 98)],
        }),
    ));
    assert_eq!(sim.settle().wake_at, Some(at(108)));
    sim.restart();
    assert_eq!(sim.settle().wake_at, Some(at(108)));
}

#[test]
fn s9_17_a_pod_told_to_stop_is_replaced_at_once_or_when_it_has_stopped() {
    let created = |policy: &str| {
        let mut sim = Sim::new(job(json!({"podReplacementPolicy": policy})));
        sim.settle();
        sim.delete("p001");
        sim.now += 60;
        sim.settle();
        let while_stopping = (sim.active().len(), sim.status().failed);
        sim.end("p001", "Failed", 137);
        sim.now += 60;
        sim.settle();
        (while_stopping, (sim.active().len(), sim.status().failed))
    };
    assert_eq!(created("TerminatingOrFailed"), ((1, Some(1)), (1, Some(1))));
    assert_eq!(created("Failed"), ((0, None), (1, Some(1))));
}

#[test]
fn s9_46_a_pod_of_a_lost_node_is_replaced_and_two_of_one_index_may_exist() {
    let mut sim = Sim::new(indexed(json!({"completions": 1, "parallelism": 1})));
    sim.settle();
    // Its node is unreachable, so it never says that it has stopped.
    sim.delete("p001");
    sim.now += 60;
    sim.settle();
    let indexes: Vec<_> = sim.unfinished().iter().map(|uid| facts::index(&sim.pods[uid])).collect();
    assert_eq!(indexes, [Some(0), Some(0)], "one may still run, one is to run");
    sim.end("p001", "Succeeded", 0);
    sim.end("p002", "Succeeded", 0);
    sim.settle();
    let done = "succeeded 1, failed 1, completed 0, SuccessCriteriaMet=True/CompletionsReached, \
                Complete=True/CompletionsReached";
    assert_eq!(sim.summary(), done);
}

#[test]
fn s9_18_a_pod_is_booked_then_released_then_counted() {
    let mut sim = Sim::new(job(json!({"completions": 2})));
    sim.add(pod("a", ended("Succeeded", 0, 50)));
    let plan = sim.step(2);
    let booked = plan.status.unwrap().uncounted_terminated_pods.unwrap();
    assert_eq!(booked.succeeded, Some(vec!["a".to_owned()]));
    assert_eq!(sim.status().succeeded, None, "not yet counted");
    assert_eq!(plan.untrack.len(), 1);
    sim.restart();
    sim.settle();
    assert_eq!(sim.summary(), "active 1, succeeded 1");
    assert_eq!(sim.status().uncounted_terminated_pods, Some(<_>::default()));
}

#[test]
fn s9_18_a_pod_that_vanished_after_booking_is_counted() {
    let mut sim = Sim::new(job(json!({"completions": 2})));
    sim.add(pod("a", ended("Succeeded", 0, 50)));
    sim.step(2);
    sim.gone.extend(sim.pods.remove_entry("a"));
    sim.settle();
    assert_eq!(sim.status().succeeded, Some(1));
}

#[test]
fn s9_20_matching_pods_are_adopted_and_others_released() {
    let mut sim = Sim::new(job(json!({})));
    let mut stranger = pod("stranger", json!({"phase": "Running"}));
    stranger.metadata.owner_references = None;
    let mut strayed = pod("strayed", json!({"phase": "Running"}));
    strayed.metadata.labels = None;
    sim.add(stranger);
    sim.add(strayed);
    let plan = sim.plan();
    let names = |pods: &[Arc<Pod>]| pods.iter().map(|p| p.metadata.uid.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!((names(&plan.adopt), names(&plan.release)), (vec!["stranger".to_owned()], vec!["strayed".to_owned()]));
    assert_eq!(plan.status, None, "nothing else is decided before");
}

#[test]
fn s9_16_without_all_ends_the_delay_starts_with_unreadiness_or_deletion() {
    let wake = |status: Value, deleted: bool| {
        let mut sim = Sim::new(job(json!({})));
        sim.add(pod("a", status));
        if deleted {
            sim.delete("a");
        }
        sim.settle().wake_at
    };
    let unready = json!([{"type": "Ready", "status": "False", "lastTransitionTime": time(95)}]);
    let open = json!([container("app", 1, 90), restarted("sidecar", 0)]);
    assert_eq!(
        wake(json!({"phase": "Failed", "conditions": unready, "containerStatuses": open}), false),
        Some(at(105))
    );
    assert_eq!(wake(json!({"phase": "Running"}), true), Some(at(110)), "asked for at 100, 30 seconds of grace");
}

#[test]
fn s9_18_at_most_500_pods_are_booked_at_a_time() {
    let mut sim = Sim::new(job(json!({"completions": 700, "parallelism": 0})));
    for n in 0..600 {
        sim.add(pod(&format!("s{n}"), ended("Succeeded", 0, 50)));
    }
    let plan = sim.step(ALL);
    let booked = plan.status.unwrap().uncounted_terminated_pods.unwrap().succeeded.unwrap();
    assert_eq!((booked.len(), plan.untrack.len()), (500, 500));
    sim.settle();
    assert_eq!(sim.summary(), "succeeded 600");
}

fn restarted(name: &str, restarts: i32) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": restarts})
}

#[test]
fn s9_22_restarts_of_sidecars_count_to_the_limit_of_an_on_failure_job() {
    let spec = json!({"restartPolicy": "OnFailure", "containers": [{"name": "app"}]});
    let failed = |limit: i32, sidecar: i32, app: i32| {
        let template = json!({"metadata": {"labels": {"job": "job"}}, "spec": spec});
        let mut sim = Sim::new(job(json!({"backoffLimit": limit, "template": template})));
        sim.restarts = usize::try_from(sidecar + app).unwrap();
        sim.add(pod(
            "a",
            json!({
                "phase": "Running",
                "initContainerStatuses": [restarted("sidecar", sidecar)],
                "containerStatuses": [restarted("app", app)],
            }),
        ));
        sim.settle();
        sim.summary()
    };
    assert_eq!(failed(2, 1, 0), "active 1");
    assert_eq!(failed(2, 1, 1), "terminating 1, failed 1, FailureTarget=True/BackoffLimitExceeded");
    assert_eq!(failed(0, 0, 0), "active 1");
    assert_eq!(failed(0, 1, 0), "terminating 1, failed 1, FailureTarget=True/BackoffLimitExceeded");
}

fn judged_by(rules: Value) -> Value {
    json!({"podFailurePolicy": {"rules": rules}, "podReplacementPolicy": "Failed", "backoffLimit": 0})
}

#[test]
fn s9_23_exit_codes_are_looked_for_in_mains_first_then_in_sidecars() {
    let rules = json!([{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [137]}}]);
    let mut sim = Sim::new(job(judged_by(rules)));
    sim.add(pod(
        "a",
        json!({
            "phase": "Failed",
            "containerStatuses": [container("app", 1, 90)],
            "initContainerStatuses": [container("sidecar", 137, 95)],
        }),
    ));
    let wake = sim.settle().wake_at;
    assert_eq!(sim.summary(), "", "ignored: neither counted nor the end");
    assert_eq!(wake, Some(at(105)), "replaced with delay");
}

#[test]
fn s9_23_only_codes_other_than_zero_are_looked_at_and_those_of_mains_first() {
    let judge = |codes: Value, main: i32, sidecar: i32| {
        let rules = json!({"rules": [{"action": "FailJob", "onExitCodes": codes}]});
        let (main, sidecar) = (container("app", main, 90), container("sidecar", sidecar, 95));
        let status = json!({"phase": "Failed", "containerStatuses": [main], "initContainerStatuses": [sidecar]});
        policy::judge(Some(&serde_json::from_value(rules).unwrap()), &pod("a", status))
    };
    let matched = |what: &str| FailJob(format!("Container {what} matching FailJob rule at index 0"));
    let any = json!({"operator": "In", "values": [1, 137, 143]});
    assert_eq!(judge(any.clone(), 1, 137), matched("app for pod ns/a failed with exit code 1"));
    assert_eq!(judge(any, 2, 143), matched("sidecar for pod ns/a failed with exit code 143"));
    let others = json!({"operator": "NotIn", "values": [1]});
    assert_eq!(judge(others.clone(), 0, 0), Count);
    assert_eq!(judge(others, 0, 7), matched("sidecar for pod ns/a failed with exit code 7"));
    let named = json!({"operator": "In", "values": [137], "containerName": "app"});
    assert_eq!(judge(named, 1, 137), Count);
}

#[test]
fn s9_30_a_fail_job_rule_ends_the_job_and_names_what_matched() {
    let rules = json!([
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "app", "operator": "NotIn", "values": [3]}},
    ]);
    let mut sim = Sim::new(job(judged_by(rules)));
    sim.add(failed_pod("a", 90));
    sim.settle();
    assert_eq!(sim.summary(), "failed 1, FailureTarget=True/PodFailurePolicy, Failed=True/PodFailurePolicy");
    let message = sim.status().conditions.unwrap()[1].message.clone().unwrap();
    assert_eq!(message, "Container app for pod ns/a failed with exit code 1 matching FailJob rule at index 1");
    assert_eq!(notes(&sim), ["PodFailurePolicy"]);
}

#[test]
fn s9_30_a_fail_job_rule_names_the_condition_that_matched() {
    let rules = json!([{"action": "FailJob", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]}]);
    let mut sim = Sim::new(job(judged_by(rules)));
    let condition = |status: &str| json!([{"type": "ConfigIssue", "status": status}]);
    sim.add(pod("a", json!({"phase": "Failed", "conditions": condition("False")})));
    assert_eq!(policy::judge(sim.job.spec.as_ref().unwrap().pod_failure_policy.as_ref(), &sim.pods["a"]), Count);
    sim.add(pod("a", json!({"phase": "Failed", "conditions": condition("True")})));
    let judged = policy::judge(sim.job.spec.as_ref().unwrap().pod_failure_policy.as_ref(), &sim.pods["a"]);
    assert_eq!(judged, FailJob("Pod ns/a has condition ConfigIssue matching FailJob rule at index 0".to_owned()));
}

#[test]
fn s9_30_reasons_are_looked_for_in_order_and_have_their_texts() {
    let rules = json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [5]}}]);
    let failed = |more: Value, codes: &[i32], mode: &str| {
        let mut spec = json!({
            "completionMode": mode, "completions": 2, "parallelism": 2, "activeDeadlineSeconds": 1,
            "podReplacementPolicy": "Failed",
        });
        more.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
        let mut made = job(spec);
        made.status = Some(serde_json::from_value(json!({"startTime": time(1)})).unwrap());
        let mut sim = Sim::new(made);
        for (n, code) in codes.iter().enumerate() {
            let ended = pod(&format!("f{n}"), ended("Failed", *code, 90));
            sim.add(of_index(ended, u32::try_from(n).unwrap()));
        }
        let verdict = sim.plan().status.unwrap().conditions.unwrap().remove(0);
        (verdict.reason.unwrap(), verdict.message.unwrap())
    };
    let says = |reason: &str, message: &str| (reason.to_owned(), message.to_owned());
    let policy = json!({"rules": rules});
    let by_rule = "Container app for pod ns/f0 failed with exit code 5 matching FailJob rule at index 0";
    let (limit, late) =
        ("Job has reached the specified backoff limit", "Job was active longer than specified deadline");
    let (plain, indexed) = ("NonIndexed", "Indexed");
    assert_eq!(
        failed(json!({"backoffLimit": 0, "podFailurePolicy": policy}), &[5], plain),
        says("PodFailurePolicy", by_rule)
    );
    assert_eq!(failed(json!({"backoffLimit": 0}), &[1], plain), says("BackoffLimitExceeded", limit));
    assert_eq!(failed(json!({"backoffLimit": 1}), &[1], plain), says("DeadlineExceeded", late));
    let per_index = |more: Value| {
        let mut spec = json!({"backoffLimitPerIndex": 0, "backoffLimit": i32::MAX, "activeDeadlineSeconds": null});
        more.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
        spec
    };
    assert_eq!(
        failed(per_index(json!({"activeDeadlineSeconds": 1})), &[1, 1], indexed),
        says("DeadlineExceeded", late)
    );
    let many = "Job has exceeded the specified maximal number of failed indexes";
    assert_eq!(
        failed(per_index(json!({"maxFailedIndexes": 1})), &[1, 1], indexed),
        says("MaxFailedIndexesExceeded", many)
    );
    assert_eq!(failed(per_index(json!({})), &[1, 1], indexed), says("FailedIndexes", "Job has failed indexes"));
}

#[test]
fn s9_31_the_job_fails_with_one_failed_pod_more_than_the_limit() {
    let mut sim = Sim::new(job(json!({"backoffLimit": 1})));
    sim.add(failed_pod("a", 10));
    sim.settle();
    assert_eq!(sim.summary(), "active 1, failed 1");
    sim.end("p001", "Failed", 1);
    sim.settle();
    assert_eq!(sim.summary(), "failed 2, FailureTarget=True/BackoffLimitExceeded, Failed=True/BackoffLimitExceeded");
    assert_eq!(notes(&sim), ["BackoffLimitExceeded"]);
    assert_eq!(sim.pods.len(), 2, "S9-45: pods stay");
}

#[test]
fn s9_32_a_work_queue_is_done_when_one_has_succeeded_and_none_runs() {
    let mut sim = Sim::new(job(json!({"completions": null, "parallelism": 2})));
    sim.settle();
    sim.end("p001", "Succeeded", 0);
    sim.settle();
    assert_eq!(sim.summary(), "active 1, succeeded 1");
    sim.end("p002", "Failed", 1);
    sim.settle();
    assert_eq!(
        sim.summary(),
        "succeeded 1, failed 1, SuccessCriteriaMet=True/CompletionsReached, Complete=True/CompletionsReached"
    );
}

#[test]
fn s9_32_a_success_policy_ends_the_job_and_deletes_the_rest() {
    let rules = json!({"successPolicy": {"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 1}]}});
    let mut sim = Sim::new(indexed(rules));
    sim.settle();
    sim.end("p002", "Succeeded", 0);
    sim.settle();
    assert_eq!(sim.summary(), "active 2, succeeded 1, completed 1", "index 1 is not in the rule");
    sim.end("p001", "Succeeded", 0);
    sim.settle();
    let announced = "terminating 1, succeeded 2, completed 0,1, SuccessCriteriaMet=True/SuccessPolicy";
    assert_eq!(sim.summary(), announced);
    sim.end("p003", "Failed", 137);
    sim.settle();
    let finished = "succeeded 2, completed 0,1, SuccessCriteriaMet=True/SuccessPolicy, Complete=True/SuccessPolicy";
    assert_eq!(sim.summary(), finished);
}

#[test]
fn s9_32_success_rules_ask_for_all_listed_some_listed_or_any_indexes() {
    let met = |rules: Value, succeeded: &[u32]| {
        let policy = serde_json::from_value(json!({"rules": rules})).unwrap();
        policy::success(Some(&policy), &succeeded.iter().copied().collect(), 5)
    };
    let rules =
        json!([{"succeededIndexes": "0,2-3"}, {"succeededIndexes": "1-4", "succeededCount": 2}, {"succeededCount": 4}]);
    let matched = |index: u32| Some(format!("Matched rules at index {index}"));
    assert_eq!(met(rules.clone(), &[]), None);
    assert_eq!(met(rules.clone(), &[0, 2]), None);
    assert_eq!(met(rules.clone(), &[0, 2, 3]), matched(0), "the first rule that matches");
    assert_eq!(met(rules, &[1, 4]), matched(1));
    assert_eq!(met(json!([{"succeededCount": 4}]), &[0, 1, 2, 4]), matched(0));
}

#[test]
fn s9_33_in_one_pass_failure_is_looked_for_before_success() {
    let mut sim = Sim::new(job(json!({"backoffLimit": 0})));
    sim.add(pod("a", ended("Succeeded", 0, 50)));
    sim.add(failed_pod("b", 60));
    sim.settle();
    assert!(sim.summary().ends_with("Failed=True/BackoffLimitExceeded"), "{}", sim.summary());
}

#[test]
fn s9_33_success_that_was_announced_wins_over_later_failures() {
    let mut sim = Sim::new(job(json!({"backoffLimit": 0})));
    sim.add(pod("a", ended("Succeeded", 0, 50)));
    sim.step(ALL);
    assert_eq!(sim.summary(), "SuccessCriteriaMet=True/CompletionsReached");
    sim.add(failed_pod("b", 60));
    sim.settle();
    assert!(sim.summary().ends_with("Complete=True/CompletionsReached"), "{}", sim.summary());
}

#[test]
fn s9_34_failed_is_said_when_the_last_pod_has_stopped() {
    let mut sim = Sim::new(job(json!({"activeDeadlineSeconds": 5})));
    sim.settle();
    sim.now += 5;
    sim.settle();
    assert_eq!(sim.summary(), "terminating 1, failed 1, FailureTarget=True/DeadlineExceeded");
    assert!(sim.notes.is_empty());
    sim.end("p001", "Failed", 137);
    sim.settle();
    assert_eq!(sim.summary(), "failed 1, FailureTarget=True/DeadlineExceeded, Failed=True/DeadlineExceeded");
    assert_eq!(notes(&sim), ["DeadlineExceeded"]);
}

#[test]
fn s9_35_complete_is_said_when_the_sidecars_of_the_last_pod_have_stopped() {
    let mut sim = Sim::new(job(json!({})));
    sim.settle();
    let main = json!({"name": "app", "state": {"terminated": {"exitCode": 0}}});
    let sidecar = json!({"name": "proxy", "state": {"running": {}}});
    let stopping = json!({"phase": "Running", "containerStatuses": [main], "initContainerStatuses": [sidecar]});
    sim.pods.get_mut("p001").unwrap().status = Some(serde_json::from_value(stopping).unwrap());
    sim.settle();
    assert_eq!(sim.summary(), "active 1", "the pod is not terminal while its sidecar runs");
    sim.end("p001", "Succeeded", 0);
    sim.settle();
    let done = "succeeded 1, SuccessCriteriaMet=True/CompletionsReached, Complete=True/CompletionsReached";
    assert_eq!(sim.summary(), done);
}

#[test]
fn s9_12_failures_that_the_policy_ignores_are_counted_apart() {
    let indexed = job(json!({"completionMode": "Indexed", "completions": 1, "backoffLimitPerIndex": 1}));
    let annotations = |ignored| {
        let failures = Some(IndexFailures { counted: 0, ignored });
        build(&indexed, &NewPod { index: Some(0), failures }, "abcde").metadata.annotations.unwrap()
    };
    assert_eq!(annotations(2)[INDEX_IGNORED_FAILURE_COUNT], "2");
    assert_eq!(annotations(2)[INDEX_FAILURE_COUNT], "0");
    assert!(!annotations(0).contains_key(INDEX_IGNORED_FAILURE_COUNT));
}

#[test]
fn s9_36_the_completion_time_is_that_of_the_condition() {
    let mut sim = Sim::new(job(json!({})));
    sim.settle();
    assert_eq!(sim.status().start_time.unwrap().0, at(100));
    sim.now = 130;
    sim.end("p001", "Succeeded", 0);
    sim.settle();
    let status = sim.status();
    assert_eq!(status.completion_time.unwrap().0, at(130));
    assert_eq!((status.active, status.ready, status.terminating), (None, Some(0), Some(0)));
    assert_eq!(notes(&sim), ["Completed"]);
}

#[test]
fn s9_38_two_pods_of_one_index_succeed_as_one() {
    let mut sim = Sim::new(indexed(json!({})));
    sim.add(of_index(pod("a", ended("Succeeded", 0, 50)), 0));
    sim.add(of_index(pod("b", ended("Succeeded", 0, 50)), 0));
    sim.settle();
    assert_eq!(sim.summary(), "active 2, succeeded 1, completed 0");
}

#[test]
fn s9_39_suspension_stops_pods_uncounted_and_resumption_restarts_the_clock() {
    let mut sim = Sim::new(job(json!({"activeDeadlineSeconds": 50})));
    sim.settle();
    sim.job.spec.as_mut().unwrap().suspend = Some(true);
    sim.settle();
    assert_eq!(sim.summary(), "terminating 1, Suspended=True/JobSuspended");
    assert_eq!(sim.status().start_time, None);
    sim.end("p001", "Failed", 137);
    sim.settle();
    assert_eq!(sim.summary(), "Suspended=True/JobSuspended");
    sim.now += 1000;
    sim.job.spec.as_mut().unwrap().suspend = Some(false);
    let plan = sim.settle();
    assert_eq!(sim.summary(), "active 1, Suspended=False/JobResumed");
    assert_eq!(plan.wake_at, Some(at(sim.now + 50)));
    assert_eq!(notes(&sim), ["Suspended", "Resumed"]);
}

#[test]
fn s9_40_a_suspended_job_has_no_deadline() {
    let mut sim = Sim::new(job(json!({"activeDeadlineSeconds": 5})));
    sim.settle();
    sim.now += 10;
    sim.job.spec.as_mut().unwrap().suspend = Some(true);
    sim.settle();
    assert_eq!(sim.summary(), "terminating 1, Suspended=True/JobSuspended");
}

#[test]
fn s9_18_a_pod_that_a_finished_job_still_holds_is_let_go() {
    let mut sim = Sim::new(job(json!({"backoffLimit": 0})));
    sim.add(failed_pod("a", 60));
    sim.settle();
    sim.add(failed_pod("late", 70));
    sim.settle();
    assert_eq!(sim.summary(), "failed 1, FailureTarget=True/BackoffLimitExceeded, Failed=True/BackoffLimitExceeded");
    assert!(!facts::is_tracked(&sim.pods["late"]));
}

#[test]
fn s9_40_the_deadline_wakes_the_controller() {
    let mut sim = Sim::new(job(json!({"activeDeadlineSeconds": 7})));
    assert_eq!(sim.settle().wake_at, Some(at(107)));
}

#[test]
fn s9_40_the_deadline_does_not_wait_for_a_retry() {
    let mut sim = Sim::new(job(json!({"activeDeadlineSeconds": 7})));
    sim.settle();
    sim.end("p001", "Failed", 1);
    let wake = sim.settle().wake_at;
    assert_eq!(wake, Some(at(107)), "the next try would be at 110");
    sim.now = 107;
    sim.settle();
    assert_eq!(sim.summary(), "failed 1, FailureTarget=True/DeadlineExceeded, Failed=True/DeadlineExceeded");
}

#[test]
fn s9_41_ignored_failures_count_neither_for_the_job_nor_for_the_index() {
    let rules = json!([
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3]}},
        {"action": "Count", "onExitCodes": {"operator": "In", "values": [6]}},
    ]);
    let policy = json!({"rules": rules});
    let mut sim = Sim::new(indexed(json!({
        "completions": 1, "backoffLimitPerIndex": 1, "podFailurePolicy": policy, "podReplacementPolicy": "Failed",
    })));
    let mut gaps = Vec::new();
    for code in [3, 6, 3, 1] {
        let before = sim.now;
        sim.now = sim.settle().wake_at.map_or(before, Timestamp::as_second);
        gaps.push(sim.now - before);
        sim.settle();
        let running = sim.active().remove(0);
        sim.end(&running, "Failed", code);
    }
    sim.settle();
    assert_eq!(gaps, [0, 10, 20, 40], "each is replaced with delay");
    let end = "failed 2, broken 0, FailureTarget=True/FailedIndexes, Failed=True/FailedIndexes";
    assert_eq!(sim.summary(), end, "by rule and without a rule");
    let last = sim.pods["p004"].metadata.annotations.clone().unwrap();
    assert_eq!((last[INDEX_FAILURE_COUNT].as_str(), last[INDEX_IGNORED_FAILURE_COUNT].as_str()), ("1", "2"));
}

#[test]
fn s9_44_too_many_successes_and_an_unknown_completion_mode_are_told() {
    let mut sim = Sim::new(job(json!({})));
    sim.add(pod("a", ended("Succeeded", 0, 50)));
    sim.add(pod("b", ended("Succeeded", 0, 50)));
    sim.settle();
    assert_eq!(notes(&sim), ["TooManySucceededPods", "Completed"]);
    let surplus = "Too many succeeded pods running after completion count reached";
    assert_eq!(sim.notes[0], Note::warning("TooManySucceededPods", surplus));
    let plan = Sim::new(job(json!({"completionMode": "Mixed"}))).plan();
    assert_eq!(plan.notes[0].reason, "UnknownCompletionMode");
    assert!(plan.is_settled());
}

#[test]
fn s9_45_the_end_of_a_job_deletes_only_what_is_active() {
    let mut sim = Sim::new(job(json!({"backoffLimit": 0, "parallelism": 3, "completions": 3})));
    sim.add(pod("succeeded", ended("Succeeded", 0, 50)));
    sim.add(failed_pod("failed", 60));
    sim.add(pod("active", json!({"phase": "Running"})));
    let gone: Vec<_> = sim.plan().delete.iter().map(|d| d.pod.metadata.uid.clone().unwrap()).collect();
    assert_eq!(gone, ["active"]);
}

#[test]
fn s9_12_s9_42_an_index_fails_with_one_failure_more_than_its_limit() {
    let mut sim = Sim::new(indexed(json!({
        "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 1, "backoffLimit": i32::MAX,
    })));
    sim.settle();
    let count =
        |sim: &Sim, uid: &str| sim.pods[uid].metadata.annotations.as_ref().unwrap()[INDEX_FAILURE_COUNT].clone();
    assert_eq!(count(&sim, "p001"), "0");
    sim.end("p001", "Failed", 1);
    sim.end("p002", "Succeeded", 0);
    let wake = sim.settle().wake_at.unwrap();
    assert_eq!(sim.summary(), "succeeded 1, completed 1", "the failure is kept until it is replaced");
    sim.now = wake.as_second();
    sim.settle();
    assert_eq!(sim.summary(), "active 1, succeeded 1, failed 1, completed 1");
    assert_eq!((sim.now, count(&sim, "p003").as_str()), (110, "1"));
    sim.end("p003", "Failed", 1);
    sim.settle();
    let end =
        "succeeded 1, failed 2, completed 1, broken 0, FailureTarget=True/FailedIndexes, Failed=True/FailedIndexes";
    assert_eq!(sim.summary(), end);
}

#[test]
fn s9_30_too_many_failed_indexes_end_the_job_early() {
    let mut sim = Sim::new(indexed(json!({
        "parallelism": 2, "backoffLimitPerIndex": 0, "maxFailedIndexes": 0, "backoffLimit": i32::MAX,
    })));
    sim.settle();
    sim.end("p001", "Failed", 1);
    sim.settle();
    let announced = "terminating 1, failed 2, broken 0, FailureTarget=True/MaxFailedIndexesExceeded";
    assert_eq!(sim.summary(), announced);
}

#[test]
fn s9_41_fail_index_ends_an_index_at_once() {
    let rules = json!([{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]);
    let mut sim = Sim::new(indexed(json!({
        "backoffLimitPerIndex": 5, "backoffLimit": i32::MAX, "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": rules},
    })));
    sim.settle();
    sim.end("p001", "Failed", 42);
    sim.settle();
    assert_eq!(sim.summary(), "active 2, failed 1, broken 0");
    assert_eq!(sim.pods["p003"].metadata.annotations.as_ref().unwrap()[COMPLETION_INDEX], "2");
}

#[test]
fn after_a_failed_call_the_status_tells_what_is_and_nothing_is_created() {
    let mut sim = Sim::new(job(json!({"parallelism": 2, "completions": 2})));
    sim.add(pod("a", json!({"phase": "Running"})));
    let plan = sim.plan_managing(false);
    assert!(plan.create.is_empty() && plan.delete.is_empty());
    assert_eq!(plan.status.unwrap().active, Some(1));
    sim.job.status = Some(serde_json::from_value(json!({"failed": 9})).unwrap());
    let plan = sim.plan_managing(false);
    assert_eq!(plan.status.unwrap().conditions, None, "no verdict while pods are left");
}
