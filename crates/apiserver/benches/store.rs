//! Measures the API server on a real disk, as its clients see it: writes that many share one sync, and a crowd of
//! watches over many objects. Prints tables; asserts no times. Call as `cargo bench -p apiserver
//! --bench store`.
//!
//! The yardstick is what the disk takes for one small write and its sync, without a server.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and reports by printing")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Options, ResponseBody};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Bytes of one object's data in the write benchmark.
const OBJECT_BYTES: usize = 2048;
const WRITE_TIME: Duration = Duration::from_secs(3);
const OBJECTS: usize = 2000;
const WATCHES: usize = 50;
const CHANGES: usize = 400;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    executor.block_on(async {
        // First, while nothing else has touched the memory.
        crowd(dir.path()).await;
        writes(dir.path()).await;
    });
}

async fn writes(dir: &Path) {
    println!("\ncreates of {OBJECT_BYTES} bytes each         {:>10} {:>10} {:>10}", "per second", "p50", "p99");
    print("write and sync without a server", &mut syncs(&dir.join("yardstick")));
    for writers in [1, 16, 64] {
        let server = ApiServer::open(&dir.join(format!("writers-{writers}")), Options::default()).unwrap();
        print(&format!("concurrent writers {writers}"), &mut write_for_a_while(&server, writers).await);
        server.close();
    }
    let server = ApiServer::in_memory(Options::default());
    print("concurrent writers 64, in memory", &mut write_for_a_while(&server, 64).await);
}

fn syncs(path: &Path) -> Vec<Duration> {
    let mut file = File::create(path).unwrap();
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < WRITE_TIME {
        let start = Instant::now();
        file.write_all(&[b'x'; OBJECT_BYTES]).unwrap();
        file.sync_data().unwrap();
        samples.push(start.elapsed());
    }
    samples
}

async fn write_for_a_while(server: &ApiServer, writers: usize) -> Vec<Duration> {
    let data = "x".repeat(OBJECT_BYTES);
    let end = Instant::now() + WRITE_TIME;
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (server, data) = (server.clone(), data.clone());
        tasks.spawn(async move {
            let mut samples = Vec::new();
            while Instant::now() < end {
                let name = format!("m{writer}-{}", samples.len());
                let map = json!({"metadata": {"name": name}, "data": {"key": data}});
                let start = Instant::now();
                assert_eq!(send(&server, "POST", MAPS, &map).await.0, StatusCode::CREATED);
                samples.push(start.elapsed());
            }
            samples
        });
    }
    tasks.join_all().await.concat()
}

async fn crowd(dir: &Path) {
    println!("{OBJECTS} pods, {WATCHES} watches");
    let server = ApiServer::open(&dir.join("crowd"), Options::default()).unwrap();
    row("memory of an empty server", &memory());
    for number in 0..OBJECTS {
        assert_eq!(send(&server, "POST", PODS, &pod(number)).await.0, StatusCode::CREATED);
    }
    row("memory with the pods", &memory());
    let mut lists = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let (code, body) = send(&server, "GET", PODS, &Value::Null).await;
        assert_eq!(code, StatusCode::OK);
        lists.push((start.elapsed(), body.len()));
    }
    let bytes = lists[0].1;
    let mut times: Vec<_> = lists.into_iter().map(|(time, _)| time).collect();
    row(&format!("list of all, {} KiB, p50", bytes / 1024), &millis(percentile(&mut times, 50)));
    let (mut answers, mut arrivals) = watch_changes(&server).await;
    for (name, samples) in [("change to answer", &mut answers), ("change to event at each watch", &mut arrivals)] {
        for percent in [50, 99] {
            row(&format!("{name}, p{percent}"), &millis(percentile(samples, percent)));
        }
    }
    row("memory with the watches", &memory());
    server.close();
    drop(server);
    let start = Instant::now();
    let server = ApiServer::open(&dir.join("crowd"), Options::default()).unwrap();
    row("start with the pods", &millis(start.elapsed()));
    server.close();
    let files = fs::read_dir(dir.join("crowd")).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    row("on disk", &format!("{:.1} MiB", mebibytes(bytes)));
}

/// Changes pods one by one. Returns how long the answers took, and the events of all watches.
async fn watch_changes(server: &ApiServer) -> (Vec<Duration>, Vec<Duration>) {
    let (seen, mut all_seen) = mpsc::channel(WATCHES);
    let mut watches = JoinSet::new();
    for _ in 0..WATCHES {
        let request = request(
            "GET",
            &format!(
                "{PODS}?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
            ),
            &Value::Null,
        );
        let answer = server.service().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut body = answer.into_body();
        let seen = seen.clone();
        watches.spawn(async move {
            while let Some(frame) = body.frame().await {
                let lines = frame.unwrap().into_data().unwrap();
                let changes = lines.windows(9).filter(|window| window == b"\"MODIFIED").count();
                for _ in 0..changes {
                    seen.send(Instant::now()).await.unwrap();
                }
            }
        });
    }
    let (mut answers, mut arrivals) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let patch = json!({"metadata": {"labels": {"change": change.to_string()}}});
        let path = format!("{PODS}/pod-{}", change % OBJECTS);
        let start = Instant::now();
        assert_eq!(send(server, "PATCH", &path, &patch).await.0, StatusCode::OK);
        answers.push(start.elapsed());
        for _ in 0..WATCHES {
            arrivals.push(all_seen.recv().await.unwrap().duration_since(start));
        }
    }
    (answers, arrivals)
}

fn pod(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("pod-{number}"), "labels": {"app": "bench", "number": number.to_string()}},
        "spec": {
            "initContainers": [{"name": "sidecar", "image": "example.com/sidecar:1.2.3", "restartPolicy": "Always"}],
            "containers": [{
                "name": "app", "image": "example.com/app:1.2.3", "command": ["/bin/app", "--serve"],
                "env": [{"name": "MODE", "value": "production"}, {"name": "NUMBER", "value": number.to_string()}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            }],
        },
    })
}

async fn send(server: &ApiServer, method: &str, path: &str, body: &Value) -> (StatusCode, Bytes) {
    let answer = server.service().oneshot(request(method, path, body)).await.unwrap();
    let (parts, body): (_, ResponseBody) = answer.into_parts();
    (parts.status, body.collect().await.unwrap().to_bytes())
}

fn request(method: &str, path: &str, body: &Value) -> Request<Full<Bytes>> {
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    Request::builder().method(method).uri(path).header("content-type", media_type).body(Full::new(body)).unwrap()
}

/// One line of the table of writes, from samples that took [`WRITE_TIME`] together.
fn print(name: &str, samples: &mut [Duration]) {
    let rate = samples.len() as f64 / WRITE_TIME.as_secs_f64();
    let (p50, p99) = (percentile(samples, 50), percentile(samples, 99));
    println!("{name:<36} {rate:>10.0} {:>10} {:>10}", millis(p50), millis(p99));
}

fn row(name: &str, value: &str) {
    println!("{name:<36} {value:>10}");
}

/// What this process has in memory now, clients included.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    format!("{:.1} MiB", mebibytes(kibibytes * 1024))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    samples[(samples.len() * percent / 100).min(samples.len() - 1)]
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}
