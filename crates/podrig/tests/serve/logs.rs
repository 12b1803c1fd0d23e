//! Logs that are larger than one file.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::common::server::Server;

/// Lines that the pod writes: more than all files hold together.
const LINES: usize = 60_000;
/// Size at which a file is followed by the next (`containerLogMaxSize`).
const LARGEST: u64 = 10 << 20;

/// Writes lines of 1,000 digits when it is told to, waits, and writes one more.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: rig}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: busybox:1.37.0
    command:
    - sh
    - -c
    - "until test -e /tmp/go; do sleep 0.1; done
       ; i=1; while test $i -le LINES; do printf '%01000d\\n' $i; i=$((i+1)); done
       ; until test -e /tmp/end; do sleep 0.1; done; echo end"
"#;

/// Checks that a line is whole, and returns its number.
fn number(line: &str) -> usize {
    assert_eq!(line.len(), 1000, "a line is not whole: {line}");
    line.parse().unwrap()
}

/// Finds the files of the pod's only log, wherever the server keeps them.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else if path.parent().unwrap().ends_with("app") && path.to_string_lossy().contains(".log") {
            found.push(path);
        }
    }
    found
}

#[test]
fn s11_26_a_log_is_rotated_and_following_it_loses_and_repeats_nothing() {
    let server = Server::start();
    server.apply(&POD.replace("LINES", &LINES.to_string()));
    server.wait("pod/rig", "condition=Ready");
    let mut follow = server.kubectl().args(["logs", "-f", "rig"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    server.run(&["exec", "rig", "--", "touch", "/tmp/go"]);
    for want in 1..=LINES {
        assert_eq!(number(&lines.next().unwrap()), want);
    }
    let files = files(&server.sealed.data());
    let sizes: Vec<u64> = files.iter().map(|path| fs::metadata(path).unwrap().size()).collect();
    assert_eq!(sizes.len(), 5, "{files:?}");
    // The line that reaches the limit is the last of its file.
    let full = sizes.iter().filter(|size| (LARGEST..LARGEST + 2000).contains(*size)).count();
    assert!(full == 4 && sizes.iter().min().unwrap() < &LARGEST, "{sizes:?}");
    // Those who come later see the newest file, as with a kubelet.
    let newest = server.run(&["logs", "rig"]);
    let numbers: Vec<usize> = newest.lines().map(number).collect();
    assert!(numbers.len() < LINES / 5 && numbers.iter().copied().eq(LINES + 1 - numbers.len()..=LINES));
    let last = |args: &[&str]| server.run(&[&["logs", "rig"], args].concat()).lines().map(number).collect::<Vec<_>>();
    assert_eq!(last(&["--tail=2"]), [LINES - 1, LINES]);
    assert_eq!(last(&["--since=1h"]), numbers);
    assert_eq!(last(&["--since=1h", "--tail=1"]), [LINES]);
    let none = last(&["--since-time=2100-01-01T00:00:00Z"]);
    assert!(none.is_empty(), "{none:?}");
    server.run(&["exec", "rig", "--", "touch", "/tmp/end"]);
    assert_eq!(lines.next().as_deref(), Some("end"));
    assert_eq!(lines.next(), None, "following ends with the container");
    assert!(follow.wait().unwrap().success());
}
