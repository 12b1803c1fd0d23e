//! The commands, one file each.

pub(crate) mod demo;
pub(crate) mod image;
pub(crate) mod run;

use anyhow::{Context as _, anyhow};

use crate::error::CommandError;

/// Refuses to start without the rights that containers need.
fn require_root() -> Result<(), CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(CommandError::from(anyhow!("podrig needs root: it makes namespaces, mounts, cgroups and network devices"))
        .hint("run it with sudo"))
}

/// Builds the executor. Two workers are enough: containers do the work.
fn executor() -> Result<tokio::runtime::Runtime, CommandError> {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Ok(executor.context("starting the executor")?)
}
