//! The life of a pod, refusals, status apart from spec, events that expire.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use serde_json::json;

use crate::support::{Rig, assigned, events, pod, refusal, watch};

#[tokio::test]
async fn a_pod_is_created_read_listed_watched_and_deleted() {
    let rig = Rig::new();
    let pods = rig.pods();
    let mut seen = watch(&pods, &WatchParams::default(), "0").await;
    let created = rig.pod("a", json!({})).await;
    assert!(created.uid().is_some());
    assert_eq!(created.metadata.generation, Some(1));
    assert_eq!(created.namespace().as_deref(), Some("default"));
    let read = pods.get("a").await.expect("get");
    assert_eq!(read, created);
    let listed = pods.list(&ListParams::default()).await.expect("list");
    assert_eq!(listed.items.len(), 1);
    pods.delete("a", &DeleteParams::default()).await.expect("delete");
    assert_eq!(refusal(pods.get("a").await), "404 NotFound: pods \"a\" not found");
    assert_eq!(events(&mut seen, 3).await, ["+a", "~a", "-a"]);
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_real_server() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", assigned()).await;
    let post = PostParams::default();
    assert_eq!(refusal(pods.create(&post, &pod("a", json!({}))).await), "409 AlreadyExists: pods \"a\" already exists");
    assert_eq!(
        refusal(pods.create(&post, &pod("b", json!({"metadata": {"namespace": "other"}}))).await),
        "400 BadRequest: the namespace of the provided object does not match the namespace sent on the request"
    );
    let elsewhere: Api<Pod> = Api::namespaced(rig.client.clone(), "nowhere");
    assert_eq!(
        refusal(elsewhere.create(&post, &pod("b", json!({}))).await),
        "404 NotFound: namespaces \"nowhere\" not found"
    );
    let mut stale = pods.get("a").await.expect("get");
    stale.metadata.resource_version = Some("1".to_owned());
    assert_eq!(
        refusal(pods.replace("a", &post, &stale).await),
        "409 Conflict: Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", assigned()).await;
    let status = json!({"status": {"phase": "Running"}, "spec": {"nodeName": "other"}});
    let patched = pods.patch_status("a", &PatchParams::default(), &Patch::Merge(&status)).await.expect("patch");
    assert_eq!(patched.status.expect("status").phase.as_deref(), Some("Running"));
    assert_eq!(patched.spec.expect("spec").node_name.as_deref(), Some("node1"));
    let main = json!({"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Failed"}});
    let patched = pods.patch("a", &PatchParams::default(), &Patch::Merge(&main)).await.expect("patch");
    assert_eq!(patched.labels().get("x").map(String::as_str), Some("y"));
    assert_eq!(patched.status.expect("status").phase.as_deref(), Some("Running"));
}

#[tokio::test]
async fn events_go_an_hour_after_their_last_write() {
    let rig = Rig::new();
    let events: Api<Event> = Api::default_namespaced(rig.client.clone());
    let event = |name: &str| -> Event {
        let value = json!({
            "metadata": {"name": name}, "reason": "Tested", "type": "Normal",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"},
        });
        serde_json::from_value(value).expect("event")
    };
    events.create(&PostParams::default(), &event("old")).await.expect("create");
    events.create(&PostParams::default(), &event("renewed")).await.expect("create");
    rig.advance(3000);
    let count = Patch::Merge(json!({"count": 2}));
    events.patch("renewed", &PatchParams::default(), &count).await.expect("patch");
    rig.advance(700);
    events.create(&PostParams::default(), &event("new")).await.expect("create");
    let left: Vec<String> =
        events.list(&ListParams::default()).await.expect("list").items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(left, ["new", "renewed"]);
}
