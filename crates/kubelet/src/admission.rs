//! Whether a pod fits on the node (pkg/kubelet/lifecycle/predicate.go, contract S5-46). The scheduler has decided
//! already; this catches pods that name their node themselves, and races.

use std::collections::BTreeMap;

use apimachinery::{
    resources::{Amounts, QosClass, pod_requests, qos_class},
    taint::tolerates,
};
use cri::PortMapping;
use k8s_openapi::{
    api::core::v1::{Pod, PodSpec, PodStatus, Taint},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use crate::{
    clock,
    eviction::{Condition, is_critical},
    resources::quantity,
    sandbox_config::port_mappings,
    sysctls,
};

/// Why a pod is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// `OutOfcpu`, `NodePorts`, `NodeAffinity`, …; also the reason of the event.
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
}

impl Rejection {
    /// The node takes no more pods (nodeshutdown_manager.go).
    pub(crate) fn node_shutdown() -> Self {
        let message = "Pod was rejected as the node is shutting down.".to_owned();
        Self { reason: "NodeShutdown".to_owned(), message }
    }

    /// Returns the status of a refused pod.
    pub(crate) fn status(&self, pod: &Pod) -> PodStatus {
        PodStatus {
            phase: Some("Failed".to_owned()),
            reason: Some(self.reason.clone()),
            message: Some(format!("Pod was rejected: {}", self.message)),
            start_time: Some(clock::api_time(clock::wall_nanos())),
            qos_class: pod.status.as_ref().and_then(|s| s.qos_class.clone()),
            ..PodStatus::default()
        }
    }
}

/// Checks a pod against what the node is short of (eviction_manager.go `Admit`, contract S4-56).
pub(crate) fn check_conditions(pod: &Pod, conditions: &[Condition]) -> Result<(), Rejection> {
    if conditions.is_empty() || is_critical(pod) {
        return Ok(());
    }
    let taint = Taint {
        key: "node.kubernetes.io/memory-pressure".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let least = pod.spec.as_ref().is_some_and(|spec| qos_class(spec) == QosClass::BestEffort);
    let mut tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    if conditions == [Condition::Memory] && (!least || tolerations.any(|one| tolerates(one, &taint))) {
        return Ok(());
    }
    let names: Vec<_> = conditions.iter().map(|condition| condition.type_()).collect();
    let message = format!("The node had condition: [{}]. ", names.join(" "));
    Err(Rejection { reason: "Evicted".to_owned(), message })
}

/// Checks a pod against the labels of the node, what it has, and the pods that are there.
pub(crate) fn check(
    pod: &Pod,
    others: &[&Pod],
    allocatable: &BTreeMap<String, ApiQuantity>,
    labels: &BTreeMap<String, String>,
) -> Result<(), Rejection> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    sysctls::check(spec).map_err(|why| Rejection {
        reason: "SysctlForbidden".to_owned(),
        message: format!("forbidden sysctl: {why}"),
    })?;
    let there: Vec<&PodSpec> = others.iter().filter_map(|p| p.spec.as_ref()).collect();
    fits_resources(spec, &there, allocatable)?;
    if spec.node_selector.iter().flatten().any(|(key, value)| labels.get(key) != Some(value)) {
        return Err(Rejection {
            reason: "NodeAffinity".to_owned(),
            message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".to_owned(),
        });
    }
    let taken: Vec<_> = there.iter().flat_map(|s| host_ports(s)).collect();
    if host_ports(spec).iter().any(|port| taken.iter().any(|other| collide(port, other))) {
        return Err(Rejection {
            reason: "NodePorts".to_owned(),
            message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
                .to_owned(),
        });
    }
    Ok(())
}

/// Checks a pod's requests against what the others leave.
pub(crate) fn fits_resources(
    spec: &PodSpec,
    others: &[&PodSpec],
    allocatable: &BTreeMap<String, ApiQuantity>,
) -> Result<(), Rejection> {
    let capacity = |name: &str| offered(allocatable, name);
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    insufficient("pods", 1, count, capacity("pods"))?;
    for (name, requested) in pod_requests(spec) {
        let requested = measure(&name, requested);
        let used = others.iter().filter_map(|s| pod_requests(s).get(&name).map(|q| measure(&name, *q)));
        let used = used.fold(0, i64::saturating_add);
        insufficient(&name, requested, used, capacity(&name))?;
    }
    Ok(())
}

fn insufficient(name: &str, requested: i64, used: i64, capacity: i64) -> Result<(), Rejection> {
    if requested == 0 || requested <= capacity.saturating_sub(used) {
        return Ok(());
    }
    Err(Rejection {
        reason: format!("OutOf{name}"),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    })
}

/// Returns how much of a resource the node offers.
pub(crate) fn offered(allocatable: &BTreeMap<String, ApiQuantity>, name: &str) -> i64 {
    allocatable.get(name).map_or(0, |q| measure(name, quantity(q)))
}

/// Returns how much of a resource is asked for.
pub(crate) fn asked(requests: &Amounts, name: &str) -> i64 {
    requests.get(name).map_or(0, |amount| measure(name, *amount))
}

/// CPU counts in thousandths, everything else in whole units.
fn measure(name: &str, amount: apimachinery::quantity::Quantity) -> i64 {
    if name == "cpu" { amount.millis() } else { amount.ceil() }
}

/// Returns the ports of the host that a pod takes; with the host's network these are all that it names.
fn host_ports(spec: &PodSpec) -> Vec<PortMapping> {
    let mut spec = spec.clone();
    if spec.host_network.take() == Some(true) {
        for port in spec.containers.iter_mut().flat_map(|c| c.ports.iter_mut().flatten()) {
            port.host_port = port.host_port.or(Some(port.container_port));
        }
    }
    port_mappings(&spec)
}

