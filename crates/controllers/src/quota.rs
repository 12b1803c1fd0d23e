//! Recounts what quotas limit (resourcequota/resource_quota_controller.go). Charging a new object is
//! the API server's business, at once with its creation; here what is gone is taken off again, and
//! a quota that is new or has changed gets its first numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::quantity::Quantity;
use apimachinery::quota;
use apimachinery::resources::{self, Amounts};
use apimachinery::scheme::ResourceType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus, Service};
use kube::Client;

use crate::api::{self, Result};
use crate::cache::{Cache, Change};
use crate::children;
use crate::clock::SharedClock;
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// All that a recount may depend on.
#[derive(Debug, Clone)]
pub struct QuotaView<'a> {
    /// The quota.
    pub quota: &'a ResourceQuota,
    /// The pods of its namespace.
    pub pods: &'a [Arc<Pod>],
    /// The services of its namespace.
    pub services: &'a [Arc<Service>],
    /// What the objects of other kinds count for.
    pub others: &'a Amounts,
    /// The time.
    pub now: Timestamp,
}

/// What to do about a quota.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuotaPlan {
    /// The status to write.
    pub status: Option<ResourceQuotaStatus>,
    /// When to count again even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

/// Counts again.
#[must_use]
pub fn plan(view: &QuotaView<'_>) -> QuotaPlan {
    let spec = view.quota.spec.clone().unwrap_or_default();
    let hard = resources::parse(spec.hard.as_ref());
    let mut total = Amounts::new();
    for pod in view.pods.iter().filter(|pod| quota::selects(&spec, pod)) {
        add(&mut total, quota::of_pod(pod, view.now));
    }
    if !quota::is_scoped(&spec) {
        view.services.iter().for_each(|service| add(&mut total, quota::of_service(service)));
        add(&mut total, view.others.clone());
    }
    let measured = hard.keys().filter(|name| total.contains_key(*name) || is_measured(name));
    let used: Amounts = measured.map(|name| (name.clone(), total.get(name).copied().unwrap_or_default())).collect();
    let before = view.quota.status.clone().unwrap_or_default();
    let unchanged = resources::parse(before.used.as_ref()) == used && resources::parse(before.hard.as_ref()) == hard;
    let list = used.into_iter().map(|(name, amount)| (name, amount.into())).collect();
    let status = ResourceQuotaStatus { hard: spec.hard, used: Some(list) };
    QuotaPlan { status: (!unchanged).then_some(status), wake_at: next_overdue(view) }
}

/// Whether the name stands for something that is counted here, if only to zero.
fn is_measured(name: &str) -> bool {
    const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    const OBJECTS: [&str; 6] =
        ["pods", "count/pods", "services", "count/services", "services.loadbalancers", "services.nodeports"];
    COMPUTE.contains(&name)
        || OBJECTS.contains(&name)
        || name.starts_with("hugepages-")
        || name.strip_prefix("requests.").is_some_and(|resource| resource != "storage")
        || name.strip_prefix("limits.").is_some_and(|resource| COMPUTE.contains(&resource))
}

fn add(total: &mut Amounts, usage: Amounts) {
    for (name, amount) in usage {
        let sum = total.entry(name).or_default();
        *sum = *sum + amount;
    }
}

/// When the next stopping pod stops counting.
fn next_overdue(view: &QuotaView<'_>) -> Option<Timestamp> {
    let overdue = |pod: &Arc<Pod>| {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds? + 1);
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_add(grace).ok()
    };
    view.pods.iter().filter_map(overdue).filter(|at| *at > view.now).min()
}

/// Counts the objects of one kind in a namespace.
pub(crate) type Count = Box<dyn Fn(&str) -> usize + Send + Sync>;

/// Recounts.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) quotas: Arc<Cache<ResourceQuota>>,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) services: Arc<Cache<Service>>,
    /// Kinds other than pods and services.
    pub(crate) others: Vec<(&'static ResourceType, Count)>,
    pub(crate) clock: SharedClock,
}

