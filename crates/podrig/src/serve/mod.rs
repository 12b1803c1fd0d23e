//! A server that lasts: a node with a listener, a certificate authority and a kubeconfig.
//!
//! ```text
//! lock the data directory -> authority -> bind -> node: store, adopt running pods -> kubeconfig -> serve
//! SIGTERM: accept no more -> end watches, finish requests -> stop agent and controllers; pods go on
//! ```

mod body;
mod connection;
mod kubeconfig;
mod listener;
mod notify;
mod pki;
mod subject;
mod token_key;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use pki::{Authority, Names, ServerCertificate};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{Dirs, Instance, Node, NodeOptions, files, output::Screen, run::executor};

/// Name of the administrator, as kubeadm calls it.
const ADMINISTRATOR: &str = "kubernetes-admin";

/// The group that may do everything.
const ADMINISTRATORS: &str = "system:masters";

/// First address of the usual service network, where pods look for the API server.
const SERVICE_IP: [u8; 4] = [10, 96, 0, 1];

/// How long work that was begun may take to end after the node has been stopped.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How a server is to be.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// End the pods before the server ends.
    pub(crate) stop_pods: bool,
    /// Longest crash back-off.
    pub(crate) longest_back_off: Duration,
    /// What pods are evicted and images removed for.
    pub(crate) eviction: kubelet::EvictionOptions,
}

/// A running server.
struct Server {
    node: Node,
    listener: JoinHandle<()>,
    renewal: JoinHandle<()>,
    closing: watch::Sender<bool>,
}

/// Runs a server until it is told to end.
pub(crate) fn serve(dirs: &Dirs, instance: Instance, settings: &Settings, screen: &Screen) -> Result<()> {
    allow_many_files();
    let executor = executor()?;
    let result = executor.block_on(async {
        let mut signals = Signals::new()?;
        let server = Server::start(dirs, &instance, settings, screen).await?;
        notify::notify(notify::READY);
        let failed = tokio::select! {
            () = signals.wait() => None,
            failure = server.node.store_failed() => Some(failure),
        };
        notify::notify(notify::STOPPING);
        tokio::select! {
            ended = server.stop(settings.stop_pods && failed.is_none()) => ended?,
            () = signals.wait() => tracing::warn!("ending at once"),
        }
        match failed {
            Some(failure) => {
                Err(failure).context("keeping objects; the next start goes on from the last that was kept")
            }
            None => Ok(()),
        }
    });
    // Nothing of the node works any more when the instance's lock is given back.
    executor.shutdown_timeout(SHUTDOWN_PATIENCE);
    drop(instance);
    result
}

impl Server {
    async fn start(dirs: &Dirs, instance: &Instance, settings: &Settings, screen: &Screen) -> Result<Self> {
        let authority = Arc::new(Authority::open(&instance.subdirectory("pki")?)?);
        let (socket, address) = listener::bind(settings.listen).await?;
        let certificate = ServerCertificate::issue(&authority, names(address.ip()))?;
        let tls = pki::tls(&authority, Arc::clone(&certificate))?;
        let api = apiserver::Options {
            token_key: Some(Arc::new(token_key::open(&instance.subdirectory("pki")?)?)),
            root_ca: authority.certificate(),
            advertise_address: Some(address),
            ..apiserver::Options::default()
        };
        let (objects, eviction) = (Some(instance.data.join("objects")), settings.eviction.clone());
        let longest_back_off = settings.longest_back_off;
        let options = NodeOptions { objects, longest_back_off, eviction, api, ..NodeOptions::default() };
        let node = Node::start(dirs, instance, options).await?;
        let kubeconfig = instance.data.join("kubeconfig");
        write_kubeconfig(&kubeconfig, &authority, address)?;
        let (closing, closed) = watch::channel(false);
        let listener = tokio::spawn(listener::serve(socket, tls, node.server(), closed));
        let renewal = tokio::spawn(renew(authority, certificate, kubeconfig.clone(), address));
        tracing::info!(%address, "serving");
        screen.result(&format!("export KUBECONFIG={}", kubeconfig.display()));
        Ok(Self { node, listener, renewal, closing })
    }

    /// Ends everything; pods only if told so. Clients can see them end.
    async fn stop(mut self, pods: bool) -> Result<()> {
        let ended = if pods {
            tracing::info!("ending pods");
            self.node.end_pods().await.context("ending pods")
        } else {
            tracing::info!("ending; pods go on");
            Ok(())
        };
        self.closing.send_replace(true);
        self.renewal.abort();
        if timeout(connection::CLOSING_TIME * 2, self.listener).await.is_err() {
            tracing::warn!("connections cut");
        }
        self.node.stop().await;
        ended
    }
}

/// The signals that end a server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn write_kubeconfig(path: &Path, authority: &Authority, address: SocketAddr) -> Result<()> {
    let user = authority.issue_client(ADMINISTRATOR, ADMINISTRATORS)?;
    files::replace(path, kubeconfig::render(kubeconfig::reachable(address), &authority.certificate(), &user).as_bytes())
}

/// Renews the certificates of a server that runs for very long.
async fn renew(authority: Arc<Authority>, server: Arc<ServerCertificate>, kubeconfig: PathBuf, address: SocketAddr) {
    loop {
        sleep(pki::RENEWAL).await;
        let renewed = server.renew(&authority).and_then(|()| write_kubeconfig(&kubeconfig, &authority, address));
        match renewed {
            Ok(()) => tracing::info!("certificates renewed"),
            Err(error) => tracing::error!("certificates not renewed: {error:#}"),
        }
    }
}

/// Lets this process, and what it starts, have as many open files as it may: connections and pods take some each.
/// Container runtimes run with a high limit too, which their containers inherit.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("limit of open files not raised: {error}");
    }
}

/// Returns what clients may call the server, on this machine and in pods.
fn names(listening: IpAddr) -> Names {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let services =
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
    let dns = services.iter().map(|&name| name.to_owned()).chain(["localhost".to_owned(), host]).collect();
    let mut ips = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST), SERVICE_IP.into()];
    if !listening.is_unspecified() && !ips.contains(&listening) {
        ips.push(listening);
    }
    Names { dns, ips }
}
