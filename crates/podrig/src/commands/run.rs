//! `podrig run`: manifests in, real containers, a timeline and an exit code out.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;

use super::{eviction::Eviction, require_root};
use crate::{
    Dirs, apply,
    error::{CommandError, Exit},
    manifest,
    output::{Screen, style},
    run::{Limits, Play, Report, play},
};

/// A run shall not fail because the machine's disk is nearly full, which it is on many; memory is another matter.
pub(super) const DEFAULT_EVICTION_HARD: &str = "memory.available<100Mi";

/// Run the workloads of manifests to their end
///
/// Everything in the manifests is created; a CronJob's job is run now, once. The output of all containers
/// is shown while they run. At the end a timeline shows what happened, and the reasons are named.
/// Everything is removed afterwards.
///
/// Exit codes: 0 succeeded, 1 failed, 2 bad usage or manifest, 124 timed out, 130 interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Manifest files, directories of them, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Give up after this time (90, 90s, 5m, 1h) and exit with 124
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    /// What to print at the end; json prints nothing else to stdout
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,

    /// Keep the logs and the report, and say where
    #[arg(long)]
    keep: bool,

    /// Print the containers' output only
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    eviction: Eviction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For machines
    Json,
}

/// Runs the command.
pub(crate) fn main(args: &Args, dirs: &Dirs) -> Result<Exit, CommandError> {
    let documents = manifest::read_all(&args.files).map_err(CommandError::usage)?;
    let items = apply::identify(documents)?;
    let eviction = args.eviction.options(DEFAULT_EVICTION_HARD)?;
    require_root()?;
    let screen = Arc::new(Screen::new(args.quiet));
    let (report, kept) = play(
        dirs,
        &Play {
            items: &items,
            limits: Limits { timeout: args.timeout, ..Limits::default() },
            screen: &screen,
            logs_to_stderr: args.output == Format::Json,
            keep: args.keep,
            eviction,
        },
    )?;
    print(args, &screen, &report)?;
    if let Some(kept) = kept {
        screen.progress(&format!("kept in {}", kept.display()));
    }
    Ok(report.result.exit())
}

fn print(args: &Args, screen: &Screen, report: &Report) -> Result<(), CommandError> {
    match args.output {
        Format::Json => screen.result(&serde_json::to_string_pretty(report).context("encoding the report")?),
        Format::Text if !args.quiet => screen.result(&report.text(style())),
        Format::Text => {}
    }
    Ok(())
}

/// Parses `90`, `90s`, `1.5m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit {unit:?}: use ms, s, m or h")),
    };
    let amount: f64 = digits.parse().map_err(|_| format!("{digits:?} is not a number"))?;
    Duration::try_from_secs_f64(amount * factor).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_usual_units_and_refuse_the_rest() {
        let millis = |text| duration(text).map(|d| d.as_millis()).ok();
        assert_eq!(millis("90"), Some(90_000));
        assert_eq!(millis("1.5m"), Some(90_000));
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("2h"), Some(7_200_000));
        for bad in ["", "x", "-1", "5d", "1e400", "NaN"] {
            assert_eq!(millis(bad), None, "{bad:?}");
        }
    }
}
