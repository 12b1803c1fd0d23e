//! One connection of a client: handshake, who it is, its requests, its end.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apiserver::ApiServer;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::Service as _;

use super::{
    body::{Answer, Upload},
    subject,
};

/// Time for the TLS handshake, and from there to the first request: a client connects because it has one.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// Time for the head of an HTTP/1.1 request (`ReadHeaderTimeout` of Kubernetes' secure_serving.go).
const HEAD_TIME: Duration = Duration::from_secs(32);

/// How long a connection without requests is kept. Clients keep them for 90 s (`IdleConnTimeout` of Go).
const IDLE_TIME: Duration = Duration::from_secs(300);

/// Time for the last answers of a connection that is being closed.
pub(crate) const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Longest head of a request: the URI may have 128 KiB (long selectors).
const MOST_HEAD_BYTES: u32 = 192 * 1024;

/// Requests at once on one connection; Go's default. A client with more watches opens another connection.
const MOST_STREAMS: u32 = 250;

/// Bytes that one answer may have on their way before its reader is waited for.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection until the client, idleness or the server's end closes it.
pub(crate) async fn serve(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    acceptor: TlsAcceptor,
    server: ApiServer,
    closing: watch::Receiver<bool>,
) {
    let peer = stream.peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string());
    let stream = match timeout(GREETING_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(peer, "TLS handshake failed: {error}"),
        Err(_) => return tracing::debug!(peer, "TLS handshake given up: the client says nothing"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let service = server.service_for(certificate.and_then(|certificate| subject::identity(certificate)));
    let requests = Arc::new(watch::channel(0).0);
    let (opened, ending) = (Arc::clone(&requests), closing.clone());
    let answer = service_fn(move |request: Request<Incoming>| {
        let (open, closing) = (OpenRequest::new(&opened), ending.clone());
        let answered = service.clone().call(request.map(Upload::new));
        async move { Ok::<_, Infallible>(answered.await?.map(|body| Answer::new(body, closing, open))) }
    });
    let http = http();
    let mut connection =
        pin!(http.serve_connection_with_upgrades(TokioIo::new(Counted { stream, _permit: permit }), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over(closing, requests.subscribe()) => {
            connection.as_mut().graceful_shutdown();
            match timeout(CLOSING_TIME, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!(peer, "connection cut: the client does not read"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer, "connection broken: {error}");
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(usize::try_from(MOST_HEAD_BYTES).unwrap_or(usize::MAX));
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MOST_HEAD_BYTES)
        .max_concurrent_streams(MOST_STREAMS)
        .max_send_buf_size(SEND_BUFFER);
    http
}

/// Waits for a reason to close a connection: the server ends, or nothing is asked for a long time.
async fn over(mut closing: watch::Receiver<bool>, mut requests: watch::Receiver<usize>) {
    let idle = async {
        let mut patience = GREETING_TIME;
        loop {
            let open = *requests.borrow_and_update();
            if open > 0 {
                // Its sender lives as long as the connection.
                let _ = requests.changed().await;
            } else if timeout(patience, requests.changed()).await.is_err() {
                return;
            }
            patience = IDLE_TIME;
        }
    };
    tokio::select! {
        () = idle => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

/// A request that has not been answered to its end.
#[derive(Debug)]
pub(crate) struct OpenRequest(Arc<watch::Sender<usize>>);

impl OpenRequest {
    fn new(requests: &Arc<watch::Sender<usize>>) -> Self {
        requests.send_modify(|open| *open += 1);
        Self(Arc::clone(requests))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// A connection that counts against the limit for as long as anybody has it, also after an upgrade.
struct Counted {
    stream: TlsStream<TcpStream>,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
