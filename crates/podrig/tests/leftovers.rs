//! Nothing outlives a run: neither after Ctrl-C, nor after `kill -9` and another start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use common::{Sealed, Traces};
use rustix::process::{Pid, Signal, kill_process};

const BUSY: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: busy}
spec:
  template:
    spec:
      restartPolicy: Never
      volumes: [{name: scratch, emptyDir: {medium: Memory}}]
      initContainers:
      - name: proxy
        image: busybox:1.37.0
        restartPolicy: Always
        command: [sh, -c, 'echo up; while :; do sleep 0.1; done']
        startupProbe: {exec: {command: ['true']}, periodSeconds: 1}
        volumeMounts: [{name: scratch, mountPath: /scratch}]
      containers:
      - {name: app, image: 'busybox:1.37.0', command: [sleep, '60']}
";

const QUICK: &str = "
apiVersion: v1
kind: Pod
metadata: {name: quick}
spec:
  restartPolicy: Never
  containers: [{name: app, image: 'busybox:1.37.0', command: ['true']}]
";

/// The tests look at the whole machine, so they take turns.
static MACHINE: Mutex<()> = Mutex::new(());

fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(sealed: &Sealed) -> Child {
    let manifest = sealed.manifest(BUSY);
    sealed.podrig().arg("run").arg(manifest).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn the_next_run_removes_what_a_killed_one_left_whenever_it_was_killed() {
    let _machine = machine();
    let sealed = Sealed::new();
    let before = Traces::take();
    for millis in [3, 12, 25, 40, 60, 90, 140, 250, 600, 1500] {
        let mut child = start(&sealed);
        // Not to wait for anything: these are the moments at which it is killed.
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        let output = sealed.run(QUICK, &[]);
        assert!(output.status.success(), "after {millis} ms: {}", String::from_utf8_lossy(&output.stderr));
        sealed.assert_clean();
        before.assert_same(&format!("killed after {millis} ms"));
    }
}

#[test]
fn containers_survive_kill_9_until_the_next_start() {
    let _machine = machine();
    let sealed = Sealed::new();
    let mut child = start(&sealed);
    assert!(first_line(&mut child).contains("up"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(sealed.processes() > 0, "the sandbox must outlive its agent");
    assert!(sealed.run(QUICK, &[]).status.success());
    assert_eq!(sealed.processes(), 0);
    sealed.assert_clean();
}

#[test]
fn ctrl_c_stops_properly_and_a_second_one_at_once() {
    let _machine = machine();
    let sealed = Sealed::new();
    let before = Traces::take();
    let mut child = start(&sealed);
    assert!(first_line(&mut child).contains("up"));
    let begin = std::time::Instant::now();
    send(&child, Signal::INT);
    // The containers are deaf to SIGTERM, so the grace period of 30 s runs until the second signal.
    std::thread::sleep(Duration::from_millis(500));
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(20));
    sealed.assert_clean();
    before.assert_same("interrupted twice");
}
