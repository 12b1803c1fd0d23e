//! Drives one pod: the only asynchronous code around its engine.
//!
//! Flow: drain the machine (start effects, hand statuses, events and moments on), then wait for the first of pod
//! update, runtime event, finished effect, deadline; hand over exactly one input; repeat.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use cri::{ContainerFilter, ImageService, RuntimeEvent, RuntimeEventKind, RuntimeService};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use pod_lifecycle::{
    ContainerViewState, Deadline, EVICTION_GRACE, Effect, EffectId, EffectResult, Input, Output, PendingResize,
    PodMachine, PodPlan, PodUpdate, RuntimeView,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::Interval,
};

use crate::{
    events::Regarding,
    eviction::{Eviction, Membership},
    executor::{EffectEnd, PodContext},
    linger,
    node_context::NodeContext,
    paths::PodPaths,
    status::{self, WriterEnd},
    status_queue::{self, StatusSender},
    storage_limits,
    timeline::TimelineRecord,
    tokens::Tokens,
    view,
};

/// What the API says of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The newest object, with the resources that it was granted.
    pub(crate) pod: Arc<Pod>,
    /// The resources that it asks for instead.
    pub(crate) pending: Option<PendingResize>,
    /// Whether the object is gone.
    pub(crate) gone: bool,
}

/// Where a worker hears of the world.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The object, newest only: an update that comes before the last was looked at replaces it.
    pub(crate) desired: watch::Receiver<Desired>,
    /// Events of the runtime that concern the pod, in order.
    pub(crate) runtime: mpsc::Receiver<RuntimeEvent>,
    /// Events were lost: list the containers again.
    pub(crate) relist: Arc<Notify>,
    /// A ConfigMap or Secret of a volume changed.
    pub(crate) refresh: Arc<Notify>,
}

/// One pod and its machine.
pub(crate) struct PodWorker<R> {
    node: Arc<NodeContext<R>>,
    machine: PodMachine,
    plan: Arc<PodPlan>,
    paths: Arc<PodPaths>,
    inbox: Inbox,
    /// Inputs that are known already; handed over first.
    waiting: VecDeque<Input>,
    effects: JoinSet<(EffectId, EffectEnd)>,
    cancellable: BTreeMap<EffectId, AbortHandle>,
    /// How far each instance has come: an older view that arrives late is dropped.
    stages: BTreeMap<String, Stage>,
    sandbox_ips: Vec<IpAddr>,
    /// The sandbox in use.
    sandbox: Option<String>,
    /// When the pod is to be measured next, if it has a limit that only looking can enforce.
    look: Option<Interval>,
    looks: JoinSet<Option<String>>,
    membership: Membership,
    /// Held while volumes are being written again.
    refreshing: Arc<tokio::sync::Mutex<()>>,
    tokens: Arc<Tokens>,
    shutting_down: watch::Receiver<bool>,
    /// The object as last handed to the machine.
    known: Known,
    status: StatusSender,
    status_writer: tokio::task::JoinHandle<WriterEnd>,
}

/// What of the object the machine has been told.
#[derive(Debug, Default, PartialEq)]
struct Known {
    grace: Option<Duration>,
    pending: Option<PendingResize>,
}

/// Life stages in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Created,
    Running,
    Exited,
}

/// Grace of a pod whose object is gone (contract S4-50, S4-52).
const FORCED_GRACE: Duration = Duration::from_secs(1);

