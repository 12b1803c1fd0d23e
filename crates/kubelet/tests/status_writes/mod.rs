//! What the agent does when the API server does not take a status.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client,
    api::{DeleteParams, EvictParams, Patch, PatchParams},
    client::Body,
};
use serde_json::json;
use tokio::{runtime::Runtime, sync::watch};
use tower::{BoxError, ServiceExt as _};

use crate::{PATIENCE, Rig, common::FakeRuntime, container, exits, stops};

/// What becomes of the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Stored,
    Unreachable,
    Invalid,
}

/// Stands between agent and server, and answers for the server when statuses of pods are written.
struct Gate {
    answers: watch::Sender<Answer>,
    /// Writes that have been refused.
    refused: watch::Sender<u32>,
}

impl Gate {
    /// Makes an open gate and the client that goes through it.
    fn new() -> (Arc<Self>, Client) {
        let server = apiserver::ApiServer::in_memory(apiserver::Options::default());
        let gate = Arc::new(Self { answers: watch::Sender::new(Answer::Stored), refused: watch::Sender::new(0) });
        let (service, guard) = (server.service(), Arc::clone(&gate));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (service, answer) = (service.clone(), guard.answer(&request));
            async move {
                match answer {
                    Answer::Stored => Ok(service.oneshot(request).await?.map(|body| body.boxed_unsync())),
                    Answer::Unreachable => Err(BoxError::from("connection refused")),
                    Answer::Invalid => Ok(invalid()),
                }
            }
        });
        (gate, Client::new(service, "default"))
    }

    fn answer(&self, request: &http::Request<Body>) -> Answer {
        let path = request.uri().path();
        let is_write = request.method() == http::Method::PATCH && path.contains("/pods/") && path.ends_with("/status");
        let answer = if is_write { *self.answers.borrow() } else { Answer::Stored };
        if answer != Answer::Stored {
            self.refused.send_modify(|n| *n += 1);
        }
        answer
    }

    /// Waits until so many more writes have been refused.
    async fn refuses(&self, more: u32) {
        let mut refused = self.refused.subscribe();
        let goal = *refused.borrow() + more;
        tokio::time::timeout(PATIENCE, refused.wait_for(|n| *n >= goal)).await.expect("in time").expect("open");
    }
}

