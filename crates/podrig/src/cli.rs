//! The command line: arguments are the help text, commands are one file each.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, error::ErrorKind};
use tracing_subscriber::EnvFilter;

use crate::{
    commands::{self, serve::LogFormat},
    error::Exit,
    output::Screen,
};

/// Runs unmodified Kubernetes manifests on this machine, with the exact lifecycle Kubernetes gives them.
///
/// Pods, Jobs and CronJobs run in real containers; native sidecars (init containers with
/// restartPolicy: Always) are started, probed and stopped as a kubelet does it.
#[derive(Debug, Parser)]
#[command(name = "podrig", version, max_term_width = 100)]
struct Args {
    /// Where images and the state of running pods are kept
    #[arg(long, global = true, env = "PODRIG_DATA_DIR", default_value = "/var/lib/podrig", value_name = "DIR")]
    data_dir: PathBuf,

    /// Where sockets and secrets are kept; should be in memory
    #[arg(long, global = true, env = "PODRIG_RUN_DIR", default_value = "/run/podrig", value_name = "DIR")]
    run_dir: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Args),
    Demo(commands::demo::Args),
    Serve(commands::serve::Args),
    Image(commands::image::Args),
}

/// Parses the arguments, runs the command, and turns its end into an exit code.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    init_logging(args.command.logs());
    let dirs = crate::Dirs { data: args.data_dir, run: args.run_dir };
    let result = match args.command {
        Command::Run(args) => commands::run::main(&args, &dirs),
        Command::Demo(args) => commands::demo::main(&args, &dirs),
        Command::Serve(args) => commands::serve::main(&args, &dirs),
        Command::Image(args) => commands::image::main(args, &dirs),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            Screen::new(false).error(&error.to_string());
            error.exit.into()
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other kinds are bad usage, new ones too")]
fn usage(error: &clap::Error) -> ExitCode {
    let failed = error.print().is_err();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion if !failed => Exit::Success.into(),
        _ => Exit::Usage.into(),
    }
}

impl Command {
    /// Returns which logs are written unless `PODRIG_LOG` asks for others (`PODRIG_LOG=kubelet=debug`), and how.
    fn logs(&self) -> (&'static str, LogFormat) {
        match self {
            Self::Run(_) | Self::Demo(_) | Self::Image(_) => ("off", LogFormat::Text),
            Self::Serve(args) => ("info", args.log_format),
        }
    }
}

/// Logs go to stderr.
fn init_logging((default, format): (&str, LogFormat)) {
    let filter = EnvFilter::try_from_env("PODRIG_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().init(),
    }
}
