//! The six manifests of the story as they are published, with images that other tools made, as a new user meets them.
//!
//! The programs take their real times (five seconds until the server listens, thirty until a deaf one is killed),
//! so all manifests run at once, each in directories of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use common::Sealed;
use serde_json::Value;

/// Listens after five seconds; the shell is process 1, has no handler for SIGTERM, and waits for its child.
const SLOW_SIDECAR: &str = "#!/bin/sh\nsleep 5\nhttpd -f -p 8081 -h /www\necho gone\n";
/// Asks once.
const SIDECAR_USER: &str = "#!/bin/sh\nwget -q -O - http://localhost:8081/ || exit 1\n";

/// A published manifest and how it is run.
struct Case {
    manifest: &'static str,
    timeout: Option<&'static str>,
    check: fn(&Outcome),
}

/// What `podrig run` left for its user.
struct Outcome {
    exit: i32,
    report: Value,
    said: String,
}

const CASES: [Case; 6] = [
    Case { manifest: "1-main-containers.yaml", timeout: Some("9s"), check: app_fails_and_the_pod_hangs },
    Case { manifest: "2-init-container.yaml", timeout: Some("9s"), check: app_never_starts },
    // Long enough for the deaf sidecar to be killed, too short for the Job's second pod.
    Case { manifest: "3-sidecar.yaml", timeout: Some("38s"), check: app_fails_in_spite_of_its_sidecar },
    Case { manifest: "4-sidecar-with-startup-probe.yaml", timeout: None, check: app_succeeds },
    Case { manifest: "classic.yaml", timeout: Some("9s"), check: app_fails_and_the_pod_hangs },
    Case { manifest: "support.yaml", timeout: None, check: app_succeeds },
];

#[test]
fn the_published_manifests_behave_as_in_a_cluster_with_images_from_other_tools() {
    let made = tempfile::tempdir().unwrap();
    let images = [docker_archive(made.path()), zstd_oci_archive(made.path())];
    thread::scope(|scope| {
        let start = |case: &'static Case| {
            let images = &images;
            let thread = thread::Builder::new().name(case.manifest.to_owned());
            thread.spawn_scoped(scope, move || (case.check)(&run(case, images))).unwrap()
        };
        let running: Vec<_> = CASES.iter().map(start).collect();
        let ended: Vec<bool> = running.into_iter().map(|thread| thread.join().is_ok()).collect();
        let failed: Vec<&str> =
            CASES.iter().zip(ended).filter(|(_, fine)| !fine).map(|(case, _)| case.manifest).collect();
        assert_eq!(failed, Vec::<&str>::new(), "the reasons are above");
    });
}

fn app_fails_and_the_pod_hangs(outcome: &Outcome) {
    assert_eq!(outcome.exit, 124, "{}", outcome.said);
    assert_eq!(outcome.codes(), ["started-before-its-server", "server-left"]);
    assert_eq!(outcome.phase(), "Running");
    assert_eq!(outcome.ended("containerStatuses", 0), ("Error", 1));
    assert!(outcome.state("containerStatuses", 1)["running"].is_object());
    assert_eq!(outcome.finished(), Vec::<&str>::new());
    outcome.assert_hang_was_said_in_time();
}

fn app_never_starts(outcome: &Outcome) {
    assert_eq!(outcome.exit, 124, "{}", outcome.said);
    assert_eq!(outcome.codes(), ["init-never-ends"]);
    assert_eq!(outcome.phase(), "Pending");
    assert!(outcome.state("initContainerStatuses", 0)["running"].is_object());
    assert_eq!(outcome.state("containerStatuses", 0)["waiting"]["reason"], "PodInitializing");
    assert_eq!(outcome.finished(), Vec::<&str>::new());
    outcome.assert_hang_was_said_in_time();
}

fn app_fails_in_spite_of_its_sidecar(outcome: &Outcome) {
    assert_eq!(outcome.exit, 124, "{}", outcome.said);
    assert_eq!(outcome.codes().first(), Some(&"started-before-its-server"));
    assert_eq!(outcome.phase(), "Failed");
    assert_eq!(outcome.ended("containerStatuses", 0), ("Error", 1));
    assert_eq!(outcome.ended("initContainerStatuses", 0), ("Error", 137));
    assert_eq!(outcome.report["jobs"][0]["status"]["failed"], 1);
    assert_eq!(outcome.finished(), Vec::<&str>::new());
    assert!(!outcome.said.contains("cannot end by itself"), "{}", outcome.said);
}

fn app_succeeds(outcome: &Outcome) {
    assert_eq!(outcome.exit, 0, "{}", outcome.said);
    assert_eq!(outcome.codes(), ["sidecar-ignored-sigterm"]);
    assert_eq!(outcome.phase(), "Succeeded");
    assert_eq!(outcome.ended("containerStatuses", 0), ("Completed", 0));
    assert_eq!(outcome.ended("initContainerStatuses", 0), ("Error", 137));
    assert_eq!(outcome.report["jobs"][0]["status"]["succeeded"], 1);
    assert!(outcome.finished().contains(&"Complete"));
}

