//! What is served: groups, versions, resources, in the old form and the aggregated one (KEP-3352).

use std::hash::{DefaultHasher, Hash, Hasher};

use apimachinery::scheme::{self, ResourceType};
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::body::ResponseBody;
use crate::auth::reviews;
use crate::registry::strategy;

/// Answers `/api…` and `/apis…` as far as they name no resource.
pub(crate) fn respond(path: &[&str], headers: &HeaderMap) -> Option<Answer> {
    let value = match path {
        ["api"] | ["apis"] if let Some(form) = Aggregated::accepted(headers) => {
            return Some(aggregated(path == ["api"], form, headers));
        }
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups().map(group).collect::<Vec<_>>()})
        }
        ["apis", name] => {
            let mut group = group(groups().find(|found| found == name)?);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }
        ["api", version] => resource_list("", version)?,
        ["apis", group, version] if !group.is_empty() => resource_list(group, version)?,
        _ => return None,
    };
    Some(answer::value(StatusCode::OK, &value))
}

/// Every path of a group or version, for the index.
pub(crate) fn paths() -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned(), "/apis/".to_owned()];
    for group in groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions(group).into_iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths
}

/// Everything with a name in a URL: what is stored, and questions.
fn served() -> impl Iterator<Item = &'static ResourceType> {
    scheme::all().iter().chain(reviews::ALL.iter().map(|review| &review.resource))
}

/// Names of all groups but core, in order of first mention.
fn groups() -> impl Iterator<Item = &'static str> {
    let mut seen = Vec::new();
    served().map(|kind| kind.group).filter(move |group| {
        let new = !group.is_empty() && !seen.contains(group);
        seen.push(*group);
        new
    })
}

/// Versions of a group in order of first mention.
fn versions(group: &str) -> Vec<&'static str> {
    let mut versions = Vec::new();
    for kind in served().filter(|kind| kind.group == group) {
        if !versions.contains(&kind.version) {
            versions.push(kind.version);
        }
    }
    versions
}

fn kinds(group: &str, version: &str) -> Vec<&'static ResourceType> {
    served().filter(|kind| kind.group == group && kind.version == version).collect()
}

fn group(name: &str) -> Value {
    let version = |version| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<Value> = versions(name).into_iter().map(version).collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

/// What can be done with a kind: questions are asked, everything else is stored.
fn verbs(kind: &ResourceType) -> &'static [&'static str] {
    match reviews::lookup(kind.group, kind.version, kind.plural) {
        Some(_) => &["create"],
        None => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    }
}

/// What can be done with a part of an object that is read and written.
const PART_VERBS: &[&str] = &["get", "patch", "update"];

/// A subresource.
struct Part {
    name: &'static str,
    /// Group, version and kind of what is sent; of the resource itself where absent.
    other: Option<(&'static str, &'static str)>,
    kind: &'static str,
    verbs: &'static [&'static str],
}

/// The subresources of a kind, by name.
fn parts(kind: &ResourceType) -> Vec<Part> {
    let own = |name, verbs| Part { name, other: None, kind: kind.kind, verbs };
    let mut all = Vec::new();
    if strategy::is_pod(kind) {
        let connect = |name, kind| Part { name, other: None, kind, verbs: &["create", "get"] };
        all.push(connect("attach", "PodAttachOptions"));
        all.push(Part { name: "binding", other: None, kind: "Binding", verbs: &["create"] });
        all.push(own("ephemeralcontainers", PART_VERBS));
        all.push(Part { name: "eviction", other: Some(("policy", "v1")), kind: "Eviction", verbs: &["create"] });
        all.push(connect("exec", "PodExecOptions"));
        all.push(own("log", &["get"]));
        all.push(connect("portforward", "PodPortForwardOptions"));
        all.push(own("resize", PART_VERBS));
    }
    if kind.kind == "ServiceAccount" {
        let other = Some(("authentication.k8s.io", "v1"));
        all.push(Part { name: "token", other, kind: "TokenRequest", verbs: &["create"] });
    }
    if strategy::is_namespace(kind) {
        all.push(own("finalize", &["update"]));
    }
    if strategy::has_scale(kind) {
        all.push(Part { name: "scale", other: Some(("autoscaling", "v1")), kind: "Scale", verbs: PART_VERBS });
    }
    if kind.has_status {
        all.push(own("status", PART_VERBS));
    }
    all
}

fn resource_list(group: &str, version: &str) -> Option<Value> {
    let kinds = kinds(group, version);
    let group_version = kinds.first()?.api_version;
    let list: Vec<Value> = kinds.into_iter().flat_map(resource_and_parts).collect();
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}))
}

fn resource_and_parts(kind: &ResourceType) -> Vec<Value> {
    let mut main = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": verbs(kind),
    });
    add_names(&mut main, kind);
    let part = |part: Part| {
        let mut value = json!({
            "name": format!("{}/{}", kind.plural, part.name), "singularName": "", "namespaced": kind.namespaced,
            "kind": part.kind, "verbs": part.verbs,
        });
        if let Some((group, version)) = part.other {
            value["group"] = json!(group);
            value["version"] = json!(version);
        }
        value
    };
    std::iter::once(main).chain(parts(kind).into_iter().map(part)).collect()
}

fn add_names(resource: &mut Value, kind: &ResourceType) {
    for (field, names) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !names.is_empty() {
            resource[field] = json!(names);
        }
    }
}

/// A version of the aggregated form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregated {
    V2,
    V2Beta1,
}

impl Aggregated {
    /// The first version that the client accepts. Clients that know none want the old form.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get(ACCEPT)?.to_str().ok()?;
        accept.split(',').find_map(|clause| {
            let parts: Vec<&str> = clause.split(';').map(str::trim).collect();
            let wanted = |form: &Self| form.media_type().split(';').all(|part| parts.contains(&part));
            [Self::V2, Self::V2Beta1].into_iter().find(wanted)
        })
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }
}

/// All resources of the core group, or of the others; not again to a client that knows them.
fn aggregated(core: bool, form: Aggregated, headers: &HeaderMap) -> Answer {
    let groups: Vec<&str> = if core { vec![""] } else { groups().collect() };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|group| {
            let versions = versions(group).into_iter().map(|version| {
                let resources: Vec<Value> = kinds(group, version).into_iter().map(aggregated_resource).collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            });
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions.collect::<Vec<_>>()})
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": form.api_version(), "metadata": {}, "items": items,
    });
    let text = list.to_string();
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016X}\"", hasher.finish());
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let (code, body) = if known { (StatusCode::NOT_MODIFIED, String::new()) } else { (StatusCode::OK, text) };
    let mut answer = answer::typed(code, form.media_type(), ResponseBody::full(body));
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

fn aggregated_resource(kind: &ResourceType) -> Value {
    let response_kind = |other: Option<(&str, &str)>, name: &str| {
        let (group, version) = other.unwrap_or((kind.group, kind.version));
        json!({"group": group, "version": version, "kind": name})
    };
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response_kind(None, kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": verbs(kind),
    });
    add_names(&mut resource, kind);
    let parts: Vec<Value> = parts(kind)
        .into_iter()
        .map(|part| {
            json!({"subresource": part.name, "responseKind": response_kind(part.other, part.kind), "verbs": part.verbs})
        })
        .collect();
    if !parts.is_empty() {
        resource["subresources"] = Value::Array(parts);
    }
    resource
}
