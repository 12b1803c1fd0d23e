//! Environment of a container (pkg/kubelet/kubelet_pods.go `makeEnvironmentVariables`).

pub(crate) mod expansion;
pub(crate) mod file;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector};

use crate::{
    downward::{DownwardError, Facts},
    objects::{Objects, References},
};

/// Variables by name.
pub(crate) type Environment = BTreeMap<String, String>;

/// Reads one key of an env file in a volume of the pod (contract S11-20).
pub(crate) type FileKeys<'a> =
    dyn Fn(&FileKeySelector) -> Result<Option<String>, file::FileKeyError> + Send + Sync + 'a;

/// Why a container's environment cannot be made; the texts are those of
/// `CreateContainerConfigError` (contract S5-05, S11-18).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("configmap {0:?} not found")]
    NoConfigMap(String),
    #[error("secret {0:?} not found")]
    NoSecret(String),
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    NoConfigMapKey { namespace: String, name: String, key: String },
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    NoSecretKey { namespace: String, name: String, key: String },
    #[error(transparent)]
    Downward(#[from] DownwardError),
    #[error(transparent)]
    File(#[from] file::FileKeyError),
}

/// Collects the objects that a container's environment refers to.
pub(crate) fn references(container: &Container) -> References {
    let mut refs = References::default();
    for source in container.env_from.iter().flatten() {
        refs.config_maps.extend(source.config_map_ref.iter().map(|r| r.name.clone()));
        refs.secrets.extend(source.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        refs.config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        refs.secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    refs
}

/// Everything that variables are taken from.
pub(crate) struct Sources<'a> {
    /// The pod and its addresses.
    pub(crate) facts: &'a Facts<'a>,
    /// ConfigMaps and Secrets.
    pub(crate) objects: &'a Objects,
    /// Variables of services; overridden by everything else (contract S11-21).
    pub(crate) services: &'a Environment,
    /// Env files.
    pub(crate) files: &'a FileKeys<'a>,
}

impl Sources<'_> {
    /// Returns the environment of a container: `envFrom` in order, then `env` in order, then services
    /// that nothing else overrides (contract S11-17).
    pub(crate) fn environment(&self, container: &Container) -> Result<Environment, EnvError> {
        let mut env = Environment::new();
        for source in container.env_from.iter().flatten() {
            self.add_all(&mut env, source)?;
        }
        for variable in container.env.iter().flatten() {
            if let Some(value) = self.value(&env, container, variable)? {
                env.insert(variable.name.clone(), value);
            }
        }
        for (name, value) in self.services {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Ok(env)
    }

    fn add_all(&self, env: &mut Environment, source: &EnvFromSource) -> Result<(), EnvError> {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(r) = &source.config_map_ref {
            match self.objects.config_map(&r.name) {
                Some(map) => {
                    env.extend(map.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), v.clone())));
                }
                None if r.optional == Some(true) => {}
                None => return Err(EnvError::NoConfigMap(r.name.clone())),
            }
        }
        if let Some(r) = &source.secret_ref {
            match self.objects.secret(&r.name) {
                Some(secret) => {
                    env.extend(secret.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), text(&v.0))));
                }
                None if r.optional == Some(true) => {}
                None => return Err(EnvError::NoSecret(r.name.clone())),
            }
        }
        Ok(())
    }

    /// Returns a variable's value; `None`: it is optional and its source is missing.
    fn value(&self, env: &Environment, own: &Container, variable: &EnvVar) -> Result<Option<String>, EnvError> {
        match (variable.value.as_deref().filter(|v| !v.is_empty()), &variable.value_from) {
            (Some(value), _) => Ok(Some(expansion::expand_known(value, |name| {
                env.get(name).or_else(|| self.services.get(name)).map(String::as_str)
            }))),
            (None, Some(source)) => self.sourced(own, source),
            (None, None) => Ok(Some(String::new())),
        }
    }

    fn sourced(&self, own: &Container, source: &EnvVarSource) -> Result<Option<String>, EnvError> {
        if let Some(field) = &source.field_ref {
            return Ok(Some(self.facts.field(field)?));
        }
        if let Some(resource) = &source.resource_field_ref {
            return Ok(Some(self.facts.resource(resource, Some(own))?));
        }
        if let Some(r) = &source.config_map_key_ref {
            return self.config_map_key(&r.name, &r.key, r.optional == Some(true));
        }
        if let Some(r) = &source.secret_key_ref {
            return self.secret_key(&r.name, &r.key, r.optional == Some(true));
        }
        if let Some(r) = &source.file_key_ref {
            return Ok((self.files)(r)?);
        }
        Ok(Some(String::new()))
    }

    fn config_map_key(&self, name: &str, key: &str, optional: bool) -> Result<Option<String>, EnvError> {
        let Some(map) = self.objects.config_map(name) else {
            return if optional { Ok(None) } else { Err(EnvError::NoConfigMap(name.to_owned())) };
        };
        match map.data.as_ref().and_then(|d| d.get(key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(EnvError::NoConfigMapKey {
                namespace: self.namespace(),
                name: name.to_owned(),
                key: key.to_owned(),
            }),
        }
    }

    fn secret_key(&self, name: &str, key: &str, optional: bool) -> Result<Option<String>, EnvError> {
        let Some(secret) = self.objects.secret(name) else {
            return if optional { Ok(None) } else { Err(EnvError::NoSecret(name.to_owned())) };
        };
        match secret.data.as_ref().and_then(|d| d.get(key)) {
            Some(value) => Ok(Some(text(&value.0))),
            None if optional => Ok(None),
            None => {
                Err(EnvError::NoSecretKey { namespace: self.namespace(), name: name.to_owned(), key: key.to_owned() })
            }
        }
    }

    fn namespace(&self) -> String {
        crate::names::pod_namespace(self.facts.pod).to_owned()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_in_result, reason = "the fixtures are valid; only what is tested may fail")]
