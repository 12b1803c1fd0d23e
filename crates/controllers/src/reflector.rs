//! Keeps a cache current: list once, then watch from the list's version, and again after a break.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::scheme::ResourceType;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ListParams, ObjectList, WatchEvent, WatchParams};
use kube::core::DynamicObject;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::api::Metadata;
use crate::cache::Cache;

/// Objects asked for in one list call, so that no answer grows without bound.
const PAGE: u32 = 500;

/// How long one watch call lasts; the server ends it and we go on at the last version.
const WATCH_SECONDS: u32 = 290;

/// Waits between attempts when the server does not answer: doubling from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Where objects come from.
pub(crate) trait Source: Send + Sync + 'static {
    /// The objects.
    type Object: Resource + Clone + Send + Sync + 'static;

    /// Their kind.
    fn kind(&self) -> String;

    /// Lists one page.
    fn list(&self, params: &ListParams) -> impl Future<Output = kube::Result<ObjectList<Self::Object>>> + Send;

    /// Watches from a version on.
    fn watch(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> impl Future<Output = kube::Result<BoxStream<'static, kube::Result<WatchEvent<Self::Object>>>>> + Send;
}

impl<K> Source for Api<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    type Object = K;

    fn kind(&self) -> String {
        K::kind(&()).into_owned()
    }

    async fn list(&self, params: &ListParams) -> kube::Result<ObjectList<K>> {
        Self::list(self, params).await
    }

    async fn watch(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<K>>>> {
        Ok(Self::watch(self, params, version).await?.boxed())
    }
}

/// Only the metadata of objects: what they contain is none of our business.
#[derive(Debug, Clone)]
pub(crate) struct MetadataOf {
    pub(crate) api: Api<DynamicObject>,
    pub(crate) kind: &'static ResourceType,
}

impl Source for MetadataOf {
    type Object = Metadata;

    fn kind(&self) -> String {
        self.kind.kind.to_owned()
    }

    async fn list(&self, params: &ListParams) -> kube::Result<ObjectList<Metadata>> {
        self.api.list_metadata(params).await
    }

    async fn watch(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<Metadata>>>> {
        Ok(self.api.watch_metadata(params, version).await?.boxed())
    }
}

/// Keeps `cache` current for as long as it is polled.
pub(crate) async fn reflect<S: Source>(api: S, cache: Arc<Cache<S::Object>>) {
    let mut failures = 0;
    loop {
        match list(&api, &cache).await {
            Ok(version) => {
                failures = 0;
                follow(&api, &cache, version).await;
            }
            Err(error) => {
                tracing::warn!(kind = %api.kind(), %error, "listing failed");
                failures += 1;
            }
        }
        pause(failures).await;
    }
}

async fn list<S: Source>(api: &S, cache: &Cache<S::Object>) -> kube::Result<String> {
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
        cache.replace(objects, version.parse().unwrap_or(0));
        return Ok(version);
    }
}

/// Follows the watch until its version is too old for the server.
async fn follow<S: Source>(api: &S, cache: &Cache<S::Object>, mut version: String) {
    let params = WatchParams::default().timeout(WATCH_SECONDS);
    let mut failures = 0;
    loop {
        match watch_once(api, cache, &params, &mut version).await {
            Ok(true) => failures = 0,
            // It ended without a word: do not ask at once again and again.
            Ok(false) => failures += 1,
            Err(kube::Error::Api(status)) if status.code == 410 => return,
            Err(error) => {
                tracing::debug!(kind = %api.kind(), %error, "watch broke");
                failures += 1;
            }
        }
        pause(failures).await;
    }
}

/// Returns whether anything was heard.
async fn watch_once<S: Source>(
    api: &S,
    cache: &Cache<S::Object>,
    params: &WatchParams,
    version: &mut String,
) -> kube::Result<bool> {
    let mut heard = false;
    let mut events = api.watch(params, version).await?;
    while let Some(event) = events.try_next().await? {
        heard = true;
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                note_version(version, object.meta().resource_version.as_ref());
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
    Ok(heard)
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
