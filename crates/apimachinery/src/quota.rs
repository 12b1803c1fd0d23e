//! What objects count for in resource quotas: the charge at admission and the recount must agree.
//!
//! Sources: `pkg/quota/v1/evaluator/core/{pods,services}.go`, apiserver `quota/v1/generic`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceQuotaSpec, ScopedResourceSelectorRequirement, Service};

use crate::{
    pod,
    quantity::Quantity,
    resources::{self, Amounts, QosClass},
    scheme::ResourceType,
};

/// Core kinds that are also counted under their bare name.
const NAMED: [&str; 6] =
    ["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// Returns what any object of the kind counts for: `count/jobs.batch`, and the older names of some core kinds.
///
/// Pods are not complete with that; see [`of_pod`].
///
/// ```
/// use apimachinery::{quota, scheme};
/// let names = |kind: &str| quota::of_kind(scheme::by_name(kind).unwrap()).into_keys().collect::<Vec<_>>();
/// assert_eq!(names("job"), ["count/jobs.batch"]);
/// assert_eq!(names("secret"), ["count/secrets", "secrets"]);
/// ```
pub fn of_kind(kind: &ResourceType) -> Amounts {
    let named = kind.group.is_empty() && NAMED.contains(&kind.plural);
    let names = [Some(format!("count/{}", kind.qualified())), named.then(|| kind.plural.to_owned())];
    names.into_iter().flatten().map(|name| (name, Quantity::from_units(1))).collect()
}

/// Returns what a pod counts for. One that has ended, or should be gone, only counts as an object.
///
/// ```
/// use apimachinery::quota;
/// let pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
///     {"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}},
/// ]}})).unwrap();
/// let names: Vec<_> = quota::of_pod(&pod, jiff::Timestamp::UNIX_EPOCH).into_keys().collect();
/// assert_eq!(names, ["count/pods", "cpu", "limits.memory", "pods", "requests.cpu"]);
/// ```
pub fn of_pod(pod: &Pod, now: Timestamp) -> Amounts {
    let one = Quantity::from_units(1);
    let mut usage = Amounts::from([("count/pods".to_owned(), one)]);
    if pod::is_terminal(pod) || is_overdue(pod, now) {
        return usage;
    }
    usage.insert("pods".to_owned(), one);
    let Some(spec) = &pod.spec else { return usage };
    for (name, amount) in resources::pod_requests(spec) {
        if !name.contains('/') {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in resources::pod_limits(spec) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
    usage
}

/// Tells whether the pod's time to stop is over, so that only its node has not said yet that it is gone.
fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    let (Some(deleted), Some(grace)) = (&pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds)
    else {
        return false;
    };
    deleted.0.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now > end)
}

/// Returns what a service counts for.
///
/// ```
/// use apimachinery::quota;
/// let service = serde_json::json!({"spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}});
/// let usage = quota::of_service(&serde_json::from_value(service).unwrap());
/// assert_eq!((usage["services"].ceil(), usage["services.nodeports"].ceil()), (1, 2));
/// ```
pub fn of_service(service: &Service) -> Amounts {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let count = |number: usize| Quantity::from_units(i64::try_from(number).unwrap_or(i64::MAX));
    let (balancers, node_ports) = match spec.and_then(|spec| spec.type_.as_deref()) {
        Some("NodePort") => (0, ports.len()),
        Some("LoadBalancer") if spec.and_then(|s| s.allocate_load_balancer_node_ports) == Some(false) => {
            (1, ports.iter().filter(|port| port.node_port.is_some_and(|number| number != 0)).count())
        }
        Some("LoadBalancer") => (1, ports.len()),
        Some(_) | None => (0, 0),
    };
    let numbers = [
        ("count/services", 1),
        ("services", 1),
        ("services.loadbalancers", balancers),
        ("services.nodeports", node_ports),
    ];
    numbers.map(|(name, number)| (name.to_owned(), count(number))).into()
}

/// Tells whether the quota is only about some pods.
pub fn is_scoped(quota: &ResourceQuotaSpec) -> bool {
    let selector = quota.scope_selector.as_ref().and_then(|selector| selector.match_expressions.as_ref());
    [quota.scopes.as_ref().map(Vec::len), selector.map(Vec::len)].into_iter().flatten().any(|length| length > 0)
}

/// Tells whether the quota is about the pod. A quota with scopes is about nothing but pods.
///
/// ```
/// use apimachinery::quota;
/// let quota = |scope: &str| serde_json::from_value(serde_json::json!({"scopes": [scope]})).unwrap();
/// let pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [{"name": "a"}]}})).unwrap();
/// assert!(quota::selects(&quota("BestEffort"), &pod));
/// assert!(!quota::selects(&quota("Terminating"), &pod));
/// ```
pub fn selects(quota: &ResourceQuotaSpec, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let expressions = quota.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    quota.scopes.iter().flatten().all(|scope| has_scope(spec, scope))
        && expressions.into_iter().all(|e| fulfils(spec, e))
}

fn has_scope(spec: &PodSpec, scope: &str) -> bool {
    match scope {
        "Terminating" => spec.active_deadline_seconds.is_some(),
        "NotTerminating" => spec.active_deadline_seconds.is_none(),
        "BestEffort" => resources::qos_class(spec) == QosClass::BestEffort,
        "NotBestEffort" => resources::qos_class(spec) != QosClass::BestEffort,
        "PriorityClass" => priority_class(spec).is_some(),
        "CrossNamespacePodAffinity" => crosses_namespaces(spec),
        _ => false,
    }
}

fn fulfils(spec: &PodSpec, expression: &ScopedResourceSelectorRequirement) -> bool {
    let values = expression.values.as_deref().unwrap_or_default();
    let class = priority_class(spec);
    let listed = class.is_some_and(|class| values.iter().any(|value| value == class));
    match (expression.scope_name.as_str(), expression.operator.as_str()) {
        ("PriorityClass", "In") => listed,
        ("PriorityClass", "NotIn") => !listed,
        ("PriorityClass", "DoesNotExist") => class.is_none(),
        (scope, _) => has_scope(spec, scope),
    }
}

fn priority_class(spec: &PodSpec) -> Option<&str> {
    spec.priority_class_name.as_deref().filter(|name| !name.is_empty())
}

/// Tells whether an affinity or anti-affinity names namespaces.
fn crosses_namespaces(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let near = affinity.pod_affinity.iter().flat_map(|a| {
        let preferred = a.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        let required = a.required_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|term| &term.pod_affinity_term))
    });
    let far = affinity.pod_anti_affinity.iter().flat_map(|a| {
        let preferred = a.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        let required = a.required_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|term| &term.pod_affinity_term))
    });
    near.chain(far).any(|term| {
        term.namespace_selector.is_some() || term.namespaces.as_ref().is_some_and(|names| !names.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(more: Value) -> Pod {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "1", "example.com/x": "2"}}}]}});
        for (part, fields) in more.as_object().unwrap() {
            for (field, value) in fields.as_object().unwrap() {
                pod[part][field] = value.clone();
            }
        }
        serde_json::from_value(pod).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn names(usage: Amounts) -> String {
        usage.into_keys().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn s8_16_a_pod_counts_with_its_sidecars() {
        let sidecar = json!([{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}]);
        let usage = of_pod(&pod(json!({"spec": {"initContainers": sidecar}})), at(0));
        assert_eq!((usage["cpu"].ceil(), usage["requests.cpu"].ceil()), (3, 3));
        assert_eq!(usage["requests.example.com/x"].ceil(), 2);
        assert!(!usage.contains_key("example.com/x"));
    }

    #[test]
    fn a_pod_that_has_ended_or_should_be_gone_only_counts_as_an_object() {
        assert_eq!(names(of_pod(&pod(json!({"status": {"phase": "Failed"}})), at(0))), "count/pods");
        let stopping = pod(json!({"metadata": {"deletionTimestamp": at(40), "deletionGracePeriodSeconds": 30}}));
        assert!(of_pod(&stopping, at(70)).contains_key("pods"));
        assert_eq!(names(of_pod(&stopping, at(71))), "count/pods");
    }

    #[test]
    fn scopes_and_selectors_must_all_match() {
        let selects = |quota: Value, pod_fields: Value| {
            selects(&serde_json::from_value(quota).unwrap(), &pod(json!({"spec": pod_fields})))
        };
        let class = |operator: &str, values: Value| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values},
            ]}})
        };
        assert!(selects(json!({}), json!({})));
        assert!(selects(json!({"scopes": ["Terminating", "NotBestEffort"]}), json!({"activeDeadlineSeconds": 5})));
        assert!(!selects(json!({"scopes": ["Terminating", "BestEffort"]}), json!({"activeDeadlineSeconds": 5})));
        assert!(selects(class("In", json!(["high"])), json!({"priorityClassName": "high"})));
        assert!(!selects(class("In", json!(["high"])), json!({"priorityClassName": "low"})));
        assert!(selects(class("NotIn", json!(["high"])), json!({})));
        assert!(selects(class("Exists", json!([])), json!({"priorityClassName": "low"})));
        assert!(selects(class("DoesNotExist", json!([])), json!({})));
        let term = json!({"namespaces": ["other"], "topologyKey": "zone"});
        let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        assert!(selects(json!({"scopes": ["CrossNamespacePodAffinity"]}), json!({"affinity": affinity})));
    }
}
