//! Finds the mounted cgroup hierarchies.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::{Cgroups, Error, Hierarchy, Result, file};

/// Reads the calling process's mount table and cgroup membership.
pub(super) fn detect() -> Result<Cgroups> {
    let read = |path: &str| {
        let path = Path::new(path);
        fs::read_to_string(path).map_err(|source| file::failed("read", path, source))
    };
    parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
}

/// Matches the hierarchies of `/proc/self/cgroup` with the mounts of `/proc/self/mountinfo`.
fn parse(mountinfo: &str, membership: &str) -> Result<Cgroups> {
    let mounts: Vec<CgroupMount> = mountinfo.lines().filter_map(CgroupMount::parse).collect();
    let v1 = membership.lines().filter_map(|line| find_v1(line, &mounts)).collect::<Vec<_>>();
    let unified = mounts.iter().find(|mount| mount.unified).map(|mount| mount.point.clone());
    if v1.is_empty() && unified.is_none() {
        return Err(Error::NotMounted);
    }
    Ok(Cgroups { v1, unified })
}

/// Takes a line `4:cpu,cpuacct:/path`; the one of the unified hierarchy (`0::/path`) names no controller.
fn find_v1(line: &str, mounts: &[CgroupMount]) -> Option<Hierarchy> {
    let controllers: Vec<String> =
        line.split(':').nth(1)?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if controllers.is_empty() {
        return None;
    }
    let mount = mounts.iter().find(|mount| !mount.unified && controllers.iter().all(|c| mount.options.contains(c)))?;
    Some(Hierarchy { controllers, mount: mount.point.clone() })
}

struct CgroupMount {
    unified: bool,
    point: PathBuf,
    options: Vec<String>,
}

impl CgroupMount {
    /// Takes one line of mountinfo (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        let unified = match back.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let options = back.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect();
        Some(Self { unified, point: unescape(front.split(' ').nth(4)?), options })
    }
}

/// Resolves the octal escapes that the kernel writes for blanks and backslashes.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEMD_HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/cpuset rw shared:12 - cgroup cgroup rw,cpuset
";

    #[test]
    fn a_hybrid_layout_keeps_joint_controllers_together() {
        let cgroups =
            parse(SYSTEMD_HYBRID, "5:cpuset:/\n3:cpu,cpuacct:/user\n1:name=systemd:/init.scope\n0::/init.scope\n")
                .unwrap();
        let found: Vec<_> = cgroups.v1.iter().map(|h| (h.controllers.join("+"), h.mount.to_str().unwrap())).collect();
        assert_eq!(
            found,
            [
                ("cpuset".to_owned(), "/sys/fs/cgroup/cpuset"),
                ("cpu+cpuacct".to_owned(), "/sys/fs/cgroup/cpu,cpuacct"),
                ("name=systemd".to_owned(), "/sys/fs/cgroup/systemd"),
            ]
        );
        assert_eq!(cgroups.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn a_unified_layout_has_no_v1_hierarchy() {
        let cgroups = parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/user.slice\n").unwrap();
        assert!(cgroups.v1.is_empty());
        assert_eq!(cgroups.unified.as_deref(), Some(Path::new("/sys/fs/cgroup")));
    }

    #[test]
    fn nothing_mounted_is_an_error() {
        assert!(matches!(parse("23 1 8:1 / / rw - ext4 /dev/vda rw\n", "0::/\n"), Err(Error::NotMounted)));
    }

    #[test]
    fn escaped_mount_points_are_resolved() {
        assert_eq!(unescape("/a\\040b\\134c"), Path::new("/a b\\c"));
    }
}
