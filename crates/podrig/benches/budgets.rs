//! Measures what users wait for, in one run on one machine, with `crun run` as the yardstick for what the
//! kernel costs. Prints medians and ratios; asserts nothing. Call as `cargo bench`.
//!
//! All contestants take turns, so that whatever else the machine does hits each of them alike.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and reports by printing")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cri::{ContainerConfig, NamespaceMode, Namespaces, PodMetadata, Resources, RuntimeService as _, SandboxConfig};
use podrig::{Dirs, Instance};
use runtime::{Runtime, image::Store};
use serde_json::Value;

#[path = "../tests/common/mod.rs"]
mod common;

const ROUNDS: usize = 30;
const IMAGE: &str = "bench/busybox:1";
const PODRIG: &str = env!("CARGO_BIN_EXE_podrig");

fn main() {
    assert!(rustix::process::geteuid().is_root(), "containers need root");
    let state = tempfile::tempdir().unwrap();
    let dirs = Dirs { data: state.path().join("data"), run: state.path().join("run") };
    common::add_busybox(&dirs.images(), IMAGE);
    let bundle = bundle(state.path(), &dirs);
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let instance = Instance::create(&dirs).unwrap();
    let runtime = executor.block_on(open(&dirs, &instance));

    let mut samples: [Vec<Duration>; 5] = Default::default();
    for round in 0..ROUNDS {
        samples[0].push(crun(&bundle));
        samples[1].push(executor.block_on(in_sandbox(&runtime, round)));
        samples[2].push(executor.block_on(with_sandbox(&runtime, round)));
        samples[3].push(cold_run(&dirs, state.path()));
        samples[4].push(gate(&dirs, state.path()));
    }
    drop(runtime);
    instance.remove().unwrap();

    let yardstick = median(&mut samples[0]);
    let rows = [
        "crun run true",
        "podrig: create, start, wait, remove in a sandbox",
        "podrig: the same with a sandbox of its own",
        "cold `podrig run`, process start to first output",
        "gate: startup probe passed to app started",
    ];
    println!("{:<52} {:>10} {:>10} {:>8}", "median of 30 rounds", "p50", "p95", "ratio");
    for (name, samples) in rows.iter().zip(&mut samples) {
        let (p50, p95) = (median(samples), percentile(samples, 95));
        println!(
            "{name:<52} {:>7.2} ms {:>7.2} ms {:>8.2}",
            millis(p50),
            millis(p95),
            p50.as_secs_f64() / yardstick.as_secs_f64()
        );
    }
}

async fn open(dirs: &Dirs, instance: &Instance) -> Runtime {
    let defaults = runtime::Options::new(&instance.id, &instance.data, &instance.run);
    let options = runtime::Options { shim_exe: PathBuf::from(PODRIG), ..defaults };
    Runtime::open(options, Store::open(&dirs.images()).unwrap()).await.unwrap()
}

/// Makes a bundle with the same root file system and program.
fn bundle(state: &Path, dirs: &Dirs) -> PathBuf {
    let bundle = state.join("bundle");
    fs::create_dir_all(&bundle).unwrap();
    let store = Store::open(&dirs.images()).unwrap();
    let info = store.status(IMAGE).unwrap().unwrap();
    let layer = store.rootfs(&info.id).unwrap().layers.remove(0);
    assert!(Command::new("cp").arg("-a").arg(layer).arg(bundle.join("rootfs")).status().unwrap().success());
    assert!(Command::new("crun").arg("spec").current_dir(&bundle).status().unwrap().success());
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["process"]["terminal"] = Value::Bool(false);
    config["process"]["args"] = serde_json::json!(["/bin/true"]);
    fs::write(&path, config.to_string()).unwrap();
    bundle
}

fn crun(bundle: &Path) -> Duration {
    let begin = Instant::now();
    // Older crun refuses the hybrid cgroup layout unless the unified hierarchy is out of its sight.
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun run bench-podrig";
    let status = Command::new("unshare").args(["-m", "sh", "-c", script]).current_dir(bundle).status().unwrap();
    assert!(status.success());
    begin.elapsed()
}

async fn in_sandbox(runtime: &Runtime, round: usize) -> Duration {
    let sandbox = runtime.run_sandbox(sandbox(round)).await.unwrap();
    let begin = Instant::now();
    run_container(runtime, &sandbox.id).await;
    let elapsed = begin.elapsed();
    runtime.remove_sandbox(&sandbox.id).await.unwrap();
    elapsed
}

