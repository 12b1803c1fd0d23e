//! The server as others see it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::http::service::{ApiService, CertificateIdentity, Origin, Shared};
use crate::node_proxy::NodeProxy;
use crate::registry::{Clock, Registry};
use crate::store::{CompactionLimits, DataDir, HistoryLimits, OpenError, Store, StoreFailure};

/// How a server is set up.
#[derive(Clone)]
pub struct Options {
    /// The way to the node agents; can be given later with [`ApiServer::set_node_proxy`].
    pub node_proxy: Option<Arc<dyn NodeProxy>>,
    /// Tells the time for time stamps and grace periods.
    pub clock: Clock,
    /// How many changes of one resource are kept for watchers that come later.
    pub history: usize,
    /// How many watches can be open at once.
    pub watches: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_proxy: None,
            clock: Arc::new(Timestamp::now),
            history: HistoryLimits::default().most,
            watches: MOST_WATCHES,
        }
    }
}

impl Options {
    fn history_limits(&self) -> HistoryLimits {
        HistoryLimits { most: self.history, ..HistoryLimits::default() }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("node_proxy", &self.node_proxy.is_some())
            .field("history", &self.history)
            .field("watches", &self.watches)
            .finish_non_exhaustive()
    }
}

/// A Kubernetes API server inside this process. Clones share their objects.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use apiserver::{ApiServer, Options};
/// let server = ApiServer::in_memory(Options::default());
/// let client = kube::Client::new(server.service(), "default");
/// assert_eq!(client.apiserver_version().await.unwrap().minor, "36");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

impl ApiServer {
    /// A server whose objects live as long as it does, with the namespaces of a new cluster.
    pub fn in_memory(options: Options) -> Self {
        let store = Store::new(options.history_limits());
        Self::with_store(store, options)
    }

    /// A server whose objects are kept in a directory, which is made if it is not there.
    ///
    /// Nothing that a client is told is lost, even if the machine loses power. Versions of objects go on from
    /// where they were; watches that go on from a version of before are told that it is too old. Blocks while the
    /// directory is read.
    ///
    /// # Errors
    /// Another server uses the directory, or it holds something that cannot be read whole; the error says what to
    /// do.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let disk = Arc::new(DataDir::open(dir)?);
        let store = Store::open(disk, options.history_limits(), CompactionLimits::default())?;
        Ok(Self::with_store(store, options))
    }

    fn with_store(store: Store, options: Options) -> Self {
        let registry = Registry::new(store, options.clock, options.node_proxy);
        registry.resume();
        Self { shared: Arc::new(Shared { registry, watches: Arc::new(Semaphore::new(options.watches)) }) }
    }

    /// Returns when a write did not reach the disk, or the server was closed. From then on every request fails, and
    /// nothing is left but to end the process and start it again. Never returns for a server in memory.
    pub async fn store_failed(&self) -> StoreFailure {
        self.shared.registry.store.failed().await
    }

    /// Answers no more requests, and gives the directory back. Blocks until the disk has everything; without it,
    /// the last clone of the server and of its services does so when it goes. Does nothing to a server in memory.
    pub fn close(&self) {
        self.shared.registry.store.close();
    }

    /// The HTTP face of the server for parts of this process, which may do everything.
    pub fn service(&self) -> ApiService {
        ApiService { shared: Arc::clone(&self.shared), origin: Origin::Internal }
    }

    /// The HTTP face of the server for one connection of a listener.
    ///
    /// `certificate` is who the client is by the certificate that the listener has verified, if it gave one.
    pub fn service_for(&self, certificate: Option<CertificateIdentity>) -> ApiService {
        ApiService { shared: Arc::clone(&self.shared), origin: Origin::Remote(certificate.map(Arc::new)) }
    }

    /// Tells the server how to reach the node agents.
    pub fn set_node_proxy(&self, proxy: Arc<dyn NodeProxy>) {
        self.shared.registry.set_node_proxy(proxy);
    }
}

/// Each costs a few kilobytes.
const MOST_WATCHES: usize = 16_384;
