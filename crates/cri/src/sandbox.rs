//! Sandboxes: the pod-level environment that containers share.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{ContainerId, Nanos, Resources};

/// Names one sandbox; unique over all runtimes' lives (random, 64 hexadecimal digits).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SandboxId(pub String);

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which pod a sandbox belongs to, and its how-manieth sandbox it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodMetadata {
    /// `metadata.name` of the pod.
    pub name: String,
    /// `metadata.namespace` of the pod.
    pub namespace: String,
    /// `metadata.uid` of the pod.
    pub uid: String,
    /// 0 for a pod's first sandbox; grows by one with each recreation (contract S3-50).
    pub attempt: u32,
}

/// Everything that is needed to create a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// The pod it is for.
    pub metadata: PodMetadata,
    /// Host name inside the UTS namespace; ignored with the host's network.
    pub hostname: String,
    /// Fully qualified domain name written to `/etc/hosts` before the host name, if any.
    pub fqdn: Option<String>,
    /// Additional lines of `/etc/hosts` (`spec.hostAliases`).
    pub host_aliases: Vec<HostAlias>,
    /// Directory that [`crate::ContainerConfig::log_path`] is relative to. Made by the runtime.
    pub log_directory: PathBuf,
    /// What `/etc/resolv.conf` says; `None`: a copy of the host's.
    pub dns: Option<DnsConfig>,
    /// Ports of the host that lead into the sandbox.
    pub port_mappings: Vec<PortMapping>,
    /// Which namespaces are the sandbox's own.
    pub namespaces: Namespaces,
    /// Users and groups of the sandbox; `None`: the host's. Network and IPC have to be the sandbox's own with it,
    /// and the PID namespace not the host's.
    #[serde(default)]
    pub user_namespace: Option<UserNamespace>,
    /// Kernel parameters of the sandbox's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// In-memory volumes, mounted before any container is created.
    pub memory_volumes: Vec<MemoryVolume>,
    /// Limits of the whole pod (its cgroup).
    pub resources: Resources,
    /// Returned unchanged in [`SandboxStatus`].
    pub labels: BTreeMap<String, String>,
    /// Returned unchanged in [`SandboxStatus`].
    pub annotations: BTreeMap<String, String>,
}

/// One entry of `spec.hostAliases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// Address.
    pub ip: String,
    /// Names that resolve to it.
    pub hostnames: Vec<String>,
}

/// Contents of `/etc/resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The `search` line.
    pub searches: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// Transport protocol of a port mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the host that leads to a port of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port inside the sandbox.
    pub container_port: u16,
    /// Port on the host.
    pub host_port: u16,
    /// Address on the host; empty: all.
    pub host_ip: String,
}

/// Whose namespace is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// One for the whole pod.
    Pod,
    /// One for each container.
    Container,
    /// The host's.
    Node,
}

/// Which namespaces a sandbox has of its own. UTS goes with the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// `Pod`, or `Node` for `hostNetwork`.
    pub network: NamespaceMode,
    /// `Container` by default, `Pod` for `shareProcessNamespace`, `Node` for `hostPID`.
    pub pid: NamespaceMode,
    /// `Pod`, or `Node` for `hostIPC`.
    pub ipc: NamespaceMode,
}

/// Which ids of the host those of a sandbox are (`UserNamespace` of the CRI with the mode `POD`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// Users; 0 has to be among them.
    pub uids: Vec<IdMapping>,
    /// Groups; 0 has to be among them.
    pub gids: Vec<IdMapping>,
}

/// Ids in a row, and what they are on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id on the host.
    pub host_id: u32,
    /// First id in the sandbox.
    pub container_id: u32,
    /// How many there are.
    pub length: u32,
}

/// A tmpfs that the sandbox holds for its containers (`emptyDir.medium: Memory`).
///
/// It is mounted at `path` in the sandbox's mount namespace only; a [`crate::Mount`] whose source is that
/// path finds it there. It lives as long as the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryVolume {
    /// An existing directory of the host, outside of which the mount is invisible.
    pub path: PathBuf,
    /// Largest size in bytes; `None`: the kernel's default of half the memory.
    pub size_bytes: Option<u64>,
    /// Mode of the root directory (`0o1777`, say).
    pub mode: u32,
    /// Group of the root directory (`fsGroup`).
    pub gid: Option<u32>,
}

/// Whether a sandbox can hold containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    /// Its shim lives and its namespaces are set up.
    Ready,
    /// It was stopped or its shim is gone; no container of it runs.
    NotReady,
}

/// What is known of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Its id.
    pub id: SandboxId,
    /// The pod it is for.
    pub metadata: PodMetadata,
    /// Whether it is usable.
    pub state: SandboxState,
    /// When it was created.
    pub created_at: Nanos,
    /// Addresses in the pod's network; empty with the host's network.
    pub ips: Vec<IpAddr>,
    /// As given at creation.
    pub labels: BTreeMap<String, String>,
    /// As given at creation.
    pub annotations: BTreeMap<String, String>,
}

/// Memory of a cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes in use, caches included.
    pub used: u64,
    /// Bytes in use without those of files that have not been used for a while: what cannot be had back for nothing.
    pub working_set: u64,
    /// Most bytes that may be used; `None`: no limit.
    pub limit: Option<u64>,
}

/// Memory of a sandbox and of the containers that run in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxMemory {
    /// Of all together.
    pub whole: Memory,
    /// Of each.
    pub containers: BTreeMap<ContainerId, Memory>,
}
