//! The node agent: knows which pods are ours, gives each its worker, and routes what happens to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cri::{ContainerFilter, ContainerStatus, ImageService, RuntimeEvent, RuntimeService, SandboxStatus};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use pod_lifecycle::{PendingResize, PodPlan};
use tokio::{
    sync::{Notify, broadcast, mpsc, watch},
    task::JoinSet,
};

use crate::{
    Options,
    admission::{self, Rejection},
    allocation,
    clock::Clock,
    events::{self, EventRecorder},
    eviction::{self, Condition, Gauge, Roster},
    http_client,
    names::{describe_pod, pod_uid},
    node,
    node_context::{ApiClient, NodeContext},
    objects::References,
    orphans,
    paths::PodPaths,
    pod_worker::{Desired, Inbox, PodWorker},
    refusal, view, volumes,
};

/// Runtime events that may wait for one pod. Each container makes three; a worker that falls further behind lists its
/// containers again.
const POD_EVENTS: usize = 64;
/// First pause before a failed start-up step is tried again.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Longest such pause.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// A directory of the agent cannot be made.
    #[error("making directory {path}")]
    Directory {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The runtime cannot say what it runs.
    #[error("listing what the container runtime runs")]
    Runtime(#[source] cri::Error),
    /// TLS for probes cannot be set up.
    #[error("setting up TLS for probes")]
    Tls(#[source] rustls::Error),
}

/// The node agent. A clone is another handle of the same one.
#[derive(Debug)]
pub struct Kubelet<R> {
    client: ApiClient,
    runtime: Arc<R>,
    options: Options,
    shutting_down: Arc<watch::Sender<bool>>,
}

impl<R> Clone for Kubelet<R> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            runtime: Arc::clone(&self.runtime),
            options: self.options.clone(),
            shutting_down: Arc::clone(&self.shutting_down),
        }
    }
}

/// The agent's end of one worker.
#[derive(Debug)]
struct Handle {
    name: (String, String),
    /// The newest object, whether it was granted or not.
    wanted: Arc<Pod>,
    /// ConfigMaps and Secrets that its volumes show.
    references: References,
    desired: watch::Sender<Desired>,
    runtime: mpsc::Sender<RuntimeEvent>,
    relist: Arc<Notify>,
    refresh: Arc<Notify>,
}

/// What the runtime had when the agent started, by pod uid.
#[derive(Debug, Default)]
struct Inventory {
    sandboxes: BTreeMap<String, Vec<SandboxStatus>>,
    containers: BTreeMap<String, Vec<ContainerStatus>>,
}

impl<R: RuntimeService + ImageService> Kubelet<R> {
    /// Makes an agent that does nothing yet.
    pub fn new(client: Client, runtime: Arc<R>, options: Options) -> Self {
        let shutting_down = Arc::new(watch::channel(false).0);
        Self { client: ApiClient(client), runtime, options, shutting_down }
    }

    /// Ends all pods as a node does that is shut down, and takes no more: each in its own order, within its own grace;
    /// those that have not ended by themselves have failed (contract S4-59). Does not wait for their ends.
    pub fn shut_down_pods(&self) {
        self.shutting_down.send_replace(true);
    }

    /// Returns the API client.
    pub(crate) fn client(&self) -> &Client {
        &self.client.0
    }

    /// Returns the runtime.
    pub(crate) fn runtime(&self) -> &Arc<R> {
        &self.runtime
    }

