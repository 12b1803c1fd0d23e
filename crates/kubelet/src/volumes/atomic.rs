//! Content volumes are swapped as a whole, so that a reader never sees half of an update
//! (pkg/volume/util/atomic_writer.go, contract S11-05).
//!
//! Layout: the files lie in a directory `..<time>`, `..data` is a link to it, and each first path component
//! is a link into `..data`. An update writes a new directory and renames a new `..data` over the old one.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    path::{Component, Path},
};

use super::{Payload, remove_tree};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Writes the payload; does nothing when it is there already.
///
/// Containers see these volumes read-only, so nothing in them is theirs.
pub(super) fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(directory_mode(group)))?;
    if let Some(group) = group {
        chown(dir, None, Some(group))?;
    }
    let old = fs::read_link(dir.join(DATA)).ok();
    if let Some(old) = &old
        && holds(&dir.join(old), payload)
    {
        return Ok(());
    }
    let fresh = format!("..{}", crate::clock::wall_nanos());
    write_files(&dir.join(&fresh), payload, group)?;
    let next = dir.join(NEW_DATA);
    let _ = fs::remove_file(&next);
    symlink(&fresh, &next)?;
    fs::rename(&next, dir.join(DATA))?;
    link_names(dir, payload)?;
    match old {
        Some(old) if old.components().count() == 1 => remove_tree(&dir.join(old)),
        _ => Ok(()),
    }
}

fn write_files(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    make_directory(dir, group)?;
    for (path, file) in payload {
        let target = dir.join(path);
        let mut parent = dir.to_path_buf();
        for part in path.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            if !parent.is_dir() {
                make_directory(&parent, group)?;
            }
        }
        // Nobody else reads it before it has its owner and mode: containers may see the directory already.
        let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
        new.write_all(&file.data)?;
        let mut mode = file.mode;
        if file.user.is_some() {
            chown(&target, file.user, None)?;
        }
        if let Some(group) = group {
            chown(&target, None, Some(group))?;
            mode |= 0o440;
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn make_directory(dir: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(dir)?;
    if let Some(group) = group {
        chown(dir, None, Some(group))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(directory_mode(group)))
}

fn directory_mode(group: Option<u32>) -> u32 {
    if group.is_some() { 0o2775 } else { 0o755 }
}

/// Tells whether a directory has exactly these files.
fn holds(dir: &Path, payload: &Payload) -> bool {
    let same = payload.iter().all(|(path, file)| fs::read(dir.join(path)).is_ok_and(|data| data == file.data));
    same && count(dir).is_ok_and(|n| n == payload.len())
}

/// Counts the files below a directory of ours.
fn count(dir: &Path) -> io::Result<usize> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(total)
}

/// Makes the links that users see, and removes those of keys that are gone.
fn link_names(dir: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<OsString> = payload.keys().filter_map(|p| first_component(p)).collect();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with("..");
        if !ours && !names.contains(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in names {
        let link = dir.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&name), &link)?;
        }
    }
    Ok(())
}

fn first_component(path: &Path) -> Option<OsString> {
    match path.components().next()? {
        Component::Normal(name) => Some(name.to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    }
}
