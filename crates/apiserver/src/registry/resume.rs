//! What is done once, before the first request: what a new cluster has, and what the end of a server cut short.

use apimachinery::decode::Json;
use apimachinery::scheme;
use apimachinery::validate::SYSTEM_CLASSES;
use serde_json::json;

use super::{Registry, WriteOptions};

impl Registry {
    /// Completes the dataset, whatever moment it is of.
    pub(crate) fn resume(&self) {
        self.resume_events();
        self.create_built_in_namespaces();
        self.create_built_in_priority_classes();
        self.resume_namespaces();
        crate::auth::make_built_in_roles(self);
    }

    /// Makes the priority classes that every cluster has.
    fn create_built_in_priority_classes(&self) {
        let Some(kind) = scheme::by_plural("scheduling.k8s.io", "v1", "priorityclasses") else { return };
        for (name, value) in SYSTEM_CLASSES {
            let class = json!({
                "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "value": value,
                "description": "For pods without which the machine does not work.",
            });
            match self.create(kind, "", Json { value: class, duplicates: Vec::new() }, &WriteOptions::default()) {
                Ok(_) => {}
                Err(error) if error.code == 409 => {}
                Err(error) => tracing::error!(class = name, %error, "cannot create a built-in priority class"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::store::{Change, Expected, HistoryLimits, Store};

    /// A registry over what the end of a server left.
    fn resumed(objects: &[(&str, &str, Value)]) -> Registry {
        let store = Store::new(HistoryLimits::default());
        for (table, key, value) in objects {
            store.commit(table, key, Expected::Absent, Change::Put(value.clone())).expect("put");
        }
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("time");
        let registry = Registry::new(store, Arc::new(move || now), None);
        registry.resume();
        registry
    }

    fn namespace(name: &str, deleted: Option<&str>) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "deletionTimestamp": deleted}, "spec": {"finalizers": ["kubernetes"]},
        })
    }

    #[test]
    fn a_namespace_whose_deletion_was_cut_short_goes_with_what_it_holds() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "old"}});
        let old = namespace("old", Some("2026-01-02T03:04:00Z"));
        let registry = resumed(&[("namespaces", "old", old), ("configmaps", "old/a", map)]);
        assert!(registry.store.get("configmaps", "old/a").is_none());
        assert!(registry.store.get("namespaces", "old").is_none());
    }

    #[test]
    fn events_whose_time_went_by_meanwhile_are_gone() {
        let event = |name: &str, at: &str| {
            json!({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
                "lastTimestamp": at, "involvedObject": {"namespace": "default"},
            })
        };
        let registry = resumed(&[
            ("events", "default/late", event("late", "2026-01-02T02:30:00Z")),
            ("events", "default/old", event("old", "2026-01-02T01:00:00Z")),
            ("events", "default/undated", event("undated", "yesterday")),
        ]);
        let left: Vec<_> =
            registry.store.snapshot("events").range("", "").map(|event| event.key().to_owned()).collect();
        assert_eq!(left, ["default/late", "default/undated"]);
    }
}
