//! Errors of the API as Kubernetes `Status` objects.
//!
//! Source of the texts: apimachinery `pkg/api/errors`.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::{
    field::{FieldErrors, quote},
    scheme::ResourceType,
};

/// An error that a client of the API gets.
///
/// ```
/// use apimachinery::{scheme, status::ApiError};
/// let error = ApiError::not_found(scheme::by_name("pod").unwrap(), "web");
/// assert_eq!(error.to_string(), r#"pods "web" not found"#);
/// assert_eq!(error.to_status()["reason"], "NotFound");
/// assert_eq!(error.code, 404);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason; empty if there is none.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// What it is about; boxed, because errors travel in many results.
    pub details: Box<Details>,
}

/// What an error is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// API group.
    pub group: String,
    /// Resource (plural), or kind for validation errors.
    pub kind: String,
    /// Single problems.
    pub causes: Vec<Cause>,
    /// Seconds after which trying again makes sense; 0 for none.
    pub retry_after_seconds: u32,
}

/// One problem of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

impl ApiError {
    /// 404: there is no object of this name.
    pub fn not_found(ty: &ResourceType, name: &str) -> Self {
        let message = format!("{} {} not found", ty.qualified(), quote(name));
        Self::about(404, "NotFound", message, ty, name)
    }

    /// 404: no resource is served under this path.
    pub fn unknown_path() -> Self {
        Self::plain(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: an object of this name exists.
    ///
    /// ```
    /// use apimachinery::{scheme, status::ApiError};
    /// let error = ApiError::already_exists(scheme::by_name("job").unwrap(), "a");
    /// assert_eq!(error.to_string(), r#"jobs.batch "a" already exists"#);
    /// ```
    pub fn already_exists(ty: &ResourceType, name: &str) -> Self {
        let message = format!("{} {} already exists", ty.qualified(), quote(name));
        Self::about(409, "AlreadyExists", message, ty, name)
    }

    /// 409 on create with `generateName`: the name that was made up exists.
    pub fn generated_name_exists(ty: &ResourceType, name: &str) -> Self {
        let message = format!(
            "{} {} already exists, the server was not able to generate a unique name for the object",
            ty.qualified(),
            quote(name)
        );
        let mut error = Self::about(409, "AlreadyExists", message, ty, name);
        error.details.retry_after_seconds = 1;
        error
    }

    /// 409: the write cannot be done on the object as it is.
    pub fn conflict(ty: &ResourceType, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {}: {why}", ty.qualified(), quote(name));
        Self::about(409, "Conflict", message, ty, name)
    }

    /// 409: the object was changed since the client read it.
    ///
    /// ```
    /// use apimachinery::{scheme, status::ApiError};
    /// let error = ApiError::modified(scheme::by_name("pod").unwrap(), "a");
    /// assert!(error.to_string().ends_with("please apply your changes to the latest version and try again"));
    /// ```
    pub fn modified(ty: &ResourceType, name: &str) -> Self {
        Self::conflict(
            ty,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 422: the object breaks rules.
    ///
    /// ```
    /// use apimachinery::{field::{FieldErrors, Path}, scheme, status::ApiError};
    /// let mut errors = FieldErrors::default();
    /// errors.required(&Path::new("spec").child("containers"), "");
    /// let error = ApiError::invalid(scheme::by_name("pod").unwrap(), "a", &errors);
    /// assert_eq!(error.to_string(), r#"Pod "a" is invalid: spec.containers: Required value"#);
    /// assert_eq!(error.to_status()["details"]["causes"][0]["field"], "spec.containers");
    /// ```
    pub fn invalid(ty: &ResourceType, name: &str, errors: &FieldErrors) -> Self {
        let causes = errors
            .iter()
            .map(|e| Cause { reason: e.kind.reason().into(), message: e.body(), field: e.field.to_string() })
            .collect();
        let message = format!("{} {} is invalid: {errors}", ty.qualified_kind(), quote(name));
        let details =
            Details { name: name.into(), group: ty.group.into(), kind: ty.kind.into(), causes, retry_after_seconds: 0 };
        Self { code: 422, reason: "Invalid", message, details: Box::new(details) }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401: the client did not say who it is.
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 403: the client may not do this.
    pub fn forbidden(ty: &ResourceType, name: &str, why: &str) -> Self {
        let qualified = ty.qualified();
        let message = if name.is_empty() {
            format!("{qualified} is forbidden: {why}")
        } else {
            format!("{qualified} {} is forbidden: {why}", quote(name))
        };
        Self::about(403, "Forbidden", message, ty, name)
    }

    /// 405: the verb is not served for this resource.
    pub fn method_not_allowed(ty: &ResourceType, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {}", quote(&ty.qualified()));
        Self::about(405, "MethodNotAllowed", message, ty, "")
    }

    /// 405: the HTTP method is not served under this path.
    pub fn method_not_allowed_on_path() -> Self {
        Self::plain(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 406: none of the formats that the client accepts can be written.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::plain(406, "NotAcceptable", message)
    }

    /// 410: the resource version is too old to go on from.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 410: what was asked for existed and is gone for good.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::plain(410, "Gone", message)
    }

    /// 413: the request's body is too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        let message = format!("Request entity too large: {}", message.into());
        Self::plain(413, "RequestEntityTooLarge", message)
    }

    /// 415: the body is in a format that cannot be read.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// 429: try again later.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut error = Self::plain(429, "TooManyRequests", message);
        error.details.retry_after_seconds = retry_after_seconds;
        error
    }

    /// 500: something broke inside the server.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let mut error = Self::plain(500, "InternalError", format!("Internal error occurred: {cause}"));
        error.details.causes = vec![Cause { reason: String::new(), message: cause.to_string(), field: String::new() }];
        error
    }

    /// 503: not able to serve at the moment.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::plain(503, "ServiceUnavailable", message)
    }

    /// 504: the operation took too long.
    pub fn timeout(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut error = Self::plain(504, "Timeout", format!("Timeout: {}", message.into()));
        error.details.retry_after_seconds = retry_after_seconds;
        error
    }

    /// Any other code, with its reason and text.
    pub fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Box::default() }
    }

    /// Returns the `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        let details = self.details.to_value();
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status["code"] = self.code.into();
        status
    }

    fn about(code: u16, reason: &'static str, message: String, ty: &ResourceType, name: &str) -> Self {
        let details =
            Details { name: name.into(), group: ty.group.into(), kind: ty.plural.into(), ..Details::default() };
        Self { code, reason, message, details: Box::new(details) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_status().serialize(serializer)
    }
}

