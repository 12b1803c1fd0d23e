//! The downward API: facts of a pod given to its containers (contract S11-07, S11-08, S11-10, S8-15).

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use apimachinery::{
    quantity::Quantity,
    resources::{COMPUTE, in_units},
};
use k8s_openapi::{
    api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use crate::{
    names::{pod_name, pod_namespace, pod_uid},
    resources::quantity,
};

/// What the pod's object does not know itself.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// Addresses of the node.
    pub(crate) host_ips: &'a [IpAddr],
    /// Addresses of the pod; the node's with the host's network.
    pub(crate) pod_ips: &'a [IpAddr],
    /// What pods may use of the node: the limit of a container that names none.
    pub(crate) allocatable: &'a BTreeMap<String, ApiQuantity>,
}

/// Why a fact cannot be told. Validation lets no such reference through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DownwardError {
    #[error("unsupported fieldPath: {0}")]
    FieldPath(String),
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("container {0} not found")]
    Container(String),
}

impl Facts<'_> {
    /// Returns the value of a field reference.
    pub(crate) fn field(&self, selector: &ObjectFieldSelector) -> Result<String, DownwardError> {
        let path = selector.field_path.as_str();
        if let Some((map, key)) = subscript(path) {
            return match map {
                "metadata.labels" => Ok(entry(self.pod.metadata.labels.as_ref(), key)),
                "metadata.annotations" => Ok(entry(self.pod.metadata.annotations.as_ref(), key)),
                _ => Err(DownwardError::FieldPath(path.to_owned())),
            };
        }
        let spec = self.pod.spec.as_ref();
        Ok(match path {
            "metadata.name" => pod_name(self.pod).to_owned(),
            "metadata.namespace" => pod_namespace(self.pod).to_owned(),
            "metadata.uid" => pod_uid(self.pod).to_owned(),
            "metadata.labels" => format_map(self.pod.metadata.labels.as_ref()),
            "metadata.annotations" => format_map(self.pod.metadata.annotations.as_ref()),
            "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
            "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default(),
            "status.hostIP" => first(self.host_ips),
            "status.hostIPs" => joined(self.host_ips),
            "status.podIP" => first(self.pod_ips),
            "status.podIPs" => joined(self.pod_ips),
            _ => return Err(DownwardError::FieldPath(path.to_owned())),
        })
    }

    /// Returns the value of a resource reference; `own` is the container that it stands in.
    pub(crate) fn resource(
        &self,
        selector: &ResourceFieldSelector,
        own: Option<&Container>,
    ) -> Result<String, DownwardError> {
        let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
            Some(name) => self.container(name).ok_or_else(|| DownwardError::Container(name.to_owned()))?,
            None => own.ok_or_else(|| DownwardError::Container(String::new()))?,
        };
        let unsupported = || DownwardError::Resource(selector.resource.clone());
        let (kind, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
        let resources = container.resources.as_ref();
        let value = match kind {
            "limits" => resources
                .and_then(|r| r.limits.as_ref())
                .and_then(|m| m.get(name))
                .filter(|q| !quantity(q).is_zero())
                .or_else(|| self.limit_of_pod(name))
                .or_else(|| self.allocatable.get(name)),
            "requests" => resources.and_then(|r| r.requests.as_ref()).and_then(|m| m.get(name)),
            _ => return Err(unsupported()),
        };
        let value = value.map_or(Quantity::ZERO, quantity);
        let divisor = selector.divisor.as_ref().map_or(Quantity::ZERO, quantity);
        Ok(in_units(&selector.resource, value, divisor).to_string())
    }

    /// Returns what the pod as a whole may use at most of a resource that it can limit.
    fn limit_of_pod(&self, name: &str) -> Option<&ApiQuantity> {
        let limits = self.pod.spec.as_ref()?.resources.as_ref()?.limits.as_ref()?;
        limits.get(name).filter(|limit| COMPUTE.contains(&name) && !quantity(limit).is_zero())
    }

    fn container(&self, name: &str) -> Option<&Container> {
        let spec = self.pod.spec.as_ref()?;
        spec.init_containers.iter().flatten().chain(&spec.containers).find(|c| c.name == name)
    }
}

