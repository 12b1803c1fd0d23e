//! When a Job fails or succeeds before the usual time (S9-05, S9-06).

use std::collections::BTreeSet;

use k8s_openapi::api::{
    batch::v1::{
        JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
        SuccessPolicyRule,
    },
    core::v1::PodSpec,
};
use serde_json::Value;

use super::{invalid_for, job::is_indexed, names, not_negative, text};
use crate::{
    field::{FieldErrors, Path},
    pod::containers,
};

/// Checks both policies and what depends on them.
pub(super) fn all(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    if let Some(policy) = &spec.pod_failure_policy {
        let at = path.child("podFailurePolicy").child("rules");
        if policy.rules.len() > MOST_RULES {
            errors.too_many(&at, policy.rules.len(), MOST_RULES);
        }
        for (index, found) in policy.rules.iter().enumerate() {
            rule(errors, &at.index(index), spec, found);
        }
    }
    replacement(errors, &path.child("podReplacementPolicy"), spec);
    if let Some(policy) = &spec.success_policy {
        let at = path.child("successPolicy");
        if !is_indexed(spec) {
            let value = serde_json::to_value(policy).unwrap_or(Value::Null);
            errors.invalid(&at, value, "requires indexed completion mode");
            return;
        }
        success_rules(errors, &at.child("rules"), spec, &policy.rules);
    }
}

fn replacement(errors: &mut FieldErrors, path: &Path, spec: &JobSpec) {
    let allowed: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if let Some(policy) = spec.pod_replacement_policy.as_deref().filter(|policy| !allowed.contains(policy)) {
        errors.not_supported(path, policy, allowed);
    }
}

