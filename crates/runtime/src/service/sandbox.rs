//! One sandbox as the agent holds it: what is known of it, and the connection to its shim.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use cri::{
    ContainerId, ContainerState, ContainerStatus, Error, ExitReason, NamespaceMode, Result, RuntimeEvent,
    RuntimeEventKind, SandboxConfig, SandboxId, SandboxState, SandboxStatus,
};
use tokio::sync::{broadcast, watch};

use super::{Images, Inner, etc_files, internal, sweep};
use crate::{
    cgroup::PodCgroup,
    connection::{self, Connection, Gone, Incoming},
    net::Network,
    protocol::{Answer, Call, Change, Message},
    record::{self, Durability, SandboxRecord, now},
    shim::{self, Greeting},
};

/// Exit code of a container whose end nobody recorded (contract S5-08).
const LOST: i32 = 137;
/// Longest wait for a shim that was asked to end everything and itself. Only a process that the kernel cannot
/// kill takes longer.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(15);
/// Longest greeting of a shim.
const MAX_GREETING: u64 = 64 * 1024;

/// A sandbox.
#[derive(Debug)]
pub(super) struct Sandbox {
    dir: PathBuf,
    id: SandboxId,
    config: SandboxConfig,
    pub(super) view: Mutex<View>,
    network: Arc<Network>,
    connection: OnceLock<Connection>,
    events: broadcast::Sender<RuntimeEvent>,
    /// Whether the end of the shim has been dealt with.
    over: watch::Sender<bool>,
}

/// What changes in a sandbox's life.
#[derive(Debug)]
pub(super) struct View {
    pub(super) record: SandboxRecord,
    pub(super) containers: BTreeMap<ContainerId, ContainerStatus>,
    /// The end of the shim is wanted.
    stopping: bool,
}

impl Sandbox {
    /// Makes a sandbox and starts its shim. On failure nothing is left.
    pub(super) async fn run<I: Images>(runtime: &Inner<I>, config: SandboxConfig) -> Result<Arc<Self>> {
        let options = &runtime.options;
        let id = SandboxId(record::random_id().map_err(|e| internal("make an id", &e))?);
        let dir = options.sandboxes_dir().join(&id.0);
        let record = SandboxRecord {
            socket: options.run_dir.join(format!("{}.sock", id.0.get(..16).unwrap_or(&id.0))),
            id,
            config,
            created_at: now(),
            state: SandboxState::NotReady,
            complete: false,
            ips: Vec::new(),
            cgroups: runtime.cgroups.clone(),
            cgroup_parent: options.cgroup_parent.clone(),
        };
        let sandbox = Arc::new(Self::new(dir, record, Arc::clone(&runtime.network), runtime.events.clone()));
        match sandbox.set_up(options.shim_exe.clone()).await {
            Ok(incoming) => {
                sandbox.pump(incoming);
                Ok(sandbox)
            }
            Err(error) => {
                sandbox.view().stopping = true;
                if let Err(error) = sweep::remove_sandbox(&sandbox.dir, &runtime.images, &runtime.network) {
                    tracing::warn!(sandbox = %sandbox.id, %error, "half-made sandbox not removed");
                }
                Err(error)
            }
        }
    }

    fn new(
        dir: PathBuf,
        record: SandboxRecord,
        network: Arc<Network>,
        events: broadcast::Sender<RuntimeEvent>,
    ) -> Self {
        Self {
            dir,
            network,
            id: record.id.clone(),
            config: record.config.clone(),
            view: Mutex::new(View { record, containers: BTreeMap::new(), stopping: false }),
            connection: OnceLock::new(),
            events,
            over: watch::channel(false).0,
        }
    }

    async fn set_up(&self, shim_exe: PathBuf) -> Result<Incoming> {
        let (dir, record) = (self.dir.clone(), self.view().record.clone());
        let socket = record.socket.clone();
        let shim = blocking(move || prepare(&dir, &record, &shim_exe)).await?;
        let (connection, incoming) =
            connection::connect(&socket).await.map_err(|e| internal("connect to the sandbox's shim", &e))?;
        let _ = self.connection.set(connection);
        let ips = self.attach_network(shim).await?;
        etc_files::write_hosts(&self.dir, &self.config, &ips)
            .map_err(|e| internal("write the sandbox's /etc/hosts", &e))?;
        let mut view = self.view();
        view.record.ips = ips;
        view.record.state = SandboxState::Ready;
        view.record.complete = true;
        view.record.save(&self.dir).map_err(|e| internal("write the sandbox's record", &e))?;
        Ok(incoming)
    }

