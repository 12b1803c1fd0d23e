//! One node in one process: API server, controllers, node agent and runtime, wired together.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use apiserver::ApiServer;
use cri::{ContainerFilter, RuntimeService as _, SandboxState};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use kubelet::{Kubelet, TimelineRecord};
use runtime::{Runtime, image::Store};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
    time::sleep,
};

use crate::{Dirs, Instance, instance::HOST_IDS, node_proxy::LocalNode, ports};

/// Name of the only node.
const NODE_NAME: &str = "podrig";

/// Timeline records kept for a reader that is slow; a pod's start gives about ten.
const TIMELINE_BACKLOG: usize = 16_384;

/// How often it is looked whether the sandboxes of ended pods are gone: nobody tells.
const SANDBOX_PAUSE: Duration = Duration::from_millis(20);

/// How a node differs from the usual.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Whether CronJobs start Jobs by their schedule.
    pub cron_jobs: bool,
    /// Where a server keeps its objects. `None`: in memory, and with no controllers but those of what ends.
    pub objects: Option<PathBuf>,
    /// Longest crash back-off.
    pub longest_back_off: Duration,
    /// What pods are evicted and images removed for.
    pub eviction: kubelet::EvictionOptions,
    /// How the API server is set up.
    pub api: apiserver::Options,
    /// Executable that becomes the shim; it must call [`crate::main`] first thing.
    pub shim: PathBuf,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            cron_jobs: true,
            objects: None,
            longest_back_off: kubelet::MAX_BACK_OFF,
            eviction: kubelet::EvictionOptions::default(),
            api: apiserver::Options::default(),
            shim: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// A running node. Everything happens through [`Node::client`].
pub struct Node {
    server: ApiServer,
    client: Client,
    runtime: Arc<Runtime>,
    timeline: broadcast::Sender<TimelineRecord>,
    kubelet: Arc<Kubelet<Runtime>>,
    agent: Part,
    controllers: Part,
}

/// Something that runs until it is told to stop.
struct Part {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Part {
    fn start<F>(what: &'static str, work: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let work = work(stopped);
        let task = tokio::spawn(async move {
            if let Err(error) = work.await {
                tracing::error!(error = format!("{error:#}"), "{what} ended");
            }
        });
        Self { stop, task: Some(task) }
    }

    /// Stops it, unless it has been stopped, and waits for its end.
    async fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node in an instance's directories.
    ///
    /// # Errors
    /// When the objects, the image store or the runtime cannot be opened.
    pub async fn start(dirs: &Dirs, instance: &Instance, options: NodeOptions) -> Result<Self> {
        let server = open_server(options.objects.as_deref(), options.api.clone())?;
        let client_named = |agent| Client::new(server.service().named(agent), "default");
        let client = client_named("podrig");
        let runtime = Arc::new(open_runtime(dirs, instance, &options).await?);
        let (timeline, _) = broadcast::channel(TIMELINE_BACKLOG);
        let kubelet = Arc::new(Kubelet::new(
            client_named("kubelet"),
            Arc::clone(&runtime),
            kubelet::Options {
                node_ips: vec![primary_address()],
                longest_back_off: options.longest_back_off,
                eviction: options.eviction.clone(),
                heartbeat: options.objects.is_some(),
                recorder: Some(timeline.clone()),
                host_ids_dir: HOST_IDS.into(),
                ..kubelet::Options::new(
                    NODE_NAME,
                    instance.data.join("kubelet"),
                    instance.run.join("kubelet"),
                    instance.logs(),
                )
            },
        ));
        server.set_node_proxy(Arc::new(LocalNode(Arc::clone(&kubelet))));
        let agent = Part::start("node agent", |stopped| {
            let kubelet = Arc::clone(&kubelet);
            async move { kubelet.run(stopped).await.map_err(anyhow::Error::from) }
        });
        let controllers = Part::start("controllers", |stopped| {
            let (client, options) = (client.clone(), controller_options(&options));
            async move {
                controllers::run(client, options, stopped).await;
                Ok(())
            }
        });
        Ok(Self { server, client, runtime, timeline, kubelet, agent, controllers })
    }

    /// Returns the API server, for a listener.
    pub(crate) fn server(&self) -> ApiServer {
        self.server.clone()
    }

    /// Returns when objects cannot be kept any more; then nothing is left but to end.
    pub(crate) async fn store_failed(&self) -> apiserver::StoreFailure {
        self.server.store_failed().await
    }

