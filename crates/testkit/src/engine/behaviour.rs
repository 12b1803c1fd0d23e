//! What a simulated container does. The defaults are those of a well-behaved server.

use std::time::Duration;

/// What a container does when it is started, asked and told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// It ends by itself after this time; `None`: it runs until it is stopped.
    pub run_for: Option<Duration>,
    /// Exit code when it ends by itself.
    pub exit_code: i32,
    /// So many instances end with 1 before the exit code above applies.
    pub fails_first: usize,
    /// Reason that the runtime gives for that end, if not `Completed` or `Error`.
    pub exit_reason: Option<String>,
    /// Termination message.
    pub message: String,
    /// Nobody hears of its ends.
    pub unseen: bool,
    /// What it does on the stop signal.
    pub on_term: OnTerm,
    /// The runtime cannot stop it before this time of the world.
    pub stop_fails_until: Duration,
    /// Its limits cannot be changed before this time of the world.
    pub resize_fails_until: Duration,
    /// Its image.
    pub image: ImageBehaviour,
    /// Its configuration cannot be resolved before this time of the world.
    pub config_error_until: Option<Duration>,
    /// Its program cannot be executed.
    pub start_error: bool,
    /// Its postStart hook.
    pub post_start: Hook,
    /// Its preStop hook.
    pub pre_stop: Hook,
    /// Its startup probe.
    pub startup: ProbeRule,
    /// Its liveness probe.
    pub liveness: ProbeRule,
    /// Its readiness probe.
    pub readiness: ProbeRule,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            run_for: None,
            exit_code: 0,
            fails_first: 0,
            exit_reason: None,
            message: String::new(),
            unseen: false,
            on_term: OnTerm::Exit { after: Duration::ZERO, code: 0 },
            stop_fails_until: Duration::ZERO,
            resize_fails_until: Duration::ZERO,
            image: ImageBehaviour::Present,
            config_error_until: None,
            start_error: false,
            post_start: Hook::default(),
            pre_stop: Hook::default(),
            startup: ProbeRule::Passes,
            liveness: ProbeRule::Passes,
            readiness: ProbeRule::Passes,
        }
    }
}

/// What a process does on the stop signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerm {
    /// It ends in good order.
    Exit {
        /// After this time.
        after: Duration,
        /// With this code.
        code: i32,
    },
    /// It goes on.
    Ignore,
}

/// How an image comes to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageBehaviour {
    /// It is there.
    Present,
    /// It is pulled in this time.
    Pulled(Duration),
    /// It cannot be had, with this reason, before this time of the world.
    Missing {
        /// As the status shows it.
        reason: String,
        /// `None`: for ever.
        until: Option<Duration>,
    },
}

/// How a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Time it takes; `None`: for ever.
    pub takes: Option<Duration>,
    /// Whether it succeeds.
    pub ok: bool,
}

impl Default for Hook {
    fn default() -> Self {
        Self { takes: Some(Duration::ZERO), ok: true }
    }
}

/// How a probe's runs end; times are counted from the instance's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeRule {
    /// Always well.
    Passes,
    /// Never well.
    Fails,
    /// Well from this time on.
    FailsUntil(Duration),
    /// Well up to this time.
    FailsFrom(Duration),
    /// It cannot be run.
    Errs,
    /// Well, with something to be said about it.
    Warns,
}

impl ProbeRule {
    /// Returns whether a run passes at this age of the instance; `None`: it cannot be run.
    pub fn passes(self, age: Duration) -> Option<bool> {
        match self {
            Self::Passes | Self::Warns => Some(true),
            Self::Fails => Some(false),
            Self::FailsUntil(at) => Some(age >= at),
            Self::FailsFrom(at) => Some(age < at),
            Self::Errs => None,
        }
    }
}
