//! Tokens of service accounts: what they say, when they are given out, when they are taken
//! (`pkg/serviceaccount/claims.go`, `pkg/registry/core/serviceaccount/storage/token.go`).

use apimachinery::field::{FieldErrors, Path};
use apimachinery::scheme;
use apimachinery::status::ApiError;
use apimachinery::time::seconds;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::jwt::TokenKey;
use super::user::{User, service_account_name};
use crate::error::invalid_unnamed;
use crate::registry::{Place, Registry, meta};

/// Who issues tokens, and whom they are for when nothing else is asked.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Life of a token when the request does not say.
const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;
/// Life that the automatic volume asks for. Old clients read their token once; such tokens live on for
/// [`EXTENDED_SECONDS`] (`WarnOnlyBoundTokenExpirationSeconds`).
pub(crate) const AUTOMATIC_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// How long a token outlives the object it is bound to, so that it can be used to say goodbye.
const DELETION_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    iss: String,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    private: PrivateClaims,
    nbf: i64,
    sub: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PrivateClaims {
    namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<ObjectClaim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<ObjectClaim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<ObjectClaim>,
    serviceaccount: ObjectClaim,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnafter: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ObjectClaim {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    uid: String,
}

impl ObjectClaim {
    fn of(object: &Value) -> Self {
        Self { name: meta::name(object).to_owned(), uid: meta::uid(object).to_owned() }
    }
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("invalid bearer token")]
    Unknown,
    #[error("invalid bearer token, service account token has expired")]
    Expired,
    #[error("invalid bearer token, service account token is not valid yet")]
    TooEarly,
    #[error("invalid bearer token, token audiences {token:?} is invalid for the target audiences {wanted:?}")]
    Audience { token: Vec<String>, wanted: Vec<String> },
    #[error("invalid bearer token, service account token has been invalidated")]
    Invalidated,
}

