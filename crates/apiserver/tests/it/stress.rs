//! Many watchers and writers at once.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::support::{Rig, assigned};

const WRITERS: usize = 8;
const WATCHERS: usize = 32;
const ROUNDS: usize = 40;

/// Creates, changes and deletes objects of its own.
async fn write(maps: Api<ConfigMap>, writer: usize) {
    for round in 0..ROUNDS {
        let name = format!("w{writer}-{}", round % 5);
        let label = (round % 2).to_string();
        let map = json!({"metadata": {"name": name, "labels": {"odd": label}}});
        let map = serde_json::from_value(map).expect("map");
        maps.create(&PostParams::default(), &map).await.expect("create");
        let patch = Patch::Merge(json!({"data": {"round": round.to_string()}}));
        maps.patch(&name, &PatchParams::default(), &patch).await.expect("patch");
        if round % 3 != 0 || round + 5 < ROUNDS {
            maps.delete(&name, &DeleteParams::default()).await.expect("delete");
        }
    }
}

/// What one watcher saw: versions in order, and the objects that are left.
struct Seen {
    versions: Vec<u64>,
    left: BTreeMap<String, u64>,
}

async fn follow(maps: Api<ConfigMap>, selector: Option<&'static str>) -> Seen {
    let mut params = WatchParams::default();
    if let Some(selector) = selector {
        params = params.labels(selector);
    }
    let mut stream = Box::pin(maps.watch(&params, "1").await.expect("watch"));
    let mut seen = Seen { versions: Vec::new(), left: BTreeMap::new() };
    loop {
        let event = stream.try_next().await.expect("watch").expect("watch goes on");
        let version = |map: &ConfigMap| map.resource_version().expect("version").parse::<u64>().expect("number");
        match event {
            WatchEvent::Added(map) if map.name_any() == "end" => return seen,
            WatchEvent::Added(map) => {
                assert!(seen.left.insert(map.name_any(), version(&map)).is_none(), "added twice");
                seen.versions.push(version(&map));
            }
            WatchEvent::Modified(map) => {
                assert!(seen.left.insert(map.name_any(), version(&map)).is_some(), "changed before it was added");
                seen.versions.push(version(&map));
            }
            WatchEvent::Deleted(map) => {
                assert!(seen.left.remove(&map.name_any()).is_some(), "deleted before it was added");
                seen.versions.push(version(&map));
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => panic!("{status:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_watcher_sees_every_change_in_order() {
    let rig = Rig::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(rig.client.clone());
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|index| {
            let selector = (index % 4 == 3).then_some("odd=1");
            (selector.is_some(), tokio::spawn(follow(maps.clone(), selector)))
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(maps.clone(), writer))).collect();
    for writer in writers {
        writer.await.expect("writer");
    }
    let end = json!({"metadata": {"name": "end", "labels": {"odd": "1"}}});
    maps.create(&PostParams::default(), &serde_json::from_value(end).expect("map")).await.expect("end");
    let mut whole: Option<Vec<u64>> = None;
    for (selected, watcher) in watchers {
        let seen = watcher.await.expect("watcher");
        assert!(seen.versions.windows(2).all(|pair| pair[0] < pair[1]), "out of order");
        let listed = maps.list(&ListParams::default().labels(if selected { "odd=1" } else { "" })).await.expect("list");
        let listed: BTreeMap<String, u64> = listed
            .items
            .iter()
            .filter(|map| map.name_any() != "end")
            .map(|map| (map.name_any(), map.resource_version().expect("version").parse().expect("number")))
            .collect();
        assert_eq!(seen.left, listed, "the changes add up to the list");
        if !selected {
            assert_eq!(&seen.versions, whole.get_or_insert_with(|| seen.versions.clone()), "all saw the same");
        }
    }
    let changes = whole.expect("watchers").len();
    assert!(changes > WRITERS * ROUNDS * 2, "only {changes} changes");
}

const DELETIONS: usize = 400;

/// Removes each pod as soon as it is marked, as a node agent does with a pod that has ended.
async fn remove_what_is_marked(pods: Api<Pod>) {
    let mut changes = pods.watch(&WatchParams::default(), "0").await.expect("watch").boxed();
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    while let Some(change) = changes.try_next().await.expect("change") {
        if let WatchEvent::Modified(pod) = change
            && pod.metadata.deletion_timestamp.is_some()
        {
            // The client that marked it may be quicker.
            let _ = pods.delete(&pod.name_any(), &at_once).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_32_a_deletion_that_the_node_completes_first_has_worked() {
    let rig = Rig::new();
    let pods = rig.pods();
    let agent = tokio::spawn(remove_what_is_marked(pods.clone()));
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    for round in 0..DELETIONS {
        let name = format!("pod-{round}");
        rig.pod(&name, assigned()).await;
        pods.delete(&name, &at_once).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    agent.abort();
}
