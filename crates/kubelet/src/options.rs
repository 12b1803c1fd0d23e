//! What the agent is told at its start.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use tokio::sync::broadcast;

use crate::{EvictionOptions, TimelineRecord};

/// Version that the node reports, and the one in the user agents of probes and hooks.
pub(crate) const KUBELET_VERSION: &str = "v1.36.2";

/// Settings of one agent.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the node object, and the value of `spec.nodeName` that makes a pod ours.
    pub node_name: String,
    /// Directories of pods and their disk volumes; survives a reboot.
    pub root_dir: PathBuf,
    /// Secrets and projected volumes; on tmpfs.
    pub run_dir: PathBuf,
    /// Which ranges of the host's ids pods with users of their own have; for all nodes on the machine, on tmpfs.
    pub host_ids_dir: PathBuf,
    /// Logs: `<namespace>_<name>_<uid>/<container>/<n>.log` below it.
    pub log_dir: PathBuf,
    /// Addresses of the node, the primary one first; never empty in practice.
    pub node_ips: Vec<IpAddr>,
    /// Labels of the node object, beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Cluster DNS servers for `dnsPolicy: ClusterFirst`; empty: such pods get the node's DNS.
    pub cluster_dns: Vec<IpAddr>,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Whether containers that name no seccomp profile get `RuntimeDefault`.
    pub seccomp_default: bool,
    /// Most pods at a time, as reported and enforced.
    pub max_pods: u32,
    /// Longest time that a container which ended waits for its restart (`crashLoopBackOff.maxContainerRestartPeriod`).
    pub longest_back_off: Duration,
    /// What the node evicts pods and removes images for; by default for nothing.
    pub eviction: EvictionOptions,
    /// Whether the node renews a lease and reports what changed on it for as long as it runs. The node of a single
    /// command needs neither.
    pub heartbeat: bool,
    /// Receives every step of every pod as it happens. Nobody waits for a slow receiver.
    pub recorder: Option<broadcast::Sender<TimelineRecord>>,
}

impl Options {
    /// Returns options with everything optional at its default.
    pub fn new(node_name: impl Into<String>, root_dir: PathBuf, run_dir: PathBuf, log_dir: PathBuf) -> Self {
        Self {
            node_name: node_name.into(),
            root_dir,
            host_ids_dir: run_dir.join("host-ids"),
            run_dir,
            log_dir,
            node_ips: vec![IpAddr::from([127, 0, 0, 1])],
            labels: BTreeMap::new(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            seccomp_default: false,
            max_pods: DEFAULT_MAX_PODS,
            longest_back_off: MAX_BACK_OFF,
            eviction: EvictionOptions::default(),
            heartbeat: false,
            recorder: None,
        }
    }
}

/// One kubelet default is 110; a single machine of ours is meant to carry a thousand.
const DEFAULT_MAX_PODS: u32 = 1000;
/// Longest crash back-off unless told otherwise (kubelet.go `MaxCrashLoopBackOff`).
pub const MAX_BACK_OFF: Duration = Duration::from_secs(300);
