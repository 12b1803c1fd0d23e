//! Volumes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, Volume,
    VolumeProjection,
};

use super::{container::pull_policy, env, pod::Scope, required, required_label, text};
use crate::{
    field::{FieldErrors, Path},
    quantity::Quantity,
};

/// Tells whether a volume says where its content comes from.
pub(crate) fn has_source(v: &Volume) -> bool {
    source_count(v) > 0
}

/// Counts the sources of a volume; exactly one is right.
pub(crate) fn source_count(v: &Volume) -> usize {
    [
        v.aws_elastic_block_store.is_some(),
        v.azure_disk.is_some(),
        v.azure_file.is_some(),
        v.cephfs.is_some(),
        v.cinder.is_some(),
        v.config_map.is_some(),
        v.csi.is_some(),
        v.downward_api.is_some(),
        v.empty_dir.is_some(),
        v.ephemeral.is_some(),
        v.fc.is_some(),
        v.flex_volume.is_some(),
        v.flocker.is_some(),
        v.gce_persistent_disk.is_some(),
        v.git_repo.is_some(),
        v.glusterfs.is_some(),
        v.host_path.is_some(),
        v.image.is_some(),
        v.iscsi.is_some(),
        v.nfs.is_some(),
        v.persistent_volume_claim.is_some(),
        v.photon_persistent_disk.is_some(),
        v.portworx_volume.is_some(),
        v.projected.is_some(),
        v.quobyte.is_some(),
        v.rbd.is_some(),
        v.scale_io.is_some(),
        v.secret.is_some(),
        v.storageos.is_some(),
        v.vsphere_volume.is_some(),
    ]
    .into_iter()
    .filter(|set| *set)
    .count()
}

/// Checks the volumes of a pod (S11-03 to S11-16).
pub(super) fn all(errors: &mut FieldErrors, path: &Path, scope: &Scope<'_>) {
    let mut seen = BTreeSet::new();
    for (index, volume) in scope.spec.volumes.iter().flatten().enumerate() {
        let at = path.index(index);
        source(errors, &at, volume);
        required_label(errors, &at.child("name"), &volume.name);
        if !volume.name.is_empty() && !seen.insert(volume.name.as_str()) {
            errors.duplicate(&at.child("name"), volume.name.as_str());
        }
    }
}

fn source(errors: &mut FieldErrors, at: &Path, volume: &Volume) {
    match source_count(volume) {
        0 => errors.required(at, "must specify a volume type"),
        1 => {}
        _ => errors.forbidden(at, "may not specify more than 1 volume type"),
    }
    if let Some(found) = &volume.empty_dir {
        empty_dir(errors, &at.child("emptyDir"), found);
    }
    if let Some(found) = &volume.host_path {
        host_path(errors, &at.child("hostPath"), found);
    }
    if let Some(found) = &volume.secret {
        let at = at.child("secret");
        required(errors, &at.child("secretName"), text(&found.secret_name));
        files(errors, &at, found.default_mode, found.items.as_deref().unwrap_or_default());
    }
    if let Some(found) = &volume.config_map {
        let at = at.child("configMap");
        required(errors, &at.child("name"), &found.name);
        files(errors, &at, found.default_mode, found.items.as_deref().unwrap_or_default());
    }
    if let Some(found) = &volume.downward_api {
        let at = at.child("downwardAPI");
        mode(errors, &at.child("defaultMode"), found.default_mode);
        for file in found.items.iter().flatten() {
            downward_file(errors, &at, file);
        }
    }
    if let Some(found) = &volume.projected {
        projected(errors, &at.child("projected"), found);
    }
    if let Some(found) = &volume.persistent_volume_claim {
        required(errors, &at.child("persistentVolumeClaim").child("claimName"), &found.claim_name);
    }
    if let Some(found) = &volume.image {
        let at = at.child("image");
        required(errors, &at.child("reference"), text(&found.reference));
        pull_policy(errors, &at.child("pullPolicy"), found.pull_policy.as_deref());
    }
}

