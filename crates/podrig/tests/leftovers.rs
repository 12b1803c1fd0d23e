//! Containers outlive a killed agent, and the next start removes them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and reports by printing")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use common::Sealed;

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

fn start(sealed: &Sealed) -> Child {
    let manifest = sealed.manifest(BUSY);
    sealed.podrig().arg("run").arg(manifest).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn containers_survive_kill_9_until_the_next_start() {
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