fn invalid() -> http::Response<UnsyncBoxBody<Bytes, BoxError>> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422});
    let body = Full::from(status.to_string()).map_err(|never| match never {});
    http::Response::builder().status(422).body(body.boxed_unsync()).expect("a response")
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Threads of an agent that can be killed: nothing of it gets another turn.
struct Process(Option<Runtime>);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a pod whose terminal status is refused, and returns when its sandbox has been stopped.
async fn ended_unrecorded() -> (Arc<Gate>, Rig, Process) {
    let (gate, client) = Gate::new();
    let mut rig = Rig::over(client, FakeRuntime::new([("main", stops(143))])).await;
    rig.stop().await;
    let process = Process(Some(Runtime::new().expect("threads")));
    {
        let _here = process.0.as_ref().expect("running").enter();
        rig.start_again();
    }
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    gate.answers.send_replace(Answer::Unreachable);
    rig.pods().delete("p", &DeleteParams::default()).await.expect("deleted");
    while !rig.runtime.calls().iter().any(|c| c == "stop sandbox") {
        gate.refuses(1).await;
    }
    (gate, rig, process)
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_44_the_sandbox_is_removed_only_after_the_terminal_status_is_stored() {
    let (gate, rig, _process) = ended_unrecorded().await;
    gate.refuses(2).await;
    assert!(!rig.runtime.calls().contains(&"remove sandbox".to_owned()), "{:?}", rig.runtime.calls());

    let mut last = None;
    gate.answers.send_replace(Answer::Stored);
    rig.until("gone", |pod| {
        last = pod.cloned().or_else(|| last.take());
        pod.is_none()
    })
    .await;
    let last = last.expect("seen before");
    assert_eq!(phase(&last), Some("Failed"));
    let ended = last.status.expect("a status").container_statuses.expect("statuses")[0].state.clone();
    assert_eq!(ended.and_then(|s| s.terminated).map(|t| t.exit_code), Some(143));
    assert!(rig.runtime.is_empty(), "{:?}", rig.runtime.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_52_the_sandbox_of_an_object_that_is_gone_waits_for_no_status() {
    let (_gate, rig, _process) = ended_unrecorded().await;
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    rig.pods().delete("p", &at_once).await.expect("deleted");
    rig.runtime.until_empty(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_55_how_containers_ended_survives_an_agent_that_is_killed_before_it_is_stored() {
    let (gate, mut rig, process) = ended_unrecorded().await;
    drop(process);
    (&mut rig.agent).await.expect_err("killed");
    assert!(!rig.runtime.is_empty(), "the only record left");
    gate.answers.send_replace(Answer::Stored);
    let mut codes = Vec::new();
    rig.start_again();
    rig.until("gone", |pod| {
        let statuses = pod.and_then(|p| p.status.as_ref()?.container_statuses.clone()).unwrap_or_default();
        codes.extend(statuses.into_iter().filter_map(|s| Some(s.state?.terminated?.exit_code)));
        pod.is_none()
    })
    .await;
    assert_eq!(codes.last(), Some(&143));
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_30_conditions_that_others_set_behind_the_agents_back_stay() {
    let rig = Rig::new(FakeRuntime::new([("main", stops(143))])).await;
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    let condition = json!({"type": "example.com/checked", "status": "True"});
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    rig.pods().patch_status("p", &PatchParams::default(), &patch).await.expect("set");
    rig.pods().evict("p", &EvictParams::default()).await.expect("evicted");
    let mut last = None;
    rig.until("gone", |pod| {
        last = pod.cloned().or_else(|| last.take());
        pod.is_none()
    })
    .await;
    let last = last.expect("seen before");
    assert_eq!(phase(&last), Some("Failed"));
    let conditions = last.status.and_then(|s| s.conditions).expect("conditions");
    for (type_, reason) in [("example.com/checked", None), ("DisruptionTarget", Some("EvictionByEvictionAPI"))] {
        let of_type: Vec<_> = conditions.iter().filter(|c| c.type_ == type_).collect();
        assert_eq!(of_type.len(), 1, "{type_}: {conditions:?}");
        assert_eq!(of_type[0].reason.as_deref(), reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_29_a_status_that_the_server_does_not_allow_is_dropped() {
    let (gate, client) = Gate::new();
    let rig = Rig::over(client, FakeRuntime::new([("main", stops(143))])).await;
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    gate.answers.send_replace(Answer::Invalid);
    rig.pods().delete("p", &DeleteParams::default()).await.expect("deleted");
    rig.until("gone", |pod| pod.is_none()).await;
    assert!(rig.runtime.is_empty(), "{:?}", rig.runtime.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_each_step_although_the_writer_was_held_up() {
    let (gate, client) = Gate::new();
    let main = exits(10, 1);
    let rig = Rig::over(client, FakeRuntime::new([("main", main)])).await;
    gate.answers.send_replace(Answer::Unreachable);
    rig.create(json!({"containers": [container("main")]})).await;
    // The second instance has ended: from here on it is the back-off that is shown.
    while rig.runtime.calls().iter().filter(|c| *c == "exit main 1").count() < 2 {
        gate.refuses(1).await;
    }
    gate.answers.send_replace(Answer::Stored);
    let mut seen = Vec::new();
    rig.until("back-off", |pod| {
        let Some(state) = pod.and_then(|p| p.status.as_ref()?.container_statuses.clone()?[0].state.clone()) else {
            return false;
        };
        let waits = state.waiting.and_then(|w| w.reason);
        let step = waits.unwrap_or_else(|| if state.running.is_some() { "running" } else { "ended" }.to_owned());
        if seen.last() != Some(&step) {
            seen.push(step);
        }
        seen.last().is_some_and(|s| s == "CrashLoopBackOff")
    })
    .await;
    assert_eq!(seen, ["ContainerCreating", "running", "ended", "running", "ended", "CrashLoopBackOff"]);
}
