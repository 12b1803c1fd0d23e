//! What the endpoints of a service are to be.

use serde_json::{Value, json};

use super::*;
use crate::meta;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn service(more: Value) -> Service {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "web", "labels": {"team": "a"}},
        "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    });
    for (field, value) in more.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    serde_json::from_value(service).unwrap()
}

fn pod(n: usize, ready: bool, more: Value) -> Arc<Pod> {
    let name = format!("p{n:03}");
    let ready = if ready { "True" } else { "False" };
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "namespace": "ns", "labels": {"app": "web"}},
        "spec": {"nodeName": "node1", "containers": [{"name": "app", "ports": [{"name": "web", "containerPort": 9000}]}]},
        "status": {
            "phase": "Running", "podIP": format!("10.1.{}.{}", n / 200, n % 200 + 1),
            "conditions": [{"type": "Ready", "status": ready}],
        },
    });
    for (part, fields) in more.as_object().unwrap() {
        for (field, value) in fields.as_object().unwrap() {
            pod[part][field] = value.clone();
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// A service, its pods and its endpoints.
struct Sim {
    service: Service,
    pods: Vec<Arc<Pod>>,
    slices: Vec<Arc<EndpointSlice>>,
    endpoints: Option<Endpoints>,
}

impl Sim {
    fn new(service: Service, pods: Vec<Arc<Pod>>) -> Self {
        Self { service, pods, slices: Vec::new(), endpoints: None }
    }

    /// Makes plans and does them. Returns how many slices were written.
    fn settle(&mut self) -> usize {
        let zones = BTreeMap::from([("node1".to_owned(), "zone1".to_owned())]);
        let view = EndpointsView {
            service: &self.service,
            pods: &self.pods,
            slices: &self.slices,
            endpoints: self.endpoints.as_ref(),
            zones: &zones,
            now: at(100),
        };
        let SlicesPlan { create, update, delete } = plan(&view);
        if let Some(new) = plan_legacy(&view) {
            self.endpoints = Some(new);
        }
        let writes = create.len() + update.len() + delete.len();
        let name = |slice: &EndpointSlice| meta::name(&slice.metadata).to_owned();
        self.slices.retain(|slice| !delete.contains(slice) && !update.iter().any(|new| name(new) == name(slice)));
        self.slices.extend(update.into_iter().map(Arc::new));
        for mut slice in create {
            slice.metadata.name = Some(format!("web-{}", self.slices.len()));
            self.slices.push(Arc::new(slice));
        }
        self.slices.sort_by_key(|slice| name(slice));
        if writes > 0 {
            assert_eq!(self.settle(), 0, "a plan that was carried out leaves nothing to do");
        }
        writes
    }

    /// Endpoints by slice: the last number of the address, and what is true of it.
    fn show(&self) -> Vec<String> {
        let endpoint = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
            let conditions = endpoint.conditions.clone().unwrap();
            let flag = |name: &str, on: Option<bool>| if on == Some(true) { format!(" {name}") } else { String::new() };
            let flags = [
                flag("ready", conditions.ready),
                flag("serving", conditions.serving),
                flag("terminating", conditions.terminating),
            ];
            format!("{}{}", endpoint.addresses[0], flags.concat())
        };
        let slice = |slice: &Arc<EndpointSlice>| {
            let ports = slice.ports.iter().flatten().map(|port| format!("{}/", port.port.unwrap())).collect::<String>();
            let endpoints: Vec<_> = slice.endpoints.iter().flatten().map(endpoint).collect();
            format!("{ports}: {}", endpoints.join(", "))
        };
        self.slices.iter().map(slice).collect()
    }
}

#[test]
fn a_slice_says_of_every_pod_whether_it_is_ready_serving_and_terminating() {
    let stopping = json!({"metadata": {"deletionTimestamp": at(50)}});
    let pods = vec![
        pod(0, true, json!({})),
        pod(1, false, json!({})),
        pod(2, true, stopping),
        pod(3, true, json!({"status": {"phase": "Succeeded"}})),
        pod(4, true, json!({"metadata": {"labels": {"app": "other"}}})),
        pod(5, true, json!({"status": {"podIP": ""}})),
    ];
    let mut sim = Sim::new(service(json!({})), pods);
    sim.settle();
    assert_eq!(sim.show(), ["8080/: 10.1.0.1 ready serving, 10.1.0.2, 10.1.0.3 serving terminating"]);
    let slice = &sim.slices[0];
    assert!(meta::is_controlled_by(&slice.metadata, "web"));
    let labels = slice.metadata.labels.clone().unwrap();
    let expected = [(SLICE_MANAGED_BY, SLICE_CONTROLLER), (SERVICE_NAME, "web"), ("team", "a")];
    assert_eq!(labels, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let first = &slice.endpoints.as_ref().unwrap()[0];
    assert_eq!((first.node_name.as_deref(), first.zone.as_deref()), (Some("node1"), Some("zone1")));
    assert_eq!(first.target_ref.as_ref().unwrap().name.as_deref(), Some("p000"));
    let endpoints = sim.endpoints.unwrap();
    let subset = &endpoints.subsets.unwrap()[0];
    let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
        list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ips(&subset.addresses), ips(&subset.not_ready_addresses)),
        (vec!["10.1.0.1".to_owned()], vec!["10.1.0.2".to_owned()])
    );
    assert_eq!(endpoints.metadata.labels.unwrap()[MANAGED_BY], CONTROLLER);
}

