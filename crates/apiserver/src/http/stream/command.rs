//! Exec and attach: between a client's streams and those of a process.

use std::collections::BTreeMap;
use std::time::Duration;

use apimachinery::status::ApiError;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::channels::Channels;
use super::outlet::{Outlet, converse};
use super::spdy::{self, Frame};
use super::upgrade::{Carrier, Protocol};
use super::websocket;
use crate::node_proxy::{Input, Session, SessionEnd, SessionOptions, TerminalSize};

/// What a session is called in errors.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Exec,
    Attach,
}

/// A session and how its client wants it.
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) protocol: Protocol,
    pub(super) options: SessionOptions,
    pub(super) session: Session,
}

impl Command {
    /// Serves the client on its upgraded connection until either side has ended.
    pub(super) async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(self, io: IO) {
        match self.protocol.carrier {
            Carrier::Channels { base64 } => {
                converse(io, websocket::heartbeat(), |read, frames| self.over_channels(read, frames, base64)).await;
            }
            Carrier::Spdy { tunnel } => {
                let heartbeat = if tunnel { websocket::heartbeat() } else { spdy::heartbeat() };
                converse(io, heartbeat, |read, frames| self.over_spdy(spdy::Reader::new(read, frames, tunnel))).await;
            }
        }
    }

    async fn over_channels(self, io: impl AsyncRead + Unpin, frames: mpsc::Sender<Bytes>, base64: bool) {
        let outlet = |channel| Outlet::Channel { frames: frames.clone(), channel, base64 };
        let outlets = Outlets {
            stdout: self.options.stdout.then(|| outlet(STDOUT)),
            stderr: self.options.stderr.then(|| outlet(STDERR)),
            error: outlet(ERROR),
        };
        let client = Client::Channels {
            channels: Channels::new(io, frames.clone(), base64),
            half_close: self.protocol.has_half_close(),
        };
        // Some clients wait for an empty message as the sign that the connection stands.
        if outlets.lowest().send(&[]).await.is_ok() {
            self.run(client, outlets).await;
        }
    }

    async fn over_spdy(self, mut reader: spdy::Reader<impl AsyncRead + Unpin>) {
        let SessionOptions { stdin, stdout, stderr, tty, .. } = self.options;
        let wanted = [
            (true, "error"),
            (stdin, "stdin"),
            (stdout, "stdout"),
            (stderr, "stderr"),
            (tty && self.protocol.has_resize(), "resize"),
        ];
        let wanted: Vec<_> = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name).collect();
        let Ok(Some(streams)) = timeout(STREAM_CREATION, open(&mut reader, &wanted)).await else { return };
        let link = reader.link().clone();
        let outlet = |name| streams.get(name).map(|stream| Outlet::Stream { link: link.clone(), stream: *stream });
        let Some(error) = outlet("error") else { return };
        let outlets = Outlets { stdout: outlet("stdout"), stderr: outlet("stderr"), error };
        let ids = (streams.get("stdin").copied(), streams.get("resize").copied());
        self.run(Client::Spdy { reader, stdin: ids.0, resize: ids.1, stdin_ended: false }, outlets).await;
    }

    async fn run(self, mut client: Client<impl AsyncRead + Unpin>, outlets: Outlets) {
        let Session { stdin, stdout, stderr, resize, end } = self.session;
        let outputs = async {
            let copy = async |from, to: &Option<Outlet>| {
                if let (Some(from), Some(to)) = (from, to) {
                    // A client that has gone ends the conversation elsewhere.
                    let _ = to.copy(from).await;
                }
            };
            tokio::join!(copy(stdout, &outlets.stdout), copy(stderr, &outlets.stderr), end).2
        };
        let end = tokio::select! {
            () = receive(&mut client, stdin, resize) => return,
            end = outputs => end,
        };
        if let Some(status) = status(end, self.action, self.protocol.has_status())
            && outlets.error.send(&status).await.is_err()
        {
            return;
        }
        outlets.finish().await;
        client.close().await;
        // The client closes when it has read everything; were the connection closed first, what it sends meanwhile
        // would destroy what it has not read.
        let _ = timeout(FINISH, async { while client.next().await.is_some() {} }).await;
    }
}

