//! Frames of SPDY/3.1, the server's half.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Violation;
use super::headers::{Headers, Inflater, no_headers};

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http::stream) enum Frame {
    /// Opens a stream.
    Open { stream: u32, headers: Headers, fin: bool },
    /// A part of a stream's data, as it arrives.
    Data { stream: u32, piece: Bytes, fin: bool },
    /// Gives a stream up, in both directions.
    Reset { stream: u32 },
    /// Wants the same back.
    Ping(u32),
    /// The client opens nothing more and is about to leave.
    GoAway,
    /// Nothing that concerns us.
    Other,
}

/// Takes frames off the bytes that have arrived.
///
/// Window updates are neither expected nor sent: the library at the other end (moby/spdystream, which is also what
/// Kubernetes itself has) knows no flow control. What holds back a sender is the connection, which is not read while
/// a stream's bounded queue is full.
#[derive(Debug)]
pub(super) struct Decoder {
    inflater: Inflater,
    data: Option<DataFrame>,
}

/// A data frame that has not arrived completely.
#[derive(Debug)]
struct DataFrame {
    stream: u32,
    fin: bool,
    left: usize,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { inflater: Inflater::new(), data: None }
    }

    /// The next frame, `None` if more bytes are needed; what it is made of leaves the buffer.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Violation> {
        if let Some(data) = self.data.take() {
            return Ok(self.piece(data, buffer));
        }
        let Some(mut header) = buffer.get(..HEADER) else { return Ok(None) };
        let (start, length) = (header.get_u32(), header.get_u32());
        let (flags, length) =
            ((length >> 24).to_be_bytes()[3], usize::try_from(length & 0x00ff_ffff).unwrap_or(usize::MAX));
        let fin = flags & FLAG_FIN != 0;
        if start & CONTROL == 0 {
            buffer.advance(HEADER);
            return Ok(self.piece(DataFrame { stream: start, fin, left: length }, buffer));
        }
        if length > MOST_CONTROL {
            return Err(Violation("a control frame is too large"));
        }
        if buffer.len() < HEADER + length {
            return Ok(None);
        }
        buffer.advance(HEADER);
        let payload = buffer.split_to(length).freeze();
        match start & !CONTROL & 0xffff_0000 {
            VERSION => self.control(start & 0xffff, fin, payload).map(Some),
            _ => Err(Violation("not version 3")),
        }
    }

    fn piece(&mut self, mut data: DataFrame, buffer: &mut BytesMut) -> Option<Frame> {
        let piece = buffer.split_to(data.left.min(buffer.len())).freeze();
        data.left -= piece.len();
        let (stream, fin) = (data.stream, data.fin && data.left == 0);
        if data.left > 0 {
            self.data = Some(data);
            if piece.is_empty() {
                return None;
            }
        }
        Some(Frame::Data { stream, piece, fin })
    }

    fn control(&mut self, kind: u32, fin: bool, mut payload: Bytes) -> Result<Frame, Violation> {
        if !matches!(kind, SYN_STREAM | SYN_REPLY | RST_STREAM | PING | GOAWAY | HEADERS) {
            return Ok(Frame::Other);
        }
        let number = payload.try_get_u32().map_err(|_| SHORT)? & !CONTROL;
        match kind {
            SYN_STREAM => {
                // The associated stream, priority and slot.
                let block = payload.get(6..).ok_or(SHORT)?;
                Ok(Frame::Open { stream: number, headers: self.inflater.headers(block)?, fin })
            }
            SYN_REPLY | HEADERS => self.inflater.headers(&payload).map(|_| Frame::Other),
            RST_STREAM => Ok(Frame::Reset { stream: number }),
            PING => Ok(Frame::Ping(number)),
            _ => Ok(Frame::GoAway),
        }
    }
}

/// Accepts a stream; `first` says that nothing was accepted on this connection before.
pub(super) fn encode_reply(stream: u32, first: bool) -> Bytes {
    control(SYN_REPLY, stream, no_headers(first))
}

