//! One repository of one registry over HTTP.

use std::{
    net::Ipv4Addr,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use base64::Engine as _;
use bytes::Bytes;
use cri::ImageAuth;
use oci_spec::distribution::Reference;
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use super::PullError;
use crate::image::error::chain;

/// Until a connection stands, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence on a connection after which it counts as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a token server's answer. Real tokens have some kilobytes.
const MAX_TOKEN_ANSWER: u64 = 1 << 20;
/// Bytes of an error answer that are looked at.
const MAX_ERROR_ANSWER: u64 = 16 << 10;
/// Characters of a server's own words in a pod's status.
const MAX_ERROR_TEXT: usize = 300;
/// What a manifest may be (OCI distribution-spec and Docker registry API).
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
/// Where the names of `docker.io` are served.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// A repository as seen with one credential.
pub(super) struct Registry {
    http: Client,
    base: String,
    reference: Reference,
    credential: Option<ImageAuth>,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Registry {
    pub(super) fn new(reference: &Reference, credential: Option<ImageAuth>) -> Result<Self, PullError> {
        let local = is_loopback(reference.registry());
        let host = if reference.registry() == "docker.io" { DOCKER_HUB } else { reference.registry() };
        let scheme = if local { "http" } else { "https" };
        let authorization = match &credential {
            Some(ImageAuth::Bearer(token)) => Some(bearer(token)?),
            Some(ImageAuth::Basic { .. }) | None => None,
        };
        Ok(Self {
            http: http_client(local)?,
            base: format!("{scheme}://{host}/v2/{}", reference.repository()),
            reference: reference.clone(),
            credential,
            authorization: Mutex::new(authorization),
        })
    }

    pub(super) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Gets a whole document of at most `limit` bytes.
    pub(super) async fn document(&self, path: &str, limit: u64) -> Result<Vec<u8>, PullError> {
        let mut response = self.get(path).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > limit {
                return Err(PullError::Broken(format!("{path} is larger than {limit} bytes")));
            }
        }
        Ok(bytes)
    }

    /// Starts to get `path` below the repository, proving who we are when asked.
    pub(super) async fn get(&self, path: &str) -> Result<Response, PullError> {
        let mut response = self.send(path).await?;
        // Also when there was a token already: it may have expired during a long download.
        if response.status() == StatusCode::UNAUTHORIZED && self.authorize(response.headers()).await? {
            response = self.send(path).await?;
        }
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let message = format!("{path}: {status}{}", own_words(response).await);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => PullError::Denied(message),
            StatusCode::TOO_MANY_REQUESTS => PullError::Unavailable(message),
            _ if status.is_client_error() => PullError::Broken(message),
            _ => PullError::Unavailable(message),
        })
    }

    /// The next part of a response's body; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, PullError> {
        response.chunk().await.map_err(|e| unavailable(&e))
    }

    async fn send(&self, path: &str) -> Result<Response, PullError> {
        let mut request = self.http.get(format!("{}/{path}", self.base)).header(ACCEPT, MANIFEST_TYPES);
        let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|e| unavailable(&e))
    }

    /// Answers the challenge of a registry. False if there is nothing to answer with.
    async fn authorize(&self, headers: &HeaderMap) -> Result<bool, PullError> {
        let challenge = headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let basic = match &self.credential {
            // Given as it is, it cannot be renewed.
            Some(ImageAuth::Bearer(_)) => return Ok(false),
            Some(ImageAuth::Basic { username, password }) => Some(basic(username, password)?),
            None => None,
        };
        let mut answer = None;
        for parsed in http_auth::ChallengeParser::new(challenge).flatten() {
            if parsed.scheme.eq_ignore_ascii_case("Bearer") {
                answer = Some(self.token(&parsed, basic.as_ref()).await?);
                break;
            }
            if parsed.scheme.eq_ignore_ascii_case("Basic") {
                answer.clone_from(&basic);
            }
        }
        let authorized = answer.is_some();
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        Ok(authorized)
    }

    /// Gets a token for pulling (Docker registry token authentication).
    async fn token(
        &self,
        challenge: &http_auth::ChallengeRef<'_>,
        basic: Option<&HeaderValue>,
    ) -> Result<HeaderValue, PullError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let parameter = |name: &str| {
            challenge
                .params
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_unescaped())
        };
        let bad = |what: &str| PullError::Unavailable(format!("authentication: {what}"));
        let realm = parameter("realm").ok_or_else(|| bad("the registry names no token server"))?;
        let mut url = reqwest::Url::parse(&realm).map_err(|_| bad("the registry names no proper token server"))?;
        url.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", self.reference.repository()));
        if let Some(service) = parameter("service") {
            url.query_pairs_mut().append_pair("service", &service);
        }
        let mut request = self.http.get(url);
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let response = request.send().await.map_err(|e| unavailable(&e))?;
        let status = response.status();
        if status.is_client_error() {
            return Err(PullError::Denied(format!("authentication: {status}{}", own_words(response).await)));
        }
        if status != StatusCode::OK {
            return Err(bad(&status.to_string()));
        }
        let bytes = first_bytes(response, MAX_TOKEN_ANSWER).await.map_err(|e| unavailable(&e))?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| bad("the token server's answer is no token"))?;
        bearer(&answer.token.or(answer.access_token).ok_or_else(|| bad("the token server gave no token"))?)
    }
}

