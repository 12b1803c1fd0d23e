//! What happens when the machine runs short of memory, disk or processes (pkg/kubelet/eviction, contract S4-56).
//!
//! ```text
//! memory stall, ten seconds, a new pod -> look -> judge -> conditions of the node, admission of pods
//!                                                      -> starved: remove images, or evict one pod and look again
//! ```
//!
//! Dead containers are not removed before that: those of ended pods are gone already, and of those of living pods only the
//! last before the present one is left, which the status tells of.

mod images;
mod observe;
mod options;
mod pressure;
mod rank;
mod roster;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cri::{ContainerFilter, ImageService, RuntimeService, SandboxState};
use k8s_openapi::api::core::v1::Pod;
use observe::Places;
pub use options::{EvictionFlagError, EvictionFlags, EvictionOptions, ImageGcOptions};
use options::{Signal, Threshold};
use pod_lifecycle::{EVICTION_GRACE, EventType, MonoTime};
pub(crate) use pressure::Condition;
use pressure::{Judgement, Observation, Pressure, Resource, Starved};
pub(crate) use rank::is_critical;
use rank::{Candidate, Usage};
pub(crate) use roster::{Eviction, Membership, Roster};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{events::Regarding, names::pod_uid, node_context::NodeContext, paths::PodPaths, storage_limits};

/// How often the machine is looked at while nothing tells (kubelet `evictionMonitoringPeriod`).
const INTERVAL: Duration = Duration::from_secs(10);
/// How long an evicted pod is waited for before another one goes (`podCleanupTimeout`).
const CLEANUP: Duration = Duration::from_secs(30);
/// How long images are left alone after there were too few to remove (`ImageGCPeriod`).
const IMAGE_PERIOD: Duration = Duration::from_secs(300);

/// What the node is short of. Whoever asks, looks.
#[derive(Debug)]
pub(crate) struct Gauge {
    thresholds: Vec<Threshold>,
    transition: Duration,
    places: Places,
    pressure: Mutex<Pressure>,
    conditions: watch::Sender<Vec<Condition>>,
}

impl Gauge {
    pub(crate) fn new(options: &EvictionOptions, node: &std::path::Path, images: std::path::PathBuf) -> Self {
        Self {
            thresholds: options.thresholds.clone(),
            transition: options.transition_period,
            places: Places::new(node, images),
            pressure: Mutex::default(),
            conditions: watch::channel(Vec::new()).0,
        }
    }

    /// Looks at the machine and judges what is seen.
    fn look(&self, now: MonoTime) -> (Judgement, Option<Observation>) {
        let seen = self.places.observe();
        let mut pressure = self.pressure.lock().unwrap_or_else(PoisonError::into_inner);
        let judgement = pressure.judge(&self.thresholds, self.transition, &seen, now);
        self.conditions.send_if_modified(|known| {
            let changed = *known != judgement.conditions;
            known.clone_from(&judgement.conditions);
            changed
        });
        (judgement, seen.get(&Signal::ImageFs).copied())
    }

    /// Returns the conditions that hold, fresh.
    pub(crate) fn conditions(&self, now: MonoTime) -> Vec<Condition> {
        self.look(now).0.conditions
    }

    /// Tells when the conditions change.
    pub(crate) fn changes(&self) -> watch::Receiver<Vec<Condition>> {
        self.conditions.subscribe()
    }
}

/// Watches the machine and does what must be done, for ever; nothing if nothing is asked for.
pub(crate) async fn run<R: RuntimeService + ImageService>(node: Arc<NodeContext<R>>) {
    if node.options.eviction.thresholds.is_empty() && node.options.eviction.images.is_none() {
        return;
    }
    let mut manager = Manager { node, images_after: Instant::now() };
    loop {
        manager.turn().await;
    }
}

struct Manager<R> {
    node: Arc<NodeContext<R>>,
    /// Before that, removing images is of no use.
    images_after: Instant,
}

impl<R: RuntimeService + ImageService> Manager<R> {
    /// Looks, acts, and waits until there is a reason to look again.
    async fn turn(&mut self) {
        let (judgement, images) = self.node.gauge.look(self.node.clock.now().mono);
        if let Some(images) = images {
            self.collect_images(images).await;
        }
        if let Some(starved) = &judgement.starved
            && self.reclaim(starved).await
        {
            return;
        }
        let (node, deserted) = (&self.node, self.node.roster.is_empty());
        let soon = Instant::now() + INTERVAL;
        let next = judgement.next.map_or(soon, |at| node.clock.instant(at).min(soon));
        tokio::select! {
            () = node.roster.until_any(), if deserted => {}
            () = sleep_until(next), if !deserted || !judgement.conditions.is_empty() => {}
            () = node.runtime.memory_stall(), if !deserted => {}
        }
    }

    /// Removes images when their file system is too full.
    async fn collect_images(&mut self, seen: Observation) {
        let Some(options) = self.node.options.eviction.images else { return };
        let Some(wanted) = images::excess(seen, options).filter(|_| Instant::now() >= self.images_after) else {
            return;
        };
        let (reason, message) =
            match images::collect(&*self.node.runtime, &self.node.gauge.places, wanted, options.minimum_age).await {
                Ok(collected) if collected.freed >= collected.wanted => return,
                Ok(images::Collected { wanted, freed }) => (
                    "FreeDiskSpaceFailed",
                    format!(
                        "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but \
                         only found {freed} bytes eligible to free."
                    ),
                ),
                Err(e) => ("ImageGCFailed", e.to_string()),
            };
        self.images_after = Instant::now() + IMAGE_PERIOD;
        self.say(reason, message);
    }

