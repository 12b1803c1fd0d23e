//! Removal of directories that containers have written to.

use std::{io, path::Path};

/// Removes a directory with everything below it; a missing one is fine.
///
/// Guarantee: no symbolic link is followed, neither one that a container planted nor one that it swaps in
/// while this runs. The standard library walks with `openat(O_NOFOLLOW)` and `unlinkat`, and removes a
/// link itself.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
