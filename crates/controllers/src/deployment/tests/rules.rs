//! One test for each rule of the Deployment controller.

use std::collections::BTreeMap;

use super::sim::{ALL, Sim};
use super::*;

fn sizes(expected: &[(&str, i32)]) -> BTreeMap<String, i32> {
    expected.iter().map(|(image, size)| ((*image).to_owned(), *size)).collect()
}

fn rolled_out(replicas: i32, more: Value) -> Sim {
    let mut sim = Sim::new(deployment(replicas, more));
    sim.roll_out();
    sim.settle();
    sim
}

fn surge(surge: Value, unavailable: Value) -> Value {
    json!({"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
}

#[test]
fn the_first_plan_creates_the_replica_set_of_the_template() {
    let mut web = deployment(3, json!({"minReadySeconds": 5}));
    let annotations = [("team", "a"), ("kubectl.kubernetes.io/last-applied-configuration", "{}")];
    web.metadata.annotations = Some(annotations.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let plan = Sim::new(web).plan();
    let set = plan.create.unwrap();
    let hash = set.metadata.labels.as_ref().unwrap()[POD_TEMPLATE_HASH].clone();
    assert!(
        (8..=10).contains(&hash.len()) && hash.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b)),
        "{hash}"
    );
    assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
    assert!(meta::is_controlled_by(&set.metadata, "web"));
    let annotations = set.metadata.annotations.unwrap();
    let expected = [(DESIRED_REPLICAS, "3"), (MAX_REPLICAS, "4"), (REVISION, "1"), ("team", "a")];
    assert_eq!(annotations, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let spec = set.spec.unwrap();
    assert_eq!((spec.replicas, spec.min_ready_seconds), (Some(3), Some(5)));
    let labels = BTreeMap::from([("app".to_owned(), "web".to_owned()), (POD_TEMPLATE_HASH.to_owned(), hash.clone())]);
    assert_eq!(spec.selector.match_labels.as_ref(), Some(&labels));
    assert_eq!(spec.template.unwrap().metadata.unwrap().labels, Some(labels));
    assert_eq!(plan.notes[0].message, format!("Scaled up replica set web-{hash} from 0 to 3"));
    let next = plan.status.unwrap();
    assert_eq!(next.metadata.annotations.unwrap()[REVISION], "1");
    let condition = &next.status.unwrap().conditions.unwrap()[0];
    assert_eq!(condition.reason.as_deref(), Some("NewReplicaSetCreated"));
    assert_eq!(condition.message, Some(format!("Created new replica set \"web-{hash}\"")));
}

#[test]
fn a_complete_rollout_says_so() {
    let sim = rolled_out(3, json!({}));
    let status = sim.deployment.status.clone().unwrap();
    let name = sim.sets.keys().next().unwrap().clone();
    let texts: Vec<_> =
        status.conditions.unwrap().into_iter().map(|c| (c.type_, c.status, c.message.unwrap())).collect();
    let text = |t: &str, s: &str, m: String| (t.to_owned(), s.to_owned(), m);
    assert_eq!(
        texts,
        [
            text("Available", "True", "Deployment has minimum availability.".to_owned()),
            text("Progressing", "True", format!("ReplicaSet \"{name}\" has successfully progressed.")),
        ]
    );
    assert_eq!((status.replicas, status.updated_replicas, status.ready_replicas), (Some(3), Some(3), Some(3)));
    assert_eq!((status.available_replicas, status.unavailable_replicas), (Some(3), None));
    assert_eq!((status.terminating_replicas, status.observed_generation), (Some(0), Some(1)));
}

#[test]
fn a_rolling_update_goes_up_while_there_is_room_and_down_while_enough_serve() {
    type Sizes = &'static [(&'static str, i32)];
    let cases: [(Value, &[Sizes]); 3] = [
        (
            surge(json!(1), json!(0)),
            &[&[("v1", 3), ("v2", 1)], &[("v1", 2), ("v2", 2)], &[("v1", 1), ("v2", 3)], &[("v1", 0), ("v2", 3)]],
        ),
        (surge(json!(0), json!(1)), &[&[("v1", 2), ("v2", 1)], &[("v1", 1), ("v2", 2)], &[("v1", 0), ("v2", 3)]]),
        (surge(json!("100%"), json!(0)), &[&[("v1", 3), ("v2", 3)], &[("v1", 0), ("v2", 3)]]),
    ];
    for (strategy, rounds) in cases {
        let mut sim = rolled_out(3, strategy.clone());
        sim.set_image("v2");
        for round in rounds {
            sim.settle();
            assert_eq!(sim.sizes(), sizes(round), "{strategy}");
            sim.make_all_ready();
        }
        sim.settle();
        assert_eq!(sim.progress(), "True NewReplicaSetAvailable");
    }
}

