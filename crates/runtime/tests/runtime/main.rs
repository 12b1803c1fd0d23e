//! The runtime on a real kernel: needs root, control groups and a static busybox at `/bin/busybox`.
//!
//! This binary is its own shim (`shim DIR`) and its own agent to be killed (`agent DIR`).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests, in a harness of their own")]
#![expect(clippy::wildcard_enum_match_arm, reason = "tests wait for one event among all")]

mod agent;
mod basics;
mod confinement;
mod images;
mod oracle;
mod rig;
mod streams;
mod users;
mod volumes;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

/// A test: its name and what it does.
pub(crate) type Test = (&'static str, fn());

/// Lists functions as tests.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] = &[$((stringify!($name), $name as fn())),*];
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next();
    match first.as_ref().and_then(|first| first.to_str()) {
        Some(runtime::shim::ARGUMENT) => return runtime::shim::main(args),
        Some("agent") => return agent::main(args),
        _ => {}
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let listing = std::env::args().any(|arg| arg == "--list");
    let all =
        [basics::TESTS, confinement::TESTS, volumes::TESTS, agent::TESTS, streams::TESTS, users::TESTS, oracle::TESTS];
    let chosen: Vec<Test> = all
        .concat()
        .into_iter()
        .filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())))
        .collect();
    if listing {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    assert!(rustix::process::geteuid().is_root(), "these tests make namespaces and cgroups: run them as root");
    let failed = chosen.iter().filter(|test| !passes(test)).count();
    println!("\n{} passed, {failed} failed", chosen.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes((name, test): &Test) -> bool {
    let start = std::time::Instant::now();
    let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
    println!("test {name} ... {} ({:?})", if passed { "ok" } else { "FAILED" }, start.elapsed());
    passed
}