#[test]
fn a_service_that_publishes_all_addresses_calls_every_pod_ready() {
    let pods = vec![pod(0, false, json!({}))];
    let mut sim = Sim::new(service(json!({"publishNotReadyAddresses": true, "clusterIP": "None"})), pods);
    sim.settle();
    assert_eq!(sim.show(), ["8080/: 10.1.0.1 ready"]);
    assert_eq!(sim.slices[0].metadata.labels.as_ref().unwrap()[HEADLESS], "");
    assert!(sim.endpoints.unwrap().subsets.unwrap()[0].addresses.is_some());
}

#[test]
fn s2_31_a_named_port_is_that_of_the_pod_and_sidecars_have_ports_too() {
    let sidecar =
        json!([{"name": "s", "restartPolicy": "Always", "ports": [{"name": "metrics", "containerPort": 9100}]}]);
    let plain = json!([{"name": "i", "ports": [{"name": "metrics", "containerPort": 1}]}]);
    let ports = json!([
        {"name": "web", "port": 80, "targetPort": "web"},
        {"name": "metrics", "port": 81, "targetPort": "metrics"},
        {"name": "same", "port": 82},
    ]);
    let pods = vec![
        pod(0, true, json!({"spec": {"initContainers": sidecar}})),
        pod(1, true, json!({"spec": {"initContainers": plain}})),
    ];
    let mut sim = Sim::new(service(json!({"ports": ports})), pods);
    sim.settle();
    let expected = ["9000/82/: 10.1.0.2 ready serving", "9000/9100/82/: 10.1.0.1 ready serving"];
    let mut shown = sim.show();
    shown.sort();
    assert_eq!(shown, expected);
}

#[test]
fn slices_have_a_hundred_endpoints_at_most_and_change_little() {
    let pods: Vec<_> = (0..250).map(|n| pod(n, true, json!({}))).collect();
    let mut sim = Sim::new(service(json!({})), pods);
    assert_eq!(sim.settle(), 3);
    let sizes = |sim: &Sim| sim.slices.iter().map(|slice| slice.endpoints.iter().flatten().count()).collect::<Vec<_>>();
    assert_eq!(sizes(&sim), [100, 100, 50]);
    sim.pods.remove(0);
    assert_eq!(sim.settle(), 1, "only the slice that had it");
    sim.pods.retain(|pod| meta::name(&pod.metadata) < "p100");
    sim.settle();
    assert_eq!(sim.show().len(), 1);
}

#[test]
fn a_service_without_pods_has_an_empty_slice() {
    let mut sim = Sim::new(service(json!({})), vec![pod(0, true, json!({}))]);
    sim.settle();
    sim.pods.clear();
    sim.settle();
    assert_eq!(sim.show(), [": "]);
    assert_eq!(sim.endpoints.as_ref().unwrap().subsets, None);
}

#[test]
fn endpoints_of_a_service_without_selector_are_somebody_elses() {
    for more in [json!({"selector": null}), json!({"type": "ExternalName"})] {
        let mut sim = Sim::new(service(more), vec![pod(0, true, json!({}))]);
        assert_eq!((sim.settle(), sim.endpoints), (0, None));
    }
}

#[test]
fn the_pods_host_name_counts_if_the_service_is_its_subdomain() {
    let named = |subdomain: &str| pod(0, true, json!({"spec": {"hostname": "db-0", "subdomain": subdomain}}));
    for (subdomain, expected) in [("web", Some("db-0".to_owned())), ("other", None)] {
        let mut sim = Sim::new(service(json!({})), vec![named(subdomain)]);
        sim.settle();
        assert_eq!(sim.slices[0].endpoints.as_ref().unwrap()[0].hostname, expected);
    }
}
