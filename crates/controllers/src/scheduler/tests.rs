//! Which node takes which pod.

use serde_json::{Value, json};

use super::*;

fn node(more: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"},
        },
    });
    for (field, value) in more.as_object().unwrap() {
        node[field] = value.clone();
    }
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(uid: &str, more: Value) -> Pod {
    let mut pod = json!({"metadata": {"name": uid, "uid": uid}, "spec": {"containers": []}});
    for (field, value) in more.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn asking(uid: &str, requests: Value) -> Pod {
    pod(uid, json!({"containers": [{"name": "app", "resources": {"requests": requests}}]}))
}

fn bound() -> Placement {
    Placement::Bind("n1".to_owned())
}

fn refused(pod: &Pod, node: Arc<Node>, ledger: &Ledger) -> String {
    match place(pod, &[node], ledger) {
        Placement::Refused(message) => message,
        other @ (Placement::Bind(_) | Placement::NoReadyNode) => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_pod_waits_for_the_first_ready_node() {
    let unready = node(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    assert_eq!(place(&pod("p", json!({})), &[], &Ledger::default()), Placement::NoReadyNode);
    assert_eq!(place(&pod("p", json!({})), &[unready], &Ledger::default()), Placement::NoReadyNode);
    assert_eq!(place(&pod("p", json!({})), &[node(json!({}))], &Ledger::default()), bound());
}

#[test]
fn what_bound_pods_take_is_not_given_twice_and_comes_back() {
    let mut ledger = Ledger::default();
    ledger.book(&asking("a", json!({"cpu": "1500m"})), "n1");
    let wanted = asking("b", json!({"cpu": "600m", "memory": "2Gi"}));
    let message = "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, \
                   preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    assert_eq!(refused(&wanted, node(json!({})), &ledger), message);
    assert_eq!(place(&asking("b", json!({"cpu": "500m"})), &[node(json!({}))], &ledger), bound());
    assert!(ledger.forget("a"));
    assert!(!ledger.forget("a"), "only once");
    assert_eq!(place(&asking("b", json!({"cpu": "2"})), &[node(json!({}))], &ledger), bound());
}

#[test]
fn booking_a_pod_again_changes_nothing() {
    let mut ledger = Ledger::default();
    for _ in 0..3 {
        ledger.book(&asking("a", json!({"cpu": "1"})), "n1");
    }
    assert_eq!(place(&asking("b", json!({"cpu": "1"})), &[node(json!({}))], &ledger), bound());
    ledger.book(&pod("b", json!({})), "n1");
    assert!(refused(&pod("c", json!({})), node(json!({})), &ledger).contains("1 Too many pods"));
}

#[test]
fn a_resource_that_the_node_does_not_have_is_insufficient() {
    let message = refused(&asking("a", json!({"example.com/gpu": "1"})), node(json!({})), &Ledger::default());
    assert!(message.contains("1 Insufficient example.com/gpu"), "{message}");
}

#[test]
fn labels_and_affinity_select_nodes() {
    let fits = |more: Value| place(&pod("p", more), &[node(json!({}))], &Ledger::default()) == bound();
    assert!(fits(json!({"nodeSelector": {"disk": "ssd"}})));
    assert!(!fits(json!({"nodeSelector": {"disk": "hdd"}})));
    let required = |terms: Value| {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        }}})
    };
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    assert!(fits(required(json!([expression("disk", "In", json!(["ssd", "nvme"]))]))));
    assert!(!fits(required(json!([expression("disk", "NotIn", json!(["ssd"]))]))));
    assert!(fits(required(json!([expression("cores", "Gt", json!(["4"]))]))));
    assert!(!fits(required(json!([expression("cores", "Lt", json!(["4"]))]))));
    let either = json!([expression("gone", "Exists", json!([])), expression("gone", "DoesNotExist", json!([]))]);
    assert!(fits(required(either)), "one of the terms is enough");
    assert!(!fits(required(json!([{}]))), "an empty term selects nothing");
    let by_name = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]);
    assert!(fits(required(by_name)));
}

#[test]
fn taints_keep_pods_away_that_do_not_tolerate_them() {
    let tainted =
        |effect: &str| node(json!({"spec": {"taints": [{"key": "dedicated", "value": "db", "effect": effect}]}}));
    let ledger = Ledger::default();
    let lasting = refused(&pod("p", json!({})), tainted("NoSchedule"), &ledger);
    assert!(lasting.contains("untolerated taint"), "{lasting}");
    assert!(lasting.ends_with("1 Preemption is not helpful for scheduling."), "{lasting}");
    assert_eq!(place(&pod("p", json!({})), &[tainted("PreferNoSchedule")], &ledger), bound());
    let tolerant = |toleration: Value| pod("p", json!({"tolerations": [toleration]}));
    for toleration in [
        json!({"operator": "Exists"}),
        json!({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}),
        json!({"key": "dedicated", "value": "db"}),
    ] {
        assert_eq!(place(&tolerant(toleration), &[tainted("NoSchedule")], &ledger), bound());
    }
    refused(&tolerant(json!({"key": "dedicated", "value": "web"})), tainted("NoSchedule"), &ledger);
    refused(&pod("p", json!({})), node(json!({"spec": {"unschedulable": true}})), &ledger);
}
