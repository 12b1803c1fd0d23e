//! Streams the output of containers, line by line, each with the name of its container.

use futures::{AsyncBufReadExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::LogParams};
use tokio::sync::mpsc;

/// Lines that may wait for a slow terminal before containers' readers wait too.
pub(crate) const BACKLOG: usize = 1024;

/// Which container to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    /// The instance before the present one.
    pub(crate) previous: bool,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) text: String,
}

/// Follows one instance of a container until it ends or nobody wants its lines any more.
///
/// A stream that breaks is given up: the log itself is unharmed, and the timeline shows what happened.
pub(crate) async fn follow(client: Client, source: Source, lines: mpsc::Sender<Line>) {
    let pods: Api<Pod> = Api::namespaced(client, &source.namespace);
    let params = LogParams {
        container: Some(source.container.clone()),
        follow: !source.previous,
        previous: source.previous,
        ..LogParams::default()
    };
    let stream = match pods.log_stream(&source.pod, &params).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, ?source, "cannot follow the log");
            return;
        }
    };
    let mut texts = stream.lines();
    while let Some(Ok(text)) = texts.next().await {
        let line = Line { pod: source.pod.clone(), container: source.container.clone(), text };
        if lines.send(line).await.is_err() {
            return;
        }
    }
}
