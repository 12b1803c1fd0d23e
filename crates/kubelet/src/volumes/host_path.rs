//! hostPath volumes: the checks of `type` (pkg/volume/hostpath/host_path.go, contract S11-12).

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Why a path does not fit its type.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostPathError {
    #[error("hostPath type check failed: {path} is not {what}")]
    Type { path: String, what: &'static str },
    #[error("{0} is an invalid volume type")]
    Unknown(String),
    #[error("failed to make {path}: {source}")]
    Make { path: String, source: io::Error },
}

/// Checks, and makes where the type says so.
pub(crate) fn check(path: &Path, type_: &str) -> Result<(), HostPathError> {
    let shown = || path.display().to_string();
    let make = |result: io::Result<()>| result.map_err(|source| HostPathError::Make { path: shown(), source });
    let require = |what: &'static str, fits: fn(&fs::FileType) -> bool| match fs::metadata(path) {
        Ok(meta) if fits(&meta.file_type()) => Ok(()),
        _ => Err(HostPathError::Type { path: shown(), what }),
    };
    match type_ {
        "" => Ok(()),
        "DirectoryOrCreate" if !path.exists() => make(make_directory(path)),
        "DirectoryOrCreate" | "Directory" => require("a directory", fs::FileType::is_dir),
        "FileOrCreate" if !path.exists() => make(make_file(path)),
        "FileOrCreate" | "File" => require("a file", fs::FileType::is_file),
        "Socket" => require("a socket file", |t| t.is_socket()),
        "CharDevice" => require("a character device", |t| t.is_char_device()),
        "BlockDevice" => require("a block device", |t| t.is_block_device()),
        other => Err(HostPathError::Unknown(other.to_owned())),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn make_file(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_12_each_type_is_checked_and_made_as_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("written");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).expect("bound");
        let missing = dir.path().join("missing");
        let text = |path: &Path, type_: &str| check(path, type_).err().map(|e| e.to_string());
        let not =
            |path: &Path, what: &str| Some(format!("hostPath type check failed: {} is not {what}", path.display()));

        assert_eq!(text(&missing, ""), None);
        assert_eq!(text(&missing, "Directory"), not(&missing, "a directory"));
        assert_eq!(text(&missing, "File"), not(&missing, "a file"));
        assert_eq!(text(&missing, "Socket"), not(&missing, "a socket file"));
        assert_eq!(text(&file, "Directory"), not(&file, "a directory"));
        assert_eq!(text(&file, "BlockDevice"), not(&file, "a block device"));
        assert_eq!(text(dir.path(), "Directory"), None);
        assert_eq!(text(&file, "File"), None);
        assert_eq!(text(&dir.path().join("socket"), "Socket"), None);
        assert_eq!(text(Path::new("/dev/null"), "CharDevice"), None);
        assert_eq!(text(&file, "Odd"), Some("Odd is an invalid volume type".to_owned()));

        assert_eq!(text(&dir.path().join("a/b"), "DirectoryOrCreate"), None);
        assert!(dir.path().join("a/b").is_dir());
        assert_eq!(text(&dir.path().join("new"), "FileOrCreate"), None);
        assert!(dir.path().join("new").is_file());
        assert_eq!(text(&file, "DirectoryOrCreate"), not(&file, "a directory"));
    }
}
