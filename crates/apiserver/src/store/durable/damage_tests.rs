//! Files that are not what was written.

use proptest::prelude::*;

use super::super::Store;
use super::OpenError;
use super::format::{self, FORMAT, Kind};
use super::sim::SimDisk;
use super::tests::{block_on, content, open, put};

const LOG: &str = "0000000001.log";

/// A disk with one log of four frames, and where each begins.
fn written() -> (SimDisk, Vec<usize>) {
    let disk = SimDisk::default();
    let store = open(&disk).expect("open");
    let mut starts = Vec::new();
    for key in ["a", "b", "c", "d"] {
        starts.push(disk.content(LOG).len());
        put(&store, key, 600);
        block_on(store.settled()).expect("on disk");
    }
    store.close();
    (disk, starts)
}

/// A disk with one log of two frames, the first of this size and a little, and where each begins.
fn written_with(size: usize) -> (SimDisk, Vec<usize>) {
    let disk = SimDisk::default();
    let store = open(&disk).expect("open");
    let mut starts = Vec::new();
    for (key, size) in [("a", size), ("b", 10)] {
        starts.push(disk.content(LOG).len());
        put(&store, key, size);
        block_on(store.settled()).expect("on disk");
    }
    store.close();
    (disk, starts)
}

fn flip(disk: &SimDisk, name: &str, at: usize) {
    let mut bytes = disk.content(name);
    bytes[at] ^= 4;
    disk.set_content(name, bytes);
}

fn refusal(disk: &SimDisk) -> String {
    open(disk).map(|store: Store| content(&store)).expect_err("refused").to_string()
}

fn keys(disk: &SimDisk) -> String {
    content(&open(disk).expect("open")).into_keys().collect()
}

#[test]
fn a_changed_bit_in_the_last_write_is_no_torn_write_wherever_it_begins() {
    for size in 0..520 {
        let (disk, starts) = written_with(size);
        for at in [0, 3, 5, 9, 14] {
            let disk = disk.after_kill();
            flip(&disk, LOG, starts[1] + at);
            assert!(refusal(&disk).contains(&format!("damaged at byte {}", starts[1])), "frame at {}", starts[1]);
        }
    }
}

#[test]
fn a_changed_bit_anywhere_in_the_log_is_refused_with_its_place() {
    let length = written().0.content(LOG).len();
    for at in 0..length {
        let (disk, starts) = written();
        flip(&disk, LOG, at);
        let before = disk.files();
        let frame = starts.iter().rev().find(|start| **start <= at).unwrap_or(&0);
        let told = refusal(&disk);
        assert!(told.starts_with(&format!("the store file /data/{LOG} is damaged at byte {frame}: ")), "{at}: {told}");
        assert!(told.ends_with(
            "; nothing was changed: restore the data directory from a backup, or move it away to start with an empty one"
        ));
        assert_eq!(disk.files(), before, "nothing was changed");
    }
}

#[test]
fn a_last_write_that_is_not_there_whole_is_cut_off_and_the_log_goes_on() {
    let (whole, starts) = written();
    let length = whole.content(LOG).len();
    for end in starts[3]..length {
        let (disk, _) = (whole.after_kill(), ());
        let mut bytes = whole.content(LOG);
        bytes.truncate(end);
        disk.set_content(LOG, bytes);
        assert_eq!(keys(&disk), "abc", "cut at {end}");
        let store = open(&disk).expect("open");
        assert_eq!(put(&store, "e", 10), 5, "the number of a change that nobody saw is free");
        store.close();
        assert_eq!(keys(&disk), "abce");
    }
}

#[test]
fn a_last_write_of_which_a_sector_was_not_written_is_cut_off() {
    let (whole, starts) = written();
    let length = whole.content(LOG).len();
    for sector in starts[3] / 512..length.div_ceil(512) {
        let disk = whole.after_kill();
        let mut bytes = whole.content(LOG);
        bytes[(sector * 512).max(starts[3])..((sector + 1) * 512).min(length)].fill(0);
        disk.set_content(LOG, bytes);
        assert_eq!(keys(&disk), "abc", "sector {sector}");
    }
}

#[test]
fn an_unwritten_sector_before_a_later_write_is_damage() {
    let (disk, starts) = written();
    let mut bytes = disk.content(LOG);
    bytes[starts[1]..starts[2]].fill(0);
    disk.set_content(LOG, bytes);
    assert!(refusal(&disk).contains(&format!("is damaged at byte {}: ", starts[1])));
}

