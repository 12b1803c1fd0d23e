//! Runs one probe once (pkg/kubelet/prober, contract S6-16 to S6-21, S6-27). When a probe runs and what its
//! result means is the engine's business.

mod grpc;
mod http;
mod tcp;

use std::{net::IpAddr, sync::Arc, time::Duration};

use cri::{ContainerId, ExecRequest, RuntimeService};
use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use pod_lifecycle::ProbeOutcome;

use crate::env::expansion;

pub(crate) use self::http::headers as http_headers;

/// Runs of a probe that could not be carried out before giving up (prober.go `maxProbeRetries`).
const MAX_TRIES: usize = 3;
/// Most bytes of output that are kept (pkg/probe/exec `maxReadLength`).
const MAX_OUTPUT: usize = 10 * 1024;

/// What a probe needs to know of its pod.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The container.
    pub(crate) container: &'a Container,
    /// Its runtime id.
    pub(crate) id: &'a ContainerId,
    /// Where network probes go to unless they name a host.
    pub(crate) pod_ip: Option<IpAddr>,
    /// TLS without certificate checks.
    pub(crate) tls: &'a Arc<rustls::ClientConfig>,
}

/// Runs a probe; one that cannot be carried out is tried three times in a row.
pub(crate) async fn run<R: RuntimeService>(
    runtime: &R,
    target: &Target<'_>,
    probe: &Probe,
    timeout: Duration,
) -> ProbeOutcome {
    let mut outcome = once(runtime, target, probe, timeout).await;
    for _ in 1..MAX_TRIES {
        if !matches!(outcome, ProbeOutcome::Error { .. }) {
            break;
        }
        outcome = once(runtime, target, probe, timeout).await;
    }
    outcome
}

async fn once<R: RuntimeService>(runtime: &R, target: &Target<'_>, probe: &Probe, timeout: Duration) -> ProbeOutcome {
    if let Some(action) = &probe.exec {
        return exec(runtime, target, action.command.as_deref().unwrap_or_default(), timeout).await;
    }
    if let Some(action) = &probe.http_get {
        return http::run(target, action, timeout).await;
    }
    if let Some(action) = &probe.tcp_socket {
        return match port(target.container, &action.port) {
            Err(message) => ProbeOutcome::Error { message },
            Ok(port) => tcp::run(&host(target, action.host.as_deref()), port, timeout).await,
        };
    }
    if let Some(action) = &probe.grpc {
        let Ok(port) = u16::try_from(action.port) else {
            return ProbeOutcome::Error { message: format!("invalid port number: {}", action.port) };
        };
        let service = action.service.as_deref().unwrap_or_default();
        return grpc::run(&host(target, None), port, service, timeout).await;
    }
    ProbeOutcome::Error { message: "missing probe handler".to_owned() }
}

async fn exec<R: RuntimeService>(
    runtime: &R,
    target: &Target<'_>,
    command: &[String],
    timeout: Duration,
) -> ProbeOutcome {
    let command = expand_literals(target.container, command);
    let shown = command.join(" ");
    let request = ExecRequest { command, timeout: Some(timeout), output_limit: MAX_OUTPUT };
    match runtime.exec_sync(target.id, request).await {
        Err(e) => ProbeOutcome::Error { message: e.to_string() },
        Ok(output) if output.timed_out => {
            ProbeOutcome::Failure { output: format!("command timed out: {shown:?} timed out after {timeout:?}") }
        }
        Ok(output) if output.exit_code == 0 => ProbeOutcome::Success { warning: None },
        Ok(mut output) => {
            output.stdout.append(&mut output.stderr);
            output.stdout.truncate(MAX_OUTPUT);
            ProbeOutcome::Failure { output: String::from_utf8_lossy(&output.stdout).into_owned() }
        }
    }
}

/// Expands references to literal values of the spec, nothing else (contract S6-17).
fn expand_literals(container: &Container, command: &[String]) -> Vec<String> {
    let lookup = |name: &str| {
        let variable = container.env.as_deref().unwrap_or_default().iter().rfind(|e| e.name == name)?;
        variable.value.as_deref()
    };
    command.iter().map(|word| expansion::expand_known(word, lookup)).collect()
}

fn host(target: &Target<'_>, named: Option<&str>) -> String {
    match named.filter(|h| !h.is_empty()) {
        Some(host) => host.to_owned(),
        None => target.pod_ip.map(|ip| ip.to_string()).unwrap_or_default(),
    }
}

/// Resolves a port, by number or by the name of a port of the container.
pub(crate) fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match container.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name)) {
            Some(port) => port.container_port,
            None => name.parse().map_err(|_| format!("couldn't find port: {name:?} in container ports"))?,
        },
    };
    u16::try_from(number).ok().filter(|p| *p > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

#[cfg(test)]
mod tests;
