//! The story: CronJobs with an app and a slow sidecar, in all the ways people write them, in real containers.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and reports by printing")]

mod common;

use common::Sealed;
use serde_json::Value;

/// Containers as YAML flow, to be put under `containers` or `initContainers`.
const APP: &str =
    "name: app, image: 'busybox:1.37.0', command: [sh, -c, 'wget -q -O- http://localhost:8081/ || exit 1']";
/// Listens after a second, and is deaf to SIGTERM like any process 1 without a handler.
const SIDECAR: &str = "name: sidecar, image: 'busybox:1.37.0', ports: [{containerPort: 8081}],
    command: [sh, -c, \"sleep 1; while :; do printf 'HTTP/1.0 200 OK\\\\r\\\\n\\\\r\\\\nhello\\\\n' | nc -l -p 8081 >/dev/null; done\"]";
const PROBE: &str = "startupProbe: {tcpSocket: {port: 8081}, periodSeconds: 1, failureThreshold: 10}";

fn cron_job(spec: &str) -> String {
    format!(
        "apiVersion: batch/v1
kind: CronJob
metadata: {{name: story}}
spec:
  schedule: '* * * * *'
  jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 2, {spec}}}}}}}}}
"
    )
}

/// Runs it and returns exit code, report, and what was said meanwhile.
fn run(spec: &str, args: &[&str]) -> (i32, Value, String) {
    let sealed = Sealed::new();
    let output = sealed.run(&cron_job(spec), &[&["--output", "json"], args].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    sealed.assert_clean();
    (output.status.code().unwrap(), report, said)
}

fn codes(report: &Value) -> Vec<&str> {
    report["pods"][0]["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect()
}

fn state(report: &Value, list: &str, index: usize) -> Value {
    report["pods"][0]["object"]["status"][list][index]["state"].clone()
}

#[test]
fn classic_sidecar_comes_too_late_and_hangs_the_job() {
    let (exit, report, said) = run(&format!("containers: [{{{APP}}}, {{{SIDECAR}}}]"), &["--timeout", "6s"]);
    assert_eq!(exit, 124);
    assert_eq!(codes(&report), ["started-before-its-server", "server-left"]);
    let app = state(&report, "containerStatuses", 0);
    assert_eq!((&app["terminated"]["reason"], &app["terminated"]["exitCode"]), (&"Error".into(), &1.into()));
    assert!(state(&report, "containerStatuses", 1)["running"].is_object());
    assert!(report["jobs"][0]["status"]["conditions"].as_array().is_none_or(Vec::is_empty));
    assert!(said.contains("cannot end by itself"), "{said}");
}

#[test]
fn server_as_plain_init_container_blocks_the_pod_for_ever() {
    let (exit, report, said) =
        run(&format!("initContainers: [{{{SIDECAR}}}], containers: [{{{APP}}}]"), &["--timeout", "6s"]);
    assert_eq!(exit, 124);
    assert_eq!(codes(&report), ["init-never-ends"]);
    assert_eq!(state(&report, "containerStatuses", 0)["waiting"]["reason"], "PodInitializing");
    assert!(said.contains("cannot end by itself"), "{said}");
}

#[test]
fn native_sidecar_without_probe_still_comes_too_late() {
    let spec =
        format!("backoffLimit: 0, initContainers: [{{{SIDECAR}, restartPolicy: Always}}], containers: [{{{APP}}}]");
    let spec = spec.replacen("backoffLimit: 0, ", "", 1);
    let sealed = Sealed::new();
    let manifest = cron_job(&spec).replace("jobTemplate: {spec: {", "jobTemplate: {spec: {backoffLimit: 0, ");
    let output = sealed.run(&manifest, &["--output", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(codes(&report)[0], "started-before-its-server");
    assert_eq!(report["jobs"][0]["status"]["failed"], 1);
    sealed.assert_clean();
}

#[test]
fn native_sidecar_with_startup_probe_succeeds_and_its_137_does_not_count() {
    let (exit, report, _) =
        run(&format!("initContainers: [{{{SIDECAR}, restartPolicy: Always, {PROBE}}}], containers: [{{{APP}}}]"), &[]);
    assert_eq!(exit, 0);
    assert_eq!(codes(&report), ["sidecar-ignored-sigterm"]);
    let app = state(&report, "containerStatuses", 0);
    assert_eq!((&app["terminated"]["reason"], &app["terminated"]["exitCode"]), (&"Completed".into(), &0.into()));
    let sidecar = state(&report, "initContainerStatuses", 0);
    assert_eq!((&sidecar["terminated"]["reason"], &sidecar["terminated"]["exitCode"]), (&"Error".into(), &137.into()));
    assert_eq!(report["pods"][0]["object"]["status"]["phase"], "Succeeded");
    let complete =
        report["jobs"][0]["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Complete");
    assert!(complete);
}
