//! Reading and writing the small files of the cgroup file system, with errors that name the file.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::{Error, Result};

/// Reads a whole file.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| failed("read", path, source))
}

/// Writes a value in one `write`, as the cgroup file system demands; never creates the file.
pub(super) fn write(path: &Path, value: &str) -> Result<()> {
    try_write(path, value).map_err(|source| failed(&format!("write {value:?} to"), path, source))
}

/// As [`write`], with the bare cause for callers that tell causes apart.
pub(super) fn try_write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// Reads the number after `key` in a file of `key value` lines; 0 when there is none.
pub(super) fn read_key(path: &Path, key: &str) -> Result<u64> {
    Ok(parse_key(&read(path)?, key))
}

fn parse_key(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// Builds an [`Error::Io`].
pub(super) fn failed(action: &str, path: &Path, source: io::Error) -> Error {
    Error::Io { action: action.to_owned(), path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::parse_key;

    #[test]
    fn a_key_is_matched_as_a_whole_word() {
        let text = "oom 1\noom_kill 7\noom_group_kill 2\n";
        assert_eq!(parse_key(text, "oom_kill"), 7);
        assert_eq!(parse_key(text, "oom"), 1);
        assert_eq!(parse_key(text, "max"), 0);
    }
}
