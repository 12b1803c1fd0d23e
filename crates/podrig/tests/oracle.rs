//! Runs the oracle's scenarios with kubectl on a `podrig serve` and compares with what a real Kubernetes 1.36 did.
//!
//! `oracle/NAME.yaml` is the scenario, `oracle/NAME.json` what was recorded there, reduced to what must
//! agree: for each object the sequence of values of each part of its status, the final objects, the events,
//! and the lines that containers printed. Times do not count, but order does. One status may stand for
//! several (they can be merged on either side), so of two sequences one must be contained in the other.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and reports by printing")]

mod common;
#[path = "oracle/recorder.rs"]
mod recorder;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, LogParams},
};
use recorder::{Change, Recorder};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// What was recorded on a real cluster.
#[derive(Debug, Deserialize)]
struct Expected {
    /// How long it was recorded.
    seconds: u64,
    #[serde(default)]
    actions: Vec<Action>,
    /// Object, part of its status, values in order.
    sequences: BTreeMap<String, BTreeMap<String, Vec<Value>>>,
    r#final: BTreeMap<String, Value>,
    /// Type, reason, object, message.
    events: BTreeSet<[String; 4]>,
    logs: Vec<LogLine>,
}

#[derive(Debug, Clone, Deserialize)]
struct Action {
    at: f64,
    #[serde(rename = "deleteGrace")]
    delete_grace: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct LogLine {
    t: f64,
    pod: Value,
    container: String,
    line: String,
}

/// What this server did.
#[derive(Debug, Default)]
struct Seen {
    sequences: BTreeMap<String, BTreeMap<String, Vec<Value>>>,
    last: BTreeMap<String, Value>,
    names: BTreeMap<String, usize>,
    events: BTreeSet<[String; 4]>,
    logs: Vec<LogLine>,
}

/// Differences that are meant to be; each says why.
const ACCEPTED: &[(&str, &str, &str)] = &[
    ("bad-command", "Pod/0 main app", "the back-off ends on time here, so another restart fits into the recording"),
    ("poststart-fails", "Pod/0 main app", "the back-off ends on time here"),
    ("sidecar-exits-zero-restarts", "Pod/0 conditions", "the back-off ends on time here"),
    ("sidecar-exits-zero-restarts", "Pod/0 init s1", "the back-off ends on time here"),
    ("sidecar-liveness-restarts", "Pod/0 init s1", "a restart after a probe's kill takes no second here"),
    (
        "job-indexed-with-sidecar",
        "completedIndexes",
        "which of two pods that run side by side ends first is left to chance",
    ),
    ("bad-command", "exec:", "the text before exec: names the runtime's own layers"),
    (
        "job-indexed-with-sidecar",
        "Job/scenario ready",
        "the real Job status lags its pods by a second and skips counts",
    ),
];

fn main() {
    // A plain main: all scenarios run side by side on one server, and each gets a line of its own.
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut names = scenarios();
    names.retain(|name| only.is_empty() || only.iter().any(|part| name.contains(part.as_str())));
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let results = executor.block_on(run_all(&names));
    let failed = report(&results);
    assert!(failed.is_empty(), "{} scenario(s) differ from the real cluster: {}", failed.len(), failed.join(", "));
}

async fn run_all(names: &[String]) -> Vec<(String, Vec<String>)> {
    let namespaces: Vec<String> = names.iter().map(|name| format!("o-{name}")).collect();
    let (recorder, changes) = Recorder::start(&namespaces);
    let client = recorder.client().await;
    let running = names.iter().zip(changes).map(|(name, changes)| scenario(&recorder, &client, name, changes));
    let differences = futures::future::join_all(running).await;
    names.iter().cloned().zip(differences).collect()
}

fn report(results: &[(String, Vec<String>)]) -> Vec<String> {
    println!("\nrunning {} scenarios", results.len());
    for (name, differences) in results {
        println!("scenario {name} ... {}", if differences.is_empty() { "ok" } else { "DIFFERS" });
        for difference in differences {
            println!("    {difference}");
        }
    }
    let failed: Vec<String> = results.iter().filter(|(_, d)| !d.is_empty()).map(|(name, _)| name.clone()).collect();
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out\n",
        results.len() - failed.len(),
        failed.len()
    );
    failed
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

fn scenarios() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Runs one scenario until its objects are as they ended on the real cluster, or its time is up.
async fn scenario(
    recorder: &Recorder,
    client: &Client,
    name: &str,
    mut changes: mpsc::UnboundedReceiver<Change>,
) -> Vec<String> {
    let expected: Expected =
        serde_json::from_str(&fs::read_to_string(folder().join(format!("{name}.json"))).unwrap()).unwrap();
    let namespace = format!("o-{name}");
    recorder.apply(&namespace, &folder().join(format!("{name}.yaml"))).await;
    let begin = Instant::now();
    let mut seen = Seen::default();
    let mut actions = expected.actions.iter().peekable();
    let end = begin + Duration::from_secs(expected.seconds);
    loop {
        if actions.peek().is_none() && same(&seen.last, &expected.r#final) {
            break;
        }
        let wake = actions.peek().map_or(end, |action| begin + Duration::from_secs_f64(action.at));
        tokio::select! {
            Some((object, gone)) = changes.recv() => seen.take(&object, gone),
            () = sleep_until(wake) => match actions.next() {
                Some(action) => {
                    seen.logs = logs(client, &namespace, &seen.names).await;
                    recorder.delete(&namespace, action).await;
                }
                None => break,
            },
        }
        if seen.last.values().any(|object| object.get("gone").is_none()) {
            let lines = logs(client, &namespace, &seen.names).await;
            seen.merge_logs(lines);
        }
    }
    let lines = logs(client, &namespace, &seen.names).await;
    seen.merge_logs(lines);
    seen.events = all_events(recorder, &namespace, &expected).await;
    recorder.delete_namespace(&namespace).await;
    compare(name, &expected, &seen)
}

fn pods(client: &Client, namespace: &str) -> Api<k8s_openapi::api::core::v1::Pod> {
    Api::namespaced(client.clone(), namespace)
}

async fn events(recorder: &Recorder, namespace: &str) -> BTreeSet<[String; 4]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = recorder.events(namespace).await.into_iter();
    events
        .map(|event| {
            let object = &event["involvedObject"];
            let on = object.get("fieldPath").unwrap_or_else(|| &object["kind"]);
            [text(&event["type"]), text(&event["reason"]), text(on), normalize(&text(&event["message"]), namespace)]
        })
        .collect()
}

