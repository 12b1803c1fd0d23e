#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
//! A world for controllers: an API server in memory, a node, and hands that play the kubelet.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use apiserver::ApiServer;
use controllers::{Clock, Options};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::Service;

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
pub struct HandClock(watch::Sender<Timestamp>);

impl HandClock {
    pub fn at(text: &str) -> Self {
        Self(watch::Sender::new(text.parse().unwrap()))
    }

    pub fn set(&self, text: &str) {
        self.0.send_replace(text.parse().unwrap());
    }

    pub fn time(&self) -> Timestamp {
        *self.0.borrow()
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        self.time()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let mut times = self.0.subscribe();
        async move { times.wait_for(|now| *now >= deadline).await.map(drop).unwrap() }.boxed()
    }
}

/// How long anything may take; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub client: Client,
    pub server: ApiServer,
    controllers: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl World {
    /// An API server with one ready node, and no controllers yet.
    pub async fn new() -> Self {
        Self::with(apiserver::Options::default()).await
    }

    /// The same on that clock.
    pub async fn on(clock: &HandClock) -> Self {
        let clock = clock.clone();
        Self::with(apiserver::Options { clock: Arc::new(move || clock.time()), ..apiserver::Options::default() }).await
    }

    async fn with(options: apiserver::Options) -> Self {
        let server = ApiServer::in_memory(options);
        let client = Client::new(server.service(), "default");
        let world = Self { client, server, controllers: None };
        let nodes: Api<Node> = Api::all(world.client.clone());
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}});
        nodes.create(&PostParams::default(), &from(node)).await.unwrap();
        let ready = json!({"status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        }});
        nodes.patch_status("node1", &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
        world
    }

    /// The same with controllers running.
    pub async fn running() -> Self {
        let mut world = Self::new().await;
        world.start(Options::default());
        world
    }

    pub fn start(&mut self, options: Options) {
        self.start_with(self.client.clone(), options);
    }

    fn start_with(&mut self, client: Client, options: Options) {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(controllers::run(client, options, stopped));
        self.controllers = Some((stop, task));
    }

    /// Starts controllers that get no answer any more from their `writes`-th write on, which is
    /// still carried out. The receiver says true when that has happened.
    pub fn start_doomed(&mut self, options: Options, writes: usize) -> watch::Receiver<bool> {
        let (blown, told) = watch::channel(false);
        let fuse = Fuse { inner: self.server.service(), left: Arc::new(AtomicUsize::new(writes)), blown };
        self.start_with(Client::new(fuse, "default"), options);
        told
    }

    /// Ends the controllers as `kill -9` does: in the middle of whatever they are doing.
    pub async fn kill(&mut self) {
        let (_stop, task) = self.controllers.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        self.api::<K>().create(&PostParams::default(), &from(object)).await.unwrap()
    }

    /// Waits until a listing fulfils the condition and returns it.
    pub async fn wait_all<K>(&self, what: &str, fulfilled: impl Fn(&[K]) -> bool) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let mut seen: Vec<K> = Vec::new();
        let waiting = async {
            let mut changes = watcher(self.api::<K>(), watcher::Config::default()).default_backoff().boxed();
            while changes.try_next().await.is_ok_and(|change| change.is_some()) {
                seen = self.api::<K>().list(&ListParams::default()).await.unwrap().items;
                if fulfilled(&seen) {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("never happened: {what}; now: {seen:#?}");
        }
        seen
    }

    /// Waits until the only Job fulfils the condition.
    pub async fn wait_job(&self, what: &str, fulfilled: impl Fn(&Job) -> bool) -> Job {
        self.wait_all(what, |jobs: &[Job]| jobs.len() == 1 && jobs.iter().all(&fulfilled)).await.remove(0)
    }

    pub async fn pods(&self, what: &str, fulfilled: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
        self.wait_all(what, fulfilled).await
    }

    /// Waits for something while pods become ready and end as they should.
    pub async fn meanwhile<T>(&self, wanted: impl Future<Output = T>) -> T {
        tokio::select! {
            done = wanted => done,
            () = self.play_kubelet() => unreachable!("a watch has no end"),
        }
    }

    /// Makes every bound pod ready and lets every stopping one go, in all namespaces.
    async fn play_kubelet(&self) {
        let all: Api<Pod> = Api::all(self.client.clone());
        let mut changes = watcher(all.clone(), watcher::Config::default()).default_backoff().boxed();
        while changes.try_next().await.is_ok_and(|change| change.is_some()) {
            for pod in all.list(&ListParams::default()).await.unwrap().items {
                self.care_for(&pod).await;
            }
        }
    }

    /// Others may change the pod at the same time, so no outcome is demanded.
    async fn care_for(&self, pod: &Pod) {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
        if pod.spec.as_ref().unwrap().node_name.is_none() {
            return;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            drop(api.delete(&pod.name_any(), &kube::api::DeleteParams::default().grace_period(0)).await);
        } else if !ready {
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"});
            let patch = Patch::Merge(json!({"status": {"phase": "Running", "conditions": [ready]}}));
            drop(api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await);
        }
    }

    /// Plays the kubelet.
    pub async fn set_pod(&self, pod: &Pod, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<Pod>().patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn succeed(&self, pod: &Pod) {
        self.set_pod(pod, ended("Succeeded", 0)).await;
    }

    pub async fn fail(&self, pod: &Pod, finished_at: &str) {
        let mut status = ended("Failed", 1);
        status["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = finished_at.into();
        self.set_pod(pod, status).await;
    }

    /// Reasons and messages of the events about objects of that kind.
    pub async fn events(&self, kind: &str, enough: usize) -> Vec<(String, String)> {
        let about = |event: &&Event| event.involved_object.kind.as_deref() == Some(kind);
        let events = self.wait_all("events", |all: &[Event]| all.iter().filter(about).count() >= enough).await;
        let mut events: Vec<_> = events.iter().filter(about).collect();
        events.sort_by_key(|event| event.first_timestamp.clone());
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        events.iter().map(|event| (text(&event.reason), text(&event.message))).collect()
    }
}

/// The way to the API server that breaks after some writes.
#[derive(Clone)]
struct Fuse {
    inner: apiserver::ApiService,
    left: Arc<AtomicUsize>,
    blown: watch::Sender<bool>,
}

type Reply = <apiserver::ApiService as Service<http::Request<kube::client::Body>>>::Response;

impl Service<http::Request<kube::client::Body>> for Fuse {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let write = request.method() != http::Method::GET;
        let left = if write { self.left.fetch_sub(1, Ordering::SeqCst) } else { usize::MAX };
        let (answer, blown) = (self.inner.call(request), self.blown.clone());
        async move {
            if left == 0 || left > usize::MAX / 2 && write {
                return pending().await;
            }
            let answer = answer.await;
            if left == 1 {
                blown.send_replace(true);
                return pending().await;
            }
            answer
        }
        .boxed()
    }
}

pub fn from<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn ended(phase: &str, code: i32) -> Value {
    json!({
        "phase": phase,
        "containerStatuses": [{
            "name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": "2020-01-01T00:00:00Z"}},
        }],
    })
}

/// A Job with what the API server would fill in, and more of its spec.
pub fn job(name: &str, more: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "manualSelector": true,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "i"}]},
            },
            "parallelism": 1, "completions": 1, "backoffLimit": 6,
        },
    });
    for (field, value) in more.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    job
}

pub fn conditions(job: &Job) -> Vec<String> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.map(|c| format!("{}={}", c.type_, c.status)).collect()
}
