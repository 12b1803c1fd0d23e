//! The channel protocol: every message of a WebSocket begins with the number of a channel.
//!
//! Source: `wsstream` of Kubernetes' streaming library.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use super::websocket::{NORMAL_CLOSURE, Piece, Reader};

/// What comes from a client on numbered channels.
#[derive(Debug)]
pub(super) struct Channels<R> {
    reader: Reader<R>,
    unpacker: Unpacker,
}

impl<R: AsyncRead + Unpin> Channels<R> {
    /// Reads from `io`; `frames` takes what is to be sent. With `base64`, numbers are digits and the rest is encoded.
    pub(super) fn new(io: R, frames: mpsc::Sender<Bytes>, base64: bool) -> Self {
        let unpacker = if base64 { Unpacker::Base64(Vec::new()) } else { Unpacker::Binary(None) };
        Self { reader: Reader::new(io, frames), unpacker }
    }

    /// The next bytes of a channel, `None` when the client has closed or gone. Dropping the future loses no data.
    pub(super) async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            let piece = self.reader.next().await?;
            match self.unpacker.unpack(piece) {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(TooLong) => {
                    self.reader.close(MESSAGE_TOO_BIG).await;
                    return None;
                }
            }
        }
    }

    /// Tells the client that nothing more comes.
    pub(super) async fn close(&mut self) {
        self.reader.close(NORMAL_CLOSURE).await;
    }
}

/// Finds channel and content in the pieces of messages.
#[derive(Debug)]
enum Unpacker {
    /// The channel of the message that goes on.
    Binary(Option<u8>),
    /// What has come of the message so far: only a whole one can be decoded.
    Base64(Vec<u8>),
}

/// A message is longer than [`MOST_ENCODED`].
#[derive(Debug, PartialEq, Eq)]
struct TooLong;

impl Unpacker {
    fn unpack(&mut self, mut piece: Piece) -> Result<Option<(u8, Bytes)>, TooLong> {
        match self {
            Self::Binary(current) => {
                if current.is_none() && piece.data.has_remaining() {
                    *current = Some(piece.data.get_u8());
                }
                let channel = if piece.last { current.take() } else { *current };
                Ok(channel.filter(|_| piece.data.has_remaining()).map(|channel| (channel, piece.data)))
            }
            Self::Base64(message) => {
                if message.len() + piece.data.len() > MOST_ENCODED {
                    return Err(TooLong);
                }
                message.extend_from_slice(&piece.data);
                Ok(if piece.last { decode(&std::mem::take(message)) } else { None })
            }
        }
    }
}

/// What is no base64 is left out, as Kubernetes does.
fn decode(message: &[u8]) -> Option<(u8, Bytes)> {
    let (digit, text) = message.split_first()?;
    let data = STANDARD.decode(text).ok().filter(|data| !data.is_empty())?;
    Some((digit.wrapping_sub(b'0'), data.into()))
}

const MESSAGE_TOO_BIG: u16 = 1009;
/// Bytes of an encoded message at most; clients send what they read at once, some 32 KiB.
const MOST_ENCODED: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first: bool, last: bool, data: &'static [u8]) -> Piece {
        Piece { first, last, data: Bytes::from_static(data) }
    }

    #[test]
    fn the_channel_is_the_first_byte_wherever_a_message_is_cut() {
        let mut unpacker = Unpacker::Binary(None);
        let found: Vec<_> = [
            piece(true, true, b"\x00one"),
            piece(true, false, b""),
            piece(false, false, b"\x04"),
            piece(false, true, b"two"),
            piece(true, true, b"\x01"),
            piece(true, true, b"\x02three"),
        ]
        .into_iter()
        .filter_map(|piece| unpacker.unpack(piece).expect("short"))
        .collect();
        assert_eq!(found, [(0, "one".into()), (4, "two".into()), (2, "three".into())]);
    }

    #[test]
    fn encoded_messages_are_decoded_as_a_whole() {
        let mut unpacker = Unpacker::Base64(Vec::new());
        assert_eq!(unpacker.unpack(piece(true, false, b"0Zm")), Ok(None));
        assert_eq!(unpacker.unpack(piece(false, true, b"9v")), Ok(Some((0, "foo".into()))));
        assert_eq!(unpacker.unpack(piece(true, true, b"0*")), Ok(None));
        assert_eq!(unpacker.unpack(piece(true, true, b"")), Ok(None));
        let long = Piece { first: true, last: false, data: vec![b'0'; MOST_ENCODED + 1].into() };
        assert_eq!(unpacker.unpack(long), Err(TooLong));
    }
}
