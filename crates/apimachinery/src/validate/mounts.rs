//! Where a container has the volumes of its pod (S11-13, S11-15).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{pod::Scope, required, text, volume};
use crate::field::{FieldErrors, Path};

/// Checks the mounts of a container.
pub(super) fn mounts(errors: &mut FieldErrors, path: &Path, container: &Container, scope: &Scope<'_>) {
    let mut seen = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let at = path.index(index);
        required(errors, &at.child("name"), &mount.name);
        let found = scope.volume(&mount.name);
        if found.is_none() {
            errors.not_found(&at.child("name"), mount.name.as_str());
        }
        required(errors, &at.child("mountPath"), &mount.mount_path);
        if !seen.insert(mount.mount_path.as_str()) {
            errors.invalid(&at.child("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
        not_a_device(errors, &at, mount, container);
        if found.is_some_and(|volume| volume.image.is_some()) {
            not_below_images(errors, &at, mount);
        }
        sub_path(errors, path, &at, mount);
        propagation(errors, &path.child("mountPropagation"), mount, container);
        recursive_read_only(errors, &path.child("recursiveReadOnly"), mount);
    }
}

fn not_a_device(errors: &mut FieldErrors, at: &Path, mount: &VolumeMount, container: &Container) {
    for device in container.volume_devices.iter().flatten() {
        if device.name == mount.name {
            errors.invalid(&at.child("name"), mount.name.as_str(), "must not already exist in volumeDevices");
        }
        if device.device_path == mount.mount_path {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid(&at.child("mountPath"), mount.mount_path.as_str(), why);
        }
    }
}

fn not_below_images(errors: &mut FieldErrors, at: &Path, mount: &VolumeMount) {
    for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
        let value = text(value);
        if !value.is_empty() {
            errors.invalid(&at.child(field), value, "not allowed in image volume sources");
        }
    }
}

/// The paths of these errors lack the index of the mount, as those of Kubernetes do.
fn sub_path(errors: &mut FieldErrors, path: &Path, at: &Path, mount: &VolumeMount) {
    let (plain, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !plain.is_empty() {
        volume::descending_path(errors, &path.child("subPath"), plain);
    }
    if expression.is_empty() {
        return;
    }
    if !plain.is_empty() {
        let why = "subPathExpr and subPath are mutually exclusive";
        errors.invalid(&at.child("subPathExpr"), expression, why);
    }
    volume::descending_path(errors, &path.child("subPathExpr"), expression);
}

fn propagation(errors: &mut FieldErrors, path: &Path, mount: &VolumeMount, container: &Container) {
    const MODES: &[&str] = &["Bidirectional", "HostToContainer", "None"];
    let Some(mode) = mount.mount_propagation.as_deref() else { return };
    if !MODES.contains(&mode) {
        errors.not_supported(path, mode, MODES);
    }
    let privileged = container.security_context.as_ref().and_then(|c| c.privileged).unwrap_or_default();
    if mode == "Bidirectional" && !privileged {
        errors.forbidden(path, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(errors: &mut FieldErrors, path: &Path, mount: &VolumeMount) {
    const MODES: &[&str] = &["Disabled", "Enabled", "IfPossible"];
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|mode| mode != "None") {
                errors.forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(mode) => errors.not_supported(path, mode, MODES),
    }
}

/// Checks the raw devices of a container.
pub(super) fn devices(errors: &mut FieldErrors, path: &Path, container: &Container, scope: &Scope<'_>) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in container.volume_devices.iter().flatten().enumerate() {
        let at = path.index(index);
        let (name_path, path) = (at.child("name"), at.child("devicePath"));
        required(errors, &name_path, &device.name);
        if !device.name.is_empty() && !names.insert(device.name.as_str()) {
            errors.invalid(&name_path, device.name.as_str(), "must be unique");
        }
        match scope.volume(&device.name) {
            None => errors.not_found(&name_path, device.name.as_str()),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&name_path, device.name.as_str(), why);
            }
            Some(_) => {}
        }
        required(errors, &path, &device.device_path);
        if !paths.insert(device.device_path.as_str()) {
            errors.invalid(&path, device.device_path.as_str(), "must be unique");
        }
        if volume::has_backsteps(&device.device_path) {
            errors.invalid(&path, device.device_path.as_str(), "can not contain backsteps ('..')");
        }
    }
}
