//! What a request path names.

use percent_encoding::percent_decode_str;

/// A parsed request path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Objects of the API.
    Resource(ResourcePath),
    /// Anything else: discovery, version, health. Decoded, without a slash at the end.
    Other(String),
}

/// A path of the form `/api/v1/…` or `/apis/GROUP/VERSION/…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// API group, empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    /// Set when the path names a namespace that the resource lives in.
    pub(crate) namespace: Option<String>,
    /// Plural name of the resource.
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// The old `/api/v1/watch/…` form.
    pub(crate) watch: bool,
}

/// Splits a path as the API server's `RequestInfoFactory` does; `None` if no handler could own it.
pub(crate) fn parse(path: &str) -> Option<Path> {
    let segments = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(String::from))
        .collect::<Option<Vec<_>>>()?;
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => resource_path("", version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => resource_path(group, version, rest),
        _ => Some(Path::Other(format!("/{}", parts.join("/")))),
    }
}

fn resource_path(group: &str, version: &str, rest: &[&str]) -> Option<Path> {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, rest),
    };
    let base = ResourcePath { group: group.to_owned(), version: version.to_owned(), watch, ..ResourcePath::default() };
    let (namespace, rest) = match rest {
        // A namespace's own subresources, not resources inside it.
        ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (Some((*namespace).to_owned()), inner),
        _ => (None, rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, None, None),
        [resource, name] => (*resource, Some(*name), None),
        [resource, name, subresource] => (*resource, Some(*name), Some(*subresource)),
        _ => return None,
    };
    Some(Path::Resource(ResourcePath {
        namespace,
        resource: resource.to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
        ..base
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match parse(path) {
            Some(Path::Resource(found)) => found,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn text(path: &str) -> String {
        let found = resource(path);
        let shown = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
        format!(
            "{}/{} {} {} {} {}{}",
            found.group,
            found.version,
            shown(found.namespace),
            found.resource,
            shown(found.name),
            shown(found.subresource),
            if found.watch { " watch" } else { "" }
        )
    }

    #[test]
    fn resource_paths_are_split_into_their_parts() {
        for (path, want) in [
            ("/api/v1/pods", "/v1 - pods - -"),
            ("/api/v1/namespaces", "/v1 - namespaces - -"),
            ("/api/v1/namespaces/a", "/v1 - namespaces a -"),
            ("/api/v1/namespaces/a/finalize", "/v1 - namespaces a finalize"),
            ("/api/v1/namespaces/a/pods/", "/v1 a pods - -"),
            ("/api/v1/namespaces/a/pods/b", "/v1 a pods b -"),
            ("/api/v1/namespaces/a/pods/b/log", "/v1 a pods b log"),
            ("/apis/batch/v1/namespaces/a/jobs/b/status", "batch/v1 a jobs b status"),
            ("/api/v1/watch/namespaces/a/pods", "/v1 a pods - - watch"),
            ("/api/v1/nodes/a%2Eb", "/v1 - nodes a.b -"),
        ] {
            assert_eq!(text(path), want, "{path}");
        }
    }

    #[test]
    fn other_paths_are_kept_and_impossible_ones_refused() {
        assert_eq!(parse("/api/"), Some(Path::Other("/api".to_owned())));
        assert_eq!(parse("/apis/batch/v1"), Some(Path::Other("/apis/batch/v1".to_owned())));
        assert_eq!(parse(""), Some(Path::Other("/".to_owned())));
        assert_eq!(parse("/api/v1/namespaces/a/pods/b/proxy/x"), None);
        assert_eq!(parse("/api/v1/pods/%ff"), None);
    }
}
