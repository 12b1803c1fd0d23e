//! What users type and what they see: transcripts of kubectl against a fresh `podrig serve`.
//!
//! A transcript is a text file. A line with `$ ` is given to a shell, lines with `> ` after it continue it,
//! what follows is the output of both streams, then `[exit code N]` unless it is 0. A line with `# ` says
//! what comes next. Each file has a server of its own. `UPDATE_EXPECT=1` writes what was seen into the files;
//! then each change in them is to be judged by what a cluster prints.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod normal;
mod transcript;

use std::path::Path;

macro_rules! transcripts {
    ($($name:ident),+ $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];
        $(#[test] fn $name() { transcript::check(stringify!($name)); })+
    };
}

transcripts!(story, basics, objects, apply, workloads, sessions, logs, nodes, access, errors);

#[test]
fn every_transcript_is_checked() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let mut found: Vec<String> = texts.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    found.sort();
    let mut known = NAMES.to_vec();
    known.sort_unstable();
    assert_eq!(found, known);
}
