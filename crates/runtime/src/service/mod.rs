//! The runtime as the node agent sees it.

mod container;
mod etc_files;
mod image_config;
mod leases;
mod resources;
mod sandbox;
mod sweep;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use cri::{
    Connection, ContainerConfig, ContainerFilter, ContainerId, ContainerStatus, Error, ExecOutput, ExecRequest,
    ExecSession, ImageAuth, ImageInfo, ImageService, ObjectKind, Removal, Resources, Result, RuntimeEvent,
    RuntimeService, SandboxConfig, SandboxId, SandboxMemory, SandboxState, SandboxStatus, Session, StreamingService,
    Streams, UnusedImage,
};
use sandbox::{Sandbox, blocking};
pub use sweep::sweep;
use tokio::sync::broadcast;

use crate::{
    cgroup::Cgroups,
    image::Store,
    net::{Network, NetworkOptions},
    protocol::Call,
    record::{self, SandboxRecord},
    stalls::Stalls,
};

/// Events kept for a subscriber that lags: a few for each container of a full node.
const MAX_EVENTS: usize = 4096;

/// What a container takes from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRoot {
    /// Unpacked layers, the topmost first.
    pub layers: Vec<PathBuf>,
    /// Defaults of its containers.
    pub info: ImageInfo,
}

/// Where images come from: the image store, or what a test puts in its place.
pub trait Images: Send + Sync + 'static {
    /// Returns an image's layers and keeps them until [`Images::release`], even if the image is removed.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such image.
    fn lease(&self, image_id: &str, owner: &str) -> Result<ImageRoot>;

    /// Ends a lease; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Internal`] when the store cannot be changed.
    fn release(&self, owner: &str) -> Result<()>;
}

impl Images for Store {
    fn lease(&self, image_id: &str, owner: &str) -> Result<ImageRoot> {
        let root = Self::lease(self, image_id, owner)?;
        Ok(ImageRoot { layers: root.layers, info: root.info })
    }

    fn release(&self, owner: &str) -> Result<()> {
        Self::release(self, owner)
    }
}

/// What a runtime works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Persistent data of this instance: sandboxes and what their containers write.
    pub state_dir: PathBuf,
    /// Sockets; short-lived, best on a tmpfs.
    pub run_dir: PathBuf,
    /// The cgroup that pods' cgroups are made in, relative to the mount points: `/podrig/<instance>`.
    pub cgroup_parent: String,
    /// State of the pod network, which all instances on the machine share; on a tmpfs.
    pub network_dir: PathBuf,
    /// How the pod network is to be, and this instance's name in it.
    pub network: NetworkOptions,
    /// The binary whose `shim` command runs [`crate::shim::main`].
    pub shim_exe: PathBuf,
}

impl Options {
    /// Returns the options of the instance with this name (a file name), with this binary as the shim's.
    pub fn new(instance: &str, state_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
            cgroup_parent: format!("/podrig/{instance}"),
            network_dir: "/run/podrig/net".into(),
            network: NetworkOptions::new(instance),
            shim_exe: "/proc/self/exe".into(),
        }
    }

    fn sandboxes_dir(&self) -> PathBuf {
        self.state_dir.join("sandboxes")
    }
}

/// The embedded runtime. Clones share it.
#[derive(Debug)]
pub struct Runtime<I = Store> {
    inner: Arc<Inner<I>>,
}

impl<I> Clone for Runtime<I> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

#[derive(Debug)]
struct Inner<I> {
    options: Options,
    images: I,
    cgroups: Cgroups,
    network: Arc<Network>,
    sandboxes: Mutex<BTreeMap<SandboxId, Arc<Sandbox>>>,
    events: broadcast::Sender<RuntimeEvent>,
    stalls: OnceLock<Option<Stalls>>,
}

