//! Capabilities of a container's processes.

use rustix::thread::{CapabilitySet, CapabilitySets};

/// What containerd and Docker give by default.
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// All capabilities of `linux/capability.h`, by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Returns what the container may have at most.
///
/// # Errors
/// The text for the user when a name is unknown.
pub(crate) fn allowed(security: &cri::SecurityContext) -> Result<CapabilitySet, String> {
    if security.privileged {
        return Ok(all());
    }
    let mut set = DEFAULT;
    let is_all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("all"));
    if is_all(&security.capabilities.add) {
        set = all();
    }
    if is_all(&security.capabilities.drop) {
        set = CapabilitySet::empty();
    }
    for name in security.capabilities.drop.iter().filter(|name| !name.eq_ignore_ascii_case("all")) {
        set.remove(parse(name)?);
    }
    for name in security.capabilities.add.iter().filter(|name| !name.eq_ignore_ascii_case("all")) {
        set.insert(parse(name)?);
    }
    Ok(set)
}

fn all() -> CapabilitySet {
    (0..NAMES.len()).fold(CapabilitySet::empty(), |set, number| set.union(CapabilitySet::from_bits_retain(1 << number)))
}

fn parse(name: &str) -> Result<CapabilitySet, String> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|known| *known == short)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .ok_or_else(|| format!("unknown capability {name:?}"))
}

/// Takes everything else away for good: no program can bring it back.
pub(crate) fn drop_bounding(keep: CapabilitySet) -> rustix::io::Result<()> {
    for number in 0..NAMES.len() {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !keep.contains(one) {
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // A capability that this kernel does not know.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Sets the process's own sets after the change of user: root has what is allowed, others nothing.
///
/// As in containerd the inheritable set stays empty (CVE-2022-24769). What the runtime itself lacks
/// cannot be given; it is left out.
pub(crate) fn apply(allowed: CapabilitySet, uid: u32) -> rustix::io::Result<()> {
    let own = rustix::thread::capabilities(None)?.permitted;
    let set = if uid == 0 { allowed & own } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str]) -> Result<CapabilitySet, String> {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        allowed(&cri::SecurityContext {
            capabilities: cri::Capabilities { add: own(add), drop: own(drop) },
            ..Default::default()
        })
    }

    #[test]
    fn added_ones_win_over_drop_all() {
        assert_eq!(check(&["NET_BIND_SERVICE"], &["ALL"]).unwrap(), CapabilitySet::NET_BIND_SERVICE);
        assert_eq!(check(&["CAP_SYS_TIME"], &[]).unwrap(), DEFAULT | CapabilitySet::SYS_TIME);
        assert_eq!(check(&["all"], &["CHOWN"]).unwrap(), all() - CapabilitySet::CHOWN);
        assert_eq!(check(&[], &[]).unwrap().bits(), 0xa804_25fb, "the set that Docker documents");
        check(&["FLY"], &[]).unwrap_err();
    }
}
