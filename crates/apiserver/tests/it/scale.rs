//! Scaling: the number of replicas without the rest.

use serde_json::{Value, json};

use crate::support::Rig;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

async fn rig() -> Rig {
    let rig = Rig::new();
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}},
    }});
    let (code, answer) = rig.raw("POST", DEPLOYMENTS, JSON, &deployment.to_string()).await;
    assert_eq!(code, 201, "{answer}");
    rig
}

#[tokio::test]
async fn a_scale_is_read_replaced_and_patched() {
    let rig = rig().await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let (code, mut scale) = rig.raw("GET", &path, JSON, "").await;
    assert_eq!((code, &scale["kind"], &scale["apiVersion"]), (200, &json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 1}), &json!({"replicas": 0, "selector": "app=x"}))
    );
    scale["spec"]["replicas"] = json!(3);
    let (code, written) = rig.raw("PUT", &path, JSON, &scale.to_string()).await;
    assert_eq!((code, &written["spec"]["replicas"]), (200, &json!(3)));
    let (code, refused) = rig.raw("PUT", &path, JSON, &scale.to_string()).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    let (code, written) = rig.raw("PATCH", &path, MERGE, r#"{"spec":{"replicas":5}}"#).await;
    assert_eq!((code, &written["spec"]["replicas"]), (200, &json!(5)));
    let deployment: Value = rig.raw("GET", &format!("{DEPLOYMENTS}/d"), JSON, "").await.1;
    assert_eq!((&deployment["spec"]["replicas"], &deployment["metadata"]["generation"]), (&json!(5), &json!(3)));
}

#[tokio::test]
async fn impossible_scales_are_refused() {
    let rig = rig().await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let (code, refused) = rig.raw("PATCH", &path, MERGE, r#"{"spec":{"replicas":-1}}"#).await;
    assert_eq!(code, 422);
    assert_eq!(
        refused["message"],
        "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    assert_eq!(rig.raw("GET", &format!("{DEPLOYMENTS}/e/scale"), JSON, "").await.0, 404);
    assert_eq!(rig.raw("GET", "/api/v1/namespaces/default/pods/a/scale", JSON, "").await.0, 404);
    assert_eq!(rig.raw("PATCH", &path, MERGE, r#"{"spec":{"replicas":"many"}}"#).await.0, 400);
}