fn rule(errors: &mut FieldErrors, at: &Path, spec: &JobSpec, rule: &PodFailurePolicyRule) {
    let action = at.child("action");
    match rule.action.as_str() {
        "" => errors.required(&action, r#"valid values: ["Count" "FailIndex" "FailJob" "Ignore"]"#),
        "FailIndex" if spec.backoff_limit_per_index.is_none() => {
            errors.invalid(&action, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
        "Count" | "FailIndex" | "FailJob" | "Ignore" => {}
        other => errors.not_supported(&action, other, &["Count", "FailIndex", "FailJob", "Ignore"]),
    }
    let conditions = rule.on_pod_conditions.as_deref().unwrap_or_default();
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(errors, &at.child("onExitCodes"), spec.template.spec.as_ref(), codes);
    }
    let patterns = at.child("onPodConditions");
    if conditions.len() > MOST_PATTERNS {
        errors.too_many(&patterns, conditions.len(), MOST_PATTERNS);
    }
    for (index, pattern) in conditions.iter().enumerate() {
        condition(errors, &patterns.index(index), pattern);
    }
    match (rule.on_exit_codes.is_some(), conditions.is_empty()) {
        (true, false) => {
            bare_invalid(errors, at, "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (false, true) => bare_invalid(errors, at, "specifying one of OnExitCodes and OnPodConditions is required"),
        (true, true) | (false, false) => {}
    }
}

/// An error about a whole rule, which is not shown.
fn bare_invalid(errors: &mut FieldErrors, at: &Path, why: &str) {
    use crate::field::{ErrorType, FieldError};
    errors.push(FieldError { kind: ErrorType::Invalid, field: at.clone(), value: None, detail: why.to_owned() });
}

fn condition(errors: &mut FieldErrors, at: &Path, pattern: &PodFailurePolicyOnPodConditionsPattern) {
    invalid_for(errors, &at.child("type"), &pattern.type_, names::qualified_name(&pattern.type_));
    match text(&pattern.status) {
        "" => errors.required(&at.child("status"), r#"valid values: ["False" "True" "Unknown"]"#),
        "False" | "True" | "Unknown" => {}
        other => errors.not_supported(&at.child("status"), other, &["False", "True", "Unknown"]),
    }
}

fn exit_codes(
    errors: &mut FieldErrors,
    at: &Path,
    spec: Option<&PodSpec>,
    codes: &PodFailurePolicyOnExitCodesRequirement,
) {
    match codes.operator.as_str() {
        "" => errors.required(&at.child("operator"), r#"valid values: ["In" "NotIn"]"#),
        "In" | "NotIn" => {}
        other => errors.not_supported(&at.child("operator"), other, &["In", "NotIn"]),
    }
    if let Some(name) = codes.container_name.as_deref() {
        let known = spec.is_some_and(|spec| containers(spec).any(|entry| entry.container.name == name));
        if !known {
            let why = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&at.child("containerName"), name, why);
        }
    }
    let path = at.child("values");
    if codes.values.is_empty() {
        errors.invalid(&path, codes.values.clone(), "at least one value is required");
    } else if codes.values.len() > MOST_EXIT_CODES {
        errors.too_many(&path, codes.values.len(), MOST_EXIT_CODES);
    }
    let mut seen = BTreeSet::new();
    for (index, code) in codes.values.iter().enumerate() {
        if *code == 0 && codes.operator == "In" {
            errors.invalid(&path.index(index), *code, "must not be 0 for the In operator");
        }
        if !seen.insert(*code) {
            errors.duplicate(&path.index(index), *code);
        }
    }
    if !codes.values.is_sorted() {
        errors.invalid(&path, codes.values.clone(), "must be ordered");
    }
}

fn success_rules(errors: &mut FieldErrors, path: &Path, spec: &JobSpec, rules: &[SuccessPolicyRule]) {
    if rules.is_empty() {
        errors.required(path, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > MOST_RULES {
        errors.too_many(path, rules.len(), MOST_RULES);
    }
    for (index, rule) in rules.iter().enumerate() {
        success_rule(errors, &path.index(index), spec, rule);
    }
}

fn success_rule(errors: &mut FieldErrors, at: &Path, spec: &JobSpec, rule: &SuccessPolicyRule) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let completions = spec.completions.unwrap_or_default();
    let mut listed = None;
    if let Some(indexes) = &rule.succeeded_indexes {
        let path = at.child("succeededIndexes");
        if indexes.len() > MOST_INDEX_BYTES {
            errors.too_long(&path, MOST_INDEX_BYTES);
        }
        match count_indexes(indexes, completions) {
            Ok(count) => listed = Some(count),
            Err(why) => errors.invalid(&path, indexes.as_str(), format!("error parsing succeededIndexes: {why}")),
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let path = at.child("succeededCount");
    not_negative(errors, &path, Some(count.into()));
    if count > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&path, count, why);
    }
    if let Some(listed) = listed.filter(|listed| count > *listed) {
        let why = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&path, count, why);
    }
}

/// Counts the indexes of a text such as `0,2-4`: rising, without overlaps, below the number of completions.
fn count_indexes(text: &str, completions: i32) -> Result<i32, String> {
    let (mut total, mut last) = (0_i32, None::<i32>);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let number = |digits: &str| -> Result<i32, String> {
            let parsed = digits.parse::<i32>().map_err(|_| format!("cannot convert string to integer: {digits:?}"))?;
            if (0..completions).contains(&parsed) { Ok(parsed) } else { Err(format!("too large index: {digits:?}")) }
        };
        let (first, end) = match part.split_once('-') {
            Some((first, end)) => (number(first)?, number(end)?),
            None => (number(part)?, number(part)?),
        };
        if last.is_some_and(|last| last >= first) || first > end {
            return Err(format!("non-increasing order, current: {first}"));
        }
        last = Some(end);
        total = total.saturating_add(end - first + 1);
    }
    Ok(total)
}

/// Limits of `pkg/apis/batch/validation`.
const MOST_RULES: usize = 20;
const MOST_PATTERNS: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_INDEX_BYTES: usize = 64 << 10;
