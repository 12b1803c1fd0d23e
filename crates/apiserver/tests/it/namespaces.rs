//! Namespaces: what comes with them and how they go.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::{Rig, pod, refusal};

async fn namespace(rig: &Rig, name: &str) -> Api<Namespace> {
    let all = Api::all(rig.client.clone());
    let value = json!({"metadata": {"name": name}});
    all.create(&PostParams::default(), &serde_json::from_value(value).expect("namespace")).await.expect("create");
    all
}

#[tokio::test]
async fn a_new_cluster_has_the_usual_namespaces_each_with_an_account() {
    let rig = Rig::new();
    let all: Api<Namespace> = Api::all(rig.client.clone());
    let names: Vec<String> =
        all.list(&ListParams::default()).await.expect("list").items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    for name in names {
        let accounts: Api<ServiceAccount> = Api::namespaced(rig.client.clone(), &name);
        accounts.get("default").await.expect("account");
    }
    let (code, status) = rig.raw("DELETE", "/api/v1/namespaces/default", "", "").await;
    assert_eq!(
        (code, &status["message"]),
        (403, &json!("namespaces \"default\" is forbidden: this namespace may not be deleted"))
    );
}

#[tokio::test]
async fn the_default_account_comes_back() {
    let rig = Rig::new();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(rig.client.clone());
    let before = accounts.get("default").await.expect("account").uid();
    accounts.delete("default", &DeleteParams::default()).await.expect("delete");
    assert_ne!(accounts.get("default").await.expect("account").uid(), before);
}

#[tokio::test]
async fn an_empty_namespace_goes_at_once_with_what_it_holds() {
    let rig = Rig::new();
    let all = namespace(&rig, "a").await;
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), "a");
    let map = serde_json::from_value(json!({"metadata": {"name": "m"}})).expect("map");
    maps.create(&PostParams::default(), &map).await.expect("create");
    let answer = all.delete("a", &DeleteParams::default()).await.expect("delete").left().expect("the namespace");
    assert_eq!(answer.status.expect("status").phase.as_deref(), Some("Terminating"));
    assert!(all.get_opt("a").await.expect("get").is_none());
    assert!(maps.list(&ListParams::default()).await.expect("list").items.is_empty());
}

#[tokio::test]
async fn a_namespace_waits_for_its_pods_and_takes_nothing_new() {
    let rig = Rig::new();
    let all = namespace(&rig, "a").await;
    let pods: Api<Pod> = Api::namespaced(rig.client.clone(), "a");
    pods.create(&PostParams::default(), &pod("p", json!({"spec": {"nodeName": "n"}}))).await.expect("create");
    all.delete("a", &DeleteParams::default()).await.expect("delete");
    assert!(pods.get("p").await.expect("pod").metadata.deletion_timestamp.is_some());
    assert_eq!(
        refusal(pods.create(&PostParams::default(), &pod("q", json!({}))).await),
        "403 Forbidden: pods \"q\" is forbidden: unable to create new content in namespace a because it is being \
         terminated"
    );
    assert!(all.get("a").await.is_ok());
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.expect("delete");
    assert!(all.get_opt("a").await.expect("get").is_none());
}

/// The conditions of a namespace that goes, those that are true with their messages.
async fn true_conditions(all: &Api<Namespace>) -> Vec<(String, String)> {
    let status = all.get("a").await.expect("namespace").status.expect("status");
    let conditions = status.conditions.expect("conditions");
    assert_eq!(conditions.len(), 5, "{conditions:?}");
    let held = conditions.into_iter().filter(|condition| condition.status == "True");
    held.map(|condition| (condition.type_, condition.message.unwrap_or_default())).collect()
}

#[tokio::test]
async fn pods_go_before_what_they_need_and_the_namespace_says_what_is_left() {
    let rig = Rig::new();
    let all = namespace(&rig, "a").await;
    let pods: Api<Pod> = Api::namespaced(rig.client.clone(), "a");
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), "a");
    let map = json!({"metadata": {"name": "m", "finalizers": ["example.com/hold"]}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).expect("map")).await.expect("create");
    pods.create(&PostParams::default(), &pod("p", json!({"spec": {"nodeName": "n"}}))).await.expect("create");
    all.delete("a", &DeleteParams::default()).await.expect("delete");
    assert_eq!(maps.get("m").await.expect("map").metadata.deletion_timestamp, None);
    let content =
        |text: &str| ("NamespaceContentRemaining".to_owned(), format!("Some resources are remaining: {text}"));
    assert_eq!(true_conditions(&all).await, [content("pods. has 1 resource instances")]);
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.expect("delete");
    assert!(maps.get("m").await.expect("map").metadata.deletion_timestamp.is_some());
    let finalizers = (
        "NamespaceFinalizersRemaining".to_owned(),
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances".to_owned(),
    );
    assert_eq!(true_conditions(&all).await, [content("configmaps. has 1 resource instances"), finalizers]);
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("m", &PatchParams::default(), &release).await.expect("release");
    assert!(all.get_opt("a").await.expect("get").is_none());
}

#[tokio::test]
async fn a_namespace_is_deleted_only_if_it_is_the_one_that_was_meant() {
    let rig = Rig::new();
    let all = namespace(&rig, "a").await;
    let other = kube::api::Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let params = DeleteParams { preconditions: Some(other), ..DeleteParams::default() };
    assert!(refusal(all.delete("a", &params).await).starts_with("409 Conflict"));
    assert_eq!(all.get("a").await.expect("get").metadata.deletion_timestamp, None);
}

#[tokio::test]
async fn a_finalizer_in_a_namespace_holds_it() {
    let rig = Rig::new();
    let all = namespace(&rig, "a").await;
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), "a");
    let map = json!({"metadata": {"name": "m", "finalizers": ["example.com/hold"]}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).expect("map")).await.expect("create");
    all.delete("a", &DeleteParams::default()).await.expect("delete");
    assert!(all.get("a").await.is_ok());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("m", &PatchParams::default(), &release).await.expect("release");
    assert!(all.get_opt("a").await.expect("get").is_none());
}

#[tokio::test]
async fn finalize_empties_the_finalizers_of_a_namespace() {
    let rig = Rig::new();
    let all = namespace(&rig, "a").await;
    let mut value = serde_json::to_value(all.get("a").await.expect("get")).expect("value");
    value["spec"] = json!({});
    let (code, _) = rig.raw("PUT", "/api/v1/namespaces/a/finalize", "application/json", &value.to_string()).await;
    assert_eq!(code, 200);
    assert_eq!(all.get("a").await.expect("get").spec.and_then(|spec| spec.finalizers), None);
    all.delete("a", &DeleteParams::default()).await.expect("delete");
    assert!(all.get_opt("a").await.expect("get").is_none());
}
