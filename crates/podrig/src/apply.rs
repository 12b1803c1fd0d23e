//! Puts manifests into the API: checks all of them first, then creates them, dependencies first.

use anyhow::{Context as _, anyhow};
use apimachinery::scheme::{self, ResourceType};
use http::Request;
use kube::{Client, Error as KubeError, api::DynamicObject};
use serde_json::{Value, json};

use crate::{error::CommandError, manifest::Document};

/// One object to create.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    resource: &'static ResourceType,
    namespace: Option<String>,
    document: Document,
}

impl Item {
    /// Returns the kind.
    pub(crate) fn kind(&self) -> &'static str {
        self.resource.kind
    }

    fn name(&self) -> &str {
        let metadata = &self.document.object["metadata"];
        metadata["name"].as_str().or_else(|| metadata["generateName"].as_str()).unwrap_or_default()
    }
}

/// Finds out what each document is.
pub(crate) fn identify(documents: Vec<Document>) -> Result<Vec<Item>, CommandError> {
    let mut items = documents.into_iter().map(item).collect::<Result<Vec<Item>, _>>()?;
    items.sort_by_key(|item| order(item.kind()));
    Ok(items)
}

/// Creates everything, or nothing: each object passes a dry run before the first is created.
///
/// Namespaces and service accounts that the manifests use but do not hold are created, since nobody else can have
/// made them.
pub(crate) async fn apply(client: &Client, items: &[Item]) -> Result<Vec<DynamicObject>, CommandError> {
    make_namespaces(client, items).await?;
    make_service_accounts(client, items).await?;
    let others = || items.iter().filter(|item| !matches!(item.kind(), "Namespace" | "ServiceAccount"));
    for item in others() {
        create(client, item, true).await?;
    }
    let mut created = Vec::with_capacity(items.len());
    for item in others() {
        created.push(create(client, item, false).await?);
    }
    Ok(created)
}

fn item(document: Document) -> Result<Item, CommandError> {
    let text = |field: &str| document.object[field].as_str().unwrap_or_default().to_owned();
    let (api_version, kind, source) = (text("apiVersion"), text("kind"), &document.source);
    for (field, value) in [("apiVersion", &api_version), ("kind", &kind)] {
        if value.is_empty() {
            return Err(CommandError::usage(anyhow!("{source}: an object has no {field}")));
        }
    }
    let resource = scheme::by_kind(&api_version, &kind).ok_or_else(|| {
        let known: Vec<&str> = scheme::all().iter().map(|resource| resource.kind).collect();
        CommandError::usage(anyhow!("{source}: no kind {kind:?} in version {api_version:?}"))
            .hint(format!("kinds that podrig knows: {}", known.join(", ")))
    })?;
    if matches!(resource.kind, "Deployment" | "ReplicaSet") {
        let text = format!("{source}: a {kind} never ends, but a run lasts until its workloads have ended");
        return Err(CommandError::usage(anyhow!(text)).hint("run its pod template as a Pod or a Job"));
    }
    let given = document.object["metadata"]["namespace"].as_str();
    let namespace = resource.namespaced.then(|| given.unwrap_or("default").to_owned());
    Ok(Item { resource, namespace, document })
}

/// What others need comes first.
fn order(kind: &str) -> u8 {
    match kind {
        "Namespace" => 0,
        "ServiceAccount" => 1,
        "ConfigMap" | "Secret" => 2,
        _ => 3,
    }
}

async fn make_namespaces(client: &Client, items: &[Item]) -> Result<(), CommandError> {
    let mut wanted: Vec<Item> = items.iter().filter(|item| item.kind() == "Namespace").cloned().collect();
    for item in items {
        let Some(name) = item.namespace.as_deref().filter(|name| *name != "default") else { continue };
        if !wanted.iter().any(|known| known.name() == name) {
            wanted.push(namespace(name, &item.document.source));
        }
    }
    for item in &wanted {
        create(client, item, false).await?;
    }
    Ok(())
}

/// Pods are not taken, not even on trial, before their accounts are there.
async fn make_service_accounts(client: &Client, items: &[Item]) -> Result<(), CommandError> {
    let mut wanted: Vec<Item> = items.iter().filter(|item| item.kind() == "ServiceAccount").cloned().collect();
    for item in items {
        let Some(name) = service_account(&item.document.object).filter(|name| *name != "default") else { continue };
        if !wanted.iter().any(|known| known.name() == name && known.namespace == item.namespace) {
            let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
            let document = Document { source: item.document.source.clone(), object };
            let Some(resource) = scheme::by_kind("v1", "ServiceAccount") else { continue };
            wanted.push(Item { resource, namespace: item.namespace.clone(), document });
        }
    }
    for item in &wanted {
        create(client, item, false).await?;
    }
    Ok(())
}

/// The service account of the pods that an object makes.
fn service_account(object: &Value) -> Option<&str> {
    const SPECS: [&str; 3] = ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
    let name = |field: &str| SPECS.iter().find_map(|spec| object.pointer(spec)?[field].as_str());
    name("serviceAccountName").or_else(|| name("serviceAccount")).filter(|name| !name.is_empty())
}

#[expect(clippy::expect_used, reason = "the scheme always has namespaces")]
fn namespace(name: &str, source: &str) -> Item {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let resource = scheme::by_kind("v1", "Namespace").expect("namespaces are a core kind");
    Item { resource, namespace: None, document: Document { source: source.to_owned(), object } }
}

async fn create(client: &Client, item: &Item, dry_run: bool) -> Result<DynamicObject, CommandError> {
    let body = serde_json::to_vec(&item.document.object).context("encoding an object")?;
    let request = Request::post(url(item, dry_run))
        .header("content-type", "application/json")
        .body(body)
        .with_context(|| format!("addressing {} {:?}", item.kind(), item.name()))?;
    client.request(request).await.map_err(|error| refused(item, error))
}

/// The request is built here since the typed clients drop unknown fields, which must be refused by the server.
fn url(item: &Item, dry_run: bool) -> String {
    let ResourceType { group, version, plural, .. } = item.resource;
    let prefix = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let namespace = item.namespace.as_ref().map(|name| format!("/namespaces/{name}")).unwrap_or_default();
    let dry_run = if dry_run { "&dryRun=All" } else { "" };
    format!("{prefix}{namespace}/{plural}?fieldValidation=Strict&fieldManager=podrig-run{dry_run}")
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the client's errors are not ours to list")]
fn refused(item: &Item, error: KubeError) -> CommandError {
    match error {
        KubeError::Api(status) => CommandError::usage(anyhow!("{}: {}", item.document.source, status.message)),
        other => {
            CommandError::from(anyhow::Error::new(other).context(format!("creating {} {:?}", item.kind(), item.name())))
        }
    }
}
