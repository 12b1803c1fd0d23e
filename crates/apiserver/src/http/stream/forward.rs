//! Port-forward: between a client's streams and connections to a pod's ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::channels::Channels;
use super::outlet::{Gone, Outlet, converse};
use super::spdy::{self, Frame, Headers};
use super::upgrade::{Carrier, Protocol};
use super::websocket;
use crate::node_proxy::{NodeProxy, PodReference};

/// The pod that ports are forwarded to.
#[derive(Clone)]
pub(super) struct Forward {
    pub(super) proxy: Arc<dyn NodeProxy>,
    pub(super) pod: PodReference,
}

impl Forward {
    /// Serves the client on its upgraded connection until it leaves or has gone. Only the channel protocol needs the
    /// `ports` in advance.
    pub(super) async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(self, io: IO, protocol: Protocol, ports: Vec<u16>) {
        match protocol.carrier {
            Carrier::Channels { base64 } => {
                let work = |read, frames| self.over_channels(read, frames, base64, ports);
                converse(io, websocket::heartbeat(), work).await;
            }
            Carrier::Spdy { tunnel } => {
                let heartbeat = if tunnel { websocket::heartbeat() } else { spdy::heartbeat() };
                let work = |read, frames| Streams::new(self, spdy::Reader::new(read, frames, tunnel)).run();
                converse(io, heartbeat, work).await;
            }
        }
    }

    /// Two channels a port: the even one has the data, the odd one an error. Both begin with the port's number.
    async fn over_channels(
        self,
        io: impl AsyncRead + Unpin,
        frames: mpsc::Sender<Bytes>,
        base64: bool,
        ports: Vec<u16>,
    ) {
        let mut channels = Channels::new(io, frames.clone(), base64);
        let mut connections = JoinSet::new();
        let mut inputs = Vec::new();
        for (port, number) in ports.into_iter().zip((0_u8..).step_by(2)) {
            let outlet = |channel| Outlet::Channel { frames: frames.clone(), channel, base64 };
            let (data, error) = (outlet(number), outlet(number + 1));
            for outlet in [&data, &error] {
                let _ = outlet.send(&port.to_le_bytes()).await;
            }
            let (inlet, inbox) = inbox();
            connections.spawn(self.clone().connect(port, inbox, data, error));
            inputs.push(inlet);
        }
        loop {
            tokio::select! {
                message = channels.next() => match message {
                    None => return,
                    Some((channel, piece)) if channel % 2 == 0 => {
                        if let Some(inlet) = inputs.get(usize::from(channel / 2)) {
                            inlet.push(piece).await;
                        }
                    }
                    Some(_) => {}
                },
                ended = connections.join_next() => if ended.is_none() { break },
            }
        }
        channels.close().await;
        let _ = timeout(FINISH, async { while channels.next().await.is_some() {} }).await;
    }

    /// Connects to a port and passes data both ways until the pod has closed or the client has given up.
    async fn connect(self, port: u16, mut inbox: Inbox, data: Outlet, error: Outlet) {
        match self.proxy.port_forward(self.pod.clone(), port).await {
            Ok(connection) => {
                let (read, write) = tokio::io::split(connection);
                let feed = async {
                    feed(write, &mut inbox.pieces).await;
                    std::future::pending().await
                };
                tokio::select! {
                    _ = data.copy(read) => {}
                    _ = &mut inbox.given_up => {}
                    () = feed => {}
                }
            }
            Err(problem) => {
                let PodReference { name, uid, .. } = &self.pod;
                let text = format!("error forwarding port {port} to pod {name}, uid {uid}: {problem}");
                let _ = error.send(text.as_bytes()).await;
            }
        }
        for outlet in [data, error] {
            let _ = outlet.finish().await;
        }
    }
}

/// Writes what comes, and the end of it; once the pod takes no more, what comes is for nobody.
async fn feed(mut to: impl AsyncWrite + Unpin, pieces: &mut mpsc::Receiver<Bytes>) {
    let mut open = true;
    while let Some(piece) = pieces.recv().await {
        open = open && to.write_all(&piece).await.is_ok() && to.flush().await.is_ok();
    }
    if open {
        let _ = to.shutdown().await;
    }
}

/// Where a client's data for one connection goes in.
#[derive(Debug)]
struct Inlet {
    /// `None` after the end of the data.
    pieces: Option<mpsc::Sender<Bytes>>,
    /// Dropped with the inlet: the client has given up.
    _held: oneshot::Sender<()>,
}

/// Where it comes out.
#[derive(Debug)]
struct Inbox {
    pieces: mpsc::Receiver<Bytes>,
    given_up: oneshot::Receiver<()>,
}

fn inbox() -> (Inlet, Inbox) {
    let (sender, pieces) = mpsc::channel(QUEUE);
    let (held, given_up) = oneshot::channel();
    (Inlet { pieces: Some(sender), _held: held }, Inbox { pieces, given_up })
}

