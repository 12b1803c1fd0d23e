//! Binding, eviction, node status, discovery, unknown paths.

use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::api::{Api, EvictParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Rig, assigned, refusal};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn bind(rig: &Rig, pod: &str, body: Value) -> (u16, Value) {
    rig.raw("POST", &format!("{PODS}/{pod}/binding"), "application/json", &body.to_string()).await
}

fn to_node(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": node}})
}

#[tokio::test]
async fn a_binding_assigns_the_node_once() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    let (code, status) = bind(&rig, "a", to_node("n1")).await;
    assert_eq!((code, &status["status"]), (201, &json!("Success")));
    let pod = rig.pods().get("a").await.expect("get");
    assert_eq!(pod.spec.expect("spec").node_name.as_deref(), Some("n1"));
    let condition = &pod.status.expect("status").conditions.expect("conditions")[0];
    assert_eq!(
        (condition.type_.as_str(), condition.status.as_str(), condition.observed_generation),
        ("PodScheduled", "True", Some(1))
    );
    let (code, status) = bind(&rig, "a", to_node("n2")).await;
    assert_eq!(code, 409);
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\""
    );
}

#[tokio::test]
async fn impossible_bindings_are_refused() {
    let rig = Rig::new();
    rig.pod("gated", json!({"spec": {"schedulingGates": [{"name": "g"}]}})).await;
    rig.pod("a", json!({})).await;
    for (pod, body, code) in [
        ("none", to_node("n"), 404),
        ("gated", to_node("n"), 409),
        ("a", json!({"target": {"kind": "Pod", "name": "n"}}), 422),
        ("a", json!({"target": {}}), 422),
        ("a", json!({"kind": "Pod", "target": {"name": "n"}}), 400),
        ("a", json!([1]), 400),
        ("a", json!({"metadata": {"uid": "other"}, "target": {"name": "n"}}), 409),
    ] {
        assert_eq!(bind(&rig, pod, body.clone()).await.0, code, "{pod} {body}");
    }
}

#[tokio::test]
async fn s4_58_an_eviction_deletes_with_grace_and_says_why() {
    let rig = Rig::new();
    rig.pod("a", assigned()).await;
    rig.pods().evict("a", &EvictParams::default()).await.expect("evict");
    let pod = rig.pods().get("a").await.expect("get");
    assert!(pod.metadata.deletion_timestamp.is_some());
    let conditions = pod.status.expect("status").conditions.expect("conditions");
    assert_eq!(conditions[0].reason.as_deref(), Some("EvictionByEvictionAPI"));
    assert!(refusal(rig.pods().evict("none", &EvictParams::default()).await).starts_with("404"));
}

#[tokio::test]
async fn the_status_of_a_node_is_written_apart() {
    let rig = Rig::new();
    let nodes: Api<Node> = Api::all(rig.client.clone());
    let node =
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24"}})).expect("node");
    nodes.create(&PostParams::default(), &node).await.expect("create");
    let status = Patch::Strategic(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    let patched = nodes.patch_status("n", &PatchParams::default(), &status).await.expect("patch");
    assert_eq!(patched.status.expect("status").conditions.expect("conditions")[0].type_, "Ready");
}

#[tokio::test]
async fn discovery_names_what_is_served() {
    let rig = Rig::new();
    let groups = rig.client.list_api_groups().await.expect("groups");
    assert!(groups.groups.iter().any(|group| group.name == "batch"));
    let batch = rig.client.list_api_group_resources("batch/v1").await.expect("resources");
    let names: Vec<&str> = batch.resources.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["jobs", "jobs/status", "cronjobs", "cronjobs/status"]);
    let core = rig.client.list_core_api_resources("v1").await.expect("resources");
    assert!(core.resources.iter().any(|one| one.name == "pods/log"));
    assert_eq!(rig.client.apiserver_version().await.expect("version").git_version, "v1.36.2+podrig");
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(rig.raw_text("GET", path, "", "").await, (200, "ok".to_owned()));
    }
    let discovery = kube::Discovery::new(rig.client.clone()).run().await.expect("discovery");
    assert!(discovery.groups().count() >= 3);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    for (method, path, code) in [
        ("GET", "/apis/none/v1/things", 404),
        ("GET", "/api/v2/pods", 404),
        ("GET", "/api/v1/pods/a", 404),
        ("GET", "/api/v1/namespaces/default/nodes/a", 404),
        ("GET", &format!("{PODS}/a/nothing"), 404),
        ("GET", "/nothing", 404),
        ("POST", "/api/v1/pods", 405),
        ("DELETE", "/api/v1/pods", 405),
        ("PUT", PODS, 405),
        ("POST", &format!("{PODS}/a"), 405),
        ("DELETE", &format!("{PODS}/a/status"), 405),
        ("POST", &format!("{PODS}/a/log"), 405),
        ("POST", "/version", 405),
        ("GET", &format!("{PODS}?limit=x"), 400),
    ] {
        let (got, status) = rig.raw(method, path, "application/json", "{}").await;
        assert_eq!((got, &status["kind"]), (code, &json!("Status")), "{method} {path}");
    }
}
