//! Server-side apply over HTTP, and by `kubectl`.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::support::{Rig, refusal};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const APPLY: &str = "application/apply-patch+yaml";

fn map(data: Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}).to_string()
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let show = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("manager"), text("operation"), text("subresource"))
    };
    entries.iter().map(show).collect()
}

#[tokio::test]
async fn an_apply_creates_changes_and_says_nothing_twice() {
    let rig = Rig::new();
    let url = format!("{MAPS}/m?fieldManager=a");
    let (code, created) =
        rig.raw("PATCH", &url, APPLY, "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {x: '1'}}").await;
    assert_eq!((code, &created["data"]), (201, &json!({"x": "1"})));
    rig.advance(10);
    let (code, again) = rig.raw("PATCH", &url, APPLY, &map(json!({"x": "1"}))).await;
    assert_eq!((code, &again), (200, &created), "nothing has changed, not even a time");
    let (_, changed) = rig.raw("PATCH", &url, APPLY, &map(json!({"y": "1"}))).await;
    assert_eq!(changed["data"], json!({"y": "1"}));
    assert_ne!(changed["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let (_, dry) = rig.raw("PATCH", &format!("{url}&dryRun=All"), APPLY, &map(json!({"z": "1"}))).await;
    assert_eq!(dry["data"], json!({"z": "1"}));
    assert_eq!(rig.raw("GET", &format!("{MAPS}/m"), "", "").await.1, changed);
}

#[tokio::test]
async fn conflicts_and_wrong_applies_are_refused() {
    let rig = Rig::new();
    rig.raw("PATCH", &format!("{MAPS}/m?fieldManager=a"), APPLY, &map(json!({"x": "1"}))).await;
    let (code, refused) = rig.raw("PATCH", &format!("{MAPS}/m?fieldManager=b"), APPLY, &map(json!({"x": "2"}))).await;
    assert_eq!(
        (code, &refused["message"]),
        (409, &json!("Apply failed with 1 conflict: conflict with \"a\": .data.x"))
    );
    assert_eq!(refused["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let forced = format!("{MAPS}/m?fieldManager=b&force=true");
    assert_eq!(rig.raw("PATCH", &forced, APPLY, &map(json!({"x": "2"}))).await.1["data"]["x"], "2");
    let with = |more: Value| {
        let mut object: Value = serde_json::from_str(&map(json!({}))).expect("JSON");
        apimachinery::patch::merge(&mut object, &more);
        object.to_string()
    };
    for (query, media_type, body, code, text) in [
        ("", APPLY, map(json!({})), 422, "fieldManager: Required value: is required for apply patch"),
        ("?force=true", "application/merge-patch+json", "{}".into(), 422, "force: Forbidden: may not be specified"),
        ("?fieldManager=a", "application/apply-patch+cbor", String::new(), 415, "application/apply-patch+yaml"),
        ("?fieldManager=a", APPLY, "a: [".into(), 400, "error decoding YAML"),
        ("?fieldManager=a", APPLY, with(json!({"kind": "Pod"})), 400, "kind"),
        ("?fieldManager=a", APPLY, with(json!({"metadata": {"name": "b"}})), 400, "name"),
        (
            "?fieldManager=a",
            APPLY,
            with(json!({"metadata": {"managedFields": []}})),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            "?fieldManager=a",
            APPLY,
            with(json!({"metadata": {"resourceVersion": "1"}})),
            409,
            "the object has been modified",
        ),
        ("?fieldManager=a", APPLY, with(json!({"daat": {}})), 500, ".daat: field not declared in schema"),
    ] {
        let (found, refused) = rig.raw("PATCH", &format!("{MAPS}/m{query}"), media_type, &body).await;
        let message = refused["message"].as_str().unwrap_or_default();
        assert!(found == code && message.contains(text), "{query} {body}: {refused}");
    }
}

#[tokio::test]
async fn every_write_says_who_wrote_what() {
    let rig = Rig::new();
    let pods: Api<Pod> = rig.pods();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {
        "nodeName": "n", "containers": [{"name": "c", "image": "x"}]}});
    let (code, created) =
        rig.raw("POST", "/api/v1/namespaces/default/pods?fieldManager=me", "application/json", &pod.to_string()).await;
    assert_eq!((code, managers(&created)), (201, vec!["me Update -".to_owned()]));
    let fields = &created["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(fields["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["f:imagePullPolicy"], json!({}), "{fields}");
    assert!(fields["f:spec"].get("f:tolerations").is_none(), "admission owns nothing: {fields}");
    assert!(fields.get("f:status").is_none(), "{fields}");
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let params = PatchParams { field_manager: Some("kubelet".into()), ..PatchParams::default() };
    let patched = pods.patch_status("a", &params, &Patch::Strategic(status)).await.expect("status");
    let patched = serde_json::to_value(patched).expect("value");
    assert_eq!(managers(&patched), ["kubelet Update status", "me Update -"]);
    let fields = &patched["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(
        fields,
        &json!({"f:status": {"f:phase": {}, "f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:status": {},
            "f:type": {}}}}})
    );
    // The same object with nobody: an update does not begin to track.
    let reset = json!({"metadata": {"managedFields": [{}], "resourceVersion": patched["metadata"]["resourceVersion"]}});
    let emptied = pods.patch("a", &PatchParams::default(), &Patch::Merge(reset)).await.expect("reset");
    assert_eq!(emptied.metadata.managed_fields, None);
    let more =
        pods.patch("a", &params, &Patch::Merge(json!({"metadata": {"labels": {"x": "1"}}}))).await.expect("label");
    assert_eq!(more.metadata.managed_fields, None);
}

