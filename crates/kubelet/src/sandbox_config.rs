//! A pod's spec as the runtime's sandbox configuration (kuberuntime_sandbox.go, network/dns/dns.go).

use std::collections::BTreeMap;

use cri::{
    DnsConfig, HostAlias, NamespaceMode, Namespaces, PodMetadata, PortMapping, Protocol, SandboxConfig, UserNamespace,
};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::{
    Options,
    names::{self, pod_name, pod_namespace, pod_uid},
    paths::PodPaths,
    resources, volumes,
};

/// Longest host name (contract S11-23).
const MAX_HOSTNAME: usize = 63;
/// Most search domains that are written (validation.MaxDNSSearchPaths).
const MAX_SEARCHES: usize = 32;
/// Most name servers that are written (validation.MaxDNSNameservers).
const MAX_SERVERS: usize = 3;

/// Builds the configuration of a pod's sandbox. `host_resolv_conf` is the text of the node's file.
pub(crate) fn sandbox_config(
    options: &Options,
    paths: &PodPaths,
    pod: &Pod,
    attempt: u32,
    group: Option<u32>,
    user_namespace: Option<UserNamespace>,
    host_resolv_conf: &str,
) -> SandboxConfig {
    let spec = pod.spec.clone().unwrap_or_default();
    let hostname = hostname(pod, &spec);
    let fqdn = fqdn(options, pod, &spec, &hostname);
    let as_fqdn = spec.set_hostname_as_fqdn == Some(true);
    SandboxConfig {
        metadata: PodMetadata {
            name: pod_name(pod).to_owned(),
            namespace: pod_namespace(pod).to_owned(),
            uid: pod_uid(pod).to_owned(),
            attempt,
        },
        hostname: fqdn.clone().filter(|_| as_fqdn).unwrap_or(hostname),
        fqdn,
        host_aliases: host_aliases(&spec),
        log_directory: paths.logs.clone(),
        dns: dns(options, pod, &spec, host_resolv_conf),
        port_mappings: port_mappings(&spec),
        namespaces: namespaces(&spec),
        user_namespace,
        sysctls: sysctls(&spec),
        memory_volumes: volumes::memory_volumes(paths, pod, group),
        resources: resources::pod_resources(pod),
        labels: labels(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
    }
}

/// Returns the labels of a sandbox: the pod's, and those that name it.
fn labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.insert(names::POD_NAME.to_owned(), pod_name(pod).to_owned());
    labels.insert(names::POD_NAMESPACE.to_owned(), pod_namespace(pod).to_owned());
    labels.insert(names::POD_UID.to_owned(), pod_uid(pod).to_owned());
    labels
}

fn hostname(pod: &Pod, spec: &PodSpec) -> String {
    if let Some(name) = spec.hostname_override.as_ref().or(spec.hostname.as_ref()).filter(|n| !n.is_empty()) {
        return name.clone();
    }
    let name: String = pod_name(pod).chars().take(MAX_HOSTNAME).collect();
    name.trim_end_matches(['-', '.']).to_owned()
}

fn fqdn(options: &Options, pod: &Pod, spec: &PodSpec, hostname: &str) -> Option<String> {
    let subdomain = spec.subdomain.as_ref().filter(|s| !s.is_empty())?;
    Some(format!("{hostname}.{subdomain}.{}.svc.{}", pod_namespace(pod), options.cluster_domain))
}

fn host_aliases(spec: &PodSpec) -> Vec<HostAlias> {
    let aliases = spec.host_aliases.iter().flatten();
    aliases.map(|a| HostAlias { ip: a.ip.clone(), hostnames: a.hostnames.clone().unwrap_or_default() }).collect()
}

fn namespaces(spec: &PodSpec) -> Namespaces {
    let node = |on: Option<bool>| on == Some(true);
    Namespaces {
        network: if node(spec.host_network) { NamespaceMode::Node } else { NamespaceMode::Pod },
        pid: match (node(spec.host_pid), node(spec.share_process_namespace)) {
            (true, _) => NamespaceMode::Node,
            (false, true) => NamespaceMode::Pod,
            (false, false) => NamespaceMode::Container,
        },
        ipc: if node(spec.host_ipc) { NamespaceMode::Node } else { NamespaceMode::Pod },
    }
}

fn sysctls(spec: &PodSpec) -> BTreeMap<String, String> {
    let sysctls = spec.security_context.iter().flat_map(|s| s.sysctls.iter().flatten());
    sysctls.map(|s| (crate::sysctls::name(&s.name), s.value.clone())).collect()
}

/// Returns the host ports of mains and sidecars, and of init containers too, as the kubelet does.
pub(crate) fn port_mappings(spec: &PodSpec) -> Vec<PortMapping> {
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    let containers = spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).chain(&spec.containers);
    containers.flat_map(|c| c.ports.iter().flatten()).filter_map(port_mapping).collect()
}

fn port_mapping(port: &k8s_openapi::api::core::v1::ContainerPort) -> Option<PortMapping> {
    Some(PortMapping {
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        container_port: u16::try_from(port.container_port).ok()?,
        host_port: u16::try_from(port.host_port?).ok().filter(|p| *p > 0)?,
        host_ip: port.host_ip.clone().unwrap_or_default(),
    })
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Returns what `/etc/resolv.conf` says; `None`: the host's file as it is.
fn dns(options: &Options, pod: &Pod, spec: &PodSpec, host: &str) -> Option<DnsConfig> {
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let host_network = spec.host_network == Some(true);
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !host_network,
        _ => false,
    } && !options.cluster_dns.is_empty();
    let extra = spec.dns_config.as_ref();
    let mut config = if policy == "None" {
        DnsConfig::default()
    } else if cluster {
        cluster_dns(options, pod, host)
    } else if extra.is_none() {
        return None;
    } else {
        parse_resolv_conf(host)
    };
    if let Some(extra) = extra {
        append_unique(&mut config.servers, extra.nameservers.iter().flatten());
        append_unique(&mut config.searches, extra.searches.iter().flatten());
        for option in extra.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            config.options.retain(|o| o.split(':').next() != Some(name.as_str()));
            config.options.push(option.value.as_ref().map_or_else(|| name.clone(), |v| format!("{name}:{v}")));
        }
    }
    config.servers.truncate(MAX_SERVERS);
    config.searches.truncate(MAX_SEARCHES);
    Some(config)
}

