//! Bodies of requests and answers, with the limits of a listener.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use apiserver::{BoxError, ResponseBody};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::watch,
    time::{Sleep, sleep},
};

use super::connection::OpenRequest;

/// Time for a whole request body; the largest is a few megabytes. Kubernetes gives a request 60 s altogether.
const UPLOAD_TIME: Duration = Duration::from_secs(60);

/// A request body that must arrive in time.
pub(crate) struct Upload {
    inner: Incoming,
    deadline: Pin<Box<Sleep>>,
}

impl Upload {
    pub(crate) fn new(inner: Incoming) -> Self {
        Self { inner, deadline: Box::pin(sleep(UPLOAD_TIME)) }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err("the client sends too slowly".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer. One without a known end (watch, followed log) ends with the server, between two frames, so that
/// clients see a proper end and come again.
pub(crate) struct Answer {
    inner: ResponseBody,
    closing: Option<BoxFuture<'static, ()>>,
    _request: OpenRequest,
}

impl Answer {
    pub(crate) fn new(inner: ResponseBody, mut closing: watch::Receiver<bool>, request: OpenRequest) -> Self {
        let endless = inner.size_hint().exact().is_none();
        let closing = endless.then(|| async move { drop(closing.wait_for(|closing| *closing).await) }.boxed());
        Self { inner, closing, _request: request }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").field(&self.inner).finish()
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        match &mut self.closing {
            Some(closing) => closing.poll_unpin(cx).map(|()| None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
