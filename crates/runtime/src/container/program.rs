//! Finding the program to execute, with the error texts that people know from other runtimes.

use std::{
    ffi::{CString, OsStr},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::Access;

/// `PATH` when neither image nor pod sets one.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds the file that `name` means, in the current root directory with the given environment.
///
/// # Errors
/// The text for the user, such as `exec: "x": executable file not found in $PATH`.
pub(crate) fn find(name: &str, env: &[String]) -> Result<CString, String> {
    let found = if name.contains('/') {
        check(Path::new(name)).map_err(|error| format!("exec: {name:?}: {error}"))?;
        PathBuf::from(name)
    } else {
        search(name, env).ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))?
    };
    CString::new(found.into_os_string().as_bytes()).map_err(|_| format!("exec: {name:?}: invalid argument"))
}

fn search(name: &str, env: &[String]) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or("");
    path.split(':')
        .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(OsStr::new(name)))
        .find(|candidate| check(candidate).is_ok())
}

fn check(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| format!("stat {}: {}", path.display(), describe(&error)))?;
    if metadata.is_dir() {
        return Err("is a directory".into());
    }
    if metadata.mode() & 0o111 == 0
        || rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, rustix::fs::AtFlags::EACCESS).is_err()
    {
        return Err("permission denied".into());
    }
    Ok(())
}

/// Returns the kernel's error in the plain words used everywhere in this field.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => "no such file or directory".into(),
        Some(rustix::io::Errno::ACCESS) => "permission denied".into(),
        Some(rustix::io::Errno::PERM) => "operation not permitted".into(),
        Some(rustix::io::Errno::NOTDIR) => "not a directory".into(),
        Some(rustix::io::Errno::ISDIR) => "is a directory".into(),
        Some(rustix::io::Errno::NOEXEC) => "exec format error".into(),
        Some(rustix::io::Errno::LOOP) => "too many levels of symbolic links".into(),
        Some(rustix::io::Errno::TOOBIG) => "argument list too long".into(),
        Some(rustix::io::Errno::NOSPC) => "no space left on device".into(),
        Some(rustix::io::Errno::ROFS) => "read-only file system".into(),
        Some(rustix::io::Errno::INVAL) => "invalid argument".into(),
        Some(rustix::io::Errno::CONNREFUSED) => "connection refused".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_on_a_cluster() {
        assert_eq!(
            find("/does-not-exist", &[]).unwrap_err(),
            "exec: \"/does-not-exist\": stat /does-not-exist: no such file or directory"
        );
        assert_eq!(find("/etc", &[]).unwrap_err(), "exec: \"/etc\": is a directory");
        assert_eq!(find("/etc/passwd", &[]).unwrap_err(), "exec: \"/etc/passwd\": permission denied");
        assert_eq!(
            find("no-such-program", &["PATH=/bin".into()]).unwrap_err(),
            "exec: \"no-such-program\": executable file not found in $PATH"
        );
        assert_eq!(find("sh", &["PATH=/nowhere:/bin".into()]).unwrap().to_str().unwrap(), "/bin/sh");
    }
}
