//! The agent against the API server in this process and a runtime that runs nothing.

mod common;
mod resizes;
mod sessions;
mod status_writes;
mod tokens;

use std::{sync::Arc, time::Duration};

use common::{FakeRuntime, Script};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use kubelet::{Kubelet, Options, logs::LogOptions};
use serde_json::{Value, json};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};

/// Longest time that anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    client: Client,
    runtime: Arc<FakeRuntime>,
    kubelet: Kubelet<FakeRuntime>,
    options: Options,
    stop: watch::Sender<bool>,
    agent: JoinHandle<()>,
    _dirs: tempfile::TempDir,
}

impl Rig {
    async fn new(runtime: FakeRuntime) -> Self {
        let server = apiserver::ApiServer::in_memory(apiserver::Options::default());
        Self::over(Client::new(server.service(), "default"), runtime).await
    }

    /// Runs an agent on the server behind this client.
    async fn over(client: Client, runtime: FakeRuntime) -> Self {
        let dirs = tempfile::tempdir().expect("a directory");
        let dir = |name: &str| dirs.path().join(name);
        let options = Options::new("node1", dir("root"), dir("run"), dir("logs"));
        let runtime = Arc::new(runtime);
        let (kubelet, stop, agent) = start(&client, &runtime, &options);
        let rig = Self { client, runtime, kubelet, options, stop, agent, _dirs: dirs };
        rig.until_node_is_there().await;
        rig
    }

    async fn until_node_is_there(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut seen = std::pin::pin!(watcher(nodes, watcher::Config::default()).applied_objects());
        tokio::time::timeout(PATIENCE, seen.next()).await.expect("in time").expect("a node").expect("watched");
    }

    /// Ends the agent, and begins another on the same world.
    async fn restart(&mut self) {
        self.stop().await;
        self.start_again();
    }

    async fn stop(&mut self) {
        self.stop.send(true).expect("running");
        (&mut self.agent).await.expect("ended");
    }

