//! `/openapi/v3` and `/openapi/v2`.
//!
//! Documents are written when the first client asks and kept packed; they depend on the program alone.
//!
//! Source: `kube-openapi` `pkg/handler3/handler.go` (hash in the URL, redirect to the right one, caching).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{LazyLock, OnceLock};

use apimachinery::openapi;
use apimachinery::status::ApiError;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::{self, Answer};
use super::body::ResponseBody;
use super::info::GIT_VERSION;
use super::query::Query;

const JSON: &str = "application/json";

/// Clients ask for it with `@` before the version, which no media type can have.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_AS_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// One document as it is kept.
struct Document {
    media_type: &'static str,
    gzip: Bytes,
    hash: String,
}

static V2: LazyLock<Document> = LazyLock::new(|| Document::pack(JSON, &openapi::v2(GIT_VERSION)));
static V2_PROTOBUF: LazyLock<Document> =
    LazyLock::new(|| Document::pack(PROTOBUF, &openapi::v2_protobuf(GIT_VERSION).unwrap_or_default()));
static V3: LazyLock<BTreeMap<String, OnceLock<Document>>> =
    LazyLock::new(|| openapi::group_versions().into_iter().map(|path| (path, OnceLock::new())).collect());

/// Answers a request for a path below `/openapi`, given without that.
pub(crate) fn respond(method: &Method, path: &str, query: &Query, headers: &HeaderMap) -> Result<Answer, ApiError> {
    let allowed = || match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(ApiError::method_not_allowed_on_path()),
    };
    match path {
        "v2" if accepts(headers, &[PROTOBUF, PROTOBUF_AS_ASKED]) => {
            allowed().and_then(|()| V2_PROTOBUF.answer(headers))
        }
        "v2" => allowed().and_then(|()| V2.answer_json(headers)),
        "v3" => allowed().map(|()| index()),
        _ => {
            let path = path.strip_prefix("v3/").ok_or_else(ApiError::unknown_path)?;
            let document = v3(path).ok_or_else(ApiError::unknown_path)?;
            allowed()?;
            hashed(document, path, query, headers)
        }
    }
}

fn v3(path: &str) -> Option<&'static Document> {
    let slot = V3.get(path)?;
    Some(slot.get_or_init(|| Document::pack(JSON, &openapi::v3(path, GIT_VERSION).unwrap_or_default())))
}

/// Where the documents are. The hash in their URLs lets clients keep them for good.
fn index() -> Answer {
    let paths: Map<String, Value> = V3
        .keys()
        .filter_map(|path| v3(path).map(|document| (path.clone(), json!({"serverRelativeURL": url(path, document)}))))
        .collect();
    answer::value(StatusCode::OK, &json!({"paths": paths}))
}

fn url(path: &str, document: &Document) -> String {
    format!("/openapi/v3/{path}?hash={}", document.hash)
}

fn hashed(document: &Document, path: &str, query: &Query, headers: &HeaderMap) -> Result<Answer, ApiError> {
    match query.text("hash") {
        None => document.answer_json(headers),
        Some(hash) if hash == document.hash => {
            let mut answer = document.answer_json(headers)?;
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable, max-age=31536000"));
            Ok(answer)
        }
        Some(_) => {
            let mut answer = answer::typed(StatusCode::MOVED_PERMANENTLY, JSON, ResponseBody::full(Bytes::new()));
            if let Ok(location) = HeaderValue::from_str(&url(path, document)) {
                answer.headers_mut().insert(LOCATION, location);
            }
            Ok(answer)
        }
    }
}

impl Document {
    fn pack(media_type: &'static str, text: &[u8]) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory cannot fail.
        let _ = gzip.write_all(text);
        let hash = Sha256::digest(text).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { media_type, gzip: gzip.finish().unwrap_or_default().into(), hash }
    }

    fn answer_json(&self, headers: &HeaderMap) -> Result<Answer, ApiError> {
        if text(headers, ACCEPT).is_empty() || accepts(headers, &[JSON, "application/*", "*/*"]) {
            return self.answer(headers);
        }
        Err(ApiError::not_acceptable(&[JSON]))
    }

    fn answer(&self, headers: &HeaderMap) -> Result<Answer, ApiError> {
        let etag = format!("\"{}\"", self.hash);
        let known = text(headers, IF_NONE_MATCH).split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim() == etag);
        let packed = text(headers, ACCEPT_ENCODING).split(',').any(|one| one.trim().starts_with("gzip"));
        let (code, body) = match (known, packed) {
            (true, _) => (StatusCode::NOT_MODIFIED, Bytes::new()),
            (false, true) => (StatusCode::OK, self.gzip.clone()),
            (false, false) => (StatusCode::OK, self.unpacked()?),
        };
        let mut answer = answer::typed(code, self.media_type, ResponseBody::full(body));
        let out = answer.headers_mut();
        if packed && !known {
            out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        out.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            out.insert(ETAG, etag);
        }
        Ok(answer)
    }

    fn unpacked(&self) -> Result<Bytes, ApiError> {
        let mut text = Vec::new();
        GzDecoder::new(self.gzip.as_ref()).read_to_end(&mut text).map_err(|error| {
            ApiError::plain(500, "InternalError", format!("unpacking an OpenAPI document: {error}"))
        })?;
        Ok(text.into())
    }
}

/// Whether one of the media types is among what the client takes.
fn accepts(headers: &HeaderMap, media_types: &[&str]) -> bool {
    let mut accepted = text(headers, ACCEPT).split(',').map(|one| one.split(';').next().unwrap_or_default().trim());
    accepted.any(|one| media_types.contains(&one))
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
