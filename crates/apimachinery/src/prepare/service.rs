//! What is special about writing Services, but for the allocation of addresses and ports.
//!
//! Source: `SetDefaults_Service` and `pkg/registry/core/service/{strategy,storage}`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus, SessionAffinityConfig},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use super::defaults::fill;
use crate::decode;

pub(super) fn create(service: &mut Service) {
    defaults(service);
    service.status =
        Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus::default()), ..ServiceStatus::default() });
}

pub(super) fn update(old: &Value, new: &mut Service) {
    if let Ok(Service { spec: Some(before), .. }) = decode::object::<Service>(old) {
        let after = new.spec.get_or_insert_default();
        drop_what_the_type_has_not(&before, after);
        keep_what_was_allocated(&before, after);
    }
    defaults(new);
}

fn defaults(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    fill(&mut spec.session_affinity, "None");
    fill(&mut spec.type_, "ClusterIP");
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        let config: &mut SessionAffinityConfig = spec.session_affinity_config.get_or_insert_default();
        config.client_ip.get_or_insert_default().timeout_seconds.get_or_insert(STICKY_SECONDS);
    }
    for port in spec.ports.iter_mut().flatten() {
        fill(&mut port.protocol, "TCP");
        let absent = matches!(&port.target_port, None | Some(IntOrString::Int(0)));
        if absent || matches!(&port.target_port, Some(IntOrString::String(name)) if name.is_empty()) {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if has_node_ports(spec) {
        fill(&mut spec.external_traffic_policy, "Cluster");
    }
    if has_cluster_ip(spec) {
        fill(&mut spec.internal_traffic_policy, "Cluster");
        families(spec);
    }
    if spec.type_.as_deref() == Some("LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

/// One address family, but for services that have neither address nor selector: what serves them is free.
fn families(spec: &mut ServiceSpec) {
    let free = spec.cluster_ip.as_deref() == Some("None") && spec.selector.as_ref().is_none_or(BTreeMap::is_empty);
    let (families, policy): (&[&str], _) =
        if free { (&["IPv4", "IPv6"], "RequireDualStack") } else { (&["IPv4"], "SingleStack") };
    spec.ip_families.get_or_insert_with(|| families.iter().map(|family| (*family).to_owned()).collect());
    fill(&mut spec.ip_family_policy, policy);
    if let (None, Some(ip)) = (&spec.cluster_ips, spec.cluster_ip.as_ref().filter(|ip| !ip.is_empty())) {
        spec.cluster_ips = Some(vec![ip.clone()]);
    }
}

/// Default of `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const STICKY_SECONDS: i32 = 10_800;

fn has_cluster_ip(spec: &ServiceSpec) -> bool {
    !matches!(spec.type_.as_deref(), Some("ExternalName"))
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("LoadBalancer") => spec.allocate_load_balancer_node_ports != Some(false),
        kind => kind == Some("NodePort"),
    }
}

/// `patchAllocatedValues`: clients that replace a service usually leave out what was allocated.
fn keep_what_was_allocated(before: &ServiceSpec, after: &mut ServiceSpec) {
    if has_cluster_ip(before) && has_cluster_ip(after) {
        if after.cluster_ip.as_deref().unwrap_or_default().is_empty() {
            after.cluster_ip.clone_from(&before.cluster_ip);
        }
        if after.cluster_ips.as_ref().is_none_or(Vec::is_empty) && after.cluster_ip == before.cluster_ip {
            after.cluster_ips.clone_from(&before.cluster_ips);
        }
        after.ip_families = after.ip_families.take().or_else(|| before.ip_families.clone());
        after.ip_family_policy = after.ip_family_policy.take().or_else(|| before.ip_family_policy.clone());
    }
    if has_node_ports(before) && has_node_ports(after) {
        let known: Vec<&ServicePort> = before.ports.iter().flatten().collect();
        let used: Vec<i32> = after.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        for port in after.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or_default() == 0) {
            let same = known.iter().find(|old| old.name == port.name).and_then(|old| old.node_port);
            port.node_port = same.filter(|number| !used.contains(number));
        }
    }
}

/// `dropTypeDependentFields`: what only the old type has goes, unless the client changed it.
fn drop_what_the_type_has_not(before: &ServiceSpec, after: &mut ServiceSpec) {
    if has_cluster_ip(before) && !has_cluster_ip(after) && after.cluster_ip == before.cluster_ip {
        after.cluster_ip = None;
        after.cluster_ips = None;
        after.ip_families = None;
        after.ip_family_policy = None;
        after.internal_traffic_policy = None;
    }
    if has_node_ports(before) && !has_node_ports(after) {
        let old: Vec<Option<i32>> = before.ports.iter().flatten().map(|port| port.node_port).collect();
        for port in after.ports.iter_mut().flatten().filter(|port| old.contains(&port.node_port)) {
            port.node_port = None;
        }
        if after.external_traffic_policy == before.external_traffic_policy {
            after.external_traffic_policy = None;
        }
    }
}