    async fn attach_network(&self, shim: u32) -> Result<Vec<IpAddr>> {
        if !has_network(&self.config) {
            return Ok(Vec::new());
        }
        let (network, id) = (Arc::clone(&self.network), self.id.clone());
        let ports = self.config.port_mappings.clone();
        blocking(move || {
            let ips = network.attach(&id.0, shim).map_err(|e| internal("set up the pod's network", &e))?;
            if let Some(ip) = ips.first() {
                network.map_ports(&id.0, *ip, &ports).map_err(|e| internal("map host ports", &e))?;
            }
            Ok(ips)
        })
        .await
    }

    /// Takes over a sandbox of an earlier agent: connects to its shim, or draws the conclusions.
    pub(super) async fn adopt(
        dir: PathBuf,
        record: SandboxRecord,
        network: Arc<Network>,
        events: broadcast::Sender<RuntimeEvent>,
    ) -> Arc<Self> {
        let (state, socket) = (record.state, record.socket.clone());
        let sandbox = Arc::new(Self::new(dir, record, network, events));
        match record::load_containers(&sandbox.dir) {
            Ok(all) => sandbox.view().containers = all.into_iter().map(|status| (status.id.clone(), status)).collect(),
            Err(error) => tracing::warn!(sandbox = %sandbox.id, %error, "container records not read"),
        }
        if state == SandboxState::NotReady {
            sandbox.over.send_replace(true);
            return sandbox;
        }
        match connection::connect(&socket).await {
            Ok((connection, incoming)) => {
                let _ = sandbox.connection.set(connection);
                sandbox.pump(incoming);
                // Without an answer the shim is gone; that has been dealt with then.
                if let Ok(Ok(Answer::Containers(all))) = sandbox.ask(Call::List).await {
                    let known = all.into_iter().map(|status| (status.id.clone(), status));
                    sandbox.view().containers = known.collect();
                }
            }
            Err(_) => sandbox.on_lost().await,
        }
        sandbox
    }

