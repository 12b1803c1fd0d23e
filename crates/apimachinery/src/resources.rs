//! What a pod asks for and may use: totals, quality of service, OOM score.
//!
//! Sources: component-helpers `resource/helpers.go`, `pkg/apis/core/v1/helper/qos`, `pkg/kubelet/qos/policy.go`.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodSpec},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use crate::{
    pod::{self, Role},
    quantity::Quantity,
};

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// How well a pod is protected when memory runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QosClass {
    /// Every container's cpu and memory limits equal its requests.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl QosClass {
    /// Returns the name in `status.qosClass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which side of a container's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Requests,
    Limits,
}

/// Returns what a container requests.
pub fn container_requests(container: &Container) -> Amounts {
    of_container(container, Side::Requests)
}

/// Returns what a container may use at most.
pub fn container_limits(container: &Container) -> Amounts {
    of_container(container, Side::Limits)
}

/// Returns what a pod requests: mains and sidecars together, or more if an init container needs more (S8-01..05).
///
/// ```
/// use apimachinery::resources;
/// let c = |name: &str, cpu: &str| serde_json::json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
/// let mut sidecar = c("s", "2");
/// sidecar["restartPolicy"] = "Always".into();
/// let spec = serde_json::from_value(serde_json::json!({
///     "initContainers": [sidecar, c("i", "4")], "containers": [c("a", "3")],
/// })).unwrap();
/// assert_eq!(resources::pod_requests(&spec)["cpu"].to_string(), "6");
/// ```
pub fn pod_requests(spec: &PodSpec) -> Amounts {
    let mut total = with_pod_level(spec, Side::Requests);
    for (name, amount) in parse(spec.overhead.as_ref()) {
        add(&mut total, &name, amount);
    }
    total
}

/// Returns what a pod takes of its node: of what each main container and sidecar asks for, was granted and has, the
/// most. What the node will never grant does not count (S8-06).
pub fn requests_in_force(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut spec = spec.clone();
    let status = pod.status.as_ref();
    let is_infeasible = |c: &PodCondition| c.type_ == "PodResizePending" && c.reason.as_deref() == Some("Infeasible");
    let infeasible = status.and_then(|s| s.conditions.as_ref()).is_some_and(|all| all.iter().any(is_infeasible));
    let lists = status.map(|s| [&s.container_statuses, &s.init_container_statuses]).into_iter().flatten();
    let statuses: Vec<&ContainerStatus> = lists.flatten().flatten().collect();
    let sidecars = spec.init_containers.iter_mut().flatten().filter(|container| pod::is_sidecar(container));
    for container in spec.containers.iter_mut().chain(sidecars) {
        let told = statuses.iter().find(|status| status.name == container.name);
        if let Some((status, actual)) = told.and_then(|status| Some((status, status.resources.as_ref()?))) {
            let mut most = if infeasible { Amounts::new() } else { container_requests(container) };
            raise_all(&mut most, &parse(status.allocated_resources.as_ref()));
            raise_all(&mut most, &parse(actual.requests.as_ref()));
            let requests = most.into_iter().map(|(name, amount)| (name, ApiQuantity(amount.to_string())));
            container.resources.get_or_insert_default().requests = Some(requests.collect());
        }
    }
    pod_requests(&spec)
}

/// Returns what a pod may use at most. Overhead counts only where there is a limit at all (S8-04).
pub fn pod_limits(spec: &PodSpec) -> Amounts {
    let mut total = with_pod_level(spec, Side::Limits);
    for (name, amount) in parse(spec.overhead.as_ref()) {
        if let Some(limit) = total.get_mut(&name).filter(|limit| !limit.is_zero()) {
            *limit = *limit + amount;
        }
    }
    total
}

/// Returns what the containers request together, without what the pod as a whole says.
pub fn aggregate_requests(spec: &PodSpec) -> Amounts {
    aggregate(spec, Side::Requests)
}

/// Returns what the containers may use together, without what the pod as a whole says.
pub fn aggregate_limits(spec: &PodSpec) -> Amounts {
    aggregate(spec, Side::Limits)
}