#[tokio::test]
async fn the_typed_client_applies() {
    let rig = Rig::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(rig.client.clone());
    let config: Value = serde_json::from_str(&map(json!({"x": "1"}))).expect("JSON");
    maps.patch("m", &PatchParams::apply("a"), &Patch::Apply(&config)).await.expect("apply");
    let other: Value = serde_json::from_str(&map(json!({"x": "2"}))).expect("JSON");
    let refused = refusal(maps.patch("m", &PatchParams::apply("b"), &Patch::Apply(&other)).await);
    assert_eq!(refused, "409 Conflict: Apply failed with 1 conflict: conflict with \"a\": .data.x");
    maps.patch("m", &PatchParams::apply("b").force(), &Patch::Apply(&other)).await.expect("forced");
}

#[tokio::test]
async fn kubectl_applies_on_either_side() {
    let rig = Rig::new();
    let kubectl = Kubectl::new(&rig.server).await;
    let one = kubectl.file("one.yaml", &map(json!({"x": "1"})));
    let two = kubectl.file("two.yaml", &map(json!({"x": "2"})));
    // From client-side apply to server-side apply and back.
    kubectl.ok(&["apply", "-f", &one]).await;
    assert_eq!(kubectl.ok(&["apply", "--server-side", "-f", &two]).await, "configmap/m serverside-applied\n");
    let shown = kubectl.ok(&["get", "configmap", "m", "-o", "json", "--show-managed-fields"]).await;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(managers(&shown), ["kubectl Apply -", "kubectl-last-applied Apply -"], "{shown}");
    assert_eq!(kubectl.ok(&["apply", "-f", &one]).await, "configmap/m configured\n");
    // Somebody else.
    kubectl.ok(&["patch", "configmap", "m", "--field-manager=other", "-p", r#"{"data":{"x":"3"}}"#]).await;
    let refused = kubectl.fails(&["apply", "--server-side", "-f", &two]).await;
    assert!(refused.contains("Apply failed with 1 conflict: conflict with \"other\" using v1: .data.x"), "{refused}");
    kubectl.ok(&["apply", "--server-side", "--force-conflicts", "-f", &two]).await;
    let diff = kubectl.fails(&["diff", "--server-side", "--force-conflicts", "-f", &one]).await;
    assert!(diff.contains("+  x: \"1\""), "{diff}");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c, imagee: x}]\n";
    let refused = kubectl.fails(&["apply", "--server-side", "-f", &kubectl.file("pod.yaml", pod)]).await;
    assert!(refused.contains("failed to create typed patch object (default/p; v1, Kind=Pod): "), "{refused}");
    assert!(refused.contains(".spec.containers[name=\"c\"].imagee: field not declared in schema"), "{refused}");
}
