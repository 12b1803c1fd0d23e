//! Errors of the network module.

use std::{io, net::Ipv4Addr, path::PathBuf};

use super::Subnet;

/// Result of a network operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a network operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(clippy::error_impl_error, reason = "always used with its module's name")]
pub enum Error {
    /// An option makes no sense.
    #[error("invalid network option: {reason}")]
    InvalidOption {
        /// Which, and why.
        reason: String,
    },
    /// The pod network exists already, with another subnet than the one asked for.
    #[error("the pod network uses {used}, not {asked}; stop all pods on this machine to change it")]
    OtherSubnet {
        /// In use.
        used: Subnet,
        /// Asked for.
        asked: Subnet,
    },
    /// All addresses are leased.
    #[error("no free address in the pod network {subnet}")]
    Exhausted {
        /// The pod network.
        subnet: Subnet,
    },
    /// The process shares our network namespace.
    #[error("process {pid} has no network namespace of its own")]
    HostNamespace {
        /// The process.
        pid: u32,
    },
    /// There is no lease for the sandbox.
    #[error("sandbox {sandbox} has no lease on {address}")]
    NotLeased {
        /// The sandbox.
        sandbox: String,
        /// The address.
        address: Ipv4Addr,
    },
    /// Two sandboxes want the same port of the host.
    #[error("port {port} of the host is in use by another pod")]
    PortInUse {
        /// As `tcp 127.0.0.1:80` or `tcp 80`.
        port: String,
    },
    /// Ports of the host cannot be mapped here.
    #[error("couldn't map a port of the host: the kernel has no nftables NAT for us")]
    NoNat,
    /// A port mapping makes no sense.
    #[error("invalid port mapping: {reason}")]
    InvalidPort {
        /// What is wrong.
        reason: String,
    },
    /// The kernel refused a netlink request.
    #[error("couldn't {action}")]
    Netlink {
        /// What was being done, to which object.
        action: String,
        /// Cause.
        source: io::Error,
    },
    /// A file could not be used.
    #[error("couldn't {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The state of the network cannot be understood.
    #[error("couldn't understand {}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: serde_json::Error,
    },
}

impl Error {
    /// Returns the kernel's error number, if that is what it was.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Netlink { source, .. } | Self::Io { source, .. } => source.raw_os_error(),
            Self::InvalidOption { .. }
            | Self::OtherSubnet { .. }
            | Self::Exhausted { .. }
            | Self::HostNamespace { .. }
            | Self::NotLeased { .. }
            | Self::PortInUse { .. }
            | Self::NoNat
            | Self::InvalidPort { .. }
            | Self::Corrupt { .. } => None,
        }
    }
}
