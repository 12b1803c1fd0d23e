//! grpc probes: `grpc.health.v1.Health/Check` over plain HTTP/2 (pkg/probe/grpc, contract S6-20). The two
//! messages are one field each and are coded by hand.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pod_lifecycle::ProbeOutcome;
use tokio::net::TcpStream;

use crate::http_client::{dial, join_host_port};

/// Pause before a refused connection is tried again (grpc-go's first back-off).
const RECONNECT: Duration = Duration::from_secs(1);
/// Most bytes of an answer that are read; a health answer has seven.
const MAX_ANSWER: usize = 4096;
/// Status code for a deadline that has passed.
const DEADLINE_EXCEEDED: u32 = 4;
/// Status code for a method that a server does not know.
const UNIMPLEMENTED: u32 = 12;

/// Why a call did not give a health status.
enum CallError {
    /// The server answered with a status other than OK.
    Status { code: u32, message: String },
    /// The connection failed.
    Transport(String),
}

/// Asks for the health of a service; only SERVING is success.
pub(super) async fn run(host: &str, port: u16, service: &str, timeout: Duration) -> ProbeOutcome {
    let failure = |output: String| ProbeOutcome::Failure { output };
    let deadline = tokio::time::Instant::now() + timeout;
    let Ok(stream) = tokio::time::timeout_at(deadline, connect(host, port)).await else {
        return failure(format!(
            "timeout: failed to connect service {:?} within {timeout:?}: context deadline exceeded",
            join_host_port(host, port)
        ));
    };
    let rpc_failed = "error: health rpc probe failed: rpc error: code =";
    match tokio::time::timeout_at(deadline, check(stream, host, port, service)).await {
        Err(_) | Ok(Err(CallError::Status { code: DEADLINE_EXCEEDED, .. })) => {
            failure(format!("timeout: health rpc did not complete within {timeout:?}"))
        }
        Ok(Err(CallError::Status { code: UNIMPLEMENTED, message })) => failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Ok(Err(CallError::Status { code, message })) => {
            failure(format!("{rpc_failed} {} desc = {message}", code_name(code)))
        }
        Ok(Err(CallError::Transport(message))) => failure(format!("{rpc_failed} Unavailable desc = {message}")),
        Ok(Ok(1)) => ProbeOutcome::Success { warning: None },
        Ok(Ok(status)) => failure(format!("service unhealthy (responded with {:?})", status_name(status))),
    }
}

/// Connects, again and again until the caller's deadline, as a blocking grpc-go dial does.
async fn connect(host: &str, port: u16) -> TcpStream {
    loop {
        if let Ok(stream) = dial(host, port).await {
            return stream;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn check(stream: TcpStream, host: &str, port: u16, service: &str) -> Result<u64, CallError> {
    let (sender, connection) = h2::client::handshake(stream).await.map_err(|e| transport(&e))?;
    let mut call = std::pin::pin!(call(sender, host, port, service));
    let mut connection = std::pin::pin!(connection);
    let mut open = true;
    loop {
        tokio::select! {
            result = &mut call => return result,
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn call(sender: h2::client::SendRequest<Bytes>, host: &str, port: u16, service: &str) -> Result<u64, CallError> {
    let request = http::Request::post(format!("http://{}/grpc.health.v1.Health/Check", join_host_port(host, port)))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(())
        .map_err(|e| CallError::Transport(e.to_string()))?;
    let mut sender = sender.ready().await.map_err(|e| transport(&e))?;
    let (response, mut body) = sender.send_request(request, false).map_err(|e| transport(&e))?;
    body.send_data(encode_request(service), true).map_err(|e| transport(&e))?;
    let response = response.await.map_err(|e| transport(&e))?;
    grpc_status(response.headers())?;
    if response.status() != http::StatusCode::OK {
        return Err(CallError::Transport(format!("unexpected HTTP status code {}", response.status().as_u16())));
    }
    let mut body = response.into_body();
    let answer = read(&mut body).await?;
    if let Some(trailers) = body.trailers().await.map_err(|e| transport(&e))? {
        grpc_status(&trailers)?;
    }
    decode_response(&answer).ok_or_else(|| CallError::Transport("answer is no health status".to_owned()))
}

async fn read(body: &mut h2::RecvStream) -> Result<BytesMut, CallError> {
    let mut answer = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|e| transport(&e))?;
        let _ = body.flow_control().release_capacity(chunk.len());
        answer.extend_from_slice(&chunk);
        if answer.len() > MAX_ANSWER {
            return Err(CallError::Transport("answer is too large".to_owned()));
        }
    }
    Ok(answer)
}

fn transport(error: &h2::Error) -> CallError {
    CallError::Transport(error.to_string())
}

fn grpc_status(headers: &http::HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match text("grpc-status").and_then(|code| code.parse::<u32>().ok()) {
        None | Some(0) => Ok(()),
        Some(code) => {
            Err(CallError::Status { code, message: percent_decode(text("grpc-message").unwrap_or_default()) })
        }
    }
}

fn percent_decode(text: &str) -> String {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1).zip(bytes.get(at + 2)).filter(|_| bytes[at] == b'%');
        match pair.and_then(|(a, b)| Some(hex(*a)? * 16 + hex(*b)?)) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Frames `HealthCheckRequest { service }`.
fn encode_request(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        put_varint(&mut message, u64::try_from(service.len()).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    Bytes::from(frame)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

/// Reads `HealthCheckResponse { status }` from a frame; a missing field is 0.
fn decode_response(frame: &[u8]) -> Option<u64> {
    let (head, rest) = frame.split_at_checked(5)?;
    let length = usize::try_from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).ok()?;
    let mut message = rest.get(..length).filter(|_| head[0] == 0)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut message)?,
            (_, 0) => {
                take_varint(&mut message)?;
            }
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 1) => message = message.get(8..)?,
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn status_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        1 => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
}

/// Names a status code as grpc-go does.
fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|i| NAMES.get(i));
    name.map_or_else(|| format!("Code({code})"), |n| (*n).to_owned())
}
