//! Translates resource limits into the files of either cgroup version.
//!
//! A limit that was asked for and cannot be enforced is an error. CPU shares are different: every
//! container has them, they only matter when CPU is short, and so their absence is reported once.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use cri::{Memory, Resources};

use super::{Error, Result, file, group::Group, group::Place, is_gone};

/// Smallest and largest CPU shares of cgroup v1 (kernel, `MIN_SHARES` and `MAX_SHARES`).
const SHARES: (u64, u64) = (2, 262_144);

/// Period when only a quota is given (kubelet, `QuotaPeriod`).
const DEFAULT_PERIOD: u64 = 100_000;

/// Cgroup v1 shows the largest number of pages for no limit.
const V1_UNLIMITED: u64 = 1 << 62;

/// Writes every limit that is given; `None` leaves what is there.
pub(super) fn apply(group: &Group, resources: &Resources) -> Result<()> {
    if let Some(shares) = resources.cpu_shares {
        set_shares(group, shares)?;
    }
    if resources.cpu_quota.is_some() || resources.cpu_period.is_some() {
        set_quota(group, resources.cpu_quota, resources.cpu_period)?;
    }
    if let Some(limit) = resources.memory_limit {
        set_memory(group, limit)?;
    }
    if let Some(limit) = resources.pids_limit {
        set_pids(group, limit)?;
    }
    if let Some(cpus) = &resources.cpuset_cpus {
        set_cpuset(group, cpus)?;
    }
    Ok(())
}

/// Converts CPU shares (v1) into a weight (v2) as runc 1.3.2 and crun 1.23 do: the curve meets the
/// minima, the defaults (1,024 and 100) and the maxima of both scales.
pub fn weight_of_shares(shares: u64) -> u64 {
    if shares <= SHARES.0 {
        return 1;
    }
    if shares >= SHARES.1 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "shares are below 2^18 here")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10,000")]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

fn set_shares(group: &Group, shares: u64) -> Result<()> {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    let shares = shares.clamp(SHARES.0, SHARES.1);
    let outcome = match group.place("cpu") {
        Some(Place::V1(dir)) => limit_file(group, "CPU shares", "cpu", &dir.join("cpu.shares"), &shares.to_string()),
        Some(Place::V2(dir)) => {
            let weight = weight_of_shares(shares).to_string();
            limit_file(group, "CPU shares", "cpu", &dir.join("cpu.weight"), &weight)
        }
        None => Err(unsupported(group, "CPU shares", "cpu")),
    };
    match outcome {
        Err(error @ Error::Unsupported { .. }) => {
            if !REPORTED.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "CPU requests have no effect on this machine");
            }
            Ok(())
        }
        other => other,
    }
}

fn set_quota(group: &Group, quota: Option<i64>, period: Option<u64>) -> Result<()> {
    match group.place("cpu") {
        Some(Place::V1(dir)) => set_quota_v1(group, &dir, quota, period),
        Some(Place::V2(dir)) => {
            let quota = quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            let value = format!("{quota} {}", period.filter(|p| *p > 0).unwrap_or(DEFAULT_PERIOD));
            limit_file(group, "a CPU limit", "cpu", &dir.join("cpu.max"), &value)
        }
        None if quota.is_none_or(|quota| quota <= 0) => Ok(()),
        None => Err(unsupported(group, "a CPU limit", "cpu")),
    }
}

/// The kernel checks quota/period against the parent's after each of the two writes, so that the order in
/// which a change passes depends on the values before.
fn set_quota_v1(group: &Group, dir: &Path, quota: Option<i64>, period: Option<u64>) -> Result<()> {
    let write = |name: &str, value: Option<String>| match value {
        Some(value) => limit_file(group, "a CPU limit", "cpu", &dir.join(name), &value),
        None => Ok(()),
    };
    let quota = quota.map(|quota| if quota > 0 { quota } else { -1 }.to_string());
    let period = period.filter(|period| *period > 0).map(|period| period.to_string());
    if write("cpu.cfs_period_us", period.clone()).is_ok() {
        return write("cpu.cfs_quota_us", quota);
    }
    write("cpu.cfs_quota_us", quota)?;
    write("cpu.cfs_period_us", period)
}

