//! The image store from outside: archives of real tools, hostile archives, registries, crashes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

mod crash;
mod formats;
mod hostile;
mod https;
mod load;
mod pull;
mod support;
