//! httpGet probes (pkg/probe/http, contract S6-18).

use std::time::Duration;

use k8s_openapi::api::core::v1::HTTPGetAction;
use pod_lifecycle::ProbeOutcome;

use super::{Target, host, port};
use crate::http_client::{self, HttpError, Url};

/// User agent of probes: `kube-probe/<major>.<minor>`.
const USER_AGENT: &str = "kube-probe/1.36";

/// Sends the request and judges the answer.
pub(super) async fn run(target: &Target<'_>, action: &HTTPGetAction, timeout: Duration) -> ProbeOutcome {
    let port = match port(target.container, &action.port) {
        Ok(port) => port,
        Err(message) => return ProbeOutcome::Error { message },
    };
    let https = action.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https"));
    let url = Url::new(https, &host(target, action.host.as_deref()), port, action.path.as_deref().unwrap_or("/"));
    match http_client::get(&url, &headers(action, USER_AGENT), target.tls, Some(timeout)).await {
        Ok(response) => judge(response.status, &response.body),
        Err(HttpError::Request(message)) => ProbeOutcome::Error { message },
        Err(e @ (HttpError::Transport { .. } | HttpError::PlainServer { .. } | HttpError::Timeout { .. })) => {
            ProbeOutcome::Failure { output: e.to_string() }
        }
    }
}

fn judge(status: u16, body: &str) -> ProbeOutcome {
    match status {
        200..300 => ProbeOutcome::Success { warning: None },
        300..400 => {
            ProbeOutcome::Success { warning: Some(format!("Probe terminated redirects, Response body: {body}")) }
        }
        _ => ProbeOutcome::Failure { output: format!("HTTP probe failed with statuscode: {status}") },
    }
}

/// Returns the headers of a request: the manifest's, `User-Agent` and `Accept` unless it names them. An empty
/// `Accept` removes it.
pub(crate) fn headers(action: &HTTPGetAction, user_agent: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> =
        action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect();
    for (name, value) in [("User-Agent", user_agent), ("Accept", "*/*")] {
        if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    headers.retain(|(n, v)| !(n.eq_ignore_ascii_case("accept") && v.is_empty()));
    headers
}
