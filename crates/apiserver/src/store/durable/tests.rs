//! Crashes at every point, of writers at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Change, CompactionLimits, Expected, HistoryLimits, Store};
use super::sim::{Dice, SimDisk};
use super::{OpenError, StoreFailure};

/// Snapshots are written every few changes.
const LIMITS: CompactionLimits = CompactionLimits { least: 4096 };

pub(super) fn open(disk: &SimDisk) -> Result<Store, OpenError> {
    Store::open(Arc::new(disk.clone()), HistoryLimits::default(), LIMITS)
}

pub(super) fn put(store: &Store, key: &str, size: usize) -> u64 {
    let value = json!({"metadata": {"name": key}, "data": "x".repeat(size)});
    let old = store.get("maps", key);
    let expected = old.map_or(Expected::Absent, |old| Expected::Revision(old.revision()));
    store.commit("maps", key, expected, Change::Put(value)).expect("commit").revision()
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(future)
}

/// All objects of the table.
pub(super) fn content(store: &Store) -> BTreeMap<String, Value> {
    store.snapshot("maps").range("", "").map(|object| (object.key().to_owned(), object.value().clone())).collect()
}

/// What the writers did, whether or not they were told that it is on disk.
#[derive(Debug, Default)]
struct Model {
    /// By revision: key and value; no value is a removal.
    changes: BTreeMap<u64, (String, Option<Value>)>,
    /// The newest revision of which a client was told.
    told: u64,
}

impl Model {
    /// The store must be what it was at its revision, and that must not be before what clients know.
    fn check(&mut self, store: &Store) {
        let revision = store.revision();
        assert!(revision >= self.told, "revision {revision} is before {}, of which clients know", self.told);
        self.changes.retain(|change, _| *change <= revision);
        let mut expected = BTreeMap::new();
        for (key, value) in self.changes.values() {
            match value {
                Some(value) => _ = expected.insert(key.clone(), value.clone()),
                None => _ = expected.remove(key),
            }
        }
        assert_eq!(content(store), expected, "at revision {revision}");
    }
}

/// One client: changes objects of its own, each time waiting for the disk, until the store fails.
fn write(store: &Store, model: &Mutex<Model>, writer: usize, mut dice: Dice) {
    loop {
        let key = format!("{writer}-{}", dice.below(6));
        let object = match store.get("maps", &key) {
            Some(old) if dice.below(3) == 0 => {
                let expected = Expected::Revision(old.revision());
                store.commit("maps", &key, expected, Change::Delete).expect("delete")
            }
            _ => {
                put(store, &key, dice.below(1500));
                store.get("maps", &key).expect("just written")
            }
        };
        let is_there = store.get("maps", &key).is_some();
        let change = (key, is_there.then(|| object.value().clone()));
        model.lock().expect("model").changes.insert(object.revision(), change);
        if block_on(store.settled()).is_err() {
            return;
        }
        let mut model = model.lock().expect("model");
        model.told = model.told.max(object.revision());
    }
}

/// Another client: watches until the store fails.
async fn follow(store: &Store, model: &Mutex<Model>) {
    let mut cursor = store.cursor("maps", store.revision()).expect("cursor");
    loop {
        tokio::select! {
            events = cursor.next(8) => {
                let last = events.expect("events").last().expect("some").revision;
                let mut model = model.lock().expect("model");
                model.told = model.told.max(last);
            }
            _ = store.failed() => return,
        }
    }
}

