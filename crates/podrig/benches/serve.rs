//! Measures `podrig serve` from outside: what it costs to have it run, and a load as k9s and its like make it, many
//! watches over many objects, each on a TLS connection of its own. Prints tables; asserts no times. Call as
//! `cargo bench -p podrig --bench serve`. How fast it writes, `cargo bench -p apiserver` says.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and reports by printing")]

use std::{
    fs,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::sync::mpsc;

#[path = "../tests/common/mod.rs"]
mod common;

use common::server::Server;

const STARTS: usize = 20;
const OBJECTS: usize = 2000;
const WATCHES: usize = 50;
const CHANGES: usize = 200;
/// How many objects are created at the same time.
const WRITERS: usize = 16;
const IDLE_TIME: Duration = Duration::from_secs(60);
/// Time for controllers to look at everything once, before idleness is measured.
const SETTLING_TIME: Duration = Duration::from_secs(3);

fn main() {
    let binary = fs::metadata(env!("CARGO_BIN_EXE_podrig")).unwrap().len();
    row("binary", &mebibytes(binary));
    starts();
    let server = Server::start();
    idle("idle, empty", &server);
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    executor.block_on(load(&server));
}

fn starts() {
    let mut server = Server::start();
    let mut samples = Vec::new();
    for _ in 0..STARTS {
        server.kill();
        let begin = Instant::now();
        server.resume();
        samples.push(begin.elapsed());
    }
    percentiles("start of the process to ready", &mut samples);
}

fn idle(name: &str, server: &Server) {
    std::thread::sleep(SETTLING_TIME);
    let before = cpu_time(server);
    std::thread::sleep(IDLE_TIME);
    let share = (cpu_time(server) - before).as_secs_f64() / IDLE_TIME.as_secs_f64();
    row(&format!("{name}: part of a core"), &format!("{:.3} %", share * 100.0));
    row(&format!("{name}: memory"), &memory(server));
}

async fn load(server: &Server) {
    println!("\n{OBJECTS} pods, {WATCHES} watches with TLS");
    let client = server.client().await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let begin = Instant::now();
    let params = PostParams::default();
    let creates = stream::iter(0..OBJECTS).map(|number| {
        let (pods, params) = (&pods, &params);
        async move { pods.create(params, &pod(number)).await }
    });
    creates.buffer_unordered(WRITERS).try_for_each(async |_| Ok(())).await.unwrap();
    row(&format!("create all, {WRITERS} at a time"), &millis(begin.elapsed()));
    row("memory with the pods", &memory(server));
    let mut lists = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        let request = http::Request::get("/api/v1/namespaces/default/pods").body(Vec::new()).unwrap();
        let length = client.request_text(request).await.unwrap().len();
        assert!(length > OBJECTS * 1000, "{length} bytes");
        lists.push(begin.elapsed());
    }
    percentiles("list of all", &mut lists);
    let (mut answers, mut arrivals) = changes(server, &pods).await;
    percentiles("change to answer", &mut answers);
    percentiles("change to event at each watch", &mut arrivals);
    row("memory with the watches", &memory(server));
}

/// Changes pods one by one. Returns how long the answers took, and the events of all watches.
async fn changes(server: &Server, pods: &Api<Pod>) -> (Vec<Duration>, Vec<Duration>) {
    let version = pods.list(&ListParams::default().limit(1)).await.unwrap().metadata.resource_version.unwrap();
    let (seen, mut all_seen) = mpsc::channel(WATCHES);
    for _ in 0..WATCHES {
        // A client has one pool of connections; each watch gets its own.
        let client: Client = server.client().await;
        let pods: Api<Pod> = Api::default_namespaced(client);
        let (seen, version) = (seen.clone(), version.clone());
        tokio::spawn(async move {
            let watch = pods.watch(&WatchParams::default(), &version).await.unwrap();
            futures::pin_mut!(watch);
            while let Ok(Some(event)) = watch.try_next().await {
                if matches!(event, WatchEvent::Modified(_)) && seen.send(Instant::now()).await.is_err() {
                    return;
                }
            }
        });
    }
    let (mut answers, mut arrivals) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"change": change.to_string()}}}));
        let begin = Instant::now();
        pods.patch(&format!("pod-{change}"), &PatchParams::default(), &patch).await.unwrap();
        answers.push(begin.elapsed());
        for _ in 0..WATCHES {
            arrivals.push(all_seen.recv().await.unwrap().duration_since(begin));
        }
    }
    // All watches stand when the first change has been seen by all, however long connecting took.
    arrivals.drain(..WATCHES);
    (answers, arrivals)
}

/// A pod that waits to be let onto a node: only the server is to work.
fn pod(number: usize) -> Pod {
    let pod = json!({
        "metadata": {"name": format!("pod-{number}"), "labels": {"app": "bench", "number": number.to_string()}},
        "spec": {
            "schedulingGates": [{"name": "example.com/never"}],
            "initContainers": [{"name": "sidecar", "image": "example.com/sidecar:1.2.3", "restartPolicy": "Always"}],
            "containers": [{
                "name": "app", "image": "example.com/app:1.2.3", "command": ["/bin/app", "--serve"],
                "env": [{"name": "MODE", "value": "production"}, {"name": "NUMBER", "value": number.to_string()}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            }],
        },
    });
    serde_json::from_value(pod).unwrap()
}

/// Returns the resident memory of the server's process.
fn memory(server: &Server) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    mebibytes(kibibytes * 1024)
}

/// Returns what the server's process has had of processors so far, to the nanosecond.
fn cpu_time(server: &Server) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero())).unwrap();
    let nanoseconds = |thread: fs::DirEntry| -> u64 {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().map_or(0, |time| time.parse().unwrap())
    };
    Duration::from_nanos(threads.flatten().map(nanoseconds).sum())
}

fn percentiles(name: &str, samples: &mut [Duration]) {
    samples.sort_unstable();
    for percent in [50, 99] {
        let index = (samples.len() * percent / 100).min(samples.len() - 1);
        row(&format!("{name}, p{percent}"), &millis(samples[index]));
    }
}

fn row(name: &str, value: &str) {
    println!("{name:<40} {value:>12}");
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0)
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}
