//! Keeps a cache current: list once, then watch from the list's version, and again after a break.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::cache::Cache;

/// Objects asked for in one list call, so that no answer grows without bound.
const PAGE: u32 = 500;

/// How long one watch call lasts; the server ends it and we go on at the last version.
const WATCH_SECONDS: u32 = 290;

/// Waits between attempts when the server does not answer: doubling from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Keeps `cache` current for as long as it is polled.
///
/// `shrink` drops what nobody reads of an object before it is kept.
pub(crate) async fn reflect<K>(api: Api<K>, cache: Arc<Cache<K>>, shrink: fn(&mut K))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut failures = 0;
    loop {
        match list(&api, &cache, shrink).await {
            Ok(version) => {
                failures = 0;
                follow(&api, &cache, shrink, version).await;
            }
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "listing failed");
                failures += 1;
            }
        }
        pause(failures).await;
    }
}

async fn list<K>(api: &Api<K>, cache: &Cache<K>, shrink: fn(&mut K)) -> kube::Result<String>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + 'static,
{
    let mut params = ListParams::default().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&params).await?;
        objects.extend(page.items);
        if let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) {
            params = params.continue_token(&token);
            continue;
        }
        let version = page.metadata.resource_version.unwrap_or_default();
        objects.iter_mut().for_each(shrink);
        cache.replace(objects, version.parse().unwrap_or(0));
        return Ok(version);
    }
}

/// Follows the watch until its version is too old for the server.
async fn follow<K>(api: &Api<K>, cache: &Cache<K>, shrink: fn(&mut K), mut version: String)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let params = WatchParams::default().timeout(WATCH_SECONDS);
    let mut failures = 0;
    loop {
        match watch_once(api, cache, shrink, &params, &mut version).await {
            Ok(()) => failures = 0,
            Err(kube::Error::Api(status)) if status.code == 410 => return,
            Err(error) => {
                tracing::debug!(kind = %K::kind(&()), %error, "watch broke");
                failures += 1;
            }
        }
        pause(failures).await;
    }
}

async fn watch_once<K>(
    api: &Api<K>,
    cache: &Cache<K>,
    shrink: fn(&mut K),
    params: &WatchParams,
    version: &mut String,
) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = api.watch(params, version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(mut object) | WatchEvent::Modified(mut object) => {
                note_version(version, object.meta().resource_version.as_ref());
                shrink(&mut object);
                cache.apply(object);
            }
            WatchEvent::Deleted(object) => {
                note_version(version, object.meta().resource_version.as_ref());
                cache.remove(object.meta());
            }
            WatchEvent::Bookmark(bookmark) => note_version(version, Some(&bookmark.metadata.resource_version)),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        }
    }
    Ok(())
}

fn note_version(version: &mut String, seen: Option<&String>) {
    if let Some(seen) = seen {
        version.clone_from(seen);
    }
}

async fn pause(failures: u32) {
    if failures > 0 {
        tokio::time::sleep((FIRST_RETRY * 2u32.saturating_pow(failures.min(16) - 1)).min(LAST_RETRY)).await;
    }
}
