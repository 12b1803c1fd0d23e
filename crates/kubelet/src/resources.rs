//! Requests and limits as kernel settings (contract S8; pkg/kubelet/cm/helpers_linux.go, qos/policy.go).

use std::collections::BTreeMap;

use cri::Resources;
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::quantity;

/// Smallest CPU weight (cgroup v1 `cpu.shares`).
const MIN_SHARES: u64 = 2;
/// Largest CPU weight.
const MAX_SHARES: u64 = 262_144;
/// CFS period in microseconds.
const QUOTA_PERIOD: u64 = 100_000;
/// Smallest CFS quota that the kernel takes.
const MIN_QUOTA: i64 = 1000;

/// Quality-of-service class of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// Computes the class from all containers, init containers included (contract S8-09).
pub(crate) fn qos_class(pod: &Pod) -> QosClass {
    let Some(spec) = &pod.spec else { return QosClass::BestEffort };
    let sets: Vec<Option<&ResourceRequirements>> = match &spec.resources {
        Some(own) if own.limits.is_some() || own.requests.is_some() => vec![Some(own)],
        _ => all_containers(spec).map(|c| c.resources.as_ref()).collect(),
    };
    let value = |set: Option<&ResourceRequirements>, limits: bool, name: &str| {
        let map = set.and_then(|r| if limits { r.limits.as_ref() } else { r.requests.as_ref() });
        map.and_then(|m| m.get(name)).map_or(0, quantity::milli)
    };
    let both = ["cpu", "memory"];
    let any = sets.iter().any(|s| both.iter().any(|n| value(*s, false, n) > 0 || value(*s, true, n) > 0));
    let guaranteed = sets.iter().all(|s| {
        both.iter().all(|n| {
            let (limit, request) = (value(*s, true, n), value(*s, false, n));
            limit > 0 && (request == limit || request == 0)
        })
    });
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// Returns the kernel settings of one container.
pub(crate) fn container_resources(pod: &Pod, container: &Container, memory_capacity: i64) -> Resources {
    let set = container.resources.as_ref();
    let limit_cpu = amount(limits(set), "cpu", quantity::milli);
    let request_cpu = amount(requests(set), "cpu", quantity::milli).or(limit_cpu).unwrap_or(0);
    Resources {
        cpu_shares: Some(shares(request_cpu)),
        cpu_quota: limit_cpu.and_then(quota),
        cpu_period: limit_cpu.and_then(quota).map(|_| QUOTA_PERIOD),
        memory_limit: amount(limits(set), "memory", quantity::units).and_then(positive),
        pids_limit: None,
        oom_score_adj: Some(oom_score_adj(pod, container, memory_capacity)),
        cpuset_cpus: None,
    }
}

/// Returns the kernel settings of the pod's cgroup. A limit applies only if every container has one.
pub(crate) fn pod_resources(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    if qos_class(pod) == QosClass::BestEffort {
        return Resources { cpu_shares: Some(MIN_SHARES), ..Resources::default() };
    }
    let own = spec.resources.as_ref();
    let declared = |name: &str| {
        amount(limits(own), name, quantity::units).is_some()
            || all_containers(spec).all(|c| amount(limits(c.resources.as_ref()), name, quantity::units).is_some())
    };
    let cpu_limit = declared("cpu").then(|| pod_limit(spec, "cpu", quantity::milli)).and_then(quota);
    Resources {
        cpu_shares: Some(shares(pod_request(spec, "cpu", quantity::milli))),
        cpu_quota: cpu_limit,
        cpu_period: cpu_limit.map(|_| QUOTA_PERIOD),
        memory_limit: declared("memory").then(|| pod_limit(spec, "memory", quantity::units)).and_then(positive),
        ..Resources::default()
    }
}

/// Returns what the pod requests of a resource (contract S8-02, S8-04, S8-05).
pub(crate) fn pod_request(spec: &PodSpec, name: &str, measure: fn(&Quantity) -> i64) -> i64 {
    let overhead = spec.overhead.as_ref().and_then(|m| m.get(name)).map_or(0, measure);
    let own = amount(requests(spec.resources.as_ref()), name, measure);
    own.unwrap_or_else(|| effective(spec, |c| amount(requests(c.resources.as_ref()), name, measure).unwrap_or(0)))
        .saturating_add(overhead)
}

fn pod_limit(spec: &PodSpec, name: &str, measure: fn(&Quantity) -> i64) -> i64 {
    let own = amount(limits(spec.resources.as_ref()), name, measure);
    let sum =
        own.unwrap_or_else(|| effective(spec, |c| amount(limits(c.resources.as_ref()), name, measure).unwrap_or(0)));
    let overhead = spec.overhead.as_ref().and_then(|m| m.get(name)).map_or(0, measure);
    if sum > 0 { sum.saturating_add(overhead) } else { sum }
}

/// Walks the containers as they run beside and after one another (contract S8-02).
fn effective(spec: &PodSpec, of: impl Fn(&Container) -> i64) -> i64 {
    let (mut sidecars, mut peak) = (0_i64, 0_i64);
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        if is_sidecar(container) {
            sidecars = sidecars.saturating_add(own);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars.saturating_add(own));
        }
    }
    let mains = spec.containers.iter().map(of).fold(0_i64, i64::saturating_add);
    peak.max(mains.saturating_add(sidecars))
}

