//! The server as others see it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::auth::{Auth, TokenKey};
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
    /// What tokens of service accounts are signed with. Tokens live no longer than it does; if none, a key is made
    /// that lives as long as the server.
    pub token_key: Option<Arc<TokenKey>>,
    /// Certificates (PEM) by which pods can know the listener; every namespace gets them in the ConfigMap
    /// `kube-root-ca.crt`.
    pub root_ca: String,
    /// Where the listener is, as clients see it: what the OpenID configuration tells those who check tokens.
    pub advertise_address: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_proxy: None,
            clock: Arc::new(Timestamp::now),
            history: HistoryLimits::default().most,
            watches: MOST_WATCHES,
            token_key: None,
            root_ca: String::new(),
            advertise_address: None,
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

    pub(crate) fn with_store(store: Store, options: Options) -> Self {
        let auth = Auth::new(&options);
        let registry = Registry::new(store, options.clock, options.node_proxy).with_root_ca(options.root_ca);
        registry.resume();
        let watches = Arc::new(Semaphore::new(options.watches));
        let sessions = Arc::new(Semaphore::new(MOST_SESSIONS));
        Self { shared: Arc::new(Shared { registry, auth, watches, sessions }) }
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
        ApiService { shared: Arc::clone(&self.shared), origin: Origin::Internal, agent: None }
    }

    /// The HTTP face of the server for one connection of a listener.
    ///
    /// `certificate` is who the client is by the certificate that the listener has verified, if it gave one.
    pub fn service_for(&self, certificate: Option<CertificateIdentity>) -> ApiService {
        ApiService { shared: Arc::clone(&self.shared), origin: Origin::Remote(certificate.map(Arc::new)), agent: None }
    }

    /// Tells the server how to reach the node agents.
    pub fn set_node_proxy(&self, proxy: Arc<dyn NodeProxy>) {
        self.shared.registry.set_node_proxy(proxy);
    }
}

/// Each costs a few kilobytes.
const MOST_WATCHES: usize = 16_384;

/// Execs, attaches and port-forwards at once: each connection in them holds half a megabyte at most while it is busy.
const MOST_SESSIONS: usize = 1024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::http::body::ResponseBody;
    use crate::store::sim::SimDisk;

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    async fn server(disk: &SimDisk) -> ApiServer {
        let store = Store::open(Arc::new(disk.clone()), HistoryLimits::default(), CompactionLimits::default());
        let server = ApiServer::with_store(store.expect("open"), Options::default());
        send(&server, "GET", "/version", "").await;
        server
    }

    async fn send(server: &ApiServer, method: &str, path: &str, body: &str) -> Response<ResponseBody> {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("request");
        server.service().oneshot(request).await.expect("infallible")
    }

    #[tokio::test]
    async fn no_request_is_answered_before_the_disk_has_what_it_may_have_read() {
        let disk = SimDisk::default();
        let server = server(&disk).await;
        disk.hold_syncs(true);
        let map = json!({"metadata": {"name": "a"}}).to_string();
        let one = format!("{MAPS}/a");
        let watch = format!("{MAPS}?watch=true");
        let requests = [
            ("POST", MAPS, map.as_str(), 201),
            ("POST", MAPS, map.as_str(), 409),
            ("GET", &one, "", 200),
            ("GET", MAPS, "", 200),
            ("GET", &watch, "", 200),
            ("GET", "/api/v1/namespaces/default/configmaps/none", "", 404),
        ];
        let mut waiting: Vec<_> =
            requests.iter().map(|(method, path, body, _)| Box::pin(send(&server, method, path, body))).collect();
        for answer in &mut waiting {
            assert!(answer.now_or_never().is_none());
        }
        disk.hold_syncs(false);
        for (answer, (method, path, _, code)) in waiting.into_iter().zip(requests) {
            assert_eq!(answer.await.status(), code, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn every_request_fails_once_a_write_did_not_reach_the_disk() {
        let disk = SimDisk::default();
        let server = server(&disk).await;
        disk.fail_syncs();
        let map = json!({"metadata": {"name": "a"}}).to_string();
        for (method, path, body) in [("POST", MAPS, map.as_str()), ("GET", MAPS, ""), ("GET", "/readyz", "")] {
            let answer = send(&server, method, path, body).await;
            assert_eq!(answer.status(), 500, "{method} {path}");
            let body = answer.into_body().collect().await.expect("body").to_bytes();
            let status: Value = serde_json::from_slice(&body).expect("status");
            let told = status["message"].as_str().expect("message");
            assert!(told.starts_with("Internal error occurred: the store takes no more: writing /data/"), "{told}");
            assert!(told.ends_with(": the disk is sick; start the server again"), "{told}");
        }
        server.store_failed().await;
    }
}