/// Answers a TokenRequest for the service account at `place`.
pub(crate) fn request(registry: &Registry, key: &TokenKey, place: Place<'_>, body: &Value) -> Result<Value, ApiError> {
    let request: TokenRequest = serde_json::from_value(body.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding the request body: {error}")))?;
    let account = registry.get(place)?;
    let wanted = request.metadata.uid.as_deref().unwrap_or_default();
    let actual = meta::uid(account.value());
    if !wanted.is_empty() && wanted != actual {
        let why =
            format!("the UID in the token request ({wanted}) does not match the UID of the service account ({actual})");
        return Err(place.conflict(&why));
    }
    let spec = request.spec.unwrap_or_default();
    let audiences = spec.audiences.filter(|audiences| !audiences.is_empty());
    let audiences = audiences.unwrap_or_else(|| vec![ISSUER.to_owned()]);
    let life = spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    check_life(life)?;
    let mut private = PrivateClaims {
        namespace: place.namespace.to_owned(),
        serviceaccount: ObjectClaim::of(account.value()),
        ..PrivateClaims::default()
    };
    if let Some(reference) = &spec.bound_object_ref {
        bind(registry, place, reference, &mut private)?;
    }
    let now = registry.now();
    let claims = claims(now.as_second(), life, audiences.clone(), private);
    let token = key.sign(&claims).ok_or_else(|| ApiError::internal("failed to generate token: no random numbers"))?;
    let expires = now.checked_add(SignedDuration::from_secs(life)).unwrap_or(Timestamp::MAX);
    let mut answer = body.clone();
    answer["kind"] = json!("TokenRequest");
    answer["apiVersion"] = json!("authentication.k8s.io/v1");
    for (field, value) in [("name", place.name), ("namespace", place.namespace)] {
        meta::set(&mut answer, field, json!(value));
    }
    meta::set(&mut answer, "creationTimestamp", json!(seconds(now)));
    answer["spec"]["audiences"] = json!(audiences);
    answer["spec"]["expirationSeconds"] = json!(life);
    answer["status"] = json!({"token": token, "expirationTimestamp": seconds(expires)});
    Ok(answer)
}

fn check_life(life: i64) -> Result<(), ApiError> {
    let mut errors = FieldErrors::default();
    let field = Path::new("spec").child("expirationSeconds");
    if life < LEAST_SECONDS {
        errors.invalid(&field, life, "may not specify a duration less than 10 minutes");
    }
    if life > MOST_SECONDS {
        errors.invalid(&field, life, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() { Ok(()) } else { Err(invalid_unnamed("authentication.k8s.io", "TokenRequest", &errors)) }
}

fn claims(now: i64, life: i64, aud: Vec<String>, mut private: PrivateClaims) -> Claims {
    let ours = aud.iter().all(|audience| audience == ISSUER);
    let extended = life == AUTOMATIC_SECONDS && private.pod.is_some() && ours;
    private.warnafter = extended.then_some(now + life);
    Claims {
        aud,
        exp: now + if extended { EXTENDED_SECONDS } else { life },
        iat: now,
        iss: ISSUER.to_owned(),
        jti: Uuid::new_v4().to_string(),
        sub: service_account_name(&private.namespace, &private.serviceaccount.name),
        private,
        nbf: now,
    }
}

/// Ties a token to the life of an object.
fn bind(
    registry: &Registry,
    account: Place<'_>,
    reference: &BoundObjectReference,
    private: &mut PrivateClaims,
) -> Result<(), ApiError> {
    let kind = reference.kind.as_deref().unwrap_or_default();
    let version = reference.api_version.as_deref().unwrap_or_default();
    let resource = scheme::by_kind("v1", kind)
        .filter(|_| !version.contains('/') && matches!(kind, "Pod" | "Secret" | "Node"))
        .ok_or_else(|| ApiError::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}")))?;
    let namespace = if resource.namespaced { account.namespace } else { "" };
    let place = Place { kind: resource, namespace, name: reference.name.as_deref().unwrap_or_default() };
    let object = registry.get(place)?;
    let claim = ObjectClaim::of(object.value());
    let spec = &object.value()["spec"];
    if kind == "Pod" && spec["serviceAccountName"] != account.name {
        let who = account.name;
        let text =
            format!("cannot bind token for serviceaccount {who:?} to pod running with different serviceaccount name.");
        return Err(ApiError::bad_request(text));
    }
    if let Some(uid) = reference.uid.as_deref().filter(|uid| !uid.is_empty() && *uid != claim.uid) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(place.conflict_as(kind, &why));
    }
    match kind {
        "Pod" => {
            private.node =
                spec["nodeName"].as_str().filter(|node| !node.is_empty()).map(|node| node_claim(registry, node));
            private.pod = Some(claim);
        }
        "Secret" => private.secret = Some(claim),
        _ => private.node = Some(claim),
    }
    Ok(())
}

/// A pod's node, without uid when the node is gone.
fn node_claim(registry: &Registry, name: &str) -> ObjectClaim {
    registry
        .store
        .get("nodes", name)
        .map_or_else(|| ObjectClaim { name: name.to_owned(), uid: String::new() }, |node| ObjectClaim::of(node.value()))
}

/// Whom a token proves, and which of the wanted audiences it is for. Without wanted audiences it must be for this
/// server.
pub(crate) fn authenticate(
    registry: &Registry,
    key: &TokenKey,
    token: &str,
    wanted: &[String],
) -> Result<(User, Vec<String>), TokenError> {
    let claims: Claims = key.verify(token).map_err(|_| TokenError::Unknown)?;
    let now = registry.now();
    if claims.iss != ISSUER {
        return Err(TokenError::Unknown);
    }
    if now.as_second() >= claims.exp {
        return Err(TokenError::Expired);
    }
    if now.as_second() < claims.nbf {
        return Err(TokenError::TooEarly);
    }
    let own = [ISSUER.to_owned()];
    let wanted = if wanted.is_empty() { &own } else { wanted };
    let audiences: Vec<String> = wanted.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
    if audiences.is_empty() {
        return Err(TokenError::Audience { token: claims.aud, wanted: wanted.to_vec() });
    }
    check_bound_objects(registry, &claims.private, now)?;
    Ok((user(&claims), audiences))
}

fn check_bound_objects(registry: &Registry, private: &PrivateClaims, now: Timestamp) -> Result<(), TokenError> {
    let namespaced = |name: &str| format!("{}/{name}", private.namespace);
    let bound = [
        (Some(&private.serviceaccount), "serviceaccounts", namespaced(&private.serviceaccount.name)),
        (private.secret.as_ref(), "secrets", private.secret.as_ref().map(|c| namespaced(&c.name)).unwrap_or_default()),
        (private.pod.as_ref(), "pods", private.pod.as_ref().map(|c| namespaced(&c.name)).unwrap_or_default()),
        // The node of a pod is information; only a token for a node itself goes with it.
        (
            private.node.as_ref().filter(|_| private.pod.is_none()),
            "nodes",
            private.node.as_ref().map(|c| c.name.clone()).unwrap_or_default(),
        ),
    ];
    for (claim, table, key) in bound {
        let Some(claim) = claim else { continue };
        let object = registry.store.get(table, &key).filter(|object| meta::uid(object.value()) == claim.uid);
        let Some(object) = object else { return Err(TokenError::Invalidated) };
        let last = meta::deletion_timestamp(object.value()).and_then(|at| at.checked_add(DELETION_LEEWAY).ok());
        if last.is_some_and(|last| last < now) {
            return Err(TokenError::Invalidated);
        }
    }
    Ok(())
}

fn user(claims: &Claims) -> User {
    let PrivateClaims { namespace, serviceaccount, pod, node, .. } = &claims.private;
    let mut user = User::of_service_account(namespace, &serviceaccount.name, &serviceaccount.uid);
    let mut tell = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    tell("credential-id", &format!("JTI={}", claims.jti));
    for (kind, claim) in [("pod", pod), ("node", node)] {
        if let Some(claim) = claim {
            tell(&format!("{kind}-name"), &claim.name);
            tell(&format!("{kind}-uid"), &claim.uid);
        }
    }
    user
}
