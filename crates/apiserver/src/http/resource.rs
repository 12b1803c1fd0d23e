//! Requests on resources: from method and path to a verb, and from its outcome to a response.

use std::sync::Arc;

use apimachinery::prepare::Subresource;
use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::{self, ApiError};
use bytes::Bytes;
use futures::StreamExt;
use http::header::ACCEPT;
use http::{HeaderMap, Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::body::{BoxError, ResponseBody};
use super::guarded;
use super::input::{self, PatchBody};
use super::path::ResourcePath;
use super::query::{ListOptions, Query};
use super::service::Shared;
use super::stream;
use crate::auth::User;
use crate::auth::reviews::{self, Asker, Review};
use crate::registry::delete::{DeleteOptions, Deleted};
use crate::registry::selection::Selection;
use crate::registry::update::Part;
use crate::registry::{Place, Written, meta, strategy};
use crate::render::{Render, View};
use crate::rules;

/// A request on a resource.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
    /// Becomes the connection, if the answer is that its protocol changes.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// Who sends it; may do what the verb says.
    pub(crate) user: User,
}

impl Call {
    /// # Errors
    /// The client accepts nothing that can be served.
    fn render(&self) -> Result<Render, ApiError> {
        let accept = self.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        Render::from_accept(accept, self.query.first("includeObject"))
    }

    fn view(&self, shared: &Shared, kind: &'static ResourceType) -> Result<View, ApiError> {
        Ok(View { render: self.render()?, kind, now: shared.registry.now() })
    }
}

/// Answers a request on a resource.
pub(crate) async fn respond(shared: &Arc<Shared>, call: Call) -> Result<Answer, ApiError> {
    let path = &call.path;
    if path.watch && (call.method != Method::GET || path.subresource.is_some()) {
        // What was asked for is a watch, and only that is allowed.
        return Err(ApiError::method_not_allowed_on_path());
    }
    if let Some(review) = reviews::lookup(&path.group, &path.version, &path.resource) {
        return on_review(shared, &call, review);
    }
    let kind = rules::lookup(&path.group, &path.version, &path.resource).ok_or_else(ApiError::unknown_path)?;
    let place = Place {
        kind,
        namespace: path.namespace.as_deref().unwrap_or_default(),
        name: path.name.as_deref().unwrap_or_default(),
    };
    let needs_namespace = kind.namespaced && path.name.is_some();
    if (needs_namespace && path.namespace.is_none()) || (!kind.namespaced && path.namespace.is_some()) {
        return Err(ApiError::unknown_path());
    }
    match (&path.name, path.subresource.as_deref()) {
        (None, _) => on_collection(shared, &call, place),
        (Some(_), None) if path.watch => read_collection(shared, &call, place, call.view(shared, kind)?),
        (Some(_), None) => on_object(shared, &call, place, Part::Of(Subresource::None)),
        (Some(_), Some("status")) if kind.has_status => on_object(shared, &call, place, Part::Of(Subresource::Status)),
        (Some(_), Some("finalize")) if strategy::is_namespace(kind) => on_object(shared, &call, place, Part::Finalize),
        (Some(_), Some("scale")) if strategy::has_scale(kind) => on_scale(shared, &call, place),
        (Some(_), Some("token")) if kind.kind == "ServiceAccount" => on_token(shared, &call, place),
        (Some(_), Some(subresource)) if strategy::is_pod(kind) => on_pod(shared, &call, place, subresource).await,
        (Some(_), Some(_)) => Err(ApiError::unknown_path()),
    }
}

fn on_collection(shared: &Arc<Shared>, call: &Call, place: Place<'_>) -> Result<Answer, ApiError> {
    let view = call.view(shared, place.kind)?;
    let everywhere = place.kind.namespaced && place.namespace.is_empty();
    match call.method {
        Method::GET => read_collection(shared, call, place, view),
        Method::POST if !everywhere => {
            let options = input::write_options(&call.query, &call.headers)?;
            let body = input::object(&call.headers, &call.body)?;
            let create = |body, options: &_| shared.registry.create(place.kind, place.namespace, body, options);
            let part = Part::Of(Subresource::None);
            let written = guarded::write(shared, (&call.user, place, part), options, body, create)?;
            Ok(written_answer(&written, view))
        }
        Method::DELETE if !everywhere => delete_collection(shared, call, place, view),
        _ => Err(ApiError::method_not_allowed_on_path()),
    }
}

