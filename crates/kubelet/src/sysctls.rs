//! Which kernel parameters a pod may set (pkg/kubelet/sysctl): those of its own namespaces that harm nobody else. Any
//! other belongs to the machine.

use k8s_openapi::api::core::v1::PodSpec;

/// Parameters of the IPC namespace.
const IPC: [&str; 1] = ["kernel.shm_rmid_forced"];

/// Parameters of the network namespace.
const NET: [&str; 11] = [
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Checks what a pod sets; the error says why a parameter is forbidden.
pub(crate) fn check(spec: &PodSpec) -> Result<(), String> {
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    sysctls.map(|sysctl| name(&sysctl.name)).try_for_each(|name| {
        let shared = if IPC.contains(&name.as_str()) {
            ("ipc", spec.host_ipc)
        } else if NET.contains(&name.as_str()) {
            ("net", spec.host_network)
        } else {
            return Err(format!("{name:?} not allowlisted"));
        };
        match shared {
            (namespace, Some(true)) => Err(format!("{name:?} not allowed with host {namespace} enabled")),
            (_, Some(false) | None) => Ok(()),
        }
    })
}

/// A parameter's name with dots between its parts.
pub(crate) fn name(given: &str) -> String {
    given.replace('/', ".")
}
