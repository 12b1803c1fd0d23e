//! Image policy and pull secrets (pkg/kubelet/images/image_manager.go, pkg/credentialprovider).

use std::time::Instant;

use cri::{ImageAuth, ImageInfo, ImageService};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use pod_lifecycle::{Failure, PulledImage};
use serde::Deserialize;
use serde_json::{Value, json};

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// Reads the policy of a manifest; the default depends on the tag.
    pub(crate) fn of(policy: Option<&str>, image: &str) -> Self {
        match policy {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some("IfNotPresent") => Self::IfNotPresent,
            _ if is_latest(image) => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

fn is_latest(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Makes an image present as its policy demands (contract S5-03, S12-02 to S12-05). `pulling` is called right
/// before a pull begins.
///
/// A pinned image was put into the store by hand, which is a choice of exactly this image, and there is no
/// registry that could know better: `Always` is content with it. This is a deliberate deviation.
pub(crate) async fn ensure<I: ImageService>(
    images: &I,
    image: &str,
    policy: PullPolicy,
    auth: Vec<ImageAuth>,
    pulling: impl FnOnce(),
) -> Result<(ImageInfo, PulledImage), Failure> {
    let present = images.image_status(image).await.map_err(|e| inspect_failure(image, &e))?;
    match (policy, present) {
        (PullPolicy::Never, None) => Err(Failure {
            reason: "ErrImageNeverPull".to_owned(),
            message: format!("Container image {image:?} is not present with pull policy of Never"),
        }),
        (PullPolicy::Never | PullPolicy::IfNotPresent, Some(info)) => Ok((info, PulledImage { pulled: None })),
        (PullPolicy::Always, Some(info)) if info.pinned => Ok((info, PulledImage { pulled: None })),
        (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, None) => {
            pulling();
            let begin = Instant::now();
            let info = images.pull_image(image, auth).await.map_err(|e| pull_failure(image, &e))?;
            let pulled = PulledImage { pulled: Some((begin.elapsed(), info.size)) };
            Ok((info, pulled))
        }
    }
}

fn inspect_failure(image: &str, error: &cri::Error) -> Failure {
    match error {
        cri::Error::InvalidImageName { .. } => Failure {
            reason: "InvalidImageName".to_owned(),
            message: format!("Failed to apply default image tag {image:?}: {error}"),
        },
        cri::Error::NotFound { .. }
        | cri::Error::RegistryUnavailable { .. }
        | cri::Error::PullFailed { .. }
        | cri::Error::StartFailed { .. }
        | cri::Error::FailedPrecondition { .. }
        | cri::Error::InvalidArgument { .. }
        | cri::Error::Internal { .. } => Failure {
            reason: "ImageInspectError".to_owned(),
            message: format!("Failed to inspect image {image:?}: {error}"),
        },
    }
}

/// A registry that cannot be reached is `ErrImagePull` too: that is what the kubelet shows over containerd,
/// whose error it cannot tell from others.
fn pull_failure(image: &str, error: &cri::Error) -> Failure {
    match error {
        cri::Error::InvalidImageName { .. } => inspect_failure(image, error),
        cri::Error::NotFound { .. }
        | cri::Error::RegistryUnavailable { .. }
        | cri::Error::PullFailed { .. }
        | cri::Error::StartFailed { .. }
        | cri::Error::FailedPrecondition { .. }
        | cri::Error::InvalidArgument { .. }
        | cri::Error::Internal { .. } => Failure { reason: "ErrImagePull".to_owned(), message: error.to_string() },
    }
}

/// Returns the credentials in pull secrets that fit an image, in order.
pub(crate) fn credentials(secrets: &[Secret], image: &str) -> Vec<ImageAuth> {
    let mut found: Vec<(usize, ImageAuth)> = Vec::new();
    for secret in secrets {
        for (pattern, entry) in auth_entries(secret) {
            if let Some(depth) = fits(&pattern, image)
                && let Some(auth) = parse_auth(&entry)
            {
                found.push((depth, auth));
            }
        }
    }
    // The longest matching path is tried first.
    found.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
    found.into_iter().map(|(_, auth)| auth).collect()
}

fn auth_entries(secret: &Secret) -> Vec<(String, Value)> {
    let data = |key: &str| secret.data.as_ref()?.get(key).and_then(|b| serde_json::from_slice::<Value>(&b.0).ok());
    let auths = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => data(".dockerconfigjson").and_then(|v| v.get("auths").cloned()),
        Some("kubernetes.io/dockercfg") => data(".dockercfg"),
        _ => None,
    };
    match auths {
        Some(Value::Object(map)) => map.into_iter().collect(),
        _ => Vec::new(),
    }
}

fn parse_auth(entry: &Value) -> Option<ImageAuth> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|s| !s.is_empty());
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(ImageAuth::Basic { username: username.to_owned(), password: password.to_owned() });
    }
    if let Some(token) = text("registrytoken") {
        return Some(ImageAuth::Bearer(token.to_owned()));
    }
    let decoded = ByteString::deserialize(json!(text("auth")?)).ok()?;
    let decoded = String::from_utf8(decoded.0).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(ImageAuth::Basic { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// Tells whether a registry pattern (`host`, `*.host`, `host/path`, with or without scheme) fits an image, and
/// how many path components it fixes.
fn fits(pattern: &str, image: &str) -> Option<usize> {
    let pattern = pattern.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (mut host, path) = pattern.split_once('/').unwrap_or((pattern, ""));
    let mut path = path.trim_end_matches('/');
    if matches!(path, "v1" | "v2") {
        path = "";
    }
    if matches!(host, "index.docker.io" | "registry-1.docker.io") {
        host = "docker.io";
    }
    let (image_host, image_path) = split_image(image);
    let same_host = match host.strip_prefix("*.") {
        Some(rest) => image_host.split_once('.').is_some_and(|(_, tail)| tail == rest),
        None => image_host == host,
    };
    let below = path.is_empty() || image_path == path || image_path.starts_with(&format!("{path}/"));
    (same_host && below).then(|| path.split('/').filter(|p| !p.is_empty()).count())
}

/// Splits an image name into registry host and repository.
fn split_image(image: &str) -> (&str, &str) {
    let name = image.split('@').next().unwrap_or_default();
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("docker.io", name),
    };
    let path = path.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(path, |(path, _)| path);
    (host, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_depends_on_the_tag() {
        let cases = [
            (None, "busybox", PullPolicy::Always),
            (None, "busybox:latest", PullPolicy::Always),
            (None, "busybox:1", PullPolicy::IfNotPresent),
            (None, "localhost:5000/busybox", PullPolicy::Always),
            (None, "busybox@sha256:0", PullPolicy::IfNotPresent),
            (Some("Never"), "busybox", PullPolicy::Never),
            (Some("IfNotPresent"), "busybox", PullPolicy::IfNotPresent),
        ];
        for (policy, image, want) in cases {
            assert_eq!(PullPolicy::of(policy, image), want, "{policy:?} {image}");
        }
    }

    #[test]
    fn s11_28_credentials_are_those_whose_registry_fits() {
        let config = json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
            "registry.example.com": {"username": "a", "password": "b"},
            "registry.example.com/team": {"username": "deep", "password": "b"},
            "*.wild.example.com": {"registrytoken": "t"},
            "broken.example.com": {"auth": "!!!"}
        }});
        let data = serde_json::to_vec(&config).expect("json");
        let secret = Secret {
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            data: Some([(".dockerconfigjson".to_owned(), ByteString(data))].into()),
            ..Secret::default()
        };
        let basic = |u: &str, p: &str| ImageAuth::Basic { username: u.to_owned(), password: p.to_owned() };
        let cases = [
            ("busybox:1", vec![basic("user", "pa:ss")]),
            ("registry.example.com/x", vec![basic("a", "b")]),
            ("registry.example.com/team/x:1", vec![basic("deep", "b"), basic("a", "b")]),
            ("registry.example.com/teammate/x", vec![basic("a", "b")]),
            ("eu.wild.example.com/x", vec![ImageAuth::Bearer("t".to_owned())]),
            ("broken.example.com/x", vec![]),
            ("other.example.com/x", vec![]),
        ];
        for (image, want) in cases {
            assert_eq!(credentials(std::slice::from_ref(&secret), image), want, "{image}");
        }
    }
}
