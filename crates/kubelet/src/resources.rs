//! Requests and limits as kernel settings (pkg/kubelet/cm/helpers_linux.go, contract S8).

use apimachinery::{
    quantity::Quantity,
    resources::{self as rules, Amounts, QosClass},
};
use cri::Resources;
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

/// Smallest CPU weight (cgroup v1 `cpu.shares`).
const MIN_SHARES: u64 = 2;
/// Largest CPU weight.
const MAX_SHARES: u64 = 262_144;
/// CFS period in microseconds.
const QUOTA_PERIOD: u64 = 100_000;
/// Smallest CFS quota that the kernel takes.
const MIN_QUOTA: i64 = 1000;

/// Reads a quantity; validation lets no malformed one through, which counts as nothing.
pub(crate) fn quantity(text: &ApiQuantity) -> Quantity {
    text.0.parse().unwrap_or(Quantity::ZERO)
}

/// Returns the kernel settings of one container. What it does not limit itself, the limits of the pod as a whole do
/// (kuberuntime_container_linux.go `getCPULimit`, `getMemoryLimit`).
pub(crate) fn container_resources(pod: &Pod, container: &Container, memory_capacity: i64) -> Resources {
    let mut limits = rules::container_limits(container);
    limits.retain(|_, limit| !limit.is_zero());
    for (name, limit) in pod.spec.as_ref().map(rules::pod_level_limits).unwrap_or_default() {
        limits.entry(name).or_insert(limit);
    }
    let limit_cpu = amount(&limits, "cpu").map(|q| q.millis());
    let request_cpu = amount(&rules::container_requests(container), "cpu").map(|q| q.millis());
    let quota = limit_cpu.and_then(quota);
    let score = pod.spec.as_ref().map(|spec| rules::oom_score_adj(spec, &container.name, memory_capacity));
    Resources {
        cpu_shares: Some(shares(request_cpu.or(limit_cpu).unwrap_or(0))),
        cpu_quota: quota,
        cpu_period: quota.map(|_| QUOTA_PERIOD),
        memory_limit: amount(&limits, "memory").and_then(bytes),
        pids_limit: None,
        oom_score_adj: score,
        cpuset_cpus: None,
    }
}

/// Returns the kernel settings of the pod's cgroup. A limit applies only if every container has one, or the pod as
/// a whole.
pub(crate) fn pod_resources(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    if rules::qos_class(spec) == QosClass::BestEffort {
        return Resources { cpu_shares: Some(MIN_SHARES), ..Resources::default() };
    }
    let limits = rules::pod_limits(spec);
    let limit = |name: &str| amount(&limits, name).filter(|_| is_limited(spec, name));
    let quota = limit("cpu").and_then(|q| quota(q.millis()));
    let request_cpu = amount(&rules::pod_requests(spec), "cpu").map_or(0, |q| q.millis());
    Resources {
        cpu_shares: Some(shares(request_cpu)),
        cpu_quota: quota,
        cpu_period: quota.map(|_| QUOTA_PERIOD),
        memory_limit: limit("memory").and_then(bytes),
        ..Resources::default()
    }
}

/// Tells whether the pod as a whole, or each of its containers, has a limit of a resource.
fn is_limited(spec: &PodSpec, name: &str) -> bool {
    let whole = spec.resources.as_ref().and_then(|r| r.limits.as_ref()).is_some_and(|l| l.contains_key(name));
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    whole || all.all(|c| amount(&rules::container_limits(c), name).is_some())
}

/// Returns a present, non-zero amount.
fn amount(amounts: &Amounts, name: &str) -> Option<Quantity> {
    amounts.get(name).copied().filter(|q| !q.is_zero())
}

fn bytes(quantity: Quantity) -> Option<u64> {
    u64::try_from(quantity.ceil()).ok().filter(|v| *v > 0)
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
    fn s8_05_a_container_without_limits_has_those_of_the_pod_as_a_whole() {
        let own = requests_of("own", json!({}), json!({"cpu": "1", "memory": "0"}), false);
        let whole = json!({"limits": {"cpu": "2", "memory": "1Gi"}});
        let p = pod(json!({"resources": whole, "containers": [own, {"name": "free", "image": "i"}]}));
        let spec = p.spec.clone().expect("spec");
        let got = spec.containers.iter().map(|c| container_resources(&p, c, 1 << 33));
        let got: Vec<_> = got.map(|r| (r.cpu_shares, r.cpu_quota, r.memory_limit)).collect();
        let gib = Some(1 << 30);
        assert_eq!(got, [(Some(1024), Some(100_000), gib), (Some(2048), Some(200_000), gib)]);
        assert_eq!((pod_resources(&p).cpu_quota, pod_resources(&p).memory_limit), (Some(200_000), gib));
    }

    #[test]
    fn s8_02_s8_04_the_pods_cgroup_has_what_all_containers_need_at_most_at_once() {
        let plain =
            |name: &str, cpu: &str| requests_of(name, json!({"cpu": cpu}), json!({"cpu": cpu, "memory": "1Gi"}), false);
        let side = requests_of("side", json!({"cpu": "2"}), json!({"cpu": "2", "memory": "1Gi"}), true);
        let mut spec =
            json!({"initContainers": [plain("i", "5"), side, plain("j", "4")], "containers": [plain("a", "3")]});
        let got = pod_resources(&pod(spec.clone()));
        assert_eq!(
            (got.cpu_shares, got.cpu_quota),
            (Some(6 * 1024), Some(600_000)),
            "the sidecar and the init container after it"
        );
        assert_eq!(got.memory_limit, Some(2 << 30));
        spec["overhead"] = json!({"cpu": "1"});
        assert_eq!(pod_resources(&pod(spec)).cpu_quota, Some(700_000));
        let idle = pod_resources(&pod(json!({"containers": [{"name": "a", "image": "i"}]})));
        assert_eq!((idle.cpu_shares, idle.cpu_quota, idle.memory_limit), (Some(2), None, None));
    }

    #[test]
    fn s8_14_under_the_default_policies_nobody_holds_a_processor() {
        let all = json!({"cpu": "1", "memory": "1Gi"});
        let spec = json!({"initContainers": [requests_of("side", all.clone(), all.clone(), true)],
            "containers": [requests_of("main", all.clone(), all, false)]});
        let p = pod(spec);
        let spec = p.spec.clone().expect("spec");
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            assert_eq!(container_resources(&p, container, 1 << 33).cpuset_cpus, None, "{}", container.name);
        }
        assert_eq!(pod_resources(&p).cpuset_cpus, None);
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