mod tests {
    use std::net::IpAddr;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn resolve(container: Value) -> Result<Vec<String>, String> {
        let container: Container = serde_json::from_value(container).expect("a container");
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": []}}))
                .expect("a pod");
        let config_map = json!({"metadata": {"name": "cm"}, "data": {"k": "from-cm", "a.b-c": "odd", "REF": "$(k)"}});
        let secret = json!({"metadata": {"name": "s"}, "data": {"pw": "aHVudGVy"}});
        let objects = Objects {
            config_maps: [("cm".to_owned(), serde_json::from_value(config_map).expect("a map"))].into(),
            secrets: [("s".to_owned(), serde_json::from_value(secret).expect("a secret"))].into(),
            ..Objects::default()
        };
        let services = Environment::from([("KUBERNETES_SERVICE_HOST".to_owned(), "10.96.0.1".to_owned())]);
        let facts =
            Facts { pod: &pod, host_ips: &[], pod_ips: &[IpAddr::from([10, 0, 0, 7])], allocatable: &BTreeMap::new() };
        let files = |_: &FileKeySelector| Ok(Some("from-file".to_owned()));
        let sources = Sources { facts: &facts, objects: &objects, services: &services, files: &files };
        let env = sources.environment(&container).map_err(|e| e.to_string())?;
        Ok(env.into_iter().filter(|(k, _)| k != "KUBERNETES_SERVICE_HOST").map(|(k, v)| format!("{k}={v}")).collect())
    }

    fn container(env: Value, env_from: Value) -> Value {
        json!({"name": "c", "image": "i", "env": env, "envFrom": env_from})
    }

    #[test]
    fn s11_17_env_overrides_env_from_and_sees_only_earlier_variables() {
        let got = resolve(container(
            json!([
                {"name": "EARLY", "value": "$(LATE)"},
                {"name": "LATE", "value": "1"},
                {"name": "SEES", "value": "$(LATE)-$(k)-$(KUBERNETES_SERVICE_HOST)-$$(LATE)-$(NOPE)"},
                {"name": "k", "value": "mine"},
                {"name": "AFTER", "value": "$(k)"},
                {"name": "EMPTY"}
            ]),
            json!([{"configMapRef": {"name": "cm"}}]),
        ));
        let want = [
            "AFTER=mine",
            "EARLY=$(LATE)",
            "EMPTY=",
            "LATE=1",
            "REF=$(k)",
            "SEES=1-from-cm-10.96.0.1-$(LATE)-$(NOPE)",
            "a.b-c=odd",
            "k=mine",
        ];
        assert_eq!(got.expect("resolved"), want);
    }

    #[test]
    fn s11_19_prefix_goes_before_every_key_whatever_its_look() {
        let got = resolve(container(
            json!([]),
            json!([{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"prefix": "S_", "secretRef": {"name": "s"}}]),
        ));
        assert_eq!(got.expect("resolved"), ["P_REF=$(k)", "P_a.b-c=odd", "P_k=from-cm", "S_pw=hunter"]);
    }

    #[test]
    fn s11_08_s11_09_s11_20_values_come_from_fields_secrets_and_files() {
        let got = resolve(container(
            json!([
                {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
                {"name": "C", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "e.env", "key": "K"}}},
                {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}}
            ]),
            json!([]),
        ));
        assert_eq!(got.expect("resolved"), ["A=10.0.0.7", "B=hunter", "C=from-file", "D=0"]);
    }

    #[test]
    fn s5_05_s11_18_missing_sources_name_themselves_unless_optional() {
        let key = |kind: &str, name: &str, key: &str, optional: bool| {
            container(
                json!([{"name": "X", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}]),
                json!([]),
            )
        };
        let all =
            |kind: &str, optional: bool| container(json!([]), json!([{kind: {"name": "nope", "optional": optional}}]));
        let failing = [
            (key("configMapKeyRef", "nope", "k", false), "configmap \"nope\" not found"),
            (key("configMapKeyRef", "cm", "x", false), "couldn't find key x in ConfigMap ns/cm"),
            (key("secretKeyRef", "nope", "k", false), "secret \"nope\" not found"),
            (key("secretKeyRef", "s", "x", false), "couldn't find key x in Secret ns/s"),
            (all("configMapRef", false), "configmap \"nope\" not found"),
            (all("secretRef", false), "secret \"nope\" not found"),
        ];
        for (input, want) in failing {
            assert_eq!(resolve(input.clone()), Err(want.to_owned()), "{input}");
        }
        let passing = [
            key("configMapKeyRef", "nope", "k", true),
            key("configMapKeyRef", "cm", "x", true),
            key("secretKeyRef", "nope", "k", true),
            key("secretKeyRef", "s", "x", true),
            all("configMapRef", true),
            all("secretRef", true),
        ];
        for input in passing {
            assert_eq!(resolve(input.clone()), Ok(vec![]), "{input}");
        }
    }
}
