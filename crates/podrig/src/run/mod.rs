//! Running workloads to their end: what `run` and `demo` have in common.

mod logs;
mod observer;
mod report;
mod session;

pub(crate) use observer::Observer;
pub(crate) use report::{Report, Verdict, state_lines};
pub(crate) use session::{Limits, Play, executor, play};