/// Tells how well a pod is protected (S8-09).
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let pod_level = has_pod_level(spec);
    let pairs: Vec<(Amounts, Amounts)> = if pod_level {
        vec![(pod_level_amounts(spec, Side::Requests), pod_level_amounts(spec, Side::Limits))]
    } else {
        pod::containers(spec).map(|e| (container_requests(e.container), container_limits(e.container))).collect()
    };
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    let mut all_limited = true;
    for (own_requests, own_limits) in &pairs {
        add_compute(&mut requests, own_requests);
        all_limited &= add_compute(&mut limits, own_limits) == COMPUTE.len();
    }
    if requests.is_empty() && limits.is_empty() {
        QosClass::BestEffort
    } else if all_limited && requests == limits {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

/// Computes the OOM score adjustment of a container on a node with this much memory (S8-10..12).
///
/// ```
/// use apimachinery::resources;
/// let spec = serde_json::from_value(serde_json::json!({"containers": [{"name": "a"}]})).unwrap();
/// assert_eq!(resources::oom_score_adj(&spec, "a", 8 << 30), 1000);
/// ```
pub fn oom_score_adj(spec: &PodSpec, container: &str, memory_capacity: i64) -> i32 {
    if spec.priority_class_name.as_deref() == Some("system-node-critical") {
        return GUARANTEED_SCORE;
    }
    match qos_class(spec) {
        QosClass::Guaranteed => GUARANTEED_SCORE,
        QosClass::BestEffort => BEST_EFFORT_SCORE,
        QosClass::Burstable => burstable_score(spec, container, memory_capacity),
    }
}

/// Computes the value of a `resourceFieldRef`: the amount in units of the divisor, rounded up (S11-10).
///
/// ```
/// use apimachinery::resources::in_units;
/// let q = |text: &str| text.parse().unwrap();
/// assert_eq!(in_units("limits.cpu", q("500m"), q("1")), 1);
/// assert_eq!(in_units("limits.cpu", q("500m"), q("1m")), 500);
/// assert_eq!(in_units("requests.memory", q("1Gi"), q("1Mi")), 1024);
/// ```
pub fn in_units(resource: &str, amount: Quantity, divisor: Quantity) -> i64 {
    let is_cpu = resource.ends_with(".cpu");
    let (amount, divisor) = if is_cpu { (amount.millis(), divisor.millis()) } else { (amount.ceil(), divisor.ceil()) };
    let unit = if is_cpu { 1000 } else { 1 };
    let divisor = if divisor <= 0 { unit } else { divisor };
    amount / divisor + i64::from(amount % divisor > 0)
}

const GUARANTEED_SCORE: i32 = -997;
const BEST_EFFORT_SCORE: i32 = 1000;

/// The resources that the class of a pod depends on, and that can be changed while it runs.
pub const COMPUTE: [&str; 2] = ["cpu", "memory"];

fn burstable_score(spec: &PodSpec, container: &str, capacity: i64) -> i32 {
    let Some(entry) = pod::find(spec, container) else { return BEST_EFFORT_SCORE - 1 };
    let share = unallocated_memory_share(spec);
    let score = |request: i64| {
        let wanted = i128::from(request) + i128::from(share);
        1000 - 1000 * wanted / i128::from(capacity.max(1))
    };
    let mut result = score(memory_request(entry.container));
    if entry.role == Role::Sidecar {
        let smallest = spec.containers.iter().map(memory_request).min().unwrap_or_default();
        result = result.min(score(smallest));
    }
    let bounds = (i128::from(1000 + GUARANTEED_SCORE), i128::from(BEST_EFFORT_SCORE - 1));
    i32::try_from(result.clamp(bounds.0, bounds.1)).unwrap_or(BEST_EFFORT_SCORE - 1)
}

fn memory_request(container: &Container) -> i64 {
    container_requests(container).get("memory").map_or(0, Quantity::ceil)
}

/// Returns the part of the pod's own memory request that no container asked for, for each container (S8-12).
fn unallocated_memory_share(spec: &PodSpec) -> i64 {
    let Some(own) = pod_level_amounts(spec, Side::Requests).get("memory").copied() else { return 0 };
    let asked = aggregate(spec, Side::Requests).get("memory").copied().unwrap_or_default();
    let count = spec.containers.len() + pod::init_containers(spec).len();
    own.minus(asked).ceil() / i64::try_from(count.max(1)).unwrap_or(i64::MAX)
}

fn add_compute(total: &mut Amounts, own: &Amounts) -> usize {
    let mut found = 0;
    for name in COMPUTE {
        if let Some(amount) = own.get(name).filter(|a| **a > Quantity::ZERO) {
            add(total, name, *amount);
            found += 1;
        }
    }
    found
}

fn with_pod_level(spec: &PodSpec, side: Side) -> Amounts {
    let mut total = aggregate(spec, side);
    total.extend(pod_level_amounts(spec, side));
    total
}

/// Tells whether the pod as a whole says anything about its resources.
pub fn has_pod_level(spec: &PodSpec) -> bool {
    [Side::Requests, Side::Limits].into_iter().any(|side| !pod_level_amounts(spec, side).is_empty())
}

/// Returns what the pod as a whole may use at most, as far as it says so.
pub fn pod_level_limits(spec: &PodSpec) -> Amounts {
    pod_level_amounts(spec, Side::Limits)
}

fn pod_level_amounts(spec: &PodSpec, side: Side) -> Amounts {
    let resources = spec.resources.as_ref();
    let list = resources.and_then(|r| if side == Side::Requests { r.requests.as_ref() } else { r.limits.as_ref() });
    let mut amounts = parse(list);
    amounts.retain(|name, _| COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-"));
    amounts
}

/// Adds up main containers and sidecars and compares with what each init container needs in its time (S8-02).
fn aggregate(spec: &PodSpec, side: Side) -> Amounts {
    let mut total = Amounts::new();
    for container in &spec.containers {
        add_all(&mut total, &of_container(container, side));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in pod::init_containers(spec) {
        let own = of_container(container, side);
        if pod::is_sidecar(container) {
            add_all(&mut total, &own);
            add_all(&mut sidecars, &own);
            raise_all(&mut peak, &sidecars);
        } else {
            let mut at_once = own;
            add_all(&mut at_once, &sidecars);
            raise_all(&mut peak, &at_once);
        }
    }
    raise_all(&mut total, &peak);
    total
}

fn of_container(container: &Container, side: Side) -> Amounts {
    let resources = container.resources.as_ref();
    parse(resources.and_then(|r| if side == Side::Requests { r.requests.as_ref() } else { r.limits.as_ref() }))
}

/// Reads a list of amounts; what is no quantity was refused by validation and counts as nothing.
pub fn parse(list: Option<&BTreeMap<String, ApiQuantity>>) -> Amounts {
    list.into_iter().flatten().filter_map(|(name, q)| Some((name.clone(), Quantity::try_from(q).ok()?))).collect()
}

fn add(total: &mut Amounts, name: &str, amount: Quantity) {
    match total.get_mut(name) {
        Some(sum) => *sum = *sum + amount,
        None => {
            total.insert(name.to_owned(), amount);
        }
    }
}

fn add_all(total: &mut Amounts, own: &Amounts) {
    own.iter().for_each(|(name, amount)| add(total, name, *amount));
}

fn raise_all(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let known = total.entry(name.clone()).or_insert(*amount);
        *known = (*known).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(name: &str, requests: Value, limits: Value) -> Value {
        json!({"name": name, "resources": {"requests": requests, "limits": limits}})
    }

    fn sidecar(name: &str, requests: Value, limits: Value) -> Value {
        let mut c = container(name, requests, limits);
        c["restartPolicy"] = "Always".into();
        c
    }

    fn cpu(name: &str, n: u32) -> Value {
        container(name, json!({"cpu": n.to_string()}), json!({"cpu": n.to_string()}))
    }

    fn cpu_sidecar(name: &str, n: u32) -> Value {
        sidecar(name, json!({"cpu": n.to_string()}), json!({"cpu": n.to_string()}))
    }

    fn spec(value: Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn s8_06_a_pod_that_is_being_resized_takes_the_most_of_asked_granted_and_had() {
        let told = |name: &str, granted: &str, has: &str| {
            json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                "allocatedResources": {"cpu": granted}, "resources": {"requests": {"cpu": has}}})
        };
        let mut pod: Pod = serde_json::from_value(json!({
            "spec": {"initContainers": [cpu("init", 1), cpu_sidecar("proxy", 2)], "containers": [cpu("app", 5)]},
            "status": {"initContainerStatuses": [told("init", "9", "9"), told("proxy", "1", "3")],
                "containerStatuses": [told("app", "4", "1")]}
        }))
        .unwrap();
        assert_eq!(requests_in_force(&pod)["cpu"].to_string(), "8");
        let refused = json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        pod.status.as_mut().unwrap().conditions = serde_json::from_value(refused).unwrap();
        assert_eq!(requests_in_force(&pod)["cpu"].to_string(), "7");
    }

    fn both(inits: &[Value], mains: &[Value]) -> (String, String) {
        let spec = spec(json!({"initContainers": inits, "containers": mains}));
        (pod_requests(&spec)["cpu"].to_string(), pod_limits(&spec)["cpu"].to_string())
    }

    #[test]
    fn s8_01_effective_request_is_the_larger_of_mains_and_each_init() {
        let cases: [(&[Value], &[Value], &str); 4] = [
            (&[], &[cpu("a", 1), cpu("b", 2)], "3"),
            (&[cpu("i", 5)], &[cpu("a", 1), cpu("b", 2)], "5"),
            (&[cpu("i", 2), cpu("j", 1)], &[cpu("a", 1), cpu("b", 2)], "3"),
            (&[cpu("i", 2)], &[json!({"name": "a"})], "2"),
        ];
        for (inits, mains, expected) in cases {
            assert_eq!(both(inits, mains), (expected.to_owned(), expected.to_owned()));
        }
    }

    #[test]
    fn s8_02_sidecars_add_up_along_the_init_sequence() {
        let inits = [cpu("i", 5), cpu_sidecar("s", 2), cpu("j", 4), cpu_sidecar("t", 1)];
        assert_eq!(both(&inits, &[cpu("a", 3)]).0, "6");
    }

    #[test]
    fn s8_03_order_decides_who_carries_sidecar_cost() {
        assert_eq!(both(&[cpu("i", 5), cpu_sidecar("s", 2)], &[cpu("a", 1)]).0, "5");
        assert_eq!(both(&[cpu_sidecar("s", 2), cpu("i", 5)], &[cpu("a", 1)]).0, "7");
    }

    #[test]
    fn s8_04_overhead_is_requested_and_raises_only_existing_limits() {
        let spec = spec(json!({"overhead": {"cpu": "1", "memory": "1Gi"}, "containers": [cpu("a", 1)]}));
        assert_eq!(pod_requests(&spec)["memory"].to_string(), "1Gi");
        assert_eq!(pod_limits(&spec)["cpu"].to_string(), "2");
        assert!(!pod_limits(&spec).contains_key("memory"));
    }

    #[test]
    fn s8_05_pod_level_amounts_replace_the_aggregate() {
        let spec = spec(json!({"resources": {"requests": {"cpu": "9"}}, "containers": [cpu("a", 1)]}));
        assert_eq!((pod_requests(&spec)["cpu"].ceil(), pod_limits(&spec)["cpu"].ceil()), (9, 1));
    }

    #[test]
    fn s8_09_qos_looks_at_every_init_entry() {
        let full = || json!({"cpu": "1", "memory": "1Gi"});
        let guaranteed = || container("a", full(), full());
        let cases = [
            (json!({"containers": [guaranteed()]}), QosClass::Guaranteed),
            (json!({"containers": [container("a", json!({}), full())]}), QosClass::Burstable),
            (json!({"containers": [{"name": "a"}]}), QosClass::BestEffort),
            (json!({"containers": [container("a", json!({"cpu": "0"}), json!({}))]}), QosClass::BestEffort),
            (json!({"containers": [container("a", json!({"disk": "1"}), json!({}))]}), QosClass::BestEffort),
            (
                json!({"containers": [guaranteed()], "initContainers": [{"name": "s", "restartPolicy": "Always"}]}),
                QosClass::Burstable,
            ),
            (json!({"containers": [guaranteed()], "initContainers": [{"name": "i"}]}), QosClass::Burstable),
            (json!({"containers": [{"name": "a"}], "initContainers": [cpu("i", 1)]}), QosClass::Burstable),
            (
                json!({"containers": [{"name": "a"}], "resources": {"limits": full(), "requests": full()}}),
                QosClass::Guaranteed,
            ),
            (json!({"containers": [guaranteed()], "resources": {"requests": {"cpu": "1"}}}), QosClass::Burstable),
        ];
        for (value, expected) in cases {
            assert_eq!(qos_class(&spec(value.clone())), expected, "{value}");
        }
    }

    const GIB: i64 = 1 << 30;

    fn memory(name: &str, amount: &str) -> Value {
        container(name, json!({"memory": amount}), json!({}))
    }

    #[test]
    fn s8_10_oom_score_follows_class_and_request() {
        let full = || json!({"cpu": "1", "memory": "1Gi"});
        let guaranteed = spec(json!({"containers": [container("a", full(), full())]}));
        assert_eq!(oom_score_adj(&guaranteed, "a", 8 * GIB), -997);
        let burstable = spec(json!({"containers": [memory("a", "2Gi"), memory("b", "8Gi"), {"name": "c"}]}));
        let scores = ["a", "b", "c"].map(|name| oom_score_adj(&burstable, name, 8 * GIB));
        assert_eq!(scores, [750, 3, 999]);
        let critical = spec(json!({"priorityClassName": "system-node-critical", "containers": [{"name": "a"}]}));
        assert_eq!(oom_score_adj(&critical, "a", GIB), -997);
    }

    #[test]
    fn s8_11_a_sidecar_is_protected_like_the_smallest_main() {
        let mut s = memory("s", "10Mi");
        s["restartPolicy"] = "Always".into();
        let spec = spec(json!({"initContainers": [s], "containers": [memory("a", "100Mi"), memory("b", "200Mi")]}));
        assert_eq!(oom_score_adj(&spec, "s", GIB), oom_score_adj(&spec, "a", GIB));
    }

    #[test]
    fn s8_12_unallocated_pod_memory_is_shared_equally() {
        let spec = spec(
            json!({"resources": {"requests": {"memory": "512Mi"}}, "containers": [memory("a", "256Mi"), {"name": "b"}]}),
        );
        assert_eq!(oom_score_adj(&spec, "a", GIB), 1000 - 375);
        assert_eq!(oom_score_adj(&spec, "b", GIB), 1000 - 125);
    }
}
