//! Services.
//!
//! Source of rules and texts: `ValidateService` and its helpers in `pkg/apis/core/validation`.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;

use super::{container::port_number, invalid_for, meta, names, one_of, required, required_label, text};
use crate::field::{FieldErrors, Path};

/// Checks a Service.
pub(super) fn service(errors: &mut FieldErrors, service: &Service) {
    let path = Path::new("spec");
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let kind = text(&spec.type_);
    let headless = text(&spec.cluster_ip) == "None";
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&path.child("clusterIPs").index(0), "None", why);
        }
        "ExternalName" => external_name(errors, &path, spec),
        _ => {}
    }
    one_of(errors, &path.child("type"), Some(kind), &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    service_ports(errors, &path.child("ports"), kind, ports);
    meta::labels(errors, &path.child("selector"), spec.selector.iter().flatten());
    let affinity = spec.session_affinity.as_deref();
    one_of(errors, &path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    sticky_time(errors, &path, spec);
    addresses(errors, &path, spec);
    for (field, policy) in [
        ("internalTrafficPolicy", &spec.internal_traffic_policy),
        ("externalTrafficPolicy", &spec.external_traffic_policy),
    ] {
        if let Some(policy) = policy {
            one_of(errors, &path.child(field), Some(policy), &["Cluster", "Local"]);
        }
    }
}

/// Checks a changed Service: its address stays.
pub(super) fn service_update(errors: &mut FieldErrors, old: &Service, new: &Service) {
    service(errors, new);
    let ip = |service: &Service| {
        let spec = service.spec.as_ref().filter(|spec| text(&spec.type_) != "ExternalName");
        spec.and_then(|spec| spec.cluster_ip.clone()).filter(|ip| !ip.is_empty())
    };
    if let (Some(before), Some(after)) = (ip(old), ip(new))
        && before != after
    {
        errors.invalid(&Path::new("spec").child("clusterIPs").index(0), json!([after]), "may not change once set");
    }
}

fn external_name(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec) {
    if !text(&spec.cluster_ip).is_empty() {
        errors.forbidden(&path.child("clusterIPs"), "may not be set for ExternalName services");
    }
    let at = path.child("externalName");
    let name = text(&spec.external_name);
    required(errors, &at, name);
    if !name.is_empty() {
        invalid_for(errors, &at, name, names::dns_subdomain(name.strip_suffix('.').unwrap_or(name)));
    }
}

fn service_ports(errors: &mut FieldErrors, path: &Path, kind: &str, ports: &[ServicePort]) {
    let (mut seen_names, mut seen_ports, mut node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() || ports.len() > 1 {
            required_label(errors, &path.child("name"), name);
            if !name.is_empty() && !seen_names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        port_number(errors, &path.child("port"), port.port);
        one_of(errors, &path.child("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
        target_port(errors, &path.child("targetPort"), port.target_port.as_ref());
        if !seen_ports.insert((port.port, text(&port.protocol))) {
            errors.duplicate(&path, json!({"port": port.port, "protocol": port.protocol}));
        }
        if let Some(number) = port.node_port.filter(|number| *number != 0) {
            let path = path.child("nodePort");
            if kind == "ClusterIP" {
                errors.forbidden(&path, "may not be used when `type` is 'ClusterIP'");
            } else if !node_ports.insert((number, text(&port.protocol))) {
                errors.duplicate(&path, number);
            }
        }
    }
}

fn target_port(errors: &mut FieldErrors, path: &Path, port: Option<&IntOrString>) {
    match port {
        Some(IntOrString::Int(number)) => port_number(errors, path, *number),
        Some(IntOrString::String(name)) => invalid_for(errors, path, name, names::port_name(name)),
        None => {}
    }
}

fn sticky_time(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec) {
    let config = spec.session_affinity_config.as_ref();
    if text(&spec.session_affinity) == "None" && config.is_some() {
        let why = "must not be set when session affinity is None";
        errors.forbidden(&path.child("sessionAffinityConfig"), why);
    }
    let seconds = config.and_then(|config| config.client_ip.as_ref()).and_then(|client| client.timeout_seconds);
    if let Some(seconds) = seconds.filter(|seconds| !(1..=MOST_STICKY_SECONDS).contains(seconds)) {
        let path = path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds");
        errors.invalid(&path, seconds, format!("must be greater than 0 and less than {MOST_STICKY_SECONDS}"));
    }
}

/// `core.MaxClientIPServiceAffinitySeconds`: a day.
const MOST_STICKY_SECONDS: i32 = 86_400;

fn addresses(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec) {
    let cluster = spec.cluster_ip.iter().map(|ip| (path.child("clusterIPs").index(0), ip));
    let cluster = cluster.filter(|(_, ip)| !matches!(ip.as_str(), "" | "None"));
    let external = spec.external_ips.iter().flatten().enumerate();
    let external = external.map(|(index, ip)| (path.child("externalIPs").index(index), ip));
    for (path, ip) in cluster.chain(external) {
        if ip.parse::<IpAddr>().is_err() {
            errors.invalid(&path, ip.as_str(), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
    }
}
