//! What the machine says of itself.

use std::{fs, path::Path};

use k8s_openapi::{
    api::core::v1::{NodeSwapStatus, NodeSystemInfo},
    apimachinery::pkg::api::resource::Quantity,
};

use super::Quantities;
use crate::{Options, options::KUBELET_VERSION};

/// Sizes of pages that can be reserved, and how many are.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";

/// Reads what the machine has: processors, memory, disk, huge pages, room for pods.
pub(super) fn capacity(options: &Options) -> Quantities {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let storage = rustix::fs::statvfs(&options.root_dir).map_or(0, |s| s.f_blocks.saturating_mul(s.f_frsize));
    let mut capacity = Quantities::from([
        ("cpu".to_owned(), Quantity(processors.to_string())),
        ("memory".to_owned(), Quantity(format!("{}Ki", memory_kib("MemTotal:")))),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", storage / 1024))),
        ("pods".to_owned(), Quantity(options.max_pods.to_string())),
    ]);
    capacity.extend(huge_pages().into_iter().map(|(kib, count)| {
        let name =
            if kib % (1024 * 1024) == 0 { format!("{}Gi", kib / 1024 / 1024) } else { format!("{}Mi", kib / 1024) };
        let reserved = kib.saturating_mul(count);
        let quantity = if reserved == 0 { "0".to_owned() } else { format!("{reserved}Ki") };
        (format!("hugepages-{name}"), Quantity(quantity))
    }));
    capacity
}

/// Returns what pods can use: memory without what is reserved for huge pages.
pub(super) fn allocatable(capacity: &Quantities) -> Quantities {
    let reserved: u64 = huge_pages().into_iter().map(|(kib, count)| kib.saturating_mul(count)).sum();
    let mut allocatable = capacity.clone();
    if reserved > 0 {
        let memory = memory_kib("MemTotal:").saturating_sub(reserved);
        allocatable.insert("memory".to_owned(), Quantity(format!("{memory}Ki")));
    }
    allocatable
}

/// Lists sizes of huge pages in KiB, and how many of each are reserved.
fn huge_pages() -> Vec<(u64, u64)> {
    let page = |dir: &Path| {
        let kib = dir.file_name()?.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let count = fs::read_to_string(dir.join("nr_hugepages")).ok()?.trim().parse().ok()?;
        Some((kib, count))
    };
    fs::read_dir(HUGE_PAGES).into_iter().flatten().flatten().filter_map(|entry| page(&entry.path())).collect()
}

/// Returns the memory of the machine in bytes.
pub(crate) fn memory_bytes() -> i64 {
    i64::try_from(memory_kib("MemTotal:").saturating_mul(1024)).unwrap_or(i64::MAX)
}

fn memory_kib(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(field));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Reads what identifies machine, kernel and system.
pub(super) fn system_info() -> NodeSystemInfo {
    let uname = rustix::system::uname();
    let machine_id = file("/etc/machine-id");
    let firmware_id = file("/sys/class/dmi/id/product_uuid");
    let swap = i64::try_from(memory_kib("SwapTotal:").saturating_mul(1024)).ok().filter(|bytes| *bytes > 0);
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: file("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: concat!("podrig://", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        system_uuid: if firmware_id.is_empty() { machine_id.clone() } else { firmware_id },
        machine_id,
        operating_system: "linux".to_owned(),
        os_image: os_image(),
        swap: swap.map(|capacity| NodeSwapStatus { capacity: Some(capacity) }),
    }
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn os_image() -> String {
    let text = file("/etc/os-release");
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |n| n.trim_matches('"').to_owned())
}

/// Names the processor as Go does.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
