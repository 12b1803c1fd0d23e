//! The recorder: what it does and sees, users of kubectl do and see.

use std::{
    collections::BTreeMap,
    io::{BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use crate::{Action, common::server::Server};

/// An object as a watch has shown it, and whether it is gone.
pub(crate) type Change = (Value, bool);

/// Seen by both watches before the first scenario starts; neither ever runs.
const MARKERS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: marker}
spec:
  schedulingGates: [{name: example.com/never}]
  containers: [{name: app, image: 'busybox:1.37.0'}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: marker}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: 'busybox:1.37.0'}]
";

/// A server under kubectl.
pub(crate) struct Recorder {
    server: Server,
    watches: Vec<Child>,
    /// Held while one manifest is applied: all at once would keep each other waiting for long.
    turn: Mutex<()>,
}

impl Recorder {
    /// Starts a server, makes the namespaces and watches them; returns also what each watch shows.
    pub(crate) fn start(namespaces: &[String]) -> (Self, Vec<mpsc::UnboundedReceiver<Change>>) {
        let server = Server::start();
        let namespace =
            |name: &String| format!("---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}\n");
        server.apply(&namespaces.iter().map(namespace).collect::<String>());
        server.until("a default service account in each namespace", |server| {
            let accounts = server.get(&["serviceaccounts", "--all-namespaces"]);
            let accounts = accounts["items"].as_array().unwrap();
            let has_one = |name: &String| accounts.iter().any(|account| account["metadata"]["namespace"] == **name);
            namespaces.iter().all(has_one).then_some(())
        });
        server.apply(MARKERS);
        let (sinks, sources): (BTreeMap<_, _>, Vec<_>) = namespaces
            .iter()
            .map(|namespace| {
                let (sink, source) = mpsc::unbounded_channel();
                ((namespace.clone(), sink), source)
            })
            .unzip();
        let watches = ["pods", "jobs"].map(|kind| watch(&server, kind, sinks.clone())).into();
        (Self { server, watches, turn: Mutex::new(()) }, sources)
    }

    /// Returns a client of the server, for what kubectl would have to be started for again and again.
    pub(crate) async fn client(&self) -> kube::Client {
        self.server.client().await
    }

    /// Applies the objects of a file.
    pub(crate) async fn apply(&self, namespace: &str, file: &Path) {
        let _turn = self.turn.lock().await;
        self.kubectl(namespace, &["apply", "-f", file.to_str().unwrap()]).await;
    }

    /// Deletes all pods of a namespace.
    pub(crate) async fn delete(&self, namespace: &str, action: &Action) {
        let grace = format!("--grace-period={}", action.delete_grace);
        let force = if action.delete_grace == 0 { "--force=true" } else { "--force=false" };
        self.kubectl(namespace, &["delete", "pods", "--all", "--wait=false", &grace, force]).await;
    }

    /// Deletes a namespace, without waiting for its end.
    pub(crate) async fn delete_namespace(&self, namespace: &str) {
        self.kubectl(namespace, &["delete", "namespace", namespace, "--wait=false"]).await;
    }

    /// Returns the events of a namespace.
    pub(crate) async fn events(&self, namespace: &str) -> Vec<Value> {
        let list = self.kubectl(namespace, &["get", "events", "-o", "json"]).await;
        let mut list: Value = serde_json::from_str(&list).unwrap();
        serde_json::from_value(list["items"].take()).unwrap()
    }

    async fn kubectl(&self, namespace: &str, args: &[&str]) -> String {
        let mut command: Command = self.server.kubectl();
        command.arg("-n").arg(namespace).args(args);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "kubectl {args:?}: {}", crate::common::server::text(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            watch.kill().unwrap();
            watch.wait().unwrap();
        }
        if thread::panicking() {
            // A test that fails by a panic shows what the server has said.
            let _ = std::io::stderr().write_all(self.server.logs().as_bytes());
        }
    }
}

/// Lets kubectl watch all objects of a kind, and hands on what it prints by namespace; returns when it watches.
fn watch(server: &Server, kind: &str, sinks: BTreeMap<String, mpsc::UnboundedSender<Change>>) -> Child {
    let args = ["get", kind, "--all-namespaces", "--watch", "--output-watch-events", "-o", "json"];
    let mut child = server.kubectl().args(args).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut events = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>();
    let marker = events.next().unwrap().unwrap();
    assert_eq!(marker["object"]["metadata"]["name"], "marker", "{marker}");
    thread::spawn(move || {
        // It ends with an error when the watch is ended in the middle of an object.
        for mut event in events.map_while(Result::ok) {
            let namespace = event["object"]["metadata"]["namespace"].as_str().unwrap_or_default();
            if let Some(sink) = sinks.get(namespace) {
                let gone = event["type"] == "DELETED";
                // A scenario that has ended takes no more.
                let _ = sink.send((event["object"].take(), gone));
            }
        }
    });
    child
}
