//! The certificate authority of this server, told to every namespace (`pkg/controller/certificates/rootcacertpublisher`).
//! It is there as soon as the namespace is, so that no pod waits for it.

use apimachinery::decode::Json;
use apimachinery::prepare::Subresource;
use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use serde_json::{Value, json};

use super::update::Part;
use super::{Place, Registry, WriteOptions, meta};

/// Name of the ConfigMap.
pub(crate) const NAME: &str = "kube-root-ca.crt";
/// Its key.
pub(crate) const KEY: &str = "ca.crt";

/// Whether this object is one that the server keeps.
pub(crate) fn is_root_ca(kind: &ResourceType, object: &Value) -> bool {
    kind.kind == "ConfigMap" && meta::name(object) == NAME
}

impl Registry {
    /// Makes or repairs the ConfigMap of a namespace.
    pub(crate) fn publish_root_ca(&self, namespace: &str) {
        match self.write_root_ca(namespace) {
            Ok(()) => {}
            // Somebody else makes it, or the namespace goes.
            Err(error) if matches!(error.code, 403 | 404 | 409) => {}
            Err(error) => tracing::error!(namespace, %error, "cannot publish the root certificate"),
        }
    }

    fn write_root_ca(&self, namespace: &str) -> Result<(), ApiError> {
        let Some(kind) = scheme::by_kind("v1", "ConfigMap") else { return Ok(()) };
        let data = json!({KEY: self.root_ca});
        let place = Place { kind, namespace, name: NAME };
        let Ok(present) = self.get(place) else {
            let value = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"name": NAME, "namespace": namespace, "annotations": {"kubernetes.io/description": ABOUT}},
            });
            let body = Json { value, duplicates: Vec::new() };
            return self.create(kind, namespace, body, &WriteOptions::default()).map(drop);
        };
        if present.value()["data"] == data && present.value()["binaryData"].is_null() {
            return Ok(());
        }
        let mut value = present.value().clone();
        value["data"] = data;
        value["binaryData"] = Value::Null;
        let body = Json { value, duplicates: Vec::new() };
        self.update(place, Part::Of(Subresource::None), body, &WriteOptions::default()).map(drop)
    }
}

const ABOUT: &str = "The certificate authority by which pods know the API server. Use it for nothing else.";
