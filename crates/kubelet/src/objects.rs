//! ConfigMaps and Secrets that pods refer to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::tokens::TokenSpec;

/// Why an object could not be had although it may exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to get {kind} {namespace}/{name}: {message}")]
pub(crate) struct FetchError {
    kind: &'static str,
    namespace: String,
    name: String,
    message: String,
}

/// Names of the objects that something refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// ConfigMaps.
    pub(crate) config_maps: BTreeSet<String>,
    /// Secrets.
    pub(crate) secrets: BTreeSet<String>,
    /// Tokens of the service account.
    pub(crate) tokens: BTreeSet<TokenSpec>,
}

/// The objects behind [`References`]; `None`: it does not exist.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub(crate) config_maps: BTreeMap<String, Option<ConfigMap>>,
    pub(crate) secrets: BTreeMap<String, Option<Secret>>,
    /// Tokens, or why there is none.
    pub(crate) tokens: BTreeMap<TokenSpec, Result<String, String>>,
}

impl Objects {
    /// Reads all referenced objects, each once.
    pub(crate) async fn fetch(client: &Client, namespace: &str, references: &References) -> Result<Self, FetchError> {
        let mut objects = Self::default();
        let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        for name in &references.config_maps {
            let found =
                config_maps.get_opt(name).await.map_err(|e| FetchError::new("configmap", namespace, name, &e))?;
            objects.config_maps.insert(name.clone(), found);
        }
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        for name in &references.secrets {
            let found = secrets.get_opt(name).await.map_err(|e| FetchError::new("secret", namespace, name, &e))?;
            objects.secrets.insert(name.clone(), found);
        }
        Ok(objects)
    }

    /// Returns a ConfigMap that was referred to and exists.
    pub(crate) fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)?.as_ref()
    }

    /// Returns a Secret that was referred to and exists.
    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_ref()
    }
}

impl FetchError {
    fn new(kind: &'static str, namespace: &str, name: &str, error: &kube::Error) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned(), message: error.to_string() }
    }
}
