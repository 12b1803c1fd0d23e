//! Rust's own client, `kube`, as its users use it: by the kubeconfig, over TLS.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams},
    runtime::{
        Controller, WatchStreamExt as _,
        controller::Action,
        wait::{await_condition, conditions},
        watcher,
    },
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::server::Server;

/// Longest wait for what takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sidecar that echoes each connection, and an app that says so.
fn echoing_pod() -> Pod {
    let pod = json!({
        "metadata": {"name": "rig", "labels": {"app": "rig"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "initContainers": [{
                "name": "echo", "image": "busybox:1.37.0", "restartPolicy": "Always",
                "command": ["nc", "-ll", "-p", "7000", "-e", "cat"],
                "startupProbe": {"tcpSocket": {"port": 7000}, "periodSeconds": 1},
            }],
            "containers": [{
                "name": "app", "image": "busybox:1.37.0",
                "command": ["sh", "-c", "echo one; echo two; exec sleep 3600"],
            }],
        },
    });
    serde_json::from_value(pod).unwrap()
}

async fn running_pod(pods: &Api<Pod>) -> Pod {
    let created = pods.create(&PostParams::default(), &echoing_pod()).await.unwrap();
    assert!(created.uid().is_some());
    let running = await_condition(pods.clone(), "rig", conditions::is_pod_running());
    tokio::time::timeout(PATIENCE, running).await.expect("the pod runs").unwrap().unwrap()
}

#[tokio::test]
async fn the_rust_client_runs_a_pod_and_reaches_into_it() {
    let server = Server::start();
    let pods: Api<Pod> = Api::default_namespaced(server.client().await);
    running_pod(&pods).await;

    let logs = LogParams { container: Some("app".into()), follow: true, ..LogParams::default() };
    let lines = pods.log_stream("rig", &logs).await.unwrap().lines();
    assert_eq!(lines.take(2).try_collect::<Vec<_>>().await.unwrap(), ["one", "two"]);

    let params = AttachParams::default().container("app").stdin(true);
    let mut session = pods.exec("rig", ["sh", "-c", "cat; echo problem >&2; exit 3"], &params).await.unwrap();
    let mut stdin = session.stdin().unwrap();
    stdin.write_all(b"through and back").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout().unwrap().read_to_string(&mut out).await.unwrap();
    session.stderr().unwrap().read_to_string(&mut err).await.unwrap();
    let status = session.take_status().unwrap().await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("through and back", "problem\n"));
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"), "{status:?}");
    assert_eq!(status.details.unwrap().causes.unwrap()[0].message.as_deref(), Some("3"));

    let mut forward = pods.portforward("rig", &[7000]).await.unwrap();
    let mut stream = forward.take_stream(7000).unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
    drop(stream);
    forward.join().await.unwrap();
}

