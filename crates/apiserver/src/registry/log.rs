//! `pods/log`: which container, from which node.

use apimachinery::status::ApiError;
use jiff::Timestamp;

use super::connect::{choose_container, reference};
use super::{Place, Registry, meta};
use crate::http::query::Query;
use crate::node_proxy::{LogOptions, LogStream};

impl Registry {
    /// Opens the log of a pod's container; `None` if no node has the pod yet.
    pub(crate) async fn logs(&self, place: Place<'_>, query: &Query) -> Result<Option<LogStream>, ApiError> {
        let pod = self.get(place)?;
        let mut options = log_options(query, self.now())?;
        options.container = choose_container(place.name, pod.value(), query.text("container"))?;
        if pod.value()["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
            return Ok(None);
        }
        let Some(proxy) = self.node_proxy() else {
            return Err(ApiError::service_unavailable("no node agent serves logs"));
        };
        proxy.logs(reference(place, pod.value()), options).await.map(Some)
    }
}

fn log_options(query: &Query, now: Timestamp) -> Result<LogOptions, ApiError> {
    let natural = |key: &str, least: i64| match query.integer(key)? {
        Some(number) if number < least => {
            let text = format!("must be greater than or equal to {least}");
            Err(invalid(key, &number.to_string(), &text))
        }
        number => Ok(number.and_then(|number| u64::try_from(number).ok())),
    };
    let time = match query.text("sinceTime") {
        Some(text) => Some(apimachinery::time::parse(text).ok_or_else(|| invalid("sinceTime", text, "not a time"))?),
        None => None,
    };
    let seconds = natural("sinceSeconds", 1)?;
    if time.is_some() && seconds.is_some() {
        return Err(invalid("sinceSeconds", "", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    let ago = |seconds: u64| meta::later(now, i64::try_from(seconds).unwrap_or(i64::MAX).saturating_neg());
    Ok(LogOptions {
        container: String::new(),
        follow: query.flag("follow").unwrap_or_default(),
        previous: query.flag("previous").unwrap_or_default(),
        since: time.or_else(|| seconds.map(ago)),
        tail_lines: natural("tailLines", 0)?,
        timestamps: query.flag("timestamps").unwrap_or_default(),
        limit_bytes: natural("limitBytes", 1)?,
    })
}

fn invalid(field: &str, value: &str, detail: &str) -> ApiError {
    let message = format!("PodLogOptions \"\" is invalid: {field}: Invalid value: {value}: {detail}");
    ApiError::plain(422, "Invalid", message)
}
