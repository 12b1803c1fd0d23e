//! What a LimitRange adds to pods and refuses of them.
//!
//! Source of rules and texts: `plugin/pkg/admission/limitranger`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, LimitRange, LimitRangeItem, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use crate::{
    pod,
    quantity::Quantity,
    resources::{self, Amounts},
};

/// Annotation that says what was added.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a pod the requests and limits that they lack, and says so in an annotation.
///
/// ```
/// use apimachinery::limits;
/// use serde_json::{from_value, json};
/// let range = from_value(json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}})).unwrap();
/// let mut pod: k8s_openapi::api::core::v1::Pod = from_value(json!({"spec": {"containers": [{"name": "a"}]}})).unwrap();
/// limits::complete(&range, &mut pod);
/// let note = "LimitRanger plugin set: cpu limit for container a";
/// assert_eq!(pod.metadata.annotations.unwrap()["kubernetes.io/limit-ranger"], note);
/// ```
pub fn complete(range: &LimitRange, pod: &mut Pod) {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    for item in items(range).filter(|item| item.type_ == "Container") {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    let Some(spec) = &mut pod.spec else { return };
    let mut notes = Vec::new();
    let mains = spec.containers.iter_mut().map(|container| (container, "container"));
    let inits = spec.init_containers.iter_mut().flatten().map(|container| (container, "init container"));
    for (container, what) in mains.chain(inits) {
        let resources = container.resources.get_or_insert_default();
        for (side, added) in [
            ("request", add_missing(&mut resources.requests, &requests)),
            ("limit", add_missing(&mut resources.limits, &limits)),
        ] {
            if !added.is_empty() {
                notes.push(format!("{} {side} for {what} {}", added.join(", "), container.name));
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.into(), note);
    }
}

fn add_missing(
    list: &mut Option<BTreeMap<String, ApiQuantity>>,
    defaults: &BTreeMap<String, ApiQuantity>,
) -> Vec<String> {
    let present = |name: &String| list.as_ref().is_some_and(|list| list.contains_key(name));
    let missing: Vec<(String, ApiQuantity)> = defaults
        .iter()
        .filter(|(name, _)| !present(name))
        .map(|(name, amount)| (name.clone(), amount.clone()))
        .collect();
    let names = missing.iter().map(|(name, _)| name.clone()).collect();
    if !missing.is_empty() {
        list.get_or_insert_default().extend(missing);
    }
    names
}

/// Returns what the range refuses of a pod, worded as Kubernetes does.
///
/// ```
/// use apimachinery::limits;
/// use serde_json::{from_value, json};
/// let range = from_value(json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}})).unwrap();
/// let pod = from_value(json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "2"}}}]}})).unwrap();
/// assert_eq!(limits::problems(&range, &pod), ["maximum cpu usage per Container is 1, but limit is 2"]);
/// ```
pub fn problems(range: &LimitRange, pod: &Pod) -> Vec<String> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let mut found = Vec::new();
    for item in items(range) {
        match item.type_.as_str() {
            "Container" => {
                let containers = spec.containers.iter().chain(pod::init_containers(spec));
                containers.for_each(|container| check(&mut found, item, &Usage::of_container(container)));
            }
            "Pod" => check(&mut found, item, &Usage::of_pod(spec)),
            _ => {}
        }
    }
    found
}

fn items(range: &LimitRange) -> impl Iterator<Item = &LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits)
}

struct Usage {
    requests: Amounts,
    limits: Amounts,
}

impl Usage {
    fn of_container(container: &Container) -> Self {
        Self { requests: resources::container_requests(container), limits: resources::container_limits(container) }
    }

    fn of_pod(spec: &PodSpec) -> Self {
        Self { requests: resources::aggregate_requests(spec), limits: resources::aggregate_limits(spec) }
    }
}

fn check(found: &mut Vec<String>, item: &LimitRangeItem, usage: &Usage) {
    let kind = item.type_.as_str();
    for (name, least) in resources::parse(item.min.as_ref()) {
        let rule = format!("minimum {name} usage per {kind} is {least}");
        found.extend(match (usage.requests.get(&name), usage.limits.get(&name)) {
            (None, _) => Some(format!("{rule}.  No request is specified")),
            (Some(request), _) if *request < least => Some(format!("{rule}, but request is {request}")),
            (_, Some(limit)) if *limit < least => Some(format!("{rule}, but limit is {limit}")),
            _ => None,
        });
    }
    for (name, most) in resources::parse(item.max.as_ref()) {
        let rule = format!("maximum {name} usage per {kind} is {most}");
        found.extend(match (usage.limits.get(&name), usage.requests.get(&name)) {
            (None, _) => Some(format!("{rule}.  No limit is specified")),
            (Some(limit), _) if *limit > most => Some(format!("{rule}, but limit is {limit}")),
            (_, Some(request)) if *request > most => Some(format!("{rule}, but request is {request}")),
            _ => None,
        });
    }
    for (name, most) in resources::parse(item.max_limit_request_ratio.as_ref()) {
        let rule = format!("{name} max limit to request ratio per {kind} is {most}");
        found.extend(ratio_problem(&rule, most, usage.requests.get(&name), usage.limits.get(&name)));
    }
}

