//! Termination messages (contract S5-09; kuberuntime_container.go `getTerminationMessage`).

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use pod_lifecycle::{ContainerPlan, PodPlan};
use rustix::fs::{Mode, OFlags};

use crate::{logs, paths::PodPaths};

/// Most bytes of a message file.
const MAX_FILE: u64 = 4096;
/// Most bytes taken from a log.
const MAX_LOG: usize = 2048;
/// Most lines taken from a log.
const MAX_LOG_LINES: usize = 80;
/// Most bytes of all messages of a pod together.
const MAX_POD: usize = 12 * 1024;

/// Returns the message of an ended instance: what the runtime says, then what the container wrote.
pub(crate) fn message(
    plan: &PodPlan,
    container: &ContainerPlan,
    paths: &PodPaths,
    status: &cri::ContainerStatus,
) -> String {
    let written = written(container, paths, status);
    let text = match (status.message.is_empty(), written.is_empty()) {
        (true, _) => written,
        (false, true) => status.message.clone(),
        (false, false) => format!("{}: {written}", status.message),
    };
    cut(text, MAX_POD / plan.containers.len().max(1))
}

fn written(container: &ContainerPlan, paths: &PodPaths, status: &cri::ContainerStatus) -> String {
    let file = paths.termination_message(&status.name, status.attempt);
    match tail(&file) {
        Ok(text) if !text.is_empty() => return text,
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return format!("Error on reading termination log {}: {e}", file.display());
        }
        _ => {}
    }
    let fall_back = container.spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if fall_back && status.exit_code != 0 && status.started_at > 0 {
        let log = paths.log(&status.name, status.attempt);
        return logs::last_lines(&log, MAX_LOG_LINES, MAX_LOG).unwrap_or_default();
    }
    String::new()
}

/// Reads the end of a file that a container wrote: no link is followed, nothing is waited for.
fn tail(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    file.seek(SeekFrom::Start(meta.len().saturating_sub(MAX_FILE)))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes the file that an instance is to write to; an old one is emptied.
pub(crate) fn make_file(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(path)?;
    // Whoever the container runs as may write; the directory above keeps others out.
    file.set_permissions(std::fs::Permissions::from_mode(0o666))
}

/// Keeps the beginning of a text without splitting a character.
fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_09_only_the_last_4096_bytes_of_a_file_count() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("m");
        std::fs::write(&path, format!("{}{}", "a".repeat(10), "b".repeat(4096))).expect("written");
        assert_eq!(tail(&path).expect("read"), "b".repeat(4096));
    }

    #[test]
    fn a_link_or_pipe_in_place_of_the_file_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).expect("linked");
        assert!(tail(&link).is_err());
        let missing = tail(&dir.path().join("none")).expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aäb".to_owned(), 2), "a");
        assert_eq!(cut("aäb".to_owned(), 3), "aä");
        assert_eq!(cut("ab".to_owned(), 5), "ab");
    }
}
