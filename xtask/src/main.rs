//! Project chores that need code. Call as `cargo xtask COMMAND`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let result = match command.as_str() {
        "tidy" => xtask::tidy::run(),
        "coverage" => xtask::coverage::run(true),
        _ => Err(anyhow::anyhow!("usage: cargo xtask tidy | coverage")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}
