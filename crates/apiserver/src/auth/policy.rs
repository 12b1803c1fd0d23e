//! Roles and bindings, indexed by subject.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::attributes::{Attributes, Target};
use super::rule::Rule;
use super::user::{self, MASTERS, User};
use crate::registry::meta;
use crate::store::{Snapshot, Store};

/// Tables that the policy is made of.
pub(crate) const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const ROLES: &str = "roles.rbac.authorization.k8s.io";
const CLUSTER_ROLE_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
const ROLE_BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";

/// Who a binding is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

/// What a binding gives.
#[derive(Clone, Debug)]
struct Grant {
    /// Only here; everywhere if none.
    namespace: Option<String>,
    /// The role's rules, or why they are not known.
    rules: Result<Arc<[Rule]>, String>,
    /// Binding and role, for people.
    via: String,
}

/// Whether something is allowed, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    /// For people; often empty.
    pub(crate) reason: String,
}

/// All roles and bindings at one moment.
#[derive(Debug)]
pub(crate) struct Policy {
    sources: [Snapshot; 4],
    roles: HashMap<String, Arc<[Rule]>>,
    grants: HashMap<Subject, Vec<Grant>>,
}

impl Policy {
    /// The policy of now: `known` if nothing has changed since, which takes no time to find out.
    pub(crate) fn current(store: &Store, known: Option<&Arc<Self>>) -> Arc<Self> {
        let tables = [CLUSTER_ROLES, ROLES, CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS];
        let sources = tables.map(|table| store.snapshot(table));
        match known {
            Some(known) if sources.iter().zip(&known.sources).all(|(new, old)| new.is_same(old)) => Arc::clone(known),
            _ => Arc::new(Self::index(sources)),
        }
    }

    fn index(sources: [Snapshot; 4]) -> Self {
        let mut policy = Self { sources: sources.clone(), roles: HashMap::new(), grants: HashMap::new() };
        let [cluster_roles, roles, cluster_role_bindings, role_bindings] = &sources;
        for role in cluster_roles.range("", "").chain(roles.range("", "")) {
            policy
                .roles
                .insert(role_key(meta::namespace(role.value()), meta::name(role.value())), rules_of(role.value()));
        }
        for binding in cluster_role_bindings.range("", "").chain(role_bindings.range("", "")) {
            policy.add(binding.value());
        }
        policy
    }

    fn add(&mut self, binding: &Value) {
        let namespace = meta::namespace(binding);
        let (kind, role) = role_ref(binding);
        let rules = self
            .rules(namespace, binding)
            .map(Arc::clone)
            .ok_or_else(|| format!("{}.rbac.authorization.k8s.io {role:?} not found", kind.to_ascii_lowercase()));
        let (type_, name) = match namespace {
            "" => ("ClusterRoleBinding", meta::name(binding).to_owned()),
            _ => ("RoleBinding", format!("{}/{namespace}", meta::name(binding))),
        };
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let Some(key) = subject_key(subject, namespace) else { continue };
            let text = |field: &str| subject[field].as_str().unwrap_or_default();
            let shown = match text("namespace") {
                "" => text("name").to_owned(),
                namespace => format!("{}/{namespace}", text("name")),
            };
            let via = format!("RBAC: allowed by {type_} {name:?} of {kind} {role:?} to {} {shown:?}", text("kind"));
            let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
            self.grants.entry(key).or_default().push(Grant { namespace, rules: rules.clone(), via });
        }
    }

    /// The rules that a binding of this namespace refers to.
    pub(crate) fn rules(&self, namespace: &str, binding: &Value) -> Option<&Arc<[Rule]>> {
        let (kind, name) = role_ref(binding);
        let namespace = if kind == "ClusterRole" { "" } else { namespace };
        self.roles.get(&role_key(namespace, name))
    }

    /// Whether a user may do something.
    pub(crate) fn decide(&self, user: &User, wanted: &Attributes) -> Decision {
        if user.is_in(MASTERS) {
            return Decision { allowed: true, reason: String::new() };
        }
        let namespace = match &wanted.target {
            Target::Resource(target) => target.namespace.as_str(),
            Target::Path(_) => "",
        };
        let mut unknown = BTreeSet::new();
        for grant in self.grants_of(user, namespace) {
            match &grant.rules {
                Ok(rules) if rules.iter().any(|rule| rule.allows(wanted)) => {
                    return Decision { allowed: true, reason: grant.via.clone() };
                }
                Ok(_) => {}
                Err(why) => _ = unknown.insert(why.as_str()),
            }
        }
        Decision { allowed: false, reason: refusal_reason(&unknown) }
    }

    /// Every rule that holds for a user in a namespace, or in none.
    pub(crate) fn rules_for(&self, user: &User, namespace: &str) -> Vec<&Rule> {
        self.grants_of(user, namespace)
            .filter_map(|grant| grant.rules.as_ref().ok())
            .flat_map(|rules| rules.iter())
            .collect()
    }

    fn grants_of<'a>(&'a self, user: &User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let subjects =
            std::iter::once(Subject::User(user.name.clone())).chain(user.groups.iter().cloned().map(Subject::Group));
        let grants = subjects.filter_map(|subject| self.grants.get(&subject)).flatten();
        grants.filter(move |grant| grant.namespace.as_deref().is_none_or(|own| own == namespace))
    }
}

fn refusal_reason(unknown: &BTreeSet<&str>) -> String {
    match unknown.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        several => format!("RBAC: [{}]", several.join(", ")),
    }
}

fn role_key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn role_ref(binding: &Value) -> (&str, &str) {
    let text = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default();
    (text("kind"), text("name"))
}

/// The rules of a role; those that cannot be read allow nothing.
pub(crate) fn rules_of(role: &Value) -> Arc<[Rule]> {
    role["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|rule| serde_json::from_value(rule.clone()).ok())
        .collect()
}

fn subject_key(subject: &Value, namespace: &str) -> Option<Subject> {
    let text = |field: &str| subject[field].as_str().unwrap_or_default();
    match text("kind") {
        "User" => Some(Subject::User(text("name").to_owned())),
        "Group" => Some(Subject::Group(text("name").to_owned())),
        "ServiceAccount" => {
            let namespace = if text("namespace").is_empty() { namespace } else { text("namespace") };
            (!namespace.is_empty()).then(|| Subject::User(user::service_account_name(namespace, text("name"))))
        }
        _ => None,
    }
}
