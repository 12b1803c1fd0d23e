//! Watches: order, selectors, bookmarks, ends.

use futures::TryStreamExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::support::{Rig, events, watch};

async fn version(rig: &Rig) -> String {
    rig.pods().list(&ListParams::default()).await.expect("list").metadata.resource_version.expect("version")
}

async fn label(rig: &Rig, name: &str, value: &str) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"x": value}}}));
    rig.pods().patch(name, &PatchParams::default(), &patch).await.expect("patch");
}

#[tokio::test]
async fn a_watch_from_a_version_gives_exactly_the_later_changes() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    let then = version(&rig).await;
    rig.pod("b", json!({})).await;
    label(&rig, "a", "1").await;
    rig.pods().delete("b", &DeleteParams::default()).await.expect("delete");
    let mut seen = watch(&rig.pods(), &WatchParams::default(), &then).await;
    assert_eq!(events(&mut seen, 4).await, ["+b", "~a", "~b", "-b"]);
    label(&rig, "a", "2").await;
    assert_eq!(events(&mut seen, 1).await, ["~a"]);
}

#[tokio::test]
async fn objects_that_enter_and_leave_a_selector_are_added_and_deleted() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    let then = version(&rig).await;
    let mut seen = watch(&rig.pods(), &WatchParams::default().labels("x=1"), &then).await;
    rig.pod("other", json!({})).await;
    label(&rig, "a", "1").await;
    let node = Patch::Merge(json!({"metadata": {"annotations": {"n": "m"}}}));
    rig.pods().patch("a", &PatchParams::default(), &node).await.expect("patch");
    label(&rig, "a", "2").await;
    rig.pod("b", json!({"metadata": {"labels": {"x": "1"}}})).await;
    rig.pods().delete("a", &DeleteParams::default()).await.expect("delete");
    rig.pods().delete("b", &DeleteParams::default()).await.expect("delete");
    assert_eq!(events(&mut seen, 6).await, ["+a", "~a", "-a", "+b", "~b", "-b"]);
}

#[tokio::test]
async fn an_object_that_leaves_a_selector_is_shown_as_it_was_with_the_new_version() {
    let rig = Rig::new();
    rig.pod("a", json!({"metadata": {"labels": {"x": "1"}}})).await;
    let then = version(&rig).await;
    let mut seen = watch(&rig.pods(), &WatchParams::default().labels("x=1"), &then).await;
    label(&rig, "a", "2").await;
    let Some(WatchEvent::Deleted(pod)) = seen.try_next().await.expect("watch") else { panic!("not deleted") };
    assert_eq!(pod.metadata.labels.expect("labels")["x"], "1");
    assert_eq!(pod.metadata.resource_version, Some(version(&rig).await));
}

#[tokio::test]
async fn a_watch_of_a_version_that_is_too_old_is_told_so_and_ends() {
    let rig = Rig::with(apiserver::Options { history: 3, ..apiserver::Options::default() });
    for index in 0..6 {
        rig.pod(&format!("p{index}"), json!({})).await;
    }
    let mut seen = watch(&rig.pods(), &WatchParams::default(), "2").await;
    let Some(WatchEvent::Error(status)) = seen.try_next().await.expect("watch") else { panic!("no error") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(status.message.starts_with("too old resource version: 2 ("), "{}", status.message);
    assert!(seen.try_next().await.expect("watch").is_none());
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_told_that_it_lost_its_place() {
    let rig = Rig::with(apiserver::Options { history: 3, ..apiserver::Options::default() });
    let then = version(&rig).await;
    let mut slow = watch(&rig.pods(), &WatchParams::default(), &then).await;
    for index in 0..6 {
        rig.pod(&format!("p{index}"), json!({})).await;
    }
    assert_eq!(events(&mut slow, 1).await, ["error 410"]);
}

#[tokio::test]
async fn a_streaming_list_sends_the_state_then_a_mark_then_changes() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    rig.pod("b", json!({})).await;
    let params = WatchParams::default().initial_events();
    let mut seen = watch(&rig.pods(), &params, "").await;
    assert_eq!(events(&mut seen, 2).await, ["+a", "+b"]);
    let Some(WatchEvent::Bookmark(mark)) = seen.try_next().await.expect("watch") else { panic!("no bookmark") };
    assert_eq!(mark.metadata.annotations["k8s.io/initial-events-end"], "true");
    assert_eq!(mark.metadata.resource_version, version(&rig).await);
    rig.pod("c", json!({})).await;
    assert_eq!(events(&mut seen, 1).await, ["+c"]);
}

#[tokio::test]
async fn a_watch_that_sees_nothing_of_interest_is_told_how_far_it_has_come() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    let then = version(&rig).await;
    let mut seen = watch(&rig.pods(), &WatchParams::default().fields("metadata.name=none"), &then).await;
    for round in 0..200 {
        label(&rig, "a", &round.to_string()).await;
    }
    let Some(WatchEvent::Bookmark(mark)) = seen.try_next().await.expect("watch") else { panic!("no bookmark") };
    assert!(mark.metadata.resource_version.parse::<u64>().expect("number") > then.parse().expect("number"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_after_its_time_with_a_bookmark() {
    let rig = Rig::new();
    let mut seen = watch(&rig.pods(), &WatchParams::default().timeout(5), "0").await;
    assert_eq!(events(&mut seen, 1).await, ["bookmark"]);
    assert!(seen.try_next().await.expect("watch").is_none());
}

#[tokio::test]
async fn watches_beyond_the_limit_are_refused_and_closed_ones_make_room() {
    let rig = Rig::with(apiserver::Options { watches: 1, ..apiserver::Options::default() });
    let first = watch(&rig.pods(), &WatchParams::default(), "0").await;
    let (code, status) = rig.raw("GET", "/api/v1/pods?watch=1", "", "").await;
    assert_eq!((code, &status["reason"]), (429, &Value::from("TooManyRequests")));
    drop(first);
    let mut second = watch(&rig.pods(), &WatchParams::default(), "0").await;
    rig.pod("a", json!({})).await;
    assert_eq!(events(&mut second, 1).await, ["+a"]);
}

#[tokio::test]
async fn the_cache_of_kube_runtime_works_on_the_server() {
    use kube::runtime::{WatchStreamExt, reflector, watcher};
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let rig = Rig::new();
        rig.pod("a", json!({})).await;
        let (reader, writer) = reflector::store();
        let stream = reflector(writer, watcher(rig.pods(), config)).applied_objects();
        let mut stream = Box::pin(stream);
        stream.try_next().await.expect("watch").expect("first");
        rig.pod("b", json!({})).await;
        while reader.len() < 2 {
            stream.try_next().await.expect("watch").expect("more");
        }
        assert_eq!(reader.len(), 2);
    }
}