#[test]
fn pods_that_serve_nobody_go_first() {
    let mut sim = rolled_out(4, surge(json!(1), json!(1)));
    let broken = sim.pods.keys().next().unwrap().clone();
    sim.set_pod(&broken, json!({"phase": "Running", "conditions": []}));
    sim.set_image("v2");
    sim.settle();
    assert_eq!(sim.sizes(), sizes(&[("v1", 3), ("v2", 2)]));
    assert!(!sim.pods.contains_key(&broken));
}

#[test]
fn recreation_starts_when_the_last_old_pod_has_ended() {
    let mut sim = rolled_out(2, json!({"strategy": {"type": "Recreate"}}));
    sim.set_image("v2");
    sim.see_all();
    sim.step(ALL);
    assert_eq!(sim.sizes(), sizes(&[("v1", 0)]));
    let set = sim.sets.keys().next().unwrap().clone();
    sim.step(ALL);
    assert_eq!(sim.sizes(), sizes(&[("v1", 0)]), "the old ones still run");
    sim.track_set(&set);
    sim.step_set(&set, ALL);
    sim.settle();
    assert_eq!(sim.sizes(), sizes(&[("v1", 0), ("v2", 2)]));
}

#[test]
fn scaling_during_a_rollout_is_shared_out_in_proportion() {
    // The example of the documentation: 10 replicas, at most 3 more, at most 2 fewer.
    let mut sim = rolled_out(10, surge(json!(3), json!(2)));
    sim.set_image("v2");
    sim.settle();
    assert_eq!(sim.sizes(), sizes(&[("v1", 8), ("v2", 5)]));
    sim.edit(|spec| spec.replicas = Some(15));
    sim.settle();
    assert_eq!(sim.sizes(), sizes(&[("v1", 11), ("v2", 7)]));
    sim.edit(|spec| spec.replicas = Some(0));
    sim.settle();
    assert_eq!(sim.sizes(), sizes(&[("v1", 0), ("v2", 0)]));
}

#[test]
fn going_back_to_a_template_gives_its_replica_set_a_new_revision() {
    let mut sim = rolled_out(1, json!({}));
    sim.set_image("v2");
    sim.roll_out();
    sim.set_image("v1");
    sim.roll_out();
    assert_eq!(sim.sizes(), sizes(&[("v1", 1), ("v2", 0)]));
    assert_eq!(annotations::revision(&sim.deployment.metadata), 3);
    let first = sim.sets.values().find(|set| numbers::size(set) == 1).unwrap();
    assert_eq!(annotations::get(&first.metadata, REVISION), Some("3"));
    assert_eq!(annotations::get(&first.metadata, REVISION_HISTORY), Some("1"));
    assert_eq!(sim.sets.len(), 2);
}

#[test]
fn old_replica_sets_beyond_the_history_limit_go_earliest_first() {
    let mut sim = rolled_out(1, json!({"revisionHistoryLimit": 1}));
    for image in ["v2", "v3", "v4"] {
        sim.set_image(image);
        sim.roll_out();
        sim.settle();
    }
    assert_eq!(sim.sizes(), sizes(&[("v3", 0), ("v4", 1)]));
}

