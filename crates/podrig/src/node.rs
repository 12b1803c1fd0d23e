//! One node in one process: API server, controllers, node agent and runtime, wired together.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use apiserver::ApiServer;
use cri::{ContainerFilter, RuntimeService as _};
use kube::Client;
use kubelet::{Kubelet, TimelineRecord};
use runtime::{Runtime, image::Store};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};

use crate::{Dirs, Instance, node_proxy::LocalNode, ports};

/// Name of the only node.
const NODE_NAME: &str = "podrig";

/// Timeline records kept for a reader that is slow; a pod's start gives about ten.
const TIMELINE_BACKLOG: usize = 16_384;

/// How a node differs from the usual.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Whether CronJobs start Jobs by their schedule.
    pub cron_jobs: bool,
    /// Where a server keeps its objects. `None`: in memory, and with no controllers but those of what ends.
    pub objects: Option<PathBuf>,
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
    shutdown: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
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
        let (shutdown, stopped) = watch::channel(false);
        let kubelet = Arc::new(Kubelet::new(
            client_named("kubelet"),
            Arc::clone(&runtime),
            kubelet::Options {
                recorder: Some(timeline.clone()),
                ..kubelet::Options::new(
                    NODE_NAME,
                    instance.data.join("kubelet"),
                    instance.run.join("kubelet"),
                    instance.logs(),
                )
            },
        ));
        server.set_node_proxy(Arc::new(LocalNode(Arc::clone(&kubelet))));
        let tasks = vec![
            spawn("node agent", {
                let stopped = stopped.clone();
                async move { kubelet.run(stopped).await.map_err(anyhow::Error::from) }
            }),
            spawn("controllers", {
                let client = client_named("kube-controller-manager");
                let options = controller_options(&options);
                async move {
                    controllers::run(client, options, stopped).await;
                    Ok(())
                }
            }),
        ];
        Ok(Self { server, client, runtime, timeline, shutdown, tasks })
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

    /// Stops agent and controllers, then the API server; containers go on.
    pub async fn stop(self) {
        // Nobody listening means that they have ended already.
        let _ = self.shutdown.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
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

fn spawn(what: &'static str, work: impl Future<Output = Result<()>> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = work.await {
            tracing::error!(error = format!("{error:#}"), "{what} ended");
        }
    })
}
