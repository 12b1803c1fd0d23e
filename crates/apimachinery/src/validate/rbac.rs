//! Roles and their bindings.
//!
//! Source of rules and texts: `pkg/apis/rbac/validation`.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use serde_json::json;

use super::{invalid_for, names, required, text};
use crate::field::{FieldErrors, Path};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks the rules of a role.
pub(super) fn rules(errors: &mut FieldErrors, rules: Option<&Vec<PolicyRule>>, namespaced: bool) {
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        self::rule(errors, &Path::new("rules").index(index), rule, namespaced);
    }
}

fn rule(errors: &mut FieldErrors, path: &Path, rule: &PolicyRule, namespaced: bool) {
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if rule.verbs.is_empty() {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    if given(&rule.non_resource_urls) {
        let (path, urls) = (path.child("nonResourceURLs"), json!(rule.non_resource_urls));
        if namespaced {
            errors.invalid(&path, urls.clone(), "namespaced rules cannot apply to non-resource URLs");
        }
        if given(&rule.api_groups) || given(&rule.resources) || given(&rule.resource_names) {
            errors.invalid(&path, urls, "rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if !given(&rule.api_groups) {
        errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
    }
    if !given(&rule.resources) {
        errors.required(&path.child("resources"), "resource rules must supply at least one resource");
    }
}

/// Checks the parts of a binding; `kinds` are those of roles that can be given.
pub(super) fn binding(errors: &mut FieldErrors, role: &RoleRef, subjects: Option<&Vec<Subject>>, kinds: &[&str]) {
    let path = Path::new("roleRef");
    if text(&role.api_group) != GROUP {
        errors.not_supported(&path.child("apiGroup"), text(&role.api_group), &[GROUP]);
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&path.child("kind"), &role.kind, kinds);
    }
    required(errors, &path.child("name"), &role.name);
    for (index, subject) in subjects.into_iter().flatten().enumerate() {
        self::subject(errors, &Path::new("subjects").index(index), subject, kinds.len() > 1);
    }
}

fn subject(errors: &mut FieldErrors, path: &Path, subject: &Subject, namespaced: bool) {
    required(errors, &path.child("name"), &subject.name);
    let group = text(&subject.api_group);
    let wanted = match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                invalid_for(errors, &path.child("name"), &subject.name, names::dns_subdomain(&subject.name));
            }
            if !namespaced || text(&subject.namespace).is_empty() {
                required(errors, &path.child("namespace"), text(&subject.namespace));
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            errors.not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]);
            return;
        }
    };
    if group != wanted {
        errors.not_supported(&path.child("apiGroup"), group, &[wanted]);
    }
}

/// Checks that a changed binding gives the same role.
pub(super) fn same_role(errors: &mut FieldErrors, old: &RoleRef, new: &RoleRef) {
    if old != new {
        errors.invalid(&Path::new("roleRef"), json!(new), "cannot change roleRef");
    }
}
