//! Namespaces: what is made with them, and how they go.
//!
//! A namespace in `Terminating` has its content deleted at once; each removal inside it looks
//! whether it was the last one. So no task and no period is needed, and content that is deleted
//! gracefully (pods) simply keeps the namespace a little longer; see `namespace_content`.

use std::sync::Arc;

use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use apimachinery::time::seconds;
use serde_json::json;

use super::delete::{DeleteOptions, Deleted, check_preconditions};
use super::{MOST_ROUNDS, Place, Registry, WriteOptions, meta, root_ca, strategy};
use crate::rules;
use crate::store::{Change, Expected, Object};

/// Namespaces that are there from the beginning and cannot be deleted (`lifecycle` admission).
pub(crate) const BUILT_IN: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Namespaces that the `lifecycle` admission protects.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Registry {
    /// Makes the namespaces that every cluster has, if they are not there.
    pub(crate) fn create_built_in_namespaces(&self) {
        let Some(kind) = namespaces() else { return };
        for name in BUILT_IN.iter().filter(|name| self.namespace(name).is_none()) {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let body = apimachinery::decode::Json { value: body, duplicates: Vec::new() };
            if let Err(error) = self.create(kind, "", body, &WriteOptions::default()) {
                tracing::error!(namespace = name, %error, "cannot create a built-in namespace");
            }
        }
    }

    /// What follows from the creation of an object.
    pub(crate) fn after_create(&self, kind: &ResourceType, object: &Object) {
        self.aggregate_after_write(kind);
        if strategy::is_namespace(kind) {
            self.create_service_account(meta::name(object.value()));
            self.publish_root_ca(meta::name(object.value()));
        } else if kind.namespaced && !self.is_active(meta::namespace(object.value())) {
            // The namespace went while the object was on its way.
            self.advance_namespace(meta::namespace(object.value()));
        }
    }

    /// What follows from a change of an object.
    pub(crate) fn after_update(&self, kind: &ResourceType, object: &Object) {
        self.aggregate_after_write(kind);
        if root_ca::is_root_ca(kind, object.value()) {
            self.publish_root_ca(meta::namespace(object.value()));
        }
    }

    /// What follows from the removal of an object.
    pub(crate) fn after_remove(&self, kind: &ResourceType, object: &Object) {
        let namespace = meta::namespace(object.value());
        self.aggregate_after_write(kind);
        if !kind.namespaced {
            return;
        }
        if !self.is_active(namespace) {
            self.advance_namespace(namespace);
        } else if kind.kind == "ServiceAccount" && meta::name(object.value()) == "default" {
            self.create_service_account(namespace);
        } else if root_ca::is_root_ca(kind, object.value()) {
            self.publish_root_ca(namespace);
        }
    }

    /// Deletes a namespace: marks it, then its content.
    pub(crate) fn delete_namespace(&self, place: Place<'_>, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        if IMMORTAL.contains(&place.name) {
            return Err(ApiError::forbidden(place.kind, place.name, "this namespace may not be deleted"));
        }
        let object = self.get(place)?;
        let held = !strategy::namespace_finalizers_are_empty(object.value());
        if !held || options.dry_run {
            return self.delete_only(place, options);
        }
        let marked = self.mark_namespace(place, options)?;
        self.advance_namespace(place.name);
        Ok(Deleted::Pending(marked))
    }

    fn mark_namespace(&self, place: Place<'_>, options: &DeleteOptions) -> Result<Arc<Object>, ApiError> {
        for _ in 0..MOST_ROUNDS {
            let old = self.get(place)?;
            check_preconditions(place, old.value(), options)?;
            if meta::is_deleting(old.value()) {
                return Ok(old);
            }
            let mut new = old.value().clone();
            meta::set(&mut new, "deletionTimestamp", json!(seconds(self.now())));
            new["status"]["phase"] = json!("Terminating");
            let expected = Expected::Revision(old.revision());
            let table = strategy::table(place.kind);
            if let Ok(marked) = self.store.commit(&table, old.key(), expected, Change::Put(new)) {
                return Ok(marked);
            }
        }
        Err(place.modified())
    }

    /// Whether new objects may be made in the namespace.
    pub(crate) fn is_active(&self, namespace: &str) -> bool {
        self.namespace(namespace).is_some_and(|namespace| !meta::is_deleting(namespace.value()))
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<Object>> {
        self.store.get(&strategy::table(namespaces()?), name)
    }

    /// Goes on with what is done to namespaces in several writes, which an end of the server can cut short.
    pub(crate) fn resume_namespaces(&self) {
        let Some(kind) = namespaces() else { return };
        for namespace in self.store.snapshot(&strategy::table(kind)).range("", "") {
            if meta::is_deleting(namespace.value()) {
                self.advance_namespace(namespace.key());
            } else {
                self.create_service_account(namespace.key());
                self.publish_root_ca(namespace.key());
            }
        }
    }

    /// The account that pods use when they name none.
    fn create_service_account(&self, namespace: &str) {
        let Some(kind) = scheme::by_plural("", "v1", "serviceaccounts") else { return };
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace},
        });
        let body = apimachinery::decode::Json { value: account, duplicates: Vec::new() };
        match self.create(kind, namespace, body, &WriteOptions::default()) {
            Ok(_) => {}
            Err(error) if error.code == 409 => {}
            Err(error) => tracing::error!(namespace, %error, "cannot create the default service account"),
        }
    }
}

fn namespaces() -> Option<&'static ResourceType> {
    rules::lookup("", "v1", "namespaces")
}
