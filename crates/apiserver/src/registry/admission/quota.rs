//! `ResourceQuota`: what a namespace may hold.
//!
//! What is used is counted from the objects themselves, not read from the quota's status, while no other
//! such write comes between: so no number of creations at once gets beyond a quota.
//!
//! Source of rules and texts: `apiserver/pkg/admission/plugin/resourcequota` and `pkg/quota/v1/evaluator/core`.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::resources::{self, Amounts};
use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use apimachinery::{decode, pod, quota};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ResourceQuotaSpec, Service};
use serde_json::Value;

use crate::registry::{Registry, meta, strategy};

/// Whether the namespace of an object has quotas.
pub(crate) fn applies(registry: &Registry, object: &Value) -> bool {
    !meta::namespace(object).is_empty() && !quotas(registry, meta::namespace(object)).is_empty()
}

/// Refuses an object with which its namespace would hold more than it may.
pub(crate) fn check(registry: &Registry, kind: &'static ResourceType, object: &Value) -> Result<(), ApiError> {
    let now = registry.now();
    let own = Counted::of(kind, object, now);
    for (name, spec) in quotas(registry, meta::namespace(object)) {
        if !own.is_in(&spec) {
            continue;
        }
        let hard = resources::parse(spec.hard.as_ref());
        let refused = |why: &str| Err(ApiError::forbidden(kind, meta::name(object), why));
        if let Some(why) = own.pod.as_ref().and_then(|pod| unspecified(pod, &hard)) {
            return refused(&format!("failed quota: {name}: {why}"));
        }
        let wanted: Amounts = own
            .usage
            .iter()
            .filter(|(name, amount)| hard.contains_key(*name) && !amount.is_zero())
            .map(|(name, amount)| (name.clone(), *amount))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let used = used(registry, kind, object, &spec, now);
        let after =
            |name: &String| wanted.get(name).copied().unwrap_or_default() + used.get(name).copied().unwrap_or_default();
        let exceeded: BTreeSet<&String> =
            wanted.keys().filter(|name| hard.get(*name).is_some_and(|hard| after(name) > *hard)).collect();
        if !exceeded.is_empty() {
            let shown = |amounts: &Amounts| {
                let each =
                    exceeded.iter().map(|name| format!("{name}={}", amounts.get(*name).copied().unwrap_or_default()));
                each.collect::<Vec<_>>().join(",")
            };
            return refused(&format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                shown(&wanted),
                shown(&used),
                shown(&hard)
            ));
        }
    }
    Ok(())
}

/// An object as quotas see it.
struct Counted {
    pod: Option<Pod>,
    usage: Amounts,
}

impl Counted {
    fn of(kind: &ResourceType, object: &Value, now: Timestamp) -> Self {
        if strategy::is_pod(kind) {
            let pod: Pod = decode::object(object).unwrap_or_default();
            return Self { usage: quota::of_pod(&pod, now), pod: Some(pod) };
        }
        let usage = if strategy::is_service(kind) {
            quota::of_service(&decode::object::<Service>(object).unwrap_or_default())
        } else {
            quota::of_kind(kind)
        };
        Self { pod: None, usage }
    }

    /// Whether a quota is about the object.
    fn is_in(&self, spec: &ResourceQuotaSpec) -> bool {
        match &self.pod {
            Some(pod) => quota::selects(spec, pod),
            None => !quota::is_scoped(spec),
        }
    }
}

/// What the other objects of the kind use of a quota.
fn used(registry: &Registry, kind: &ResourceType, object: &Value, spec: &ResourceQuotaSpec, now: Timestamp) -> Amounts {
    let prefix = format!("{}/", meta::namespace(object));
    let mut total = Amounts::new();
    for other in registry.store.snapshot(&strategy::table(kind)).range(&prefix, "") {
        let other = Counted::of(kind, other.value(), now);
        if other.is_in(spec) {
            for (name, amount) in other.usage {
                let sum = total.entry(name).or_default();
                *sum = *sum + amount;
            }
        }
    }
    total
}

/// Resources that every container must say something about when a quota limits them.
const COMPUTE: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// Names the containers that lack what a quota limits (`PodEvaluator.Constraints`).
fn unspecified(pod: &Pod, hard: &Amounts) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(pod::init_containers(spec)) {
        let (requests, limits) = (resources::container_requests(container), resources::container_limits(container));
        for name in COMPUTE.into_iter().filter(|name| hard.contains_key(*name)) {
            let given = match name.strip_prefix("limits.") {
                Some(resource) => limits.contains_key(resource),
                None => requests.contains_key(name.trim_start_matches("requests.")),
            };
            if !given {
                missing.entry(name).or_default().insert(&container.name);
            }
        }
    }
    let each = missing
        .iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(",")));
    (!missing.is_empty()).then(|| format!("must specify {}", each.collect::<Vec<_>>().join("; ")))
}

/// The quotas of a namespace, by name.
fn quotas(registry: &Registry, namespace: &str) -> Vec<(String, ResourceQuotaSpec)> {
    let Some(kind) = scheme::by_plural("", "v1", "resourcequotas") else { return Vec::new() };
    let prefix = format!("{namespace}/");
    let snapshot = registry.store.snapshot(&strategy::table(kind));
    let spec = |quota: &Value| Some((meta::name(quota).to_owned(), decode::object(&quota["spec"]).ok()?));
    snapshot.range(&prefix, "").filter_map(|object| spec(object.value())).collect()
}
