//! Resources of a pod as a whole (S1-31).

use k8s_openapi::api::core::v1::PodSpec;

use super::resources::{amounts, is_huge_pages, requests_within_limits};
use crate::{
    field::{FieldErrors, Path},
    resources::{aggregate_requests, container_limits},
};

/// Checks them by themselves and against those of the containers.
pub(super) fn all(errors: &mut FieldErrors, at: &Path, spec: &PodSpec) {
    let Some(own) = spec.resources.as_ref().filter(|own| own.limits.is_some() || own.requests.is_some()) else {
        return claims(errors, at, spec);
    };
    claims(errors, at, spec);
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        errors.forbidden(at, "may not be set for a windows pod");
    }
    let (limits_path, requests_path) = (at.child("limits"), at.child("requests"));
    let limits = amounts(errors, &limits_path, own.limits.as_ref(), supported);
    let requests = amounts(errors, &requests_path, own.requests.as_ref(), supported);
    requests_within_limits(errors, at, &requests, &limits);
    let asked = aggregate_requests(spec);
    for (name, amount) in &requests {
        if let Some(asked) = asked.get(*name).filter(|asked| *asked > amount) {
            let why = format!("must be greater than or equal to aggregate container requests of {asked}");
            errors.invalid(&requests_path.key(name), amount.to_string(), why);
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        for (name, limit) in container_limits(container) {
            if let Some(most) = limits.get(name.as_str()).filter(|most| limit > **most) {
                // The path leads from the pod's resources' parent to the container.
                let path = parent(at).child("containers").index(index).child("resources").child("limits");
                let why = format!("must be less than or equal to pod limits of {most}");
                errors.invalid(&path.key(&name), limit.to_string(), why);
            }
        }
    }
}

fn claims(errors: &mut FieldErrors, at: &Path, spec: &PodSpec) {
    if spec.resources.as_ref().and_then(|own| own.claims.as_ref()).is_some_and(|claims| !claims.is_empty()) {
        errors.forbidden(&at.child("claims"), "claims cannot be set for Resources at pod-level");
    }
}

fn supported(errors: &mut FieldErrors, path: &Path, name: &str) {
    if !matches!(name, "cpu" | "memory") && !is_huge_pages(name) {
        errors.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
    }
}

fn parent(path: &Path) -> Path {
    path.as_str().rsplit_once('.').map_or_else(Path::default, |(parent, _)| Path::new(parent))
}