impl Inlet {
    /// Waits while the pod is slow.
    async fn push(&self, piece: Bytes) {
        if let Some(pieces) = &self.pieces
            && !piece.is_empty()
        {
            // A connection that has ended takes no more.
            let _ = pieces.send(piece).await;
        }
    }
}

/// The streams of a SPDY connection: each forwarded connection has one for data and one for an error.
struct Streams<R> {
    forward: Forward,
    reader: spdy::Reader<R>,
    /// Requests of which only one stream has been opened.
    halves: BTreeMap<String, Half>,
    /// By data stream.
    inlets: BTreeMap<u32, Inlet>,
    /// Each returns its data stream.
    connections: JoinSet<u32>,
}

/// One stream of a request.
enum Half {
    Data(Data),
    Error(u32),
}

struct Data {
    stream: u32,
    port: u16,
    inbox: Inbox,
}

impl<R: AsyncRead + Unpin> Streams<R> {
    fn new(forward: Forward, reader: spdy::Reader<R>) -> Self {
        Self { forward, reader, halves: BTreeMap::new(), inlets: BTreeMap::new(), connections: JoinSet::new() }
    }

    async fn run(mut self) {
        loop {
            tokio::select! {
                frame = self.reader.next() => match frame {
                    Some(frame) => if self.handle(frame).await.is_err() { return },
                    None => return,
                },
                Some(ended) = self.connections.join_next() => {
                    if let Ok(stream) = ended {
                        self.inlets.remove(&stream);
                    }
                }
            }
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Gone> {
        match frame {
            Frame::Open { stream, headers, .. } => {
                if self.halves.len() + self.connections.len() < MOST_CONNECTIONS
                    && let Some((port, kind)) = wanted(&headers)
                {
                    return self.open(stream, port, kind, &headers).await;
                }
                self.reader.link().refuse(stream).await
            }
            Frame::Data { stream, piece, fin } => {
                if let Some(inlet) = self.inlets.get_mut(&stream) {
                    inlet.push(piece).await;
                    if fin {
                        inlet.pieces = None;
                    }
                }
                Ok(())
            }
            Frame::Reset { stream } => {
                self.inlets.remove(&stream);
                Ok(())
            }
            Frame::Ping(_) | Frame::GoAway | Frame::Other => Ok(()),
        }
    }

    async fn open(&mut self, stream: u32, port: u16, kind: Kind, headers: &Headers) -> Result<(), Gone> {
        let request = request(stream, kind, headers);
        match (self.halves.remove(&request), kind) {
            (None, Kind::Error) => {
                self.halves.insert(request, Half::Error(stream));
            }
            (None, Kind::Data) => {
                let inbox = self.inlet(stream);
                self.halves.insert(request, Half::Data(Data { stream, port, inbox }));
            }
            (Some(Half::Error(error)), Kind::Data) => {
                let inbox = self.inlet(stream);
                self.start(Data { stream, port, inbox }, error);
            }
            (Some(Half::Data(data)), Kind::Error) => self.start(data, stream),
            (Some(half), _) => {
                self.halves.insert(request, half);
                return self.reader.link().refuse(stream).await;
            }
        }
        self.reader.accept(stream).await
    }

    fn inlet(&mut self, stream: u32) -> Inbox {
        let (inlet, inbox) = inbox();
        self.inlets.insert(stream, inlet);
        inbox
    }

    fn start(&mut self, data: Data, error: u32) {
        let outlet = |stream| Outlet::Stream { link: self.reader.link().clone(), stream };
        let Data { stream, port, inbox } = data;
        let work = self.forward.clone().connect(port, inbox, outlet(stream), outlet(error));
        self.connections.spawn(async move {
            work.await;
            stream
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

/// Port and kind of a stream, if it is one of port-forward.
fn wanted(headers: &Headers) -> Option<(u16, Kind)> {
    let port = headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    match headers.get("streamtype")? {
        "data" => Some((port, Kind::Data)),
        "error" => Some((port, Kind::Error)),
        _ => None,
    }
}

/// What ties two streams together. Clients that are too old to say open the error stream first, then the data stream,
/// with consecutive odd numbers.
fn request(stream: u32, kind: Kind, headers: &Headers) -> String {
    match (headers.get("requestid"), kind) {
        (Some(request), _) if !request.is_empty() => request.to_owned(),
        (_, Kind::Error) => stream.to_string(),
        (_, Kind::Data) => stream.wrapping_sub(2).to_string(),
    }
}

/// Pieces of up to 32 KiB that wait for a connection to take them; when they are more, the client waits.
const QUEUE: usize = 4;
/// Connections of one client at once; with [`QUEUE`] the bound of what a client costs whose pod takes nothing.
const MOST_CONNECTIONS: usize = 256;
/// How long a client may take to read the rest.
const FINISH: Duration = Duration::from_secs(15 * 60);