fn ratio_problem(rule: &str, most: Quantity, request: Option<&Quantity>, limit: Option<&Quantity>) -> Option<String> {
    let Some(request) = request.filter(|request| !request.is_zero()) else {
        return Some(format!("{rule}, but no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
        return Some(format!("{rule}, but no limit is specified or limit is 0"));
    };
    // Compared exactly; divided only to be shown.
    let (limit, request) = (i128::from(limit.millis()), i128::from(request.millis()));
    if limit * 1000 <= request * i128::from(most.millis()) {
        return None;
    }
    let micros = limit.saturating_mul(1_000_000) / request;
    Some(format!("{rule}, but provided ratio is {}.{:06}", micros / 1_000_000, micros % 1_000_000))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn range(item: Value) -> LimitRange {
        from_value(json!({"spec": {"limits": [item]}})).unwrap()
    }

    fn container(name: &str, request: &str, limit: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": request}, "limits": {"cpu": limit}}})
    }

    fn pod(containers: Value, inits: Value) -> Pod {
        from_value(json!({"spec": {"containers": containers, "initContainers": inits}})).unwrap()
    }

    #[test]
    fn every_container_gets_what_it_lacks() {
        let range = range(
            json!({"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "1"}}),
        );
        let mut pod = pod(json!([container("a", "3", "4"), {"name": "b"}]), json!([{"name": "i"}]));
        complete(&range, &mut pod);
        let spec = pod.spec.unwrap();
        let shown = |container: &Container| serde_json::to_string(&container.resources).unwrap();
        assert_eq!(shown(&spec.containers[0]), r#"{"limits":{"cpu":"4","memory":"1Gi"},"requests":{"cpu":"3"}}"#);
        assert_eq!(shown(&spec.containers[1]), r#"{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"1"}}"#);
        assert_eq!(shown(&spec.init_containers.unwrap()[0]), shown(&spec.containers[1]));
        assert_eq!(
            pod.metadata.annotations.unwrap()[ANNOTATION],
            "LimitRanger plugin set: memory limit for container a; cpu request for container b; \
             cpu, memory limit for container b; cpu request for init container i; cpu, memory limit for init container i"
        );
    }

    #[test]
    fn bounds_of_containers_and_pods_are_kept() {
        let one = || pod(json!([container("a", "1", "4")]), json!([]));
        let cases = [
            (
                json!({"type": "Container", "min": {"cpu": "2"}}),
                "minimum cpu usage per Container is 2, but request is 1",
            ),
            (
                json!({"type": "Container", "min": {"memory": "1Mi"}}),
                "minimum memory usage per Container is 1Mi.  No request is specified",
            ),
            (json!({"type": "Container", "max": {"cpu": "2"}}), "maximum cpu usage per Container is 2, but limit is 4"),
            (
                json!({"type": "Pod", "max": {"memory": "1Gi"}}),
                "maximum memory usage per Pod is 1Gi.  No limit is specified",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2500m"}}),
                "cpu max limit to request ratio per Container is 2500m, but provided ratio is 4.000000",
            ),
            (
                json!({"type": "Pod", "maxLimitRequestRatio": {"memory": "2"}}),
                "memory max limit to request ratio per Pod is 2, but no request is specified or request is 0",
            ),
        ];
        for (item, expected) in cases {
            assert_eq!(problems(&range(item.clone()), &one()), [expected], "{item}");
        }
        let fine = json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "4"}, "maxLimitRequestRatio": {"cpu": "4"}});
        assert_eq!(problems(&range(fine), &one()), [""; 0]);
    }

    #[test]
    fn s8_02_sidecars_count_for_the_bounds_of_their_pod() {
        let mut sidecar = container("s", "2", "2");
        sidecar["restartPolicy"] = json!("Always");
        let pod = pod(json!([container("a", "3", "3")]), json!([sidecar, container("i", "1", "1")]));
        let found = problems(&range(json!({"type": "Pod", "max": {"cpu": "4"}})), &pod);
        assert_eq!(found, ["maximum cpu usage per Pod is 4, but limit is 5"]);
    }
}