    /// Returns the settings.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Registers the node and runs its pods until `shutdown` says true.
    ///
    /// Containers are not stopped then: they outlive the agent, and the next one takes them over.
    ///
    /// # Errors
    /// When a directory cannot be made or the runtime does not answer at the start. Everything later is tried again.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) -> Result<(), KubeletError> {
        let stop = async move { drop(shutdown.wait_for(|stop| *stop).await) };
        tokio::select! {
            result = self.serve() => result,
            () = stop => Ok(()),
        }
    }

    async fn serve(&self) -> Result<(), KubeletError> {
        for dir in [&self.options.root_dir, &self.options.run_dir, &self.options.log_dir] {
            std::fs::create_dir_all(dir)
                .map_err(|source| KubeletError::Directory { path: dir.display().to_string(), source })?;
        }
        let tls = http_client::insecure_tls().map_err(KubeletError::Tls)?;
        let room = node::Room::read(&self.options);
        let (recorder, event_writer) = events::recorder(self.client.0.clone(), self.options.node_name.clone());
        let gauge = Gauge::new(&self.options.eviction, &self.options.root_dir, self.runtime.image_dir());
        let clock = Clock::start();
        let node = self.register(&recorder, &room, &gauge.conditions(clock.now().mono)).await;
        // Subscribed before the listing: what happens in between is heard of twice rather than not at all.
        let runtime_events = self.runtime.events();
        let inventory = self.inventory().await.map_err(KubeletError::Runtime)?;
        let context = Arc::new(NodeContext {
            client: self.client.clone(),
            runtime: Arc::clone(&self.runtime),
            options: self.options.clone(),
            clock,
            events: recorder,
            gauge,
            roster: Roster::new(),
            labels: node::labels(&self.options),
            allocatable: room.allocatable.clone(),
            memory: node::memory_bytes(),
            shutting_down: self.shutting_down.subscribe(),
            tls,
        });
        let heartbeat = node::heartbeat(Arc::clone(&context), room, node);
        let eviction = eviction::run(Arc::clone(&context));
        let mut agent = Agent {
            context,
            inventory,
            handles: BTreeMap::new(),
            workers: JoinSet::new(),
            started: false,
            ungranted: BTreeSet::new(),
        };
        tokio::join!(agent.serve(runtime_events), event_writer, heartbeat, eviction);
        Ok(())
    }

    async fn register(&self, events: &EventRecorder, room: &node::Room, short: &[Condition]) -> Node {
        let mut pause = FIRST_RETRY;
        loop {
            match node::register(&self.client.0, events, &self.options, room, short).await {
                Ok(node) => return node,
                Err(e) => tracing::warn!(node = self.options.node_name, "node not registered, trying again: {e}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    async fn inventory(&self) -> Result<Inventory, cri::Error> {
        let mut inventory = Inventory::default();
        let mut owner = BTreeMap::new();
        for sandbox in self.runtime.list_sandboxes().await? {
            owner.insert(sandbox.id.clone(), sandbox.metadata.uid.clone());
            inventory.sandboxes.entry(sandbox.metadata.uid.clone()).or_default().push(sandbox);
        }
        for container in self.runtime.list_containers(ContainerFilter::default()).await? {
            if let Some(uid) = owner.get(&container.sandbox) {
                inventory.containers.entry(uid.clone()).or_default().push(container);
            }
        }
        Ok(inventory)
    }
}

/// The running agent.
struct Agent<R> {
    context: Arc<NodeContext<R>>,
    inventory: Inventory,
    handles: BTreeMap<String, Handle>,
    workers: JoinSet<String>,
    /// Whether all pods have been seen once.
    started: bool,
    /// Pods that may not have all that they ask for.
    ungranted: BTreeSet<String>,
}

/// Streams the objects of a kind that are there and change. Failures are logged and tried again.
fn changes<K>(client: &Client) -> impl Stream<Item = K> + Send + use<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let objects = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    objects.applied_objects().filter_map(|result| {
        std::future::ready(result.map_err(|e| tracing::debug!("watching {}: {e}", K::kind(&()))).ok())
    })
}

impl<R: RuntimeService + ImageService> Agent<R> {
    async fn serve(&mut self, mut runtime_events: broadcast::Receiver<RuntimeEvent>) {
        let api: Api<Pod> = Api::all(self.context.client.0.clone());
        let selector = format!("spec.nodeName={}", self.context.options.node_name);
        let config = watcher::Config::default().fields(&selector);
        let mut pods = std::pin::pin!(watcher(api, config).default_backoff());
        let mut config_maps = std::pin::pin!(changes::<ConfigMap>(&self.context.client.0));
        let mut secrets = std::pin::pin!(changes::<Secret>(&self.context.client.0));
        let mut listed = BTreeSet::new();
        loop {
            tokio::select! {
                Some(event) = pods.next() => match event {
                    Ok(event) => self.observe_pod(event, &mut listed),
                    Err(e) => tracing::warn!("watching pods: {e}"),
                },
                event = runtime_events.recv() => match event {
                    Ok(event) => self.route(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.handles.values().for_each(|h| h.relist.notify_one());
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(changed) = config_maps.next() => {
                    let name = changed.metadata.name.unwrap_or_default();
                    self.refresh(changed.metadata.namespace.as_deref(), |r| r.config_maps.contains(&name));
                }
                Some(changed) = secrets.next() => {
                    let name = changed.metadata.name.unwrap_or_default();
                    self.refresh(changed.metadata.namespace.as_deref(), |r| r.secrets.contains(&name));
                }
                Some(done) = self.workers.join_next() => match done {
                    Ok(uid) => {
                        self.handles.remove(&uid);
                        self.ungranted.remove(&uid);
                        self.grant_waiting();
                    }
                    Err(e) => tracing::error!("a pod worker panicked: {e}"),
                },
            }
        }
    }

    fn observe_pod(&mut self, event: watcher::Event<Pod>, listed: &mut BTreeSet<String>) {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(pod) => {
                listed.insert(pod_uid(&pod).to_owned());
                self.apply(pod);
            }
            watcher::Event::InitDone => {
                let missing: Vec<_> = self.handles.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                missing.iter().for_each(|uid| self.gone(uid));
                if !std::mem::replace(&mut self.started, true) {
                    self.end_orphans();
                    self.grant_waiting();
                }
            }
            watcher::Event::Apply(pod) => self.apply(pod),
            watcher::Event::Delete(pod) => self.gone(pod_uid(&pod)),
        }
    }

    /// Gives a pod its worker, or its worker the news.
    fn apply(&mut self, pod: Pod) {
        let uid = pod_uid(&pod).to_owned();
        let pod = Arc::new(pod);
        if let Some(handle) = self.handles.get_mut(&uid) {
            handle.wanted = pod;
            self.grant(&uid);
            self.grant_waiting();
            return;
        }
        // Another pod of the same name took its place, and the deletion in between was missed.
        let name = (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default());
        let replaced: Vec<_> = self.handles.iter().filter(|(_, h)| h.name == name).map(|(u, _)| u.clone()).collect();
        replaced.iter().for_each(|uid| self.gone(uid));
        let granted = Arc::new(allocation::from_status(&pod));
        if granted.spec != pod.spec {
            self.ungranted.insert(uid.clone());
        }
        match PodPlan::from_pod(&granted) {
            Ok(plan) => self.start(uid, name, pod, plan),
            Err(e) => tracing::warn!(pod = describe_pod(&pod), "pod cannot be run: {e}"),
        }
    }

    fn start(&mut self, uid: String, name: (String, String), wanted: Arc<Pod>, plan: PodPlan) {
        let pod = Arc::clone(&plan.pod);
        let (desired, desired_rx) = watch::channel(Desired { pod: Arc::clone(&pod), pending: None, gone: false });
        let (runtime, runtime_rx) = mpsc::channel(POD_EVENTS);
        let relist = Arc::new(Notify::new());
        let refresh = Arc::new(Notify::new());
        let inbox = Inbox {
            desired: desired_rx,
            runtime: runtime_rx,
            relist: Arc::clone(&relist),
            refresh: Arc::clone(&refresh),
        };
        let seen = self.take_seen(&uid, &plan);
        let admitted = if seen.is_some() { Ok(()) } else { self.admit(&pod) };
        let references = volumes::references(&pod);
        let handle = Handle { name, wanted, references, desired, runtime, relist, refresh };
        self.handles.insert(uid.clone(), handle);
        if let Err(rejection) = admitted {
            let refusal = refusal::refuse(Arc::clone(&self.context), plan, rejection, inbox.desired);
            self.workers.spawn(async move {
                refusal.await;
                uid
            });
            return;
        }
        let worker = PodWorker::new(Arc::clone(&self.context), plan, seen, inbox);
        self.workers.spawn(async move {
            worker.run().await;
            uid
        });
    }

    /// Hands a pod's newest object on, with the resources that it gets.
    fn grant(&mut self, uid: &str) {
        let Some(handle) = self.handles.get(uid) else { return };
        let wanted = Arc::clone(&handle.wanted);
        let held = Arc::new(allocation::with_grant(&wanted, &handle.desired.borrow().pod));
        let refused = if held.spec == wanted.spec { None } else { self.refuse_resize(&wanted, uid) };
        let (pod, pending) = match refused {
            None => {
                self.ungranted.remove(uid);
                (wanted, None)
            }
            Some(pending) => {
                self.ungranted.insert(uid.to_owned());
                (held, pending)
            }
        };
        if let Some(handle) = self.handles.get(uid) {
            handle.desired.send_modify(|desired| (desired.pod, desired.pending) = (pod, pending));
        }
    }

    /// Returns why a pod keeps what it has, if it does. Nothing is said while it ends, or while nobody knows yet
    /// what room there is.
    fn refuse_resize(&self, wanted: &Pod, uid: &str) -> Option<Option<PendingResize>> {
        if !self.started || wanted.metadata.deletion_timestamp.is_some() {
            return Some(None);
        }
        let active = self.active(Some(uid));
        let others: Vec<&Pod> = active.iter().map(AsRef::as_ref).collect();
        allocation::judge(wanted, &others, &self.context.allocatable).err().map(Some)
    }

    /// Tries again what had no room.
    fn grant_waiting(&mut self) {
        if !self.started || self.ungranted.is_empty() {
            return;
        }
        let turn = |uid: &String| {
            let handle = self.handles.get(uid)?;
            Some(allocation::Turn::of(&handle.wanted, &handle.desired.borrow().pod))
        };
        let mut waiting: Vec<_> = self.ungranted.iter().cloned().collect();
        waiting.sort_by_cached_key(turn);
        waiting.iter().for_each(|uid| self.grant(uid));
    }

    /// Returns the pods that are here and have not ended, with what they were granted.
    fn active(&self, except: Option<&str>) -> Vec<Arc<Pod>> {
        let others = self.handles.iter().filter(|(uid, _)| Some(uid.as_str()) != except);
        let pods = others.map(|(_, handle)| Arc::clone(&handle.desired.borrow().pod));
        pods.filter(|pod| !apimachinery::pod::is_terminal(pod)).collect()
    }

    /// Checks a new pod against those that are here and have not ended.
    fn admit(&self, pod: &Pod) -> Result<(), Rejection> {
        if *self.context.shutting_down.borrow() {
            return Err(Rejection::node_shutdown());
        }
        admission::check_conditions(pod, &self.context.gauge.conditions(self.context.clock.now().mono))?;
        let active = self.active(None);
        let others: Vec<&Pod> = active.iter().map(AsRef::as_ref).collect();
        admission::check(pod, &others, &self.context.allocatable, &self.context.labels)
    }

    /// Lets the pods know that show an object in a volume (contract S11-05).
    fn refresh(&self, namespace: Option<&str>, uses: impl Fn(&References) -> bool) {
        let concerned = self.handles.values().filter(|h| namespace == Some(h.name.0.as_str()) && uses(&h.references));
        concerned.for_each(|h| h.refresh.notify_one());
    }

    /// Returns what the runtime has of a pod that an earlier agent ran; `None`: the pod is new.
    fn take_seen(&mut self, uid: &str, plan: &PodPlan) -> Option<pod_lifecycle::RuntimeView> {
        let sandboxes = self.inventory.sandboxes.remove(uid).unwrap_or_default();
        let containers = self.inventory.containers.remove(uid).unwrap_or_default();
        let phase = plan.pod.status.as_ref().and_then(|s| s.start_time.as_ref());
        if sandboxes.is_empty() && phase.is_none() {
            return None;
        }
        let paths = PodPaths::new(&self.context.options, &plan.pod);
        Some(view::runtime_view(plan, &paths, &sandboxes, &containers))
    }

    fn gone(&self, uid: &str) {
        if let Some(handle) = self.handles.get(uid) {
            handle.desired.send_modify(|d| d.gone = true);
        }
    }

    fn route(&self, event: RuntimeEvent) {
        if let Some(handle) = self.handles.get(&event.pod_uid)
            && let Err(mpsc::error::TrySendError::Full(_)) = handle.runtime.try_send(event)
        {
            handle.relist.notify_one();
        }
    }

    /// Ends what the runtime runs for pods that the API does not know (contract S4-53).
    fn end_orphans(&mut self) {
        let inventory = std::mem::take(&mut self.inventory);
        // What runs still needs its directories until it has ended.
        orphans::remove_stale_directories(&self.context.options, |uid| {
            self.handles.contains_key(uid) || inventory.sandboxes.contains_key(uid)
        });
        let mut containers = inventory.containers;
        for (uid, sandboxes) in inventory.sandboxes {
            let containers = containers.remove(&uid).unwrap_or_default();
            let context = Arc::clone(&self.context);
            let id = uid.clone();
            self.workers.spawn(async move {
                orphans::terminate(&context, &uid, sandboxes, containers).await;
                id
            });
        }
    }
}
