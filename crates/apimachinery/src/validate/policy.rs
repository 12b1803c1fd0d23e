//! LimitRanges, ResourceQuotas and PriorityClasses.
//!
//! Source of rules and texts: `pkg/apis/core/validation` and `pkg/apis/scheduling/validation`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::{LimitRange, LimitRangeItem, ResourceQuota, ResourceQuotaSpec},
        scheduling::v1::PriorityClass,
    },
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use super::{immutable, invalid_for, names, one_of, resources::is_huge_pages};
use crate::{
    field::{FieldErrors, Path},
    quantity::Quantity,
};

type Amounts = Option<BTreeMap<String, ApiQuantity>>;

/// Checks a LimitRange.
pub(super) fn limit_range(errors: &mut FieldErrors, range: &LimitRange) {
    let path = Path::new("spec").child("limits");
    let mut seen = BTreeSet::new();
    let items = range.spec.iter().flat_map(|spec| &spec.limits);
    for (index, item) in items.enumerate() {
        let path = path.index(index);
        limit_type(errors, &path.child("type"), &item.type_);
        if !seen.insert(item.type_.as_str()) {
            errors.duplicate(&path.child("type"), item.type_.as_str());
        }
        if item.type_ == "Pod" {
            for (field, given) in [("default", &item.default), ("defaultRequest", &item.default_request)] {
                if given.as_ref().is_some_and(|given| !given.is_empty()) {
                    errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
                }
            }
        }
        limits_in_order(errors, &path, item);
    }
}

fn limit_type(errors: &mut FieldErrors, path: &Path, kind: &str) {
    invalid_for(errors, path, kind, names::qualified_name(kind));
    if !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
        errors.invalid(path, kind, "must be a standard limit type or fully qualified");
    }
}

/// min ≤ default request ≤ default ≤ max, as far as they are given, and ratios of one at least.
fn limits_in_order(errors: &mut FieldErrors, path: &Path, item: &LimitRangeItem) {
    let lists = [&item.min, &item.max, &item.default, &item.default_request, &item.max_limit_request_ratio];
    let keys: BTreeSet<&String> = lists.into_iter().flatten().flat_map(BTreeMap::keys).collect();
    for key in keys {
        let get = |list: &Amounts| list.as_ref().and_then(|list| Quantity::try_from(list.get(key)?).ok());
        let (min, max) = (("min", get(&item.min)), ("max", get(&item.max)));
        let (default, request) = (("default", get(&item.default)), ("default request", get(&item.default_request)));
        let limit = ("default limit", default.1);
        for (small, large, at) in [
            (min, max, "min"),
            (min, request, "defaultRequest"),
            (request, max, "defaultRequest"),
            (request, limit, "defaultRequest"),
            (min, default, "default"),
            (default, max, "default"),
        ] {
            let (Some(less), Some(more)) = (small.1, large.1) else { continue };
            if less > more {
                let given = if at == "min" || (at != "defaultRequest" && small.0 == "default") { less } else { more };
                let given = if small.0 == "default request" { less } else { given };
                let why = format!("{} value {less} is greater than {} value {more}", small.0, large.0);
                errors.invalid(&path.child(at).key(key), given.to_string(), why);
            }
        }
        if let Some(ratio) = get(&item.max_limit_request_ratio).filter(|ratio| *ratio < Quantity::from_units(1)) {
            let path = path.child("maxLimitRequestRatio").key(key);
            errors.invalid(&path, ratio.to_string(), format!("ratio {ratio} is less than 1"));
        }
    }
}

/// Checks a ResourceQuota.
pub(super) fn resource_quota(errors: &mut FieldErrors, quota: &ResourceQuota) {
    let empty = ResourceQuotaSpec::default();
    let spec = quota.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    for (name, amount) in spec.hard.iter().flatten() {
        let path = path.child("hard").key(name);
        invalid_for(errors, &path, name, names::qualified_name(name));
        if !name.contains('/')
            && !STANDARD.contains(&name.as_str())
            && !is_huge_pages(name.trim_start_matches("requests."))
        {
            errors.invalid(&path, name.as_str(), "must be a standard resource for quota");
        }
        let Ok(amount) = Quantity::try_from(amount) else { continue };
        if amount.is_negative() {
            errors.invalid(&path, amount.to_string(), "must be greater than or equal to 0");
        }
        if is_counted(name) && !amount.is_whole() {
            errors.invalid(&path, amount.to_string(), "must be an integer");
        }
    }
    for scope in spec.scopes.iter().flatten() {
        if !SCOPES.contains(&scope.as_str()) {
            errors.invalid(&path.child("scopes"), serde_json::json!(spec.scopes), "unsupported scope");
        }
    }
}

/// Checks a changed ResourceQuota: it stays about the same pods.
pub(super) fn resource_quota_update(errors: &mut FieldErrors, old: &ResourceQuota, new: &ResourceQuota) {
    resource_quota(errors, new);
    let scopes = |quota: &ResourceQuota| quota.spec.as_ref().and_then(|spec| spec.scopes.clone()).unwrap_or_default();
    immutable(errors, &Path::new("spec").child("scopes"), Some(&scopes(old)), Some(&scopes(new)));
}

/// What is counted in whole objects.
fn is_counted(name: &str) -> bool {
    name.starts_with("count/") || name.starts_with("services.") || STANDARD_COUNTS.contains(&name)
}

const STANDARD_COUNTS: [&str; 7] =
    ["pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps"];

/// `standardQuotaResources` of `pkg/apis/core/helper`.
const STANDARD: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: [&str; 6] =
    ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"];

/// Checks a PriorityClass.
pub(super) fn priority_class(errors: &mut FieldErrors, class: &PriorityClass) {
    let name = class.metadata.name.as_deref().unwrap_or_default();
    let given = class.value.unwrap_or_default();
    if name.starts_with("system-") {
        let known = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let problem = match known {
            None => Some(format!("{name} is not a known system priority class")),
            Some(value) if value != given => Some(format!("value of {name} PriorityClass must be {value}")),
            Some(_) if class.global_default == Some(true) => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            );
            errors.forbidden(&Path::new("metadata").child("name"), why);
        }
    } else if given > HIGHEST_OF_USERS {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}");
        errors.forbidden(&Path::new("value"), why);
    }
    let policy = class.preemption_policy.as_deref();
    one_of(errors, &Path::new("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
}

/// Checks a changed PriorityClass: pods have copied what it says.
pub(super) fn priority_class_update(errors: &mut FieldErrors, old: &PriorityClass, new: &PriorityClass) {
    priority_class(errors, new);
    if old.value != new.value {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    let policies = (old.preemption_policy.as_ref(), new.preemption_policy.as_ref());
    immutable(errors, &Path::new("preemptionPolicy"), policies.0, policies.1);
}

/// The classes that every cluster has, with their priorities.
pub const SYSTEM_CLASSES: [(&str, i32); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// `scheduling.HighestUserDefinablePriority`.
const HIGHEST_OF_USERS: i32 = 1_000_000_000;
