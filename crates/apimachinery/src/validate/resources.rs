//! What a container asks for and may use.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Container, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use super::{NOT_NEGATIVE, invalid_for, names, pod::Scope};
use crate::{
    field::{FieldErrors, Path},
    quantity::Quantity,
};

/// Resize policy that needs a restart.
pub(super) const RESTART_CONTAINER: &str = "RestartContainer";

/// Checks the resources of a container.
pub(super) fn of_container(errors: &mut FieldErrors, at: &Path, wanted: &ResourceRequirements, scope: &Scope<'_>) {
    let (limits_path, requests_path) = (at.child("limits"), at.child("requests"));
    let limits = amounts(errors, &limits_path, wanted.limits.as_ref(), container_resource_name);
    let requests = amounts(errors, &requests_path, wanted.requests.as_ref(), container_resource_name);
    requests_within_limits(errors, at, &requests, &limits);
    let has = |test: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| test(name));
    if has(is_huge_pages) && !has(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
    claims(errors, &at.child("claims"), wanted, scope);
}

/// Reads amounts, checking names and values.
pub(super) fn amounts<'a>(
    errors: &mut FieldErrors,
    path: &Path,
    amounts: Option<&'a BTreeMap<String, ApiQuantity>>,
    check_name: impl Fn(&mut FieldErrors, &Path, &str),
) -> BTreeMap<&'a str, Quantity> {
    let mut read = BTreeMap::new();
    for (name, amount) in amounts.into_iter().flatten() {
        check_name(errors, path, name);
        match amount.0.parse::<Quantity>() {
            Ok(quantity) => {
                value(errors, &path.key(name), name, quantity);
                read.insert(name.as_str(), quantity);
            }
            Err(why) => errors.invalid(&path.key(name), amount.0.as_str(), why.to_string()),
        }
    }
    read
}

fn value(errors: &mut FieldErrors, path: &Path, name: &str, amount: Quantity) {
    if amount.is_negative() {
        errors.invalid(path, amount.to_string(), NOT_NEGATIVE);
    }
    if is_extended(name) && !amount.is_whole() {
        errors.invalid(path, amount.to_string(), "must be an integer");
    }
}

fn container_resource_name(errors: &mut FieldErrors, path: &Path, name: &str) {
    invalid_for(errors, path, name, names::qualified_name(name));
    if name.contains('/') {
        if !is_native(name) && !is_extended(name) {
            errors.invalid(path, name, "doesn't follow extended resource name standard");
        }
        return;
    }
    let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_pages(name);
    if !standard {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
        errors.invalid(path, name, "must be a standard resource for containers");
    }
}

/// Checks that no request is more than its limit, and equal to it where the resource cannot be shared out twice.
pub(super) fn requests_within_limits(
    errors: &mut FieldErrors,
    at: &Path,
    requests: &BTreeMap<&str, Quantity>,
    limits: &BTreeMap<&str, Quantity>,
) {
    let path = at.child("requests");
    for (name, request) in requests {
        let exact = is_extended(name) || is_huge_pages(name);
        match limits.get(name) {
            Some(limit) if exact && request != limit => {
                errors.invalid(&path, request.to_string(), format!("must be equal to {name} limit of {limit}"));
            }
            Some(limit) if request > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid(&path, request.to_string(), why);
            }
            None if exact => {
                errors.required(&at.child("limits"), "Limit must be set for non overcommitable resources");
            }
            Some(_) | None => {}
        }
    }
}

fn claims(errors: &mut FieldErrors, path: &Path, wanted: &ResourceRequirements, scope: &Scope<'_>) {
    let known: BTreeSet<&str> = scope.spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).collect();
    for (index, claim) in wanted.claims.iter().flatten().enumerate() {
        let at = path.index(index);
        if claim.name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if !known.contains(claim.name.as_str()) {
            errors.not_found(&at.child("name"), claim.name.as_str());
        }
    }
}

/// Checks how a container takes a change of its resources (S1-27).
pub(super) fn resize_policy(errors: &mut FieldErrors, path: &Path, container: &Container, scope: &Scope<'_>) {
    let never = scope.spec.restart_policy.as_deref() == Some("Never");
    let mut seen = BTreeSet::new();
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        if !seen.insert(policy.resource_name.as_str()) {
            errors.duplicate(&path.index(index), policy.resource_name.as_str());
        }
        super::one_of(errors, path, Some(&policy.resource_name), &["cpu", "memory"]);
        super::one_of(errors, path, Some(&policy.restart_policy), &["NotRequired", RESTART_CONTAINER]);
        if never && policy.restart_policy != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(path, policy.restart_policy.as_str(), why);
        }
    }
}

/// Tells whether a resource is pages of a fixed size.
pub(super) fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    name.split_once('/').is_none_or(|(domain, _)| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io"))
}

fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.")
}
