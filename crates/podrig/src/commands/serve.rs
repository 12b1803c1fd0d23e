//! `podrig serve`: a Kubernetes API for kubectl, with this machine as its only node.

use std::{net::SocketAddr, time::Duration};

use super::{
    eviction::{Eviction, ImageGc, duration},
    require_root,
};
use crate::{
    Dirs, Instance,
    error::{CommandError, Exit},
    instance::ServerRuns,
    output::Screen,
    serve::{self, Settings},
};

/// What pods are evicted for: what a kubelet has for Linux (pkg/kubelet/eviction/defaults_linux.go), but with amounts
/// of disk instead of 10% and 15%. A machine that is used for other things too is often that full, and a tenth of its disk
/// is a lot.
pub(super) const DEFAULT_EVICTION_HARD: &str =
    "memory.available<100Mi,nodefs.available<1Gi,nodefs.inodesFree<5%,imagefs.available<1Gi,imagefs.inodesFree<5%";

/// Serve the Kubernetes API, with this machine as the only node
///
/// Prints the line that makes kubectl and other clients use it. Objects are kept in the data directory.
/// When the server ends, however it ends, pods go on; the next one takes them over.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port to listen on; port 0 takes a free one
    ///
    /// Only clients on this machine can reach the default. Who reaches the port still needs a certificate.
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,

    /// End the pods before the server ends; else they go on, and the next server takes them over
    ///
    /// Each ends in its own order and time, as on a node that is shut down. A second signal ends the server at once.
    #[arg(long)]
    stop_pods: bool,

    /// Longest time that a container which ended waits for its restart, from 1s to 300s
    ///
    /// A kubelet's `crashLoopBackOff.maxContainerRestartPeriod`. The first wait is ten seconds, or this if it is less.
    #[arg(long, default_value = "300s", value_name = "TIME", value_parser = restart_period)]
    max_container_restart_period: Duration,
    /// How logs are written to stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,

    #[command(flatten)]
    eviction: Eviction,

    #[command(flatten)]
    images: ImageGc,
}

/// Parses the longest crash back-off (pkg/kubelet/apis/config/validation).
fn restart_period(text: &str) -> Result<Duration, String> {
    let period = duration(text)?;
    if !(SHORTEST_RESTART_PERIOD..=kubelet::MAX_BACK_OFF).contains(&period) {
        let seconds = period.as_secs_f64();
        return Err(format!(
            "invalid configuration: CrashLoopBackOff.MaxContainerRestartPeriod (got: {seconds} seconds) must be set \
             between 1s and 300s"
        ));
    }
    Ok(period)
}

/// Shortest limit of crash back-offs.
const SHORTEST_RESTART_PERIOD: Duration = Duration::from_secs(1);

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Runs the command.
pub(crate) fn main(args: &Args, dirs: &Dirs) -> Result<Exit, CommandError> {
    let mut eviction = args.eviction.options(DEFAULT_EVICTION_HARD)?;
    eviction.images = Some(args.images.options()?);
    require_root()?;
    let settings = Settings {
        listen: args.listen,
        stop_pods: args.stop_pods,
        longest_back_off: args.max_container_restart_period,
        eviction,
    };
    let instance = Instance::open_server(dirs).map_err(|error| match error.is::<ServerRuns>() {
        true => CommandError::from(error).hint("end it, or choose another --data-dir"),
        false => error.into(),
    })?;
    serve::serve(dirs, instance, &settings, &Screen::new(false))?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_27_the_longest_back_off_is_from_a_second_to_five_minutes() {
        let ok = ["1s", "30s", "1m30s", "300s", "5m"].map(|text| restart_period(text).map(|period| period.as_secs()));
        assert_eq!(ok, [Ok(1), Ok(30), Ok(90), Ok(300), Ok(300)]);
        for (text, seconds) in [("999ms", "0.999"), ("301s", "301"), ("0s", "0")] {
            let expected = format!(
                "invalid configuration: CrashLoopBackOff.MaxContainerRestartPeriod (got: {seconds} seconds) must be set \
                 between 1s and 300s"
            );
            assert_eq!(restart_period(text), Err(expected));
        }
        assert_eq!(restart_period("soon"), Err("time: invalid duration \"soon\"".to_owned()));
    }
}
