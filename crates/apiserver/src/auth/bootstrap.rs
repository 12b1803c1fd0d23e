//! Roles and bindings that every cluster has (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`).
//!
//! They are made at the start if they are not there, and get back what is missing in them, unless an annotation
//! says to leave them alone. What somebody added stays.

use apimachinery::decode::Json;
use apimachinery::prepare::Subresource;
use apimachinery::scheme;
use serde_json::{Value, json};

use super::policy::rules_of;
use super::rule::{Rule, not_covered};
use super::user::{AUTHENTICATED, MASTERS, UNAUTHENTICATED};
use crate::registry::update::Part;
use crate::registry::{Place, Registry, WriteOptions, meta};
use crate::rules;

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const AGGREGATE_TO: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// A role for everybody who needs it.
struct Role {
    name: &'static str,
    /// Role that takes these rules up.
    part_of: &'static str,
    content: Content,
}

enum Content {
    Rules(&'static [Row]),
    /// The rules of all roles that are part of this one.
    Parts,
}

/// One rule: groups and resources, or paths, and what may be done.
struct Row {
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    paths: &'static [&'static str],
    verbs: &'static [&'static str],
}

const fn on(
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Row {
    Row { groups, resources, paths: &[], verbs }
}

const fn paths(paths: &'static [&'static str]) -> Row {
    Row { groups: &[], resources: &[], paths, verbs: GET }
}

const CORE: &[&str] = &[""];
const APPS: &[&str] = &["apps"];
const BATCH: &[&str] = &["batch"];
const DISCOVERY: &[&str] = &["discovery.k8s.io"];
const AUTOSCALING: &[&str] = &["autoscaling"];
const POLICY: &[&str] = &["policy"];
const NETWORKING: &[&str] = &["networking.k8s.io"];
const COORDINATION: &[&str] = &["coordination.k8s.io"];
const RBAC: &[&str] = &["rbac.authorization.k8s.io"];
const AUTHENTICATION: &[&str] = &["authentication.k8s.io"];
const AUTHORIZATION: &[&str] = &["authorization.k8s.io"];
const ALL: &[&str] = &["*"];
const GET: &[&str] = &["get"];
const CREATE: &[&str] = &["create"];
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const READ_WRITE: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const ROLES: &[Role] = &[
    Role {
        name: "cluster-admin",
        part_of: "",
        content: Content::Rules(&[on(ALL, ALL, ALL), Row { groups: &[], resources: &[], paths: ALL, verbs: ALL }]),
    },
    Role { name: "admin", part_of: "", content: Content::Parts },
    Role { name: "edit", part_of: "admin", content: Content::Parts },
    Role { name: "view", part_of: "edit", content: Content::Parts },
    Role {
        name: "system:aggregate-to-admin",
        part_of: "admin",
        content: Content::Rules(&[
            on(AUTHORIZATION, &["localsubjectaccessreviews"], CREATE),
            on(RBAC, &["rolebindings", "roles"], READ_WRITE),
        ]),
    },
    Role { name: "system:aggregate-to-edit", part_of: "edit", content: Content::Rules(EDIT) },
    Role { name: "system:aggregate-to-view", part_of: "view", content: Content::Rules(VIEW) },
    Role {
        name: "system:basic-user",
        part_of: "",
        content: Content::Rules(&[
            on(AUTHORIZATION, &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], CREATE),
            on(AUTHENTICATION, &["selfsubjectreviews"], CREATE),
        ]),
    },
    Role {
        name: "system:discovery",
        part_of: "",
        content: Content::Rules(&[paths(&[
            "/api",
            "/api/*",
            "/apis",
            "/apis/*",
            "/healthz",
            "/livez",
            "/openapi",
            "/openapi/*",
            "/readyz",
            "/version",
            "/version/",
        ])]),
    },
    Role {
        name: "system:public-info-viewer",
        part_of: "",
        content: Content::Rules(&[paths(&["/healthz", "/livez", "/readyz", "/version", "/version/"])]),
    },
    Role {
        name: "system:service-account-issuer-discovery",
        part_of: "",
        content: Content::Rules(&[paths(&[
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/",
            "/openid/v1/jwks",
            "/openid/v1/jwks/",
        ])]),
    },
    Role {
        name: "system:auth-delegator",
        part_of: "",
        content: Content::Rules(&[
            on(AUTHENTICATION, &["tokenreviews"], CREATE),
            on(AUTHORIZATION, &["subjectaccessreviews"], CREATE),
        ]),
    },
    Role {
        name: "system:monitoring",
        part_of: "",
        content: Content::Rules(&[paths(&[
            "/healthz",
            "/healthz/*",
            "/livez",
            "/livez/*",
            "/metrics",
            "/metrics/slis",
            "/readyz",
            "/readyz/*",
        ])]),
    },
];

