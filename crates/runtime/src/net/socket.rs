//! A blocking netlink socket: many messages in one send, one answer for each.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use netlink_sys::SocketAddr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// The kernel answers while it handles the send; this only guards against a lost answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Larger than any datagram the kernel builds for a dump (`NLMSG_GOODSIZE`, at most 32 KiB).
const BUFFER: usize = 64 * 1024;

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// One netlink socket, of the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Socket {
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut inner = netlink_sys::Socket::new(protocol)?;
        inner.bind_auto()?;
        inner.connect(&SocketAddr::new(0, 0))?;
        set_socket_timeout(&inner, Timeout::Recv, Some(ANSWER_WAIT))?;
        Ok(Self { inner, sequence: 0 })
    }

    /// Reserves `count` sequence numbers and returns the first.
    pub(super) fn sequence(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends messages with the sequence numbers from `first` on, each of which asks for an acknowledgement,
    /// and waits for all of them. Returns the first message that was refused, by its place, and why. A refusal of
    /// the message with sequence number `whole` is one of all of them.
    pub(super) fn transact(
        &self,
        messages: &[u8],
        first: u32,
        count: u32,
        whole: Option<u32>,
    ) -> io::Result<Option<Refusal>> {
        self.inner.send(messages, 0)?;
        let mut refusal: Option<Refusal> = None;
        let mut open = count;
        while open > 0 {
            for answer in Answers(&self.receive()?) {
                if let (true, Some(source)) = (whole == Some(answer.sequence), answer.error()) {
                    return Ok(Some(Refusal { place: 0, source }));
                }
                let place = answer.sequence.wrapping_sub(first);
                if place >= count || answer.kind != NLMSG_ERROR {
                    continue;
                }
                open = open.saturating_sub(1);
                if let Some(source) = answer.error()
                    && refusal.as_ref().is_none_or(|known| place < known.place)
                {
                    refusal = Some(Refusal { place, source });
                }
            }
        }
        Ok(refusal)
    }

    /// Sends the request for a dump and hands each message of the answer over, header included.
    pub(super) fn dump(&self, message: &[u8], sequence: u32, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.inner.send(message, 0)?;
        loop {
            for answer in Answers(&self.receive()?) {
                match answer.kind {
                    _ if answer.sequence != sequence => {}
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return answer.error().map_or(Ok(()), Err),
                    _ => each(answer.bytes),
                }
            }
        }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            match self.inner.recv(&mut buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(buffer),
            }
        }
    }
}

/// A refused message.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Which one, counted from 0.
    pub(super) place: u32,
    /// Why.
    pub(super) source: io::Error,
}

struct Answer<'a> {
    kind: u16,
    sequence: u32,
    bytes: &'a [u8],
}

impl Answer<'_> {
    /// Returns the error of an NLMSG_ERROR; `None` for an acknowledgement.
    fn error(&self) -> Option<io::Error> {
        let code = self.bytes.get(HEADER..HEADER + 4)?;
        match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
            0 => None,
            code => Some(io::Error::from_raw_os_error(code.saturating_neg())),
        }
    }
}

/// Iterates over the messages of a datagram.
struct Answers<'a>(&'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let header = self.0.get(..HEADER)?;
        let length = usize::try_from(u32::from_ne_bytes([header[0], header[1], header[2], header[3]])).ok()?;
        let bytes = self.0.get(..length).filter(|bytes| bytes.len() >= HEADER)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            bytes,
        })
    }
}
