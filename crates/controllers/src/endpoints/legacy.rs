//! Decides what the Endpoints of a service are to be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::endpoints::members::{Port, addresses, changed_at, hostname, is_headless, labels, members, selecting};
use crate::endpoints::slices::target;
use crate::endpoints::{CONTROLLER, EndpointsView, HEADLESS, MANAGED_BY};
use crate::{meta, pod};

/// Addresses in all subsets together; the rest is left out and the object says so.
const MOST: usize = 1000;

/// Annotation that says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// The Endpoints as they are to be, if they are not yet so. None for a service without selector:
/// its endpoints are written by somebody else.
#[must_use]
pub fn plan(view: &EndpointsView<'_>) -> Option<Endpoints> {
    let (spec, _) = selecting(view.service)?;
    let (subsets, complete) = subsets(view);
    let mut own = vec![(MANAGED_BY, CONTROLLER)];
    if is_headless(spec) {
        own.push((HEADLESS, ""));
    }
    let labels = labels(view.service, &own);
    let subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    let before = view.endpoints;
    let annotations = before.and_then(|endpoints| endpoints.metadata.annotations.clone()).unwrap_or_default();
    let said = annotations.contains_key(OVER_CAPACITY);
    let same = |old: &Endpoints| {
        let old_subsets = old.subsets.clone().filter(|subsets| !subsets.is_empty());
        old_subsets == subsets && old.metadata.labels.as_ref() == Some(&labels) && said != complete
    };
    if before.is_some_and(same) {
        return None;
    }
    let mut annotations = changed_at(Some(annotations), view.now);
    match (&mut annotations, complete) {
        (Some(annotations), false) => drop(annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned())),
        (Some(annotations), true) => drop(annotations.remove(OVER_CAPACITY)),
        (None, _) => {}
    }
    Some(Endpoints { metadata: metadata(view.service, before, labels, annotations), subsets })
}

fn metadata(
    service: &Service,
    before: Option<&Endpoints>,
    labels: BTreeMap<String, String>,
    annotations: Option<BTreeMap<String, String>>,
) -> ObjectMeta {
    let base = before.map(|endpoints| endpoints.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        ..ObjectMeta::default()
    });
    ObjectMeta { labels: Some(labels), annotations, ..base }
}

/// Addresses by ports, and whether that is all of them. Stopping pods are left out unless the
/// service publishes every address.
fn subsets(view: &EndpointsView<'_>) -> (Vec<EndpointSubset>, bool) {
    let publishes_all = view.service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let mut groups: BTreeMap<Vec<Port>, EndpointSubset> = BTreeMap::new();
    let mut members = members(view);
    members.retain(|member| publishes_all || !meta::is_deleting(&member.pod.metadata));
    let complete = members.len() <= MOST;
    for member in members.iter().take(MOST) {
        let Some(ip) = addresses(member.pod).first().copied() else { continue };
        let address = EndpointAddress {
            ip: ip.to_string(),
            hostname: hostname(view.service, member.pod),
            node_name: pod::node(member.pod).map(str::to_owned),
            target_ref: Some(target(&member.pod.metadata)),
        };
        let subset = groups.entry(member.ports.clone()).or_insert_with(|| of_ports(&member.ports));
        let ready = publishes_all || pod::is_ready(member.pod);
        let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address);
    }
    (groups.into_values().collect(), complete)
}

fn of_ports(ports: &[Port]) -> EndpointSubset {
    let port = |port: &Port| EndpointPort {
        name: port.name.clone(),
        protocol: Some(port.protocol.clone()),
        port: port.number,
        app_protocol: port.app_protocol.clone(),
    };
    let ports: Vec<EndpointPort> = ports.iter().map(port).collect();
    EndpointSubset { ports: Some(ports).filter(|ports| !ports.is_empty()), ..EndpointSubset::default() }
}
