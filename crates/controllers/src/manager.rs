//! Runs all controllers over shared caches.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, Resource};
use tokio::sync::watch;

use crate::api::ApiError;
use crate::cache::Cache;
use crate::clock::{SharedClock, SystemClock};
use crate::events::{Recorder, Writer};
use crate::job;
use crate::meta::Key;
use crate::queue::{Next, Queue, work};
use crate::reflector::reflect;
use crate::scheduler::{self, Scheduler};
use crate::shrink;

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

/// The caches that controllers share, while they are being wired.
struct Wiring {
    client: Client,
    options: Options,
    recorder: Recorder,
    tasks: Vec<BoxFuture<'static, ()>>,
}

fn controllers(client: Client, options: Options, recorder: Recorder) -> Vec<BoxFuture<'static, ()>> {
    let jobs = Arc::new(Cache::<Job>::new());
    let pods = Arc::new(Cache::<Pod>::new());
    let mut wiring = Wiring { client, options, recorder, tasks: Vec::new() };
    if wiring.options.jobs {
        wiring.jobs(&jobs, &pods);
    }
    if wiring.options.scheduler {
        wiring.scheduler(&pods);
    }
    wiring.reflectors(jobs, pods);
    wiring.tasks
}

impl Wiring {
    fn jobs(&mut self, jobs: &Arc<Cache<Job>>, pods: &Arc<Cache<Pod>>) {
        let controller = Arc::new(job::Controller::new(
            self.client.clone(),
            Arc::clone(jobs),
            Arc::clone(pods),
            self.recorder.of(job::COMPONENT),
            Arc::clone(&self.options.clock),
            self.options.seed,
        ));
        let (queue, orphans) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
        {
            let (controller, queue, orphans) = (Arc::clone(&controller), Arc::clone(&queue), Arc::clone(&orphans));
            jobs.on_change(move |change| controller.job_changed(&change, &queue, &orphans));
        }
        {
            let (controller, queue, orphans) = (Arc::clone(&controller), Arc::clone(&queue), Arc::clone(&orphans));
            pods.on_change(move |change| controller.pod_changed(&change, &queue, &orphans));
        }
        let ready = Arc::clone(pods);
        let passes = Arc::clone(&controller);
        self.work(ready, queue, move |key| Arc::clone(&passes).pass(key));
        self.work(Arc::clone(pods), orphans, move |key| Arc::clone(&controller).orphan_pass(key));
    }

    fn scheduler(&mut self, pods: &Arc<Cache<Pod>>) {
        let nodes = Arc::new(Cache::<Node>::new());
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
        {
            let (scheduler, queue) = (Arc::clone(&scheduler), Arc::clone(&queue));
            pods.on_change(move |change| scheduler.pod_changed(&change, &queue));
        }
        {
            let (scheduler, queue) = (Arc::clone(&scheduler), Arc::clone(&queue));
            nodes.on_change(move |change| scheduler.node_changed(&change, &queue));
        }
        let ready = Arc::clone(pods);
        self.work(ready, queue, move |key| Arc::clone(&scheduler).pass(key));
        self.tasks.push(reflect(Api::<Node>::all(self.client.clone()), nodes, shrink::node).boxed());
    }

    /// Works on a queue from the time when `cache` is complete.
    fn work<K, F, Fut>(&mut self, cache: Arc<Cache<K>>, queue: Arc<Queue<Key>>, pass: F)
    where
        K: Resource<DynamicType = ()> + Send + Sync + 'static,
        F: Fn(Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, ApiError>> + Send + 'static,
    {
        let clock = Arc::clone(&self.options.clock);
        let task = async move {
            cache.wait_synced().await;
            work(&queue, &clock, PASSES, pass).await;
        };
        self.tasks.push(task.boxed());
    }

    /// Starts the watches one after the other, owners first: what is seen of dependents is then
    /// never older than what is seen of their owners, and nothing is counted twice.
    fn reflectors(&mut self, jobs: Arc<Cache<Job>>, pods: Arc<Cache<Pod>>) {
        let client = self.client.clone();
        self.tasks.push(reflect(Api::<Job>::all(client.clone()), Arc::clone(&jobs), shrink::job).boxed());
        let task = async move {
            jobs.wait_synced().await;
            reflect(Api::<Pod>::all(client), pods, shrink::pod).await;
        };
        self.tasks.push(task.boxed());
    }
}