async fn with_sandbox(runtime: &Runtime, round: usize) -> Duration {
    let begin = Instant::now();
    let sandbox = runtime.run_sandbox(sandbox(round)).await.unwrap();
    run_container(runtime, &sandbox.id).await;
    runtime.remove_sandbox(&sandbox.id).await.unwrap();
    begin.elapsed()
}

async fn run_container(runtime: &Runtime, sandbox: &cri::SandboxId) {
    let image = &runtime.images().status(IMAGE).unwrap().unwrap().id;
    let mut events = runtime.events();
    let config = ContainerConfig {
        name: "bench".into(),
        image: image.to_owned(),
        image_name: IMAGE.into(),
        command: vec!["/bin/true".into()],
        log_path: "bench/0.log".into(),
        ..ContainerConfig::default()
    };
    let id = runtime.create_container(sandbox, config).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    loop {
        if let cri::RuntimeEventKind::ContainerExited(status) = events.recv().await.unwrap().kind
            && status.id == id
        {
            assert_eq!(status.exit_code, 0);
            break;
        }
    }
    runtime.remove_container(&id).await.unwrap();
}

fn sandbox(round: usize) -> SandboxConfig {
    SandboxConfig {
        metadata: PodMetadata {
            name: "bench".into(),
            namespace: "bench".into(),
            uid: format!("bench-{round}"),
            attempt: 0,
        },
        hostname: "bench".into(),
        fqdn: None,
        host_aliases: Vec::new(),
        log_directory: std::env::temp_dir().join("podrig-bench-logs"),
        dns: None,
        port_mappings: Vec::new(),
        namespaces: Namespaces { network: NamespaceMode::Pod, pid: NamespaceMode::Container, ipc: NamespaceMode::Pod },
        user_namespace: None,
        sysctls: Default::default(),
        memory_volumes: Vec::new(),
        resources: Resources::default(),
        labels: Default::default(),
        annotations: Default::default(),
    }
}

/// Times a whole `podrig run` from the start of the process to the first line of the container.
fn cold_run(dirs: &Dirs, state: &Path) -> Duration {
    let manifest = state.join("cold.yaml");
    fs::write(
        &manifest,
        pod("restartPolicy: Never\n  containers: [{name: app, image: 'bench/busybox:1', command: [echo, hello]}]"),
    )
    .unwrap();
    let begin = Instant::now();
    let mut child = podrig(dirs).args(["run", "--quiet"]).arg(&manifest).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let elapsed = begin.elapsed();
    assert!(line.contains("hello"), "{line:?}");
    assert!(child.wait().unwrap().success());
    elapsed
}

/// Reads from the exact times of a run how long the app waited after the sidecar's startup probe had passed.
fn gate(dirs: &Dirs, state: &Path) -> Duration {
    let manifest = state.join("gate.yaml");
    let spec = "restartPolicy: Never
  initContainers:
  - name: sidecar
    image: 'bench/busybox:1'
    restartPolicy: Always
    command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.05; done\"]
    startupProbe: {exec: {command: ['true']}, periodSeconds: 1}
  containers:
  - {name: app, image: 'bench/busybox:1', command: ['true']}";
    fs::write(&manifest, pod(spec)).unwrap();
    let output = podrig(dirs).args(["run", "--output", "json"]).arg(&manifest).stderr(Stdio::null()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let containers = &report["pods"][0]["timeline"]["containers"];
    let at = |container: usize, is: fn(&Value) -> bool| {
        let moments = containers[container]["moments"].as_array().unwrap();
        moments.iter().find(|m| is(&m["kind"])).unwrap()["at"].as_i64().unwrap()
    };
    let passed = at(0, |kind| kind.get("ProbePassed").is_some_and(|probe| probe == "Startup"));
    let started = at(1, |kind| kind == "Started");
    Duration::from_nanos(u64::try_from(started - passed).unwrap())
}

fn pod(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: bench}}\nspec:\n  {spec}\n")
}

fn podrig(dirs: &Dirs) -> Command {
    let mut command = Command::new(PODRIG);
    command.arg("--data-dir").arg(&dirs.data).arg("--run-dir").arg(&dirs.run);
    command
}

fn median(samples: &mut [Duration]) -> Duration {
    percentile(samples, 50)
}

fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort();
    samples[(samples.len() - 1) * percent / 100]
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