const EDIT: &[Row] = &[
    on(CORE, &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], READ),
    on(CORE, &["serviceaccounts"], &["impersonate"]),
    on(CORE, &["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], WRITE),
    on(CORE, &["pods/eviction"], CREATE),
    on(
        CORE,
        &[
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
        WRITE,
    ),
    on(CORE, &["serviceaccounts/token"], CREATE),
    on(
        APPS,
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
        WRITE,
    ),
    on(AUTOSCALING, &["horizontalpodautoscalers"], WRITE),
    on(BATCH, &["cronjobs", "jobs"], WRITE),
    on(POLICY, &["poddisruptionbudgets"], WRITE),
    on(NETWORKING, &["ingresses", "networkpolicies"], WRITE),
    on(COORDINATION, &["leases"], READ_WRITE),
];

const VIEW: &[Row] = &[
    on(
        CORE,
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
        ],
        READ,
    ),
    on(
        CORE,
        &[
            "bindings",
            "events",
            "limitranges",
            "namespaces/status",
            "pods/log",
            "pods/status",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
        ],
        READ,
    ),
    on(CORE, &["namespaces"], READ),
    on(DISCOVERY, &["endpointslices"], READ),
    on(
        APPS,
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
        READ,
    ),
    on(AUTOSCALING, &["horizontalpodautoscalers", "horizontalpodautoscalers/status"], READ),
    on(BATCH, &["cronjobs", "cronjobs/status", "jobs", "jobs/status"], READ),
    on(POLICY, &["poddisruptionbudgets", "poddisruptionbudgets/status"], READ),
    on(NETWORKING, &["ingresses", "ingresses/status", "networkpolicies"], READ),
];

/// Which groups have which role everywhere.
const BINDINGS: &[(&str, &[&str])] = &[
    ("cluster-admin", &[MASTERS]),
    ("system:basic-user", &[AUTHENTICATED]),
    ("system:discovery", &[AUTHENTICATED]),
    ("system:monitoring", &["system:monitoring"]),
    ("system:public-info-viewer", &[AUTHENTICATED, UNAUTHENTICATED]),
    ("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
];

/// Makes what is not there and completes what is.
pub(crate) fn apply(registry: &Registry) {
    let roles = ROLES.iter().map(Role::object);
    for wanted in roles.chain(BINDINGS.iter().map(|(role, groups)| binding(role, groups))) {
        if let Err(error) = ensure(registry, &wanted) {
            tracing::error!(object = meta::name(&wanted), %error, "cannot write a built-in role or binding");
        }
    }
}

fn ensure(registry: &Registry, wanted: &Value) -> Result<(), apimachinery::status::ApiError> {
    let Some(kind) = scheme::by_kind(API_VERSION, wanted["kind"].as_str().unwrap_or_default()) else { return Ok(()) };
    let place = Place { kind, namespace: "", name: meta::name(wanted) };
    let json = |value: Value| Json { value, duplicates: Vec::new() };
    match registry.get(place) {
        Err(_) => registry.create(kind, "", json(wanted.clone()), &WriteOptions::default()).map(drop),
        Ok(present) => match completed(present.value(), wanted) {
            Some(value) => {
                registry.update(place, Part::Of(Subresource::None), json(value), &WriteOptions::default()).map(drop)
            }
            None => Ok(()),
        },
    }
}

/// What is there with what it lacks; `None` if it lacks nothing or wants to be left alone.
fn completed(present: &Value, wanted: &Value) -> Option<Value> {
    if present["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return None;
    }
    let mut new = present.clone();
    for field in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            if new["metadata"][field][key].is_null() {
                new["metadata"][field][key] = value.clone();
            }
        }
    }
    for field in ["aggregationRule", "roleRef"].into_iter().filter(|field| !wanted[field].is_null()) {
        new[field] = wanted[field].clone();
    }
    let held = rules_of(present);
    let missing = not_covered(&held.iter().collect::<Vec<_>>(), &rules_of(wanted));
    rules::extend_list(&mut new, "rules", missing.iter().map(|rule| json!(rule)));
    let subjects = wanted["subjects"].as_array().into_iter().flatten();
    let known = present["subjects"].as_array().cloned().unwrap_or_default();
    rules::extend_list(&mut new, "subjects", subjects.filter(|subject| !known.contains(subject)).cloned());
    (new != *present).then_some(new)
}

impl Role {
    fn object(&self) -> Value {
        let mut role = object("ClusterRole", self.name);
        if !self.part_of.is_empty() {
            role["metadata"]["labels"][format!("{AGGREGATE_TO}{}", self.part_of)] = json!("true");
        }
        match self.content {
            Content::Rules(rows) => role["rules"] = rows.iter().map(|row| json!(row.rule())).collect(),
            Content::Parts => {
                let labels = json!({format!("{AGGREGATE_TO}{}", self.name): "true"});
                role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            }
        }
        role
    }
}

impl Row {
    fn rule(&self) -> Rule {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Rule {
            api_groups: owned(self.groups),
            resources: owned(self.resources),
            resource_names: Vec::new(),
            non_resource_urls: owned(self.paths),
            verbs: owned(self.verbs),
        }
    }
}

fn binding(role: &str, groups: &[&str]) -> Value {
    let api_group = RBAC[0];
    let mut binding = object("ClusterRoleBinding", role);
    binding["roleRef"] = json!({"apiGroup": api_group, "kind": "ClusterRole", "name": role});
    binding["subjects"] =
        groups.iter().map(|group| json!({"apiGroup": api_group, "kind": "Group", "name": group})).collect();
    binding
}

fn object(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": kind,
        "metadata": {
            "name": name, "annotations": {AUTO_UPDATE: "true"},
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_back_and_what_was_added_stays() {
        let wanted = Role::object(&ROLES[10]);
        let mut present = wanted.clone();
        assert_eq!(completed(&present, &wanted), None);
        present["rules"] = json!([{"nonResourceURLs": ["/mine"], "verbs": ["get"]}]);
        let new = completed(&present, &wanted).expect("completed");
        assert_eq!(new["rules"].as_array().map(Vec::len), Some(5), "{new}");
        assert_eq!(new["rules"][0], present["rules"][0]);
        present["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
        assert_eq!(completed(&present, &wanted), None);

        let wanted = binding("system:discovery", &["a", "b"]);
        let mut present = wanted.clone();
        present["subjects"] = json!([{"kind": "User", "name": "x", "apiGroup": RBAC[0]}, wanted["subjects"][1]]);
        let new = completed(&present, &wanted).expect("completed");
        let names: Vec<&str> = (0..3).filter_map(|at| new["subjects"][at]["name"].as_str()).collect();
        assert_eq!(names, ["x", "b", "a"]);
    }
}
