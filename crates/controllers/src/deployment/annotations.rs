//! What Deployments write into annotations: revisions, and the sizes that scaling starts from
//! (deployment_util.go: `SetNewReplicaSetAnnotations`).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::deployment::numbers::Numbers;

/// Number of the template in the Deployment's history, on it and on its ReplicaSets.
pub const REVISION: &str = "deployment.kubernetes.io/revision";

/// Earlier numbers of a template that was gone back to.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// The Deployment's replicas when the ReplicaSet was scaled last.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";

/// The most pods that the Deployment could have when the ReplicaSet was scaled last.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that say nothing about its ReplicaSets.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Longest list of earlier revisions, in characters.
const LONGEST_HISTORY: usize = 2000;

pub(crate) fn get<'a>(object: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    object.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The object's revision; 0 if it has none.
pub(crate) fn revision(object: &ObjectMeta) -> i64 {
    get(object, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A size that was written when the ReplicaSet was scaled last.
pub(crate) fn number(set: &ReplicaSet, name: &str) -> Option<i32> {
    get(&set.metadata, name)?.parse().ok()
}

/// Annotations by which `set` is to say from which sizes it was scaled; only those that change.
pub(crate) fn of_scale(numbers: &Numbers, set: &ReplicaSet) -> BTreeMap<String, String> {
    let wanted = [(DESIRED_REPLICAS, numbers.replicas), (MAX_REPLICAS, numbers.most())];
    let changed = wanted.into_iter().filter(|(name, value)| number(set, name) != Some(*value));
    changed.map(|(name, value)| (name.to_owned(), value.to_string())).collect()
}

/// Annotations that the ReplicaSet of the present template gets from its Deployment and from its
/// place in the history; only those that change.
pub(crate) fn of_present(deployment: &Deployment, set: &ReplicaSet, next: i64) -> BTreeMap<String, String> {
    let copied = deployment.metadata.annotations.iter().flatten();
    let copied = copied.filter(|(name, value)| {
        !NOT_COPIED.contains(&name.as_str()) && get(&set.metadata, name) != Some(value.as_str())
    });
    let mut changed: BTreeMap<String, String> = copied.map(|(name, value)| (name.clone(), value.clone())).collect();
    if revision(&set.metadata) < next {
        changed.insert(REVISION.to_owned(), next.to_string());
        if let Some(old) = get(&set.metadata, REVISION) {
            changed.insert(REVISION_HISTORY.to_owned(), history(get(&set.metadata, REVISION_HISTORY), old));
        }
    }
    changed
}

/// The earlier revisions and one more; the earliest are forgotten when the list becomes too long.
fn history(earlier: Option<&str>, old: &str) -> String {
    let mut list = match earlier.filter(|list| !list.is_empty()) {
        Some(list) => format!("{list},{old}"),
        None => old.to_owned(),
    };
    while list.len() > LONGEST_HISTORY
        && let Some((_, rest)) = list.split_once(',')
    {
        list = rest.to_owned();
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_forgets_its_beginning() {
        assert_eq!(history(None, "1"), "1");
        assert_eq!(history(Some("1,3"), "5"), "1,3,5");
        let long = (1000..1400).map(|n: i32| n.to_string()).collect::<Vec<_>>().join(",");
        let list = history(Some(&long), "1400");
        assert!(list.len() <= LONGEST_HISTORY && list.ends_with(",1399,1400"), "{list}");
    }
}
