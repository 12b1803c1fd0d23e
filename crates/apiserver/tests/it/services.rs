//! Services: addresses and ports are given out once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Rig;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const JSON: &str = "application/json";

fn service(name: &str, more: Value) -> String {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    apimachinery::patch::merge(&mut service, &json!({"spec": more}));
    service.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn services_made_at_once_share_no_address_and_no_port() {
    let rig = Rig::new();
    let made = (0..40).map(|index| {
        let body = service(&format!("s{index}"), json!({"type": "NodePort"}));
        let rig = &rig;
        async move { rig.raw("POST", SERVICES, JSON, &body).await }
    });
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (code, service) in futures::future::join_all(made).await {
        assert_eq!(code, 201, "{service}");
        let address = service["spec"]["clusterIP"].as_str().expect("address").to_owned();
        assert!(address.starts_with("10."), "{address}");
        assert_eq!(service["spec"]["clusterIPs"], json!([address]));
        assert!(addresses.insert(address));
        let port = service["spec"]["ports"][0]["nodePort"].as_u64().expect("port");
        assert!((30_000..=32_767).contains(&port) && ports.insert(port));
    }
}

#[tokio::test]
async fn what_is_taken_or_out_of_range_is_refused() {
    let rig = Rig::new();
    let own = json!({"type": "NodePort", "clusterIP": "10.96.0.10", "ports": [{"port": 80, "nodePort": 30080}]});
    assert_eq!(rig.raw("POST", SERVICES, JSON, &service("a", own)).await.0, 201);
    for (spec, why) in [
        (json!({"clusterIP": "10.96.0.10"}), "failed to allocate IP 10.96.0.10: provided IP is already allocated"),
        (json!({"clusterIP": "10.0.0.1"}), "is not in the valid range. The range of valid IPs is 10.96.0.0/12"),
        (json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}), "provided port is already allocated"),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}),
            "The range of valid ports is 30000-32767",
        ),
    ] {
        let (code, status) = rig.raw("POST", SERVICES, JSON, &service("b", spec)).await;
        assert!(code == 422 && status["message"].as_str().expect("text").ends_with(why), "{status}");
    }
}

#[tokio::test]
async fn a_service_that_becomes_a_node_port_keeps_its_address() {
    let rig = Rig::new();
    let before = rig.raw("POST", SERVICES, JSON, &service("a", json!({}))).await.1;
    let body = service("a", json!({"type": "NodePort"}));
    let (code, after) = rig.raw("PUT", &format!("{SERVICES}/a"), JSON, &body).await;
    assert_eq!((code, &after["spec"]["clusterIP"]), (200, &before["spec"]["clusterIP"]));
    assert!(after["spec"]["ports"][0]["nodePort"].is_u64());
    let back = rig.raw("PUT", &format!("{SERVICES}/a"), JSON, &service("a", json!({}))).await.1;
    assert_eq!(back["spec"]["ports"][0].get("nodePort"), None);
}
