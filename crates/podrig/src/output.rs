//! The one place that writes to the terminal: results to stdout, progress to stderr.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::story::Style;

/// Columns assumed where no terminal tells.
const DEFAULT_WIDTH: usize = 100;

/// Writes what a command has to say.
///
/// Guarantee: lines of several tasks never mix, and a status line is wiped before other output.
#[derive(Debug)]
pub(crate) struct Screen {
    progress: bool,
    status: Mutex<Option<String>>,
}

impl Screen {
    /// `quiet` leaves out progress and status lines.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { progress: !quiet, status: Mutex::new(None) }
    }

    /// Prints a result to stdout.
    pub(crate) fn result(&self, text: &str) {
        self.print(io::stdout(), text);
    }

    /// Prints an error or a container's line to stderr, also when quiet.
    pub(crate) fn error(&self, text: &str) {
        self.print(io::stderr(), text);
    }

    /// Prints a step of progress to stderr, unless quiet.
    pub(crate) fn progress(&self, text: &str) {
        if self.progress {
            self.print(io::stderr(), text);
        }
    }

    /// Shows what is going on now in the last line of a terminal; not anywhere else.
    pub(crate) fn status(&self, text: &str) {
        if !self.progress || !io::stderr().is_terminal() {
            return;
        }
        let mut status = self.lock();
        let line: String = text.chars().take(terminal_width().saturating_sub(1)).collect();
        let _ = write!(io::stderr(), "\r\x1b[2K{line}").and_then(|()| io::stderr().flush());
        *status = Some(line);
    }

    /// Wipes the status line.
    pub(crate) fn clear_status(&self) {
        let mut status = self.lock();
        if status.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }

    /// A reader that went away (`| head`) is no reason to stop the pods, so write errors are dropped.
    fn print(&self, mut to: impl io::Write, text: &str) {
        let status = self.lock();
        if status.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
        let _ = writeln!(to, "{}", text.trim_end_matches('\n')).and_then(|()| to.flush());
        if let Some(status) = &*status {
            let _ = write!(io::stderr(), "{status}").and_then(|()| io::stderr().flush());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how to draw on stdout.
pub(crate) fn style() -> Style {
    Style { width: terminal_width(), color: io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() }
}

fn terminal_width() -> usize {
    let columns = env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let size = || rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col));
    columns.or_else(size).filter(|columns| *columns > 0).unwrap_or(DEFAULT_WIDTH)
}
