//! Pod failure policy (S9-23, S9-30, S9-41) and success policy (S9-32).

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::job::Indexes;
use crate::meta;

/// What the policy makes of a failed pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It counts, by rule or because no rule matched.
    Count,
    /// It does not count.
    Ignore,
    /// Its index fails at once.
    FailIndex,
    /// The Job fails at once, for this reason.
    FailJob(String),
}

/// Judges a failed pod: the first matching rule decides.
pub(crate) fn judge(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Judgement {
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    let matched = rules.iter().enumerate().find_map(|(i, rule)| Some((i, rule, matches(rule, pod)?)));
    let Some((index, rule, what)) = matched else { return Judgement::Count };
    match rule.action.as_str() {
        "Ignore" => Judgement::Ignore,
        "FailIndex" => Judgement::FailIndex,
        "FailJob" => Judgement::FailJob(format!("{what} matching {} rule at index {index}", rule.action)),
        _ => Judgement::Count,
    }
}

/// What of the pod matches the rule, in words.
fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = format!("{}/{}", meta::namespace(&pod.metadata), meta::name(&pod.metadata));
    if let Some(requirement) = &rule.on_exit_codes {
        let (container, code) = matching_container(requirement, pod)?;
        return Some(format!("Container {container} for pod {name} failed with exit code {code}"));
    }
    let condition = matching_condition(rule.on_pod_conditions.as_deref().unwrap_or_default(), pod)?;
    Some(format!("Pod {name} has condition {condition}"))
}

/// Mains first, then all init entries, sidecars included (S9-23).
fn matching_container<'a>(
    requirement: &PodFailurePolicyOnExitCodesRequirement,
    pod: &'a Pod,
) -> Option<(&'a str, i32)> {
    let status = pod.status.as_ref()?;
    let mains = status.container_statuses.iter().flatten();
    let inits = status.init_container_statuses.iter().flatten();
    mains.chain(inits).find_map(|container| {
        let wanted = requirement.container_name.as_ref().is_none_or(|name| *name == container.name);
        let code = exit_code(container).filter(|code| wanted && *code != 0)?;
        code_matches(requirement, code).then_some((container.name.as_str(), code))
    })
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn code_matches(requirement: &PodFailurePolicyOnExitCodesRequirement, code: i32) -> bool {
    let listed = requirement.values.contains(&code);
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

fn matching_condition<'a>(patterns: &[PodFailurePolicyOnPodConditionsPattern], pod: &'a Pod) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let matches = |pattern: &PodFailurePolicyOnPodConditionsPattern| {
        let status = pattern.status.as_deref().unwrap_or("True");
        conditions.iter().find(|c| c.type_ == pattern.type_ && c.status == status)
    };
    patterns.iter().find_map(matches).map(|c| c.type_.as_str())
}

/// The message of the first success rule that the succeeded indexes fulfil.
pub(crate) fn success(policy: Option<&SuccessPolicy>, succeeded: &Indexes, end: u32) -> Option<String> {
    if succeeded.is_empty() {
        return None;
    }
    let index = policy?.rules.iter().position(|rule| fulfils(rule, succeeded, end))?;
    Some(format!("Matched rules at index {index}"))
}

fn fulfils(rule: &SuccessPolicyRule, succeeded: &Indexes, end: u32) -> bool {
    let wanted = rule.succeeded_count.map(|count| u32::try_from(count).unwrap_or(0));
    let listed = rule.succeeded_indexes.as_ref().map(|text| Indexes::parse(text, end));
    match (listed, wanted) {
        (Some(listed), Some(wanted)) => succeeded.common(&listed) >= wanted,
        (Some(listed), None) => succeeded.contains_all(&listed),
        (None, Some(wanted)) => succeeded.len() >= wanted,
        (None, None) => false,
    }
}