fn bearer(token: &str) -> Result<HeaderValue, PullError> {
    secret(format!("Bearer {token}"))
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, PullError> {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    secret(format!("Basic {pair}"))
}

fn secret(text: String) -> Result<HeaderValue, PullError> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| PullError::Denied("authentication: the token has characters that none can have".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a registry runs on this machine. Docker allows those without TLS, too.
fn is_loopback(registry: &str) -> bool {
    let host = registry.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Builds the client.
///
/// Names are resolved by our own resolver (hickory), from `/etc/hosts` and `/etc/resolv.conf`: the C library's
/// loads the host's plug-ins, and a static program crashes if they belong to another version of it.
fn http_client(local: bool) -> Result<Client, PullError> {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    // An error only says that somebody else has installed one.
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let builder = || {
        let builder = Client::builder()
            .user_agent(concat!("podrig/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .https_only(!local)
            .hickory_dns(true);
        // A proxy would look for "localhost" on its own machine.
        if local { builder.no_proxy() } else { builder }
    };
    let mut client = builder().build();
    if client.is_err() && local {
        // A machine without certificate authorities can still use its own registry.
        client = builder().tls_certs_only([]).build();
    }
    client.map_err(|e| PullError::Broken(format!("no HTTPS on this machine: {}", chain(&e))))
}

fn unavailable(error: &reqwest::Error) -> PullError {
    PullError::Unavailable(chain(error))
}

/// What the registry says about an error, cut to what fits in a status.
async fn own_words(response: Response) -> String {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(bytes) = first_bytes(response, MAX_ERROR_ANSWER).await else { return String::new() };
    let Ok(answer) = serde_json::from_slice::<Answer>(&bytes) else { return String::new() };
    let words: String = answer.errors.iter().map(|item| format!(": {}: {}", item.code, item.message)).collect();
    words.chars().filter(|c| !c.is_control()).take(MAX_ERROR_TEXT).collect()
}

/// Reads a body as far as `limit`.
async fn first_bytes(mut response: Response, limit: u64) -> reqwest::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 >= limit {
            break;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_of_this_machine_go_without_tls() {
        for local in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9"] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in ["localhost.example.com", "docker.io", "10.0.0.1:5000", "127.0.0.1.example.com", "128.0.0.1"] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }

    #[test]
    fn secrets_that_fit_in_no_header_are_refused() {
        assert!(matches!(bearer("a\nb"), Err(PullError::Denied(_))));
        assert_eq!(basic("u", "p\n").unwrap(), "Basic dTpwCg==");
        assert_eq!(format!("{:?}", bearer("secret").unwrap()), "Sensitive");
    }
}