/// Reads the events until all that are expected have been written: the recorders write in the background, and
/// what they have not written when all others are there came after the end anyway.
async fn all_events(recorder: &Recorder, namespace: &str, expected: &Expected) -> BTreeSet<[String; 4]> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        let seen = events(recorder, namespace).await;
        if seen.is_superset(&expected.events) || Instant::now() > deadline {
            return seen;
        }
    }
}

/// Replaces what is different in each run.
fn normalize(message: &str, namespace: &str) -> String {
    let mut text = message.replace(namespace, "NS").replace("to podrig", "to NODE");
    if let Some(open) = text.rfind('(').filter(|open| text.len() == open + 38) {
        text.replace_range(open.., "(UID)");
    }
    let is_suffix = |c: char| "bcdfghjklmnpqrstvwxz2456789".contains(c);
    let mut from = 0;
    while let Some(at) = text[from..].find("scenario-").map(|at| from + at + "scenario-".len()) {
        let mut start = at;
        if let Some(index) =
            text[start..].find('-').filter(|i| *i > 0 && text[start..start + i].chars().all(|c| c.is_ascii_digit()))
        {
            start += index + 1;
        }
        let length = text[start..].chars().take_while(|c| is_suffix(*c)).count();
        if length == 5 {
            text.replace_range(start..start + 5, "RAND");
        }
        from = at;
    }
    text
}

async fn logs(client: &Client, namespace: &str, names: &BTreeMap<String, usize>) -> Vec<LogLine> {
    let mut lines = Vec::new();
    let Ok(list) = pods(client, namespace).list(&ListParams::default()).await else { return lines };
    for pod in list {
        let status = pod.status.clone().unwrap_or_default();
        let statuses = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
        for container in statuses {
            for previous in [false, true] {
                let params = LogParams {
                    container: Some(container.name.clone()),
                    timestamps: true,
                    previous,
                    ..LogParams::default()
                };
                let text = pods(client, namespace).logs(&pod.name_any(), &params).await.unwrap_or_default();
                let number = names.get(&pod.name_any()).copied().unwrap_or(0);
                lines.extend(text.lines().filter_map(|line| log_line(line, number, &container.name)));
            }
        }
    }
    lines
}

