//! Exec, attach and port-forward: requests whose connection is upgraded to carry streams.
//!
//! ```text
//! request -> upgrade: which protocol -> node: the session -> 101
//!         -> websocket + channels, or spdy (in a websocket, for port-forward) -> command, forward -> outlet
//! ```
//!
//! The node is asked before the upgrade, so that what it refuses is an ordinary answer. Every queue between client and
//! process is bounded: who is slow makes the other wait.

mod channels;
mod command;
mod forward;
mod options;
mod outlet;
mod spdy;
mod upgrade;
mod websocket;

use std::sync::Arc;

use apimachinery::status::ApiError;
use http::Method;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use self::command::{Action, Command};
use self::forward::Forward;
use self::upgrade::Offer;
use super::answer::Answer;
use super::resource::Call;
use super::service::Shared;
use crate::registry::Place;
use crate::registry::connect::{Target, choose_container};

/// `pods/exec`: runs a command in a container.
pub(crate) async fn exec(shared: &Shared, call: &Call, place: Place<'_>) -> Result<Answer, ApiError> {
    remote_command(shared, call, place, Action::Exec).await
}

/// `pods/attach`: joins the streams of a container.
pub(crate) async fn attach(shared: &Shared, call: &Call, place: Place<'_>) -> Result<Answer, ApiError> {
    remote_command(shared, call, place, Action::Attach).await
}

async fn remote_command(shared: &Shared, call: &Call, place: Place<'_>, action: Action) -> Result<Answer, ApiError> {
    let target = target(shared, call, place)?;
    let container = choose_container(place.name, target.object.value(), call.query.text("container"))?;
    let (protocol, answer, opening) = match Opening::agree(shared, call, upgrade::COMMAND)? {
        Ok(agreed) => agreed,
        Err(refusal) => return Ok(refusal),
    };
    let options = options::session(&call.query, container)?;
    let session = match action {
        Action::Exec => target.proxy.exec(target.pod, options::command(&call.query)?, options.clone()).await?,
        Action::Attach => target.proxy.attach(target.pod, options.clone()).await?,
    };
    opening.spawn(move |io| Command { action, protocol, options, session }.serve(io));
    Ok(answer)
}

/// `pods/portforward`: connects to ports of a pod.
pub(crate) fn port_forward(shared: &Shared, call: &Call, place: Place<'_>) -> Result<Answer, ApiError> {
    let Target { proxy, pod, .. } = target(shared, call, place)?;
    let (protocol, answer, opening) = match Opening::agree(shared, call, upgrade::FORWARD)? {
        Ok(agreed) => agreed,
        Err(refusal) => return Ok(refusal),
    };
    let ports = options::ports(&call.query, protocol)?;
    opening.spawn(move |io| Forward { proxy, pod }.serve(io, protocol, ports));
    Ok(answer)
}

fn target(shared: &Shared, call: &Call, place: Place<'_>) -> Result<Target, ApiError> {
    if !matches!(call.method, Method::GET | Method::POST) {
        return Err(ApiError::method_not_allowed_on_path());
    }
    shared.registry.target(place)
}

/// A connection that is about to be upgraded, and its right to be served.
struct Opening {
    upgrade: OnUpgrade,
    permit: OwnedSemaphorePermit,
}

impl Opening {
    /// Agrees on a protocol; the inner error is a ready refusal.
    fn agree(
        shared: &Shared,
        call: &Call,
        offer: Offer,
    ) -> Result<Result<(upgrade::Protocol, Answer, Self), Answer>, ApiError> {
        let (protocol, answer) = match upgrade::agree(&call.headers, offer)? {
            Ok(agreed) => agreed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let upgrade =
            call.upgrade.clone().ok_or_else(|| ApiError::bad_request("this connection cannot be upgraded"))?;
        let permit = Arc::clone(&shared.sessions)
            .try_acquire_owned()
            .map_err(|_| ApiError::too_many_requests("too many streaming connections, please try again later", 1))?;
        Ok(Ok((protocol, answer, Self { upgrade, permit })))
    }

    /// Serves the connection once the answer has been sent.
    fn spawn<F>(self, serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        tokio::spawn(async move {
            match self.upgrade.await {
                Ok(upgraded) => serve(TokioIo::new(upgraded)).await,
                Err(error) => tracing::debug!(%error, "a client went away before its connection was upgraded"),
            }
            drop(self.permit);
        });
    }
}
