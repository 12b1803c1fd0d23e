//! What is served: groups, versions, resources; version and health of the server.

use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::body::ResponseBody;
use crate::registry::strategy;

/// Which Kubernetes this server behaves like.
pub(crate) const GIT_VERSION: &str = "v1.36.2+podrig";

/// Answers a request on anything but objects.
pub(crate) fn respond(method: &Method, path: &str) -> Result<Answer, ApiError> {
    let found = match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
        ["healthz" | "livez" | "readyz", ..] => {
            Some(answer::typed(StatusCode::OK, "text/plain; charset=utf-8", ResponseBody::full("ok")))
        }
        ["version"] => Some(version()),
        ["api"] => Some(answer::value(StatusCode::OK, &json!({"kind": "APIVersions", "versions": ["v1"]}))),
        ["apis"] => Some(groups()),
        ["api", version] => resources("", version),
        ["apis", group] => groups_named().find(|one| one["name"] == *group).map(|mut group| {
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            answer::value(StatusCode::OK, &group)
        }),
        ["apis", group, version] => resources(group, version),
        _ => None,
    };
    let found = found.ok_or_else(ApiError::unknown_path)?;
    if *method != Method::GET {
        return Err(ApiError::method_not_allowed_on_path());
    }
    Ok(found)
}

fn version() -> Answer {
    answer::value(
        StatusCode::OK,
        &json!({
            "major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }),
    )
}

fn groups() -> Answer {
    let list: Vec<Value> = groups_named().collect();
    answer::value(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list}))
}

/// Every group but core, each with its versions in order of first mention.
fn groups_named() -> impl Iterator<Item = Value> {
    let mut groups: Vec<(&str, Vec<Value>)> = Vec::new();
    for kind in scheme::all().iter().filter(|kind| !kind.group.is_empty()) {
        let version = json!({"groupVersion": kind.api_version, "version": kind.version});
        match groups.iter_mut().find(|(name, _)| *name == kind.group) {
            Some((_, versions)) if versions.contains(&version) => {}
            Some((_, versions)) => versions.push(version),
            None => groups.push((kind.group, vec![version])),
        }
    }
    groups
        .into_iter()
        .map(|(name, versions)| json!({"name": name, "versions": versions, "preferredVersion": versions[0]}))
}

fn resources(group: &str, version: &str) -> Option<Answer> {
    let of_version = |kind: &&ResourceType| kind.group == group && kind.version == version;
    let kinds: Vec<&ResourceType> = scheme::all().iter().filter(of_version).collect();
    let group_version = kinds.first()?.api_version;
    let list: Vec<Value> = kinds.into_iter().flat_map(resource_and_parts).collect();
    let answer = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list,
    });
    Some(answer::value(StatusCode::OK, &answer))
}

fn resource_and_parts(kind: &ResourceType) -> Vec<Value> {
    let mut main = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    });
    for (field, names) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !names.is_empty() {
            main[field] = json!(names);
        }
    }
    let part = |name: &str, kind_name: &str, verbs: &[&str]| {
        json!({
            "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "kind": kind_name, "verbs": verbs,
        })
    };
    let mut all = vec![main];
    if kind.has_status {
        all.push(part("status", kind.kind, &["get", "patch", "update"]));
    }
    if strategy::is_pod(kind) {
        all.push(part("binding", "Binding", &["create"]));
        let mut eviction = part("eviction", "Eviction", &["create"]);
        eviction["group"] = json!("policy");
        eviction["version"] = json!("v1");
        all.push(eviction);
        all.push(part("ephemeralcontainers", "Pod", &["get", "patch", "update"]));
        all.push(part("log", "Pod", &["get"]));
        all.push(part("resize", "Pod", &["get", "patch", "update"]));
    }
    if strategy::is_namespace(kind) {
        all.push(part("finalize", "Namespace", &["update"]));
    }
    all
}
