//! WebSocket frames (RFC 6455), the server's half.
//!
//! Messages are handed on in pieces as they arrive, so that none is ever held as a whole: memory is bounded by one
//! read, whatever length a client announces.

use apimachinery::status::ApiError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, header};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// Kinds of frames that the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Pong = 10,
}

/// A whole message as one frame.
pub(super) fn encode(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    const FIN: u8 = 0x80;
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = BytesMut::with_capacity(length + 10);
    frame.put_u8(FIN | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => frame.put_u8(length),
        (_, Ok(length)) => {
            frame.put_u8(126);
            frame.put_u16(length);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    parts.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

/// The end of the conversation, with its status code.
pub(super) fn encode_close(code: u16) -> Bytes {
    encode(Opcode::Close, &[&code.to_be_bytes()])
}

/// Shows that the server is there, and shows the server whether the client is: an unasked pong needs no answer
/// (section 5.5.3).
pub(super) fn heartbeat() -> Bytes {
    encode(Opcode::Pong, &[])
}

/// Nothing went wrong.
pub(super) const NORMAL_CLOSURE: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;

/// The value of `Sec-WebSocket-Accept` that answers a client's opening handshake.
///
/// # Errors
/// The version is not 13, or the key is not 16 bytes in base64.
pub(super) fn accept(headers: &HeaderMap) -> Result<String, ApiError> {
    const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).map(|value| value.as_bytes());
    if version != Some(b"13") {
        return Err(ApiError::bad_request(
            "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header",
        ));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|value| value.as_bytes().trim_ascii()).unwrap_or_default();
    if STANDARD.decode(key).map_or(true, |nonce| nonce.len() != 16) {
        return Err(ApiError::bad_request("websocket: 'Sec-WebSocket-Key' header must be 16 bytes in base64"));
    }
    Ok(STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize()))
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Message(Piece),
    Ping(Bytes),
    Pong,
    Close,
}

/// A part of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The message begins here.
    pub(super) first: bool,
    /// The message ends here.
    pub(super) last: bool,
    pub(super) data: Bytes,
}

/// What a client did against the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("websocket: {0}")]
struct Violation(&'static str);

/// Takes frames off the bytes that have arrived.
#[derive(Debug, Default)]
struct Decoder {
    frame: Option<Frame>,
    /// A message has begun and goes on in the next data frame.
    unfinished: bool,
}

/// A frame whose header is known.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    fin: bool,
    left: u64,
    mask: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data { first: bool },
    Close,
    Ping,
    Pong,
}

impl Decoder {
    /// The next event, `None` if more bytes are needed; what it is made of leaves the buffer.
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, Violation> {
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => match self.header(buffer)? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        let Kind::Data { first } = frame.kind else { return Ok(self.control(frame, buffer)) };
        if buffer.is_empty() && frame.left > 0 {
            self.frame = Some(frame);
            return Ok(None);
        }
        let data = frame.take(buffer);
        let last = frame.fin && frame.left == 0;
        if frame.left > 0 {
            frame.kind = Kind::Data { first: false };
            self.frame = Some(frame);
        }
        Ok(Some(Event::Message(Piece { first, last, data })))
    }

    fn control(&mut self, mut frame: Frame, buffer: &mut BytesMut) -> Option<Event> {
        if (buffer.len() as u64) < frame.left {
            self.frame = Some(frame);
            return None;
        }
        let data = frame.take(buffer);
        match frame.kind {
            Kind::Ping => Some(Event::Ping(data)),
            Kind::Pong => Some(Event::Pong),
            Kind::Close | Kind::Data { .. } => Some(Event::Close),
        }
    }

    /// Reads a header if it is complete, by section 5.2.
    fn header(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Violation> {
        let &[start, length, ..] = &buffer[..] else { return Ok(None) };
        let (fin, masked) = (start & 0x80 != 0, length & 0x80 != 0);
        if start & 0x70 != 0 {
            return Err(Violation("reserved bits are set"));
        }
        if !masked {
            return Err(Violation("a client's frame must be masked"));
        }
        let (length, size) = match length & 0x7f {
            126 => (None, 2),
            127 => (None, 8),
            length => (Some(u64::from(length)), 0),
        };
        let kind = self.kind(start & 0x0f, fin, length)?;
        if buffer.len() < 2 + size + 4 {
            return Ok(None);
        }
        buffer.advance(2);
        let left = length.unwrap_or_else(|| buffer.get_uint(size));
        let mut mask = [0; 4];
        buffer.copy_to_slice(&mut mask);
        if matches!(kind, Kind::Data { .. }) {
            self.unfinished = !fin;
        }
        Ok(Some(Frame { kind, fin, left, mask }))
    }

    /// `length` is that of a short frame.
    fn kind(&self, opcode: u8, fin: bool, length: Option<u64>) -> Result<Kind, Violation> {
        match (opcode, self.unfinished) {
            (0, true) => Ok(Kind::Data { first: false }),
            (1 | 2, false) => Ok(Kind::Data { first: true }),
            (0..=2, _) => {
                Err(Violation("a message is continued that has not begun, or begun before the last has ended"))
            }
            (8..=10, _) if !fin || length.is_none() => Err(Violation("a control frame must be short and whole")),
            (8, _) => Ok(Kind::Close),
            (9, _) => Ok(Kind::Ping),
            (10, _) => Ok(Kind::Pong),
            _ => Err(Violation("unknown opcode")),
        }
    }
}

impl Frame {
    /// Takes what is there of the payload and unmasks it.
    fn take(&mut self, buffer: &mut BytesMut) -> Bytes {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let mut data = buffer.split_to(length);
        data.iter_mut().zip(self.mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        self.mask.rotate_left(length % 4);
        self.left -= length as u64;
        data.freeze()
    }
}

/// The messages of a client; answers pings and the closing handshake by itself.
#[derive(Debug)]
pub(super) struct Reader<R> {
    io: R,
    buffer: BytesMut,
    decoder: Decoder,
    frames: mpsc::Sender<Bytes>,
    /// Our close frame is on its way.
    closing: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `io`; `frames` takes what is to be sent.
    pub(super) fn new(io: R, frames: mpsc::Sender<Bytes>) -> Self {
        Self { io, buffer: BytesMut::new(), decoder: Decoder::default(), frames, closing: false }
    }