impl<R: RuntimeService + ImageService> PodWorker<R> {
    /// Prepares the driver of a pod. With `seen` the machine is rebuilt from what the runtime has (contract S3-55);
    /// otherwise the pod is new.
    pub(crate) fn new(node: Arc<NodeContext<R>>, plan: PodPlan, seen: Option<RuntimeView>, inbox: Inbox) -> Self {
        let now = node.clock.now();
        let seed = rand::random();
        let paths = Arc::new(PodPaths::new(&node.options, &plan.pod));
        let pod = Arc::clone(&plan.pod);
        let newest = seen.as_ref().and_then(|s| s.sandboxes.iter().max_by_key(|s| s.attempt));
        let sandbox_ips = newest.map(|s| s.ips.clone()).unwrap_or_default();
        let sandbox = newest.filter(|s| s.ready).map(|s| s.id.clone());
        let api: Api<Pod> = Api::namespaced(node.client.0.clone(), &plan.namespace);
        let host_ips = node.options.node_ips.iter().map(ToString::to_string).collect();
        let (status, queue) = status_queue::channel();
        let status_writer = tokio::spawn(status::writer(api, queue, Arc::clone(&pod), host_ips));
        let mut machine = match seen {
            None => PodMachine::new(plan.clone(), now, seed),
            Some(seen) => {
                let last = pod.status.clone().unwrap_or_default();
                PodMachine::restore(plan.clone(), &last, seen, now, seed)
            }
        };
        machine.limit_back_off(node.options.longest_back_off);
        let membership = node.roster.join(&plan.uid, inbox.desired.clone());
        let look = storage_limits::has_limit(&plan.pod).then(|| tokio::time::interval(storage_limits::INTERVAL));
        Self {
            shutting_down: node.shutting_down.clone(),
            node,
            machine,
            plan: Arc::new(plan),
            paths,
            inbox,
            waiting: VecDeque::new(),
            effects: JoinSet::new(),
            cancellable: BTreeMap::new(),
            stages: BTreeMap::new(),
            sandbox_ips,
            sandbox,
            look,
            looks: JoinSet::new(),
            membership,
            refreshing: Arc::default(),
            tokens: Arc::default(),
            known: Known::default(),
            status,
            status_writer,
        }
    }

    /// Drives the pod to its end, records that, and stays until the object is gone.
    pub(crate) async fn run(mut self) {
        if self.sandbox.is_some() {
            // An earlier agent knew when its tokens are to be renewed; this one does not.
            self.refresh_volumes();
        }
        self.observe_deletion();
        while let Some(deadline) = self.drain() {
            let input = self.next_input(deadline).await;
            self.machine.handle(self.node.clock.now(), input);
        }
        let Self { node, plan, inbox, status, status_writer, paths, membership, .. } = self;
        drop((membership, status));
        let end = status_writer.await.unwrap_or(WriterEnd::Recorded);
        linger::until_gone(&node, &plan, &paths, inbox.desired, end).await;
    }

    /// Does what the machine asks for until it has nothing more to say; `None`: it has finished.
    fn drain(&mut self) -> Option<Option<Deadline>> {
        loop {
            match self.machine.poll() {
                Output::Run { id, effect } => self.start(id, effect),
                Output::Cancel(id) => {
                    if let Some(task) = self.cancellable.remove(&id) {
                        task.abort();
                    }
                }
                Output::Status(status) => self.status.send(*status),
                Output::Event(event) => {
                    let field_path = event.container.map(|idx| self.plan.field_path(idx));
                    let about = Regarding::pod(&self.plan, field_path);
                    self.node.events.record(about, event.type_, &event.reason, event.message);
                }
                Output::Moment(moment) => {
                    if let Some(recorder) = &self.node.options.recorder {
                        // Nobody listening is fine.
                        let _ = recorder.send(TimelineRecord::new(&self.plan, moment));
                    }
                }
                Output::Finished(_) => return None,
                Output::Wait(deadline) => return Some(deadline),
            }
        }
    }

    fn start(&mut self, id: EffectId, effect: Effect) {
        let context = self.context();
        let stoppable = can_be_cancelled(&effect);
        if matches!(effect, Effect::StopSandbox { .. } | Effect::RemoveSandbox { .. }) {
            self.sandbox = None;
        }
        let recorded = matches!(effect, Effect::RemoveSandbox { .. }).then(|| self.recorded());
        let task = self.effects.spawn(async move {
            if let Some(recorded) = recorded {
                recorded.await;
            }
            (id, context.execute(effect).await)
        });
        if stoppable {
            self.cancellable.insert(id, task);
        }
    }

    /// Waits until the statuses so far are stored, or the object is gone. Only then may the runtime forget how the
    /// containers ended: an agent that is killed in between finds it in one of the two places.
    fn recorded(&self) -> impl Future<Output = ()> + Send + use<R> {
        let settled = self.status.settled();
        let mut desired = self.inbox.desired.clone();
        async move {
            tokio::select! {
                () = settled => {}
                // Closed: the agent is shutting down, and nothing is to be removed any more.
                Ok(_) = desired.wait_for(|d| d.gone) => {}
            }
        }
    }