fn read_collection(shared: &Arc<Shared>, call: &Call, place: Place<'_>, view: View) -> Result<Answer, ApiError> {
    let mut options = ListOptions::from_query(&call.query)?;
    options.watch |= call.path.watch;
    let selection = Selection::parse(place, &options.label_selector, &options.field_selector)?;
    if !options.watch {
        return Ok(answer::json(StatusCode::OK, shared.registry.list(&selection, &options, view)?));
    }
    let permit = Arc::clone(&shared.watches)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many watches, please try again later", 1))?;
    let stream = shared.registry.watch(selection, &options, view.render, permit)?;
    Ok(answer::typed(StatusCode::OK, "application/json", ResponseBody::stream(stream)))
}

fn delete_collection(shared: &Arc<Shared>, call: &Call, place: Place<'_>, view: View) -> Result<Answer, ApiError> {
    let list = ListOptions::from_query(&call.query)?;
    let selection = Selection::parse(place, &list.label_selector, &list.field_selector)?;
    let options = input::delete_options(&call.headers, &call.query, &call.body)?;
    let deleted = shared.registry.delete_collection(&selection, &options)?;
    let metadata = json!({"resourceVersion": shared.registry.store.revision().to_string()});
    Ok(answer::json(StatusCode::OK, view.list(&metadata, &deleted)))
}

fn on_object(shared: &Arc<Shared>, call: &Call, place: Place<'_>, part: Part) -> Result<Answer, ApiError> {
    let registry = &shared.registry;
    let view = call.view(shared, place.kind)?;
    match call.method {
        Method::GET if part != Part::Finalize => {
            let object = registry.get(place)?;
            Ok(answer::json(StatusCode::OK, view.object(&object)))
        }
        Method::PUT => {
            let options = input::write_options(&call.query, &call.headers)?;
            let body = input::object(&call.headers, &call.body)?;
            if strategy::creates_on_update(place.kind) {
                guarded::check_create(shared, &call.user, place)?;
            }
            let update = |body, options: &_| registry.update(place, part, body, options);
            Ok(written_answer(&guarded::write(shared, (&call.user, place, part), options, body, update)?, view))
        }
        Method::PATCH if part != Part::Finalize => {
            let options = input::write_options(&call.query, &call.headers)?;
            let who = (&call.user, place, part);
            let written = match input::patch(&call.headers, &call.body)? {
                PatchBody::Patch(patch) => guarded::write(shared, who, options, &patch, |patch, options| {
                    registry.patch(place, part, patch, options)
                })?,
                PatchBody::Apply(applied) => {
                    guarded::check_create(shared, &call.user, place)?;
                    guarded::write(shared, who, options, &applied, |applied, options| {
                        registry.apply(place, part, applied, options)
                    })?
                }
            };
            Ok(written_answer(&written, view))
        }
        Method::DELETE if part == Part::Of(Subresource::None) => {
            let options = input::delete_options(&call.headers, &call.query, &call.body)?;
            Ok(deleted_answer(place, &registry.delete(place, &options)?, view))
        }
        _ => Err(ApiError::method_not_allowed_on_path()),
    }
}

fn on_scale(shared: &Arc<Shared>, call: &Call, place: Place<'_>) -> Result<Answer, ApiError> {
    let registry = &shared.registry;
    let view = call.view(shared, &scheme::SCALE)?;
    match call.method {
        Method::GET => Ok(answer::json(StatusCode::OK, view.object(&*registry.scale(place)?))),
        Method::PUT => {
            let options = input::write_options(&call.query, &call.headers)?;
            let body = input::object(&call.headers, &call.body)?;
            Ok(written_answer(&registry.update_scale(place, &body, &options)?, view))
        }
        Method::PATCH => {
            let options = input::write_options(&call.query, &call.headers)?;
            match input::patch(&call.headers, &call.body)? {
                PatchBody::Patch(patch) => Ok(written_answer(&registry.patch_scale(place, &patch, &options)?, view)),
                PatchBody::Apply(_) => Err(input::unknown_patch()),
            }
        }
        _ => Err(ApiError::method_not_allowed_on_path()),
    }
}

fn written_answer(written: &Written, view: View) -> Answer {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    answer::with_warnings(answer::json(code, view.object(&written.object)), &written.warnings)
}