/// Returns how readily the kernel kills a container for want of memory (contract S8-10, S8-11, S8-12).
pub(crate) fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i32 {
    const GUARANTEED: i32 = -997;
    const BEST_EFFORT: i32 = 1000;
    let Some(spec) = &pod.spec else { return BEST_EFFORT };
    if matches!(spec.priority, Some(p) if p >= SYSTEM_CRITICAL_PRIORITY) {
        return GUARANTEED;
    }
    match qos_class(pod) {
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => burstable_score(spec, container, memory_capacity),
    }
}

/// Priority from which on a pod is critical to its node (scheduling.SystemCriticalPriority).
const SYSTEM_CRITICAL_PRIORITY: i32 = 2_000_000_000;

fn burstable_score(spec: &PodSpec, container: &Container, memory_capacity: i64) -> i32 {
    let request = |c: &Container| amount(requests(c.resources.as_ref()), "memory", quantity::units).unwrap_or(0);
    let count = i64::try_from(all_containers(spec).count()).unwrap_or(i64::MAX).max(1);
    let own = amount(requests(spec.resources.as_ref()), "memory", quantity::units);
    let unallocated = own.map_or(0, |own| own.saturating_sub(effective(spec, request)).max(0) / count);
    let score = |bytes: i64| {
        1000 - 1000_i128 * i128::from(bytes.saturating_add(unallocated)) / i128::from(memory_capacity.max(1))
    };
    let mut adjusted = score(request(container));
    if is_sidecar(container) {
        let smallest_main = spec.containers.iter().map(request).min().unwrap_or(0);
        adjusted = adjusted.min(score(smallest_main));
    }
    i32::try_from(adjusted.clamp(3, 999)).unwrap_or(999)
}

/// Tells whether a container of `initContainers` is a sidecar.
fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn limits(set: Option<&ResourceRequirements>) -> Option<&BTreeMap<String, Quantity>> {
    set.and_then(|r| r.limits.as_ref())
}

fn requests(set: Option<&ResourceRequirements>) -> Option<&BTreeMap<String, Quantity>> {
    set.and_then(|r| r.requests.as_ref())
}

/// Returns a present, non-zero amount.
fn amount(map: Option<&BTreeMap<String, Quantity>>, name: &str, measure: fn(&Quantity) -> i64) -> Option<i64> {
    map.and_then(|m| m.get(name)).map(measure).filter(|v| *v > 0)
}

fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|v| *v > 0)
}

