//! ClusterRoles that are made of others (`pkg/controller/clusterroleaggregation`): they change in the same moment
//! as their parts.

use apimachinery::scheme::ResourceType;
use apimachinery::selector::LabelSelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;
use serde_json::Value;

use super::Registry;
use crate::store::{Change, Expected, Snapshot};

const TABLE: &str = "clusterroles.rbac.authorization.k8s.io";

/// Parts can have parts; deeper than anybody nests them.
const MOST_LEVELS: usize = 16;

impl Registry {
    /// What follows from a write of any object.
    pub(crate) fn aggregate_after_write(&self, kind: &ResourceType) {
        if kind.kind != "ClusterRole" {
            return;
        }
        for _ in 0..MOST_LEVELS {
            let roles = self.store.snapshot(TABLE);
            let mut changed = false;
            for role in roles.range("", "").filter(|role| !role.value()["aggregationRule"].is_null()) {
                let rules = aggregated(role.value(), &roles);
                if role.value()["rules"].as_array().is_some_and(|present| *present == rules) {
                    continue;
                }
                let mut new = role.value().clone();
                new["rules"] = Value::Array(rules);
                // If another write comes first, its own pass sees what this one saw.
                let expected = Expected::Revision(role.revision());
                changed |= self.store.commit(TABLE, role.key(), expected, Change::Put(new)).is_ok();
            }
            if !changed {
                return;
            }
        }
    }
}

/// The rules of all roles that the role's selectors choose, each once.
fn aggregated(role: &Value, roles: &Snapshot) -> Vec<Value> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array().into_iter().flatten();
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        let Ok(selector) = serde_json::from_value::<ApiSelector>(selector.clone()) else { continue };
        let Ok(selector) = LabelSelector::from_api(&selector) else { continue };
        let own = &role["metadata"]["name"];
        let parts = roles.range("", "").map(|part| part.value());
        for part in parts.filter(|part| part["metadata"]["name"] != *own && selector.matches_object(part)) {
            for rule in part["rules"].as_array().into_iter().flatten().filter(|rule| !rule.is_null()) {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}
