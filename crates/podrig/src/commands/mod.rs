//! The commands, one file each.

pub(crate) mod demo;
pub(crate) mod eviction;
pub(crate) mod image;
pub(crate) mod run;
pub(crate) mod serve;

use anyhow::anyhow;

use crate::error::CommandError;

/// Refuses to start without the rights that containers need.
fn require_root() -> Result<(), CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(CommandError::from(anyhow!("podrig needs root: it makes namespaces, mounts, cgroups and network devices"))
        .hint("run it with sudo"))
}