/// Splits `map['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn entry(map: Option<&BTreeMap<String, String>>, key: &str) -> String {
    map.and_then(|m| m.get(key)).cloned().unwrap_or_default()
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(IpAddr::to_string).unwrap_or_default()
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

/// Returns one `key="value"` line for each entry (pkg/fieldpath FormatMap).
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<_> = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quote(v))).collect();
    lines.join("\n")
}

/// Quotes as Go's `%q` does.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u1",
                "labels": {"app": "web", "tier": "a\"b"}, "annotations": {"note": "two\nlines"}},
            "spec": {"nodeName": "node1", "serviceAccountName": "default",
                "initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always",
                    "resources": {"requests": {"cpu": "250m", "memory": "10Mi"}, "limits": {"cpu": "500m"}}}],
                "containers": [{"name": "main", "image": "i"}]}
        }))
        .expect("a pod")
    }

    fn with_facts<T>(f: impl FnOnce(&Facts<'_>) -> T) -> T {
        let pod = pod();
        let allocatable = BTreeMap::from([
            ("cpu".to_owned(), ApiQuantity("4".to_owned())),
            ("memory".to_owned(), ApiQuantity("8Gi".to_owned())),
        ]);
        f(&Facts {
            pod: &pod,
            host_ips: &[IpAddr::from([192, 0, 2, 1])],
            pod_ips: &[IpAddr::from([10, 0, 0, 7]), "fd00::7".parse().expect("an address")],
            allocatable: &allocatable,
        })
    }

    #[test]
    fn s11_07_s11_08_each_field_reference_has_its_value() {
        let cases = [
            ("metadata.name", "p"),
            ("metadata.namespace", "ns"),
            ("metadata.uid", "u1"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['missing']", ""),
            ("metadata.annotations['note']", "two\nlines"),
            ("metadata.labels", "app=\"web\"\ntier=\"a\\\"b\""),
            ("metadata.annotations", "note=\"two\\nlines\""),
            ("spec.nodeName", "node1"),
            ("spec.serviceAccountName", "default"),
            ("status.hostIP", "192.0.2.1"),
            ("status.hostIPs", "192.0.2.1"),
            ("status.podIP", "10.0.0.7"),
            ("status.podIPs", "10.0.0.7,fd00::7"),
        ];
        with_facts(|facts| {
            for (path, want) in cases {
                let selector = ObjectFieldSelector { field_path: path.to_owned(), ..Default::default() };
                assert_eq!(facts.field(&selector).as_deref(), Ok(want), "{path}");
            }
            let selector = ObjectFieldSelector { field_path: "spec.hostname".to_owned(), ..Default::default() };
            assert_eq!(facts.field(&selector), Err(DownwardError::FieldPath("spec.hostname".to_owned())));
        });
    }

    #[test]
    fn s11_10_s8_15_resource_references_round_up_and_fall_back_to_the_node() {
        let cases = [
            ("side", "limits.cpu", None, "1"),
            ("side", "limits.cpu", Some("1m"), "500"),
            ("side", "requests.cpu", Some("1m"), "250"),
            ("side", "requests.memory", Some("1Mi"), "10"),
            ("side", "requests.memory", None, "10485760"),
            ("side", "limits.memory", Some("1Gi"), "8"),
            ("main", "limits.cpu", None, "4"),
            ("main", "requests.cpu", None, "0"),
            ("main", "requests.memory", Some("0"), "0"),
        ];
        with_facts(|facts| {
            for (container, resource, divisor, want) in cases {
                let selector = ResourceFieldSelector {
                    container_name: Some(container.to_owned()),
                    resource: resource.to_owned(),
                    divisor: divisor.map(|d| ApiQuantity(d.to_owned())),
                };
                assert_eq!(facts.resource(&selector, None).as_deref(), Ok(want), "{container} {resource} {divisor:?}");
            }
        });
    }
}
