//! A runtime that runs nothing: containers live and die as a script says, in real time.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use cri::{
    Connection, ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStatus, Error, ExecOutput,
    ExecRequest, ExecSession, ExitReason, ImageAuth, ImageInfo, ImageService, Memory, ObjectKind, Removal, Resources,
    Result, RuntimeEvent, RuntimeEventKind, RuntimeService, SandboxConfig, SandboxId, SandboxMemory, SandboxState,
    SandboxStatus, Session, StreamingService, Streams, UnusedImage,
};
use tokio::sync::{Notify, broadcast};

/// How the containers of one name behave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// Ends by itself so long after its start, with this code.
    pub(crate) exits: Option<(Duration, i32)>,
    /// What a stop signal does: end with this code, or nothing.
    pub(crate) on_stop: Option<i32>,
    /// Exit codes of executed commands, in order; the last one stays.
    pub(crate) execs: Vec<i32>,
    /// Written to the termination message file at the end.
    pub(crate) message: Option<String>,
}

/// The runtime.
#[derive(Debug, Clone)]
pub(crate) struct FakeRuntime {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<RuntimeEvent>,
    /// Told when a sandbox has been removed.
    removed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    scripts: BTreeMap<String, Script>,
    images: BTreeMap<String, ImageInfo>,
    sandboxes: BTreeMap<SandboxId, (SandboxConfig, SandboxStatus)>,
    containers: BTreeMap<ContainerId, (ContainerConfig, ContainerStatus)>,
    calls: Vec<String>,
    targets: Vec<Option<String>>,
    counter: u64,
}

impl State {
    fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_nanos())
        .expect("in range")
}

