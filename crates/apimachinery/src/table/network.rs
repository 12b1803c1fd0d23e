//! Services and their endpoints.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, SELECTOR, age, first_three, labels, list, name, number, or, text};

pub(super) const SERVICE: &[Column] = &[
    NAME,
    Column::text("Type", "How the service is reached."),
    Column::text("Cluster-IP", "Address inside the cluster."),
    Column::text("External-IP", "Addresses outside of the cluster."),
    Column::text("Port(s)", "Ports of the service, with the node's ports where there are some."),
    AGE,
    SELECTOR.wide(),
];

pub(super) const ENDPOINTS: &[Column] = &[NAME, Column::text("Endpoints", "Addresses that serve."), AGE];

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    Column::text("AddressType", "What kind of addresses the slice holds."),
    Column::text("Ports", "Ports of every endpoint."),
    Column::text("Endpoints", "Addresses that serve."),
    AGE,
];

pub(super) fn service(service: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(service),
        json!(text(service, "/spec/type")),
        json!(or(text(service, "/spec/clusterIPs/0"), "<none>")),
        json!(external_ip(service)),
        json!(or(&ports(service), "<none>")),
        age(service, now),
        labels(service, "/spec/selector"),
    ]
}

fn external_ip(service: &Value) -> String {
    let own: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "/spec/type") {
        "ClusterIP" | "NodePort" => or(&own.join(","), "<none>").to_owned(),
        "LoadBalancer" => {
            let ingress = list(service, "/status/loadBalancer/ingress").iter();
            let balancers: BTreeSet<&str> =
                ingress.map(|one| or(text(one, "/ip"), text(one, "/hostname"))).filter(|at| !at.is_empty()).collect();
            or(&balancers.into_iter().chain(own).collect::<Vec<_>>().join(","), "<pending>").to_owned()
        }
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn ports(service: &Value) -> String {
    let each = list(service, "/spec/ports").iter().map(|port| {
        let (own, protocol) = (number(port, "/port"), text(port, "/protocol"));
        match number(port, "/nodePort") {
            0 => format!("{own}/{protocol}"),
            node => format!("{own}:{node}/{protocol}"),
        }
    });
    each.collect::<Vec<_>>().join(",")
}

pub(super) fn endpoints(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    let subsets = list(endpoints, "/subsets");
    for subset in subsets {
        let addresses = || list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            all.extend(addresses().map(|ip| host_and_port(ip, number(port, "/port"))));
        }
    }
    let shown = if subsets.is_empty() { "<none>".to_owned() } else { first_three(&all) };
    vec![name(endpoints), json!(shown), age(endpoints, now)]
}

fn host_and_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub(super) fn endpoint_slice(slice: &Value, now: Timestamp) -> Vec<Value> {
    let ports = list(slice, "/ports").iter().map(|port| match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None => port["name"].as_str().unwrap_or("*").to_owned(),
    });
    let endpoints = list(slice, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
    let addresses = endpoints.filter_map(Value::as_str).map(str::to_owned);
    let shown = |all: Vec<String>| json!(or(&first_three(&all), "<unset>"));
    vec![
        name(slice),
        json!(text(slice, "/addressType")),
        shown(ports.collect()),
        shown(addresses.collect()),
        age(slice, now),
    ]
}
