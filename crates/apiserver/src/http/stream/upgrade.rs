//! Agreeing with a client on what is spoken after the upgrade of its connection.

use apimachinery::status::ApiError;
use http::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::websocket;
use crate::http::answer::{self, Answer};
use crate::http::body::ResponseBody;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    name: &'static str,
    pub(super) carrier: Carrier,
    /// Of the remote command protocol.
    version: u8,
}

/// What carries the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Numbered channels in the messages of a WebSocket.
    Channels { base64: bool },
    /// Streams of SPDY/3.1, in the messages of a WebSocket with `tunnel`.
    Spdy { tunnel: bool },
}

impl Protocol {
    const fn new(name: &'static str, carrier: Carrier, version: u8) -> Self {
        Self { name, carrier, version }
    }

    /// How a command ended is told as a `Status`, not as text.
    pub(super) fn has_status(self) -> bool {
        self.version >= 4
    }

    /// A client with a terminal opens a stream for its sizes.
    pub(super) fn has_resize(self) -> bool {
        self.version >= 3
    }

    /// A client can end one channel.
    pub(super) fn has_half_close(self) -> bool {
        self.version >= 5
    }
}

/// What is offered to clients of one subresource, by carrier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    websocket: &'static [Protocol],
    spdy: &'static [Protocol],
}

const BINARY: Carrier = Carrier::Channels { base64: false };
const BASE64: Carrier = Carrier::Channels { base64: true };
const SPDY: Carrier = Carrier::Spdy { tunnel: false };
const TUNNEL: Carrier = Carrier::Spdy { tunnel: true };

/// Exec and attach: `remotecommand` of kube-apiserver and kubelet. A WebSocket without protocol is of the first kind.
pub(super) const COMMAND: Offer = Offer {
    websocket: &[
        Protocol::new("v5.channel.k8s.io", BINARY, 5),
        Protocol::new("v4.channel.k8s.io", BINARY, 4),
        Protocol::new("v4.base64.channel.k8s.io", BASE64, 4),
        Protocol::new("channel.k8s.io", BINARY, 1),
        Protocol::new("base64.channel.k8s.io", BASE64, 1),
        Protocol::new("", BINARY, 1),
    ],
    spdy: &[
        Protocol::new("v5.channel.k8s.io", SPDY, 5),
        Protocol::new("v4.channel.k8s.io", SPDY, 4),
        Protocol::new("v3.channel.k8s.io", SPDY, 3),
        Protocol::new("v2.channel.k8s.io", SPDY, 2),
    ],
};

/// Port-forward: `portforward` of kube-apiserver and kubelet.
pub(super) const FORWARD: Offer = Offer {
    websocket: &[
        Protocol::new("SPDY/3.1+portforward.k8s.io", TUNNEL, 4),
        Protocol::new("v4.channel.k8s.io", BINARY, 4),
        Protocol::new("v4.base64.channel.k8s.io", BASE64, 4),
        Protocol::new("", BINARY, 4),
    ],
    spdy: &[Protocol::new("portforward.k8s.io", SPDY, 4)],
};

/// Chooses the first protocol of the client's that is offered, and makes the answer that begins it.
///
/// # Errors
/// The request asks for no upgrade that is offered, or is malformed.
pub(super) fn agree(headers: &HeaderMap, offer: Offer) -> Result<Result<(Protocol, Answer), Answer>, ApiError> {
    let upgrade = headers.get(UPGRADE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !tokens(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(no_upgrade());
    }
    if upgrade.eq_ignore_ascii_case(b"websocket") {
        agree_on_websocket(headers, offer.websocket).map(Ok)
    } else if upgrade.eq_ignore_ascii_case(b"spdy/3.1") {
        agree_on_spdy(headers, offer.spdy)
    } else {
        Err(no_upgrade())
    }
}

fn no_upgrade() -> ApiError {
    ApiError::bad_request("Upgrade request required")
}

fn agree_on_websocket(headers: &HeaderMap, offered: &[Protocol]) -> Result<(Protocol, Answer), ApiError> {
    let accept = websocket::accept(headers)?;
    let mut asked: Vec<&str> = tokens(headers, SEC_WEBSOCKET_PROTOCOL).collect();
    if asked.is_empty() {
        asked.push("");
    }
    let Some(protocol) = choose(&asked, offered) else {
        let message = format!("requested protocol(s) are not supported: {}; supports {}", list(&asked), names(offered));
        return Err(ApiError::plain(403, "Forbidden", message));
    };
    let mut answer = switch("websocket");
    let accept = HeaderValue::from_str(&accept).map_err(ApiError::internal)?;
    answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    if !protocol.name.is_empty() {
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name));
    }
    Ok((protocol, answer))
}

/// `Handshake` of `httpstream`; a refusal names what would be accepted.
fn agree_on_spdy(headers: &HeaderMap, offered: &[Protocol]) -> Result<Result<(Protocol, Answer), Answer>, ApiError> {
    let asked: Vec<&str> = tokens(headers, STREAM_PROTOCOL).collect();
    if asked.is_empty() {
        return Err(ApiError::bad_request("unable to upgrade: X-Stream-Protocol-Version is required"));
    }
    if let Some(protocol) = choose(&asked, offered) {
        let mut answer = switch("SPDY/3.1");
        answer.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol.name));
        return Ok(Ok((protocol, answer)));
    }
    let message = format!(
        "unable to upgrade: unable to negotiate protocol: client supports {}, server accepts {}",
        list(&asked),
        names(offered)
    );
    let mut refusal = answer::error(&ApiError::plain(403, "Forbidden", message));
    for protocol in offered {
        refusal.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol.name));
    }
    Ok(Err(refusal))
}

fn choose(asked: &[&str], offered: &[Protocol]) -> Option<Protocol> {
    asked.iter().find_map(|name| offered.iter().find(|protocol| protocol.name == *name)).copied()
}

/// The parts of a header's values that are separated by commas.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn switch(to: &'static str) -> Answer {
    let mut answer = Response::new(ResponseBody::full(bytes::Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(to));
    answer
}

fn names(offered: &[Protocol]) -> String {
    list(&offered.iter().map(|protocol| protocol.name).collect::<Vec<_>>())
}

/// As Go prints a list.
fn list(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
