//! What lets others check tokens of service accounts (OpenID Connect Discovery 1.0).

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::jwt::{ALGORITHM, TokenKey};
use super::tokens::ISSUER;

const KEYS_PATH: &str = "/openid/v1/jwks";

/// Media type and content of the document under a path.
pub(crate) fn document(path: &str, key: &TokenKey, advertised: Option<SocketAddr>) -> Option<(&'static str, Value)> {
    match path {
        "/.well-known/openid-configuration" => {
            let keys = match advertised {
                Some(address) => format!("https://{address}{KEYS_PATH}"),
                None => format!("{ISSUER}{KEYS_PATH}"),
            };
            let configuration = json!({
                "issuer": ISSUER, "jwks_uri": keys, "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": [ALGORITHM],
            });
            Some(("application/json", configuration))
        }
        KEYS_PATH => Some(("application/jwk-set+json", json!({"keys": [key.to_jwk()]}))),
        _ => None,
    }
}