/// Lets clients work until the power goes.
fn work(store: &Store, model: &Mutex<Model>, dice: &mut Dice) {
    thread::scope(|scope| {
        for writer in 0..3 {
            let dice = Dice::new(dice.below(usize::MAX) as u64);
            scope.spawn(move || write(store, model, writer, dice));
        }
        scope.spawn(|| block_on(follow(store, model)));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_loses_what_a_client_was_told(seed: u64, lives in prop::collection::vec((0..160_usize, 0..3_usize), 1..5)) {
        let mut dice = Dice::new(seed);
        let mut disk = SimDisk::default();
        let model = Mutex::new(Model { told: 1, ..Model::default() });
        for (operations, end) in lives {
            disk.burn_down(operations);
            // The power may go while the store is opened.
            match open(&disk) {
                Ok(store) => {
                    model.lock().expect("model").check(&store);
                    work(&store, &model, &mut dice);
                }
                Err(OpenError::Io { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            disk = if end == 0 { disk.after_kill() } else { disk.after_power_loss(&mut dice) };
        }
        let store = open(&disk).unwrap_or_else(|error| panic!("{error}"));
        model.lock().expect("model").check(&store);
    }
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_again_before_it_is_shown() {
    let disk = SimDisk::default();
    let store = open(&disk).expect("open");
    put(&store, "a", 10);
    block_on(store.settled()).expect("on disk");
    disk.fail_syncs();
    put(&store, "b", 3000);
    block_on(store.settled()).expect_err("not on disk");
    store.close();

    let disk = disk.after_kill();
    let store = open(&disk).expect("open");
    let shown = content(&store);
    store.close();
    let disk = disk.after_power_loss(&mut Dice::new(1));
    assert_eq!(content(&open(&disk).expect("open")), shown);
}

#[test]
fn a_failed_sync_ends_the_store_with_a_reason() {
    let disk = SimDisk::default();
    let store = open(&disk).expect("open");
    disk.fail_syncs();
    put(&store, "a", 10);
    let failures: [StoreFailure; 2] = [block_on(store.failed()), block_on(store.settled()).expect_err("failed")];
    for failure in failures {
        assert_eq!(
            failure.to_string(),
            "the store takes no more: writing /data/0000000001.log at byte 32: the disk is sick; start the server again"
        );
    }
    assert!(store.check().is_err());
    // A writer that comes later is not held up.
    for round in 0..2000 {
        put(&store, &round.to_string(), 1);
    }
}

#[tokio::test]
async fn nothing_is_told_before_the_disk_has_it() {
    use futures::FutureExt;
    let disk = SimDisk::default();
    let store = open(&disk).expect("open");
    let mut cursor = store.cursor("maps", store.revision()).expect("cursor");
    disk.hold_syncs(true);
    put(&store, "a", 10);
    assert!(store.settled().now_or_never().is_none());
    assert!(cursor.next(9).now_or_never().is_none());
    disk.hold_syncs(false);
    store.settled().await.expect("on disk");
    assert_eq!(cursor.next(9).await.expect("events").len(), 1);
}

#[test]
fn the_disk_holds_no_more_than_a_few_times_the_objects() {
    let disk = SimDisk::default();
    let store = open(&disk).expect("open");
    for round in 0..4000_usize {
        put(&store, &(round % 7).to_string(), 700);
        if round % 16 == 0 {
            block_on(store.settled()).expect("on disk");
        }
    }
    store.close();
    let bytes: usize = disk.files().values().sum();
    // Seven objects are 5 KB; a log of the limit and two snapshots' size, and what came while a snapshot was written.
    assert!(bytes < 200_000, "{bytes} bytes in {:?}", disk.files());
    let again = open(&disk).expect("open");
    assert_eq!(content(&again), content(&store));
    assert_eq!(again.revision(), 4001);
}

/// Found by chance: the first log of a second start took the name of what the first one had left empty.
#[test]
fn a_file_that_an_earlier_start_left_unfinished_is_never_taken_for_the_new_one() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let disk = SimDisk::default();
        disk.burn_down(0);
        open(&disk).expect_err("the power goes");
        let disk = disk.after_power_loss(&mut dice);
        disk.burn_down(3 + dice.below(3));
        drop(open(&disk));
        let disk = disk.after_power_loss(&mut dice);
        open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}
