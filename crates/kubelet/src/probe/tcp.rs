//! tcpSocket probes: a connection is success (pkg/probe/tcp, contract S6-19).

use std::time::Duration;

use pod_lifecycle::ProbeOutcome;

use crate::http_client::{dial, join_host_port};

/// Connects and closes.
pub(super) async fn run(host: &str, port: u16, timeout: Duration) -> ProbeOutcome {
    match tokio::time::timeout(timeout, dial(host, port)).await {
        Ok(Ok(_)) => ProbeOutcome::Success { warning: None },
        Ok(Err(output)) => ProbeOutcome::Failure { output },
        Err(_) => ProbeOutcome::Failure { output: format!("dial tcp {}: i/o timeout", join_host_port(host, port)) },
    }
}
