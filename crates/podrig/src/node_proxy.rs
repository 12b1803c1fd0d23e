//! How the API server reaches the node agent of this process.

use std::{pin::Pin, sync::Arc};

use apimachinery::status::ApiError;
use apiserver::{
    Connection, LogOptions, LogStream, NodeProxy, PodReference, Session, SessionEnd, SessionOptions, TerminalSize,
};
use futures::{StreamExt as _, future::BoxFuture};
use kubelet::{Kubelet, PodName, SessionError, logs::LogError};
use runtime::Runtime;
use tokio::sync::mpsc;

/// Sizes of a terminal that may wait; only the last one counts, and setting it takes no time.
const SIZES: usize = 4;

/// Answers the API server's requests from the node agent.
pub(crate) struct LocalNode(pub(crate) Arc<Kubelet<Runtime>>);

impl NodeProxy for LocalNode {
    fn logs(&self, pod: PodReference, options: LogOptions) -> BoxFuture<'static, Result<LogStream, ApiError>> {
        let kubelet = Arc::clone(&self.0);
        Box::pin(async move {
            let wanted = kubelet::logs::LogOptions {
                follow: options.follow,
                previous: options.previous,
                since: options.since,
                tail_lines: options.tail_lines,
                timestamps: options.timestamps,
                limit_bytes: options.limit_bytes,
            };
            match kubelet.container_logs(&pod.namespace, &pod.name, &options.container, wanted).await {
                Ok(stream) => Ok(LogStream(stream.boxed())),
                Err(LogError::NotFound(message)) => Err(ApiError::plain(404, "NotFound", message)),
                Err(LogError::BadRequest(message)) => Err(ApiError::bad_request(message)),
                Err(LogError::Internal(message)) => Err(ApiError::internal(message)),
            }
        })
    }

    fn exec(
        &self,
        pod: PodReference,
        command: Vec<String>,
        options: SessionOptions,
    ) -> BoxFuture<'static, Result<Session, ApiError>> {
        let kubelet = Arc::clone(&self.0);
        Box::pin(async move {
            let wanted = cri::ExecSession { command, streams: streams(&options), tty: options.tty };
            let session = kubelet.exec(&pod_name(pod), &options.container, wanted).await.map_err(refused)?;
            Ok(hand_on(session))
        })
    }

    fn attach(&self, pod: PodReference, options: SessionOptions) -> BoxFuture<'static, Result<Session, ApiError>> {
        let kubelet = Arc::clone(&self.0);
        Box::pin(async move {
            let session = kubelet.attach(&pod_name(pod), &options.container, streams(&options)).await;
            let mut session = hand_on(session.map_err(refused)?);
            let end = session.end;
            // The container's exit code is no matter of the attachment.
            session.end = Box::pin(async { end.await.map(|_| SessionEnd::Detached) });
            Ok(session)
        })
    }

    fn port_forward(
        &self,
        pod: PodReference,
        port: u16,
    ) -> BoxFuture<'static, Result<Pin<Box<dyn Connection>>, ApiError>> {
        let kubelet = Arc::clone(&self.0);
        Box::pin(async move {
            let connection = kubelet.port_forward(&pod_name(pod), port).await.map_err(refused)?;
            Ok(Box::pin(connection) as Pin<Box<dyn Connection>>)
        })
    }
}

fn pod_name(pod: PodReference) -> PodName {
    PodName { namespace: pod.namespace, name: pod.name, uid: pod.uid }
}

fn streams(options: &SessionOptions) -> cri::Streams {
    cri::Streams { stdin: options.stdin, stdout: options.stdout, stderr: options.stderr }
}

/// Turns a session of the node agent into one of the API server.
fn hand_on(session: cri::Session) -> Session {
    let end = session.end;
    Session {
        stdin: session.stdin,
        stdout: session.stdout,
        stderr: session.stderr,
        resize: session.resize.map(|resize| {
            let (sender, mut sizes) = mpsc::channel::<TerminalSize>(SIZES);
            // Ends when the session, which has the sender, is dropped.
            tokio::spawn(async move {
                while let Some(TerminalSize { width, height }) = sizes.recv().await {
                    resize(cri::TerminalSize { width, height });
                }
            });
            sender
        }),
        end: Box::pin(async move {
            match end.await {
                Ok(cri::SessionEnd::Exited(code)) => Ok(SessionEnd::Exited(code)),
                Ok(cri::SessionEnd::Detached) => Ok(SessionEnd::Detached),
                Err(error) => Err(ApiError::plain(500, "InternalError", error.to_string())),
            }
        }),
    }
}

/// Gives an error the code of the kubelet's HTTP answer; the message is its body.
fn refused(error: SessionError) -> ApiError {
    match error {
        SessionError::NotFound(message) => ApiError::plain(404, "NotFound", message),
        SessionError::BadRequest(message) => ApiError::bad_request(message),
        SessionError::Internal(message) => ApiError::plain(500, "InternalError", message),
    }
}
