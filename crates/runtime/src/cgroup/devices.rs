//! Which devices a container may use.

use super::{
    Result, device_filter, file,
    group::{Group, Place},
};

/// Character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Opening for reading.
    pub read: bool,
    /// Opening for writing.
    pub write: bool,
    /// Making a node of it.
    pub mknod: bool,
}

impl DeviceAccess {
    /// Reading, writing, making nodes.
    pub const ALL: Self = Self { read: true, write: true, mknod: true };
    /// Making nodes only.
    pub const MKNOD: Self = Self { read: false, write: false, mknod: true };
}

/// Allows the use of a device, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Kind.
    pub kind: DeviceKind,
    /// Major number; `None`: any.
    pub major: Option<u32>,
    /// Minor number; `None`: any.
    pub minor: Option<u32>,
    /// What is allowed.
    pub access: DeviceAccess,
}

impl DeviceRule {
    /// What every container may use, as with runc (libcontainer/specconv `AllowedDevices`): making nodes of any
    /// device without opening them; null, zero, full, random, urandom, tty, the pty devices, tun.
    pub const STANDARD: [Self; 11] = [
        Self { kind: DeviceKind::Char, major: None, minor: None, access: DeviceAccess::MKNOD },
        Self { kind: DeviceKind::Block, major: None, minor: None, access: DeviceAccess::MKNOD },
        Self::char(1, Some(3)),
        Self::char(1, Some(5)),
        Self::char(1, Some(7)),
        Self::char(1, Some(8)),
        Self::char(1, Some(9)),
        Self::char(5, Some(0)),
        Self::char(5, Some(2)),
        Self::char(136, None),
        Self::char(10, Some(200)),
    ];

    const fn char(major: u32, minor: Option<u32>) -> Self {
        Self { kind: DeviceKind::Char, major: Some(major), minor, access: DeviceAccess::ALL }
    }

    /// Returns the rule as `devices.allow` takes it: `c 1:3 rwm`.
    fn to_v1(self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let DeviceAccess { read, write, mknod } = self.access;
        let access: String =
            [(read, 'r'), (write, 'w'), (mknod, 'm')].iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// Forbids all devices but those of `rules`.
pub(super) fn restrict(group: &Group, rules: &[DeviceRule]) -> Result<()> {
    match group.place("devices") {
        Some(Place::V1(dir)) => {
            file::write(&dir.join("devices.deny"), "a")?;
            let allow = dir.join("devices.allow");
            rules.iter().try_for_each(|rule| file::write(&allow, &rule.to_v1()))
        }
        Some(Place::V2(dir)) => device_filter::attach(&dir, rules),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_the_kernel_reads_them() {
        let lines: Vec<String> = DeviceRule::STANDARD.iter().map(|rule| rule.to_v1()).collect();
        assert_eq!(lines[..3], ["c *:* m", "b *:* m", "c 1:3 rwm"]);
        assert!(lines.contains(&"c 136:* rwm".to_owned()));
    }
}
