//! When a single container is restarted: its own policy and its rules (S1-03 to S1-06).

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule};

use crate::field::{FieldErrors, Path};

/// Checks a main container.
pub(super) fn main(errors: &mut FieldErrors, at: &Path, container: &Container) {
    policy(errors, at, container);
}

/// Checks an init container or sidecar: the same values, though `Always` means more here.
pub(super) fn init(errors: &mut FieldErrors, at: &Path, container: &Container) {
    policy(errors, at, container);
}

fn policy(errors: &mut FieldErrors, at: &Path, container: &Container) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    match container.restart_policy.as_deref() {
        None if !rules.is_empty() => {
            errors.required(&at.child("restartPolicy"), "must specify restartPolicy when restart rules are used");
        }
        None => {}
        Some(policy) if POLICIES.contains(&policy) => {}
        Some(policy) => errors.not_supported(&at.child("restartPolicy"), policy, POLICIES),
    }
    let path = at.child("restartPolicyRules");
    if rules.len() > MOST_RULES {
        errors.too_many(&path, rules.len(), MOST_RULES);
    }
    for (index, found) in rules.iter().enumerate() {
        rule(errors, &path.index(index), found);
    }
}

fn rule(errors: &mut FieldErrors, at: &Path, rule: &ContainerRestartRule) {
    if !ACTIONS.contains(&rule.action.as_str()) {
        errors.not_supported(&at.child("action"), &rule.action, ACTIONS);
    }
    let path = at.child("exitCodes");
    let Some(codes) = &rule.exit_codes else {
        errors.required(&path, "must be specified");
        return;
    };
    if !OPERATORS.contains(&codes.operator.as_str()) {
        errors.not_supported(&path.child("operator"), &codes.operator, OPERATORS);
    }
    let count = codes.values.as_ref().map_or(0, Vec::len);
    if count > MOST_EXIT_CODES {
        errors.too_many(&path.child("values"), count, MOST_EXIT_CODES);
    }
}

const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
const OPERATORS: &[&str] = &["In", "NotIn"];
/// `maxContainerRestartPolicyRules` and its like, S1-05.
const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
