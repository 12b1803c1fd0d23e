//! A runtime in a directory of its own, that leaves nothing behind.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cri::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, EnvVar, ExecOutput, ExecRequest, MemoryVolume,
    NamespaceMode, Namespaces, PodMetadata, Resources, RuntimeEvent, RuntimeEventKind, RuntimeService, SandboxConfig,
    SandboxId,
};
use runtime::{Options, Runtime};
use tokio::sync::broadcast;

use crate::images::{IMAGE, TestImages};

/// Longest wait for anything; only a broken runtime takes it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime under test.
pub(crate) struct Rig {
    pub(crate) dir: PathBuf,
    pub(crate) runtime: Runtime<TestImages>,
    pub(crate) events: broadcast::Receiver<RuntimeEvent>,
    keep: Option<tempfile::TempDir>,
}

/// Runs a test on a runtime, and checks afterwards that nothing of it is left.
pub(crate) fn with_rig<F: Future<Output = ()>>(test: impl FnOnce(Rig) -> F) {
    let dir = tempfile::Builder::new().prefix("rt-").tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tokio.block_on(async {
            let rig = Rig::open(&path).await;
            tokio::time::timeout(PATIENCE * 3, test(rig)).await.expect("the test takes too long");
        });
    }));
    drop(tokio);
    let devices = devices(&options(&path).network.bridge);
    runtime::sweep(&options(&path), &TestImages::at(&path.join("image"))).unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(fs::read_dir(path.join("state/sandboxes")).unwrap().count(), 0, "sandboxes are left");
    assert!(mounts_left(&path).is_empty(), "mounts are left: {:?}", mounts_left(&path));
    wait_until_gone(&devices);
    assert!(cgroups_left(&path).is_empty(), "cgroups are left: {:?}", cgroups_left(&path));
    assert!(shims_left(&path).is_empty(), "processes are left: {:?}", shims_left(&path));
}

/// Mounts of the host below the test's directory.
fn mounts_left(dir: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().filter(|line| line.contains(dir.to_str().unwrap())).map(str::to_owned).collect()
}

/// The test's bridges and the devices on them.
fn devices(bridge: &str) -> Vec<PathBuf> {
    let all = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path());
    let bridges: Vec<_> = all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(bridge)).collect();
    let ports = bridges.iter().filter_map(|bridge| fs::read_dir(bridge.join("brif")).ok()).flatten();
    let ports: Vec<_> = ports.map(|port| Path::new("/sys/class/net").join(port.unwrap().file_name())).collect();
    bridges.into_iter().chain(ports).collect()
}