impl<I: Images> Runtime<I> {
    /// Opens the instance in the options' directories and takes over what an earlier agent left running.
    ///
    /// Flow: every complete sandbox is listed again, connected to its shim if that lives, else with what its
    /// records tell; a half-made one, which nobody has heard of, is removed.
    ///
    /// # Errors
    /// [`Error::Internal`] when a directory cannot be used or there are no cgroups.
    pub async fn open(options: Options, images: I) -> Result<Self> {
        let cgroups = Cgroups::detect().map_err(|e| internal("find cgroups", &e))?;
        for dir in [&options.sandboxes_dir(), &options.run_dir] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|e| internal(&format!("create {}", dir.display()), &e))?;
        }
        let network = open_network(&options)?;
        let (events, _) = broadcast::channel(MAX_EVENTS);
        let sandboxes = Mutex::default();
        let inner = Inner { options, images, cgroups, network, sandboxes, events, stalls: OnceLock::new() };
        let runtime = Self { inner: Arc::new(inner) };
        runtime.adopt_all().await?;
        Ok(runtime)
    }

    /// Returns the image store.
    pub fn images(&self) -> &I {
        &self.inner.images
    }

    async fn adopt_all(&self) -> Result<()> {
        let root = self.inner.options.sandboxes_dir();
        let entries = fs::read_dir(&root).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.map_err(|e| internal(&format!("list {}", root.display()), &e))? {
            let dir = entry.path();
            match SandboxRecord::load(&dir) {
                Ok(record) if record.complete => {
                    let sandbox =
                        Sandbox::adopt(dir, record, Arc::clone(&self.inner.network), self.inner.events.clone()).await;
                    let known = |id: &ContainerId| sandbox.status_of(id).is_some();
                    if let Err(error) = leases::release_others(&self.inner.images, sandbox.dir(), known) {
                        tracing::warn!(sandbox = %sandbox.id(), %error, "half-made containers not removed");
                    }
                    self.lock().insert(sandbox.id().clone(), sandbox);
                }
                Ok(_) | Err(_) => {
                    if let Err(error) = sweep::remove_sandbox(&dir, &self.inner.images, &self.inner.network) {
                        tracing::warn!(dir = %dir.display(), %error, "half-made sandbox not removed");
                    }
                }
            }
        }
        self.release_addresses()
    }

    /// Gives back addresses of sandboxes that do not exist or have ended: those of an agent that died before
    /// it could.
    fn release_addresses(&self) -> Result<()> {
        let network = &self.inner.network;
        for (sandbox, _) in network.sandboxes().map_err(|e| internal("list addresses", &e))? {
            let lives = self.find(&SandboxId(sandbox.clone())).is_some_and(|s| s.status().state == SandboxState::Ready);
            if !lives {
                network.release(&sandbox).map_err(|e| internal("release an address", &e))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SandboxId, Arc<Sandbox>>> {
        // The map is consistent between any two of its operations.
        self.inner.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.lock().get(id).cloned()
    }

    fn sandbox(&self, id: &SandboxId) -> Result<Arc<Sandbox>> {
        self.find(id).ok_or_else(|| Error::NotFound { kind: ObjectKind::Sandbox, id: id.0.clone() })
    }

    fn all(&self) -> Vec<Arc<Sandbox>> {
        self.lock().values().cloned().collect()
    }

    fn find_container(&self, id: &ContainerId) -> Option<Arc<Sandbox>> {
        self.all().into_iter().find(|sandbox| sandbox.status_of(id).is_some())
    }

    fn container(&self, id: &ContainerId) -> Result<Arc<Sandbox>> {
        self.find_container(id).ok_or_else(|| Error::NotFound { kind: ObjectKind::Container, id: id.0.clone() })
    }
}

impl<I: Images> RuntimeService for Runtime<I> {
    async fn run_sandbox(&self, config: SandboxConfig) -> Result<SandboxStatus> {
        // A task of its own: a caller that loses interest must not leave half a sandbox.
        let runtime = self.clone();
        let made = tokio::spawn(async move {
            let sandbox = Sandbox::run(&runtime.inner, config).await?;
            let status = sandbox.status();
            runtime.lock().insert(sandbox.id().clone(), sandbox);
            Ok(status)
        });
        made.await.unwrap_or_else(|error| Err(internal("create sandbox", &error)))
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        match self.find(id) {
            Some(sandbox) => sandbox.stop().await,
            None => Ok(()),
        }
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        let Some(sandbox) = self.find(id) else { return Ok(()) };
        sandbox.stop().await?;
        let (runtime, id) = (self.clone(), id.clone());
        blocking(move || {
            sweep::remove_sandbox(sandbox.dir(), &runtime.inner.images, &runtime.inner.network)?;
            runtime.lock().remove(&id);
            Ok(())
        })
        .await
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>> {
        Ok(self.all().iter().map(|sandbox| sandbox.status()).collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId> {
        let sandbox = self.sandbox(sandbox)?;
        let id = ContainerId(record::random_id().map_err(|e| internal("make an id", &e))?);
        let images = &self.inner.images;
        let spec = leases::take(images, sandbox.dir(), &id, &config)
            .and_then(|(root, volumes)| image_config::resolve(sandbox.config(), id.clone(), config, root, volumes));
        let created = match spec {
            Ok(spec) => sandbox.create(spec).await,
            Err(error) => Err(error),
        };
        if let Err(error) = created {
            // The error that matters is the first one.
            let _ = leases::release(images, sandbox.dir(), &id);
            return Err(error);
        }
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<ContainerStatus> {
        self.container(id)?.start(id).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        match self.find_container(id) {
            Some(sandbox) => sandbox.stop_container(id, grace).await,
            None => Ok(()),
        }
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let Some(sandbox) = self.find_container(id) else { return Ok(()) };
        sandbox.end_container(id).await?;
        let (runtime, id) = (self.clone(), id.clone());
        blocking(move || {
            leases::release(&runtime.inner.images, sandbox.dir(), &id)?;
            sandbox.forget(&id);
            Ok(())
        })
        .await
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let status = self.find_container(id).and_then(|sandbox| sandbox.status_of(id));
        status.ok_or_else(|| Error::NotFound { kind: ObjectKind::Container, id: id.0.clone() })
    }

    async fn list_containers(&self, filter: ContainerFilter) -> Result<Vec<ContainerStatus>> {
        let wanted = |sandbox: &Arc<Sandbox>| {
            filter.sandbox.as_ref().is_none_or(|id| id == sandbox.id())
                && filter.pod_uid.as_ref().is_none_or(|uid| *uid == sandbox.config().metadata.uid)
        };
        Ok(self.all().iter().filter(|sandbox| wanted(sandbox)).flat_map(|sandbox| sandbox.containers()).collect())
    }

    async fn update_resources(
        &self,
        sandbox: &SandboxId,
        whole: Resources,
        containers: Vec<(ContainerId, Resources)>,
    ) -> Result<()> {
        let sandbox = self.sandbox(sandbox)?;
        blocking(move || sandbox.update_resources(&whole, &containers)).await
    }

    async fn memory(&self, sandbox: &SandboxId) -> Result<SandboxMemory> {
        let sandbox = self.sandbox(sandbox)?;
        blocking(move || sandbox.memory()).await
    }

    async fn processes(&self, sandbox: &SandboxId) -> Result<usize> {
        let sandbox = self.sandbox(sandbox)?;
        blocking(move || sandbox.processes()).await
    }

    async fn memory_stall(&self) {
        let Some(stalls) = self.inner.stalls.get_or_init(Stalls::listen) else { return std::future::pending().await };
        if let Err(error) = stalls.next().await {
            tracing::warn!("memory is looked at only now and then: {error}");
            std::future::pending::<()>().await;
        }
    }

    async fn writable_layer(&self, id: &ContainerId) -> Result<PathBuf> {
        Ok(self.container(id)?.writable_layer(id))
    }

    async fn exec_sync(&self, id: &ContainerId, request: ExecRequest) -> Result<ExecOutput> {
        if request.command.is_empty() {
            return Err(Error::InvalidArgument { message: "the command is empty".into() });
        }
        self.container(id)?.exec(id, request).await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.inner.events.subscribe()
    }
}

impl<I: Images> StreamingService for Runtime<I> {
    async fn exec(&self, id: &ContainerId, session: ExecSession) -> Result<Session> {
        self.container(id)?.open_session(Call::Session { id: id.clone(), session }).await
    }

    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<Session> {
        self.container(id)?.open_session(Call::Attach { id: id.clone(), streams }).await
    }

    async fn connect(&self, sandbox: &SandboxId, port: u16) -> Result<Pin<Box<dyn Connection>>> {
        Ok(Box::pin(self.sandbox(sandbox)?.connect(port).await?))
    }
}

impl<I: Images + ImageService> ImageService for Runtime<I> {
    async fn image_status(&self, image: &str) -> Result<Option<ImageInfo>> {
        self.inner.images.image_status(image).await
    }

    async fn pull_image(&self, image: &str, auth: Vec<ImageAuth>) -> Result<ImageInfo> {
        self.inner.images.pull_image(image, auth).await
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>> {
        self.inner.images.list_images().await
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        self.inner.images.remove_image(image).await
    }

    fn image_dir(&self) -> PathBuf {
        self.inner.images.image_dir()
    }

    async fn unused_images(&self) -> Result<Vec<UnusedImage>> {
        self.inner.images.unused_images().await
    }

    async fn remove_unused_image(&self, id: &str) -> Result<Removal> {
        self.inner.images.remove_unused_image(id).await
    }
}

fn open_network(options: &Options) -> Result<Arc<Network>> {
    let network = Network::open(&options.network_dir, options.network.clone());
    Ok(Arc::new(network.map_err(|e| internal("open the pod network", &e))?))
}

/// Makes the error for something that the runtime depends on.
fn internal(doing: &str, error: &dyn std::error::Error) -> Error {
    let mut message = format!("{doing}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        message += &format!(": {cause}");
        source = cause.source();
    }
    Error::Internal { message }
}

/// Removes a directory with all its content; a missing one is no error.
fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
