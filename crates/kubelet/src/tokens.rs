//! Tokens of a pod's service account: asked for, kept, and asked for again before they end
//! (pkg/kubelet/token/token_manager.go).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection},
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;

/// Life of a token of which the manifest does not say.
const DEFAULT_SECONDS: i64 = 3600;
/// No token is used longer than this, however long it lives.
const LONGEST_USE: Duration = Duration::from_secs(24 * 3600);
/// Pods that start together renew apart, within this time.
const MOST_JITTER: Duration = Duration::from_secs(10);
/// Pause before a renewal that failed is tried again; a fifth of a token's life is left for it.
const RETRY: Duration = Duration::from_secs(30);

/// What a volume wants a token for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenSpec {
    /// Whom it is shown to; empty: the API server.
    audience: String,
    /// How long it is to live, in seconds.
    seconds: i64,
}

impl TokenSpec {
    pub(crate) fn of(source: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: source.audience.clone().unwrap_or_default(),
            seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        }
    }
}

/// The tokens of one pod.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<TokenSpec, Token>>);

struct Token {
    text: String,
    renew_at: Instant,
    wake_at: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Returns the token, a new one if there is none or its time has come. One that cannot be renewed serves on.
    pub(crate) async fn get(&self, client: &Client, pod: &Pod, spec: &TokenSpec) -> Result<String, String> {
        let known = self.lock().get(spec).map(|token| (token.text.clone(), token.renew_at));
        if let Some((text, renew_at)) = &known
            && Instant::now() < *renew_at
        {
            return Ok(text.clone());
        }
        match (request(client, pod, spec).await, known) {
            (Ok(text), _) => {
                let life = Duration::from_secs(u64::try_from(spec.seconds).unwrap_or_default());
                let renew_at = Instant::now() + use_for(life, MOST_JITTER.mul_f64(rand::random()));
                self.lock().insert(spec.clone(), Token { text: text.clone(), renew_at, wake_at: renew_at });
                Ok(text)
            }
            (Err(error), Some((text, _))) => {
                tracing::warn!(pod = crate::names::describe_pod(pod), "service account token not renewed: {error}");
                Ok(text)
            }
            (Err(error), None) => Err(format!("failed to fetch token: {error}")),
        }
    }

    /// When the next token is to be looked at.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.lock().values().map(|token| token.wake_at).min()
    }

    /// Tells whether a token is to be renewed now; it is due again later, in case that fails.
    pub(crate) fn take_due(&self) -> bool {
        let now = Instant::now();
        let mut any = false;
        for token in self.lock().values_mut().filter(|token| token.wake_at <= now) {
            token.wake_at = now + RETRY;
            any = true;
        }
        any
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TokenSpec, Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a token of this life is used: four fifths of it, and a little less by chance.
fn use_for(life: Duration, jitter: Duration) -> Duration {
    (life * 4 / 5).min(LONGEST_USE).saturating_sub(jitter)
}

async fn request(client: &Client, pod: &Pod, spec: &TokenSpec) -> Result<String, String> {
    let metadata = &pod.metadata;
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(if spec.audience.is_empty() { Vec::new() } else { vec![spec.audience.clone()] }),
            expiration_seconds: Some(spec.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> =
        Api::namespaced(client.clone(), metadata.namespace.as_deref().unwrap_or_default());
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let status = answer.map_err(|error| error.to_string())?.status;
    status.and_then(|status| status.token).ok_or_else(|| "the API server gave none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_when_a_fifth_of_their_life_is_left_and_every_day() {
        let seconds = |life, jitter| use_for(Duration::from_secs(life), Duration::from_secs(jitter)).as_secs();
        assert_eq!([seconds(600, 0), seconds(3600, 10), seconds(10 * 86400, 0)], [480, 2870, 86400]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_due_token_wakes_once_and_again_when_renewing_may_have_failed() {
        let tokens = Tokens::default();
        assert_eq!(tokens.due(), None);
        let renew_at = Instant::now() + Duration::from_secs(5);
        let spec = TokenSpec { audience: String::new(), seconds: 600 };
        tokens.lock().insert(spec, Token { text: "t".to_owned(), renew_at, wake_at: renew_at });
        assert!(!tokens.take_due());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(tokens.take_due());
        assert!(!tokens.take_due());
        assert_eq!(tokens.due(), Some(Instant::now() + RETRY));
    }
}
