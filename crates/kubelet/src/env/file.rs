//! Env files in volumes (`fileKeyRef`, contract S11-20).

use std::{fs::File, io::Read as _, path::Path};

use k8s_openapi::api::core::v1::FileKeySelector;
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Largest env file that is read (KEP-3721).
const MAX_FILE: u64 = 64 * 1024;

/// Why a variable cannot be read from a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileKeyError {
    #[error("cannot find the volume {0:?} referenced by FileKeyRef")]
    NoVolume(String),
    #[error("environment variable key {key:?} not found in file {path:?} of volume {volume:?}")]
    NoKey { volume: String, path: String, key: String },
    #[error("couldn't parse env file {path:?} of volume {volume:?}: {message}")]
    Unreadable { volume: String, path: String, message: String },
}

/// Reads the key from the env file below `root`, the volume's directory.
///
/// The file was written by a container: the path is resolved with the volume as root, so that no link
/// leads out, and no more than [`MAX_FILE`] bytes are read.
pub(crate) fn read_key(root: &Path, selector: &FileKeySelector) -> Result<Option<String>, FileKeyError> {
    let unreadable = |message: String| FileKeyError::Unreadable {
        volume: selector.volume_name.clone(),
        path: selector.path.clone(),
        message,
    };
    let optional = selector.optional == Some(true);
    let text = match read_inside(root, &selector.path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && optional => return Ok(None),
        Err(e) => return Err(unreadable(e.to_string())),
    };
    match find_key(&text, &selector.key).map_err(unreadable)? {
        Some(value) => Ok(Some(value)),
        None if optional => Ok(None),
        None => Err(FileKeyError::NoKey {
            volume: selector.volume_name.clone(),
            path: selector.path.clone(),
            key: selector.key.clone(),
        }),
    }
}

fn read_inside(root: &Path, path: &str) -> std::io::Result<String> {
    let dir = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let fd = rustix::fs::openat2(
        dir,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?;
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "larger than 64 KiB"));
    }
    Ok(text)
}

/// Looks a key up in `KEY=value` lines; the first one wins. Values may stand in single or double quotes.
fn find_key(text: &str, key: &str) -> Result<Option<String>, String> {
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| format!("line {}: no '='", number + 1))?;
        if name.trim() == key {
            return Ok(Some(unquote(value.trim()).to_owned()));
        }
    }
    Ok(None)
}

fn unquote(value: &str) -> &str {
    ['\'', '"'].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(path: &str, key: &str, optional: bool) -> FileKeySelector {
        FileKeySelector {
            volume_name: "v".to_owned(),
            path: path.to_owned(),
            key: key.to_owned(),
            optional: Some(optional),
        }
    }

    #[test]
    fn s11_20_keys_are_found_and_missing_ones_follow_optional() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("e.env"), "# comment\n\nA=1\nB='two words'\nC=\"x=y\"\nA=2\n").expect("written");
        let read = |key: &str, optional| read_key(dir.path(), &selector("e.env", key, optional));
        assert_eq!(read("A", false), Ok(Some("1".to_owned())));
        assert_eq!(read("B", false), Ok(Some("two words".to_owned())));
        assert_eq!(read("C", false), Ok(Some("x=y".to_owned())));
        assert_eq!(read("D", true), Ok(None));
        assert!(matches!(read("D", false), Err(FileKeyError::NoKey { .. })));
        assert_eq!(read_key(dir.path(), &selector("none", "A", true)), Ok(None));
        assert!(matches!(read_key(dir.path(), &selector("none", "A", false)), Err(FileKeyError::Unreadable { .. })));
    }

    #[test]
    fn s11_20_a_link_planted_by_a_container_does_not_lead_out_of_the_volume() {
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::write(outside.path().join("secret"), "A=stolen\n").expect("written");
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("e.env")).expect("linked");
        let got = read_key(dir.path(), &selector("e.env", "A", false));
        assert!(matches!(got, Err(FileKeyError::Unreadable { .. })), "{got:?}");
    }
}
