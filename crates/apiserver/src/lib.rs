//! The Kubernetes API server: HTTP, admission, versioned store with watch, subresources.
//!
//! ```text
//! request -> http: path, query, body -> registry: decode, default, admit, validate -> store: commit
//!         -> watchers: the same event for all, filtered by each
//! ```
//!
//! [`ApiServer::service`] is a [`tower::Service`] on which a `kube::Client` can be built directly: no
//! socket, no TLS, and the same answers that a listener would give.

mod auth;
mod error;
mod http;
mod node_proxy;
mod registry;
mod render;
mod rules;
mod server;
mod store;

pub use auth::{TokenKey, TokenKeyError};
pub use http::body::{BoxError, ResponseBody};
pub use http::service::{ApiService, CertificateIdentity};
pub use node_proxy::{
    Connection, Input, LogOptions, LogStream, NodeProxy, Output, PodReference, Session, SessionEnd, SessionOptions,
    TerminalSize,
};
pub use registry::Clock;
pub use server::{ApiServer, Options};
pub use store::{OpenError, StoreFailure};
