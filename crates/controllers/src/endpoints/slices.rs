//! Decides what the EndpointSlices of a service are to be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::endpoints::members::{
    Member, Port, addresses, changed_at, hostname, is_headless, labels, members, selecting,
};
use crate::endpoints::{
    EndpointsView, HEADLESS, LAST_CHANGE, SERVICE_NAME, SLICE_CONTROLLER, SLICE_MANAGED_BY, SlicesPlan,
};
use crate::{meta, pod};

/// Endpoints in one slice (`--max-endpoints-per-slice`).
const MOST: usize = 100;

/// Endpoints that belong into the same slices: of one address family, with the same ports.
type Group = (&'static str, Vec<Port>);

/// Decides what the EndpointSlices of a service are to be. Endpoints stay in the slices where they
/// are, so that little is rewritten.
#[must_use]
pub fn plan(view: &EndpointsView<'_>) -> SlicesPlan {
    let mut plan = SlicesPlan::default();
    if selecting(view.service).is_none() {
        return plan;
    }
    let mut wanted = wanted(view);
    let mut groups: BTreeMap<Group, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in view.slices.iter().filter(|slice| !meta::is_deleting(&slice.metadata)) {
        match group_of(slice).filter(|group| wanted.contains_key(group)) {
            Some(group) => groups.entry(group).or_default().push(slice),
            None => plan.delete.push(Arc::clone(slice)),
        }
    }
    for (group, endpoints) in &mut wanted {
        let slices = groups.remove(group).unwrap_or_default();
        fill(view, group, &slices, std::mem::take(endpoints), &mut plan);
    }
    plan
}

/// Endpoints by the group of slices that they belong into. There is always one group: a service
/// without endpoints has a slice without endpoints.
fn wanted(view: &EndpointsView<'_>) -> BTreeMap<Group, VecDeque<Endpoint>> {
    let families = families(view.service);
    let mut wanted: BTreeMap<Group, VecDeque<Endpoint>> = BTreeMap::new();
    for member in members(view) {
        for address in addresses(member.pod) {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            if families.contains(family) {
                let group = wanted.entry((family, member.ports.clone())).or_default();
                group.push_back(endpoint(view, &member, address));
            }
        }
    }
    for family in families {
        if !wanted.keys().any(|(known, _)| *known == family) {
            wanted.insert((family, Vec::new()), VecDeque::new());
        }
    }
    wanted
}

fn families(service: &Service) -> BTreeSet<&'static str> {
    let listed = service.spec.iter().flat_map(|spec| spec.ip_families.iter().flatten());
    let known: BTreeSet<_> =
        listed.filter_map(|family| ["IPv4", "IPv6"].into_iter().find(|known| known == family)).collect();
    if known.is_empty() { BTreeSet::from(["IPv4"]) } else { known }
}

fn endpoint(view: &EndpointsView<'_>, member: &Member<'_>, address: IpAddr) -> Endpoint {
    let pod = member.pod;
    let publishes_all = view.service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let (serving, terminating) = (pod::is_ready(pod), meta::is_deleting(&pod.metadata));
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_all || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(view.service, pod),
        node_name: pod::node(pod).map(str::to_owned),
        zone: pod::node(pod).and_then(|node| view.zones.get(node).cloned()),
        target_ref: Some(target(&pod.metadata)),
        ..Endpoint::default()
    }
}

/// What an endpoint stands for.
pub(crate) fn target(pod: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        ..ObjectReference::default()
    }
}

fn group_of(slice: &EndpointSlice) -> Option<Group> {
    let family = ["IPv4", "IPv6"].into_iter().find(|known| *known == slice.address_type)?;
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().filter(|name| !name.is_empty()),
        protocol: port.protocol.clone().unwrap_or_default(),
        number: port.port.unwrap_or(0),
        app_protocol: port.app_protocol.clone(),
    };
    Some((family, slice.ports.iter().flatten().map(port).collect()))
}

/// Puts the endpoints of a group into slices.
fn fill(
    view: &EndpointsView<'_>,
    group: &Group,
    slices: &[&Arc<EndpointSlice>],
    mut endpoints: VecDeque<Endpoint>,
    plan: &mut SlicesPlan,
) {
    let mut contents: Vec<Vec<Endpoint>> = slices.iter().map(|slice| stay(slice, &mut endpoints)).collect();
    for content in &mut contents {
        let room = MOST.saturating_sub(content.len()).min(endpoints.len());
        content.extend(endpoints.drain(..room));
    }
    let needed = contents.iter().any(|content| !content.is_empty()) || !endpoints.is_empty();
    let mut placeholder = !needed;
    for (slice, content) in slices.iter().zip(contents) {
        if content.is_empty() && !std::mem::take(&mut placeholder) {
            plan.delete.push(Arc::clone(slice));
        } else {
            plan.update.extend(changed(view, slice, content));
        }
    }
    while !endpoints.is_empty() || placeholder {
        placeholder = false;
        let content = endpoints.drain(..MOST.min(endpoints.len())).collect();
        plan.create.push(make(view, group, content));
    }
}

/// Takes those endpoints that the slice has already, in its order.
fn stay(slice: &EndpointSlice, endpoints: &mut VecDeque<Endpoint>) -> Vec<Endpoint> {
    let identity = |endpoint: &Endpoint| (endpoint.target_ref.clone(), endpoint.addresses.clone());
    let mut new: BTreeMap<String, Endpoint> = BTreeMap::new();
    let name = |endpoint: &Endpoint| format!("{:?}", identity(endpoint));
    let present: BTreeSet<String> = slice.endpoints.iter().flatten().map(name).collect();
    endpoints.retain(|endpoint| {
        let stays = present.contains(&name(endpoint));
        if stays {
            new.insert(name(endpoint), endpoint.clone());
        }
        !stays
    });
    slice.endpoints.iter().flatten().filter_map(|endpoint| new.remove(&name(endpoint))).collect()
}

/// The slice with that content, if it differs.
fn changed(view: &EndpointsView<'_>, slice: &EndpointSlice, content: Vec<Endpoint>) -> Option<EndpointSlice> {
    let labels = slice_labels(view.service);
    let old = slice.endpoints.as_deref().unwrap_or_default();
    if old == content && slice.metadata.labels.as_ref() == Some(&labels) {
        return None;
    }
    let mut new = slice.clone();
    new.endpoints = Some(content);
    new.metadata.labels = Some(labels);
    new.metadata.annotations = changed_at(new.metadata.annotations, view.now);
    Some(new)
}

fn slice_labels(service: &Service) -> BTreeMap<String, String> {
    let mut own = vec![(SERVICE_NAME, meta::name(&service.metadata)), (SLICE_MANAGED_BY, SLICE_CONTROLLER)];
    if service.spec.as_ref().is_none_or(is_headless) {
        own.push((HEADLESS, ""));
    }
    labels(service, &own)
}

fn make(view: &EndpointsView<'_>, (family, ports): &Group, content: Vec<Endpoint>) -> EndpointSlice {
    let service = &view.service.metadata;
    let port = |port: &Port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.number),
        app_protocol: port.app_protocol.clone(),
    };
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", meta::name(service))),
            namespace: service.namespace.clone(),
            labels: Some(slice_labels(view.service)),
            annotations: Some([(LAST_CHANGE.to_owned(), apimachinery::time::seconds(view.now))].into()),
            owner_references: Some(vec![meta::controller_reference("v1", "Service", service)]),
            ..ObjectMeta::default()
        },
        address_type: (*family).to_owned(),
        endpoints: Some(content),
        ports: Some(ports.iter().map(port).collect()),
    }
}
