//! The agent's end of a session: a connection to the shim of its own, and the descriptors that come over it.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use cri::{Error, Result, Session, SessionEnd, TerminalSize};
use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags},
    termios::Winsize,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf, unix::AsyncFd},
    net::UnixStream,
    sync::oneshot,
};

use crate::{
    connection::Gone,
    protocol::{Answer, Call, Handle, MAX_HANDLES, MAX_LINE, Message, Request},
};

/// Bytes read at a time: replies of sessions are short.
const CHUNK: usize = 4096;

/// A connection that carries one call and its answers.
struct Line {
    stream: UnixStream,
    received: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// The descriptors of an answer, each with its meaning.
type Handles = Vec<(Handle, OwnedFd)>;

/// Makes a call that is a session and returns the near ends of its streams.
///
/// A program that was not executed is a session that has ended.
pub(crate) async fn open(socket: &Path, call: Call) -> Result<Session> {
    match ask(socket, call).await {
        Ok((line, handles)) => {
            session(line, handles).map_err(|error| internal("take the streams of a session", &error))
        }
        Err(error @ Error::StartFailed { .. }) => Ok(Session {
            stdin: None,
            stdout: None,
            stderr: None,
            resize: None,
            end: Box::pin(std::future::ready(Err(error))),
        }),
        Err(error) => Err(error),
    }
}

/// Returns sockets made in the sandbox's network.
pub(crate) async fn sockets(socket: &Path) -> Result<Vec<OwnedFd>> {
    let (_, handles) = ask(socket, Call::Sockets).await?;
    Ok(handles.into_iter().map(|(_, fd)| fd).collect())
}

async fn ask(socket: &Path, call: Call) -> Result<(Line, Handles)> {
    let gone = |_| Error::FailedPrecondition { message: Gone.to_string() };
    let mut request =
        serde_json::to_vec(&Request { id: 0, call }).map_err(|error| internal("encode a call", &error))?;
    request.push(b'\n');
    let mut stream = UnixStream::connect(socket).await.map_err(gone)?;
    stream.write_all(&request).await.map_err(gone)?;
    let mut line = Line { stream, received: Vec::new(), descriptors: Vec::new() };
    let Answer::Handles(kinds) = line.answer().await? else { return Err(unexpected()) };
    let descriptors = std::mem::take(&mut line.descriptors);
    if kinds.len() != descriptors.len() {
        return Err(unexpected());
    }
    Ok((line, kinds.into_iter().zip(descriptors).collect()))
}

fn session(mut line: Line, handles: Handles) -> io::Result<Session> {
    let mut session =
        Session { stdin: None, stdout: None, stderr: None, resize: None, end: Box::pin(std::future::pending()) };
    let mut detached = None;
    for (kind, fd) in handles {
        match kind {
            Handle::Stdin => session.stdin = Some(Box::pin(Writer::new(fd, None)?)),
            Handle::SharedStdin => {
                let (sender, receiver) = oneshot::channel();
                detached = Some(receiver);
                session.stdin = Some(Box::pin(Writer::new(fd, Some(sender))?));
            }
            Handle::Stdout => session.stdout = Some(Box::pin(Reader(watch(fd)?))),
            Handle::Stderr => session.stderr = Some(Box::pin(Reader(watch(fd)?))),
            Handle::Terminal => {
                let terminal = Arc::new(fd);
                session.resize = Some(Box::new(move |size| resize(terminal.as_fd(), size)));
            }
            Handle::Socket => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    session.end = Box::pin(async move {
        let detached = async {
            match detached {
                // The sender is dropped, never used: either way input is over.
                Some(receiver) => drop(receiver.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = line.answer() => {
                let Answer::Ended(code) = answer? else { return Err(unexpected()) };
                Ok(SessionEnd::Exited(code))
            }
            () = detached => Ok(SessionEnd::Detached),
        }
    });
    Ok(session)
}

fn resize(terminal: BorrowedFd<'_>, size: TerminalSize) {
    let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    // A terminal that has hung up has no size.
    let _ = rustix::termios::tcsetwinsize(terminal, size);
}

fn unexpected() -> Error {
    Error::Internal { message: "the sandbox's shim answered something else than was asked".into() }
}

fn internal(doing: &str, error: &dyn std::error::Error) -> Error {
    Error::Internal { message: format!("{doing}: {error}") }
}

impl Line {
    /// Returns the next answer. Whoever stops waiting may wait again.
    async fn answer(&mut self) -> Result<Answer> {
        loop {
            while let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(Message::Reply { result, .. }) => return result.map_err(Into::into),
                    // Told to everybody before the shim knew what this connection is for.
                    Ok(Message::Event { .. }) => {}
                    Err(error) => return Err(internal("understand the sandbox's shim", &error)),
                }
            }
            if !self.receive().await.unwrap_or(false) || self.received.len() > MAX_LINE {
                return Err(Error::FailedPrecondition { message: Gone.to_string() });
            }
        }
    }

    /// Receives bytes and the descriptors that come with them; false at the end.
    async fn receive(&mut self) -> io::Result<bool> {
        let (stream, received, descriptors) = (&self.stream, &mut self.received, &mut self.descriptors);
        stream
            .async_io(Interest::READABLE, || {
                let mut bytes = [0; CHUNK];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDLES))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let message = rustix::net::recvmsg(
                    stream,
                    &mut [IoSliceMut::new(&mut bytes)],
                    &mut ancillary,
                    RecvFlags::CMSG_CLOEXEC,
                )?;
                for part in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = part {
                        descriptors.extend(fds);
                    }
                }
                received.extend(&bytes[..message.bytes]);
                Ok(message.bytes > 0)
            })
            .await
    }
}

#[expect(unsafe_code, reason = "tokio asks for a promise that `OwnedFd` keeps")]
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Reads a pipe or a terminal.
struct Reader(AsyncFd<OwnedFd>);

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let read = |fd: &AsyncFd<OwnedFd>| Ok(rustix::io::read(fd.get_ref(), buffer.initialize_unfilled())?);
            match guard.try_io(read) {
                Ok(Ok(read)) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                // A terminal that nobody has open any more has no other way to say that it is over.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => return Poll::Ready(Err(error)),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

/// Writes to a pipe or a terminal; closes it when shut down.
struct Writer {
    fd: Option<AsyncFd<OwnedFd>>,
    /// Dropped at the end of input.
    detach: Option<oneshot::Sender<()>>,
}

impl Writer {
    fn new(fd: OwnedFd, detach: Option<oneshot::Sender<()>>) -> io::Result<Self> {
        Ok(Self { fd: Some(watch(fd)?), detach })
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(fd) = &self.fd else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        loop {
            let mut guard = ready!(fd.poll_write_ready(cx))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd = None;
        self.detach = None;
        Poll::Ready(Ok(()))
    }
}