fn deleted_answer(place: Place<'_>, deleted: &Deleted, view: View) -> Answer {
    match deleted {
        Deleted::Gone(object) if !strategy::returns_deleted_object(place.kind) => {
            answer::value(StatusCode::OK, &status::success(place.kind, place.name, meta::uid(object.value())))
        }
        Deleted::Gone(object) | Deleted::Pending(object) => answer::json(StatusCode::OK, view.object(object)),
    }
}

async fn on_pod(shared: &Arc<Shared>, call: &Call, place: Place<'_>, subresource: &str) -> Result<Answer, ApiError> {
    match (subresource, &call.method) {
        ("log", &Method::GET) => logs(shared, call, place).await,
        ("exec", _) => stream::exec(shared, call, place).await,
        ("attach", _) => stream::attach(shared, call, place).await,
        ("portforward", _) => stream::port_forward(shared, call, place),
        ("binding", &Method::POST) => {
            let body = input::object(&call.headers, &call.body)?.value;
            check_kind(&body, "v1", "Binding")?;
            shared.registry.bind(place, &body, input::write_options(&call.query, &call.headers)?.dry_run)?;
            Ok(success())
        }
        ("eviction", &Method::POST) => {
            let body = input::object(&call.headers, &call.body)?.value;
            check_kind(&body, "policy/v1", "Eviction")?;
            shared.registry.evict(place, &eviction_options(&body, call)?)?;
            Ok(success())
        }
        ("ephemeralcontainers", _) => on_object(shared, call, place, Part::Of(Subresource::EphemeralContainers)),
        ("resize", _) => on_object(shared, call, place, Part::Of(Subresource::Resize)),
        ("log" | "binding" | "eviction", _) => Err(ApiError::method_not_allowed_on_path()),
        _ => Err(ApiError::unknown_path()),
    }
}

/// Answers a question about access.
fn on_review(shared: &Shared, call: &Call, review: &Review) -> Result<Answer, ApiError> {
    let path = &call.path;
    if path.name.is_some() || path.namespace.is_some() != review.resource.namespaced {
        return Err(ApiError::unknown_path());
    }
    if call.method != Method::POST {
        return Err(ApiError::method_not_allowed_on_path());
    }
    let asker = Asker {
        auth: &shared.auth,
        registry: &shared.registry,
        user: &call.user,
        namespace: path.namespace.as_deref().unwrap_or_default(),
    };
    let body = input::object(&call.headers, &call.body)?.value;
    check_kind(&body, review.resource.api_version, review.resource.kind)?;
    Ok(answer::value(StatusCode::CREATED, &review.answer(asker, body)?))
}

/// Answers a TokenRequest.
fn on_token(shared: &Shared, call: &Call, place: Place<'_>) -> Result<Answer, ApiError> {
    if call.method != Method::POST {
        return Err(ApiError::method_not_allowed_on_path());
    }
    let body = input::object(&call.headers, &call.body)?.value;
    check_kind(&body, "authentication.k8s.io/v1", "TokenRequest")?;
    Ok(answer::value(StatusCode::CREATED, &shared.auth.issue_token(&shared.registry, place, &body)?))
}

fn eviction_options(body: &Value, call: &Call) -> Result<DeleteOptions, ApiError> {
    let given = &body["deleteOptions"];
    let mut options = if given.is_null() { DeleteOptions::default() } else { input::options_from_value(given)? };
    options.dry_run |= input::write_options(&call.query, &call.headers)?.dry_run;
    Ok(options)
}

fn check_kind(body: &Value, api_version: &str, kind: &str) -> Result<(), ApiError> {
    let matches = |field: &str, want: &str| body[field].as_str().is_none_or(|given| given == want);
    if body.is_object() && matches("apiVersion", api_version) && matches("kind", kind) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("the body must be a {kind} of {api_version}")))
}

/// What a subresource without a result of its own answers.
fn success() -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    answer::value(StatusCode::CREATED, &status)
}

async fn logs(shared: &Arc<Shared>, call: &Call, place: Place<'_>) -> Result<Answer, ApiError> {
    let body = match shared.registry.logs(place, &call.query).await? {
        None => ResponseBody::full(Bytes::new()),
        Some(stream) => ResponseBody::stream(stream.0.map(|piece| piece.map_err(BoxError::from))),
    };
    Ok(answer::typed(StatusCode::OK, "text/plain", body))
}