/// 0 and values beyond the signed range mean no limit.
fn set_memory(group: &Group, limit: u64) -> Result<()> {
    let limit = i64::try_from(limit).ok().filter(|limit| *limit > 0);
    match group.place("memory") {
        Some(Place::V1(dir)) => set_memory_v1(group, &dir, limit.unwrap_or(-1)),
        Some(Place::V2(dir)) => {
            let value = limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
            limit_file(group, "a memory limit", "memory", &dir.join("memory.max"), &value)?;
            // No swap, as the kubelet's default (memorySwap.swapBehavior NoSwap); absent without swap accounting.
            let swap = if limit.is_some() { "0" } else { "max" };
            ignore_missing(file::write(&dir.join("memory.swap.max"), swap))
        }
        None if limit.is_none() => Ok(()),
        None => Err(unsupported(group, "a memory limit", "memory")),
    }
}

/// Memory and swap together may never be less than memory: raise the sum first, lower it last.
fn set_memory_v1(group: &Group, dir: &Path, limit: i64) -> Result<()> {
    let memory =
        || limit_file(group, "a memory limit", "memory", &dir.join("memory.limit_in_bytes"), &limit.to_string());
    // Absent without swap accounting.
    let sum = || ignore_missing(file::write(&dir.join("memory.memsw.limit_in_bytes"), &limit.to_string()));
    let now = file::read(&dir.join("memory.memsw.limit_in_bytes")).ok().and_then(|text| text.trim().parse().ok());
    if limit < 0 || now.is_some_and(|now: i64| limit > now) {
        sum()?;
        memory()
    } else {
        memory()?;
        sum()
    }
}

/// Returns what is used and what may be; nothing without a memory controller.
pub(super) fn memory(group: &Group) -> Result<Memory> {
    let (dir, used, limit, idle) = match group.place("memory") {
        Some(Place::V1(dir)) => (dir, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file "),
        Some(Place::V2(dir)) => (dir, "memory.current", "memory.max", "inactive_file "),
        None => return Ok(Memory::default()),
    };
    let text = |name: &str| match file::read(&dir.join(name)) {
        Err(Error::Io { source, .. }) if is_gone(&source) => Ok(String::new()),
        other => other,
    };
    let used = text(used)?.trim().parse().unwrap_or(0);
    let limit = text(limit)?.trim().parse().ok().filter(|&limit: &u64| limit < V1_UNLIMITED);
    let stat = text("memory.stat")?;
    let idle = stat.lines().find_map(|line| line.strip_prefix(idle)?.trim().parse().ok()).unwrap_or(0);
    Ok(Memory { used, working_set: used.saturating_sub(idle), limit })
}

fn set_pids(group: &Group, limit: u64) -> Result<()> {
    let value = match i64::try_from(limit) {
        Ok(limit) if limit > 0 => limit.to_string(),
        Ok(_) | Err(_) => "max".to_owned(),
    };
    match group.place("pids") {
        Some(Place::V1(dir) | Place::V2(dir)) => {
            limit_file(group, "a limit of processes", "pids", &dir.join("pids.max"), &value)
        }
        None if value == "max" => Ok(()),
        None => Err(unsupported(group, "a limit of processes", "pids")),
    }
}

fn set_cpuset(group: &Group, cpus: &str) -> Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    match group.place("cpuset") {
        Some(Place::V1(dir) | Place::V2(dir)) => {
            limit_file(group, "a set of CPUs", "cpuset", &dir.join("cpuset.cpus"), cpus)
        }
        None => Err(unsupported(group, "a set of CPUs", "cpuset")),
    }
}

/// Writes a limit; a missing file means that the controller is not enabled in this cgroup.
fn limit_file(group: &Group, limit: &'static str, controller: &'static str, path: &Path, value: &str) -> Result<()> {
    match file::try_write(path, value) {
        Err(source) if source.kind() == io::ErrorKind::NotFound && group.exists() => {
            Err(unsupported(group, limit, controller))
        }
        Err(source) => Err(file::failed(&format!("write {value:?} to"), path, source)),
        Ok(()) => Ok(()),
    }
}

fn ignore_missing(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn unsupported(group: &Group, limit: &'static str, controller: &'static str) -> Error {
    Error::Unsupported { limit, group: group.path().to_owned(), controller }
}

#[cfg(test)]
mod tests {
    use super::weight_of_shares;

    #[test]
    fn weights_are_those_of_runc_1_3_2() {
        let cases = [(0, 1), (2, 1), (102, 17), (1_024, 100), (2_048, 174), (262_144, 10_000), (u64::MAX, 10_000)];
        for (shares, weight) in cases {
            assert_eq!(weight_of_shares(shares), weight, "shares {shares}");
        }
    }
}