    /// Returns the way in.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Subscribes to the exact times of everything that happens to pods from now on.
    pub fn timeline(&self) -> broadcast::Receiver<TimelineRecord> {
        self.timeline.subscribe()
    }

    /// Looks at the TCP ports of pods.
    pub(crate) fn port_viewer(&self) -> PortViewer {
        PortViewer(Arc::clone(&self.runtime))
    }

    /// Ends all pods, each in its own order, and returns when their containers are gone. Objects stay; pods that had
    /// not ended have failed then, as on a node that is shut down. Jobs and the like make no others.
    ///
    /// # Errors
    /// When the runtime does not say what it runs.
    pub(crate) async fn end_pods(&mut self) -> Result<()> {
        // Without them nobody makes new pods, for this node to refuse.
        self.controllers.stop().await;
        self.kubelet.shut_down_pods();
        self.pods_ended().await;
        while self.has_sandboxes().await? {
            sleep(SANDBOX_PAUSE).await;
        }
        Ok(())
    }

    /// Waits until the API says that all pods of the node have ended.
    async fn pods_ended(&self) {
        let config = watcher::Config::default().fields(&format!("spec.nodeName={NODE_NAME}"));
        let mut events = pin!(watcher(Api::<Pod>::all(self.client.clone()), config).default_backoff());
        let (mut alive, mut listed) = (BTreeSet::new(), false);
        let ended = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        while !listed || !alive.is_empty() {
            match events.next().await {
                Some(Ok(watcher::Event::Init)) => alive.clear(),
                Some(Ok(watcher::Event::InitDone)) => listed = true,
                Some(Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod))) if !ended(&pod) => {
                    alive.insert(pod.metadata.uid);
                }
                Some(Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) | watcher::Event::Delete(pod))) => {
                    alive.remove(&pod.metadata.uid);
                }
                Some(Err(error)) => tracing::warn!("watching pods: {error}"),
                None => return,
            }
        }
    }

    async fn has_sandboxes(&self) -> Result<bool> {
        let sandboxes = self.runtime.list_sandboxes().await.context("listing sandboxes")?;
        Ok(sandboxes.iter().any(|sandbox| sandbox.state == SandboxState::Ready))
    }

    /// Stops agent and controllers, then the API server; containers go on.
    pub async fn stop(mut self) {
        self.controllers.stop().await;
        self.agent.stop().await;
        let server = self.server;
        // It waits for the disk.
        let _ = tokio::task::spawn_blocking(move || server.close()).await;
    }
}

/// Looks at the TCP ports that pods listen on.
#[derive(Debug, Clone)]
pub(crate) struct PortViewer(Arc<Runtime>);

impl PortViewer {
    /// Returns the ports that are listened on inside a pod; `None` when none of its containers runs.
    pub(crate) async fn listening(&self, pod_uid: &str) -> Option<BTreeSet<u16>> {
        let filter = ContainerFilter { pod_uid: Some(pod_uid.to_owned()), ..ContainerFilter::default() };
        let containers = self.0.list_containers(filter).await.ok()?;
        containers.iter().find_map(|container| container.pid).map(ports::listening)
    }
}

/// Returns the address that this machine has in the network that leads to others, where there is one.
fn primary_address() -> IpAddr {
    // Documentation's network (RFC 5737): asks for the way there and sends nothing.
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    ask().map_or_else(|_: io::Error| Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// Blocks while objects are read: there is nothing else to do yet.
fn open_server(objects: Option<&Path>, options: apiserver::Options) -> Result<ApiServer> {
    match objects {
        Some(dir) => ApiServer::open(dir, options).context("opening the store of objects"),
        None => Ok(ApiServer::in_memory(options)),
    }
}

fn controller_options(options: &NodeOptions) -> controllers::Options {
    let all = controllers::Options {
        node_name: Some(NODE_NAME.to_owned()),
        cronjobs: options.cron_jobs,
        ..controllers::Options::default()
    };
    match options.objects {
        Some(_) => all,
        // What never ends is no workload of a command that ends.
        None => controllers::Options {
            replica_sets: false,
            deployments: false,
            endpoints: false,
            quotas: false,
            pod_gc: None,
            all_kinds: false,
            ..all
        },
    }
}

async fn open_runtime(dirs: &Dirs, instance: &Instance, options: &NodeOptions) -> Result<Runtime> {
    let images = Store::open(&dirs.images()).context("opening the image store")?;
    Runtime::open(instance.runtime_options(options.shim.clone()), images)
        .await
        .context("starting the container runtime")
}
