//! Who a container's processes are: user, groups and home from the image's own files.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::BorrowedFd,
    path::Path,
};

use cri::{ImageUser, LinuxUser, SecurityContext};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::resolve::open_in;

/// Most bytes read of the image's `/etc/passwd` and `/etc/group`; real ones have some kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// Most groups taken from the image's `/etc/group`; the kernel's own limit is `NGROUPS_MAX`, 65,536.
const MAX_GROUPS: usize = 1024;

/// User and groups as numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Home directory, for `HOME` when nobody sets it.
    pub(crate) home: String,
}

impl Identity {
    /// Returns what others are told of it.
    pub(crate) fn user(&self) -> LinuxUser {
        LinuxUser { uid: self.uid, gid: self.gid, groups: self.groups.clone() }
    }
}

/// One line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// Finds out who the container's process is, with the names that the image at `root` knows.
///
/// As with containerd behind a kubelet: a number needs no entry; without an entry the group is 0; a group
/// that the image names beside the user is not considered.
pub(crate) fn identify(
    root: BorrowedFd<'_>,
    image_user: &ImageUser,
    security: &SecurityContext,
) -> Result<Identity, String> {
    let accounts = parse_accounts(&read_file(root, "etc/passwd").map_err(|e| format!("read /etc/passwd: {e}"))?);
    let uid = match (security.run_as_user, image_user) {
        (Some(uid), _) => uid,
        (None, ImageUser::Uid(uid)) => *uid,
        (None, ImageUser::Unset) => 0,
        (None, ImageUser::Name(name)) => {
            accounts
                .iter()
                .find(|account| account.name == *name)
                .ok_or_else(|| format!("unable to find user {name}: no matching entries in passwd file"))?
                .uid
        }
    };
    let account = accounts.into_iter().find(|account| account.uid == uid);
    let gid = security.run_as_group.or_else(|| account.as_ref().map(|account| account.gid)).unwrap_or(0);
    let mut groups = vec![gid];
    if let Some(account) = account.as_ref().filter(|_| !security.supplemental_groups_strict) {
        let file = read_file(root, "etc/group").map_err(|e| format!("read /etc/group: {e}"))?;
        groups.extend(memberships(&file, &account.name).take(MAX_GROUPS));
    }
    groups.extend(&security.supplemental_groups);
    groups.sort_unstable();
    groups.dedup();
    let home = account.map(|account| account.home).filter(|home| !home.is_empty()).unwrap_or_else(|| "/".into());
    Ok(Identity { uid, gid, groups, home })
}

/// Reads a file of the image, as text; a missing one is empty.
fn read_file(root: BorrowedFd<'_>, path: &str) -> io::Result<String> {
    // Non-blocking, so that an image with a pipe in that place stops nobody.
    let fd = match open_in(root, Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Parses `/etc/passwd`; lines that are not entries are passed over, as the C library does.
fn parse_accounts(file: &str) -> Vec<Account> {
    file.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or("").to_owned() })
        })
        .collect()
}

/// Ids of the groups in `/etc/group` that list `user`.
fn memberships<'a>(file: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    file.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let gid = fields.nth(2)?.parse().ok()?;
        fields.next()?.split(',').any(|member| member.trim() == user).then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsFd};

    use super::*;

    fn image() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\n# comment\n\nweb:x:101:201:Web:/srv/web:/bin/false\nbad:x:y:z\n",
        )
        .unwrap();
        fs::write(dir.path().join("etc/group"), "root:x:0:\nlogs:x:300:web,root\nother:x:301:root\n").unwrap();
        dir
    }

    fn check(image_user: ImageUser, security: SecurityContext) -> Result<Identity, String> {
        let dir = image();
        let root = File::open(dir.path()).map_err(|e| e.to_string())?;
        identify(root.as_fd(), &image_user, &security)
    }

    #[test]
    fn a_name_brings_group_memberships_and_home() {
        let id = check(ImageUser::Name("web".into()), SecurityContext::default()).unwrap();
        assert_eq!(id, Identity { uid: 101, gid: 201, groups: vec![201, 300], home: "/srv/web".into() });
    }

    #[test]
    fn strict_groups_leave_the_image_out() {
        let security = SecurityContext {
            supplemental_groups_strict: true,
            supplemental_groups: vec![7],
            run_as_group: Some(9),
            ..Default::default()
        };
        let id = check(ImageUser::Name("web".into()), security).unwrap();
        assert_eq!((id.gid, id.groups), (9, vec![7, 9]));
    }

    #[test]
    fn an_unknown_number_is_allowed_and_an_unknown_name_is_not() {
        let id = check(ImageUser::Uid(4711), SecurityContext::default()).unwrap();
        assert_eq!((id.uid, id.gid, id.home.as_str()), (4711, 0, "/"));
        let error = check(ImageUser::Name("nobody-here".into()), SecurityContext::default()).unwrap_err();
        assert_eq!(error, "unable to find user nobody-here: no matching entries in passwd file");
    }
}