    /// Waits for the next thing that happens. Runtime events come before the ends of effects, so that an exit is
    /// known before the end of the stop that caused it.
    async fn next_input(&mut self, deadline: Option<Deadline>) -> Input {
        let clock = self.node.clock;
        loop {
            if let Some(input) = self.waiting.pop_front() {
                return input;
            }
            let alarm = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(clock.instant(deadline.at)).await,
                    None => std::future::pending().await,
                }
            };
            let due = self.tokens.due();
            let renewal = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(event) = self.inbox.runtime.recv() => self.observe(event.kind),
                Some(end) = self.effects.join_next() => self.conclude(end),
                Ok(()) = self.inbox.desired.changed() => self.observe_update(),
                () = self.inbox.refresh.notified() => self.refresh_volumes(),
                () = next_look(&mut self.look), if self.looks.is_empty() => self.look(),
                // Whatever it has found: only another turn of the loop waits for the next one.
                Some(found) = self.looks.join_next() => {
                    if let Ok(Some(message)) = found {
                        return Input::Evict { message, grace: EVICTION_GRACE, disruption: false };
                    }
                }
                Ok(()) = self.membership.eviction.changed() => {
                    if let Some(Eviction { message, grace }) = self.membership.eviction.borrow_and_update().clone() {
                        return Input::Evict { message, grace, disruption: true };
                    }
                }
                () = renewal => {
                    if self.tokens.take_due() {
                        self.refresh_volumes();
                    }
                }
                () = self.inbox.relist.notified() => self.relist().await,
                Ok(()) = self.shutting_down.changed() => {
                    self.waiting.push_back(Input::ShutDown { grace: self.plan.grace });
                }
                () = alarm => return Input::Timeout,
            }
        }
    }

    fn observe(&mut self, event: RuntimeEventKind) {
        match event {
            RuntimeEventKind::ContainerStarted(status) | RuntimeEventKind::ContainerExited(status) => {
                self.observe_container(&status);
            }
            RuntimeEventKind::ContainerSignalled { .. } => {}
            RuntimeEventKind::SandboxLost(_) => self.waiting.push_back(Input::SandboxLost),
        }
    }

    /// Hands a container's state over unless a later one has been handed over already.
    fn observe_container(&mut self, status: &cri::ContainerStatus) {
        let Some(view) = view::container(&self.plan, &self.paths, status) else { return };
        let stage = match view.state {
            ContainerViewState::Created => Stage::Created,
            ContainerViewState::Running { .. } => Stage::Running,
            ContainerViewState::Exited { .. } => Stage::Exited,
        };
        let before = self.stages.insert(view.id.clone(), stage);
        match before {
            Some(before) if before >= stage => {
                self.stages.insert(view.id, before);
            }
            _ => self.waiting.push_back(Input::Container(view)),
        }
    }

    fn conclude(&mut self, end: Result<(EffectId, EffectEnd), tokio::task::JoinError>) {
        let (effect, end) = match end {
            Ok(done) => done,
            Err(e) => {
                if !e.is_cancelled() {
                    tracing::error!(pod = self.plan.full_name(), "an effect panicked: {e}");
                }
                return;
            }
        };
        self.cancellable.remove(&effect);
        if let Some(status) = &end.seen {
            self.observe_container(status);
        }
        if let EffectResult::Sandbox(Ok(sandbox)) = &end.result {
            self.sandbox_ips = sandbox.ips.clone();
            self.sandbox = Some(sandbox.id.clone());
        }
        if let EffectResult::Started(Ok(view)) = &end.result {
            let stage = self.stages.entry(view.id.clone()).or_insert(Stage::Running);
            *stage = (*stage).max(Stage::Running);
        }
        self.waiting.push_back(Input::Done { effect, result: end.result });
    }

    fn observe_update(&mut self) {
        let Desired { pod, pending, gone } = self.inbox.desired.borrow_and_update().clone();
        if !gone && (matters(&self.plan.pod, &pod) || pending != self.known.pending) {
            match PodPlan::from_pod(&pod) {
                Ok(mut plan) => {
                    plan.keep_order_of(&self.plan);
                    self.plan = Arc::new(plan.clone());
                    let foreign_conditions = status::foreign_conditions(&pod);
                    self.known.pending.clone_from(&pending);
                    self.waiting.push_back(Input::Desired(PodUpdate { plan, pending, foreign_conditions }));
                    self.refresh_volumes();
                }
                Err(e) => tracing::warn!(pod = self.plan.full_name(), "update ignored: {e}"),
            }
        }
        self.observe_deletion();
    }

    /// Tells the machine of a deletion, or of a grace that became shorter.
    fn observe_deletion(&mut self) {
        let Desired { pod, gone, .. } = self.inbox.desired.borrow().clone();
        let grace = if gone {
            Some(FORCED_GRACE)
        } else if pod.metadata.deletion_timestamp.is_some() {
            let seconds = pod.metadata.deletion_grace_period_seconds;
            Some(seconds.and_then(|s| u64::try_from(s).ok()).map_or(self.plan.grace, Duration::from_secs))
        } else {
            None
        };
        if let Some(grace) = grace
            && self.known.grace.is_none_or(|known| grace < known)
        {
            self.known.grace = Some(grace);
            self.waiting.push_back(Input::Delete { grace });
        }
    }

    /// Writes volumes again whose content may have changed: ConfigMaps, Secrets, labels, annotations. One refresh at a
    /// time; what changes meanwhile is written by the next.
    fn refresh_volumes(&self) {
        let context = self.context();
        let turn = Arc::clone(&self.refreshing);
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            if context.paths.root.exists()
                && let Err(e) = context.refresh_volumes().await
            {
                tracing::warn!(pod = context.plan.full_name(), "volumes not refreshed: {e}");
            }
        });
    }

    /// Measures the pod.
    fn look(&mut self) {
        self.looks.spawn(self.context().over_storage_limit());
    }

    fn context(&self) -> PodContext<R> {
        PodContext {
            node: Arc::clone(&self.node),
            plan: Arc::clone(&self.plan),
            paths: Arc::clone(&self.paths),
            sandbox_ips: self.sandbox_ips.clone(),
            tokens: Arc::clone(&self.tokens),
        }
    }

    async fn relist(&mut self) {
        let filter = ContainerFilter { sandbox: None, pod_uid: Some(self.plan.uid.clone()) };
        match self.node.runtime.list_containers(filter).await {
            Ok(containers) => containers.iter().for_each(|c| self.observe_container(c)),
            Err(e) => tracing::warn!(pod = self.plan.full_name(), "listing containers: {e}"),
        }
        let lost = match (&self.sandbox, self.node.runtime.list_sandboxes().await) {
            (Some(own), Ok(all)) => !all.iter().any(|s| s.id.0 == *own && s.state == cri::SandboxState::Ready),
            (None, _) | (_, Err(_)) => false,
        };
        if lost {
            self.waiting.push_back(Input::SandboxLost);
        }
    }
}

