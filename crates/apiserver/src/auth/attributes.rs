//! What a request wants to do, as authorisation sees it (apiserver `endpoints/request/requestinfo.go`).

use apimachinery::selector::FieldSelector;
use apimachinery::status::ApiError;
use http::Method;
use percent_encoding::percent_decode_str;

use super::user::User;
use crate::http::path::{Path, ResourcePath};
use crate::http::query::Query;
use crate::rules;

/// What is done to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Resource(Resource),
    /// A path that belongs to no resource.
    Path(String),
}

/// Objects of the API. Empty means "not said".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Resource {
    /// The resource with its subresource, as rules name it.
    pub(crate) fn combined(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

impl Attributes {
    pub(crate) fn of_resource(verb: &str, resource: Resource) -> Self {
        Self { verb: verb.to_owned(), target: Target::Resource(resource) }
    }

    /// Reads a request. `raw` is the path as it was sent, `path` what it means, if anything.
    pub(crate) fn of_request(method: &Method, raw: &str, path: Option<&Path>, query: &Query) -> Self {
        match path {
            Some(Path::Resource(path)) => Self::of_path(method, path, query),
            Some(Path::Other(_)) | None => Self {
                verb: method.as_str().to_ascii_lowercase(),
                target: Target::Path(percent_decode_str(raw).decode_utf8_lossy().into_owned()),
            },
        }
    }

    fn of_path(method: &Method, path: &ResourcePath, query: &Query) -> Self {
        let mut name = path.name.clone().unwrap_or_default();
        let verb = match *method {
            _ if path.watch => "watch",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            Method::GET | Method::HEAD if !name.is_empty() => "get",
            Method::GET | Method::HEAD if query.flag("watch").unwrap_or_default() => "watch",
            Method::GET | Method::HEAD => "list",
            _ => "",
        };
        if name.is_empty() && matches!(verb, "list" | "watch" | "deletecollection") {
            name = selected_name(path, query.first("fieldSelector").unwrap_or_default());
        }
        // A namespace lies in itself, so that its own roles can give access to it.
        let own = if path.resource == "namespaces" && path.group.is_empty() { path.name.as_ref() } else { None };
        Self::of_resource(
            verb,
            Resource {
                group: path.group.clone(),
                resource: path.resource.clone(),
                subresource: path.subresource.clone().unwrap_or_default(),
                namespace: path.namespace.as_ref().or(own).cloned().unwrap_or_default(),
                name,
            },
        )
    }

    /// 403, in the words of `handlers/responsewriters/errors.go`.
    pub(crate) fn forbidden(&self, user: &User, reason: &str) -> ApiError {
        let mut why = escape(&self.refusal(&user.name));
        if !reason.is_empty() {
            why = format!("{why}: {reason}");
        }
        let Target::Resource(target) = &self.target else {
            return ApiError::plain(403, "Forbidden", format!("forbidden: {why}"));
        };
        let qualified = match target.group.as_str() {
            "" => target.resource.clone(),
            group => format!("{}.{group}", target.resource),
        };
        let name = if target.name.is_empty() { String::new() } else { format!(" \"{}\"", target.name) };
        let mut error = ApiError::plain(403, "Forbidden", format!("{qualified}{name} is forbidden: {why}"));
        error.details.name.clone_from(&target.name);
        error.details.group.clone_from(&target.group);
        error.details.kind.clone_from(&target.resource);
        error
    }

    fn refusal(&self, user: &str) -> String {
        let verb = &self.verb;
        let target = match &self.target {
            Target::Path(path) => return format!("User {user:?} cannot {verb} path {path:?}"),
            Target::Resource(target) => target,
        };
        let place = match target.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let (what, group) = (target.combined(), &target.group);
        format!("User {user:?} cannot {verb} resource {what:?} in API group {group:?} {place}")
    }
}

/// Texts of requests come back in answers, which a browser may show.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The name in a field selector that selects one object only, read as the selection itself is.
fn selected_name(path: &ResourcePath, selector: &str) -> String {
    let kind = rules::lookup(&path.group, &path.version, &path.resource);
    let selector = kind.and_then(|kind| FieldSelector::parse(kind, selector).ok()).unwrap_or_default();
    let name = selector.required("metadata.name").unwrap_or_default();
    if name == "." || name == ".." || name.contains(['/', '%']) { String::new() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::path;

    fn shown(method: &Method, uri: &str) -> String {
        let (raw, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query = Query::parse(Some(query)).expect("query");
        let found = Attributes::of_request(method, raw, path::parse(raw).as_ref(), &query);
        match found.target {
            Target::Path(path) => format!("{} {path}", found.verb),
            Target::Resource(r) => {
                format!("{} {}:{} ns={} name={}", found.verb, r.group, r.combined(), r.namespace, r.name)
            }
        }
    }

    #[test]
    fn requests_are_told_apart_as_the_api_server_does() {
        for (method, uri, want) in [
            (Method::GET, "/api/v1/pods", "list :pods ns= name="),
            (Method::GET, "/api/v1/pods?watch=1", "watch :pods ns= name="),
            (Method::GET, "/api/v1/pods?watch=false", "list :pods ns= name="),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch :pods ns=a name="),
            (Method::GET, "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Db", "list :pods ns=a name=b"),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods?fieldSelector=status.phase=1,metadata.name==b",
                "list :pods ns=a name=b",
            ),
            (Method::GET, r"/api/v1/pods?fieldSelector=spec.nodeName!=x\,metadata.name\=b", "list :pods ns= name="),
            (Method::GET, "/api/v1/namespaces/a/pods?fieldSelector=metadata.name!=b", "list :pods ns=a name="),
            (Method::GET, "/api/v1/namespaces/a", "get :namespaces ns=a name=a"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update :namespaces/finalize ns=a name=a"),
            (Method::POST, "/api/v1/namespaces/a/pods/b/exec", "create :pods/exec ns=a name=b"),
            (Method::DELETE, "/apis/batch/v1/namespaces/a/jobs", "deletecollection batch:jobs ns=a name="),
            (Method::PATCH, "/apis/batch/v1/namespaces/a/jobs/b/status", "patch batch:jobs/status ns=a name=b"),
            (Method::GET, "/apis/batch/v1", "get /apis/batch/v1"),
            (Method::GET, "/version/", "get /version/"),
            (Method::POST, "/a%20b", "post /a b"),
            (Method::GET, "/api/v1/namespaces/a/pods/b/proxy/x/y", "get /api/v1/namespaces/a/pods/b/proxy/x/y"),
        ] {
            assert_eq!(shown(&method, uri), want, "{method} {uri}");
        }
    }

    #[test]
    fn refusals_use_the_words_of_kubernetes() {
        let user = User { name: "x".to_owned(), ..User::default() };
        let list = |namespace: &str| {
            let namespace = namespace.to_owned();
            let target = Resource { resource: "pods".to_owned(), namespace, ..Resource::default() };
            Attributes::of_resource("list", target).forbidden(&user, "").message
        };
        assert_eq!(
            list("default"),
            "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        );
        assert_eq!(
            list(""),
            "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" at the cluster scope"
        );
        let path = Attributes { verb: "get".to_owned(), target: Target::Path("/<a>".to_owned()) };
        let error = path.forbidden(&user, "RBAC: why");
        assert_eq!(error.message, "forbidden: User \"x\" cannot get path \"/&lt;a&gt;\": RBAC: why");
    }
}