impl Outcome {
    fn codes(&self) -> Vec<&str> {
        let findings = self.report["pods"][0]["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
    }

    fn phase(&self) -> &str {
        self.report["pods"][0]["object"]["status"]["phase"].as_str().unwrap()
    }

    fn state(&self, list: &str, index: usize) -> &Value {
        &self.report["pods"][0]["object"]["status"][list][index]["state"]
    }

    fn ended(&self, list: &str, index: usize) -> (&str, i64) {
        let end = &self.state(list, index)["terminated"];
        (end["reason"].as_str().unwrap(), end["exitCode"].as_i64().unwrap())
    }

    /// Returns the conditions that say how the Job ended.
    fn finished(&self) -> Vec<&str> {
        let conditions = self.report["jobs"][0]["status"]["conditions"].as_array();
        conditions.into_iter().flatten().map(|condition| condition["type"].as_str().unwrap()).collect()
    }

    /// Who sees a job hang wants to know why while it does, not after giving up.
    fn assert_hang_was_said_in_time(&self) {
        let hang = self.said.find("cannot end by itself").unwrap_or_else(|| panic!("{}", self.said));
        let stop = self.said.find("stopping 1 pod").unwrap_or_else(|| panic!("{}", self.said));
        assert!(hang < stop, "{}", self.said);
    }
}

/// Does what a new user does: an empty store, `podrig image load`, `podrig run`.
fn run(case: &Case, images: &[PathBuf; 2]) -> Outcome {
    assert!(rustix::process::geteuid().is_root(), "containers need root");
    let sealed = Sealed { root: tempfile::tempdir().unwrap() };
    let loaded = sealed.podrig().args(["image", "load"]).args(images).output().unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
    assert_eq!(
        String::from_utf8(loaded.stdout).unwrap(),
        "loaded docker.io/zwindler/slow-sidecar:latest\nloaded docker.io/zwindler/sidecar-user:latest\n"
    );
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(case.manifest);
    let mut podrig = sealed.podrig();
    podrig.args(["run", "--output", "json"]).args(case.timeout.iter().flat_map(|time| ["--timeout", time]));
    let output = podrig.arg(manifest).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    sealed.assert_clean();
    Outcome { exit: output.status.code().unwrap(), report, said }
}

/// The sidecar as `docker save` writes images.
fn docker_archive(dir: &Path) -> PathBuf {
    let layout = image(dir, "slow-sidecar", SLOW_SIDECAR);
    let archive = dir.join("slow-sidecar.tar");
    tool("skopeo", &["copy", &layout, &format!("docker-archive:{}:zwindler/slow-sidecar:latest", archive.display())]);
    archive
}

/// The app as an OCI image layout in a tar file, with Zstandard layers.
fn zstd_oci_archive(dir: &Path) -> PathBuf {
    let layout = image(dir, "sidecar-user", SIDECAR_USER);
    let archive = dir.join("sidecar-user.tar");
    let target = format!("oci-archive:{}:docker.io/zwindler/sidecar-user:latest", archive.display());
    tool("skopeo", &["copy", "--dest-compress", "--dest-compress-format", "zstd", &layout, &target]);
    let bytes = fs::read(&archive).unwrap();
    assert!(bytes.windows(8).any(|window| window == b"tar+zstd"), "skopeo compressed differently");
    archive
}

/// Makes an OCI image layout of busybox and a script with umoci, and returns it in skopeo's notation.
fn image(dir: &Path, name: &str, script: &str) -> String {
    let files = dir.join(format!("{name}.files"));
    fs::create_dir_all(files.join("bin")).unwrap();
    fs::create_dir_all(files.join("www")).unwrap();
    fs::copy("/bin/busybox", files.join("bin/busybox")).unwrap();
    for applet in ["sh", "sleep", "httpd", "wget", "echo"] {
        symlink("busybox", files.join("bin").join(applet)).unwrap();
    }
    fs::write(files.join("www/index.html"), "hello\n").unwrap();
    fs::write(files.join("run"), script).unwrap();
    fs::set_permissions(files.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    let layout = dir.join(name).display().to_string();
    let tagged = format!("{layout}:latest");
    tool("umoci", &["init", "--layout", &layout]);
    tool("umoci", &["new", "--image", &tagged]);
    tool("umoci", &["insert", "--image", &tagged, files.to_str().unwrap(), "/"]);
    tool("umoci", &["config", "--image", &tagged, "--config.entrypoint", "/run", "--config.env", "PATH=/bin"]);
    format!("oci:{tagged}")
}

fn tool(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