fn log_line(line: &str, pod: usize, container: &str) -> Option<LogLine> {
    let (time, text) = line.split_once(' ')?;
    let time: jiff::Timestamp = time.parse().ok()?;
    let t = time.duration_since(jiff::Timestamp::UNIX_EPOCH).as_secs_f64();
    Some(LogLine { t, pod: json!(pod), container: container.to_owned(), line: text.to_owned() })
}

impl Seen {
    fn take(&mut self, object: &Value, gone: bool) {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let key = if kind == "Pod" {
            let next = self.names.len();
            format!("Pod/{}", self.names.entry(name.to_owned()).or_insert(next))
        } else {
            format!("{kind}/{name}")
        };
        let mut projection = if kind == "Pod" { project_pod(object) } else { project_job(object) };
        if gone {
            projection.insert("gone".into(), json!(true));
        }
        let old = self.last.get(&key).and_then(Value::as_object).cloned().unwrap_or_default();
        let sequences = self.sequences.entry(key.clone()).or_default();
        for (part, value) in &projection {
            if old.get(part) != Some(value) {
                sequences.entry(part.clone()).or_default().push(value.clone());
            }
        }
        for part in old.keys().filter(|part| !projection.contains_key(*part)) {
            sequences.entry(part.clone()).or_default().push(Value::Null);
        }
        self.last.insert(key, Value::Object(projection));
    }

    fn merge_logs(&mut self, lines: Vec<LogLine>) {
        for line in lines {
            if !self.logs.contains(&line) {
                self.logs.push(line);
            }
        }
    }
}

fn project_pod(object: &Value) -> Map<String, Value> {
    let status = &object["status"];
    let mut out = Map::new();
    out.insert("phase".into(), status["phase"].clone());
    out.insert("reason".into(), status["reason"].clone());
    out.insert("deleting".into(), json!(object["metadata"].get("deletionTimestamp").is_some()));
    out.insert("conditions".into(), conditions(status));
    for (group, label) in [("initContainerStatuses", "init"), ("containerStatuses", "main")] {
        for container in status[group].as_array().into_iter().flatten() {
            out.insert(format!("{label} {}", container["name"].as_str().unwrap()), project_container(container));
        }
    }
    out
}

fn project_job(object: &Value) -> Map<String, Value> {
    let status = &object["status"];
    let parts = ["active", "ready", "succeeded", "failed", "terminating", "completedIndexes", "failedIndexes"];
    let mut out: Map<String, Value> =
        parts.iter().filter_map(|part| Some(((*part).to_owned(), status.get(part)?.clone()))).collect();
    out.insert("conditions".into(), conditions(status));
    out
}

fn conditions(status: &Value) -> Value {
    let text = |condition: &Value| {
        let reason = condition["reason"].as_str().map(|reason| format!("/{reason}")).unwrap_or_default();
        (
            condition["type"].as_str().unwrap().to_owned(),
            json!(format!("{}{reason}", condition["status"].as_str().unwrap())),
        )
    };
    Value::Object(status["conditions"].as_array().into_iter().flatten().map(text).collect())
}

fn project_container(container: &Value) -> Value {
    let mut state = json!({"is": "none"});
    for (kind, details) in container["state"].as_object().into_iter().flatten() {
        state = json!({"is": kind});
        for field in ["reason", "exitCode", "signal"] {
            if let Some(value) = details.get(field) {
                state[field] = value.clone();
            }
        }
        if let (true, Some(message)) = (kind == "terminated", details["message"].as_str().filter(|m| !m.is_empty())) {
            state["message"] = json!(message.chars().take(200).collect::<String>());
        }
    }
    let mut out = json!({"state": state, "ready": container["ready"], "started": container["started"], "restarts": container["restartCount"]});
    if let Some(last) = container["lastState"]["terminated"].as_object() {
        out["last"] = json!({"reason": last.get("reason"), "exitCode": last.get("exitCode")});
    }
    out
}

/// Lists every difference that is not accepted.
fn compare(name: &str, expected: &Expected, seen: &Seen) -> Vec<String> {
    let mut differences = Vec::new();
    for (object, parts) in &expected.sequences {
        for (part, real) in parts {
            let ours = seen.sequences.get(object).and_then(|parts| parts.get(part)).cloned().unwrap_or_default();
            let (real, ours) = (settled(real), settled(&ours));
            if !contains(&real, &ours) && !contains(&ours, &real) {
                differences.push(format!("{object} {part}: real {} ours {}", list(&real), list(&ours)));
            }
        }
    }
    for (object, real) in &expected.r#final {
        let ours = seen.last.get(object).cloned().unwrap_or_default();
        for (part, value) in real.as_object().unwrap() {
            let ours_settled = ours.get(part).map(without_back_off);
            if ours_settled != Some(without_back_off(value)) && !(value.is_null() && ours_settled.is_none()) {
                differences.push(format!("final {object} {part}: real {value} ours {}", ours[part]));
            }
        }
    }
    for event in expected.events.symmetric_difference(&seen.events) {
        let whose = if expected.events.contains(event) { "only real" } else { "only ours" };
        differences.push(format!("event {whose}: {}", event.join(" | ")));
    }
    differences.extend(compare_logs(expected, seen));
    differences.retain(|difference| !ACCEPTED.iter().any(|(n, part, _)| *n == name && difference.contains(part)));
    differences
}

