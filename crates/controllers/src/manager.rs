//! Runs all controllers.

use std::sync::Arc;

use futures::future::join_all;
use kube::Client;
use tokio::sync::watch;

use crate::clock::{SharedClock, SystemClock};
use crate::events::{Recorder, Writer};
use crate::wiring;

/// Which controllers run, and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bind pods to nodes, and taint nodes that are short of something. Off against a cluster that has a scheduler.
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
    /// Keep the EndpointSlices and Endpoints of services.
    pub endpoints: bool,
    /// Recount what ResourceQuotas limit.
    pub quotas: bool,
    /// Delete pods whose node is gone, and the oldest ended pods beyond so many.
    pub pod_gc: Option<usize>,
    /// Delete what belongs to deleted objects.
    pub garbage_collector: bool,
    /// Garbage and quotas are about objects of all kinds, each of which takes a watch; else only
    /// about ConfigMaps, Secrets and what other controllers watch.
    pub all_kinds: bool,
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
            endpoints: true,
            quotas: true,
            pod_gc: Some(ENDED_PODS),
            garbage_collector: true,
            all_kinds: true,
            seed: rand::random(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Ended pods that are kept (`--terminated-pod-gc-threshold`).
const ENDED_PODS: usize = 12_500;

/// Runs the controllers until `shutdown` says true or its sender is gone.
///
/// Guarantees: dropping the future at any time is as safe as `kill -9`; a later run goes on from
/// what the API server stores. Failed calls are repeated with growing delays, so this does not
/// return before it is told to.
pub async fn run(client: Client, options: Options, mut shutdown: watch::Receiver<bool>) {
    let (recorder, mut writer) = Recorder::new(client.clone(), Arc::clone(&options.clock));
    {
        let controllers = wiring::controllers(client, options, recorder);
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