/// Waits until a pod is to be measured; for ever if it never is.
async fn next_look(look: &mut Option<Interval>) {
    match look {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Tells whether an update concerns the machine: everything but its own status does, and an end that others declare.
fn matters(old: &Pod, new: &Pod) -> bool {
    let is_over = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    (is_over(new) && !is_over(old))
        || old.spec != new.spec
        || old.metadata.generation != new.metadata.generation
        || old.metadata.labels != new.metadata.labels
        || old.metadata.annotations != new.metadata.annotations
        || status::foreign_conditions(old) != status::foreign_conditions(new)
}

/// Tells whether an effect may be dropped half-way. Those that change the runtime run to their end, so that no
/// container is left behind that nobody knows; their answer is ignored.
fn can_be_cancelled(effect: &Effect) -> bool {
    match effect {
        Effect::EnsureImage { .. } | Effect::RunHook { .. } | Effect::Probe { .. } => true,
        Effect::PrepareVolumes
        | Effect::CreateSandbox { .. }
        | Effect::StopSandbox { .. }
        | Effect::RemoveSandbox { .. }
        | Effect::CreateContainer { .. }
        | Effect::StartContainer { .. }
        | Effect::StopContainer { .. }
        | Effect::Resize { .. }
        | Effect::RemoveContainer { .. }
        | Effect::Cleanup => false,
    }
}
