//! Runs all controllers over shared caches.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, join};
use jiff::tz::TimeZone;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::api::ApiError;
use crate::cache::Cache;
use crate::clock::{SharedClock, SystemClock};
use crate::events::{Recorder, Writer};
use crate::garbage::Collector;
use crate::meta::Key;
use crate::queue::{Next, Queue, work};
use crate::reflector::{MetadataOf, reflect};
use crate::scheduler::{self, Scheduler};
use crate::{cronjob, deployment, job, replicaset, shrink, ttl};

/// Which controllers run, and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bind pods to nodes. Off against a cluster that has a scheduler.
    pub scheduler: bool,
    /// The only node to bind pods to; any node if none.
    pub node_name: Option<String>,
    /// Run Jobs, and delete them after their time to live.
    pub jobs: bool,
    /// Start the Jobs of CronJobs.
    pub cronjobs: bool,
    /// Run ReplicaSets.
    pub replica_sets: bool,
    /// Run Deployments, which takes ReplicaSets.
    pub deployments: bool,
    /// Delete what belongs to deleted objects.
    pub garbage_collector: bool,
    /// Makes the names of pods differ from run to run.
    pub seed: u64,
    /// The clock.
    pub clock: SharedClock,
}

impl Default for Options {
    /// Everything on, on the machine's clock.
    fn default() -> Self {
        Self {
            scheduler: true,
            node_name: None,
            jobs: true,
            cronjobs: true,
            replica_sets: true,
            deployments: true,
            garbage_collector: true,
            seed: rand::random(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Passes that one controller makes at a time.
const PASSES: usize = 16;

/// Runs the controllers until `shutdown` says true or its sender is gone.
///
/// Guarantees: dropping the future at any time is as safe as `kill -9`; a later run goes on from
/// what the API server stores. Failed calls are repeated with growing delays, so this does not
/// return before it is told to.
pub async fn run(client: Client, options: Options, mut shutdown: watch::Receiver<bool>) {
    let (recorder, mut writer) = Recorder::new(client.clone(), Arc::clone(&options.clock));
    {
        let controllers = controllers(client, options, recorder);
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            _ = join_all(controllers) => {}
            () = write_events(&mut writer) => {}
        }
    }
    writer.drain().await;
}

async fn write_events(writer: &mut Writer) {
    writer.run().await;
    // Every recorder is gone: nothing is left to write, but the others may still be at work.
    std::future::pending().await
}

/// Controllers while they are being put together.
struct Wiring {
    client: Client,
    options: Options,
    recorder: Recorder,
    tasks: Vec<BoxFuture<'static, ()>>,
}

fn controllers(client: Client, options: Options, recorder: Recorder) -> Vec<BoxFuture<'static, ()>> {
    let caches = Caches::new();
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
        wiring.scheduler(&caches.pods);
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
}

impl Caches {
    fn new() -> Self {
        Self {
            cronjobs: Arc::new(Cache::new(shrink::cronjob)),
            jobs: Arc::new(Cache::new(shrink::job)),
            deployments: Arc::new(Cache::new(shrink::deployment)),
            replica_sets: Arc::new(Cache::new(shrink::replica_set)),
            pods: Arc::new(Cache::new(shrink::pod)),
        }
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

    fn scheduler(&mut self, pods: &Arc<Cache<Pod>>) {
        let nodes = Arc::new(Cache::new(shrink::node));
        let scheduler = Arc::new(Scheduler {
            client: self.client.clone(),
            pods: Arc::clone(pods),
            nodes: Arc::clone(&nodes),
            recorder: self.recorder.of(scheduler::COMPONENT),
            clock: Arc::clone(&self.options.clock),
            node_name: self.options.node_name.clone(),
            ledger: Mutex::default(),
        });
        let queue = Arc::new(Queue::new());
        let watched = (Arc::clone(&scheduler), Arc::clone(&queue));
        pods.on_change(move |change| watched.0.pod_changed(&change, &watched.1));
        let watched = (Arc::clone(&scheduler), Arc::clone(&queue));
        nodes.on_change(move |change| watched.0.node_changed(&change, &watched.1));
        self.work(pods, queue, move |key| Arc::clone(&scheduler).pass(key));
        self.reflect(&nodes, Vec::new());
    }

    fn garbage_collector(&mut self, caches: &Caches) {
        let queue = Arc::new(Queue::new());
        let collector = Arc::new(Collector::new(self.client.clone(), Arc::clone(&queue)));
        collect_from(&collector, &caches.cronjobs);
        collect_from(&collector, &caches.jobs);
        collect_from(&collector, &caches.deployments);
        collect_from(&collector, &caches.replica_sets);
        collect_from(&collector, &caches.pods);
        let config_maps = self.metadata_of::<ConfigMap>(&collector);
        let secrets = self.metadata_of::<Secret>(&collector);
        let (pods, clock) = (Arc::clone(&caches.pods), Arc::clone(&self.options.clock));
        let task = async move {
            join!(pods.wait_synced(), config_maps.wait_synced(), secrets.wait_synced());
            work(&queue, &clock, PASSES, move |uid| Arc::clone(&collector).pass(uid)).await;
        };
        self.tasks.push(task.boxed());
    }

    /// Lets the garbage collector see a kind that no other controller needs.
    fn metadata_of<K>(&mut self, collector: &Arc<Collector>) -> Arc<Cache<PartialObjectMeta<K>>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let cache = Arc::new(Cache::new(shrink::metadata));
        collect_from(collector, &cache);
        let source = MetadataOf(Api::<K>::all(self.client.clone()));
        self.tasks.push(reflect(source, Arc::clone(&cache)).boxed());
        cache
    }

    /// Works on a queue from the time when `cache` is complete.
    fn work<K, F, Fut>(&mut self, cache: &Arc<Cache<K>>, queue: Arc<Queue<Key>>, pass: F)
    where
        K: Resource<DynamicType = ()> + Send + Sync + 'static,
        F: Fn(Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, ApiError>> + Send + 'static,
    {
        let (cache, clock) = (Arc::clone(cache), Arc::clone(&self.options.clock));
        let task = async move {
            cache.wait_synced().await;
            work(&queue, &clock, PASSES, pass).await;
        };
        self.tasks.push(task.boxed());
    }

    /// Starts the watches one after the other, owners first: what is seen of dependents is then
    /// never older than what is seen of their owners, and nothing is counted twice.
    fn reflectors(&mut self, caches: &Caches) {
        let options = &self.options;
        let batch = options.jobs || options.cronjobs || options.garbage_collector;
        let apps = options.replica_sets || options.deployments;
        let mut owners = Vec::new();
        if batch {
            self.reflect(&caches.cronjobs, Vec::new());
            self.reflect(&caches.jobs, vec![caches.cronjobs.synced()]);
            owners.push(caches.jobs.synced());
        }
        if apps {
            self.reflect(&caches.deployments, Vec::new());
            self.reflect(&caches.replica_sets, vec![caches.deployments.synced()]);
            owners.push(caches.replica_sets.synced());
        }
        self.reflect(&caches.pods, owners);
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

fn collect_from<K: Resource<DynamicType = ()> + Send + Sync + 'static>(collector: &Arc<Collector>, cache: &Cache<K>) {
    let collector = Arc::clone(collector);
    cache.on_change(move |change| collector.observe(&change));
}
