//! The `ServiceAccount` admission plug-in (`plugin/pkg/admission/serviceaccount`): a pod's account must exist, and
//! its token is mounted unless somebody said no.

use apimachinery::prepare::name_suffix;
use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use serde_json::{Value, json};

use super::{Place, Registry, meta, root_ca};
use crate::auth::AUTOMATIC_SECONDS;
use crate::rules;

/// Where containers find the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Marks pods that a node agent runs from its own files.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Completes a pod that is being created.
///
/// # Errors
/// 403 if its service account does not exist.
pub(crate) fn admit(registry: &Registry, kind: &ResourceType, pod: &mut Value) -> Result<(), ApiError> {
    if !meta::field(pod, "annotations")[MIRROR].is_null() {
        return Ok(());
    }
    let Some(accounts) = scheme::by_kind("v1", "ServiceAccount") else { return Ok(()) };
    let namespace = meta::namespace(pod).to_owned();
    let name = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned();
    let account = registry.get(Place { kind: accounts, namespace: &namespace, name: &name }).map_err(|_| {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        ApiError::forbidden(kind, meta::name(pod), &why)
    })?;
    let account = account.value();
    let choice = |object: &Value| object["automountServiceAccountToken"].as_bool();
    if choice(&pod["spec"]).or_else(|| choice(account)).unwrap_or(true) {
        mount_token(&mut pod["spec"], &name_suffix(rules::random_bytes()));
    }
    let lists_none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    if lists_none(&pod["spec"]["imagePullSecrets"]) && !lists_none(&account["imagePullSecrets"]) {
        pod["spec"]["imagePullSecrets"] = account["imagePullSecrets"].clone();
    }
    Ok(())
}

/// Mounts the token into every container that has nothing mounted in its place.
fn mount_token(spec: &mut Value, suffix: &str) {
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let known = volumes.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with(VOLUME_PREFIX));
    let (name, is_new) = match known {
        Some(name) => (name.to_owned(), false),
        None => (format!("{VOLUME_PREFIX}{suffix}"), true),
    };
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().into_iter().flatten();
            if mounts.into_iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            rules::extend_list(
                container,
                "volumeMounts",
                [json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH})],
            );
            needed = true;
        }
    }
    if needed && is_new {
        rules::extend_list(spec, "volumes", [volume(&name)]);
    }
}

fn volume(name: &str) -> Value {
    let namespace = json!({
        "path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    });
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": AUTOMATIC_SECONDS, "path": "token"}},
                {"configMap": {"name": root_ca::NAME, "items": [{"key": root_ca::KEY, "path": root_ca::KEY}]}},
                {"downwardAPI": {"items": [namespace]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_where_nothing_else_is_mounted() {
        let mut spec = json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}, {"name": "b"}],
        });
        mount_token(&mut spec, "x2x4x");
        let mounted = |list: &str, at: usize| spec[list][at]["volumeMounts"][0]["name"].clone();
        assert_eq!(
            [mounted("initContainers", 0), mounted("containers", 0), mounted("containers", 1)],
            ["kube-api-access-x2x4x", "own", "kube-api-access-x2x4x"]
        );
        assert_eq!(spec["volumes"].as_array().map(Vec::len), Some(1));
        let once = spec.clone();
        mount_token(&mut spec, "other");
        assert_eq!(spec, once, "a pod that has it is left alone");
    }

    #[test]
    fn no_volume_is_added_that_nobody_mounts() {
        let mut spec =
            json!({"containers": [{"name": "a", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}]});
        mount_token(&mut spec, "x2x4x");
        assert!(spec.get("volumes").is_none() && spec.get("initContainers").is_none(), "{spec}");
    }
}
