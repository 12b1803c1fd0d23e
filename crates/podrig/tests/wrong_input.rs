//! Wrong input gets one clear message that names the field or the object, the right exit code, and leaves
//! nothing behind.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and reports by printing")]

mod common;

use common::Sealed;

/// A manifest, the exit code, and what the message must contain.
struct Case {
    what: &'static str,
    manifest: &'static str,
    exit: i32,
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case { what: "not YAML", manifest: "a: [b", exit: 2, says: &["manifest.yaml", "line"] },
    Case { what: "nothing in it", manifest: "# only a comment\n", exit: 2, says: &["holds no object"] },
    Case {
        what: "unknown kind",
        manifest: "{apiVersion: apps/v9, kind: Deplyoment, metadata: {name: x}}",
        exit: 2,
        says: &["Deplyoment", "apps/v9", "kinds that podrig knows"],
    },
    Case {
        what: "a kind that never ends",
        manifest: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}",
        exit: 2,
        says: &["a Deployment never ends", "run its pod template as a Pod or a Job"],
    },
    Case {
        what: "unknown field",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, imagee: b}]}}",
        exit: 2,
        says: &["unknown field \"spec.containers[0].imagee\""],
    },
    Case {
        what: "probe on a plain init container",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {restartPolicy: Never,
            initContainers: [{name: i, image: busybox, startupProbe: {tcpSocket: {port: 1}}}],
            containers: [{name: a, image: busybox}]}}",
        exit: 2,
        says: &["spec.initContainers[0].startupProbe", "Forbidden"],
    },
    Case {
        what: "duplicate names",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {restartPolicy: Never,
            initContainers: [{name: a, image: busybox}], containers: [{name: a, image: busybox}]}}",
        exit: 2,
        says: &["Duplicate value: \"a\""],
    },
    Case {
        what: "job template that restarts always",
        manifest: "{apiVersion: batch/v1, kind: Job, metadata: {name: x}, spec: {template: {spec: {
            restartPolicy: Always, containers: [{name: a, image: busybox}]}}}}",
        exit: 2,
        says: &["spec.template.spec.restartPolicy"],
    },
    Case {
        what: "missing image",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {restartPolicy: Never,
            containers: [{name: a, image: 'nowhere.invalid/none:1', imagePullPolicy: Never}]}}",
        exit: 1,
        says: &["container a has no image", "nowhere.invalid/none:1", "podrig image load"],
    },
    Case {
        what: "image that cannot be pulled",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {restartPolicy: Never,
            containers: [{name: a, image: '127.0.0.1:1/none:1'}]}}",
        exit: 1,
        says: &["container a has no image", "127.0.0.1:1/none:1"],
    },
    Case {
        what: "image without the binary",
        manifest:
            "{apiVersion: batch/v1, kind: Job, metadata: {name: x}, spec: {template: {spec: {restartPolicy: Never,
            containers: [{name: a, image: 'busybox:1.37.0', command: [/usr/bin/python3]}]}}}}",
        exit: 1,
        says: &["container a cannot be started", "/usr/bin/python3", "no such file or directory"],
    },
    Case {
        what: "command that is not executable",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {restartPolicy: OnFailure,
            containers: [{name: a, image: 'busybox:1.37.0', command: [/etc/hosts]}]}}",
        exit: 1,
        says: &["container a cannot be started", "/etc/hosts", "permission denied"],
    },
    Case {
        what: "environment from a missing config map",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {restartPolicy: Never,
            containers: [{name: a, image: 'busybox:1.37.0', envFrom: [{configMapRef: {name: absent}}]}]}}",
        exit: 1,
        says: &["container a cannot be configured", "configmap \"absent\" not found"],
    },
];

#[test]
fn wrong_input_gets_one_clear_message_and_leaves_nothing_behind() {
    let sealed = Sealed::new();
    for case in CASES {
        let output = sealed.run(case.manifest, &["--timeout", "30s"]);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Sentences are wrapped for the terminal.
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(case.exit), "{}: {text}", case.what);
        for part in case.says {
            assert!(flat.contains(part), "{}: {part:?} is not in: {text}", case.what);
        }
        assert!(!text.contains("panicked"), "{}: {text}", case.what);
        sealed.assert_clean();
    }
}

#[test]
fn bad_usage_exits_with_2_and_help_with_0() {
    let sealed = Sealed::new();
    let code = |args: &[&str]| sealed.podrig().args(args).output().unwrap().status.code();
    assert_eq!(code(&["run"]), Some(2));
    assert_eq!(code(&["run", "--timeout", "5 parsecs", "x.yaml"]), Some(2));
    assert_eq!(code(&["run", "absent.yaml"]), Some(2));
    assert_eq!(code(&["frobnicate"]), Some(2));
    assert_eq!(code(&["run", "--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
}
