//! Who a client is and what it may do.
//!
//! Who: the certificate that the listener has verified, else a bearer token, else nobody. What: the members of
//! `system:masters` everything, others what roles and bindings give them. Parts of this process are asked nothing.

mod attributes;
mod bootstrap;
mod escalation;
mod impersonation;
mod jwt;
mod openid;
mod policy;
pub(crate) mod reviews;
mod rule;
mod tokens;
mod user;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use apimachinery::status::ApiError;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use serde_json::Value;

pub(crate) use attributes::{Attributes, Resource, Target};
pub(crate) use bootstrap::apply as make_built_in_roles;
pub use jwt::{TokenKey, TokenKeyError};
pub(crate) use policy::Decision;
use policy::Policy;
pub(crate) use tokens::AUTOMATIC_SECONDS;
pub(crate) use user::User;

use crate::http::path::Path;
use crate::http::query::Query;
use crate::http::service::Origin;
use crate::registry::{Place, Registry};
use crate::server::Options;

/// Decides who may come in.
#[derive(Debug)]
pub(crate) struct Auth {
    key: Option<Arc<TokenKey>>,
    advertised: Option<SocketAddr>,
    policy: Mutex<Option<Arc<Policy>>>,
}

impl Auth {
    pub(crate) fn new(options: &Options) -> Self {
        let new_key = || TokenKey::generate().map_err(|error| tracing::error!("{error}")).ok().map(Arc::new);
        let key = options.token_key.clone().or_else(new_key);
        Self { key, advertised: options.advertise_address, policy: Mutex::default() }
    }

    /// Finds out who sends a request and whether that is allowed.
    ///
    /// # Errors
    /// 401 for a token that is not valid, 403 for what the user may not do.
    pub(crate) fn admit(
        &self,
        registry: &Registry,
        origin: &Origin,
        headers: &HeaderMap,
        wanted: &[Attributes],
    ) -> Result<User, ApiError> {
        let certificate = match origin {
            Origin::Internal => return Ok(User::internal()),
            Origin::Remote(certificate) => certificate,
        };
        let user = match (certificate, bearer_token(headers)) {
            (Some(certificate), _) => User::of_certificate(certificate),
            (None, Some(token)) => self.of_token(registry, token, &[]).map_err(|_| unauthorized())?.0,
            (None, None) => User::anonymous(),
        };
        let policy = self.policy(registry);
        let user = impersonation::apply(&policy, user, headers)?;
        for wanted in wanted {
            check(&policy, &user, wanted)?;
        }
        Ok(user)
    }

    /// Whether a user may do something.
    pub(crate) fn decide(&self, registry: &Registry, user: &User, wanted: &Attributes) -> Decision {
        self.policy(registry).decide(user, wanted)
    }

    fn policy(&self, registry: &Registry) -> Arc<Policy> {
        let mut known = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let current = Policy::current(&registry.store, known.as_ref());
        *known = Some(Arc::clone(&current));
        current
    }

    fn of_token(
        &self,
        registry: &Registry,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), tokens::TokenError> {
        let key = self.key.as_ref().ok_or(tokens::TokenError::Unknown)?;
        tokens::authenticate(registry, key, token, audiences)
    }

    /// Answers a request for a token of the service account at `place`.
    pub(crate) fn issue_token(&self, registry: &Registry, place: Place<'_>, body: &Value) -> Result<Value, ApiError> {
        let key = self.key.as_ref().ok_or_else(|| ApiError::internal("no key to sign tokens with"))?;
        tokens::request(registry, key, place, body)
    }

    /// The documents with which others can check tokens; `None` for another path.
    pub(crate) fn openid(&self, path: &str) -> Option<(&'static str, Value)> {
        openid::document(path, self.key.as_deref()?, self.advertised)
    }
}

/// What a request needs to be allowed.
pub(crate) fn wanted(method: &Method, raw: &str, path: Option<&Path>, query: &Query) -> Vec<Attributes> {
    let first = Attributes::of_request(method, raw, path, query);
    let mut all = vec![first.clone()];
    // A stream into a pod changes it, even when a WebSocket begins it with GET (KEP-5524).
    if let Target::Resource(target) = first.target
        && first.verb == "get"
        && target.group.is_empty()
        && target.resource == "pods"
        && matches!(target.subresource.as_str(), "exec" | "attach" | "portforward")
    {
        all.push(Attributes::of_resource("create", target));
    }
    all
}

fn check(policy: &Policy, user: &User, wanted: &Attributes) -> Result<(), ApiError> {
    let decision = policy.decide(user, wanted);
    if decision.allowed { Ok(()) } else { Err(wanted.forbidden(user, &decision.reason)) }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

fn unauthorized() -> ApiError {
    ApiError::plain(401, "Unauthorized", "Unauthorized")
}