/// Where the output of a session goes.
#[derive(Debug)]
struct Outlets {
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
    error: Outlet,
}

impl Outlets {
    fn lowest(&self) -> &Outlet {
        self.stdout.as_ref().or(self.stderr.as_ref()).unwrap_or(&self.error)
    }

    async fn finish(&self) {
        for outlet in [&self.stdout, &self.stderr].into_iter().flatten().chain([&self.error]) {
            let _ = outlet.finish().await;
        }
    }
}

/// A client's end of the conversation.
enum Client<R> {
    Channels { channels: Channels<R>, half_close: bool },
    Spdy { reader: spdy::Reader<R>, stdin: Option<u32>, resize: Option<u32>, stdin_ended: bool },
}

/// What a client sends.
enum FromClient {
    Stdin(Bytes),
    StdinEnd,
    /// A part of a sequence of JSON objects.
    Resize(Bytes),
}

impl<R: AsyncRead + Unpin> Client<R> {
    /// `None` when the client leaves or has gone.
    async fn next(&mut self) -> Option<FromClient> {
        match self {
            Self::Channels { channels, half_close } => loop {
                match channels.next().await? {
                    (STDIN, piece) => return Some(FromClient::Stdin(piece)),
                    (RESIZE, piece) => return Some(FromClient::Resize(piece)),
                    (CLOSE, channel) if *half_close && channel[..] == [STDIN] => return Some(FromClient::StdinEnd),
                    // Kubernetes passes over what it does not expect, too.
                    _ => {}
                }
            },
            Self::Spdy { reader, stdin, resize, stdin_ended } => loop {
                if std::mem::take(stdin_ended) {
                    return Some(FromClient::StdinEnd);
                }
                match reader.next().await? {
                    Frame::Data { stream, piece, fin } if Some(stream) == *stdin => {
                        *stdin_ended = fin;
                        return Some(FromClient::Stdin(piece));
                    }
                    Frame::Data { stream, piece, .. } if Some(stream) == *resize => {
                        return Some(FromClient::Resize(piece));
                    }
                    Frame::Reset { stream } if Some(stream) == *stdin => *stdin_ended = true,
                    Frame::Open { stream, .. } => reader.link().refuse(stream).await.ok()?,
                    Frame::Data { .. } | Frame::Reset { .. } | Frame::Ping(_) | Frame::GoAway | Frame::Other => {}
                }
            },
        }
    }

    async fn close(&mut self) {
        match self {
            Self::Channels { channels, .. } => channels.close().await,
            // Its streams have been finished; that is what a client waits for.
            Self::Spdy { .. } => {}
        }
    }
}

/// Accepts the streams that are wanted, by name; `None` if the client does otherwise.
async fn open(
    reader: &mut spdy::Reader<impl AsyncRead + Unpin>,
    wanted: &[&'static str],
) -> Option<BTreeMap<&'static str, u32>> {
    let mut streams = BTreeMap::new();
    while streams.len() < wanted.len() {
        match reader.next().await? {
            Frame::Open { stream, headers, .. } => {
                let name = wanted.iter().find(|name| Some(**name) == headers.get("streamtype"));
                match name.filter(|name| !streams.contains_key(**name)) {
                    Some(name) => {
                        reader.accept(stream).await.ok()?;
                        streams.insert(*name, stream);
                    }
                    None => reader.link().refuse(stream).await.ok()?,
                }
            }
            // Input that would be lost, or a stream given up before it began.
            Frame::Data { .. } | Frame::Reset { .. } => return None,
            Frame::Ping(_) | Frame::GoAway | Frame::Other => {}
        }
    }
    Some(streams)
}

/// Hands on what the client sends, until it leaves or has gone.
async fn receive(
    client: &mut Client<impl AsyncRead + Unpin>,
    mut stdin: Option<Input>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    let mut sizes = Sizes::default();
    while let Some(input) = client.next().await {
        match input {
            FromClient::Stdin(piece) => {
                if let Some(process) = &mut stdin
                    && write(process, &piece).await.is_err()
                {
                    // The process takes no more; what else comes is for nobody.
                    stdin = None;
                }
            }
            FromClient::StdinEnd => {
                if let Some(mut process) = stdin.take() {
                    let _ = process.shutdown().await;
                }
            }
            FromClient::Resize(piece) => {
                for size in sizes.read(&piece) {
                    if let Some(resize) = &resize {
                        let _ = resize.send(size).await;
                    }
                }
            }
        }
    }
}