fn collide(a: &PortMapping, b: &PortMapping) -> bool {
    let all = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
    let same_address = all(&a.host_ip) || all(&b.host_ip) || a.host_ip == b.host_ip;
    a.host_port == b.host_port && a.protocol == b.protocol && same_address
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod")
    }

    fn wants(cpu: &str) -> Pod {
        pod(json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}))
    }

    fn listens(ip: &str, port: u16) -> Pod {
        pod(
            json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": port, "hostIP": ip}]}]}),
        )
    }

    fn reason(pod: &Pod, others: &[&Pod]) -> Option<Rejection> {
        let amounts = [("cpu", "2"), ("memory", "1Gi"), ("pods", "3")];
        let allocatable = amounts.map(|(n, q)| (n.to_owned(), ApiQuantity(q.to_owned()))).into();
        let labels = [("disk".to_owned(), "ssd".to_owned())].into();
        check(pod, others, &allocatable, &labels).err()
    }

    #[test]
    fn s5_46_a_pod_that_does_not_fit_is_rejected_with_the_resource_in_the_reason() {
        assert_eq!(reason(&wants("2"), &[]), None);
        let got = reason(&wants("1500m"), &[&wants("750m")]).expect("rejected");
        assert_eq!(got.reason, "OutOfcpu");
        let text = "Node didn't have enough resource: cpu, requested: 1500, used: 750, capacity: 2000";
        assert_eq!(got.message, text);
        let status = got.status(&wants("1"));
        assert_eq!(status.phase.as_deref(), Some("Failed"));
        assert_eq!(status.message, Some(format!("Pod was rejected: {text}")));
        let small = wants("0");
        let full = reason(&small, &[&small, &small, &small]).expect("rejected");
        assert_eq!(full.reason, "OutOfpods");
    }

    #[test]
    fn s4_56_short_of_memory_a_node_takes_no_pods_without_requests_and_short_of_disk_none_but_critical_ones() {
        let (memory, disk) = (Condition::Memory, Condition::Disk);
        let refused = |pod: &Pod, conditions: &[Condition]| check_conditions(pod, conditions).err().map(|r| r.message);
        let (burstable, least) = (wants("1"), wants("0"));
        assert_eq!(refused(&least, &[]), None);
        assert_eq!(refused(&burstable, &[memory]), None);
        assert_eq!(refused(&least, &[memory]).as_deref(), Some("The node had condition: [MemoryPressure]. "));
        assert_eq!(refused(&burstable, &[disk]).as_deref(), Some("The node had condition: [DiskPressure]. "));
        let both = "The node had condition: [MemoryPressure DiskPressure]. ";
        assert_eq!(refused(&burstable, &[memory, disk]).as_deref(), Some(both));
        let toleration = json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"});
        let tolerant = pod(json!({"containers": [], "tolerations": [toleration]}));
        assert_eq!(refused(&tolerant, &[memory]), None);
        assert!(refused(&tolerant, &[disk]).is_some());
        let critical = pod(json!({"containers": [], "priority": 2_000_000_000}));
        assert_eq!(refused(&critical, &[memory, disk]), None);
        let rejection = check_conditions(&least, &[memory]).expect_err("refused");
        assert_eq!(rejection.reason, "Evicted");
        let message = "Pod was rejected: The node had condition: [MemoryPressure]. ";
        assert_eq!(rejection.status(&least).message.as_deref(), Some(message));
    }

    #[test]
    fn kernel_parameters_of_the_machine_are_forbidden() {
        let sets = |name: &str, more: Value| {
            let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
            spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
            reason(&pod(spec), &[]).map(|rejection| (rejection.reason, rejection.message))
        };
        let forbidden = |why: &str| Some(("SysctlForbidden".to_owned(), format!("forbidden sysctl: {why}")));
        assert_eq!(sets("net/ipv4/tcp_syncookies", json!({})), None);
        assert_eq!(sets("kernel.shm_rmid_forced", json!({})), None);
        assert_eq!(sets("kernel.core_pattern", json!({})), forbidden("\"kernel.core_pattern\" not allowlisted"));
        assert_eq!(
            sets("net.ipv4.tcp_rmem", json!({"hostNetwork": true})),
            forbidden("\"net.ipv4.tcp_rmem\" not allowed with host net enabled")
        );
    }

    #[test]
    fn huge_requests_do_not_run_over() {
        let huge =
            pod(json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"memory": "8Ei"}}}]}));
        let got = reason(&huge, &[&huge, &huge]).expect("rejected");
        assert_eq!(got.reason, "OutOfmemory");
    }

    #[test]
    fn s5_46_host_ports_collide_by_port_protocol_and_address() {
        let why = |a: &Pod, b: &Pod| reason(a, &[b]).map(|r| r.reason);
        let taken = Some("NodePorts".to_owned());
        assert_eq!(why(&listens("", 80), &listens("", 80)), taken);
        assert_eq!(why(&listens("127.0.0.1", 80), &listens("", 80)), taken);
        assert_eq!(why(&listens("127.0.0.1", 80), &listens("127.0.0.2", 80)), None);
        assert_eq!(why(&listens("", 80), &listens("", 81)), None);
        let host = pod(
            json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}),
        );
        assert_eq!(why(&host, &listens("", 80)), taken);
    }

    #[test]
    fn s5_46_a_node_selector_must_match() {
        let selects = |value: &str| pod(json!({"nodeSelector": {"disk": value}, "containers": []}));
        assert_eq!(reason(&selects("ssd"), &[]), None);
        assert_eq!(reason(&selects("hdd"), &[]).map(|r| r.reason).as_deref(), Some("NodeAffinity"));
    }
}
