//! A server, a client, and short ways to say things.

use std::sync::{Arc, Mutex};

use apiserver::{ApiServer, Options};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

/// A server with a clock that only tests move.
pub(crate) struct Rig {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    now: Arc<Mutex<Timestamp>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().expect("time");
        let now = Arc::new(Mutex::new(start));
        let clock = Arc::clone(&now);
        let options = Options { clock: Arc::new(move || *clock.lock().expect("clock")), ..options };
        let server = ApiServer::in_memory(options);
        let client = Client::new(server.service(), "default");
        Self { server, client, now }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    pub(crate) fn advance(&self, seconds: i64) {
        let mut now = self.now.lock().expect("clock");
        *now += SignedDuration::from_secs(seconds);
    }

    /// Creates a pod from a name and what differs from a plain one.
    pub(crate) async fn pod(&self, name: &str, more: Value) -> Pod {
        self.pods().create(&PostParams::default(), &pod(name, more)).await.expect("create pod")
    }

    /// Sends any request and returns the code and the body.
    pub(crate) async fn raw(&self, method: &str, path: &str, media_type: &str, body: &str) -> (u16, Value) {
        let (code, text) = self.raw_text(method, path, media_type, body).await;
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn raw_text(&self, method: &str, path: &str, media_type: &str, body: &str) -> (u16, String) {
        self.send(method, path, ("content-type", media_type), body).await
    }

    /// Sends a request with an `Accept` header.
    pub(crate) async fn accepting(&self, accept: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (code, text) = self.accepting_text(accept, method, path, body).await;
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn accepting_text(&self, accept: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        self.send(method, path, ("accept", accept), body).await
    }

    async fn send(&self, method: &str, path: &str, header: (&str, &str), body: &str) -> (u16, String) {
        use http_body_util::BodyExt;
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header.0, header.1)
            .body(http_body_util::Full::new(bytes::Bytes::copy_from_slice(body.as_bytes())))
            .expect("request");
        let response = tower::ServiceExt::oneshot(self.server.service(), request).await.expect("infallible");
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (code, String::from_utf8(body.to_vec()).expect("text"))
    }
}

/// A pod with one container, merged with `more`.
pub(crate) fn pod(name: &str, more: Value) -> Pod {
    let mut value = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "app", "image": "busybox:1.37.0"}]},
    });
    apimachinery::patch::merge(&mut value, &more);
    serde_json::from_value(value).expect("pod")
}

/// A pod that a node has.
pub(crate) fn assigned() -> Value {
    json!({"spec": {"nodeName": "node1"}})
}

/// Reads the next events of a watch as short words.
pub(crate) async fn events(
    stream: &mut BoxStream<'static, kube::Result<WatchEvent<Pod>>>,
    count: usize,
) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match stream.try_next().await.expect("watch").expect("watch goes on") {
            WatchEvent::Added(pod) => seen.push(format!("+{}", pod.name_any())),
            WatchEvent::Modified(pod) => seen.push(format!("~{}", pod.name_any())),
            WatchEvent::Deleted(pod) => seen.push(format!("-{}", pod.name_any())),
            WatchEvent::Bookmark(_) => seen.push("bookmark".to_owned()),
            WatchEvent::Error(status) => seen.push(format!("error {}", status.code)),
        }
    }
    seen
}

pub(crate) async fn watch(
    pods: &Api<Pod>,
    params: &WatchParams,
    version: &str,
) -> BoxStream<'static, kube::Result<WatchEvent<Pod>>> {
    let stream = pods.watch(params, version).await.expect("watch");
    Box::pin(stream)
}

/// Code and message of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: kube::Result<T>) -> String {
    match outcome {
        Err(kube::Error::Api(status)) => format!("{} {}: {}", status.code, status.reason, status.message),
        other => panic!("not refused: {other:?}"),
    }
}
