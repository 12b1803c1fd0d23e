//! Lifecycle hooks (pkg/kubelet/lifecycle/handlers.go, contract S7). When a hook runs is the engine's business.

use std::{net::IpAddr, sync::Arc, time::Duration};

use cri::{ContainerId, ExecRequest, RuntimeService};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler};
use pod_lifecycle::HookOutcome;

use crate::{
    http_client::{self, HttpError, Url},
    probe,
};

/// User agent of hooks: `kube-lifecycle/<major>.<minor>`.
const USER_AGENT: &str = "kube-lifecycle/1.36";
/// Bytes of output that are kept for the log.
const MAX_OUTPUT: usize = 1024;

/// What a hook needs to know of its pod.
#[derive(Debug)]
pub(crate) struct Target {
    /// The container.
    pub(crate) container: Arc<Container>,
    /// Its runtime id.
    pub(crate) id: ContainerId,
    /// Where requests go to unless they name a host.
    pub(crate) pod_ip: Option<IpAddr>,
    /// TLS without certificate checks.
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// How a hook ended, and whether HTTPS fell back to HTTP (which is worth an event).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) outcome: HookOutcome,
    pub(crate) http_fallback: Option<String>,
}

/// Runs a hook, at most for `limit`.
///
/// A command that outlives the limit is not ended: it dies with its container (contract S4-13). So it runs in
/// a task of its own, which the caller's cancellation does not reach.
pub(crate) async fn run<R: RuntimeService>(
    runtime: Arc<R>,
    target: Target,
    hook: &LifecycleHandler,
    limit: Option<Duration>,
) -> Finished {
    if let Some(action) = &hook.exec {
        let command = action.command.clone().unwrap_or_default();
        let work = tokio::spawn(async move { exec(runtime.as_ref(), &target.id, command).await });
        return finished(within(limit, async { work.await.unwrap_or_else(|e| Err(e.to_string())) }).await);
    }
    if let Some(action) = &hook.http_get {
        return match within(limit, async { http(&target, action).await }).await {
            Ok(fallback) => Finished { outcome: HookOutcome::Succeeded, http_fallback: fallback },
            Err(message) => Finished { outcome: HookOutcome::Failed { message }, http_fallback: None },
        };
    }
    if let Some(action) = &hook.sleep {
        let length = Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0));
        return finished(
            within(limit, async {
                tokio::time::sleep(length).await;
                Ok(())
            })
            .await,
        );
    }
    // The kubelet has no handler for tcpSocket hooks (contract S7-09).
    finished(Err("invalid handler".to_owned()))
}

fn finished(result: Result<(), String>) -> Finished {
    let outcome = match result {
        Ok(()) => HookOutcome::Succeeded,
        Err(message) => HookOutcome::Failed { message },
    };
    Finished { outcome, http_fallback: None }
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match limit {
        None => work.await,
        Some(limit) => {
            let result = tokio::time::timeout(limit, work).await;
            result.unwrap_or_else(|_| Err(format!("did not end within {limit:?}")))
        }
    }
}

async fn exec<R: RuntimeService>(runtime: &R, id: &ContainerId, command: Vec<String>) -> Result<(), String> {
    let shown = command.join(" ");
    let request = ExecRequest { command, timeout: None, output_limit: MAX_OUTPUT };
    match runtime.exec_sync(id, request).await {
        Err(e) => Err(format!("exec {shown:?}: {e}")),
        Ok(output) if output.exit_code == 0 => Ok(()),
        Ok(output) => Err(format!(
            "command {shown:?} exited with {}: {}",
            output.exit_code,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Sends the request; any answer is success. Returns the text of a fallback's event.
async fn http(target: &Target, action: &HTTPGetAction) -> Result<Option<String>, String> {
    let host = match (action.host.as_deref().filter(|h| !h.is_empty()), target.pod_ip) {
        (Some(host), _) => host.to_owned(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => return Err("failed to find networking container: the pod has no address".to_owned()),
    };
    let port = probe::port(&target.container, &action.port)?;
    let https = action.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https"));
    let url = Url::new(https, &host, port, action.path.as_deref().unwrap_or_default());
    let mut headers = probe::http_headers(action, USER_AGENT);
    match http_client::get(&url, &headers, &target.tls, None).await {
        Ok(_) => Ok(None),
        Err(HttpError::PlainServer { .. }) => {
            // The credentials were meant for an encrypted connection.
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
            let plain = Url { https: false, ..url };
            http_client::get(&plain, &headers, &target.tls, None).await.map_err(|e| e.to_string())?;
            Ok(Some(format!("request to HTTPS lifecycle hook {plain} got HTTP response, retry with HTTP succeeded")))
        }
        Err(e @ (HttpError::Transport { .. } | HttpError::Timeout { .. } | HttpError::Request(_))) => {
            Err(e.to_string())
        }
    }
}

#[cfg(test)]
mod tests;