    pub(super) fn id(&self) -> &SandboxId {
        &self.id
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn config(&self) -> &SandboxConfig {
        &self.config
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        // Every change of the view is one assignment.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> SandboxStatus {
        let view = self.view();
        SandboxStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: view.record.state,
            created_at: view.record.created_at,
            ips: view.record.ips.clone(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }

    pub(super) fn containers(&self) -> Vec<ContainerStatus> {
        self.view().containers.values().cloned().collect()
    }

    pub(super) fn status_of(&self, id: &ContainerId) -> Option<ContainerStatus> {
        self.view().containers.get(id).cloned()
    }

    /// Asks the shim; when it is gone, returns after its end has been dealt with.
    pub(super) async fn ask(&self, call: Call) -> Result<Result<Answer>, Gone> {
        let Some(connection) = self.connection.get() else { return Err(Gone) };
        match connection.ask(call).await {
            Ok(result) => Ok(result.map_err(Into::into)),
            Err(gone) => {
                self.wait_over().await;
                Err(gone)
            }
        }
    }

    async fn wait_over(&self) {
        // The sender lives as long as this sandbox.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Reads what the shim says until it ends.
    fn pump(self: &Arc<Self>, mut incoming: Incoming) {
        let sandbox = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(message) = incoming.next().await {
                match message {
                    Message::Reply { id, result } => incoming.hand_over(id, result),
                    Message::Event { at, change, status } => sandbox.on_event(at, change, *status),
                }
            }
            drop(incoming);
            if sandbox.view().stopping {
                sandbox.over.send_replace(true);
            } else {
                sandbox.on_lost().await;
            }
        });
    }

    fn on_event(&self, at: cri::Nanos, change: Change, status: ContainerStatus) {
        if change == Change::Removed {
            self.view().containers.remove(&status.id);
            return;
        }
        self.view().containers.insert(status.id.clone(), status.clone());
        let (at, kind) = match change {
            Change::Created | Change::Removed => return,
            Change::Started => (status.started_at, RuntimeEventKind::ContainerStarted(status)),
            Change::Exited => (status.finished_at, RuntimeEventKind::ContainerExited(status)),
            Change::Signalled(signal) => (at, RuntimeEventKind::ContainerSignalled { status, signal }),
        };
        self.publish(at, kind);
    }

    fn publish(&self, at: cri::Nanos, kind: RuntimeEventKind) {
        // No subscriber is no error.
        let _ = self.events.send(RuntimeEvent { pod_uid: self.config.metadata.uid.clone(), at, kind });
    }

    /// Deals with the end of a shim that nobody asked for: what it left is killed, ends that it did not
    /// record are recorded as unknown, and everybody is told.
    async fn on_lost(&self) {
        self.clear_away().await;
        if let Ok(recorded) = record::load_containers(&self.dir) {
            // The shim may have recorded an end and not lived to tell.
            self.view().containers.extend(recorded.into_iter().map(|status| (status.id.clone(), status)));
        }
        let at = now();
        for mut status in self.containers() {
            if status.state == ContainerState::Exited {
                continue;
            }
            status.state = ContainerState::Exited;
            status.exit_code = LOST;
            status.reason = Some(ExitReason::Unknown);
            status.message = "The container's exit was not recorded: its sandbox ended unexpectedly".into();
            status.finished_at = at;
            status.pid = None;
            if let Err(error) = record::save_container(&self.dir, &status, Durability::Power) {
                tracing::warn!(container = %status.id, %error, "container record not written");
            }
            self.view().containers.insert(status.id.clone(), status.clone());
            self.publish(at, RuntimeEventKind::ContainerExited(status));
        }
        self.mark_not_ready();
        self.publish(at, RuntimeEventKind::SandboxLost(self.status()));
        self.over.send_replace(true);
    }

    fn mark_not_ready(&self) {
        let mut view = self.view();
        view.record.state = SandboxState::NotReady;
        if let Err(error) = view.record.save(&self.dir) {
            tracing::warn!(sandbox = %self.id, %error, "sandbox record not written");
        }
    }

    /// Kills what may be left of the shim and its containers, and removes the pod's cgroup.
    async fn clear_away(&self) {
        if let Err(error) = self.end_processes().await {
            tracing::warn!(sandbox = %self.id, %error, "processes or cgroups left");
        }
    }

    async fn end_processes(&self) -> Result<()> {
        let (dir, record) = (self.dir.clone(), self.view().record.clone());
        let network = Arc::clone(&self.network);
        blocking(move || sweep::end_processes(&dir, &record, &network)).await
    }

    /// Ends everything in the sandbox.
    pub(super) async fn stop(&self) -> Result<()> {
        let ready = {
            let mut view = self.view();
            view.stopping = true;
            view.record.state == SandboxState::Ready
        };
        if !ready {
            return Ok(());
        }
        // Whatever it answers, or does not in time: it is gone after this.
        let _ = tokio::time::timeout(SHUTDOWN_WAIT, self.ask(Call::Shutdown)).await;
        self.end_processes().await?;
        self.wait_over().await;
        self.mark_not_ready();
        Ok(())
    }
}

/// Runs blocking work on a thread made for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(internal("work in the background", &error)))
}

/// Writes the files, makes the cgroup, starts the shim, and returns its process id.
fn prepare(dir: &Path, record: &SandboxRecord, shim_exe: &Path) -> Result<u32> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| internal(&format!("create {}", dir.display()), &e))?;
    record.save(dir).map_err(|e| internal("write the sandbox's record", &e))?;
    etc_files::write(dir, &record.config).map_err(|e| internal("write the sandbox's files", &e))?;
    let logs = &record.config.log_directory;
    fs::create_dir_all(logs).map_err(|e| internal(&format!("create {}", logs.display()), &e))?;
    PodCgroup::create(&record.cgroups, &record.cgroup_parent, &record.cgroup_name(), &record.config.resources)
        .map_err(|e| internal("create the pod's cgroup", &e))?;
    start_shim(dir, shim_exe)
}

fn start_shim(dir: &Path, exe: &Path) -> Result<u32> {
    let failed = |error: io::Error| internal(&format!("start shim {}", exe.display()), &error);
    let mut starter = shim::start(exe, dir).map_err(failed)?;
    let mut greeting = Vec::new();
    let read = starter.stdout.take().map(|out| out.take(MAX_GREETING).read_to_end(&mut greeting));
    starter.wait().map_err(failed)?;
    read.transpose().map_err(failed)?;
    match serde_json::from_slice(&greeting) {
        Ok(Greeting::Ready(pid)) => Ok(pid),
        Ok(Greeting::Failed(message)) => Err(Error::Internal { message: format!("create sandbox: {message}") }),
        Err(_) => Err(Error::Internal { message: format!("start shim {}: it said nothing", exe.display()) }),
    }
}

/// Whether the sandbox has a network of its own.
pub(super) fn has_network(config: &SandboxConfig) -> bool {
    config.namespaces.network != NamespaceMode::Node
}
