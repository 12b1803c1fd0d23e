//! Variables that tell of services (pkg/kubelet/envvars, contract S11-21).

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use kube::{Api, Client, api::ListParams};

use crate::{env::Environment, names::pod_namespace};

/// The namespace and name of the API server's own service.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// Returns the variables of the services that a pod is told of: those of its namespace if it wants links, and
/// always the API server's. Services that cannot be listed are left out.
pub(crate) async fn environment(client: &Client, pod: &Pod) -> Environment {
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let mut services = Vec::new();
    let master: Api<Service> = Api::namespaced(client.clone(), MASTER.0);
    services.extend(master.get_opt(MASTER.1).await.ok().flatten());
    if links {
        let own: Api<Service> = Api::namespaced(client.clone(), pod_namespace(pod));
        services.extend(own.list(&ListParams::default()).await.map(|l| l.items).unwrap_or_default());
    }
    variables(&services)
}

fn variables(services: &[Service]) -> Environment {
    let mut env = Environment::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let ip = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None");
        let (Some(ip), Some(name), Some(ports)) = (ip, &service.metadata.name, &spec.ports) else { continue };
        let prefix = env_name(name);
        if let Some(first) = ports.first() {
            env.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
            env.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
            env.insert(format!("{prefix}_PORT"), url(first, ip));
        }
        for port in ports {
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                env.insert(format!("{prefix}_SERVICE_PORT_{}", env_name(port_name)), port.port.to_string());
            }
            link(&mut env, &prefix, port, ip);
        }
    }
    env
}

/// Adds the variables of Docker's old links.
fn link(env: &mut Environment, prefix: &str, port: &ServicePort, ip: &str) {
    let protocol = protocol(port);
    let stem = format!("{prefix}_PORT_{}_{protocol}", port.port);
    env.insert(stem.clone(), url(port, ip));
    env.insert(format!("{stem}_PROTO"), protocol.to_lowercase());
    env.insert(format!("{stem}_PORT"), port.port.to_string());
    env.insert(format!("{stem}_ADDR"), ip.to_owned());
}

fn url(port: &ServicePort, ip: &str) -> String {
    format!(
        "{}://{}",
        protocol(port).to_lowercase(),
        crate::http_client::join_host_port(ip, u16::try_from(port.port).unwrap_or(0))
    )
}

fn protocol(port: &ServicePort) -> String {
    port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())
}

fn env_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_21_a_service_becomes_its_variables() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-api", "namespace": "ns"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
        }))
        .expect("a service");
        let headless: Service = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "none"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}
        }))
        .expect("a service");
        let got: Vec<_> = variables(&[service, headless]).into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        let want = [
            "WEB_API_PORT=tcp://10.96.0.7:80",
            "WEB_API_PORT_80_TCP=tcp://10.96.0.7:80",
            "WEB_API_PORT_80_TCP_ADDR=10.96.0.7",
            "WEB_API_PORT_80_TCP_PORT=80",
            "WEB_API_PORT_80_TCP_PROTO=tcp",
            "WEB_API_SERVICE_HOST=10.96.0.7",
            "WEB_API_SERVICE_PORT=80",
            "WEB_API_SERVICE_PORT_HTTP=80",
        ];
        assert_eq!(got, want);
    }
}
