//! Puts controllers together: their caches, queues and watches.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use apimachinery::scheme::{self, ResourceType};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use jiff::tz::TimeZone;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::api::{ApiError, Metadata, api_of};
use crate::cache::Cache;
use crate::events::Recorder;
use crate::garbage::{self, Collector};
use crate::manager::Options;
use crate::meta::{self, Key};
use crate::queue::{Next, Queue, work};
use crate::reflector::{MetadataOf, reflect};
use crate::scheduler::{self, Scheduler};
use crate::{cronjob, deployment, endpoints, job, podgc, quota, replicaset, shrink, taints, ttl};

/// Passes that one controller makes at a time.
const PASSES: usize = 16;

/// Controllers while they are being put together.
struct Wiring {
    client: Client,
    options: Options,
    recorder: Recorder,
    tasks: Vec<BoxFuture<'static, ()>>,
}

/// Makes the controllers that the options ask for, as futures that are to be polled.
pub(crate) fn controllers(client: Client, options: Options, recorder: Recorder) -> Vec<BoxFuture<'static, ()>> {
    let caches = Caches::new(&client, &options);
    let mut wiring = Wiring { client, options, recorder, tasks: Vec::new() };
    if wiring.options.jobs {
        wiring.jobs(&caches);
        wiring.time_to_live(&caches);
    }
    if wiring.options.cronjobs {
        wiring.cronjobs(&caches);
    }
    if wiring.options.replica_sets {
        wiring.replica_sets(&caches);
    }
    if wiring.options.deployments {
        wiring.deployments(&caches);
    }
    if wiring.options.scheduler {
        wiring.scheduler(&caches);
        wiring.taints(&caches);
    }
    if wiring.options.endpoints {
        wiring.endpoints(&caches);
    }
    if let Some(limit) = wiring.options.pod_gc {
        wiring.pod_gc(&caches, limit);
    }
    if wiring.options.quotas {
        wiring.quotas(&caches);
    }
    if wiring.options.garbage_collector {
        wiring.garbage_collector(&caches);
    }
    wiring.reflectors(&caches);
    wiring.tasks
}

/// What several controllers read.
#[derive(Debug)]
struct Caches {
    cronjobs: Arc<Cache<CronJob>>,
    jobs: Arc<Cache<Job>>,
    deployments: Arc<Cache<Deployment>>,
    replica_sets: Arc<Cache<ReplicaSet>>,
    pods: Arc<Cache<Pod>>,
    nodes: Arc<Cache<Node>>,
    services: Arc<Cache<Service>>,
    slices: Arc<Cache<EndpointSlice>>,
    endpoints: Arc<Cache<Endpoints>>,
    quotas: Arc<Cache<ResourceQuota>>,
    /// The metadata of kinds that nobody reads more of.
    others: Vec<(MetadataOf, Arc<Cache<Metadata>>)>,
}

impl Caches {
    fn new(client: &Client, options: &Options) -> Self {
        let mut caches = Self {
            cronjobs: Arc::new(Cache::new(shrink::managed)),
            jobs: Arc::new(Cache::new(shrink::managed)),
            deployments: Arc::new(Cache::new(shrink::managed)),
            replica_sets: Arc::new(Cache::new(shrink::managed)),
            pods: Arc::new(Cache::new(shrink::pod)),
            nodes: Arc::new(Cache::new(shrink::node)),
            services: Arc::new(Cache::new(shrink::managed)),
            slices: Arc::new(Cache::new(shrink::managed)),
            endpoints: Arc::new(Cache::new(shrink::managed)),
            quotas: Arc::new(Cache::new(shrink::managed)),
            others: Vec::new(),
        };
        if options.garbage_collector || options.quotas {
            let mut whole = Kinds(Vec::new());
            caches.visit_whole(options, &mut whole);
            let wanted = |kind: &ResourceType| match options.all_kinds {
                // Events belong to nobody and limit themselves.
                true => kind.kind != "Event",
                false => matches!(kind.kind, "ConfigMap" | "Secret"),
            };
            let others = scheme::all().iter().filter(|kind| wanted(kind) && !whole.0.contains(kind));
            let source = |kind| MetadataOf { api: api_of(client, kind, ""), kind };
            caches.others = others.map(|kind| (source(kind), Arc::new(Cache::new(shrink::metadata)))).collect();
        }
        caches
    }

