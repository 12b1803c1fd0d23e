//! Errors that only a server has; the common ones are in [`apimachinery::status`].

use apimachinery::field::{FieldError, FieldErrors};
use apimachinery::status::{ApiError, Cause};

/// 422 for query options, which have neither name nor group.
pub(crate) fn invalid_options(kind: &str, problems: &[String]) -> ApiError {
    let text = match problems {
        [problem] => problem.clone(),
        _ => format!("[{}]", problems.join(", ")),
    };
    let message = format!("{kind}.meta.k8s.io \"\" is invalid: {text}");
    let mut error = ApiError::plain(422, "Invalid", message);
    "meta.k8s.io".clone_into(&mut error.details.group);
    kind.clone_into(&mut error.details.kind);
    error
}

/// 504 for a `resourceVersion` that does not exist yet (`NewTooLargeResourceVersionError`).
pub(crate) fn too_large_resource_version(asked: u64, current: u64) -> ApiError {
    let message = format!("Too large resource version: {asked}, current: {current}");
    let mut error = ApiError::timeout(message, 1);
    error.details.causes.push(Cause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    });
    error
}

/// 422 for an object that has no name and is not stored.
pub(crate) fn invalid_unnamed(group: &str, kind: &str, errors: &FieldErrors) -> ApiError {
    let mut error = ApiError::plain(422, "Invalid", format!("{kind}.{group} \"\" is invalid: {errors}"));
    group.clone_into(&mut error.details.group);
    kind.clone_into(&mut error.details.kind);
    let cause = |one: &FieldError| Cause {
        reason: one.kind.reason().to_owned(),
        message: one.body(),
        field: one.field.to_string(),
    };
    error.details.causes = errors.iter().map(cause).collect();
    error
}