/// Waits for devices to go: the kernel removes them some time after their namespace.
fn wait_until_gone(devices: &[PathBuf]) {
    let start = std::time::Instant::now();
    while devices.iter().any(|device| device.exists()) {
        assert!(start.elapsed() < PATIENCE, "network devices are left: {devices:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn cgroup_parent(dir: &Path) -> String {
    format!("/podrig-test/{}", dir.file_name().unwrap().to_str().unwrap())
}

fn cgroups_left(dir: &Path) -> Vec<PathBuf> {
    let parent = cgroup_parent(dir);
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    hierarchies.map(|h| h.join(parent.trim_start_matches('/'))).filter(|dir| dir.exists()).collect()
}

/// Processes whose command line names the test's directory.
fn shims_left(dir: &Path) -> Vec<String> {
    let needle = dir.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(needle))
        .collect()
}

/// Returns the options that every runtime of a test's directory is opened with.
pub(crate) fn options(dir: &Path) -> Options {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let mut options = Options::new(name, dir.join("state"), dir.join("run"));
    options.cgroup_parent = cgroup_parent(dir);
    options.network_dir = dir.join("net");
    options.network.bridge = format!("t{}", &name[3..]);
    options
}

/// Returns a sandbox's configuration.
pub(crate) fn sandbox_config(dir: &Path, uid: &str) -> SandboxConfig {
    SandboxConfig {
        metadata: PodMetadata { name: "pod".into(), namespace: "default".into(), uid: uid.into(), attempt: 0 },
        hostname: "pod-host".into(),
        fqdn: None,
        host_aliases: Vec::new(),
        log_directory: dir.join("logs"),
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

/// Returns a container's configuration that executes a shell script.
pub(crate) fn shell(script: &str) -> ContainerConfig {
    let mut config = command(&["/bin/sh", "-c", script]);
    config.name = "app".into();
    config
}

/// Returns a container's configuration that executes a command.
pub(crate) fn command(words: &[&str]) -> ContainerConfig {
    ContainerConfig {
        name: "app".into(),
        image: IMAGE.into(),
        image_name: "busybox".into(),
        command: words.iter().map(|&word| word.to_owned()).collect(),
        log_path: format!("{}.log", unique()).into(),
        ..Default::default()
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns an environment variable.
pub(crate) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: value.into() }
}

/// Returns a memory volume at `path`.
pub(crate) fn memory_volume(path: PathBuf) -> MemoryVolume {
    MemoryVolume { path, size_bytes: Some(1 << 20), mode: 0o1777, gid: None }
}

impl Rig {
    /// Opens the runtime in a test's directory.
    pub(crate) async fn open(dir: &Path) -> Self {
        let images = TestImages::at(&dir.join("image"));
        let runtime = Runtime::open(options(dir), images).await.unwrap();
        let events = runtime.events();
        Self { dir: dir.to_path_buf(), runtime, events, keep: None }
    }

    /// Makes a sandbox with the usual configuration.
    pub(crate) async fn sandbox(&self) -> SandboxId {
        self.sandbox_with(|_| {}).await
    }

    /// Makes a sandbox whose configuration was changed.
    pub(crate) async fn sandbox_with(&self, change: impl FnOnce(&mut SandboxConfig)) -> SandboxId {
        let mut config = sandbox_config(&self.dir, &format!("uid-{}", unique()));
        change(&mut config);
        self.runtime.run_sandbox(config).await.unwrap().id
    }

    /// Creates and starts a container.
    pub(crate) async fn start(&self, sandbox: &SandboxId, config: ContainerConfig) -> ContainerId {
        let id = self.runtime.create_container(sandbox, config).await.unwrap();
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    /// Waits for a container's end and returns its status.
    pub(crate) async fn ended(&mut self, id: &ContainerId) -> ContainerStatus {
        let status = self.runtime.container_status(id).await.unwrap();
        if status.state == ContainerState::Exited {
            return status;
        }
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("no event").unwrap();
            match event.kind {
                RuntimeEventKind::ContainerExited(status) if status.id == *id => return status,
                _ => {}
            }
        }
    }

    /// Runs a container to its end and returns its status and output lines.
    pub(crate) async fn run(&mut self, sandbox: &SandboxId, config: ContainerConfig) -> (ContainerStatus, String) {
        let id = self.start(sandbox, config).await;
        let status = self.ended(&id).await;
        let log = self.log(&status);
        (status, log)
    }

    /// Returns what a container wrote, without times and tags.
    pub(crate) fn log(&self, status: &ContainerStatus) -> String {
        let text = fs::read_to_string(&status.log_path).unwrap();
        text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned() + "\n").collect()
    }

    /// Waits until a container's log contains a text.
    pub(crate) async fn until_logged(&self, id: &ContainerId, needle: &str) {
        let path = self.runtime.container_status(id).await.unwrap().log_path;
        let wait = async {
            while !fs::read_to_string(&path).unwrap().contains(needle) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the text does not appear in the log");
    }

    /// Executes a command in a container.
    pub(crate) async fn exec(&self, id: &ContainerId, words: &[&str]) -> cri::Result<ExecOutput> {
        let request = ExecRequest {
            command: words.iter().map(|&word| word.to_owned()).collect(),
            timeout: Some(PATIENCE),
            output_limit: 1 << 20,
        };
        self.runtime.exec_sync(id, request).await
    }

    /// Keeps a directory until the end of the test.
    pub(crate) fn scratch(&mut self) -> PathBuf {
        self.keep.get_or_insert_with(|| tempfile::tempdir().unwrap()).path().to_path_buf()
    }
}