    /// Visits the caches of whole objects that are watched.
    fn visit_whole(&self, options: &Options, visitor: &mut impl Visitor) {
        if watches_batch(options) {
            visitor.visit(&self.cronjobs);
            visitor.visit(&self.jobs);
        }
        if watches_apps(options) {
            visitor.visit(&self.deployments);
            visitor.visit(&self.replica_sets);
        }
        if watches_nodes(options) {
            visitor.visit(&self.nodes);
        }
        if options.endpoints || options.quotas {
            visitor.visit(&self.services);
        }
        if options.endpoints {
            visitor.visit(&self.slices);
            visitor.visit(&self.endpoints);
        }
        if options.quotas {
            visitor.visit(&self.quotas);
        }
        visitor.visit(&self.pods);
    }
}

const fn watches_batch(options: &Options) -> bool {
    options.jobs || options.cronjobs || options.garbage_collector
}

const fn watches_apps(options: &Options) -> bool {
    options.replica_sets || options.deployments
}

const fn watches_nodes(options: &Options) -> bool {
    options.scheduler || options.endpoints || options.pod_gc.is_some()
}

/// Does something with caches of different kinds.
trait Visitor {
    fn visit<K: Resource<DynamicType = ()> + Send + Sync + 'static>(&mut self, cache: &Arc<Cache<K>>);
}

fn kind_of<K: Resource<DynamicType = ()>>() -> Option<&'static ResourceType> {
    scheme::by_kind(&K::api_version(&()), &K::kind(&()))
}

/// The kinds that are watched.
struct Kinds(Vec<&'static ResourceType>);

impl Visitor for Kinds {
    fn visit<K: Resource<DynamicType = ()> + Send + Sync + 'static>(&mut self, _: &Arc<Cache<K>>) {
        self.0.extend(kind_of::<K>());
    }
}

/// Feeds the garbage collector, and knows when it has seen everything.
struct Collect {
    collector: Arc<Collector>,
    synced: Vec<BoxFuture<'static, ()>>,
}

impl Collect {
    fn from<K: Resource + Send + Sync + 'static>(&mut self, kind: &'static ResourceType, cache: &Arc<Cache<K>>) {
        let collector = Arc::clone(&self.collector);
        cache.on_change(move |change| collector.observe(kind, &change));
        self.synced.push(cache.synced());
    }
}

impl Visitor for Collect {
    fn visit<K: Resource<DynamicType = ()> + Send + Sync + 'static>(&mut self, cache: &Arc<Cache<K>>) {
        if let Some(kind) = kind_of::<K>() {
            self.from(kind, cache);
        }
    }
}

/// Knows how to count objects for quotas, and when all have been seen.
#[derive(Default)]
struct Counts {
    counts: Vec<(&'static ResourceType, quota::Count)>,
    synced: Vec<BoxFuture<'static, ()>>,
}

impl Counts {
    fn of<K: Resource + Send + Sync + 'static>(&mut self, kind: &'static ResourceType, cache: &Arc<Cache<K>>) {
        let counted = Arc::clone(cache);
        self.counts.push((kind, Box::new(move |namespace| counted.count_in(namespace))));
        self.synced.push(cache.synced());
    }
}

impl Visitor for Counts {
    fn visit<K: Resource<DynamicType = ()> + Send + Sync + 'static>(&mut self, cache: &Arc<Cache<K>>) {
        if let Some(kind) = kind_of::<K>().filter(|kind| !matches!(kind.kind, "Pod" | "Service")) {
            self.of(kind, cache);
        }
    }
}

/// Queues quotas when objects come and go.
struct Recount(Arc<quota::Controller>, Arc<Queue<Key>>);

