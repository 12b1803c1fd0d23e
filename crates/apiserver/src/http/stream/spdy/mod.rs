//! SPDY/3.1 as Kubernetes uses it: a client opens streams on a connection, alone or inside a WebSocket's messages.
//!
//! Source: the SPDY/3 and 3.1 drafts, and what moby/spdystream makes of them.

mod frame;
mod headers;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

pub(super) use frame::Frame;
pub(super) use headers::Headers;

use super::outlet::Gone;
use super::websocket::{self, Opcode};

/// What a client did against the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spdy: {0}")]
struct Violation(&'static str);

/// The way out of a connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    frames: mpsc::Sender<Bytes>,
    /// Frames go as WebSocket messages.
    tunnel: bool,
}

impl Link {
    /// Sends a part of a stream's data.
    pub(super) async fn data(&self, stream: u32, piece: &[u8], fin: bool) -> Result<(), Gone> {
        self.send(frame::encode_data(stream, piece, fin)).await
    }

    /// Refuses a stream that the client has opened.
    pub(super) async fn refuse(&self, stream: u32) -> Result<(), Gone> {
        self.send(frame::encode_refusal(stream)).await
    }

    async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        let frame = if self.tunnel { websocket::encode(Opcode::Binary, &[&frame]) } else { frame };
        self.frames.send(frame).await.map_err(|_| Gone)
    }
}

/// Asks whether the client is still there. Pings of a server have even numbers.
pub(super) fn heartbeat() -> Bytes {
    frame::encode_ping(2)
}

/// The frames of a client; answers pings by itself.
#[derive(Debug)]
pub(super) struct Reader<R> {
    source: Source<R>,
    buffer: BytesMut,
    decoder: frame::Decoder,
    link: Link,
    accepted: bool,
}

/// Where the bytes of the connection come from.
#[derive(Debug)]
enum Source<R> {
    Connection(R),
    Tunnel(websocket::Reader<R>),
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `io`, or with `tunnel` from the messages of a WebSocket on it; `frames` takes what is to be sent.
    pub(super) fn new(io: R, frames: mpsc::Sender<Bytes>, tunnel: bool) -> Self {
        let source =
            if tunnel { Source::Tunnel(websocket::Reader::new(io, frames.clone())) } else { Source::Connection(io) };
        let link = Link { frames, tunnel };
        Self { source, buffer: BytesMut::new(), decoder: frame::Decoder::new(), link, accepted: false }
    }

    /// The way out.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The next frame, `None` when the client leaves or has gone. Dropping the future loses no data.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(Frame::Ping(id))) if id % 2 == 1 => self.link.send(frame::encode_ping(id)).await.ok()?,
                Ok(Some(Frame::Ping(_) | Frame::Other)) => {}
                Ok(Some(Frame::GoAway)) => return None,
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => self.fill().await?,
                Err(violation) => {
                    tracing::debug!(%violation, "closing a client's stream");
                    return None;
                }
            }
        }
    }

    async fn fill(&mut self) -> Option<()> {
        match &mut self.source {
            Source::Connection(io) => websocket::read_more(io, &mut self.buffer).await,
            Source::Tunnel(messages) => {
                let piece = messages.next().await?;
                self.buffer.extend_from_slice(&piece.data);
                Some(())
            }
        }
    }

    /// Accepts a stream that the client has opened.
    pub(super) async fn accept(&mut self, stream: u32) -> Result<(), Gone> {
        let first = !std::mem::replace(&mut self.accepted, true);
        self.link.send(frame::encode_reply(stream, first)).await
    }
}
