//! What the API server asks the node that runs a pod.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;

use apimachinery::status::ApiError;

/// The pod that a request to a node is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReference {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Tells the pod from earlier ones of the same name.
    pub uid: String,
}

/// `PodLogOptions`, with the container already chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container whose output is wanted.
    pub container: String,
    /// Goes on until the container ends.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Lines from this time on.
    pub since: Option<Timestamp>,
    /// Only so many last lines.
    pub tail_lines: Option<u64>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Ends after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Output of a container, in pieces of any size.
pub struct LogStream(pub BoxStream<'static, std::io::Result<Bytes>>);

impl fmt::Debug for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogStream")
    }
}

/// The way from the API server to the node agents.
pub trait NodeProxy: Send + Sync {
    /// Opens the log of a container.
    fn logs(&self, pod: PodReference, options: LogOptions) -> BoxFuture<'static, Result<LogStream, ApiError>>;
}