impl Recount {
    fn on<K: Resource + Send + Sync + 'static>(&self, cache: &Cache<K>) {
        let (controller, queue) = (Arc::clone(&self.0), Arc::clone(&self.1));
        cache.on_change(move |change| {
            if let (Some(object), None) | (None, Some(object)) = (change.old, change.new) {
                controller.namespace_changed(meta::namespace(object.meta()), &queue);
            }
        });
    }
}

impl Visitor for Recount {
    fn visit<K: Resource<DynamicType = ()> + Send + Sync + 'static>(&mut self, cache: &Arc<Cache<K>>) {
        self.on(cache);
    }
}

impl Wiring {
    fn jobs(&mut self, caches: &Caches) {
        let controller = Arc::new(job::Controller::new(
            self.client.clone(),
            Arc::clone(&caches.jobs),
            Arc::clone(&caches.pods),
            self.recorder.of(job::COMPONENT),
            Arc::clone(&self.options.clock),
            self.options.seed,
        ));
        let (queue, orphans) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
        let watched = (Arc::clone(&controller), Arc::clone(&queue), Arc::clone(&orphans));
        caches.jobs.on_change(move |change| watched.0.job_changed(&change, &watched.1, &watched.2));
        let watched = (Arc::clone(&controller), Arc::clone(&queue), Arc::clone(&orphans));
        caches.pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1, &watched.2));
        let passes = Arc::clone(&controller);
        self.work(&caches.pods, queue, move |key| Arc::clone(&passes).pass(key));
        self.work(&caches.pods, orphans, move |key| Arc::clone(&controller).orphan_pass(key));
    }

    fn time_to_live(&mut self, caches: &Caches) {
        let controller = Arc::new(ttl::Controller {
            client: self.client.clone(),
            jobs: Arc::clone(&caches.jobs),
            clock: Arc::clone(&self.options.clock),
        });
        let queue = Arc::new(Queue::new());
        let watched = Arc::clone(&queue);
        caches.jobs.on_change(move |change| ttl::Controller::job_changed(&change, &watched));
        self.work(&caches.jobs, queue, move |key| Arc::clone(&controller).pass(key));
    }

    fn cronjobs(&mut self, caches: &Caches) {
        let controller = Arc::new(cronjob::Controller {
            client: self.client.clone(),
            cronjobs: Arc::clone(&caches.cronjobs),
            jobs: Arc::clone(&caches.jobs),
            recorder: self.recorder.of(cronjob::COMPONENT),
            clock: Arc::clone(&self.options.clock),
            local_zone: TimeZone::system(),
        });
        let queue = Arc::new(Queue::new());
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.cronjobs.on_change(move |change| watched.0.cronjob_changed(&change, &watched.1));
        let watched = Arc::clone(&queue);
        caches.jobs.on_change(move |change| cronjob::Controller::job_changed(&change, &watched));
        self.work(&caches.jobs, queue, move |key| Arc::clone(&controller).pass(key));
    }

    fn replica_sets(&mut self, caches: &Caches) {
        let controller = Arc::new(replicaset::Controller::new(
            self.client.clone(),
            Arc::clone(&caches.replica_sets),
            Arc::clone(&caches.pods),
            self.recorder.of(replicaset::COMPONENT),
            Arc::clone(&self.options.clock),
            self.options.seed,
        ));
        let queue = Arc::new(Queue::new());
        let watched = Arc::clone(&queue);
        caches.replica_sets.on_change(move |change| replicaset::Controller::replica_set_changed(&change, &watched));
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1));
        self.work(&caches.pods, queue, move |key| Arc::clone(&controller).pass(key));
    }

    fn deployments(&mut self, caches: &Caches) {
        let controller = Arc::new(deployment::Controller {
            client: self.client.clone(),
            deployments: Arc::clone(&caches.deployments),
            replica_sets: Arc::clone(&caches.replica_sets),
            pods: Arc::clone(&caches.pods),
            recorder: self.recorder.of(deployment::COMPONENT),
            clock: Arc::clone(&self.options.clock),
        });
        let queue = Arc::new(Queue::new());
        let watched = Arc::clone(&queue);
        caches.deployments.on_change(move |change| deployment::Controller::deployment_changed(&change, &watched));
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.replica_sets.on_change(move |change| watched.0.replica_set_changed(&change, &watched.1));
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1));
        self.work(&caches.pods, queue, move |key| Arc::clone(&controller).pass(key));
    }

    fn scheduler(&mut self, caches: &Caches) {
        let scheduler = Arc::new(Scheduler {
            client: self.client.clone(),
            pods: Arc::clone(&caches.pods),
            nodes: Arc::clone(&caches.nodes),
            recorder: self.recorder.of(scheduler::COMPONENT),
            clock: Arc::clone(&self.options.clock),
            node_name: self.options.node_name.clone(),
            ledger: Mutex::default(),
        });
        let queue = Arc::new(Queue::new());
        let watched = (Arc::clone(&scheduler), Arc::clone(&queue));
        caches.pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1));
        let watched = (Arc::clone(&scheduler), Arc::clone(&queue));
        caches.nodes.on_change(move |change| watched.0.node_changed(&change, &watched.1));
        self.work(&caches.pods, queue, move |key| Arc::clone(&scheduler).pass(key));
    }

    fn taints(&mut self, caches: &Caches) {
        let controller = Arc::new(taints::Controller {
            client: self.client.clone(),
            nodes: Arc::clone(&caches.nodes),
            clock: Arc::clone(&self.options.clock),
        });
        let queue = Arc::new(Queue::new());
        let watched = Arc::clone(&queue);
        caches.nodes.on_change(move |change| taints::Controller::node_changed(&change, &watched));
        self.work(&caches.nodes, queue, move |key| Arc::clone(&controller).pass(key));
    }

    fn endpoints(&mut self, caches: &Caches) {
        let controller = Arc::new(endpoints::Controller {
            client: self.client.clone(),
            services: Arc::clone(&caches.services),
            slices: Arc::clone(&caches.slices),
            endpoints: Arc::clone(&caches.endpoints),
            pods: Arc::clone(&caches.pods),
            nodes: Arc::clone(&caches.nodes),
            clock: Arc::clone(&self.options.clock),
        });
        let queue = Arc::new(Queue::new());
        let watched = Arc::clone(&queue);
        caches.services.on_change(move |change| endpoints::Controller::service_changed(&change, &watched));
        let watched = Arc::clone(&queue);
        caches.slices.on_change(move |change| endpoints::Controller::slice_changed(&change, &watched));
        let watched = Arc::clone(&queue);
        caches.endpoints.on_change(move |change| endpoints::Controller::endpoints_changed(&change, &watched));
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1));
        let synced = vec![
            caches.services.synced(),
            caches.slices.synced(),
            caches.endpoints.synced(),
            caches.pods.synced(),
            caches.nodes.synced(),
        ];
        self.work_after(synced, queue, move |key| Arc::clone(&controller).pass(key));
    }

    fn pod_gc(&mut self, caches: &Caches, limit: usize) {
        let controller = Arc::new(podgc::Controller {
            client: self.client.clone(),
            pods: Arc::clone(&caches.pods),
            nodes: Arc::clone(&caches.nodes),
            clock: Arc::clone(&self.options.clock),
            limit,
            ended: AtomicUsize::new(0),
            gone: Mutex::new(BTreeMap::new()),
        });
        let queue = Arc::new(Queue::new());
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1));
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.nodes.on_change(move |change| watched.0.node_changed(&change, &watched.1));
        let synced = vec![caches.nodes.synced(), caches.pods.synced()];
        self.work_after(synced, queue, move |work| Arc::clone(&controller).pass(work));
    }

    fn quotas(&mut self, caches: &Caches) {
        let mut counts = Counts::default();
        caches.visit_whole(&self.options, &mut counts);
        for (source, cache) in &caches.others {
            counts.of(source.kind, cache);
        }
        let Counts { counts, mut synced } = counts;
        synced.extend([caches.pods.synced(), caches.services.synced()]);
        let controller = Arc::new(quota::Controller {
            client: self.client.clone(),
            quotas: Arc::clone(&caches.quotas),
            pods: Arc::clone(&caches.pods),
            services: Arc::clone(&caches.services),
            others: counts,
            clock: Arc::clone(&self.options.clock),
        });
        let queue = Arc::new(Queue::new());
        let watched = Arc::clone(&queue);
        caches.quotas.on_change(move |change| quota::Controller::quota_changed(&change, &watched));
        let watched = (Arc::clone(&controller), Arc::clone(&queue));
        caches.pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1));
        let mut recount = Recount(Arc::clone(&controller), Arc::clone(&queue));
        caches.visit_whole(&self.options, &mut recount);
        caches.others.iter().for_each(|(_, cache)| recount.on(cache));
        self.work_after(synced, queue, move |key| Arc::clone(&controller).pass(key));
    }

    fn garbage_collector(&mut self, caches: &Caches) {
        let queue = Arc::new(Queue::new());
        let recorder = self.recorder.of(garbage::COMPONENT);
        let collector = Arc::new(Collector::new(self.client.clone(), Arc::clone(&queue), recorder));
        let mut collect = Collect { collector: Arc::clone(&collector), synced: Vec::new() };
        caches.visit_whole(&self.options, &mut collect);
        for (source, cache) in &caches.others {
            collect.from(source.kind, cache);
        }
        self.work_after(collect.synced, queue, move |uid| Arc::clone(&collector).pass(uid));
    }

    /// Works on a queue from the time when `cache` is complete.
    fn work<K, F, Fut>(&mut self, cache: &Arc<Cache<K>>, queue: Arc<Queue<Key>>, pass: F)
    where
        K: Resource<DynamicType = ()> + Send + Sync + 'static,
        F: Fn(Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, ApiError>> + Send + 'static,
    {
        self.work_after(vec![cache.synced()], queue, pass);
    }

    /// Works on a queue from the time when several caches are complete.
    fn work_after<W, F, Fut>(&mut self, synced: Vec<BoxFuture<'static, ()>>, queue: Arc<Queue<W>>, pass: F)
    where
        W: Clone + Ord + Debug + Send + Sync + 'static,
        F: Fn(W) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, ApiError>> + Send + 'static,
    {
        let clock = Arc::clone(&self.options.clock);
        let task = async move {
            join_all(synced).await;
            work(&queue, &clock, PASSES, pass).await;
        };
        self.tasks.push(task.boxed());
    }

    /// Starts the watches one after the other, owners first: what is seen of dependents is then
    /// never older than what is seen of their owners, and nothing is counted twice.
    fn reflectors(&mut self, caches: &Caches) {
        let options = self.options.clone();
        let mut owners = Vec::new();
        if watches_batch(&options) {
            self.reflect(&caches.cronjobs, Vec::new());
            self.reflect(&caches.jobs, vec![caches.cronjobs.synced()]);
            owners.push(caches.jobs.synced());
        }
        if watches_apps(&options) {
            self.reflect(&caches.deployments, Vec::new());
            self.reflect(&caches.replica_sets, vec![caches.deployments.synced()]);
            owners.push(caches.replica_sets.synced());
        }
        if watches_nodes(&options) {
            self.reflect(&caches.nodes, Vec::new());
        }
        if options.endpoints || options.quotas {
            self.reflect(&caches.services, Vec::new());
        }
        if options.endpoints {
            self.reflect(&caches.slices, vec![caches.services.synced()]);
            self.reflect(&caches.endpoints, vec![caches.services.synced()]);
        }
        if options.quotas {
            self.reflect(&caches.quotas, Vec::new());
        }
        self.reflect(&caches.pods, owners);
        for (source, cache) in &caches.others {
            self.tasks.push(reflect(source.clone(), Arc::clone(cache)).boxed());
        }
    }

    /// Keeps a cache current from the time when others are complete.
    fn reflect<K>(&mut self, cache: &Arc<Cache<K>>, others: Vec<BoxFuture<'static, ()>>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (source, cache) = (Api::<K>::all(self.client.clone()), Arc::clone(cache));
        let task = async move {
            join_all(others).await;
            reflect(source, cache).await;
        };
        self.tasks.push(task.boxed());
    }
}
