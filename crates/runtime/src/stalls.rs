//! The kernel tells when processes wait for memory (pressure stall information, Documentation/accounting/psi.rst).

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Told when some have waited for a tenth of two seconds; shorter windows need more rights.
const TRIGGER: &[u8] = b"some 200000 2000000\0";
const PRESSURE: &str = "/proc/pressure/memory";

/// Hears of memory that is getting short.
#[derive(Debug)]
pub(crate) struct Stalls(AsyncFd<OwnedFd>);

impl Stalls {
    /// Begins to listen; `None`: this kernel does not tell.
    pub(crate) fn listen() -> Option<Self> {
        let open = || -> io::Result<OwnedFd> {
            let mut options = OpenOptions::new();
            let mut file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(PRESSURE)?;
            file.write_all(TRIGGER)?;
            Ok(file.into())
        };
        let watched = open().and_then(watch);
        watched.map_err(|error| tracing::info!("memory is looked at only now and then: {PRESSURE}: {error}")).ok()
    }

    /// Waits until processes wait for memory. That comes once in a window at most.
    pub(crate) async fn next(&self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

#[expect(unsafe_code, reason = "tokio asks for a promise that `OwnedFd` keeps")]
fn watch(fd: OwnedFd) -> io::Result<Stalls> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped.
    Ok(Stalls(unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) }?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_takes_the_trigger() {
        assert!(!std::path::Path::new(PRESSURE).exists() || Stalls::listen().is_some());
    }
}