    /// The next piece of a message, `None` when the client has closed or gone. Dropping the future loses no data.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        loop {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(Event::Message(piece))) => return Some(piece),
                Ok(Some(Event::Ping(data))) if !self.closing => {
                    self.frames.send(encode(Opcode::Pong, &[&data])).await.ok()?;
                }
                Ok(Some(Event::Ping(_) | Event::Pong)) => {}
                Ok(Some(Event::Close)) => {
                    self.close(NORMAL_CLOSURE).await;
                    return None;
                }
                Ok(None) => read_more(&mut self.io, &mut self.buffer).await?,
                Err(violation) => {
                    tracing::debug!(%violation, "closing a client's stream");
                    self.close(PROTOCOL_ERROR).await;
                    return None;
                }
            }
        }
    }

    /// Begins or answers the closing handshake.
    pub(super) async fn close(&mut self, code: u16) {
        if !std::mem::replace(&mut self.closing, true) {
            // A client that has gone needs no farewell.
            let _ = self.frames.send(encode_close(code)).await;
        }
    }
}

/// Reads once; `None` at the end or when the connection is broken.
pub(super) async fn read_more(io: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<()> {
    buffer.reserve(READ);
    io.read_buf(buffer).await.ok().filter(|length| *length > 0).map(|_| ())
}

/// Bytes that a read has room for: what kubectl puts into one message.
const READ: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A masked frame, as clients send them.
    fn masked(start: u8, payload: &[u8]) -> Vec<u8> {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let plain = encode(Opcode::Binary, &[payload]);
        let header = plain.len() - payload.len();
        let mut frame = plain[..header].to_vec();
        frame[0] = start;
        frame[1] |= 0x80;
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Decodes all of it, given in pieces of a size.
    fn decode(bytes: &[u8], size: usize) -> Result<Vec<Event>, Violation> {
        let (mut decoder, mut buffer, mut events) = (Decoder::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(event) = decoder.decode(&mut buffer)? {
                events.push(event);
            }
            assert!(buffer.len() < 125 + 14 + size, "what is kept is bounded");
        }
        Ok(events)
    }

    /// Messages and their control frames as text.
    fn told(events: Vec<Event>) -> String {
        let mut text = String::new();
        for event in events {
            match event {
                Event::Message(Piece { first, last, data }) => {
                    text.push_str(if first { "(" } else { "" });
                    text.push_str(&String::from_utf8_lossy(&data));
                    text.push_str(if last { ")" } else { "" });
                }
                Event::Ping(data) => text.push_str(&format!("[ping {}]", String::from_utf8_lossy(&data))),
                Event::Pong => text.push_str("[pong]"),
                Event::Close => text.push_str("[close]"),
            }
        }
        text
    }

    #[test]
    fn the_key_is_accepted_as_in_the_example_of_the_standard() {
        let headers = |version: &'static str, key: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_VERSION, http::HeaderValue::from_static(version));
            headers.insert(header::SEC_WEBSOCKET_KEY, http::HeaderValue::from_static(key));
            headers
        };
        let accepted = accept(&headers("13", "dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accepted.as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(accept(&headers("8", "dGhlIHNhbXBsZSBub25jZQ==")).is_err());
        assert!(accept(&headers("13", "c2hvcnQ=")).is_err());
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let long = "x".repeat(70_000);
        let bytes = [
            masked(0x82, b"one"),
            masked(0x02, b"tw"),
            masked(0x89, b"there?"),
            masked(0x00, b""),
            masked(0x80, b"o"),
            masked(0x81, b""),
            masked(0x8a, b""),
            masked(0x82, "y".repeat(300).as_bytes()),
            masked(0x82, long.as_bytes()),
            masked(0x88, b"\x03\xe8"),
        ]
        .concat();
        let want = format!("(one)(tw[ping there?]o)()[pong]({})({long})[close]", "y".repeat(300));
        for size in [1, 2, 3, 5, 7, 64, 1000, bytes.len()] {
            assert_eq!(told(decode(&bytes, size).expect("frames")), want, "in pieces of {size}");
        }
    }

    #[test]
    fn what_a_client_may_not_send_is_refused() {
        let unmasked = encode(Opcode::Binary, &[b"x"]).to_vec();
        let long_ping = masked(0x89, &[0; 126]);
        for bytes in
            [unmasked, long_ping, masked(0x92, b"x"), masked(0x80, b"x"), masked(0x83, b"x"), masked(0x09, b"x")]
        {
            assert!(decode(&bytes, bytes.len()).is_err(), "{bytes:?}");
        }
        let twice = [masked(0x02, b"a"), masked(0x02, b"b")].concat();
        assert!(decode(&twice, twice.len()).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1..64_usize) {
            let _ = decode(&bytes, size);
        }

        #[test]
        fn random_frames_are_decoded_or_refused(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 0..8),
            size in 1..64_usize,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(start, payload)| masked(*start & 0x8f, payload)).collect();
            let _ = decode(&bytes, size);
        }
    }
}
