//! Logs by way of the node proxy.

use std::sync::{Arc, Mutex};

use apimachinery::status::ApiError;
use apiserver::{LogOptions, LogStream, NodeProxy, PodReference};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{AsyncBufReadExt, FutureExt, StreamExt, TryStreamExt};
use kube::api::LogParams;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{Rig, assigned, refusal};

/// A node that writes down what it was asked and sends what the test gives it.
struct Node {
    asked: Mutex<Vec<(PodReference, LogOptions)>>,
    output: Mutex<Option<mpsc::Receiver<&'static str>>>,
}

impl NodeProxy for Node {
    fn logs(&self, pod: PodReference, options: LogOptions) -> BoxFuture<'static, Result<LogStream, ApiError>> {
        self.asked.lock().expect("asked").push((pod, options));
        let output = self.output.lock().expect("output").take();
        async move {
            let receiver = output.ok_or_else(|| ApiError::bad_request("container \"app\" is waiting to start"))?;
            let stream = futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|text| (Ok(Bytes::from(text)), receiver))
            });
            Ok(LogStream(stream.boxed()))
        }
        .boxed()
    }
}

fn node(rig: &Rig) -> (Arc<Node>, mpsc::Sender<&'static str>) {
    let (sender, receiver) = mpsc::channel(8);
    let node = Arc::new(Node { asked: Mutex::default(), output: Mutex::new(Some(receiver)) });
    rig.server.set_node_proxy(Arc::clone(&node) as Arc<dyn NodeProxy>);
    (node, sender)
}

#[tokio::test]
async fn a_followed_log_arrives_piece_by_piece() {
    let rig = Rig::new();
    let made = rig.pod("a", assigned()).await;
    let (node, sender) = node(&rig);
    let params = LogParams { follow: true, tail_lines: Some(5), since_seconds: Some(60), ..LogParams::default() };
    let mut lines = rig.pods().log_stream("a", &params).await.expect("log").lines();
    sender.send("one\n").await.expect("send");
    assert_eq!(lines.try_next().await.expect("line").as_deref(), Some("one"));
    sender.send("two\n").await.expect("send");
    assert_eq!(lines.try_next().await.expect("line").as_deref(), Some("two"));
    drop(sender);
    assert_eq!(lines.try_next().await.expect("end"), None);
    let asked = node.asked.lock().expect("asked");
    let (pod, options) = &asked[0];
    assert_eq!((pod.name.as_str(), Some(&pod.uid)), ("a", made.metadata.uid.as_ref()));
    assert_eq!((options.container.as_str(), options.follow, options.tail_lines), ("app", true, Some(5)));
    assert_eq!(options.since, "2026-01-02T03:03:05Z".parse().ok());
}

#[tokio::test]
async fn a_container_must_be_named_where_there_are_several() {
    let rig = Rig::new();
    let (_node, sender) = node(&rig);
    let more = json!({"spec": {"nodeName": "n", "initContainers": [{"name": "s1", "image": "b"}], "containers": [
        {"name": "app", "image": "b"}, {"name": "other", "image": "b"}
    ]}});
    rig.pod("a", more).await;
    assert_eq!(
        refusal(rig.pods().logs("a", &LogParams::default()).await),
        "400 BadRequest: a container name must be specified for pod a, choose one of: [s1 app other]"
    );
    let params = |name: &str| LogParams { container: Some(name.to_owned()), ..LogParams::default() };
    assert_eq!(refusal(rig.pods().logs("a", &params("x")).await), "400 BadRequest: container x is not valid for pod a");
    sender.send("hello").await.expect("send");
    drop(sender);
    assert_eq!(rig.pods().logs("a", &params("s1")).await.expect("log"), "hello");
}

#[tokio::test]
async fn the_answer_of_the_node_is_passed_on_and_a_pod_without_node_has_no_log() {
    let rig = Rig::new();
    let (node, _sender) = node(&rig);
    rig.pod("waiting", json!({})).await;
    assert_eq!(rig.pods().logs("waiting", &LogParams::default()).await.expect("log"), "");
    assert!(node.asked.lock().expect("asked").is_empty());
    rig.pod("a", assigned()).await;
    node.output.lock().expect("output").take();
    assert_eq!(
        refusal(rig.pods().logs("a", &LogParams::default()).await),
        "400 BadRequest: container \"app\" is waiting to start"
    );
    for query in ["tailLines=-1", "limitBytes=0", "sinceTime=x", "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z"] {
        let path = format!("/api/v1/namespaces/default/pods/a/log?{query}");
        assert_eq!(rig.raw("GET", &path, "", "").await.0, 422, "{query}");
    }
}
