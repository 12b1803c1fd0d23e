//! Chores as functions, so that `cargo test` runs them too.

pub mod coverage;
pub mod tidy;