#[test]
fn a_format_of_a_later_version_is_refused_as_such() {
    let (disk, _) = written();
    let mut bytes = disk.content(LOG);
    bytes[16..20].copy_from_slice(&(FORMAT + 1).to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..28]);
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    disk.set_content(LOG, bytes);
    assert_eq!(
        refusal(&disk),
        format!(
            "the store file /data/{LOG} has format 2, but this version reads no format after 1: use the version that \
             wrote it, or a later one"
        )
    );
}

/// A disk with a snapshot, and its generation.
fn with_snapshot() -> (SimDisk, u64) {
    let disk = SimDisk::default();
    let store = open(&disk).expect("open");
    for round in 0..12 {
        put(&store, "abc".get(round % 3..=round % 3).expect("key"), 900);
        block_on(store.settled()).expect("on disk");
    }
    store.close();
    let names = disk.files();
    let generation = names.keys().find_map(|name| Kind::Snapshot.generation(name)).expect("snapshot");
    (disk, generation)
}

#[test]
fn a_snapshot_is_refused_if_it_is_changed_cut_off_or_longer_than_it_was() {
    let (whole, generation) = with_snapshot();
    let name = Kind::Snapshot.name(generation);
    let bytes = whole.content(&name);
    let with = |bytes: Vec<u8>| {
        let disk = whole.after_kill();
        disk.set_content(&name, bytes);
        refusal(&disk)
    };
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(with(changed).contains("is damaged at byte "), "changed at {at}");
        assert!(with(bytes[..at].to_vec()).contains("is damaged at byte "), "cut at {at}");
    }
    let longer = [bytes.as_slice(), b"!"].concat();
    assert!(with(longer).contains(&format!("is damaged at byte {}: ", bytes.len())));
}

#[test]
fn a_missing_file_is_named() {
    let (whole, generation) = with_snapshot();
    for kind in [Kind::Log, Kind::Snapshot] {
        let disk = whole.after_kill();
        let name = kind.name(generation);
        super::Disk::remove(&disk, &name).expect("remove");
        let refused = open(&disk).map(|_| ()).expect_err("refused");
        assert!(matches!(&refused, OpenError::Missing { path } if path.ends_with(&name)), "{refused}");
    }
}

#[test]
fn a_record_that_skips_a_revision_is_damage() {
    let (disk, starts) = written();
    let mut bytes = disk.content(LOG);
    bytes.drain(starts[1]..starts[2]);
    disk.set_content(LOG, bytes);
    let told = refusal(&disk);
    assert!(told.contains(&format!("is damaged at byte {}: revision 4 follows revision 2;", starts[1])), "{told}");
}

#[test]
fn files_of_others_and_files_that_were_never_completed_are_no_harm() {
    let (disk, _) = written();
    for name in ["notes.txt", "1.log", "0000000002.log.new", "lock"] {
        super::Disk::create(&disk, name).expect("create").write_at(0, b"x").expect("write");
    }
    assert_eq!(keys(&disk), "abcd");
    assert_eq!(disk.files().into_keys().collect::<Vec<_>>(), [LOG, "1.log", "lock", "notes.txt"]);
}

#[test]
fn a_frame_whose_records_make_no_sense_is_damage() {
    let (disk, starts) = written();
    let mut bytes = disk.content(LOG);
    let mut frame = Vec::new();
    format::begin_frame(&mut frame);
    frame.extend_from_slice(&[9; 30]);
    format::finish_frame(&mut frame);
    bytes.truncate(starts[3]);
    bytes.extend_from_slice(&frame);
    disk.set_content(LOG, bytes);
    assert!(refusal(&disk).contains("it holds a record that no version wrote"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(
        records: Vec<u8>,
        cut: prop::sample::Index,
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (disk, _) = written();
        let mut frame = Vec::new();
        format::begin_frame(&mut frame);
        frame.extend_from_slice(&records);
        format::finish_frame(&mut frame);
        let mut bytes = disk.content(LOG);
        bytes.truncate(cut.index(bytes.len()));
        bytes.extend_from_slice(&frame);
        for (place, byte) in noise {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        disk.set_content(LOG, bytes);
        // Whether it is refused depends on the bytes.
        let _ = open(&disk);
    }

    #[test]
    fn no_records_make_the_reader_panic(records: Vec<u8>, operation in 0..5_u8, lengths: [u8; 3]) {
        let mut bytes = vec![operation; 1];
        bytes.extend_from_slice(&[0; 8]);
        lengths.iter().for_each(|length| bytes.extend_from_slice(&[*length, 0, 0, 0]));
        bytes.extend_from_slice(&records);
        let mut rest = bytes.as_slice();
        while format::take_record(&mut rest).is_some() {}
    }
}