impl Controller {
    /// Looks at a quota once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(quota) = self.quotas.get(&key).filter(|quota| !meta::is_deleting(&quota.metadata)) else {
            return Ok(Next::Idle);
        };
        let others = self.count_others(&quota, &key.namespace);
        let (pods, services) = (self.pods.in_namespace(&key.namespace), self.services.in_namespace(&key.namespace));
        let view =
            QuotaView { quota: &quota, pods: &pods, services: &services, others: &others, now: self.clock.now() };
        let plan = plan(&view);
        if let Some(status) = plan.status {
            let new = ResourceQuota { status: Some(status), ..quota.as_ref().clone() };
            match children::write_status(&self.client, &self.quotas, &new).await {
                Err(error) if api::has_changed(&error.source) => return Ok(Next::Again),
                written => written?,
            }
        }
        Ok(Next::at(plan.wake_at))
    }

    /// Only what the quota names is counted.
    fn count_others(&self, quota: &ResourceQuota, namespace: &str) -> Amounts {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let mut total = BTreeMap::new();
        for (kind, count) in &self.others {
            let names: Vec<String> = quota::of_kind(kind)
                .into_keys()
                .filter(|name| hard.is_some_and(|hard| hard.contains_key(name)))
                .collect();
            if !names.is_empty() {
                let number = Quantity::from_units(i64::try_from(count(namespace)).unwrap_or(i64::MAX));
                total.extend(names.into_iter().map(|name| (name, number)));
            }
        }
        total
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Queues a quota that is new or limits something else than before. Its numbers alone are
    /// written by who charges.
    pub(crate) fn quota_changed(change: &Change<'_, ResourceQuota>, queue: &Queue<Key>) {
        if let Some(quota) = change.new.filter(|new| change.old.is_none_or(|old| old.spec != new.spec)) {
            queue.add(Key::of(&quota.metadata));
        }
    }

    /// Queues the quotas of a namespace in which something came or went.
    pub(crate) fn namespace_changed(&self, namespace: &str, queue: &Queue<Key>) {
        self.quotas.in_namespace(namespace).iter().for_each(|quota| queue.add(Key::of(&quota.metadata)));
    }

    /// The same for a pod that counts for something else than before.
    pub(crate) fn pod_changed(&self, change: &Change<'_, Pod>, queue: &Queue<Key>) {
        let Some(pod) = change.new.or(change.old) else { return };
        let charge =
            |pod: &Arc<Pod>| (pod.spec.clone(), crate::pod::is_terminal(pod), meta::is_deleting(&pod.metadata));
        if change.old.map(charge) != change.new.map(charge) {
            self.namespace_changed(meta::namespace(&pod.metadata), queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn quota(spec: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn pod(cpu: &str, more: Value) -> Arc<Pod> {
        let resources = json!({"requests": {"cpu": cpu}});
        let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "a", "resources": resources}]}});
        for (part, fields) in more.as_object().unwrap() {
            pod[part] = fields.clone();
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn counted(quota: &ResourceQuota, pods: &[Arc<Pod>]) -> QuotaPlan {
        let others = Amounts::from([("count/secrets".to_owned(), Quantity::from_units(4))]);
        plan(&QuotaView { quota, pods, services: &[], others: &others, now: at(100) })
    }

    fn used(plan: &QuotaPlan) -> Value {
        serde_json::to_value(plan.status.as_ref().unwrap().used.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn what_is_limited_is_counted_and_nothing_else() {
        let quota = quota(json!({"hard": {
            "requests.cpu": "4", "limits.cpu": "9", "pods": "5", "count/secrets": "9", "services": "1",
            "services.nodeports": "0", "example.com/unknown": "1",
        }}));
        let pods = [pod("500m", json!({})), pod("1", json!({})), pod("8", json!({"status": {"phase": "Succeeded"}}))];
        let plan = counted(&quota, &pods);
        let expected = json!({
            "requests.cpu": "1500m", "limits.cpu": "0", "pods": "2", "count/secrets": "4", "services": "0",
            "services.nodeports": "0",
        });
        assert_eq!(used(&plan), expected);
        let settled = ResourceQuota { status: plan.status, ..quota };
        assert_eq!(counted(&settled, &pods).status, None);
        assert_eq!(used(&counted(&settled, &pods[..1]))["pods"], "1");
    }

    #[test]
    fn a_quota_with_scopes_is_about_the_pods_that_match() {
        let quota = quota(json!({"hard": {"pods": "5", "count/secrets": "9"}, "scopes": ["BestEffort"]}));
        let plain =
            Arc::new(serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [{"name": "a"}]}})).unwrap());
        assert_eq!(used(&counted(&quota, &[pod("1", json!({})), plain])), json!({"pods": "1"}));
    }

    #[test]
    fn a_pod_that_does_not_stop_in_time_counts_no_longer() {
        let quota = quota(json!({"hard": {"pods": "5"}}));
        let stopping = pod("1", json!({"metadata": {"deletionTimestamp": at(90), "deletionGracePeriodSeconds": 30}}));
        let plan = counted(&quota, &[stopping]);
        assert_eq!((used(&plan), plan.wake_at), (json!({"pods": "1"}), Some(at(121))));
    }
}
