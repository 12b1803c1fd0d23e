//! Bodies of requests and answers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

/// An error of whatever kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer: complete, or a stream (watch, log) that ends when the reader drops it.
pub struct ResponseBody(Inner);

enum Inner {
    Full(Option<Bytes>),
    Stream(BoxStream<'static, Result<Bytes, BoxError>>),
}

impl ResponseBody {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Inner::Full((!bytes.is_empty()).then_some(bytes)))
    }

    pub(crate) fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(Inner::Stream(stream.boxed()))
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Full(bytes) => f.debug_tuple("Full").field(bytes).finish(),
            Inner::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream(stream) => stream.poll_next_unpin(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
            }
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}

/// Why a request body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Larger than [`MOST_BODY_BYTES`].
    #[error("request body is larger than {MOST_BODY_BYTES} bytes")]
    TooLarge,
    /// The client went away or broke the framing.
    #[error("reading the request body: {0}")]
    Broken(BoxError),
}

/// Reads a whole request body within the limit.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ReadError>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReadError::Broken(error.into()))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > MOST_BODY_BYTES - whole.len() {
            return Err(ReadError::TooLarge);
        }
        whole.put(&mut data);
    }
    Ok(whole.freeze())
}

/// What kube-apiserver reads at most (`DefaultMaxRequestBodyBytes` of its generic config).
pub(crate) const MOST_BODY_BYTES: usize = 3 * 1024 * 1024;