async fn write(to: &mut Input, piece: &[u8]) -> std::io::Result<()> {
    to.write_all(piece).await?;
    to.flush().await
}

/// Reads the sizes of a terminal from a sequence of JSON objects that may be cut anywhere.
#[derive(Debug, Default)]
struct Sizes(Vec<u8>);

/// `TerminalSize` of `remotecommand`; Go's decoder does not mind the case of names.
#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width", alias = "width", default)]
    width: u16,
    #[serde(rename = "Height", alias = "height", default)]
    height: u16,
}

impl Sizes {
    fn read(&mut self, piece: &[u8]) -> Vec<TerminalSize> {
        self.0.extend_from_slice(piece);
        let mut objects = serde_json::Deserializer::from_slice(&self.0).into_iter::<Size>();
        let sizes = objects.by_ref().map_while(Result::ok);
        let sizes = sizes.map(|Size { width, height }| TerminalSize { width, height }).collect();
        let read = objects.byte_offset();
        self.0.drain(..read.min(self.0.len()));
        if self.0.len() > MOST_SIZE {
            self.0.clear();
        }
        sizes
    }
}

/// What the error stream says of the end: a `Status`, or for old clients a text if it failed.
fn status(end: Result<SessionEnd, ApiError>, action: Action, as_status: bool) -> Option<Vec<u8>> {
    let (doing, command) = match action {
        Action::Exec => ("executing command in", "command"),
        Action::Attach => ("attaching to", "container"),
    };
    let status = match end {
        Ok(SessionEnd::Exited(0) | SessionEnd::Detached) => json!({"metadata": {}, "status": "Success"}),
        Ok(SessionEnd::Exited(code)) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!(
                "command terminated with non-zero exit code: {command} terminated with exit code {code}"
            ),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => ApiError::internal(format!("error {doing} container: {error}")).to_status(),
    };
    if as_status {
        return Some(status.to_string().into_bytes());
    }
    status["message"].as_str().map(|text| text.as_bytes().to_vec())
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Ends the channel that its content names (version 5).
const CLOSE: u8 = 255;

/// `DefaultStreamCreationTimeout` of `remotecommand`.
const STREAM_CREATION: Duration = Duration::from_secs(30);
/// How long a client may take to read the rest: `finishTimeout` of kube-apiserver's stream translator.
const FINISH: Duration = Duration::from_secs(15 * 60);
/// Bytes of an unfinished size at most; two numbers and their names are shorter.
const MOST_SIZE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_wherever_they_are_cut_and_garbage_does_not_pile_up() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.read(b"{\"Width\":80,\"Hei"), []);
        let size = |width, height| TerminalSize { width, height };
        assert_eq!(sizes.read(b"ght\":24}\n{\"width\":1,\"height\":2}\n{"), [size(80, 24), size(1, 2)]);
        for _ in 0..100 {
            assert_eq!(sizes.read(&[b'x'; 100]), []);
            assert!(sizes.0.len() <= MOST_SIZE);
        }
    }

    #[test]
    fn the_end_of_a_command_is_told_as_the_kubelet_tells_it() {
        let text = |end, action, as_status| {
            status(end, action, as_status).map(|text| String::from_utf8(text).expect("text")).unwrap_or_default()
        };
        assert_eq!(text(Ok(SessionEnd::Exited(0)), Action::Exec, true), r#"{"metadata":{},"status":"Success"}"#);
        assert_eq!(text(Ok(SessionEnd::Detached), Action::Attach, false), "");
        let failed: serde_json::Value =
            serde_json::from_str(&text(Ok(SessionEnd::Exited(3)), Action::Exec, true)).expect("json");
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
        assert_eq!(
            text(Ok(SessionEnd::Exited(3)), Action::Exec, false),
            "command terminated with non-zero exit code: command terminated with exit code 3"
        );
        assert_eq!(
            text(Err(ApiError::plain(500, "", "no such file")), Action::Exec, false),
            "Internal error occurred: error executing command in container: no such file"
        );
    }
}
