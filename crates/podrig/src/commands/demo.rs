//! `podrig demo`: the classic and the native sidecar, side by side, offline.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use kubelet::EvictionOptions;

use super::require_root;
use crate::{
    Dirs, apply, demo,
    error::{CommandError, Exit},
    manifest,
    output::{Screen, style},
    run::{Limits, Play, Report, Verdict, play, state_lines},
};

/// Show what native sidecars change: the same CronJob twice, classic and native
///
/// Needs no network and no images: both applications are built into this program. It takes about a minute,
/// because the sidecar needs 5 s to listen and ignores SIGTERM for its grace period of 30 s.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The classic pod hangs for ever; it is shown for this long after that was found out.
const SHOW_HANG: Duration = Duration::from_secs(4);

const LESSON: &str = "\
What made the difference: in the native CronJob the sidecar stands under initContainers, with
restartPolicy: Always and a startupProbe. So the app waited until port 8081 answered, and the sidecar was
stopped when the app had ended. Its exit code 137 (it ignores SIGTERM) does not count.";

/// Runs the command.
pub(crate) fn main(_: &Args, dirs: &Dirs) -> Result<Exit, CommandError> {
    require_root()?;
    let screen = Arc::new(Screen::new(false));
    let store = runtime::image::Store::open(&dirs.images()).context("opening the image store")?;
    demo::add_images(&store)?;
    screen.progress("classic: app and sidecar are ordinary containers of one pod");
    let hang = Limits { after_stuck: Some(SHOW_HANG), stop_grace: Some(Duration::from_secs(1)), ..Limits::default() };
    let classic = play_manifest(dirs, &screen, demo::CLASSIC, hang)?;
    if classic.result == Verdict::Interrupted {
        return Ok(Exit::Interrupted);
    }
    screen.progress("native: the sidecar is an init container with restartPolicy: Always and a startupProbe");
    let native = play_manifest(dirs, &screen, demo::NATIVE, Limits::default())?;
    screen.result(&format!("\n=== classic\n\n{}", chapter(&classic)));
    screen.result(&format!("\n=== native\n\n{}", chapter(&native)));
    screen.result(&format!("\n{LESSON}"));
    Ok(verdict(&classic, &native))
}

fn play_manifest(dirs: &Dirs, screen: &Arc<Screen>, manifest: &str, limits: Limits) -> Result<Report, CommandError> {
    let documents = manifest::parse("demo", manifest).map_err(CommandError::usage)?;
    let items = apply::identify(documents)?;
    let eviction = EvictionOptions::default();
    let (report, _) =
        play(dirs, &Play { items: &items, limits, screen, logs_to_stderr: false, keep: false, eviction })?;
    Ok(report)
}

fn chapter(report: &Report) -> String {
    let states: Vec<String> = report.pods.iter().map(|pod| state_lines(&pod.object)).collect();
    format!("{}\n\n{}", report.text(style()), states.concat())
}

/// The demo has done its work if the classic pod hung and the native job succeeded.
fn verdict(classic: &Report, native: &Report) -> Exit {
    match (classic.result, native.result) {
        (Verdict::Interrupted, _) | (_, Verdict::Interrupted) => Exit::Interrupted,
        (Verdict::TimedOut, Verdict::Succeeded) => Exit::Success,
        _ => Exit::Failure,
    }
}