fn empty_dir(errors: &mut FieldErrors, at: &Path, found: &EmptyDirVolumeSource) {
    let limit = found.size_limit.as_ref().map(|limit| limit.0.parse::<Quantity>());
    if limit.is_some_and(|limit| limit.is_err() || limit.is_ok_and(|limit| limit.is_negative())) {
        errors.forbidden(&at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(errors: &mut FieldErrors, at: &Path, found: &HostPathVolumeSource) {
    if found.path.is_empty() {
        errors.required(&at.child("path"), "");
    } else if has_backsteps(&found.path) {
        errors.invalid(&at.child("path"), found.path.as_str(), "must not contain '..'");
    }
    let kind = text(&found.type_);
    if !HOST_PATH_TYPES.contains(&kind) {
        errors.not_supported(&at.child("type"), kind, HOST_PATH_TYPES);
    }
}

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

fn files(errors: &mut FieldErrors, at: &Path, default_mode: Option<i32>, items: &[KeyToPath]) {
    mode(errors, &at.child("defaultMode"), default_mode);
    for (index, item) in items.iter().enumerate() {
        key_to_path(errors, &at.child("items").index(index), item);
    }
}

fn key_to_path(errors: &mut FieldErrors, at: &Path, item: &KeyToPath) {
    required(errors, &at.child("key"), &item.key);
    required(errors, &at.child("path"), &item.path);
    local_path(errors, &at.child("path"), &item.path);
    mode(errors, &at.child("mode"), item.mode);
}

fn mode(errors: &mut FieldErrors, path: &Path, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn downward_file(errors: &mut FieldErrors, at: &Path, file: &DownwardAPIVolumeFile) {
    required(errors, &at.child("path"), &file.path);
    local_path(errors, &at.child("path"), &file.path);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), other) => {
            env::field_ref(errors, &at.child("fieldRef"), field, env::FILE_FIELDS);
            if other.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(at, "resource", why);
            }
        }
        (None, Some(resource)) => env::resource_ref(errors, &at.child("resourceFieldRef"), resource, true),
        (None, None) => errors.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(errors, &at.child("mode"), file.mode);
}

fn projected(errors: &mut FieldErrors, at: &Path, found: &ProjectedVolumeSource) {
    mode(errors, &at.child("defaultMode"), found.default_mode);
    let mut paths = BTreeSet::new();
    for (index, source) in found.sources.iter().flatten().enumerate() {
        let at = at.child("sources").index(index);
        let set = [
            source.secret.is_some(),
            source.config_map.is_some(),
            source.downward_api.is_some(),
            source.service_account_token.is_some(),
            source.cluster_trust_bundle.is_some(),
            source.pod_certificate.is_some(),
        ];
        if set.into_iter().filter(|set| *set).count() > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
        }
        projection(errors, &at, source, &mut paths);
    }
}

/// Checks one source of a projected volume; all sources share the paths.
fn projection(errors: &mut FieldErrors, at: &Path, source: &VolumeProjection, paths: &mut BTreeSet<String>) {
    let objects = [
        ("secret", source.secret.as_ref().map(|s| (s.name.as_str(), s.items.as_deref()))),
        ("configMap", source.config_map.as_ref().map(|c| (c.name.as_str(), c.items.as_deref()))),
    ];
    for (field, found) in objects {
        let Some((name, items)) = found else { continue };
        let at = at.child(field);
        required(errors, &at.child("name"), name);
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            key_to_path(errors, &at.child("items").index(index), item);
            unique_path(errors, &at, name, &item.path, paths);
        }
    }
    for file in source.downward_api.iter().flat_map(|api| api.items.iter().flatten()) {
        let at = at.child("downwardAPI");
        downward_file(errors, &at, file);
        unique_path(errors, &at, &file.path, &file.path, paths);
    }
    if let Some(token) = &source.service_account_token {
        let at = at.child("serviceAccountToken");
        token_lifetime(errors, &at.child("expirationSeconds"), token.expiration_seconds);
        required(errors, &at.child("path"), &token.path);
        local_path(errors, &at.child("path"), &token.path);
        unique_path(errors, &at, &token.path, &token.path, paths);
    }
}

fn unique_path(errors: &mut FieldErrors, at: &Path, value: &str, path: &str, paths: &mut BTreeSet<String>) {
    if !path.is_empty() && !paths.insert(path.to_owned()) {
        errors.invalid(at, value, "conflicting duplicate paths");
    }
}

fn token_lifetime(errors: &mut FieldErrors, path: &Path, seconds: Option<i64>) {
    match seconds {
        Some(seconds) if seconds < 600 => {
            errors.invalid(path, seconds, "may not specify a duration less than 10 minutes");
        }
        Some(seconds) if seconds > 1 << 32 => {
            errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        Some(_) | None => {}
    }
}

/// Checks a path below some directory.
pub(super) fn descending_path(errors: &mut FieldErrors, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    }
    if has_backsteps(value) {
        errors.invalid(path, value, "must not contain '..'");
    }
}

/// Checks the path of a file in a volume, where names that start with `..` are taken for swapping directories.
pub(super) fn local_path(errors: &mut FieldErrors, path: &Path, value: &str) {
    descending_path(errors, path, value);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

/// Tells whether a path goes up anywhere.
pub(super) fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}
