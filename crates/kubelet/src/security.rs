//! Security context of a container: its own settings over the pod's (pkg/securitycontext/util.go).

use std::path::Path;

use cri::{Capabilities, ImageInfo, ImageUser, SeccompProfile, SecurityContext};
use k8s_openapi::api::core::v1::{self as core, Container, Pod};

use crate::names::describe_pod;

/// Why a container may not run as it would (contract S5-05, S11-24).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecurityError {
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RootAsked { pod: String, container: String },
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    RootImage { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
    )]
    NamedUser { user: String, pod: String, container: String },
    #[error("{field}: {value} is no user or group id")]
    Id { field: &'static str, value: i64 },
    #[error("localhostProfile must be set if seccompProfile type is Localhost.")]
    NoLocalhostProfile,
}

/// Merges the security contexts of pod and container.
pub(crate) fn security_context(
    pod: &Pod,
    container: &Container,
    seccomp_root: &Path,
    seccomp_default: bool,
) -> Result<SecurityContext, SecurityError> {
    let own = container.security_context.clone().unwrap_or_default();
    let shared = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let capabilities = own.capabilities.unwrap_or_default();
    Ok(SecurityContext {
        privileged,
        run_as_user: id("runAsUser", own.run_as_user.or(shared.run_as_user))?,
        run_as_group: id("runAsGroup", own.run_as_group.or(shared.run_as_group))?,
        supplemental_groups: supplemental_groups(&shared)?,
        supplemental_groups_strict: shared.supplemental_groups_policy.as_deref() == Some("Strict"),
        capabilities: Capabilities {
            add: capabilities.add.unwrap_or_default(),
            drop: capabilities.drop.unwrap_or_default(),
        },
        read_only_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        seccomp: if privileged {
            SeccompProfile::Unconfined
        } else {
            seccomp(own.seccomp_profile.or(shared.seccomp_profile).as_ref(), seccomp_root, seccomp_default)?
        },
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    })
}

/// Checks `runAsNonRoot` against the user that the container would run as.
pub(crate) fn verify_non_root(pod: &Pod, container: &Container, image: &ImageInfo) -> Result<(), SecurityError> {
    let own = container.security_context.as_ref();
    let shared = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let wanted = own.and_then(|s| s.run_as_non_root).or_else(|| shared.and_then(|s| s.run_as_non_root));
    if wanted != Some(true) {
        return Ok(());
    }
    let (named_pod, name) = (describe_pod(pod), container.name.clone());
    match own.and_then(|s| s.run_as_user).or_else(|| shared.and_then(|s| s.run_as_user)) {
        Some(0) => return Err(SecurityError::RootAsked { pod: named_pod, container: name }),
        Some(_) => return Ok(()),
        None => {}
    }
    match &image.user {
        ImageUser::Unset | ImageUser::Uid(0) => Err(SecurityError::RootImage { pod: named_pod, container: name }),
        ImageUser::Uid(_) => Ok(()),
        ImageUser::Name(user) => Err(SecurityError::NamedUser { user: user.clone(), pod: named_pod, container: name }),
    }
}

/// Returns the pod's extra groups, `fsGroup` among them (contract S11-25).
fn supplemental_groups(shared: &core::PodSecurityContext) -> Result<Vec<u32>, SecurityError> {
    let mut groups = Vec::new();
    for group in shared.supplemental_groups.iter().flatten().copied().chain(shared.fs_group) {
        let group = id("supplementalGroups", Some(group))?;
        groups.extend(group.filter(|g| !groups.contains(g)));
    }
    Ok(groups)
}

fn seccomp(
    profile: Option<&core::SeccompProfile>,
    root: &Path,
    default: bool,
) -> Result<SeccompProfile, SecurityError> {
    let Some(profile) = profile else {
        return Ok(if default { SeccompProfile::RuntimeDefault } else { SeccompProfile::Unconfined });
    };
    match profile.type_.as_str() {
        "RuntimeDefault" => Ok(SeccompProfile::RuntimeDefault),
        "Localhost" => {
            let name = profile.localhost_profile.as_ref().ok_or(SecurityError::NoLocalhostProfile)?;
            Ok(SeccompProfile::Localhost(root.join(name)))
        }
        _ => Ok(SeccompProfile::Unconfined),
    }
}

