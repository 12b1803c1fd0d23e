//! `PodExecOptions`, `PodAttachOptions` and `PodPortForwardOptions`, from the query.

use apimachinery::status::ApiError;

use super::upgrade::{Carrier, Protocol};
use crate::http::query::Query;
use crate::node_proxy::SessionOptions;

/// The streams that a client wants (`NewOptions` of the kubelet's `remotecommand`).
///
/// # Errors
/// It wants none.
pub(super) fn session(query: &Query, container: String) -> Result<SessionOptions, ApiError> {
    let flag = |name| query.flag(name).unwrap_or_default();
    let (stdin, stdout, tty) = (flag("stdin"), flag("stdout"), flag("tty"));
    // A terminal has one output; what is asked beyond that is passed over.
    let stderr = flag("stderr") && !tty;
    if !stdin && !stdout && !stderr {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(SessionOptions { container, stdin, stdout, stderr, tty })
}

/// The command of an exec.
///
/// # Errors
/// There is none.
pub(super) fn command(query: &Query) -> Result<Vec<String>, ApiError> {
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    Ok(command)
}

/// The ports to forward (`NewV4Options` of the kubelet's `portforward`): only the channel protocol has them in the
/// query, there they are required.
///
/// # Errors
/// One is no port, or they are none or too many.
pub(super) fn ports(query: &Query, protocol: Protocol) -> Result<Vec<u16>, ApiError> {
    if !matches!(protocol.carrier, Carrier::Channels { .. }) {
        return Ok(Vec::new());
    }
    let ports = query.all("ports").flat_map(|list| list.split(',')).map(port).collect::<Result<Vec<_>, _>>()?;
    match ports.len() {
        0 => Err(ApiError::bad_request("query parameter \"ports\" is required")),
        1..=MOST_PORTS => Ok(ports),
        _ => Err(ApiError::bad_request(format!("at most {MOST_PORTS} ports can be forwarded in one connection"))),
    }
}

fn port(text: &str) -> Result<u16, ApiError> {
    let port =
        text.parse::<u16>().map_err(|_| ApiError::bad_request(format!("unable to parse \"{text}\" as a port")))?;
    if port == 0 {
        return Err(ApiError::bad_request("port \"0\" must be > 0"));
    }
    Ok(port)
}

/// Each takes two channels, and numbers of channels are bytes.
const MOST_PORTS: usize = 127;