impl Details {
    fn to_value(&self) -> Map<String, Value> {
        let mut out = Map::new();
        for (key, text) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind)] {
            if !text.is_empty() {
                out.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            out.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            out.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        out
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, text) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !text.is_empty() {
                out.insert(key.into(), text.as_str().into());
            }
        }
        Value::Object(out)
    }
}

/// Returns the `Status` object that answers a successful delete.
///
/// ```
/// use apimachinery::{scheme, status};
/// let answer = status::success(scheme::by_name("pod").unwrap(), "web", "1-2-3");
/// assert_eq!(answer["status"], "Success");
/// assert_eq!(answer["details"]["uid"], "1-2-3");
/// ```
pub fn success(ty: &ResourceType, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": ty.plural, "uid": uid});
    if !ty.group.is_empty() {
        details["group"] = ty.group.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{field::Path, scheme};

    #[test]
    fn invalid_lists_every_cause() {
        let mut errors = FieldErrors::default();
        errors.required(&Path::new("spec").child("a"), "");
        errors.forbidden(&Path::new("spec").child("b"), "no");
        let error = ApiError::invalid(scheme::by_name("job").unwrap(), "x", &errors);
        assert_eq!(
            error.to_status(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Job.batch \"x\" is invalid: [spec.a: Required value, spec.b: Forbidden: no]",
                "reason": "Invalid", "code": 422,
                "details": {"name": "x", "group": "batch", "kind": "Job", "causes": [
                    {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.a"},
                    {"reason": "FieldValueForbidden", "message": "Forbidden: no", "field": "spec.b"},
                ]},
            })
        );
    }

    #[test]
    fn empty_details_are_left_out() {
        assert!(ApiError::bad_request("x").to_status().get("details").is_none());
    }
}
