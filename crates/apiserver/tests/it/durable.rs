//! A server that keeps its objects in a directory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use apiserver::{ApiServer, OpenError, Options};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::support::{events, refusal, watch};

fn open(dir: &Path) -> ApiServer {
    ApiServer::open(dir, Options::default()).expect("open")
}

fn maps(server: &ApiServer) -> Api<ConfigMap> {
    Api::default_namespaced(Client::new(server.service(), "default"))
}

fn map(name: &str, value: &str) -> ConfigMap {
    let map: Value = json!({"metadata": {"name": name}, "data": {"key": value}});
    serde_json::from_value(map).expect("map")
}

#[tokio::test]
async fn a_server_that_is_opened_again_has_all_objects_and_goes_on_with_their_versions() {
    let dir = tempfile::tempdir().expect("dir");
    let server = open(&dir.path().join("data"));
    let all = maps(&server);
    all.create(&PostParams::default(), &map("a", "1")).await.expect("create");
    all.create(&PostParams::default(), &map("gone", "1")).await.expect("create");
    let patch = Patch::Merge(json!({"data": {"key": "2"}}));
    let changed = all.patch("a", &PatchParams::default(), &patch).await.expect("patch");
    all.delete("gone", &DeleteParams::default()).await.expect("delete");
    let before = all.list(&ListParams::default()).await.expect("list");
    server.close();

    let server = open(&dir.path().join("data"));
    let all = maps(&server);
    let after = all.list(&ListParams::default()).await.expect("list");
    assert_eq!(after.items, before.items, "objects are as they were");
    assert!(after.items.contains(&changed));
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version, "opening writes nothing");
    let new = all.create(&PostParams::default(), &map("new", "1")).await.expect("create");
    let number = |version: Option<String>| version.expect("version").parse::<u64>().expect("number");
    assert_eq!(number(new.resource_version()), number(before.metadata.resource_version) + 1);
}

#[tokio::test]
async fn a_watch_goes_on_from_the_last_version_and_is_told_that_an_earlier_one_is_too_old() {
    let dir = tempfile::tempdir().expect("dir");
    let server = open(dir.path());
    let first = maps(&server).create(&PostParams::default(), &map("a", "1")).await.expect("create");
    let last = maps(&server).create(&PostParams::default(), &map("b", "1")).await.expect("create");
    server.close();

    let server = open(dir.path());
    let client = Client::new(server.service(), "default");
    let pods = Api::default_namespaced(client);
    let version = |map: ConfigMap| map.resource_version().expect("version");
    let mut old = watch(&pods, &WatchParams::default(), &version(first)).await;
    assert_eq!(events(&mut old, 1).await, ["error 410"]);
    let mut new = watch(&pods, &WatchParams::default(), &version(last)).await;
    pods.create(&PostParams::default(), &crate::support::pod("p", json!({}))).await.expect("create");
    assert_eq!(events(&mut new, 1).await, ["+p"]);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_the_process_that_uses_it() {
    let dir = tempfile::tempdir().expect("dir");
    let server = open(dir.path());
    let refused = ApiServer::open(dir.path(), Options::default()).expect_err("in use");
    let pid = std::process::id();
    let expected = format!("the data directory {} is in use by the server with process ID {pid}", dir.path().display());
    assert_eq!(refused.to_string(), expected);
    server.close();
    assert!(!matches!(ApiServer::open(dir.path(), Options::default()), Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn what_a_refusal_reads_is_in_the_store_of_the_next_server() {
    let dir = tempfile::tempdir().expect("dir");
    let server = open(dir.path());
    maps(&server).create(&PostParams::default(), &map("a", "1")).await.expect("create");
    server.close();
    let server = open(dir.path());
    let refused = refusal(maps(&server).create(&PostParams::default(), &map("a", "2")).await);
    assert_eq!(refused, "409 AlreadyExists: configmaps \"a\" already exists");
}

#[tokio::test]
async fn what_is_stored_is_for_the_owner_alone() {
    let parent = tempfile::tempdir().expect("dir");
    let dir = parent.path().join("some/data");
    open(&dir).close();
    let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in dir.read_dir().expect("dir") {
        let path = file.expect("entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
