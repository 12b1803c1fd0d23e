//! A container's spec as the runtime's container configuration (kuberuntime_container.go).

use std::{collections::BTreeMap, path::PathBuf};

use cri::{ContainerConfig, ContainerId, ImageInfo, Mount, MountPropagation, MountSource};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use crate::{
    Options,
    env::{Environment, expansion},
    names::{self, pod_name, pod_namespace, pod_uid},
    paths::{PodPaths, log_path},
    resources, security,
    security::SecurityError,
    volumes::{ReadyVolume, VolumeSource},
};

/// Where a termination message is written unless the spec says otherwise.
const DEFAULT_TERMINATION_PATH: &str = "/dev/termination-log";

/// Why a configuration cannot be made: the message of `CreateContainerConfigError` (contract S5-05).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error("missing value for {0}")]
    SubPathExpr(String),
    #[error("volume {0:?} of mount {1:?} does not exist")]
    NoVolume(String, String),
}

/// Everything that a configuration is made from, already fetched.
pub(crate) struct Parts<'a> {
    pub(crate) options: &'a Options,
    pub(crate) paths: &'a PodPaths,
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    /// Restart count of the instance.
    pub(crate) attempt: u32,
    /// Image to run.
    pub(crate) image: &'a ImageInfo,
    /// Resolved environment.
    pub(crate) env: &'a Environment,
    /// Volumes of the pod by name.
    pub(crate) volumes: &'a BTreeMap<String, ReadyVolume>,
    /// Ids of image volumes by reference.
    pub(crate) image_ids: &'a BTreeMap<String, String>,
    /// Hash of name and image (contract S2-25).
    pub(crate) spec_hash: String,
    /// Container whose processes it sees.
    pub(crate) pid_target: Option<ContainerId>,
    /// Memory of the node in bytes.
    pub(crate) memory_capacity: i64,
}

impl Parts<'_> {
    /// Builds the configuration.
    pub(crate) fn config(&self) -> Result<ContainerConfig, ConfigError> {
        let container = self.container;
        security::verify_non_root(self.pod, container, self.image)?;
        let seccomp_root = self.options.root_dir.join("seccomp");
        Ok(ContainerConfig {
            name: container.name.clone(),
            attempt: self.attempt,
            image: self.image.id.clone(),
            image_name: container.image.clone().unwrap_or_default(),
            command: self.expand_all(container.command.as_deref()),
            args: self.expand_all(container.args.as_deref()),
            working_dir: container.working_dir.clone().filter(|d| !d.is_empty()),
            env: self.env.iter().map(|(n, v)| cri::EnvVar { name: n.clone(), value: v.clone() }).collect(),
            mounts: self.mounts()?,
            log_path: log_path(&container.name, self.attempt),
            stdin: container.stdin == Some(true),
            stdin_once: container.stdin_once == Some(true),
            tty: container.tty == Some(true),
            resources: resources::container_resources(self.pod, container, self.memory_capacity),
            security: security::security_context(self.pod, container, &seccomp_root, self.options.seccomp_default)?,
            stop_signal: container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()),
            pid_target: self.pid_target.clone(),
            labels: self.labels(),
            annotations: self.annotations(),
        })
    }

    /// Expands references in command or arguments (contract S11-22).
    fn expand_all(&self, words: Option<&[String]>) -> Vec<String> {
        let lookup = |name: &str| self.env.get(name).map(String::as_str);
        words.unwrap_or_default().iter().map(|w| expansion::expand_known(w, lookup)).collect()
    }

    fn mounts(&self) -> Result<Vec<Mount>, ConfigError> {
        let mut mounts = Vec::new();
        for mount in self.container.volume_mounts.iter().flatten() {
            mounts.push(self.mount(mount)?);
        }
        mounts.push(Mount {
            container_path: termination_path(self.container).to_owned(),
            source: MountSource::Host(self.paths.termination_message(&self.container.name, self.attempt)),
            sub_path: None,
            read_only: false,
            recursive_read_only: false,
            propagation: MountPropagation::Private,
        });
        Ok(mounts)
    }

    fn mount(&self, mount: &VolumeMount) -> Result<Mount, ConfigError> {
        let missing = || ConfigError::NoVolume(mount.name.clone(), mount.mount_path.clone());
        let volume = self.volumes.get(&mount.name).ok_or_else(missing)?;
        let source = match &volume.source {
            VolumeSource::Host(path) | VolumeSource::Memory(path) => MountSource::Host(path.clone()),
            VolumeSource::Image(reference) => {
                MountSource::Image(self.image_ids.get(reference).cloned().ok_or_else(missing)?)
            }
        };
        Ok(Mount {
            container_path: absolute(&mount.mount_path),
            source,
            sub_path: self.sub_path(mount)?,
            read_only: mount.read_only == Some(true) || volume.read_only,
            recursive_read_only: matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => MountPropagation::HostToContainer,
                Some("Bidirectional") => MountPropagation::Bidirectional,
                _ => MountPropagation::Private,
            },
        })
    }

    /// Returns the sub-path; an expression must have a value for each variable (contract S11-14).
    fn sub_path(&self, mount: &VolumeMount) -> Result<Option<PathBuf>, ConfigError> {
        if let Some(expression) = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
            let mut missing = Vec::new();
            let expanded = expansion::expand(expression, |name| {
                let value = self.env.get(name).cloned().unwrap_or_default();
                if value.is_empty() {
                    missing.push(name.to_owned());
                }
                value
            });
            return if missing.is_empty() {
                Ok(Some(PathBuf::from(expanded)))
            } else {
                missing.sort();
                missing.dedup();
                Err(ConfigError::SubPathExpr(missing.join(", ")))
            };
        }
        Ok(mount.sub_path.as_deref().filter(|p| !p.is_empty()).map(PathBuf::from))
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (names::POD_NAME.to_owned(), pod_name(self.pod).to_owned()),
            (names::POD_NAMESPACE.to_owned(), pod_namespace(self.pod).to_owned()),
            (names::POD_UID.to_owned(), pod_uid(self.pod).to_owned()),
            (names::CONTAINER_NAME.to_owned(), self.container.name.clone()),
        ])
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let policy = self.container.termination_message_policy.clone().unwrap_or_else(|| "File".to_owned());
        let mut all = BTreeMap::from([
            (names::CONTAINER_HASH.to_owned(), self.spec_hash.clone()),
            (names::CONTAINER_RESTART_COUNT.to_owned(), self.attempt.to_string()),
            (names::TERMINATION_PATH.to_owned(), termination_path(self.container).to_owned()),
            (names::TERMINATION_POLICY.to_owned(), policy),
        ]);
        let pre_stop = self.container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
        if let Some(json) = pre_stop.and_then(|h| serde_json::to_string(h).ok()) {
            all.insert(names::PRE_STOP.to_owned(), json);
        }
        all
    }
}

fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().filter(|p| !p.is_empty()).unwrap_or(DEFAULT_TERMINATION_PATH)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
#[expect(clippy::unwrap_in_result, reason = "the fixtures are valid; only what is tested may fail")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn build(container: Value) -> Result<ContainerConfig, String> {
        let container: Container = serde_json::from_value(container).expect("a container");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [], "volumes": [
                {"name": "scratch"}, {"name": "mem", "emptyDir": {"medium": "Memory"}},
                {"name": "cm", "configMap": {"name": "x"}}, {"name": "img", "image": {"reference": "tools:1"}},
                {"name": "host", "hostPath": {"path": "/srv"}}
            ]}
        }))
        .expect("a pod");
        let options = Options::new("node1", "/data".into(), "/mem".into(), "/logs".into());
        let paths = PodPaths::new(&options, &pod);
        let env = Environment::from([("NAME".to_owned(), "value".to_owned()), ("EMPTY".to_owned(), String::new())]);
        let image = ImageInfo { id: "sha256:1".to_owned(), ..ImageInfo::default() };
        let parts = Parts {
            options: &options,
            paths: &paths,
            pod: &pod,
            container: &container,
            attempt: 2,
            image: &image,
            env: &env,
            volumes: &crate::volumes::locate(&paths, &pod),
            image_ids: &BTreeMap::from([("tools:1".to_owned(), "sha256:t".to_owned())]),
            spec_hash: "abc".to_owned(),
            pid_target: None,
            memory_capacity: 1 << 30,
        };
        parts.config().map_err(|e| e.to_string())
    }

    #[test]
    fn s11_22_command_and_args_are_expanded_from_the_environment() {
        let got = build(json!({"name": "c", "image": "i", "command": ["$(NAME)", "$(NOPE)"], "args": ["$$(NAME)"]}))
            .expect("built");
        assert_eq!(got.command, ["value", "$(NOPE)"]);
        assert_eq!(got.args, ["$(NAME)"]);
        assert_eq!((got.attempt, got.image.as_str(), got.image_name.as_str()), (2, "sha256:1", "i"));
        assert_eq!(got.log_path, PathBuf::from("c/2.log"));
        assert_eq!(got.annotations[names::CONTAINER_HASH], "abc");
    }

    #[test]
    fn s11_15_mounts_point_at_their_volumes() {
        let got = build(json!({"name": "c", "image": "i", "volumeMounts": [
            {"name": "scratch", "mountPath": "/a", "subPathExpr": "d/$(NAME)"},
            {"name": "mem", "mountPath": "b", "mountPropagation": "HostToContainer"},
            {"name": "cm", "mountPath": "/c"},
            {"name": "img", "mountPath": "/d"},
            {"name": "host", "mountPath": "/e", "readOnly": true, "subPath": "x", "recursiveReadOnly": "Enabled"}
        ]}))
        .expect("built");
        let shown: Vec<_> = got
            .mounts
            .iter()
            .map(|m| (m.container_path.as_str(), m.source.clone(), m.sub_path.clone(), m.read_only))
            .collect();
        let host = |p: &str| MountSource::Host(PathBuf::from(p));
        let volumes = "/data/pods/u/volumes";
        let want = [
            ("/a", host(&format!("{volumes}/kubernetes.io~empty-dir/scratch")), Some(PathBuf::from("d/value")), false),
            ("/b", host(&format!("{volumes}/kubernetes.io~empty-dir/mem")), None, false),
            ("/c", host(&format!("{volumes}/kubernetes.io~configmap/cm")), None, true),
            ("/d", MountSource::Image("sha256:t".to_owned()), None, true),
            ("/e", host("/srv"), Some(PathBuf::from("x")), true),
            ("/dev/termination-log", host("/data/pods/u/containers/c/2.message"), None, false),
        ];
        assert_eq!(shown, want);
        assert_eq!(got.mounts[1].propagation, MountPropagation::HostToContainer);
        assert!(got.mounts[4].recursive_read_only);
    }

    #[test]
    fn s11_14_sub_path_expressions_need_every_variable() {
        let got = build(json!({"name": "c", "image": "i", "volumeMounts": [
            {"name": "scratch", "mountPath": "/a", "subPathExpr": "$(NOPE)/$(EMPTY)"}]}));
        assert_eq!(got, Err("missing value for EMPTY, NOPE".to_owned()));
    }
}
