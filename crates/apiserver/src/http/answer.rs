//! Making responses.

use apimachinery::status::ApiError;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WARNING};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::body::ResponseBody;

/// A response of this server.
pub(crate) type Answer = Response<ResponseBody>;

/// A JSON text.
pub(crate) fn json(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    typed(code, "application/json", ResponseBody::full(text))
}

/// A JSON value.
pub(crate) fn value(code: StatusCode, value: &Value) -> Answer {
    json(code, value.to_string())
}

/// A body of some media type.
pub(crate) fn typed(code: StatusCode, media_type: &'static str, body: ResponseBody) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A refusal.
pub(crate) fn error(error: &ApiError) -> Answer {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = value(code, &error.to_status());
    if error.details.retry_after_seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(error.details.retry_after_seconds));
    }
    response
}

/// Adds `Warning` headers (KEP-1693), each cut to what a header bears.
pub(crate) fn with_warnings(mut response: Answer, warnings: &[String]) -> Answer {
    for warning in warnings.iter().take(MOST_WARNINGS) {
        if let Ok(header) = HeaderValue::from_str(&format!("299 - \"{}\"", escaped(warning))) {
            response.headers_mut().append(WARNING, header);
        }
    }
    response
}

fn escaped(text: &str) -> String {
    let visible = text.chars().filter(|character| !character.is_control()).take(MOST_WARNING_CHARACTERS);
    let mut out = String::with_capacity(text.len());
    for character in visible {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Limits of `warning.WithWarningRecorder` in apiserver (4 KiB in all, 256 characters each when long).
const MOST_WARNING_CHARACTERS: usize = 256;
const MOST_WARNINGS: usize = 16;
