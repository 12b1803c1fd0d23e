//! One test for each rule of the ReplicaSet controller.

use super::*;

#[test]
fn missing_pods_are_created_from_the_template() {
    let set = replica_set(3, json!({}));
    assert_eq!(plan_at(&set, &[pod("a", json!({}))], 100, None).create, 2);
    let new = build(&set, "x2x4x");
    assert_eq!(new.metadata.name.as_deref(), Some("web-x2x4x"));
    assert_eq!(new.metadata.generate_name.as_deref(), Some("web-"));
    assert!(meta::is_controlled_by(&new.metadata, "web"));
    assert_eq!(new.metadata.labels, Some([("app".to_owned(), "web".to_owned())].into()));
}

#[test]
fn ended_and_stopping_pods_are_replaced() {
    let pods = [
        pod("ended", json!({"status": {"phase": "Failed"}})),
        pod("stopping", json!({"metadata": {"deletionTimestamp": at(50)}})),
    ];
    assert_eq!(plan_at(&replica_set(2, json!({})), &pods, 100, None).create, 2);
}

#[test]
fn a_replica_set_that_is_being_deleted_only_reports() {
    let mut set = replica_set(2, json!({}));
    set.metadata.deletion_timestamp = Some(meta::api_time(at(50)));
    let plan = plan_at(&set, &[], 100, None);
    assert_eq!((plan.create, plan.status.is_some()), (0, true));
}

#[test]
fn matching_pods_without_owner_are_adopted_and_others_released_before_anything_is_counted() {
    let stranger = pod("stranger", json!({"metadata": {"ownerReferences": []}}));
    let strayed = pod("strayed", json!({"metadata": {"labels": {"app": "other"}}}));
    let over = pod("over", json!({"metadata": {"ownerReferences": []}, "status": {"phase": "Failed"}}));
    let plan = plan_at(&replica_set(9, json!({})), &[stranger, strayed, over], 100, None);
    assert_eq!((names(&plan.claims.adopt), names(&plan.claims.release)), (vec!["stranger"], vec!["strayed"]));
    assert_eq!(plan.create, 0);
}

/// Who goes first of these two.
fn first_to_go(a: Value, b: Value) -> String {
    let pods = [pod("a", a), pod("b", b)];
    let plan = plan_at(&replica_set(1, json!({})), &pods, 100_000, None);
    names(&plan.delete).concat()
}

#[test]
fn of_two_pods_the_one_goes_with_which_less_is_lost() {
    let ready_since = |second| json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(second)}]}});
    let restarts = |n| json!({"status": {"containerStatuses": [{"name": "", "image": "", "imageID": "", "ready": true, "restartCount": n}]}});
    let cost = |n: &str| json!({"metadata": {"annotations": {POD_DELETION_COST: n}}});
    let older = json!({});
    let cases = [
        ("unassigned", json!({"spec": {"nodeName": ""}}), json!({"status": {"phase": "Pending"}})),
        ("pending", json!({"status": {"phase": "Pending"}}), json!({"status": {"phase": "Unknown"}})),
        ("not ready", json!({"status": {"conditions": []}}), cost("-5")),
        ("cheap", cost("-1"), ready_since(99_999)),
        ("ready for less time", ready_since(99_000), restarts(7)),
        ("more restarts", restarts(2), restarts(1)),
        ("younger", json!({"metadata": {"creationTimestamp": at(99_000)}}), older),
        ("uid", json!({}), json!({})),
    ];
    for (why, goes, stays) in cases {
        assert_eq!(first_to_go(goes.clone(), stays.clone()), "a", "{why}");
        if why != "uid" {
            assert_eq!(first_to_go(stays, goes), "b", "{why}, the other way round");
        }
    }
}

#[test]
fn of_two_pods_alike_the_one_goes_that_shares_its_node_with_more_of_them() {
    let on = |node: &str| json!({"spec": {"nodeName": node}});
    let pods = [pod("a", on("1")), pod("b", on("2"))];
    let related = [pods[0].clone(), pods[1].clone(), pod("sibling", on("2"))];
    let set = replica_set(1, json!({}));
    let view = ReplicaSetView { replica_set: &set, pods: &pods, related: &related, now: at(100), failure: None };
    assert_eq!(names(&plan(&view).delete), ["b"]);
}

#[test]
fn the_status_counts_pods_by_what_they_have_reached() {
    let set = replica_set(
        4,
        json!({"minReadySeconds": 30, "template": {"metadata": {"labels": {"app": "web", "new": "1"}}}}),
    );
    let pods = [
        pod("available", json!({"metadata": {"labels": {"app": "web", "new": "1"}}})),
        pod(
            "ready",
            json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(90)}]}}),
        ),
        pod("running", json!({"status": {"conditions": []}})),
        pod("pending", json!({"status": {"phase": "Pending", "conditions": []}})),
        pod("stopping", json!({"metadata": {"deletionTimestamp": at(50)}})),
        pod("ended", json!({"status": {"phase": "Succeeded"}})),
    ];
    let plan = plan_at(&set, &pods, 100, None);
    let status = plan.status.unwrap();
    assert_eq!((status.replicas, status.fully_labeled_replicas), (4, Some(1)));
    assert_eq!((status.ready_replicas, status.available_replicas), (Some(2), Some(1)));
    assert_eq!((status.terminating_replicas, status.observed_generation), (Some(1), Some(4)));
    assert_eq!(plan.wake_at, Some(at(120)), "when the ready one becomes available");
    let set = ReplicaSet { status: Some(status), ..set };
    assert!(plan_at(&set, &pods, 100, None).is_settled());
    let later = plan_at(&set, &pods, 120, None).status.unwrap();
    assert_eq!(later.available_replicas, Some(2));
}

#[test]
fn a_failure_is_told_once_and_forgotten_after_success() {
    let mut set = replica_set(1, json!({}));
    let told = plan_at(&set, &[], 100, Some("quota exceeded")).status.unwrap();
    let condition = &told.conditions.as_ref().unwrap()[0];
    assert_eq!((condition.type_.as_str(), condition.status.as_str()), ("ReplicaFailure", "True"));
    assert_eq!(
        (condition.reason.as_deref(), condition.message.as_deref()),
        (Some("FailedCreate"), Some("quota exceeded"))
    );
    set.status = Some(told);
    assert!(plan_at(&set, &[], 105, Some("another text")).is_settled());
    assert_eq!(plan_at(&set, &[], 105, None).create, 1, "and the next attempt comes");
    let status = plan_at(&set, &[pod("a", json!({}))], 110, None).status.unwrap();
    assert_eq!(status.conditions, None);
}

#[test]
fn one_plan_is_bounded() {
    assert_eq!(plan_at(&replica_set(100_000, json!({})), &[], 100, None).create, 500);
}
