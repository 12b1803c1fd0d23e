//! Selectors, chunks, versions, metadata alone.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::support::{Rig, refusal};

async fn names(pods: &Api<Pod>, params: ListParams) -> Vec<String> {
    pods.list(&params).await.expect("list").items.iter().map(ResourceExt::name_any).collect()
}

#[tokio::test]
async fn selectors_pick_by_label_and_field() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", json!({"metadata": {"labels": {"app": "x", "tier": "1"}}, "spec": {"nodeName": "n1"}})).await;
    rig.pod("b", json!({"metadata": {"labels": {"app": "y"}}, "spec": {"nodeName": "n2"}})).await;
    rig.pod("c", json!({})).await;
    for (labels, fields, want) in [
        ("app=x", "", vec!["a"]),
        ("app in (x, y)", "", vec!["a", "b"]),
        ("app!=x", "", vec!["b", "c"]),
        ("!app", "", vec!["c"]),
        ("app,!tier", "", vec!["b"]),
        ("", "spec.nodeName=n2", vec!["b"]),
        ("", "spec.nodeName=", vec!["c"]),
        ("", "metadata.name!=a,status.phase!=Failed", vec!["b", "c"]),
        ("app=x", "spec.nodeName=n2", vec![]),
    ] {
        let params = ListParams::default().labels(labels).fields(fields);
        assert_eq!(names(&pods, params).await, want, "{labels} {fields}");
    }
    assert!(
        refusal(pods.list(&ListParams::default().fields("spec.foo=1")).await).contains("field label not supported")
    );
    assert!(refusal(pods.list(&ListParams::default().labels("a in b")).await).starts_with("400 BadRequest"));
}

#[tokio::test]
async fn chunks_of_a_list_are_one_snapshot_while_others_write() {
    let rig = Rig::new();
    let pods = rig.pods();
    for index in 0..10 {
        rig.pod(&format!("p{index}"), json!({})).await;
    }
    let first = pods.list(&ListParams::default().limit(4)).await.expect("list");
    assert_eq!(first.metadata.remaining_item_count, Some(6));
    for name in ["p1", "p5", "p9"] {
        pods.delete(name, &DeleteParams::default()).await.expect("delete");
    }
    rig.pod("p55", json!({})).await;
    let mut seen: Vec<String> = first.items.iter().map(ResourceExt::name_any).collect();
    let mut token = first.metadata.continue_.clone();
    while let Some(text) = token {
        let next = pods.list(&ListParams::default().limit(4).continue_token(&text)).await.expect("chunk");
        assert_eq!(next.metadata.resource_version, first.metadata.resource_version);
        seen.extend(next.items.iter().map(ResourceExt::name_any));
        token = next.metadata.continue_.clone();
    }
    assert_eq!(seen, (0..10).map(|index| format!("p{index}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_list_can_be_asked_for_a_version() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", json!({})).await;
    let then = pods.list(&ListParams::default()).await.expect("list").metadata.resource_version.expect("version");
    rig.pod("b", json!({})).await;
    let list = |query: String| {
        let rig = &rig;
        async move { rig.raw("GET", &format!("/api/v1/namespaces/default/pods?{query}"), "", "").await }
    };
    let count = |answer: &serde_json::Value| answer["items"].as_array().map(Vec::len);
    let (_, exact) = list(format!("resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!((count(&exact), exact["metadata"]["resourceVersion"].as_str()), (Some(1), Some(then.as_str())));
    let (_, newer) = list(format!("resourceVersion={then}")).await;
    assert_eq!(count(&newer), Some(2));
    let (code, future) = list("resourceVersion=99999".to_owned()).await;
    assert_eq!((code, &future["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
    let (code, _) = list("resourceVersion=x".to_owned()).await;
    assert_eq!(code, 422);
    let (code, _) = list("continue=%25%25".to_owned()).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn a_continue_token_that_grew_old_is_expired() {
    let rig = Rig::with(apiserver::Options { history: 4, ..apiserver::Options::default() });
    let pods = rig.pods();
    for index in 0..3 {
        rig.pod(&format!("p{index}"), json!({})).await;
    }
    let first = pods.list(&ListParams::default().limit(1)).await.expect("list");
    for index in 3..9 {
        rig.pod(&format!("p{index}"), json!({})).await;
    }
    let token = first.metadata.continue_.expect("token");
    let answer = refusal(pods.list(&ListParams::default().limit(1).continue_token(&token)).await);
    assert!(answer.starts_with("410 Expired: The provided continue parameter is too old"), "{answer}");
}

#[tokio::test]
async fn metadata_alone_can_be_asked_for() {
    let rig = Rig::new();
    rig.pod("a", json!({"metadata": {"labels": {"x": "y"}}})).await;
    let list = rig.pods().list_metadata(&ListParams::default()).await.expect("list");
    assert_eq!(list.items[0].labels().get("x").map(String::as_str), Some("y"));
    assert_eq!(rig.pods().get_metadata("a").await.expect("get").name_any(), "a");
}

#[tokio::test]
async fn objects_of_all_namespaces_are_listed_together() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    let system: Api<Pod> = Api::namespaced(rig.client.clone(), "kube-system");
    system.create(&PostParams::default(), &crate::support::pod("b", json!({}))).await.expect("create");
    assert_eq!(names(&Api::all(rig.client.clone()), ListParams::default()).await, ["a", "b"]);
    assert_eq!(names(&system, ListParams::default()).await, ["b"]);
}