    fn start_again(&mut self) {
        (self.kubelet, self.stop, self.agent) = start(&self.client, &self.runtime, &self.options);
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create(&self, spec: Value) -> Pod {
        let mut spec = spec;
        spec["nodeName"] = json!("node1");
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("created")
    }

    /// Waits until a watch shows the pod as wanted; `None`: it is gone.
    async fn until(&self, what: &str, mut wanted: impl FnMut(Option<&Pod>) -> bool) {
        let stream = watcher(self.pods(), watcher::Config::default());
        let mut stream = std::pin::pin!(stream);
        let mut last = None;
        let work = async {
            while let Some(event) = stream.next().await {
                match event.expect("watched") {
                    watcher::Event::Init => {
                        last = None;
                        continue;
                    }
                    watcher::Event::InitApply(pod) => {
                        last = Some(pod);
                        continue;
                    }
                    watcher::Event::InitDone => {}
                    watcher::Event::Apply(pod) => last = Some(pod),
                    watcher::Event::Delete(_) => last = None,
                }
                if wanted(last.as_ref()) {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, work).await.is_err() {
            let status = self.pods().get_opt("p").await.expect("read").and_then(|p| p.status);
            panic!("never: {what}; calls {:#?}; status {}", self.runtime.calls(), json!(status));
        }
    }

    async fn until_phase(&self, phase: &str) {
        self.until(phase, |pod| pod.and_then(|p| p.status.as_ref()?.phase.as_deref()) == Some(phase)).await;
    }

    /// Waits until an event with this reason is there: they are written behind what they tell of.
    async fn until_event(&self, reason: &str) -> Event {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let mut seen = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
        let found = async {
            loop {
                let event = seen.next().await.expect("one").expect("watched");
                if event.reason.as_deref() == Some(reason) {
                    return event;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(event) => event,
            Err(_) => panic!("never told: {reason}; but {:#?}", self.events().await),
        }
    }

    async fn events(&self) -> Vec<(String, String, Option<String>)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let list = api.list(&ListParams::default()).await.expect("listed");
        let show =
            |e: Event| (e.reason.unwrap_or_default(), e.message.unwrap_or_default(), e.involved_object.field_path);
        list.items.into_iter().map(show).collect()
    }
}

fn start(
    client: &Client,
    runtime: &Arc<FakeRuntime>,
    options: &Options,
) -> (Kubelet<FakeRuntime>, watch::Sender<bool>, JoinHandle<()>) {
    let kubelet = Kubelet::new(client.clone(), Arc::clone(runtime), options.clone());
    let (stop, stopped) = watch::channel(false);
    let running = kubelet.clone();
    let agent = tokio::spawn(async move { running.run(stopped).await.expect("runs") });
    (kubelet, stop, agent)
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "busybox:1"})
}

fn sidecar(name: &str) -> Value {
    json!({"name": name, "image": "busybox:1", "restartPolicy": "Always"})
}

fn exits(millis: u64, code: i32) -> Script {
    Script { exits: Some((Duration::from_millis(millis), code)), ..Script::default() }
}

fn stops(code: i32) -> Script {
    Script { on_stop: Some(code), ..Script::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_05_s4_65_a_pod_with_a_sidecar_runs_to_its_end_and_is_deleted() {
    let runtime = FakeRuntime::new([("side", stops(0)), ("main", exits(50, 0))]);
    let rig = Rig::new(runtime).await;
    rig.create(
        json!({"restartPolicy": "Never", "initContainers": [sidecar("side")], "containers": [container("main")]}),
    )
    .await;
    rig.until_phase("Succeeded").await;
    let calls = rig.runtime.calls();
    let order = ["run sandbox 0", "create side 0", "start side", "create main 0", "start main", "exit main 0"];
    assert_eq!(calls[..order.len()], order, "{calls:?}");
    assert_eq!(&calls[order.len()..order.len() + 2], ["stop side 30", "exit side 0"], "{calls:?}");

    let pod = rig.pods().get("p").await.expect("there");
    let status = pod.status.expect("a status");
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    let ended = status.container_statuses.expect("statuses")[0].state.clone().and_then(|s| s.terminated);
    assert_eq!(ended.map(|t| (t.exit_code, t.reason)), Some((0, Some("Completed".to_owned()))));

    rig.pods().delete("p", &DeleteParams::default()).await.expect("deleted");
    rig.until("gone", |pod| pod.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_23_an_ephemeral_container_joins_a_running_pod_and_its_target() {
    let mut rig = Rig::new(FakeRuntime::new([("main", stops(0)), ("debug", exits(20, 3))])).await;
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    let mut debug = container("debug");
    debug["targetContainerName"] = json!("main");
    let patch = kube::api::Patch::Strategic(json!({"spec": {"ephemeralContainers": [debug]}}));
    let pods = rig.pods();
    pods.patch_subresource("ephemeralcontainers", "p", &Default::default(), &patch).await.expect("patched");
    let exit_code = |pod: &Pod| {
        let status = pod.status.as_ref()?.ephemeral_container_statuses.as_ref()?.first()?;
        Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
    };
    rig.until("debugged", |pod| pod.and_then(exit_code) == Some(3)).await;
    rig.restart().await;
    rig.pods().delete("p", &DeleteParams::default()).await.expect("deleted");
    rig.until("gone", |pod| pod.is_none()).await;
    let calls = rig.runtime.calls();
    let calls: Vec<_> = calls.iter().filter(|call| !call.starts_with("remove") && !call.contains("sandbox")).collect();
    let order = ["create main 0", "start main", "create debug 0", "start debug", "exit debug 3", "stop main 30"];
    assert_eq!(calls[..order.len()], order);
    assert_eq!(rig.runtime.targets(), [None, Some("container0002".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_06_events_name_their_container_in_order() {
    let rig = Rig::new(FakeRuntime::new([("main", exits(10, 0))])).await;
    rig.create(json!({"restartPolicy": "Never", "containers": [container("main")]})).await;
    rig.until_phase("Succeeded").await;
    let events: Api<Event> = Api::namespaced(rig.client.clone(), "default");
    let mut seen = std::pin::pin!(watcher(events, watcher::Config::default()).applied_objects());
    let mut reasons = Vec::new();
    while reasons.len() < 3 {
        let event = tokio::time::timeout(PATIENCE, seen.next()).await.expect("in time").expect("one").expect("watched");
        assert_eq!(event.involved_object.field_path.as_deref(), Some("spec.containers{main}"));
        reasons.push((event.reason.unwrap_or_default(), event.message.unwrap_or_default()));
    }
    reasons.sort();
    let text = "Container image \"busybox:1\" already present on machine and can be accessed by the pod";
    let want = [("Created", "Container created"), ("Pulled", text), ("Started", "Container started")];
    assert_eq!(reasons.iter().map(|(r, m)| (r.as_str(), m.as_str())).collect::<Vec<_>>(), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_45_a_deleted_pod_is_stopped_recorded_and_removed() {
    let rig = Rig::new(FakeRuntime::new([("main", stops(143))])).await;
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    let mut phases = Vec::new();
    let mut asked = None;
    rig.until("gone", |pod| {
        // Deleted only once it is watched, so that nothing is missed.
        let pods = rig.pods();
        asked.get_or_insert_with(|| tokio::spawn(async move { pods.delete("p", &DeleteParams::default()).await }));
        phases.extend(pod.and_then(|p| p.status.as_ref()?.phase.clone()));
        pod.is_none()
    })
    .await;
    assert_eq!(phases.last().map(String::as_str), Some("Failed"), "s4_42: terminal before removal");
    assert!(rig.runtime.is_empty(), "{:?}", rig.runtime.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_52_a_pod_whose_object_is_gone_is_terminated_with_grace_1() {
    let rig = Rig::new(FakeRuntime::new([("main", stops(143))])).await;
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    rig.pods().delete("p", &at_once).await.expect("deleted");
    rig.until("gone", |pod| pod.is_none()).await;
    let mut events = cri::RuntimeService::events(rig.runtime.as_ref());
    while !rig.runtime.calls().iter().any(|c| c.starts_with("exit")) {
        let _ = tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time");
    }
    assert!(rig.runtime.calls().contains(&"stop main 2".to_owned()), "{:?}", rig.runtime.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_55_a_restarted_agent_takes_its_containers_over() {
    let mut rig = Rig::new(FakeRuntime::new([("side", stops(0)), ("main", stops(0))])).await;
    rig.create(json!({"initContainers": [sidecar("side")], "containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    let before = rig.runtime.calls();
    rig.restart().await;
    rig.pods().delete("p", &DeleteParams::default()).await.expect("deleted");
    rig.until("gone", |pod| pod.is_none()).await;
    let after = rig.runtime.calls()[before.len()..].to_vec();
    assert!(!after.iter().any(|c| c.starts_with("create") || c.starts_with("run")), "{after:?}");
    let stops: Vec<_> = after.iter().filter(|c| c.starts_with("stop main") || c.starts_with("stop side")).collect();
    assert_eq!(stops.len(), 2, "{after:?}");
    assert!(stops[0].starts_with("stop main"), "s4_20: sidecars after mains: {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_53_a_sandbox_that_the_api_does_not_know_is_ended_at_the_start() {
    let mut rig = Rig::new(FakeRuntime::new([("main", stops(0))])).await;
    let mut pod = container("main");
    pod["lifecycle"] = json!({"preStop": {"exec": {"command": ["bye"]}}});
    rig.create(json!({"containers": [pod]})).await;
    rig.until_phase("Running").await;
    rig.stop.send(true).expect("running");
    (&mut rig.agent).await.expect("ended");
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    rig.pods().delete("p", &at_once).await.expect("deleted");
    let mut events = cri::RuntimeService::events(rig.runtime.as_ref());
    (rig.kubelet, rig.stop, rig.agent) = start(&rig.client, &rig.runtime, &rig.options);
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").expect("an exit");
    let calls = rig.runtime.calls();
    let end = calls.iter().position(|c| c == "exec main bye").expect("the hook ran");
    assert_eq!(&calls[end..end + 3], ["exec main bye", "stop main 2", "exit main 0"], "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_18_a_missing_config_map_blocks_only_its_container_and_says_why() {
    let rig = Rig::new(FakeRuntime::new([])).await;
    let mut main = container("main");
    main["env"] = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "k"}}}]);
    rig.create(json!({"containers": [main, container("other")]})).await;
    let waiting = |pod: Option<&Pod>| {
        let statuses = pod?.status.as_ref()?.container_statuses.clone()?;
        let main = statuses.iter().find(|s| s.name == "main")?.state.clone()?.waiting?;
        let other = statuses.iter().find(|s| s.name == "other")?.state.clone()?.running;
        Some((main.reason?, main.message?, other.is_some()))
    };
    let want = ("CreateContainerConfigError".to_owned(), "configmap \"nope\" not found".to_owned(), true);
    rig.until("the error", |pod| waiting(pod).as_ref() == Some(&want)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_02_s12_13_a_missing_volume_source_blocks_the_pod_until_it_is_there() {
    let rig = Rig::new(FakeRuntime::new([])).await;
    rig.create(json!({"containers": [container("main")], "volumes": [{"name": "v", "configMap": {"name": "late"}}]}))
        .await;
    let event = rig.until_event("FailedMount").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let text = "MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found";
    assert_eq!(event.message.as_deref(), Some(text));
    let map = serde_json::from_value(json!({"metadata": {"name": "late"}})).expect("a map");
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), "default");
    maps.create(&PostParams::default(), &map).await.expect("created");
    rig.until_phase("Running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_09_s11_26_messages_and_logs_are_those_of_the_instance() {
    let script = Script { message: Some("the reason".to_owned()), ..exits(30, 3) };
    let rig = Rig::new(FakeRuntime::new([("main", script)])).await;
    rig.create(json!({"restartPolicy": "Never", "containers": [container("main")]})).await;
    rig.until_phase("Failed").await;
    let status = rig.pods().get("p").await.expect("there").status.expect("a status");
    let ended = status.container_statuses.expect("statuses")[0].state.clone().and_then(|s| s.terminated);
    assert_eq!(ended.and_then(|t| t.message).as_deref(), Some("the reason"));

    let read = async |name: &str, container: &str| {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let stream =
            rig.kubelet.container_logs("default", name, container, options).await.map_err(|e| e.to_string())?;
        let pieces: Vec<_> = stream.map(|p| p.expect("read")).collect().await;
        Ok::<_, String>(String::from_utf8(pieces.concat()).expect("text"))
    };
    assert_eq!(read("p", "main").await, Ok("hello from main\n".to_owned()));
    assert_eq!(read("p", "x").await, Err("container \"x\" in pod \"p\" is not available".to_owned()));
    assert_eq!(read("q", "x").await, Err("pod \"q\" cannot be found - no logs available".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn s6_14_s2_07_a_startup_probe_holds_the_next_container() {
    let side = Script { execs: vec![1, 1, 0], ..stops(0) };
    let rig = Rig::new(FakeRuntime::new([("side", side), ("main", exits(10, 0))])).await;
    let mut container_side = sidecar("side");
    container_side["startupProbe"] = json!({"exec": {"command": ["check"]}, "periodSeconds": 1});
    rig.create(
        json!({"restartPolicy": "Never", "initContainers": [container_side], "containers": [container("main")]}),
    )
    .await;
    rig.until_phase("Succeeded").await;
    let calls = rig.runtime.calls();
    let probes = calls.iter().take_while(|c| *c != "create main 0").filter(|c| *c == "exec side check").count();
    assert_eq!(probes, 3, "{calls:?}");
    assert!(rig.events().await.iter().any(|(r, m, _)| r == "Unhealthy" && m == "Startup probe failed: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_tells_every_step_with_its_container() {
    let server = apiserver::ApiServer::in_memory(apiserver::Options::default());
    let client = Client::new(server.service(), "default");
    let dirs = tempfile::tempdir().expect("a directory");
    let (recorder, mut records) = broadcast::channel(64);
    let dir = |name: &str| dirs.path().join(name);
    let options = Options { recorder: Some(recorder), ..Options::new("node1", dir("root"), dir("run"), dir("logs")) };
    let runtime = Arc::new(FakeRuntime::new([("main", exits(20, 0))]));
    let (_kubelet, _stop, _agent) = start(&client, &runtime, &options);
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let spec = json!({"nodeName": "node1", "restartPolicy": "Never", "containers": [container("main")]});
    let pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod");
    pods.create(&PostParams::default(), &pod).await.expect("created");
    let mut steps = Vec::new();
    while !steps.iter().any(|s: &String| s.contains("Succeeded")) {
        let record = tokio::time::timeout(PATIENCE, records.recv()).await.expect("in time").expect("a record");
        assert_eq!((record.namespace.as_str(), record.pod.as_str()), ("default", "p"));
        steps.push(format!("{} {:?}", record.container.unwrap_or_default(), record.moment.kind));
    }
    let has = |text: &str| steps.iter().any(|s| s.starts_with(text));
    for step in [" SandboxReady", "main Created", "main Started", "main Exited { exit_code: 0"] {
        assert!(has(step), "{step} in {steps:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_51_a_lost_sandbox_is_made_again() {
    let rig = Rig::new(FakeRuntime::new([("main", stops(0))])).await;
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    assert_eq!(rig.runtime.sandbox().map(|s| s.hostname).as_deref(), Some("p"));
    let mut events = cri::RuntimeService::events(rig.runtime.as_ref());
    rig.runtime.lose_sandbox();
    while !rig.runtime.calls().contains(&"run sandbox 1".to_owned()) {
        let _ = tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time");
    }
    assert_eq!(rig.runtime.config("main").map(|c| c.image_name).as_deref(), Some("busybox:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_46_s12_16_a_pod_that_asks_for_more_than_the_node_has_is_rejected() {
    let rig = Rig::new(FakeRuntime::new([])).await;
    let mut main = container("main");
    main["resources"] = json!({"requests": {"cpu": "100k"}});
    rig.create(json!({"containers": [main]})).await;
    rig.until_phase("Failed").await;
    let status = rig.pods().get("p").await.expect("there").status.expect("a status");
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
    assert!(status.message.unwrap_or_default().starts_with("Pod was rejected: Node didn't have enough resource: cpu"));
    rig.pods().delete("p", &DeleteParams::default()).await.expect("deleted");
    rig.until("gone", |pod| pod.is_none()).await;
    assert!(rig.runtime.calls().is_empty());
    let told = rig.until_event("OutOfcpu").await;
    assert_eq!(told.type_.as_deref(), Some("Warning"));
    let text = "Node didn't have enough resource: cpu, requested: 100000000, used: 0, capacity: ";
    assert!(told.message.unwrap_or_default().starts_with(text));
    assert_eq!(told.involved_object.field_path, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_59_s12_15_a_node_that_is_shut_down_takes_no_more_pods() {
    let rig = Rig::new(FakeRuntime::new([])).await;
    rig.kubelet.shut_down_pods();
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Failed").await;
    let status = rig.pods().get("p").await.expect("there").status.expect("a status");
    let text = "Pod was rejected as the node is shutting down.";
    assert_eq!(status.reason.as_deref(), Some("NodeShutdown"));
    assert_eq!(status.message, Some(format!("Pod was rejected: {text}")));
    let told = rig.until_event("NodeShutdown").await;
    assert_eq!((told.type_.as_deref(), told.message.as_deref()), (Some("Warning"), Some(text)));
    assert!(rig.runtime.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_07_s12_11_a_hook_that_fell_back_to_http_is_told() {
    use std::io::{Read as _, Write as _};
    let server = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let port = server.local_addr().expect("an address").port();
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = server.accept().expect("asked");
            let _ = stream.read(&mut [0; 1024]).expect("read");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answered");
        }
    });
    let rig = Rig::new(FakeRuntime::new([])).await;
    let mut main = container("main");
    let get = json!({"host": "127.0.0.1", "port": port, "scheme": "HTTPS", "path": "/up"});
    main["lifecycle"] = json!({"postStart": {"httpGet": get}});
    rig.create(json!({"containers": [main]})).await;
    rig.until_phase("Running").await;
    let told = rig.until_event("LifecycleHTTPFallback").await;
    let url = format!("http://127.0.0.1:{port}/up");
    let text = format!("request to HTTPS lifecycle hook {url} got HTTP response, retry with HTTP succeeded");
    assert_eq!((told.type_.as_deref(), told.message), (Some("Warning"), Some(text)));
    assert_eq!(told.involved_object.field_path.as_deref(), Some("spec.containers{main}"));
    serving.join().expect("served");
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_28_s12_02_a_missing_pull_secret_is_told_and_the_pull_is_tried() {
    let rig = Rig::new(FakeRuntime::new([])).await;
    let mut main = container("main");
    main["image"] = json!("registry.example/app:1");
    rig.create(json!({"containers": [main], "imagePullSecrets": [{"name": "a"}, {"name": "b"}]})).await;
    let told = rig.until_event("FailedToRetrieveImagePullSecret").await;
    let text = "Unable to retrieve some image pull secrets (a, b); attempting to pull the image may not succeed.";
    assert_eq!((told.type_.as_deref(), told.message.as_deref()), (Some("Warning"), Some(text)));
    let told = rig.until_event("Pulling").await;
    assert_eq!(told.message.as_deref(), Some("Pulling image \"registry.example/app:1\""));
    assert_eq!(told.involved_object.field_path.as_deref(), Some("spec.containers{main}"));
    rig.until_event("BackOff").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_05_a_changed_config_map_reaches_the_volume_of_a_running_pod() {
    let rig = Rig::new(FakeRuntime::new([])).await;
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), "default");
    let map = |value: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "cm"}, "data": {"k": value}})).expect("a map")
    };
    maps.create(&PostParams::default(), &map("old")).await.expect("created");
    let mut main = container("main");
    main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    rig.create(json!({"containers": [main], "volumes": [{"name": "v", "configMap": {"name": "cm"}}]})).await;
    rig.until_phase("Running").await;
    let mount = rig.runtime.config("main").expect("created").mounts[0].clone();
    let cri::MountSource::Host(dir) = mount.source else { panic!("not a directory") };
    assert!(mount.read_only);
    assert_eq!(std::fs::read_to_string(dir.join("k")).expect("read"), "old");
    let change = json!({"data": {"k": "new"}});
    maps.patch("cm", &Default::default(), &kube::api::Patch::Merge(change)).await.expect("changed");
    let changed = async {
        while std::fs::read_to_string(dir.join("k")).expect("always there") != "new" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_44_a_pod_that_has_ended_stays_so_over_a_restart_and_keeps_its_logs() {
    let mut rig = Rig::new(FakeRuntime::new([("main", exits(10, 0))])).await;
    rig.create(json!({"restartPolicy": "Never", "containers": [container("main")]})).await;
    rig.until_phase("Succeeded").await;
    let before = rig.runtime.calls().iter().filter(|c| c.starts_with("create")).count();
    rig.restart().await;
    let stream = rig.kubelet.container_logs("default", "p", "main", LogOptions::default()).await.expect("there");
    let pieces: Vec<_> = stream.map(|p| p.expect("read")).collect().await;
    assert_eq!(String::from_utf8(pieces.concat()).expect("text"), "hello from main\n");
    rig.pods().delete("p", &DeleteParams::default()).await.expect("deleted");
    rig.until("gone", |pod| pod.is_none()).await;
    let after = rig.runtime.calls().iter().filter(|c| c.starts_with("create")).count();
    assert_eq!(before, after, "{:?}", rig.runtime.calls());
}
