//! Python's `kubernetes` client, from PyPI, as its users use it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::common::server::{Server, text};

#[test]
fn the_python_client_runs_a_pod_and_reaches_into_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let python = python(&folder);
    let server = Server::start();
    let mut script = Command::new(python);
    script.arg(folder.join("python_client.py")).env("KUBECONFIG", server.kubeconfig()).stdin(Stdio::null());
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}\n{}", text(&output), server.logs());
    assert_eq!(text(&output), "all done\n");
}

/// Returns a Python that has the client; made once, and kept among the build's files.
fn python(folder: &Path) -> PathBuf {
    let requirements = folder.join("requirements.txt");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = home.join("bin/python3");
    run(Command::new("python3").args(["-m", "venv"]).arg(&home), "making a venv needs python3 and python3-venv");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements);
    run(&mut pip, "installing the client needs PyPI");
    python
}

fn run(command: &mut Command, needs: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{needs}: {error}"));
    assert!(output.status.success(), "{needs}: {}", text(&output));
}
