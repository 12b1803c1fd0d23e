//! Test support: virtual clock, simulated runtime, scenario language, in-memory API.

pub mod engine;
