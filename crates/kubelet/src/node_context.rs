//! What all pods of a node share.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use tokio::sync::watch;

use crate::{
    Options,
    clock::Clock,
    events::EventRecorder,
    eviction::{Gauge, Roster},
};

/// Handles and settings that every pod's driver needs.
#[derive(Debug)]
pub(crate) struct NodeContext<R> {
    /// The API.
    pub(crate) client: ApiClient,
    /// The container runtime.
    pub(crate) runtime: Arc<R>,
    /// Settings.
    pub(crate) options: Options,
    /// Time for the engines.
    pub(crate) clock: Clock,
    /// Events.
    pub(crate) events: EventRecorder,
    /// What the node is short of.
    pub(crate) gauge: Gauge,
    /// Pods that could be evicted.
    pub(crate) roster: Roster,
    /// Labels of the node object.
    pub(crate) labels: BTreeMap<String, String>,
    /// What the machine has and pods may use.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    /// Memory of the machine in bytes.
    pub(crate) memory: i64,
    /// Says true when the node is shutting down (contract S4-59).
    pub(crate) shutting_down: watch::Receiver<bool>,
    /// TLS without certificate checks, for probes and hooks.
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// A client that can be shown in debug output.
#[derive(Clone)]
pub(crate) struct ApiClient(pub(crate) Client);

impl std::fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}