#[tokio::test]
async fn the_rust_client_watches_a_pod_from_its_creation_to_its_end() {
    let server = Server::start();
    let pods: Api<Pod> = Api::default_namespaced(server.client().await);
    // The second one is the streaming list that newer clients begin with.
    let initial = [watcher::Config::default(), watcher::Config::default().labels("app=rig").streaming_lists()];
    let watches = initial.map(|config| {
        let events = watcher(pods.clone(), config).default_backoff();
        tokio::spawn(async move {
            futures::pin_mut!(events);
            let mut phases: Vec<String> = Vec::new();
            while let Some(event) = events.try_next().await.unwrap() {
                match event {
                    watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                        phases.extend(pod.status.and_then(|status| status.phase));
                    }
                    watcher::Event::Delete(_) => break,
                    watcher::Event::Init | watcher::Event::InitDone => {}
                }
            }
            phases.dedup();
            phases
        })
    });
    let pod = running_pod(&pods).await;
    pods.delete("rig", &DeleteParams::default()).await.unwrap();
    let uid = pod.uid().unwrap();
    let gone = await_condition(pods.clone(), "rig", conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.expect("the pod goes").unwrap();
    for watch in watches {
        let phases = tokio::time::timeout(PATIENCE, watch).await.expect("the watch sees the end").unwrap();
        assert!(["Pending", "Running"].iter().all(|phase| phases.iter().any(|seen| seen == phase)), "{phases:?}");
    }
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn the_rust_client_applies_and_is_told_of_conflicts() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let object = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"key": value}});
    let apply =
        async |manager: &PatchParams, value: &str| maps.patch("shared", manager, &Patch::Apply(object(value))).await;
    let (one, two) = (PatchParams::apply("one"), PatchParams::apply("two"));
    apply(&one, "a").await.unwrap();
    let refused = apply(&two, "b").await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused:?}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"), "{status:?}");
    assert!(status.message.contains(r#"conflict with "one": .data.key"#), "{}", status.message);
    let forced = apply(&two.clone().force(), "b").await.unwrap();
    assert_eq!(forced.data.unwrap()["key"], "b");
    let owners: Vec<_> =
        forced.metadata.managed_fields.unwrap().into_iter().filter_map(|field| field.manager).collect();
    assert_eq!(owners, ["two"], "who owns nothing any more is not listed");
    let merged: Value = json!({"metadata": {"labels": {"by": "merge"}}});
    let merged = maps.patch("shared", &PatchParams::default(), &Patch::Merge(merged)).await.unwrap();
    assert_eq!(merged.labels()["by"], "merge");
    let stale = ConfigMap { metadata: forced.metadata.resource_version.map(version).unwrap(), ..ConfigMap::default() };
    let refused = maps.replace("shared", &PostParams::default(), &stale).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.reason == "Conflict"), "{refused:?}");
}

fn version(version: String) -> kube::core::ObjectMeta {
    kube::core::ObjectMeta { name: Some("shared".into()), resource_version: Some(version), ..Default::default() }
}

/// What a small operator does: each map labelled `mirror` gets another one with the same data, which it owns.
async fn mirror(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.as_ref().clone(), &map.namespace().unwrap());
    let name = format!("{}-mirror", map.name_any());
    let copy = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": [map.controller_owner_ref(&())]},
        "data": map.data,
    });
    maps.patch(&name, &PatchParams::apply("mirror").force(), &Patch::Apply(copy)).await?;
    Ok(Action::await_change())
}

#[tokio::test]
async fn a_controller_of_the_rust_client_keeps_objects_as_it_wants_them() {
    let server = Server::start();
    let client = server.client().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let controller = Controller::new(maps.clone(), watcher::Config::default().labels("mirror"))
        .owns(maps.clone(), watcher::Config::default())
        .run(mirror, |_, error, _| panic!("reconciling: {error}"), Arc::new(client));
    let controller = tokio::spawn(controller.for_each(async |result| assert!(result.is_ok(), "{result:?}")));

    let mut labels = BTreeMap::new();
    labels.insert("mirror".to_owned(), String::new());
    let data = |value: &str| Some(BTreeMap::from([("key".to_owned(), value.to_owned())]));
    let mut original = ConfigMap { data: data("a"), ..ConfigMap::default() };
    original.metadata.name = Some("original".into());
    original.metadata.labels = Some(labels);
    maps.create(&PostParams::default(), &original).await.unwrap();
    let mirrors = async |value: &str| {
        let want = data(value);
        let same = |map: Option<&ConfigMap>| map.is_some_and(|map| map.data == want);
        let mirrored = await_condition(maps.clone(), "original-mirror", same);
        tokio::time::timeout(PATIENCE, mirrored).await.expect("mirrored").unwrap().unwrap()
    };
    let first = mirrors("a").await;
    maps.patch("original", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "b"}}))).await.unwrap();
    mirrors("b").await;
    maps.delete("original-mirror", &DeleteParams::default()).await.unwrap();
    let again = mirrors("b").await;
    assert_ne!(first.uid(), again.uid(), "made anew");
    // The owner's end is the end of what it owns.
    maps.delete("original", &DeleteParams::default()).await.unwrap();
    let uid = again.uid().unwrap();
    let gone = await_condition(maps.clone(), "original-mirror", conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.expect("collected").unwrap();
    controller.abort();
}