/// Checks an id from a manifest.
pub(crate) fn id(field: &'static str, value: Option<i64>) -> Result<Option<u32>, SecurityError> {
    value.map(|v| u32::try_from(v).map_err(|_| SecurityError::Id { field, value: v })).transpose()
}

/// The user that every container of a pod runs as, if it is the same one and the manifest says so.
pub(crate) fn common_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let own = containers.map(|container| container.security_context.as_ref().and_then(|context| context.run_as_user));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral =
        ephemeral.map(|container| container.security_context.as_ref().and_then(|context| context.run_as_user));
    let mut users = own.chain(ephemeral).map(|user| user.or(of_pod));
    let first = users.next()??;
    if users.all(|user| user == Some(first)) { u32::try_from(first).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn make(pod: Value, container: Value) -> (Pod, Container) {
        let c: Container = serde_json::from_value(json!({"name": "c", "image": "i", "securityContext": container}))
            .expect("container");
        let p: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [], "securityContext": pod}
        }))
        .expect("a pod");
        (p, c)
    }

    fn merged(pod: Value, container: Value) -> SecurityContext {
        let (p, c) = make(pod, container);
        security_context(&p, &c, Path::new("/seccomp"), false).expect("merged")
    }

    #[test]
    fn s11_24_the_containers_own_settings_win_over_the_pods() {
        let got = merged(
            json!({"runAsUser": 1000, "runAsGroup": 1001, "supplementalGroups": [5, 6], "fsGroup": 6,
                "seccompProfile": {"type": "RuntimeDefault"}, "supplementalGroupsPolicy": "Strict"}),
            json!({"runAsUser": 2000, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
                "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "procMount": "Unmasked",
                "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}}),
        );
        let want = SecurityContext {
            privileged: false,
            run_as_user: Some(2000),
            run_as_group: Some(1001),
            supplemental_groups: vec![5, 6],
            supplemental_groups_strict: true,
            capabilities: Capabilities { add: vec!["NET_ADMIN".to_owned()], drop: vec!["ALL".to_owned()] },
            read_only_root: true,
            no_new_privileges: true,
            seccomp: SeccompProfile::Localhost("/seccomp/a/b.json".into()),
            unmasked_proc: true,
        };
        assert_eq!(got, want);
    }

    #[test]
    fn nothing_said_means_unconfined_unless_the_node_says_otherwise() {
        assert_eq!(merged(json!({}), json!({})), SecurityContext::default());
        let (p, c) = make(json!({}), json!({}));
        let got = security_context(&p, &c, Path::new("/s"), true).expect("merged");
        assert_eq!(got.seccomp, SeccompProfile::RuntimeDefault);
        let (p, c) = make(json!({}), json!({"privileged": true, "seccompProfile": {"type": "RuntimeDefault"}}));
        let got = security_context(&p, &c, Path::new("/s"), true).expect("merged");
        assert_eq!((got.privileged, got.seccomp), (true, SeccompProfile::Unconfined));
    }

    #[test]
    fn s5_05_s11_24_run_as_non_root_is_verified_against_the_image() {
        let image = |user: ImageUser| ImageInfo { user, ..ImageInfo::default() };
        let cases = [
            (json!({}), json!({}), ImageUser::Unset, None),
            (json!({"runAsNonRoot": true}), json!({}), ImageUser::Uid(7), None),
            (json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false}), ImageUser::Unset, None),
            (json!({"runAsNonRoot": true, "runAsUser": 5}), json!({}), ImageUser::Unset, None),
            (
                json!({"runAsNonRoot": true}),
                json!({}),
                ImageUser::Unset,
                Some("container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"),
            ),
            (
                json!({}),
                json!({"runAsNonRoot": true}),
                ImageUser::Uid(0),
                Some("container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"),
            ),
            (
                json!({"runAsNonRoot": true, "runAsUser": 5}),
                json!({"runAsUser": 0}),
                ImageUser::Unset,
                Some("container's runAsUser breaks non-root policy (pod: \"p_ns(u)\", container: c)"),
            ),
            (
                json!({"runAsNonRoot": true}),
                json!({}),
                ImageUser::Name("web".to_owned()),
                Some(
                    "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root (pod: \"p_ns(u)\", container: c)",
                ),
            ),
        ];
        for (pod, container, user, want) in cases {
            let (p, c) = make(pod.clone(), container.clone());
            let got = verify_non_root(&p, &c, &image(user)).err().map(|e| e.to_string());
            assert_eq!(got.as_deref(), want, "{pod} {container}");
        }
    }
}
