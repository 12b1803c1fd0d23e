//! Looks at the machine, as the kubelet's statistics do. A look takes microseconds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    options::Signal,
    pressure::{Observation, Observations},
};

/// The file systems that are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    node: PathBuf,
    images: PathBuf,
    /// Whether both are one.
    pub(crate) shared: bool,
}

impl Places {
    /// Takes the agent's directory and that of the images.
    pub(crate) fn new(node: &Path, images: PathBuf) -> Self {
        let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev).ok();
        Self { node: node.to_owned(), shared: device(node) == device(&images), images }
    }

    /// Looks.
    pub(crate) fn observe(&self) -> Observations {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let nodefs = file_system(&self.node);
        let imagefs = if self.shared { nodefs } else { file_system(&self.images) };
        let pids =
            pids(&read("/proc/loadavg"), &read("/proc/sys/kernel/pid_max"), &read("/proc/sys/kernel/threads-max"));
        let all = [
            (Signal::Memory, memory(&read("/proc/meminfo"))),
            (Signal::NodeFs, nodefs.map(|(bytes, _)| bytes)),
            (Signal::NodeFsInodes, nodefs.map(|(_, inodes)| inodes)),
            (Signal::ImageFs, imagefs.map(|(bytes, _)| bytes)),
            (Signal::ImageFsInodes, imagefs.map(|(_, inodes)| inodes)),
            (Signal::Pids, pids),
        ];
        all.into_iter().filter_map(|(signal, observed)| Some((signal, observed?))).collect()
    }
}

/// Returns what a file system has of bytes and of files. One that does not count files has as many as are wanted.
fn file_system(path: &Path) -> Option<(Observation, Observation)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let units = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let bytes = |blocks: u64| units(blocks.saturating_mul(stat.f_frsize));
    let free = if stat.f_files == 0 { i64::MAX } else { units(stat.f_ffree) };
    Some((
        Observation { available: bytes(stat.f_bavail), capacity: bytes(stat.f_blocks) },
        Observation { available: free, capacity: units(stat.f_files) },
    ))
}

/// Returns all memory but the working set: anonymous memory and files, except for files that have not been used for a
/// while. So cadvisor and runc count the root cgroup in both versions; the kernel's own memory is left out.
fn memory(meminfo: &str) -> Option<Observation> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().trim_end_matches(" kB").parse::<i64>().ok()
    };
    let used = kib("AnonPages")? + kib("Cached")? + kib("Buffers")? + kib("SwapCached").unwrap_or(0);
    let working_set = (used - kib("Inactive(file)")?).max(0);
    let capacity = kib("MemTotal")?;
    Some(Observation { available: (capacity - working_set).max(0) * 1024, capacity: capacity * 1024 })
}

/// Counts tasks against the lower of the two limits (pkg/kubelet/stats/pidlimit).
fn pids(loadavg: &str, pid_max: &str, threads_max: &str) -> Option<Observation> {
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let capacity = [number(pid_max), number(threads_max)].into_iter().flatten().min()?;
    let running = number(loadavg.split_whitespace().nth(3)?.split_once('/')?.1)?;
    Some(Observation { available: capacity - running, capacity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_56_memory_is_available_unless_it_is_in_the_working_set() {
        let text = "MemTotal:       1000 kB\nMemFree: 5 kB\nBuffers:  10 kB\nCached: 300 kB\nSwapCached: 1 kB\n\
                    Inactive: 7 kB\nInactive(file):  200 kB\nAnonPages:   400 kB\n";
        let want = Observation { available: 489 * 1024, capacity: 1000 * 1024 };
        assert_eq!(memory(text), Some(want));
        assert_eq!(memory(""), None);
    }

    #[test]
    fn s4_56_processes_are_counted_against_the_lower_limit() {
        let want = Observation { available: 32768 - 456, capacity: 32768 };
        assert_eq!(pids("0.00 0.01 0.05 1/456 5342\n", "4194304\n", "32768\n"), Some(want));
        assert_eq!(pids("", "1", "1"), None);
    }

    #[test]
    fn s4_56_a_machine_has_some_of_everything() {
        let places = Places::new(Path::new("/"), "/".into());
        assert!(places.shared);
        let seen = places.observe();
        assert_eq!(seen.len(), 6, "{seen:?}");
        assert!(seen.values().all(|observed| observed.available > 0), "{seen:?}");
    }
}
