//! Accepts connections, so many and no more.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use apiserver::ApiServer;
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::connection;

/// Connections at once. Each may have a few hundred requests; one costs some tens of kilobytes.
const MOST_CONNECTIONS: usize = 1024;

/// Pause after a failed accept: the process has no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The kernel asks a silent client after this time whether it is still there, and so often until it gives up.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Binds the address.
///
/// # Errors
/// When it is taken, or not this machine's.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let bound = listener.local_addr().context("asking for the address that is listened on")?;
    Ok((listener, bound))
}

/// Serves connections until `closing` says true; then no more are accepted, and the open ones are closed in order.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    server: ApiServer,
    mut closing: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let end = closing.clone();
    let mut stop = std::pin::pin!(closing.wait_for(|closing| *closing));
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (stream, permit) = accept(&listener, &permits) => {
                connections.spawn(connection::serve(stream, permit, acceptor.clone(), server.clone(), end.clone()));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits for room, then for a client.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await.and_then(|(stream, _)| prepare(stream)) {
            Ok(stream) => return (stream, permit),
            Err(error) => {
                tracing::warn!("connection not accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(&stream, KEEP_ALIVE)?;
    Ok(stream)
}
