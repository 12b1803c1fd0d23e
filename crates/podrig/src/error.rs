//! What a command ends with: an exit code, and for failures one message and perhaps a hint.

use std::{fmt, process::ExitCode};

/// How a command ended, as its exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The workload succeeded; the command did what was asked.
    Success = 0,
    /// The workload failed, or the machine did.
    Failure = 1,
    /// Bad usage or a bad manifest: nothing was started.
    Usage = 2,
    /// `--timeout` was reached, as with coreutils' `timeout`.
    TimedOut = 124,
    /// Interrupted by Ctrl-C: 128 + SIGINT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// What the exit code shall tell.
    pub(crate) exit: Exit,
    cause: anyhow::Error,
    hint: Option<String>,
}

impl CommandError {
    /// The user's input is at fault.
    pub(crate) fn usage(cause: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, cause: cause.into(), hint: None }
    }

    /// Says what to do next.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(cause: anyhow::Error) -> Self {
        Self { exit: Exit::Failure, cause, hint: None }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.cause)?;
        let mut said = self.cause.to_string();
        for cause in self.cause.chain().skip(1) {
            let text = cause.to_string();
            // Some libraries repeat their source in their own text.
            if !said.contains(&text) {
                write!(f, "\n  because: {text}")?;
                said = text;
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
