//! Nobody gives away what they do not have (`pkg/registry/rbac/{escalation_check,clusterrole/policybased}.go`).

use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use serde_json::Value;

use super::Auth;
use super::attributes::{Attributes, Resource};
use super::policy::{Policy, rules_of};
use super::rule::{Rule, are_comparable, not_covered, quoted};
use super::user::{MASTERS, User};
use crate::registry::{Registry, meta};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Why rules are not even compared with those that the user has.
const TOO_MANY: &str = "its rules name too many combinations to be checked";

impl Auth {
    /// Whether writes of this kind by this user need [`Auth::check_escalation`].
    pub(crate) fn guards(kind: &ResourceType, user: &User) -> bool {
        kind.group == GROUP && !user.is_in(MASTERS)
    }

    /// Checks a role or binding as it would be stored, in place of `old` if there is one.
    ///
    /// # Errors
    /// 403 if the user would give somebody a right that the user does not have.
    pub(crate) fn check_escalation(
        &self,
        registry: &Registry,
        user: &User,
        kind: &ResourceType,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        if old.is_some_and(|old| without_collection(old) == without_collection(new)) {
            return Ok(());
        }
        let policy = self.policy(registry);
        let missing = match kind.plural {
            "roles" | "clusterroles" => of_role(&policy, user, kind, (new, old))?,
            _ => of_binding(&policy, user, kind, new)?,
        };
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<String> = missing.iter().map(Rule::compact).collect();
        let why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            missing.join("\n")
        );
        Err(ApiError::forbidden(kind, meta::name(new), &why))
    }
}

/// The object without what garbage collection writes. Everything else counts: a label can make rules a part of another
/// role.
fn without_collection(object: &Value) -> Value {
    let mut rest = object.clone();
    for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
        meta::set(&mut rest, field, Value::Null);
    }
    rest
}

fn of_role(
    policy: &Policy,
    user: &User,
    kind: &ResourceType,
    (role, old): (&Value, Option<&Value>),
) -> Result<Vec<Rule>, ApiError> {
    let namespace = meta::namespace(role);
    if may(policy, user, "escalate", kind.plural, namespace, meta::name(role)) {
        return Ok(Vec::new());
    }
    let held = policy.rules_for(user, namespace);
    let aggregates = [Some(role), old].into_iter().flatten().any(|role| !role["aggregationRule"].is_null());
    if aggregates && !not_covered(&held, &everything()).is_empty() {
        let why = "must have cluster-admin privileges to use an aggregationRule";
        return Err(ApiError::forbidden(kind, meta::name(role), why));
    }
    let rules = rules_of(role);
    if !are_comparable(&rules) {
        return Err(ApiError::forbidden(kind, meta::name(role), TOO_MANY));
    }
    Ok(not_covered(&held, &rules))
}

fn of_binding(policy: &Policy, user: &User, kind: &ResourceType, binding: &Value) -> Result<Vec<Rule>, ApiError> {
    let namespace = meta::namespace(binding);
    let name = binding["roleRef"]["name"].as_str().unwrap_or_default();
    let plural = if binding["roleRef"]["kind"] == "Role" { "roles" } else { "clusterroles" };
    if may(policy, user, "bind", plural, namespace, name) {
        return Ok(Vec::new());
    }
    let Some(rules) = policy.rules(namespace, binding) else {
        let mut error = ApiError::plain(404, "NotFound", format!("{plural}.{GROUP} {name:?} not found"));
        name.clone_into(&mut error.details.name);
        GROUP.clone_into(&mut error.details.group);
        plural.clone_into(&mut error.details.kind);
        return Err(error);
    };
    if !are_comparable(rules) {
        return Err(ApiError::forbidden(kind, meta::name(binding), TOO_MANY));
    }
    Ok(not_covered(&policy.rules_for(user, namespace), rules))
}

fn may(policy: &Policy, user: &User, verb: &str, plural: &str, namespace: &str, name: &str) -> bool {
    let [group, resource, namespace, name] = [GROUP, plural, namespace, name].map(str::to_owned);
    let target = Resource { group, resource, subresource: String::new(), namespace, name };
    policy.decide(user, &Attributes::of_resource(verb, target)).allowed
}

fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { api_groups: all(), resources: all(), verbs: all(), ..Rule::default() },
        Rule { non_resource_urls: all(), verbs: all(), ..Rule::default() },
    ]
}
