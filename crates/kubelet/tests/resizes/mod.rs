//! Pods that get other resources while they run, and pods that take more than they may.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    Rig,
    common::{FakeRuntime, Script},
};

fn limited(name: &str, cpu: &str, memory: &str) -> Value {
    json!({"name": name, "image": "busybox:1", "resources": {"limits": {"cpu": cpu, "memory": memory}}})
}

impl Rig {
    async fn resize(&self, cpu: &str, memory: &str) {
        let amounts = json!({"cpu": cpu, "memory": memory});
        let main = json!({"name": "main", "resources": {"requests": amounts, "limits": amounts}});
        let patch = Patch::Strategic(json!({"spec": {"containers": [main]}}));
        let done: Result<Pod, _> = self.pods().patch_subresource("resize", "p", &PatchParams::default(), &patch).await;
        done.expect("taken by the API server");
    }
}

/// Returns a condition's reason, empty if it has none; `None`: it is not there.
fn condition(pod: &Pod, type_: &str) -> Option<(String, String)> {
    let found = pod.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == type_ && c.status == "True")?;
    Some((found.reason.clone().unwrap_or_default(), found.message.clone().unwrap_or_default()))
}

/// Returns CPU limit in force and granted CPU request of the main container.
fn shown(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?.clone();
    let limit = status.resources?.limits?.get("cpu")?.0.clone();
    Some((limit, status.allocated_resources?.get("cpu")?.0.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_07_s12_17_a_resize_reaches_the_runtime_and_shows_in_the_status() {
    let rig = Rig::new(FakeRuntime::new([("main", Script::default())])).await;
    rig.create(json!({"terminationGracePeriodSeconds": 0, "containers": [limited("main", "500m", "64Mi")]})).await;
    rig.until("half a processor", |pod| pod.and_then(shown) == Some(("500m".into(), "500m".into()))).await;
    rig.resize("1", "32Mi").await;
    let done =
        |pod: &Pod| shown(pod) == Some(("1".into(), "1".into())) && condition(pod, "PodResizeInProgress").is_none();
    rig.until("a whole processor", |pod| pod.is_some_and(done)).await;
    let calls = rig.runtime.calls();
    assert!(calls.contains(&"limit main Some(100000) Some(33554432)".to_owned()), "{calls:?}");
    assert!(!calls.contains(&"create main 1".to_owned()), "{calls:?}");
    for reason in ["ResizeStarted", "ResizeCompleted"] {
        assert_eq!(rig.until_event(reason).await.type_.as_deref(), Some("Normal"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_08_a_memory_limit_below_what_is_used_is_refused_and_stays_as_it_is() {
    let rig = Rig::new(FakeRuntime::new([("main", Script::default())])).await;
    rig.create(json!({"terminationGracePeriodSeconds": 0, "containers": [limited("main", "500m", "64Mi")]})).await;
    rig.until_phase("Running").await;
    rig.resize("500m", "1000Ki").await;
    let text = "cannot decrease memory limits: attempting to set container \"main\" memory limit (1024000) below \
                current usage (1048576)";
    let refused = ("Error".to_owned(), text.to_owned());
    let is_refused = |pod: &Pod| condition(pod, "PodResizeInProgress").as_ref() == Some(&refused);
    rig.until("refused", |pod| pod.is_some_and(is_refused)).await;
    assert!(!rig.runtime.calls().iter().any(|call| call.starts_with("limit")), "{:?}", rig.runtime.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_06_s12_17_what_the_node_cannot_give_is_refused_also_after_a_restart_until_it_is_not_asked_for() {
    let mut rig = Rig::new(FakeRuntime::new([("main", Script::default())])).await;
    rig.create(json!({"terminationGracePeriodSeconds": 0, "containers": [limited("main", "500m", "64Mi")]})).await;
    rig.until_phase("Running").await;
    rig.resize("5000", "64Mi").await;
    let is_refused = |pod: &Pod| {
        let refused = condition(pod, "PodResizePending").is_some_and(|(reason, message)| {
            reason == "Infeasible"
                && message.starts_with("Node didn't have enough capacity: cpu, requested: 5000000, capacity: ")
        });
        refused && shown(pod) == Some(("500m".into(), "500m".into()))
    };
    rig.until("refused", |pod| pod.is_some_and(is_refused)).await;
    rig.restart().await;
    rig.resize("4000", "64Mi").await;
    rig.until("refused again", |pod| {
        pod.is_some_and(|pod| {
            condition(pod, "PodResizePending").is_some_and(|(_, message)| message.contains("4000000"))
        })
    })
    .await;
    assert!(!rig.runtime.calls().iter().any(|call| call.starts_with("limit")), "{:?}", rig.runtime.calls());
    rig.resize("600m", "64Mi").await;
    let done =
        |pod: &Pod| shown(pod) == Some(("600m".into(), "600m".into())) && condition(pod, "PodResizePending").is_none();
    rig.until("granted", |pod| pod.is_some_and(done)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_57_a_container_that_writes_more_than_it_may_has_its_pod_evicted() {
    let rig = Rig::new(FakeRuntime::new([("main", Script { on_stop: Some(0), ..Script::default() })])).await;
    let mut main = limited("main", "500m", "64Mi");
    main["resources"]["limits"]["ephemeral-storage"] = json!("1");
    let volumes = json!([{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]);
    rig.create(json!({"containers": [main], "volumes": volumes})).await;
    rig.until_phase("Failed").await;
    let status = rig.pods().get("p").await.expect("read").status.expect("a status");
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    let message = status.message.unwrap_or_default();
    assert_eq!(message, "Pod ephemeral local storage usage exceeds the total limit of containers 1. ");
}
