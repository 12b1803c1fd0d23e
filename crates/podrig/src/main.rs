//! The `podrig` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    podrig::main()
}
