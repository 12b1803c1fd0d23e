//! Everything of the `podrig` command; a library so that tests can start a node in their own process.

mod apply;
mod cli;
mod commands;
mod demo;
mod error;
mod files;
mod instance;
mod manifest;
mod node;
mod node_proxy;
mod output;
mod ports;
mod run;
mod serve;
mod story;

use std::{env, process::ExitCode};

pub use instance::{Dirs, Instance};
pub use node::{Node, NodeOptions};

/// Runs the program: the shim and the demo's applications by their own names, otherwise a command.
///
/// The shim comes first and touches nothing else, so that a sandbox costs as little as it can.
pub fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let first = args.next();
    match first.as_ref().and_then(|arg| arg.to_str()) {
        Some(runtime::shim::ARGUMENT) => runtime::shim::main(args),
        Some(demo::apps::COMMAND) => demo::apps::main(args),
        Some(_) | None => cli::main(),
    }
}
