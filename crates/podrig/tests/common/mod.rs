//! What tests and benchmarks of the binary share.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it; a test fails by panicking")]

pub(crate) mod server;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use runtime::image::{Content, ImageSpec, LayerFile, LayerSource, Store};

/// Applets that the tests' containers call by name.
const APPLETS: [&str; 24] = [
    "sh", "true", "false", "sleep", "echo", "cat", "date", "test", "touch", "tail", "ls", "id", "wget", "nc", "kill",
    "env", "grep", "cut", "pwd", "mkdir", "mount", "timeout", "tar", "head",
];

/// Makes an image of a static busybox with applets linked in `/bin`.
pub(crate) fn add_busybox(images: &Path, name: &str) {
    add_image(images, &busybox(name));
}

/// Adds an image to a store.
pub(crate) fn add_image(images: &Path, image: &ImageSpec) {
    Store::open(images).unwrap().add(image).unwrap();
}

/// The image of a static busybox, to be changed.
pub(crate) fn busybox(name: &str) -> ImageSpec {
    let file = |path: String, mode, content| LayerFile { path, mode, content };
    let mut files = vec![LayerFile::executable("bin/busybox", "/bin/busybox")];
    files.extend(APPLETS.iter().map(|applet| file(format!("bin/{applet}"), 0o777, Content::Symlink("busybox".into()))));
    files.push(file("tmp".into(), 0o1777, Content::Directory));
    ImageSpec {
        names: vec![name.to_owned()],
        layers: vec![LayerSource { files }],
        cmd: vec!["sh".to_owned()],
        env: vec!["PATH=/bin".to_owned()],
        pinned: true,
        ..ImageSpec::default()
    }
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

impl Sealed {
    /// Checks that nothing but images and empty folders is left in the state directories, and no process.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.processes(), 0, "processes are left");
        let instances = self.data().join("instances");
        let left: Vec<PathBuf> = [instances, self.root.path().join("run/instances")]
            .iter()
            .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Counts processes, shims among them, that name these directories in their command line.
    pub(crate) fn processes(&self) -> usize {
        let root = self.root.path().to_str().unwrap().to_owned();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|entry| {
                std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| contains(&line, root.as_bytes()))
            })
            .count()
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// What a run could leave on the machine outside its directories, line by line.
#[derive(Debug)]
pub(crate) struct Traces(Vec<String>);

impl Traces {
    /// Looks at mounts, network devices, cgroups and packet filter rules.
    pub(crate) fn take() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut traces: Vec<String> =
            mounts.lines().map(|line| format!("mount {}", line.split(' ').nth(4).unwrap())).collect();
        let mut cgroups = Vec::new();
        find_cgroups(Path::new("/sys/fs/cgroup"), 3, &mut cgroups);
        traces.extend(cgroups.iter().map(|path| format!("cgroup {}", path.display())));
        let links = stdout("ip", &["-o", "link"]);
        traces.extend(links.lines().map(|line| format!("link {}", line.split(' ').nth(1).unwrap())));
        traces.extend(stdout("nft", &["list", "tables"]).lines().map(|line| format!("nft {line}")));
        Self(traces)
    }

    /// Compares with the present, and says only what is different.
    pub(crate) fn assert_same(&self, when: &str) {
        let now = Self::take();
        let new = |before: &[String], after: &[String]| -> Vec<String> {
            after.iter().filter(|line| !before.contains(line)).cloned().collect()
        };
        assert_eq!(new(&self.0, &now.0), Vec::<String>::new(), "appeared: {when}");
        assert_eq!(new(&now.0, &self.0), Vec::<String>::new(), "vanished: {when}");
    }
}

fn find_cgroups(dir: &Path, depth: u8, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        if entry.file_name().to_string_lossy().contains("podrig") {
            found.push(entry.path());
        } else if depth > 0 {
            find_cgroups(&entry.path(), depth - 1, found);
        }
    }
}

fn stdout(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8(output.stdout).unwrap()
}
