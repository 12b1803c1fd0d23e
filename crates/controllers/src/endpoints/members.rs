//! Which pods are behind a service, and on which ports.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use apimachinery::pod::is_sidecar;
use apimachinery::selector::LabelSelector;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::endpoints::{EndpointsView, HEADLESS, LAST_CHANGE};
use crate::{meta, pod};

/// A port of a service, as one pod offers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) name: Option<String>,
    pub(crate) protocol: String,
    pub(crate) number: i32,
    pub(crate) app_protocol: Option<String>,
}

/// A pod behind a service.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    pub(crate) pod: &'a Arc<Pod>,
    pub(crate) ports: Vec<Port>,
}

/// The service's specification, if its endpoints are ours to find.
pub(crate) fn selecting(service: &Service) -> Option<(&ServiceSpec, LabelSelector)> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|_| spec.type_.as_deref() != Some("ExternalName"))?;
    let ours = !meta::is_deleting(&service.metadata);
    ours.then(|| (spec, LabelSelector::from_labels(selector.iter().map(|(k, v)| (k.as_str(), v.as_str())))))
}

/// The pods behind the service: those that it selects, that have an address and have not ended.
pub(crate) fn members<'a>(view: &EndpointsView<'a>) -> Vec<Member<'a>> {
    let Some((spec, selector)) = selecting(view.service) else { return Vec::new() };
    let is_member = |pod: &&Arc<Pod>| {
        selector.matches_map(pod.metadata.labels.as_ref()) && !pod::is_terminal(pod) && !addresses(pod).is_empty()
    };
    let pods = view.pods.iter().filter(is_member);
    pods.map(|pod| Member { pod, ports: spec.ports.iter().flatten().filter_map(|port| resolve(port, pod)).collect() })
        .collect()
}

fn resolve(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match port.target_port.as_ref() {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, protocol)?,
    };
    Some(Port {
        name: port.name.clone(),
        protocol: protocol.to_owned(),
        number,
        app_protocol: port.app_protocol.clone(),
    })
}

/// The container port of that name; sidecars have ports too, plain init containers do not serve.
fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let of = |container: &Container| {
        let ports = container.ports.iter().flatten();
        let fits = |p: &&k8s_openapi::api::core::v1::ContainerPort| {
            p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol
        };
        ports.into_iter().find(fits).map(|port| port.container_port)
    };
    spec.containers.iter().chain(sidecars).find_map(of)
}

/// The pod's addresses, the main one first.
pub(crate) fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all: Vec<IpAddr> = status.pod_ips.iter().flatten().filter_map(|ip| ip.ip.parse().ok()).collect();
    match (all.is_empty(), status.pod_ip.as_ref().and_then(|ip| ip.parse().ok())) {
        (true, Some(ip)) => vec![ip],
        _ => all,
    }
}

/// The name under which the service's DNS knows the pod.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|name| !name.is_empty())?;
    (spec.subdomain.as_deref() == Some(meta::name(&service.metadata))).then_some(hostname)
}

/// Labels that what belongs to a service takes over from it.
pub(crate) fn labels(service: &Service, own: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    labels
}

/// Whether the service has no address of its own.
pub(crate) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref().is_none_or(|ip| ip.is_empty() || ip == "None")
}

/// The annotation of a write.
pub(crate) fn changed_at(
    annotations: Option<BTreeMap<String, String>>,
    now: Timestamp,
) -> Option<BTreeMap<String, String>> {
    let mut annotations = annotations.unwrap_or_default();
    annotations.insert(LAST_CHANGE.to_owned(), apimachinery::time::seconds(now));
    Some(annotations)
}