impl FakeRuntime {
    /// Makes a runtime with one image, `busybox:1`, and these scripts by container name.
    pub(crate) fn new(scripts: impl IntoIterator<Item = (&'static str, Script)>) -> Self {
        let state = State {
            scripts: scripts.into_iter().map(|(name, script)| (name.to_owned(), script)).collect(),
            images: [("busybox:1".to_owned(), ImageInfo { id: "sha256:1".to_owned(), ..ImageInfo::default() })].into(),
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(state)), events: broadcast::channel(1024).0, removed: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Returns the calls that changed something, with container names instead of ids.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Returns the configuration of the newest instance of a container.
    pub(crate) fn config(&self, container: &str) -> Option<ContainerConfig> {
        let state = self.lock();
        let all = state.containers.values().filter(|(config, _)| config.name == container);
        all.max_by_key(|(config, _)| config.attempt).map(|(config, _)| config.clone())
    }

    /// Returns, for each container created, the one whose processes it sees.
    pub(crate) fn targets(&self) -> Vec<Option<String>> {
        self.lock().targets.clone()
    }

    /// Returns the configuration of the newest sandbox.
    pub(crate) fn sandbox(&self) -> Option<SandboxConfig> {
        self.lock().sandboxes.values().next_back().map(|(config, _)| config.clone())
    }

    /// Tells whether anything is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits until nothing is left.
    pub(crate) async fn until_empty(&self, patience: Duration) {
        let removed = async {
            loop {
                let next = self.removed.notified();
                if self.is_empty() {
                    return;
                }
                next.await;
            }
        };
        assert!(tokio::time::timeout(patience, removed).await.is_ok(), "{:?}", self.calls());
    }

    /// Ends a sandbox as if its shim had died.
    pub(crate) fn lose_sandbox(&self) {
        let lost = {
            let mut state = self.lock();
            let (_, status) = state.sandboxes.values_mut().next_back().expect("a sandbox");
            status.state = SandboxState::NotReady;
            status.clone()
        };
        self.tell(&lost.metadata.uid.clone(), RuntimeEventKind::SandboxLost(lost));
    }

    fn tell(&self, pod_uid: &str, kind: RuntimeEventKind) {
        let _ = self.events.send(RuntimeEvent { pod_uid: pod_uid.to_owned(), at: now(), kind });
    }

    /// Ends a running container.
    fn exit(&self, id: &ContainerId, code: i32) {
        let (uid, status) = {
            let mut state = self.lock();
            let Some((config, status)) = state.containers.get_mut(id) else { return };
            if status.state != ContainerState::Running {
                return;
            }
            status.state = ContainerState::Exited;
            status.exit_code = code;
            status.finished_at = now();
            status.reason = Some(if code == 0 { ExitReason::Completed } else { ExitReason::Error });
            let (config, status) = (config.clone(), status.clone());
            if let Some(text) = state.scripts.get(&config.name).and_then(|s| s.message.clone()) {
                let cri::MountSource::Host(path) = &config.mounts.last().expect("a mount").source else { return };
                std::fs::write(path, text).expect("written");
            }
            state.calls.push(format!("exit {} {code}", status.name));
            (state.sandboxes[&status.sandbox].1.metadata.uid.clone(), status)
        };
        self.tell(&uid, RuntimeEventKind::ContainerExited(status));
    }

    fn missing<T>(kind: ObjectKind, id: &str) -> Result<T> {
        Err(Error::NotFound { kind, id: id.to_owned() })
    }
}

impl RuntimeService for FakeRuntime {
    async fn run_sandbox(&self, config: SandboxConfig) -> Result<SandboxStatus> {
        let mut state = self.lock();
        state.counter += 1;
        let status = SandboxStatus {
            id: SandboxId(format!("sandbox{:04}", state.counter)),
            metadata: config.metadata.clone(),
            state: SandboxState::Ready,
            created_at: now(),
            ips: vec![std::net::IpAddr::from([127, 0, 0, 1])],
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        };
        state.calls.push(format!("run sandbox {}", config.metadata.attempt));
        state.sandboxes.insert(status.id.clone(), (config, status.clone()));
        Ok(status)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let running: Vec<_> = {
            let mut state = self.lock();
            if let Some((_, status)) = state.sandboxes.get_mut(id) {
                status.state = SandboxState::NotReady;
                state.calls.push("stop sandbox".to_owned());
            }
            state.containers.values().filter(|(_, s)| s.sandbox == *id).map(|(_, s)| s.id.clone()).collect()
        };
        running.iter().for_each(|id| self.exit(id, 137));
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.stop_sandbox(id).await?;
        let mut state = self.lock();
        state.containers.retain(|_, (_, status)| status.sandbox != *id);
        if state.sandboxes.remove(id).is_some() {
            state.calls.push("remove sandbox".to_owned());
            self.removed.notify_waiters();
        }
        Ok(())
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>> {
        Ok(self.lock().sandboxes.values().map(|(_, status)| status.clone()).collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId> {
        let mut state = self.lock();
        let Some((sandbox_config, _)) = state.sandboxes.get(sandbox) else {
            return Self::missing(ObjectKind::Sandbox, &sandbox.0);
        };
        let log_path = sandbox_config.log_directory.join(&config.log_path);
        std::fs::create_dir_all(log_path.parent().expect("a parent")).expect("made");
        std::fs::write(&log_path, format!("2026-01-01T00:00:00Z stdout F hello from {}\n", config.name))
            .expect("written");
        state.counter += 1;
        let status = ContainerStatus {
            id: ContainerId(format!("container{:04}", state.counter)),
            sandbox: sandbox.clone(),
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created,
            created_at: now(),
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: None,
            message: String::new(),
            image: config.image_name.clone(),
            image_ref: config.image.clone(),
            log_path,
            pid: None,
            user: Some(cri::LinuxUser { uid: 1000, gid: 0, groups: vec![0, 2000] }),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        };
        let id = status.id.clone();
        state.calls.push(format!("create {} {}", config.name, config.attempt));
        state.targets.push(config.pid_target.clone().map(|id| id.0));
        state.containers.insert(id.clone(), (config, status));
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let (uid, status, script) = {
            let mut state = self.lock();
            let Some((_, status)) = state.containers.get_mut(id) else {
                return Self::missing(ObjectKind::Container, &id.0);
            };
            status.state = ContainerState::Running;
            status.started_at = now();
            let status = status.clone();
            state.calls.push(format!("start {}", status.name));
            let script = state.scripts.get(&status.name).cloned().unwrap_or_default();
            (state.sandboxes[&status.sandbox].1.metadata.uid.clone(), status, script)
        };
        self.tell(&uid, RuntimeEventKind::ContainerStarted(status.clone()));
        if let Some((after, code)) = script.exits {
            let (runtime, id) = (self.clone(), id.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                runtime.exit(&id, code);
            });
        }
        Ok(status)
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let script = {
            let mut state = self.lock();
            let Some((config, _)) = state.containers.get(id) else { return Ok(()) };
            let name = config.name.clone();
            state.calls.push(format!("stop {name} {}", grace.as_secs()));
            state.scripts.get(&name).cloned().unwrap_or_default()
        };
        match script.on_stop {
            Some(code) => self.exit(id, code),
            None => {
                tokio::time::sleep(grace).await;
                self.exit(id, 137);
            }
        }
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let mut state = self.lock();
        if let Some((config, _)) = state.containers.remove(id) {
            state.calls.push(format!("remove {}", config.name));
        }
        Ok(())
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        match self.lock().containers.get(id) {
            Some((_, status)) => Ok(status.clone()),
            None => Self::missing(ObjectKind::Container, &id.0),
        }
    }

    async fn list_containers(&self, filter: ContainerFilter) -> Result<Vec<ContainerStatus>> {
        let state = self.lock();
        let matches = |s: &ContainerStatus| {
            let uid = state.sandboxes.get(&s.sandbox).map(|(_, s)| &s.metadata.uid);
            filter.sandbox.as_ref().is_none_or(|id| *id == s.sandbox)
                && filter.pod_uid.as_ref().is_none_or(|wanted| uid == Some(wanted))
        };
        Ok(state.containers.values().map(|(_, s)| s).filter(|s| matches(s)).cloned().collect())
    }

    async fn update_resources(
        &self,
        sandbox: &SandboxId,
        whole: Resources,
        containers: Vec<(ContainerId, Resources)>,
    ) -> Result<()> {
        let mut state = self.lock();
        state.calls.push(format!("limit pod {:?} {:?}", whole.cpu_quota, whole.memory_limit));
        for (id, resources) in containers {
            let Some((config, status)) = state.containers.get_mut(&id).filter(|(_, s)| s.sandbox == *sandbox) else {
                return Self::missing(ObjectKind::Container, &id.0);
            };
            config.resources = resources.clone();
            let call = format!("limit {} {:?} {:?}", status.name, resources.cpu_quota, resources.memory_limit);
            state.calls.push(call);
        }
        Ok(())
    }

    /// Every container uses a megabyte.
    async fn memory(&self, sandbox: &SandboxId) -> Result<SandboxMemory> {
        let state = self.lock();
        let own = state.containers.values().filter(|(_, status)| status.sandbox == *sandbox);
        let used = |config: &ContainerConfig| Memory {
            used: 1 << 20,
            working_set: 1 << 20,
            limit: config.resources.memory_limit,
        };
        let containers = own.map(|(config, status)| (status.id.clone(), used(config))).collect();
        Ok(SandboxMemory { whole: Memory::default(), containers })
    }

    async fn processes(&self, _: &SandboxId) -> Result<usize> {
        Ok(0)
    }

    async fn memory_stall(&self) {
        std::future::pending().await
    }

    /// Is where the log is.
    async fn writable_layer(&self, id: &ContainerId) -> Result<PathBuf> {
        let status = self.container_status(id).await?;
        Ok(status.log_path.parent().expect("a directory").to_owned())
    }

    async fn exec_sync(&self, id: &ContainerId, request: ExecRequest) -> Result<ExecOutput> {
        let mut state = self.lock();
        let Some((config, _)) = state.containers.get(id) else {
            return Self::missing(ObjectKind::Container, &id.0);
        };
        let name = config.name.clone();
        state.calls.push(format!("exec {name} {}", request.command.join(" ")));
        let execs = state.scripts.get_mut(&name).map(|s| &mut s.execs);
        let exit_code = match execs {
            Some(codes) if codes.len() > 1 => codes.remove(0),
            Some(codes) => codes.first().copied().unwrap_or(0),
            None => 0,
        };
        Ok(ExecOutput { stdout: Vec::new(), stderr: Vec::new(), exit_code, timed_out: false })
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}

/// Says which instance a session was opened in, as its end.
impl StreamingService for FakeRuntime {
    async fn exec(&self, id: &ContainerId, _: ExecSession) -> Result<Session> {
        self.attach(id, Streams::default()).await
    }

    async fn attach(&self, id: &ContainerId, _: Streams) -> Result<Session> {
        let end = Error::StartFailed { message: id.0.clone() };
        let end = Box::pin(std::future::ready(Err(end)));
        Ok(Session { stdin: None, stdout: None, stderr: None, resize: None, end })
    }

    async fn connect(&self, sandbox: &SandboxId, port: u16) -> Result<Pin<Box<dyn Connection>>> {
        Err(Error::FailedPrecondition { message: format!("nobody listens on {port} in {}", sandbox.0) })
    }
}

impl ImageService for FakeRuntime {
    async fn image_status(&self, image: &str) -> Result<Option<ImageInfo>> {
        Ok(self.lock().images.get(image).cloned())
    }

    async fn pull_image(&self, image: &str, _: Vec<ImageAuth>) -> Result<ImageInfo> {
        Err(Error::PullFailed { image: image.to_owned(), message: "no such image".to_owned() })
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>> {
        Ok(self.lock().images.values().cloned().collect())
    }

    async fn remove_image(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn image_dir(&self) -> PathBuf {
        PathBuf::from("/")
    }

    async fn unused_images(&self) -> Result<Vec<UnusedImage>> {
        Ok(Vec::new())
    }

    async fn remove_unused_image(&self, _: &str) -> Result<Removal> {
        Ok(Removal::Used)
    }
}
