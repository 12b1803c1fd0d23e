//! The way to the client: pieces of streams become frames, and one task writes them.

use std::pin::pin;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::spdy::Link;
use super::websocket::{self, Opcode};

/// The client cannot be written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Where one stream's output goes.
#[derive(Clone, Debug)]
pub(super) enum Outlet {
    /// A channel of a WebSocket: each message begins with its number.
    Channel { frames: mpsc::Sender<Bytes>, channel: u8, base64: bool },
    /// A stream of a SPDY connection.
    Stream { link: Link, stream: u32 },
}

impl Outlet {
    /// Sends a piece; an empty one too. Waits while the client is slow.
    pub(super) async fn send(&self, piece: &[u8]) -> Result<(), Gone> {
        match self {
            Self::Channel { frames, channel, base64: false } => {
                frames.send(websocket::encode(Opcode::Binary, &[&[*channel], piece])).await.map_err(|_| Gone)
            }
            Self::Channel { frames, channel, base64: true } => {
                let text = STANDARD.encode(piece);
                frames
                    .send(websocket::encode(Opcode::Text, &[&[b'0' + channel], text.as_bytes()]))
                    .await
                    .map_err(|_| Gone)
            }
            Self::Stream { link, stream } => link.data(*stream, piece, false).await,
        }
    }

    /// Says that nothing more comes, where the protocol can say so.
    pub(super) async fn finish(&self) -> Result<(), Gone> {
        match self {
            Self::Channel { .. } => Ok(()),
            Self::Stream { link, stream } => link.data(*stream, &[], true).await,
        }
    }

    /// Sends all that can be read. A source that breaks has ended.
    pub(super) async fn copy(&self, mut from: impl AsyncRead + Unpin) -> Result<(), Gone> {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            self.send(&piece[..length]).await?;
        }
        Ok(())
    }
}

/// Runs a conversation over an upgraded connection: `work` gets what reads from the client and what takes frames for
/// it. Ends when the work has ended and its frames are written, or when the client cannot be written to.
///
/// While nothing else is to be sent, a `heartbeat` goes out now and then: it shows whether the client is still there
/// even when its input is not read because the process does not take it, and keeps clients content that give up a
/// server which is silent for a minute.
pub(super) async fn converse<IO, F>(io: IO, heartbeat: Bytes, work: impl FnOnce(ReadHalf<IO>, mpsc::Sender<Bytes>) -> F)
where
    IO: AsyncRead + AsyncWrite,
    F: Future<Output = ()>,
{
    let (read, write) = tokio::io::split(io);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut writer = pin!(write_all(write, receiver, heartbeat));
    tokio::select! {
        _ = &mut writer => return,
        () = work(read, sender) => {}
    }
    // The client may have gone; then nobody misses the rest.
    let _ = timeout(FLUSH, writer).await;
}

async fn write_all(
    mut io: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Bytes>,
    heartbeat: Bytes,
) -> std::io::Result<()> {
    loop {
        let frame = match timeout(HEARTBEAT, frames.recv()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return io.shutdown().await,
            Err(_) => heartbeat.clone(),
        };
        let write = async {
            io.write_all(&frame).await?;
            if frames.is_empty() { io.flush().await } else { Ok(()) }
        };
        timeout(STALLED, write).await??;
    }
}

/// Bytes of output in one frame at most.
const PIECE: usize = 32 * 1024;
/// Frames that wait to be written; with [`PIECE`] the bound of what a slow client costs.
const QUEUE: usize = 8;
/// Often enough for kubectl, which waits for 61 seconds (`pingReadDeadline` of client-go's `remotecommand`).
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client may not take anything: `streamingConnectionIdleTimeout` of the kubelet.
const STALLED: Duration = Duration::from_secs(4 * 60 * 60);
/// How long the last frames may take when the client has said that it leaves.
const FLUSH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const BEAT: Bytes = Bytes::from_static(b"beat");

    #[tokio::test(start_paused = true)]
    async fn a_silent_conversation_is_kept_alive_until_its_client_has_gone() {
        let (near, mut far) = tokio::io::duplex(64);
        let wait = async |_read, _frames| std::future::pending().await;
        let conversation = tokio::spawn(converse(near, BEAT, wait));
        let mut beats = [0; 8];
        far.read_exact(&mut beats).await.expect("beats");
        assert_eq!(&beats, b"beatbeat");
        drop(far);
        conversation.await.expect("the conversation ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left_in_the_end() {
        let (near, _far) = tokio::io::duplex(64);
        let start = Instant::now();
        let endless = async |_read, frames: mpsc::Sender<Bytes>| while frames.send(BEAT).await.is_ok() {};
        converse(near, BEAT, endless).await;
        assert_eq!(start.elapsed(), STALLED);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_queued_when_the_work_ends_still_arrives() {
        let (near, mut far) = tokio::io::duplex(4);
        let work = async |_read, frames: mpsc::Sender<Bytes>| {
            for _ in 0..QUEUE {
                frames.send(BEAT).await.expect("queue");
            }
        };
        let mut all = String::new();
        let ((), read) = tokio::join!(converse(near, BEAT, work), far.read_to_string(&mut all));
        assert_eq!((read.expect("text"), all), (4 * QUEUE, "beat".repeat(QUEUE)));
    }
}