/// Refuses a stream.
pub(super) fn encode_refusal(stream: u32) -> Bytes {
    const REFUSED_STREAM: u32 = 3;
    control(RST_STREAM, stream, &REFUSED_STREAM.to_be_bytes())
}

/// A ping, or the answer to one.
pub(super) fn encode_ping(id: u32) -> Bytes {
    control(PING, id, &[])
}

/// A part of a stream's data.
pub(super) fn encode_data(stream: u32, piece: &[u8], fin: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + piece.len());
    frame.put_u32(stream);
    frame.put_u8(if fin { FLAG_FIN } else { 0 });
    frame.put_uint(piece.len() as u64, 3);
    frame.put_slice(piece);
    frame.freeze()
}

fn control(kind: u32, number: u32, rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + 4 + rest.len());
    frame.put_u32(CONTROL | VERSION | kind);
    frame.put_u8(0);
    frame.put_uint(4 + rest.len() as u64, 3);
    frame.put_u32(number);
    frame.put_slice(rest);
    frame.freeze()
}

const SHORT: Violation = Violation("a control frame is cut short");
const HEADER: usize = 8;
const CONTROL: u32 = 1 << 31;
const VERSION: u32 = 3 << 16;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u32 = 1;
const SYN_REPLY: u32 = 2;
const RST_STREAM: u32 = 3;
const PING: u32 = 6;
const GOAWAY: u32 = 7;
const HEADERS: u32 = 8;

/// They hold three short headers, or less.
const MOST_CONTROL: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes all of it, given in pieces of a size.
    fn decode(bytes: &[u8], size: usize) -> Result<Vec<Frame>, Violation> {
        let (mut decoder, mut buffer, mut frames) = (Decoder::new(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.decode(&mut buffer)? {
                frames.push(frame);
            }
            assert!(buffer.len() < HEADER + MOST_CONTROL + size, "what is kept is bounded");
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_the_same_however_they_arrive() {
        let open = [&b"\x80\x03\x00\x01\x01\x00\x00\x1a\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00"[..], no_headers(true)]
            .concat();
        let bytes = [
            open,
            encode_data(5, b"hello", true).to_vec(),
            encode_ping(7).to_vec(),
            encode_refusal(5).to_vec(),
            b"\x80\x03\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00".to_vec(),
            b"\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00".to_vec(),
        ]
        .concat();
        let whole = decode(&bytes, bytes.len()).expect("frames");
        assert_eq!(
            whole,
            [
                Frame::Open { stream: 5, headers: Headers::default(), fin: true },
                Frame::Data { stream: 5, piece: Bytes::from_static(b"hello"), fin: true },
                Frame::Ping(7),
                Frame::Reset { stream: 5 },
                Frame::Other,
                Frame::GoAway,
            ]
        );
        for size in 1..bytes.len() {
            let (mut text, mut ends, mut others) = (Vec::new(), 0, Vec::new());
            for frame in decode(&bytes, size).expect("frames") {
                if let Frame::Data { piece, fin, .. } = frame {
                    text.extend_from_slice(&piece);
                    ends += usize::from(fin);
                } else {
                    others.push(frame);
                }
            }
            assert_eq!((&text[..], ends, others.len()), (&b"hello"[..], 1, 5), "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_spdy_3_is_refused() {
        for bytes in [
            &b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01"[..],
            b"\x80\x03\x00\x01\x00\xff\xff\xff",
            b"\x80\x03\x00\x06\x00\x00\x00\x02\x00\x01",
            b"\x80\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00",
        ] {
            assert!(decode(bytes, bytes.len()).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1..64_usize) {
            let _ = decode(&bytes, size);
        }

        #[test]
        fn random_frames_are_decoded_or_refused(
            frames in prop::collection::vec((0..12_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..64)), 0..8),
            size in 1..64_usize,
        ) {
            let mut bytes = Vec::new();
            for (kind, flags, payload) in frames {
                let length = u8::try_from(payload.len()).unwrap_or_default();
                bytes.extend_from_slice(&[0x80, 3, 0, kind, flags, 0, 0, length]);
                bytes.extend_from_slice(&payload);
            }
            let _ = decode(&bytes, size);
        }
    }
}