/// Each container must have printed the same lines in the same order; a loop may have got further.
fn compare_logs(expected: &Expected, seen: &Seen) -> Vec<String> {
    let lines = |logs: &[LogLine]| {
        let mut logs = logs.to_vec();
        logs.sort_by(|a, b| a.t.total_cmp(&b.t));
        let mut by_container: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
        for log in logs {
            by_container.entry((log.pod.to_string(), log.container)).or_default().push(json!(log.line));
        }
        by_container
    };
    let (real, ours) = (lines(&expected.logs), lines(&seen.logs));
    let mut differences = Vec::new();
    for (container, real) in &real {
        let ours = ours.get(container).cloned().unwrap_or_default();
        if !contains(real, &ours) && !contains(&ours, real) {
            differences.push(format!("log {container:?}: real {} ours {}", list(real), list(&ours)));
        }
    }
    differences.extend(compare_order(expected, seen));
    differences
}

/// Lines of different containers that were clearly apart on the real cluster must come in the same order.
fn compare_order(expected: &Expected, seen: &Seen) -> Vec<String> {
    const APART: f64 = 0.9;
    let first = |line: &LogLine| {
        seen.logs
            .iter()
            .filter(|l| (&l.pod, &l.container, &l.line) == (&line.pod, &line.container, &line.line))
            .map(|l| l.t)
            .min_by(f64::total_cmp)
    };
    let is_first = |line: &LogLine| {
        !expected
            .logs
            .iter()
            .any(|l| (&l.pod, &l.container, &l.line) == (&line.pod, &line.container, &line.line) && l.t < line.t)
    };
    let mut differences = Vec::new();
    for a in expected.logs.iter().filter(|line| is_first(line)) {
        for b in expected.logs.iter().filter(|line| is_first(line) && line.pod == a.pod && line.t > a.t + APART) {
            if let (Some(ours_a), Some(ours_b)) = (first(a), first(b))
                && ours_a > ours_b
            {
                differences
                    .push(format!("order: {} {:?} must come before {} {:?}", a.container, a.line, b.container, b.line));
            }
        }
    }
    differences
}

/// Drops repeats of the same value next to each other, and the end of an instance before its back-off: the
/// two statuses follow each other at once and may be merged into one (contract S3-26).
fn settled(values: &[Value]) -> Vec<Value> {
    let mut values: Vec<Value> = values.iter().map(without_back_off).collect();
    values.dedup();
    values
}

/// Shows a container that waits for its back-off as it was right after it had ended.
fn without_back_off(value: &Value) -> Value {
    let waits = value["state"]["reason"] == "CrashLoopBackOff";
    let Some(last) = value.get("last").filter(|_| waits) else { return value.clone() };
    let mut ended = value.clone();
    ended["state"] = json!({"is": "terminated", "reason": last["reason"], "exitCode": last["exitCode"]});
    if let (true, Some(ended)) = (ended["restarts"] == 0, ended.as_object_mut()) {
        ended.remove("last");
    }
    ended
}

/// Compares whole objects as [`settled`] compares values.
fn same(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> bool {
    let settle = |object: &Value| -> Value {
        let parts = object.as_object().into_iter().flatten();
        parts.map(|(part, value)| (part.clone(), without_back_off(value))).collect()
    };
    let settle = |objects: &BTreeMap<String, Value>| -> Vec<(String, Value)> {
        objects.iter().map(|(name, object)| (name.clone(), settle(object))).collect()
    };
    settle(a) == settle(b)
}

/// Returns whether all of `inner` occurs in `outer` in the same order.
fn contains(outer: &[Value], inner: &[Value]) -> bool {
    let mut rest = outer.iter();
    inner.iter().all(|value| rest.any(|candidate| candidate == value))
}

fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(" → ")
}
