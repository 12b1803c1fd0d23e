//! Servers that are killed at work: real processes, real files.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::super::{CompactionLimits, HistoryLimits, Store};
use super::format::Kind;
use super::sim::Dice;
use super::{DataDir, OpenError};
use crate::{ApiServer, Options};

const KILLS: usize = 100;
/// There are more kills if they did not suffice for so many snapshots.
const SNAPSHOTS: u64 = 10;
const WRITERS: usize = 8;
/// Snapshots are written many times in a second.
const LIMITS: CompactionLimits = CompactionLimits { least: 64 * 1024 };

const NAME: &str = "store::durable::kill_tests::a_killed_server_has_kept_every_object_that_was_acknowledged";
const DIR: &str = "PODRIG_TEST_DIR";
const STEPS: &str = "PODRIG_TEST_STEPS";

fn open(dir: &Path) -> Result<(ApiServer, Api<ConfigMap>), OpenError> {
    let store = Store::open(Arc::new(DataDir::open(dir)?), HistoryLimits::default(), LIMITS)?;
    let server = ApiServer::with_store(store, Options::default());
    let maps = Api::default_namespaced(Client::new(server.service(), "default"));
    Ok((server, maps))
}

/// Each writer goes through the same steps with its one object: create, change thrice, delete, and so on.
/// What the object holds after a step; nothing if it is deleted.
fn after_step(step: usize) -> Option<BTreeMap<String, String>> {
    let pad = "x".repeat(step * 7919 % 5000);
    (!step.is_multiple_of(5)).then(|| [("step".to_owned(), step.to_string()), ("pad".to_owned(), pad)].into())
}

async fn take_step(maps: &Api<ConfigMap>, name: &str, step: usize) -> kube::Result<()> {
    let map = json!({"metadata": {"name": name}, "data": after_step(step)});
    match step % 5 {
        0 => maps.delete(name, &DeleteParams::default()).await.map(|_| ()),
        1 => {
            let map = serde_json::from_value(map).expect("map");
            maps.create(&PostParams::default(), &map).await.map(|_| ())
        }
        _ => maps.patch(name, &PatchParams::default(), &Patch::Merge(map)).await.map(|_| ()),
    }
}

/// The process that is killed: says what it was told, until it is.
fn be_killed(dir: &Path, steps: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
    let _entered = runtime.enter();
    let (_server, maps) = open(dir).unwrap_or_else(|error| panic!("{error}"));
    let writers = steps.split(',').enumerate().map(|(writer, step)| {
        let (maps, step) = (maps.clone(), step.parse().expect("step"));
        runtime.spawn(async move { write(&maps, writer, step).await })
    });
    runtime.block_on(futures::future::try_join_all(writers)).expect("writers");
}

async fn write(maps: &Api<ConfigMap>, writer: usize, mut step: usize) {
    loop {
        step += 1;
        take_step(maps, &format!("w{writer}"), step).await.expect("step");
        // Past what tests capture, and in one write, so that no line is cut.
        io::stdout().write_all(format!("told {writer} {step}\n").as_bytes()).expect("tell");
    }
}

/// When a process is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Counted from its start: likely while it opens the store.
    Start,
    /// Counted from the first step that it tells of.
    FirstStep,
}

/// Starts the process, kills it after a while, and returns the last step of each writer that it told of.
fn kill_one(dir: &Path, steps: &[usize], from: From, after: Duration) -> Vec<usize> {
    let list = steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", NAME, "--nocapture"])
        .env(DIR, dir)
        .env(STEPS, list)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let output = child.stdout.take().expect("output");
    let (teller, told_of) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map(|line| line.expect("line"));
        lines.filter(|line| line.starts_with("told ")).try_for_each(|line| teller.send(line))
    });
    let first = (from == From::FirstStep).then(|| told_of.recv().expect("a step"));
    std::thread::sleep(after);
    child.kill().expect("kill");
    let status = child.wait().expect("wait");
    assert_eq!(status.code(), None, "the process ended by itself");
    let mut told = steps.to_vec();
    for line in first.into_iter().chain(told_of) {
        let numbers: Vec<usize> = line.split(' ').skip(1).map(|word| word.parse().expect("number")).collect();
        told[numbers[0]] = numbers[1];
    }
    told
}

/// Checks every object, and returns the step that it has come to: what was told of, or the one after.
fn check(dir: &Path, told: &[usize]) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let _entered = runtime.enter();
    let (server, maps) = open(dir).unwrap_or_else(|error| panic!("{error}"));
    let list = runtime.block_on(maps.list(&ListParams::default())).expect("list");
    server.close();
    let objects: BTreeMap<String, _> = list.into_iter().map(|map| (map.name_any(), map.data)).collect();
    let step_of = |(writer, told): (usize, &usize)| {
        let object = objects.get(&format!("w{writer}")).cloned().flatten();
        (*told..=told + 1).find(|step| after_step(*step) == object).unwrap_or_else(|| {
            let object = object.map(|data| data["step"].clone());
            panic!("writer {writer} was told of step {told}, but the object is of step {object:?}")
        })
    };
    told.iter().enumerate().map(step_of).collect()
}

#[test]
fn a_killed_server_has_kept_every_object_that_was_acknowledged() {
    if let (Some(dir), Ok(steps)) = (std::env::var_os(DIR), std::env::var(STEPS)) {
        be_killed(Path::new(&dir), &steps);
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let seed = u64::from(std::process::id());
    let mut dice = Dice::new(seed);
    let mut steps = vec![0; WRITERS];
    let mut kills = 0;
    while kills < KILLS || snapshots(dir.path()) < SNAPSHOTS {
        let from = if kills % 2 == 0 { From::Start } else { From::FirstStep };
        let after = Duration::from_micros(dice.below(90_000) as u64);
        let told = kill_one(dir.path(), &steps, from, after);
        steps = check(dir.path(), &told);
        kills += 1;
        assert!(kills < 10 * KILLS, "the writers came to {steps:?} only");
    }
}

/// How many snapshots were begun.
fn snapshots(dir: &Path) -> u64 {
    let names = std::fs::read_dir(dir).expect("dir").map(|entry| entry.expect("entry").file_name());
    names.filter_map(|name| Kind::Log.generation(name.to_str()?)).max().unwrap_or_default() - 1
}
