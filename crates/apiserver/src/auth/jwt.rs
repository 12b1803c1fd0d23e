//! JSON Web Tokens, signed with ECDSA on P-256 and SHA-256 (RFC 7515, RFC 7518 section 3.4).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Name of the algorithm in headers and key sets.
pub(crate) const ALGORITHM: &str = "ES256";

/// Longer than any token of ours; what is longer is not looked at.
const MOST_TOKEN_BYTES: usize = 16 * 1024;

/// What stands before the point in a `SubjectPublicKeyInfo` of P-256 (RFC 5480).
const P256_KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The key that service account tokens are signed with.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    id: String,
    pkcs8: Vec<u8>,
}

/// A key cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// The system gives no random numbers.
    #[error("making a key for service account tokens: no random numbers")]
    Random,
    /// The bytes are no key.
    #[error("reading the key for service account tokens: not a P-256 key in PKCS#8 form")]
    Format,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    #[error("not a token of this server")]
    Form,
    #[error("the signature is wrong")]
    Signature,
}

impl TokenKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, TokenKeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| TokenKeyError::Random)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads a key as [`TokenKey::pkcs8`] gives it.
    ///
    /// # Errors
    /// The bytes are no key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, TokenKeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
            .map_err(|_| TokenKeyError::Format)?;
        let mut info = P256_KEY_INFO.to_vec();
        info.extend_from_slice(pair.public_key().as_ref());
        let id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &info));
        Ok(Self { pair, id, pkcs8: pkcs8.to_vec() })
    }

    /// The key as PKCS#8 document (DER), to be kept where nobody else can read it.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Makes a token that says `claims`; `None` if the system gives no random numbers.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let header = json!({"alg": ALGORITHM, "kid": self.id});
        let text = format!("{}.{}", encode(&header)?, encode(claims)?);
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Reads what a token says, if it was signed with this key.
    pub(crate) fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<T, JwtError> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(JwtError::Form);
        }
        let (text, signature) = token.rsplit_once('.').ok_or(JwtError::Form)?;
        let (header, claims) = text.split_once('.').ok_or(JwtError::Form)?;
        let header: Value = decode(header)?;
        if header["alg"] != ALGORITHM || header["kid"] != self.id.as_str() {
            return Err(JwtError::Form);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtError::Form)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(text.as_bytes(), &signature)
            .map_err(|_| JwtError::Signature)?;
        decode(claims)
    }

    /// The public key for those who check tokens themselves (RFC 7517).
    pub(crate) fn to_jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        // An uncompressed point: a byte that says so, x, y.
        let coordinate = |from: usize| URL_SAFE_NO_PAD.encode(point.get(from..from + 32).unwrap_or_default());
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": ALGORITHM,
            "x": coordinate(1), "y": coordinate(33),
        })
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn encode(value: &impl Serialize) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).ok()?))
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_verifies_what_it_signed_and_no_other_does() {
        let key = TokenKey::generate().expect("key");
        let token = key.sign(&json!({"sub": "a"})).expect("token");
        let kept = TokenKey::from_pkcs8(key.pkcs8()).expect("kept");
        assert_eq!(kept.verify::<Value>(&token).expect("claims"), json!({"sub": "a"}));
        let other = TokenKey::generate().expect("key");
        assert_eq!(other.verify::<Value>(&token), Err(JwtError::Form));
        assert_eq!(TokenKey::from_pkcs8(b"x").expect_err("no key"), TokenKeyError::Format);
    }

    #[test]
    fn changed_and_unsigned_tokens_are_refused() {
        let key = TokenKey::generate().expect("key");
        let token = key.sign(&json!({"sub": "a"})).expect("token");
        let parts: Vec<&str> = token.split('.').collect();
        let claims = encode(&json!({"sub": "b"})).expect("text");
        let unsigned = encode(&json!({"alg": "none", "kid": key.id})).expect("text");
        for (forged, why) in [
            (format!("{}.{claims}.{}", parts[0], parts[2]), JwtError::Signature),
            (format!("{unsigned}.{}.", parts[1]), JwtError::Form),
            (format!("{}.{}.", parts[0], parts[1]), JwtError::Signature),
            (format!("{}.{}", parts[0], parts[1]), JwtError::Form),
            (String::new(), JwtError::Form),
            ("a.b.c".to_owned(), JwtError::Form),
            (format!("{token}{}", "x".repeat(MOST_TOKEN_BYTES)), JwtError::Form),
        ] {
            assert_eq!(key.verify::<Value>(&forged), Err(why), "{forged:.80}");
        }
    }
}
