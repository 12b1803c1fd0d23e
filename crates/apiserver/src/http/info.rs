//! What a server says of itself: index, version, health.

use apimachinery::status::ApiError;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::answer::{self, Answer};
use super::body::ResponseBody;
use super::discovery;
use super::query::Query;

/// Which Kubernetes this server behaves like.
pub(crate) const GIT_VERSION: &str = "v1.36.2+podrig";

/// Answers a request on anything but objects.
pub(crate) fn respond(method: &Method, path: &str, query: &Query, headers: &HeaderMap) -> Result<Answer, ApiError> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let found = match parts.as_slice() {
        [""] => Some(answer::value(StatusCode::OK, &json!({"paths": index()}))),
        ["version"] => Some(version()),
        [endpoint @ ("healthz" | "livez" | "readyz")] => Some(health(endpoint, query)),
        ["healthz" | "livez" | "readyz", check] if CHECKS.contains(check) => Some(plain("ok".to_owned())),
        other => discovery::respond(other, headers),
    };
    let found = found.ok_or_else(ApiError::unknown_path)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed_on_path());
    }
    Ok(found)
}

/// What is checked for health: that requests are answered, and (before every answer) that the store works.
const CHECKS: [&str; 2] = ["ping", "etcd"];

fn health(endpoint: &str, query: &Query) -> Answer {
    if query.flag("verbose") != Some(true) {
        return plain("ok".to_owned());
    }
    let lines: String = CHECKS.iter().map(|check| format!("[+]{check} ok\n")).collect();
    plain(format!("{lines}{endpoint} check passed\n"))
}

fn plain(text: String) -> Answer {
    answer::typed(StatusCode::OK, "text/plain; charset=utf-8", ResponseBody::full(text))
}

fn index() -> Vec<String> {
    let mut paths = discovery::paths();
    for endpoint in ["healthz", "livez", "readyz"] {
        paths.push(format!("/{endpoint}"));
        paths.extend(CHECKS.iter().map(|check| format!("/{endpoint}/{check}")));
    }
    paths.extend(["/openapi/v2", "/openapi/v3", "/version"].map(str::to_owned));
    paths
}

fn version() -> Answer {
    answer::value(
        StatusCode::OK,
        &json!({
            "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
            "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
            "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }),
    )
}
