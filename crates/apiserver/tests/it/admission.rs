//! What namespaces add to pods and refuse of them: limit ranges, quotas, priority classes.

use serde_json::{Value, json};

use crate::support::Rig;

const DEFAULT: &str = "/api/v1/namespaces/default";
const JSON: &str = "application/json";

/// Creates something that must be accepted.
async fn make(rig: &Rig, path: &str, object: Value) -> Value {
    let (code, answer) = rig.raw("POST", path, JSON, &object.to_string()).await;
    assert_eq!(code, 201, "{answer}");
    answer
}

fn pod(name: &str, more: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    apimachinery::patch::merge(&mut pod, &json!({"spec": more}));
    pod
}

/// Creates a pod that must be refused; returns why.
async fn refused(rig: &Rig, pod: Value) -> String {
    let (code, status) = rig.raw("POST", &format!("{DEFAULT}/pods"), JSON, &pod.to_string()).await;
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")), "{status}");
    status["message"].as_str().expect("message").to_owned()
}

fn wanting(cpu: &str) -> Value {
    json!({"containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": cpu}}}]})
}

#[tokio::test]
async fn a_limit_range_completes_and_bounds_pods() {
    let rig = Rig::new();
    let item = json!({"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "max": {"cpu": "2"}});
    make(&rig, &format!("{DEFAULT}/limitranges"), json!({"metadata": {"name": "l"}, "spec": {"limits": [item]}})).await;
    let made = make(&rig, &format!("{DEFAULT}/pods"), pod("a", json!({}))).await;
    assert_eq!(made["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "1", "memory": "1Gi"}));
    assert_eq!(made["status"]["qosClass"], "Guaranteed");
    let more = json!({"containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "3"}}}]});
    assert_eq!(
        refused(&rig, pod("b", more)).await,
        "pods \"b\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_made_at_once_do_not_exceed_a_quota() {
    let rig = Rig::new();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "7"}}});
    make(&rig, &format!("{DEFAULT}/resourcequotas"), quota).await;
    let path = format!("{DEFAULT}/pods");
    let all = (0..30).map(|index| {
        let (rig, path, body) = (&rig, &path, pod(&format!("p{index}"), json!({})).to_string());
        async move { rig.raw("POST", path, JSON, &body).await.0 }
    });
    let codes = futures::future::join_all(all).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 7);
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), 23);
    assert_eq!(rig.raw("DELETE", &format!("{path}/p0"), JSON, "").await.0, 200);
    make(&rig, &path, pod("again", json!({}))).await;
    assert_eq!(
        refused(&rig, pod("more", json!({}))).await,
        "pods \"more\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=7, limited: pods=7"
    );
}

#[tokio::test]
async fn s8_02_quotas_of_requests_count_sidecars_and_want_every_container_to_ask() {
    let rig = Rig::new();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "3"}}});
    make(&rig, &format!("{DEFAULT}/resourcequotas"), quota).await;
    assert_eq!(
        refused(&rig, pod("a", json!({}))).await,
        "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: a"
    );
    let mut with_sidecar = wanting("1");
    with_sidecar["initContainers"] =
        json!([{"name": "s", "image": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}]);
    make(&rig, &format!("{DEFAULT}/pods"), pod("b", with_sidecar)).await;
    assert_eq!(
        refused(&rig, pod("c", wanting("2"))).await,
        "pods \"c\" is forbidden: exceeded quota: q, requested: requests.cpu=2, used: requests.cpu=1500m, limited: requests.cpu=3"
    );
    make(&rig, &format!("{DEFAULT}/pods"), pod("c", wanting("1500m"))).await;
}

#[tokio::test]
async fn quotas_count_objects_of_every_kind() {
    let rig = Rig::new();
    // One is there from the beginning: the root certificate.
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/jobs.batch": "0", "configmaps": "2"}}});
    make(&rig, &format!("{DEFAULT}/resourcequotas"), quota).await;
    make(&rig, &format!("{DEFAULT}/configmaps"), json!({"metadata": {"name": "a"}})).await;
    let (code, status) = rig.raw("POST", &format!("{DEFAULT}/configmaps"), JSON, r#"{"metadata":{"name":"b"}}"#).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
    );
    make(&rig, &format!("{DEFAULT}/secrets"), json!({"metadata": {"name": "a"}})).await;
}

#[tokio::test]
async fn priority_classes_give_pods_their_priority() {
    let rig = Rig::new();
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let listed = rig.raw("GET", classes, JSON, "").await.1;
    let names: Vec<_> =
        listed["items"].as_array().expect("items").iter().map(|class| &class["metadata"]["name"]).collect();
    assert_eq!(names, ["system-cluster-critical", "system-node-critical"]);
    let class = |name: &str, value: i32, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": "Never"});
    make(&rig, classes, class("low", 5, true)).await;
    let spec = async |pod: Value| make(&rig, &format!("{DEFAULT}/pods"), pod).await["spec"].clone();
    let plain = spec(pod("a", json!({}))).await;
    assert_eq!(
        [&plain["priorityClassName"], &plain["priority"], &plain["preemptionPolicy"]],
        [&json!("low"), &json!(5), &json!("Never")]
    );
    let critical = spec(pod("b", json!({"priorityClassName": "system-node-critical"}))).await;
    assert_eq!(
        (&critical["priority"], &critical["preemptionPolicy"]),
        (&json!(2_000_001_000), &json!("PreemptLowerPriority"))
    );
    assert_eq!(
        refused(&rig, pod("c", json!({"priorityClassName": "none"}))).await,
        "pods \"c\" is forbidden: no PriorityClass with name none was found"
    );
    let second = rig.raw("POST", classes, JSON, &class("high", 6, true).to_string()).await.1;
    assert_eq!(
        second["message"],
        "priorityclasses.scheduling.k8s.io \"high\" is forbidden: PriorityClass low is already marked as default. Only one default can exist"
    );
}
