//! What tests and benchmarks of the binary share.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use runtime::image::{ImageSpec, LayerFile, Store};

/// Applets that the tests' containers call by name.
const APPLETS: [&str; 16] =
    ["sh", "true", "false", "sleep", "echo", "cat", "date", "test", "touch", "tail", "ls", "id", "wget", "nc", "kill", "env"];

/// Makes an image of a static busybox with applets linked in `/bin`.
pub(crate) fn add_busybox(images: &Path, name: &str) {
    let store = Store::open(images).unwrap();
    let mut layer = vec![LayerFile::file("/bin/busybox", 0o755, "/bin/busybox")];
    layer.extend(APPLETS.iter().map(|applet| LayerFile::symlink(format!("/bin/{applet}"), "busybox")));
    layer.push(LayerFile::directory("/tmp", 0o1777));
    let spec = ImageSpec {
        names: vec![name.to_owned()],
        layers: vec![layer],
        cmd: vec!["sh".to_owned()],
        env: vec!["PATH=/bin".to_owned()],
        ..ImageSpec::default()
    };
    store.add(spec).unwrap();
}

/// Directories of its own for one test, with the binary to run in them.
pub(crate) struct Sealed {
    pub(crate) root: tempfile::TempDir,
}

impl Sealed {
    /// Makes the directories, with a busybox image in the store.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "containers need root");
        let sealed = Self { root: tempfile::tempdir().unwrap() };
        add_busybox(&sealed.data().join("images"), "busybox:1.37.0");
        sealed
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Returns the binary, ready to be given its arguments.
    pub(crate) fn podrig(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podrig"));
        command.arg("--data-dir").arg(self.data()).arg("--run-dir").arg(self.root.path().join("run"));
        command.current_dir(self.root.path()).env_remove("PODRIG_LOG").env("COLUMNS", "120").stdin(Stdio::null());
        command
    }

    /// Writes a manifest and returns its path.
    pub(crate) fn manifest(&self, text: &str) -> PathBuf {
        let path = self.root.path().join("manifest.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a manifest with more arguments to its end.
    pub(crate) fn run(&self, manifest: &str, args: &[&str]) -> Output {
        let path = self.manifest(manifest);
        self.podrig().arg("run").args(args).arg(path).output().unwrap()
    }
}
