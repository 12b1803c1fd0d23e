//! Commits, snapshots of the past, cursors.

use serde_json::json;

use super::*;

fn pod(name: &str) -> Value {
    json!({"metadata": {"namespace": "default", "name": name}})
}

fn put(store: &Store, key: &str) -> u64 {
    let expected = store.get("pods", key).map_or(Expected::Absent, |old| Expected::Revision(old.revision()));
    store.commit("pods", key, expected, Change::Put(pod(key))).expect("commit").revision()
}

fn delete(store: &Store, key: &str) {
    let revision = store.get("pods", key).expect("present").revision();
    store.commit("pods", key, Expected::Revision(revision), Change::Delete).expect("delete");
}

fn keys(snapshot: &Snapshot) -> Vec<String> {
    snapshot.range("", "").map(|object| object.key().to_owned()).collect()
}

#[test]
fn a_commit_on_a_stale_revision_changes_nothing() {
    let store = Store::new(HistoryLimits::default());
    let first = put(&store, "a");
    put(&store, "a");
    let before = store.revision();
    let outcome = store.commit("pods", "a", Expected::Revision(first), Change::Delete);
    assert_eq!(outcome.map(|_| ()), Err(CommitError::Changed));
    assert_eq!(store.revision(), before);
    let outcome = store.commit("pods", "a", Expected::Absent, Change::Put(pod("a")));
    assert_eq!(outcome.map(|_| ()), Err(CommitError::Exists));
    let outcome = store.commit("pods", "b", Expected::Revision(1), Change::Delete);
    assert_eq!(outcome.map(|_| ()), Err(CommitError::Missing));
}

#[test]
fn an_old_snapshot_is_rebuilt_from_later_changes() {
    let store = Store::new(HistoryLimits::default());
    put(&store, "a");
    put(&store, "b");
    let then = store.revision();
    let b_then = store.get("pods", "b").expect("b").revision();
    delete(&store, "a");
    put(&store, "b");
    put(&store, "c");
    delete(&store, "b");
    put(&store, "a");
    let old = store.snapshot_at("pods", then).expect("snapshot");
    assert_eq!(keys(&old), ["a", "b"]);
    assert_eq!(old.range("b", "").next().expect("b").revision(), b_then);
    assert_eq!(keys(&store.snapshot("pods")), ["a", "c"]);
}

#[test]
fn a_revision_that_left_the_history_is_expired_and_a_later_one_is_future() {
    let store = Store::new(HistoryLimits { most: 2, ..HistoryLimits::default() });
    let first = put(&store, "a");
    put(&store, "b");
    let third = put(&store, "c");
    assert!(store.cursor("pods", first).is_ok());
    put(&store, "d");
    assert!(matches!(store.cursor("pods", first), Err(RevisionError::Expired { .. })));
    assert!(matches!(store.snapshot_at("pods", first), Err(RevisionError::Expired { .. })));
    assert!(store.snapshot_at("pods", third).is_ok());
    assert!(matches!(store.snapshot_at("pods", third + 9), Err(RevisionError::Future { .. })));
}

#[test]
fn a_write_anywhere_drops_old_changes_everywhere() {
    let limits = HistoryLimits { least: 1, age: std::time::Duration::ZERO, ..HistoryLimits::default() };
    let store = Store::new(limits);
    let first = put(&store, "a");
    put(&store, "b");
    put(&store, "c");
    store.commit("jobs", "x", Expected::Absent, Change::Put(pod("x"))).expect("commit");
    assert!(matches!(store.cursor("pods", first), Err(RevisionError::Expired { .. })));
}

#[tokio::test]
async fn a_cursor_sees_exactly_the_later_changes_and_wakes_for_new_ones() {
    let store = Store::new(HistoryLimits::default());
    let first = put(&store, "a");
    put(&store, "b");
    delete(&store, "a");
    let mut cursor = store.cursor("pods", first).expect("cursor");
    let events = cursor.next(1).await.expect("events");
    assert_eq!((events.len(), events[0].kind), (1, EventKind::Added));
    let events = cursor.next(9).await.expect("events");
    assert_eq!((events.len(), events[0].kind), (1, EventKind::Deleted));
    let waiting = tokio::spawn(async move { cursor.next(9).await.map(|events| events[0].object.key().to_owned()) });
    tokio::task::yield_now().await;
    put(&store, "z");
    assert_eq!(waiting.await.expect("task"), Ok("z".to_owned()));
}

#[tokio::test]
async fn a_cursor_that_sleeps_for_too_long_loses_its_place_and_holds_up_nobody() {
    let store = Store::new(HistoryLimits { most: 2, ..HistoryLimits::default() });
    let mut cursor = store.cursor("pods", put(&store, "a")).expect("cursor");
    for key in ["b", "c", "d", "e"] {
        put(&store, key);
    }
    assert!(matches!(cursor.next(9).await, Err(RevisionError::Expired { .. })));
}

#[test]
fn history_of_large_objects_is_short() {
    let store = Store::new(HistoryLimits { bytes: 10_000, ..HistoryLimits::default() });
    let large = |key: &str| {
        let value = json!({"metadata": {"namespace": "default", "name": key}, "data": {"a": "x".repeat(2_000)}});
        store.commit("configmaps", key, Expected::Absent, Change::Put(value)).expect("commit").revision()
    };
    let revisions = ["a", "b", "c", "d"].map(large);
    assert!(store.cursor("configmaps", revisions[2]).is_ok());
    assert!(matches!(store.cursor("configmaps", FIRST_REVISION), Err(RevisionError::Expired { .. })));
}
