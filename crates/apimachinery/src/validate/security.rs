//! Under which identity and with which rights containers run.

use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext};
use serde_json::Value;

use super::{in_range, text};
use crate::field::{FieldErrors, Path};

/// Checks what a pod says for all its containers.
pub(super) fn pod(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    if spec.host_users == Some(false) {
        let fields = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
        for (field, _) in fields.into_iter().filter(|(_, value)| *value == Some(true)) {
            errors.forbidden(&path.child(field), "when `hostUsers` is false");
        }
    }
    let at = path.child("securityContext");
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&at.child("shareProcessNamespace"), true, why);
    }
    let Some(context) = &spec.security_context else { return };
    id(errors, &at.child("fsGroup"), context.fs_group);
    id(errors, &at.child("runAsUser"), context.run_as_user);
    id(errors, &at.child("runAsGroup"), context.run_as_group);
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(errors, &at.child("supplementalGroups").index(index), Some(*group));
    }
    if let Some(policy) = context.fs_group_change_policy.as_deref() {
        known(errors, &at.child("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    if let Some(policy) = context.supplemental_groups_policy.as_deref() {
        known(errors, &at.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    if let Some(profile) = &context.seccomp_profile {
        seccomp(errors, &at.child("seccompProfile"), profile);
    }
}

/// Checks what a container says for itself, in a pod with the host's users or its own.
pub(super) fn container(errors: &mut FieldErrors, at: &Path, context: &SecurityContext, host_users: bool) {
    id(errors, &at.child("runAsUser"), context.run_as_user);
    id(errors, &at.child("runAsGroup"), context.run_as_group);
    if let Some(mount) = context.proc_mount.as_deref() {
        known(errors, &at.child("procMount"), mount, &["Default", "Unmasked"]);
        if host_users && mount == "Unmasked" {
            let why = "`hostUsers` must be false to use `Unmasked`";
            errors.invalid(&at.child("procMount"), mount, why);
        }
    }
    if let Some(profile) = &context.seccomp_profile {
        seccomp(errors, &at.child("seccompProfile"), profile);
    }
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    let value = || serde_json::to_value(context).unwrap_or(Value::Null);
    if context.privileged == Some(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid(at, value(), why);
    }
    let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    if added.into_iter().any(|name| name == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid(at, value(), why);
    }
}

fn seccomp(errors: &mut FieldErrors, at: &Path, profile: &SeccompProfile) {
    let path = at.child("localhostProfile");
    let file = text(&profile.localhost_profile);
    match profile.type_.as_str() {
        "" => errors.required(&at.child("type"), "type is required when seccompProfile is set"),
        "Localhost" if file.is_empty() => {
            errors.required(&path, "must be set when seccomp type is Localhost");
        }
        "Localhost" => super::volume::descending_path(errors, &path, file),
        "RuntimeDefault" | "Unconfined" if !file.is_empty() => {
            errors.invalid(&path, file, "can only be set when seccomp type is Localhost");
        }
        "RuntimeDefault" | "Unconfined" => {}
        other => errors.not_supported(&at.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

fn id(errors: &mut FieldErrors, path: &Path, value: Option<i64>) {
    if let Some(value) = value {
        in_range(errors, path, value, 0, i32::MAX.into());
    }
}

fn known(errors: &mut FieldErrors, path: &Path, value: &str, values: &[&str]) {
    if !values.contains(&value) {
        errors.not_supported(path, value, values);
    }
}