    /// Does what helps against a want: removes images, or else evicts one pod and waits until it is gone. Tells
    /// whether it helped.
    async fn reclaim(&self, starved: &Starved) -> bool {
        let resource = starved.signal.resource();
        self.say("EvictionThresholdMet", format!("Attempting to reclaim {}", resource.name()));
        if self.remove_images(starved.signal).await {
            return true;
        }
        let mut candidates = self.candidates(starved.signal).await;
        rank::rank(resource, &mut candidates);
        let Some(candidate) = candidates.iter().find(|candidate| !is_critical(&candidate.pod)) else {
            return false;
        };
        let message = rank::message(starved, candidate);
        let grace = if starved.hard { EVICTION_GRACE } else { self.soft_grace(&candidate.pod) };
        let uid = pod_uid(&candidate.pod);
        // One that takes longer does not keep others from going: it is no candidate any more.
        let _ = timeout(CLEANUP, self.node.roster.evict(uid, Eviction { message, grace })).await;
        true
    }

    /// Removes all images that nobody uses, if that may help; tells whether it was enough.
    async fn remove_images(&self, signal: Signal) -> bool {
        let Gauge { places, thresholds, .. } = &self.node.gauge;
        let holds_images = match signal {
            Signal::ImageFs | Signal::ImageFsInodes => true,
            Signal::NodeFs | Signal::NodeFsInodes => places.shared,
            Signal::Memory | Signal::Pids => false,
        };
        let Some(options) = self.node.options.eviction.images.filter(|_| holds_images) else { return false };
        if let Err(e) = images::collect(&*self.node.runtime, places, i64::MAX, options.minimum_age).await {
            tracing::warn!("unused images not removed: {e}");
        }
        pressure::is_enough(thresholds, &places.observe())
    }

    /// The shorter of what the node gives and what the pod wants; a second at least.
    fn soft_grace(&self, pod: &Pod) -> Duration {
        let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let own = own.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let most = self.node.options.eviction.max_pod_grace;
        own.map_or(most, |own| own.min(most)).max(EVICTION_GRACE)
    }

    /// Returns the pods that could go, with what they have of the resource.
    async fn candidates(&self, signal: Signal) -> Vec<Candidate> {
        let pods = self.node.roster.candidates();
        let mut usages = match signal.resource() {
            Resource::Memory => self.memory().await,
            Resource::Pids => self.processes().await,
            Resource::Storage | Resource::Inodes => self.disk(signal, &pods).await,
        };
        let candidate = |pod: Arc<Pod>| Candidate { usage: usages.remove(pod_uid(&pod)), pod };
        pods.into_iter().map(candidate).collect()
    }

    async fn memory(&self) -> BTreeMap<String, Usage> {
        let containers = self.node.runtime.list_containers(ContainerFilter::default()).await.unwrap_or_default();
        let names: BTreeMap<_, _> = containers.into_iter().map(|status| (status.id, status.name)).collect();
        let mut usages = BTreeMap::new();
        for (uid, sandbox) in self.sandboxes().await {
            let Ok(memory) = self.node.runtime.memory(&sandbox).await else { continue };
            let named = memory
                .containers
                .iter()
                .filter_map(|(id, memory)| Some((names.get(id)?.clone(), bytes(memory.working_set))));
            usages.insert(uid, Usage { total: bytes(memory.whole.working_set), containers: named.collect() });
        }
        usages
    }

    async fn processes(&self) -> BTreeMap<String, Usage> {
        let mut usages = BTreeMap::new();
        for (uid, sandbox) in self.sandboxes().await {
            let Ok(count) = self.node.runtime.processes(&sandbox).await else { continue };
            usages.insert(uid, Usage { total: i64::try_from(count).unwrap_or(i64::MAX), ..Usage::default() });
        }
        usages
    }

    async fn sandboxes(&self) -> Vec<(String, cri::SandboxId)> {
        let all = self.node.runtime.list_sandboxes().await.unwrap_or_default();
        let ready = all.into_iter().filter(|sandbox| sandbox.state == SandboxState::Ready);
        ready.map(|sandbox| (sandbox.metadata.uid, sandbox.id)).collect()
    }

    /// Measures what pods have written. Nothing of it is where images are, if that is another file system.
    async fn disk(&self, signal: Signal, pods: &[Arc<Pod>]) -> BTreeMap<String, Usage> {
        let elsewhere = !self.node.gauge.places.shared && matches!(signal, Signal::ImageFs | Signal::ImageFsInodes);
        let mut usages = BTreeMap::new();
        for pod in pods {
            let paths = PodPaths::new(&self.node.options, pod);
            let Some(usage) = storage_limits::usage(&*self.node.runtime, pod, &paths).await else { continue };
            let total = match signal.resource() {
                _ if elsewhere => 0,
                Resource::Inodes => usage.inodes,
                Resource::Storage | Resource::Memory | Resource::Pids => usage.total(),
            };
            let containers = match signal.resource() {
                Resource::Storage => usage.containers.into_iter().map(|(name, size)| (name, bytes(size))).collect(),
                Resource::Inodes | Resource::Memory | Resource::Pids => BTreeMap::new(),
            };
            usages.insert(pod_uid(pod).to_owned(), Usage { total: bytes(total), containers });
        }
        usages
    }

    fn say(&self, reason: &str, message: String) {
        self.node.events.record(Regarding::node(&self.node.options.node_name), EventType::Warning, reason, message);
    }
}

fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