#[test]
fn a_paused_deployment_is_scaled_but_not_rolled_out() {
    let mut sim = rolled_out(2, json!({}));
    sim.edit(|spec| spec.paused = Some(true));
    sim.set_image("v2");
    sim.settle();
    assert_eq!(sim.progress(), "Unknown DeploymentPaused");
    sim.edit(|spec| spec.replicas = Some(4));
    sim.settle();
    assert_eq!(sim.sizes(), sizes(&[("v1", 4)]));
    sim.edit(|spec| spec.paused = None);
    sim.see_all();
    sim.step(ALL);
    sim.roll_out();
    assert_eq!(sim.sizes(), sizes(&[("v1", 0), ("v2", 4)]));
    assert_eq!(sim.progress(), "True NewReplicaSetAvailable");
}

#[test]
fn lack_of_progress_is_told_after_the_deadline_and_progress_takes_it_back() {
    let mut sim = rolled_out(1, json!({"progressDeadlineSeconds": 60}));
    sim.now = 2000;
    sim.set_image("v2");
    let plan = sim.settle();
    assert_eq!(plan.wake_at, Some(at(2061)));
    assert_eq!(sim.progress(), "True ReplicaSetUpdated");
    sim.now = 2060;
    sim.settle();
    assert_eq!(sim.progress(), "True ReplicaSetUpdated");
    sim.now = 2061;
    let plan = sim.settle();
    assert_eq!(sim.progress(), "False ProgressDeadlineExceeded");
    assert_eq!(plan.wake_at, None);
    sim.roll_out();
    assert_eq!(sim.progress(), "True NewReplicaSetAvailable");
}

#[test]
fn the_failure_of_a_replica_set_is_the_deployments_failure() {
    let mut sim = rolled_out(1, json!({}));
    let name = sim.sets.keys().next().unwrap().clone();
    let failure = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"});
    let mut set = sim.sets[&name].as_ref().clone();
    set.status.as_mut().unwrap().conditions = serde_json::from_value(json!([failure])).unwrap();
    sim.sets.insert(name.clone(), Arc::new(set));
    sim.see_set(&name);
    let status = sim.step(ALL).status.unwrap().status.clone().unwrap();
    let told = status::find(&status, status::REPLICA_FAILURE).unwrap();
    assert_eq!((told.reason.as_deref(), told.message.as_deref()), (Some("FailedCreate"), Some("no")));
    sim.settle();
    let status = sim.deployment.status.clone().unwrap();
    assert!(status::find(&status, status::REPLICA_FAILURE).is_none(), "the ReplicaSet has recovered");
}

#[test]
fn a_name_that_is_taken_leads_to_another_one() {
    let mut sim = Sim::new(deployment(1, json!({})));
    let mut taken = sim.plan().create.unwrap();
    let name = taken.metadata.name.clone().unwrap();
    taken.metadata.owner_references = None;
    taken.metadata.labels = None;
    taken.spec.as_mut().unwrap().template = None;
    sim.sets.insert(name.clone(), Arc::new(taken));
    sim.see_all();
    sim.step(ALL);
    assert_eq!(sim.deployment.status.as_ref().unwrap().collision_count, Some(1));
    let other = sim.plan().create.unwrap();
    assert_ne!(other.metadata.name, Some(name));
}

#[test]
fn a_deployment_that_selects_everything_is_refused() {
    let plan = Sim::new(deployment(1, json!({"selector": {}}))).plan();
    assert_eq!(plan.notes[0].reason, "SelectingAll");
    assert!(plan.create.is_none());
    assert_eq!(plan.status.unwrap().status.unwrap().observed_generation, Some(1));
}

#[test]
fn a_changed_rest_and_changed_annotations_reach_the_replica_set() {
    let mut sim = rolled_out(1, json!({}));
    sim.edit(|spec| spec.min_ready_seconds = Some(7));
    sim.deployment.metadata.annotations.as_mut().unwrap().insert("team".to_owned(), "b".to_owned());
    sim.settle();
    let set = sim.sets.values().next().unwrap();
    assert_eq!(set.spec.as_ref().unwrap().min_ready_seconds, Some(7));
    assert_eq!(annotations::get(&set.metadata, "team"), Some("b"));
}