fn cluster_dns(options: &Options, pod: &Pod, host: &str) -> DnsConfig {
    let domain = &options.cluster_domain;
    let mut searches = vec![format!("{}.svc.{domain}", pod_namespace(pod)), format!("svc.{domain}"), domain.clone()];
    append_unique(&mut searches, parse_resolv_conf(host).searches.iter());
    DnsConfig {
        servers: options.cluster_dns.iter().map(ToString::to_string).collect(),
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

fn append_unique<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// Reads a resolv.conf; the last `search` line wins.
fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let rest = |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect::<Vec<_>>();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search") => config.searches = rest(words),
            Some("options") => config.options = rest(words),
            _ => {}
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde_json::{Value, json};

    use super::*;

    const HOST: &str = "# comment\nnameserver 192.0.2.53\nsearch lan home\noptions edns0 ndots:1\n";

    fn config(spec: Value, cluster_dns: bool) -> SandboxConfig {
        let mut options = Options::new("node1", "/root-dir".into(), "/run-dir".into(), "/logs".into());
        if cluster_dns {
            options.cluster_dns = vec![IpAddr::from([10, 96, 0, 10])];
        }
        let mut spec = spec;
        spec["containers"] = spec.get("containers").cloned().unwrap_or_else(|| json!([{"name": "c", "image": "i"}]));
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "ns", "uid": "u", "labels": {"a": "b"}}, "spec": spec
        }))
        .expect("a pod");
        let paths = PodPaths::new(&options, &pod);
        sandbox_config(&options, &paths, &pod, 3, None, None, HOST)
    }

    #[test]
    fn s11_23_hostname_is_the_pods_or_what_the_spec_says() {
        let plain = config(json!({}), false);
        assert_eq!((plain.hostname.as_str(), plain.fqdn.as_deref()), ("web-0", None));
        assert_eq!(plain.metadata.attempt, 3);
        assert_eq!(plain.log_directory.to_str(), Some("/logs/ns_web-0_u"));
        let named = config(json!({"hostname": "h", "subdomain": "sub"}), false);
        assert_eq!((named.hostname.as_str(), named.fqdn.as_deref()), ("h", Some("h.sub.ns.svc.cluster.local")));
        let full = config(json!({"hostname": "h", "subdomain": "sub", "setHostnameAsFQDN": true}), false);
        assert_eq!(full.hostname, "h.sub.ns.svc.cluster.local");
    }

    #[test]
    fn dns_follows_the_policy() {
        assert_eq!(config(json!({"dnsPolicy": "Default"}), true).dns, None, "the host's own");
        assert_eq!(config(json!({"dnsPolicy": "ClusterFirst"}), false).dns, None, "no cluster DNS to name");
        assert_eq!(config(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), true).dns, None);
        let cluster = config(json!({}), true).dns.expect("configured");
        assert_eq!(cluster.servers, ["10.96.0.10"]);
        assert_eq!(cluster.searches, ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan", "home"]);
        assert_eq!(cluster.options, ["ndots:5"]);
        let own =
            json!({"nameservers": ["192.0.2.1"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}]});
        let none = config(json!({"dnsPolicy": "None", "dnsConfig": own}), true).dns.expect("configured");
        assert_eq!(
            (none.servers, none.searches, none.options),
            (vec!["192.0.2.1".to_owned()], vec!["x".to_owned()], vec!["ndots:2".to_owned()])
        );
        let merged = config(json!({"dnsPolicy": "Default", "dnsConfig": own}), true).dns.expect("configured");
        assert_eq!(merged.servers, ["192.0.2.53", "192.0.2.1"]);
        assert_eq!(merged.options, ["edns0", "ndots:2"]);
    }

    #[test]
    fn s2_32_namespaces_are_shared_as_the_spec_says() {
        let ns = |spec| config(spec, false).namespaces;
        let usual = Namespaces { network: NamespaceMode::Pod, pid: NamespaceMode::Container, ipc: NamespaceMode::Pod };
        assert_eq!(ns(json!({})), usual);
        assert_eq!(ns(json!({"shareProcessNamespace": true})).pid, NamespaceMode::Pod);
        assert_eq!(ns(json!({"hostPID": true})).pid, NamespaceMode::Node);
        assert_eq!(ns(json!({"hostIPC": true})).ipc, NamespaceMode::Node);
        assert_eq!(ns(json!({"hostNetwork": true})).network, NamespaceMode::Node);
    }

    #[test]
    fn host_ports_of_sidecars_and_mains_are_mapped() {
        let port = |host: i32| json!([{"containerPort": 80, "hostPort": host, "protocol": "UDP", "hostIP": "127.0.0.1"}, {"containerPort": 81}]);
        let got = config(
            json!({"initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always", "ports": port(8080)}],
                "containers": [{"name": "c", "image": "i", "ports": port(8081)}]}),
            false,
        );
        let hosts: Vec<_> = got.port_mappings.iter().map(|m| (m.protocol, m.host_port, m.host_ip.as_str())).collect();
        assert_eq!(hosts, [(Protocol::Udp, 8080, "127.0.0.1"), (Protocol::Udp, 8081, "127.0.0.1")]);
    }
}
