//! The entry: one request in, one response out.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use apimachinery::status::ApiError;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::answer::{self, Answer};
use super::body::{self, BoxError, MOST_BODY_BYTES, ReadError, ResponseBody};
use super::path::{self, Path};
use super::query::Query;
use super::{info, openapi, resource};
use crate::auth::{self, Auth};
use crate::registry::Registry;
use crate::store::Store;

/// The API server as a [`tower::Service`]: what a `kube::Client` or an HTTP listener is built on.
#[derive(Clone, Debug)]
pub struct ApiService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) origin: Origin,
    pub(crate) agent: Option<&'static str>,
}

impl ApiService {
    /// The same for a client of this name: fields that it writes belong to it unless its requests say otherwise.
    #[must_use]
    pub fn named(self, agent: &'static str) -> Self {
        Self { agent: Some(agent), ..self }
    }
}

/// Where requests come from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A part of this process.
    Internal,
    /// A connection, with what its certificate says.
    Remote(Option<Arc<CertificateIdentity>>),
}

/// Who a client is by its verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The subject's common name.
    pub name: String,
    /// The subject's organisations.
    pub groups: Vec<String>,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) auth: Auth,
    pub(crate) watches: Arc<Semaphore>,
    /// Execs, attaches and port-forwards.
    pub(crate) sessions: Arc<Semaphore>,
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(agent) = self.agent {
            request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
        }
        let (shared, origin) = (Arc::clone(&self.shared), self.origin.clone());
        async move {
            let result = settled(&shared.registry.store, respond(&shared, &origin, request)).await;
            Ok(result.unwrap_or_else(|error| answer::error(&error)))
        }
        .boxed()
    }
}

/// Lets an answer go when everything that it may have read or written is on disk. A refusal tells of what
/// was read, too.
async fn settled(store: &Store, answer: impl Future<Output = Result<Answer, ApiError>>) -> Result<Answer, ApiError> {
    store.check().map_err(ApiError::internal)?;
    let answer = answer.await;
    store.settled().await.map_err(ApiError::internal)?;
    answer
}

async fn respond<B>(shared: &Arc<Shared>, origin: &Origin, request: Request<B>) -> Result<Answer, ApiError>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let uri = parts.uri.path_and_query().map_or(0, |text| text.as_str().len());
    if uri > MOST_URI_BYTES {
        return Err(ApiError::plain(414, "", "the request URI is too long"));
    }
    let path = path::parse(parts.uri.path());
    let query = Query::parse(parts.uri.query())?;
    let wanted = auth::wanted(&parts.method, parts.uri.path(), path.as_ref(), &query);
    let user = shared.auth.admit(&shared.registry, origin, &parts.headers, &wanted)?;
    let Some(path) = path else { return Err(ApiError::unknown_path()) };
    let body = body::read(body).await.map_err(|error| unread(&error))?;
    match path {
        Path::Resource(path) => {
            let Parts { method, headers, mut extensions, .. } = parts;
            let upgrade = extensions.remove();
            resource::respond(shared, resource::Call { method, headers, path, query, body, upgrade, user }).await
        }
        Path::Other(path) => match path.strip_prefix("/openapi/") {
            Some(path) => openapi::respond(&parts.method, path, &query, &parts.headers),
            None => match shared.auth.openid(&path) {
                Some(document) => openid(&parts.method, document),
                None => info::respond(&parts.method, &path, &query, &parts.headers),
            },
        },
    }
}

fn openid(method: &Method, (media_type, document): (&'static str, Value)) -> Result<Answer, ApiError> {
    if *method != Method::GET {
        return Err(ApiError::method_not_allowed_on_path());
    }
    Ok(answer::typed(StatusCode::OK, media_type, ResponseBody::full(document.to_string())))
}

fn unread(error: &ReadError) -> ApiError {
    match error {
        ReadError::TooLarge => ApiError::too_large(format!("limit is {MOST_BODY_BYTES}")),
        ReadError::Broken(_) => ApiError::bad_request(error.to_string()),
    }
}

/// Long enough for every selector that can be read.
const MOST_URI_BYTES: usize = 128 * 1024;
