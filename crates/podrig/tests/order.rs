//! Start and stop order with real containers that print their own start and stop.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and reports by printing")]

mod common;

use common::Sealed;
use serde_json::Value;

/// Two sidecars with an init container between them, two mains, hooks.
const MANIFEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: order}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 20
  initContainers:
  - name: s1
    image: busybox:1.37.0
    restartPolicy: Always
    command: [sh, -c, "echo start; trap 'echo TERM; exit 0' TERM; while :; do sleep 0.05; done"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo prestop >/proc/1/fd/1; sleep 1"]}}}
  - name: i1
    image: busybox:1.37.0
    command: [sh, -c, "echo start; sleep 0.3; echo end"]
  - name: s2
    image: busybox:1.37.0
    restartPolicy: Always
    command: [sh, -c, "echo start; trap 'echo TERM; sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo prestop >/proc/1/fd/1"]}}}
  containers:
  - name: m1
    image: busybox:1.37.0
    command: [sh, -c, "echo start; sleep 2; echo end"]
    lifecycle: {postStart: {exec: {command: [sleep, "1"]}}}
  - name: m2
    image: busybox:1.37.0
    command: [sh, -c, "echo start; sleep 0.3; echo end"]
"#;

/// Returns the position of the first step of a container that looks like this.
fn at(steps: &[(i64, String, Value)], container: &str, is: impl Fn(&Value) -> bool) -> i64 {
    let found = steps.iter().find(|(_, name, kind)| name == container && is(kind));
    found.unwrap_or_else(|| panic!("{container}: no such step in {steps:?}")).0
}

#[test]
fn s2_03_s2_08_s4_20_s4_21_order_of_start_and_stop_in_real_containers() {
    let sealed = Sealed::new();
    let output = sealed.run(MANIFEST, &["--output", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let mut steps: Vec<(i64, String, Value)> = Vec::new();
    for container in report["pods"][0]["timeline"]["containers"].as_array().unwrap() {
        for moment in container["moments"].as_array().unwrap() {
            steps.push((
                moment["at"].as_i64().unwrap(),
                container["name"].as_str().unwrap().to_owned(),
                moment["kind"].clone(),
            ));
        }
    }
    steps.sort_by_key(|step| step.0);
    let started = |name: &str| at(&steps, name, |kind| kind == "Started");
    let exited = |name: &str| at(&steps, name, |kind| kind.get("Exited").is_some());
    let stop = |name: &str| at(&steps, name, |kind| kind.get("StopSignal").is_some());
    let hook = |name: &str, what: &str, end: &str| {
        at(&steps, name, |kind| kind.get(end).is_some_and(|hook| hook == what || hook["hook"] == what))
    };
    assert!(started("s1") < started("i1"));
    assert!(exited("i1") < started("s2"));
    assert!(started("s2") < started("m1"));
    assert!(hook("m1", "PostStart", "HookEnded") <= started("m2"), "a postStart hook holds the next container");
    let mains_ended = exited("m1").max(exited("m2"));
    assert!(hook("s1", "PreStop", "HookStarted") >= mains_ended && hook("s2", "PreStop", "HookStarted") >= mains_ended);
    assert!(
        hook("s1", "PreStop", "HookStarted") < stop("s2").max(exited("s2")),
        "preStop hooks do not wait for their turn"
    );
    assert!(mains_ended <= stop("s2"));
    assert!(exited("s2") <= stop("s1"), "sidecars stop one after the other, last first");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("order/")).collect();
    let place =
        |text: &str| lines.iter().position(|line| *line == text).unwrap_or_else(|| panic!("no {text:?} in {lines:?}"));
    assert!(place("order/s1  start") < place("order/i1  start"));
    assert!(place("order/s2  TERM") < place("order/s1  TERM"));
    sealed.assert_clean();
}
