//! The node object (pkg/kubelet/kubelet_node_status.go).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};

use crate::{
    Options,
    clock::{api_time, wall_nanos},
    options::KUBELET_VERSION,
};

/// Reads what the machine has: processors, memory, room for pods.
pub(crate) fn capacity(options: &Options) -> BTreeMap<String, Quantity> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let storage = rustix::fs::statvfs(&options.root_dir).map_or(0, |s| s.f_blocks.saturating_mul(s.f_frsize));
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(processors.to_string())),
        ("memory".to_owned(), Quantity(format!("{}Ki", memory_kib()))),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", storage / 1024))),
        ("pods".to_owned(), Quantity(options.max_pods.to_string())),
    ])
}

/// Returns the memory of the machine in bytes.
pub(crate) fn memory_bytes() -> i64 {
    i64::try_from(memory_kib().saturating_mul(1024)).unwrap_or(i64::MAX)
}

fn memory_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Creates the node object, or brings an existing one up to date. It may be repeated.
pub(crate) async fn register(
    client: &Client,
    options: &Options,
    capacity: &BTreeMap<String, Quantity>,
) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let node = node(options, capacity);
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let labels = serde_json::json!({"metadata": {"labels": node.metadata.labels}});
            api.patch(&options.node_name, &PatchParams::default(), &Patch::Merge(labels)).await?;
        }
        Err(e) => return Err(e),
    }
    let status = serde_json::json!({"status": node.status});
    api.patch_status(&options.node_name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

fn node(options: &Options, capacity: &BTreeMap<String, Quantity>) -> Node {
    let mut node = Node { spec: Some(NodeSpec::default()), status: Some(status(options, capacity)), ..Node::default() };
    node.metadata.name = Some(options.node_name.clone());
    node.metadata.labels = Some(labels(options));
    node
}

/// Returns the labels of the node object.
pub(crate) fn labels(options: &Options) -> BTreeMap<String, String> {
    let mut labels = options.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", options.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

fn status(options: &Options, capacity: &BTreeMap<String, Quantity>) -> NodeStatus {
    let mut addresses: Vec<_> = options
        .node_ips
        .iter()
        .map(|ip| NodeAddress { type_: "InternalIP".to_owned(), address: ip.to_string() })
        .collect();
    addresses.push(NodeAddress { type_: "Hostname".to_owned(), address: options.node_name.clone() });
    NodeStatus {
        capacity: Some(capacity.clone()),
        allocatable: Some(capacity.clone()),
        conditions: Some(conditions()),
        addresses: Some(addresses),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: 10250 }) }),
        node_info: Some(system_info()),
        ..NodeStatus::default()
    }
}

fn conditions() -> Vec<NodeCondition> {
    let now = api_time(wall_nanos());
    let all = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    all.into_iter()
        .map(|(type_, status, reason, message)| NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(now.clone()),
        })
        .collect()
}

fn system_info() -> NodeSystemInfo {
    let uname = rustix::system::uname();
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: file("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: concat!("podrig://", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        machine_id: file("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: os_image(),
        system_uuid: file("/etc/machine-id"),
        ..NodeSystemInfo::default()
    }
}

fn os_image() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |n| n.trim_matches('"').to_owned())
}

/// Names the processor as Go does.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