fn shares(milli: i64) -> u64 {
    let milli = u64::try_from(milli).unwrap_or(0);
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

fn quota(milli: i64) -> Option<i64> {
    let period = i64::try_from(QUOTA_PERIOD).ok()?;
    (milli > 0).then(|| (milli.saturating_mul(period) / 1000).max(MIN_QUOTA))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod")
    }

    fn requests_of(name: &str, request: Value, limit: Value, sidecar: bool) -> Value {
        let mut c = json!({"name": name, "image": "i", "resources": {"requests": request, "limits": limit}});
        if sidecar {
            c["restartPolicy"] = json!("Always");
        }
        c
    }

    #[test]
    fn s8_02_s8_03_sidecars_count_beside_later_init_containers_and_mains() {
        let cpu = |n: &str, v: &str, s: bool| requests_of(n, json!({"cpu": v}), json!({}), s);
        let spec = pod(json!({
            "initContainers": [cpu("i1", "5", false), cpu("s1", "2", true), cpu("i2", "4", false), cpu("s2", "1", true)],
            "containers": [cpu("m", "3", false)],
        }));
        assert_eq!(pod_request(spec.spec.as_ref().expect("spec"), "cpu", quantity::units), 6);
        let swapped = pod(json!({
            "initContainers": [cpu("s1", "2", true), cpu("i1", "5", false)],
            "containers": [cpu("m", "3", false)],
        }));
        assert_eq!(pod_request(swapped.spec.as_ref().expect("spec"), "cpu", quantity::units), 7);
    }

    #[test]
    fn s8_09_quality_of_service_looks_at_every_container() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let guaranteed = requests_of("m", full.clone(), full.clone(), false);
        let plain = json!({"name": "x", "image": "i", "restartPolicy": "Always"});
        let cases = [
            (json!({"containers": [guaranteed]}), QosClass::Guaranteed),
            (json!({"containers": [guaranteed], "initContainers": [plain]}), QosClass::Burstable),
            (json!({"containers": [plain]}), QosClass::BestEffort),
            (json!({"containers": [requests_of("m", json!({"cpu": "1"}), json!({}), false)]}), QosClass::Burstable),
        ];
        for (spec, want) in cases {
            assert_eq!(qos_class(&pod(spec.clone())), want, "{spec}");
        }
    }

    #[test]
    fn s8_10_s8_11_out_of_memory_scores() {
        let memory = |n: &str, v: &str, s: bool| requests_of(n, json!({"memory": v}), json!({}), s);
        let p = pod(json!({
            "initContainers": [memory("side", "10Mi", true)],
            "containers": [memory("a", "100Mi", false), memory("b", "200Mi", false)],
        }));
        let spec = p.spec.clone().expect("spec");
        let capacity = 1000 * 1024 * 1024;
        assert_eq!(oom_score_adj(&p, &spec.containers[0], capacity), 900);
        assert_eq!(oom_score_adj(&p, &spec.containers[1], capacity), 800);
        assert_eq!(oom_score_adj(&p, &spec.init_containers.expect("init")[0], capacity), 900, "as the smallest main");
        let huge = pod(json!({"containers": [memory("a", "999Gi", false)]}));
        assert_eq!(oom_score_adj(&huge, &huge.spec.as_ref().expect("spec").containers[0], capacity), 3);
        let tiny = pod(json!({"containers": [memory("a", "1", false)]}));
        assert_eq!(oom_score_adj(&tiny, &tiny.spec.as_ref().expect("spec").containers[0], capacity), 999);
        let none = pod(json!({"containers": [{"name": "a", "image": "i"}]}));
        assert_eq!(oom_score_adj(&none, &none.spec.as_ref().expect("spec").containers[0], capacity), 1000);
        let critical = pod(json!({"priority": 2_000_001_000, "containers": [{"name": "a", "image": "i"}]}));
        assert_eq!(oom_score_adj(&critical, &critical.spec.as_ref().expect("spec").containers[0], capacity), -997);
    }

    #[test]
    fn limits_become_quota_and_shares() {
        let c = requests_of("m", json!({"cpu": "250m"}), json!({"cpu": "500m", "memory": "64Mi"}), false);
        let p = pod(json!({"containers": [c]}));
        let spec = p.spec.clone().expect("spec");
        let got = container_resources(&p, &spec.containers[0], 1 << 30);
        assert_eq!((got.cpu_shares, got.cpu_quota, got.cpu_period), (Some(256), Some(50_000), Some(100_000)));
        assert_eq!(got.memory_limit, Some(64 * 1024 * 1024));
        let whole = pod_resources(&p);
        assert_eq!((whole.cpu_quota, whole.memory_limit), (Some(50_000), Some(64 * 1024 * 1024)));
        let unlimited = pod(json!({"containers": [spec.containers[0], {"name": "free", "image": "i"}]}));
        assert_eq!((pod_resources(&unlimited).cpu_quota, pod_resources(&unlimited).memory_limit), (None, None));
    }
}
