//! Runs a transcript and compares what is seen with what the file says.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    common::server::{Server, text},
    normal::normalise,
};

/// Seconds that one command may take.
const PATIENCE: &str = "100";

/// One thing in a transcript.
#[derive(Debug, PartialEq)]
enum Step {
    Words(String),
    Run { command: String, output: String },
}

/// Runs the transcript of a name.
pub(crate) fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/kubectl/{name}.txt"));
    let server = Server::start();
    let desk = Desk::new(&server);
    let mut steps = parse(&std::fs::read_to_string(&path).unwrap());
    for step in &mut steps {
        if let Step::Run { command, output } = step {
            *output = desk.run(command);
        }
    }
    let seen = render(&steps);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, seen).unwrap();
        return;
    }
    let compared = desk.compare(&path, &seen);
    assert!(compared.is_empty(), "UPDATE_EXPECT=1 accepts what was seen (+):\n{compared}\n{}", server.logs());
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step::Run { command: command.to_owned(), output: String::new() });
        } else if line.starts_with("# ") {
            steps.push(Step::Words(line.to_owned()));
        } else if let Some(Step::Run { command, output }) = steps.last_mut() {
            match line.strip_prefix("> ").or_else(|| line.strip_prefix('>')) {
                Some(more) if output.is_empty() => *command = format!("{command}\n{more}"),
                _ => *output = format!("{output}{line}\n"),
            }
        }
    }
    steps
}

fn render(steps: &[Step]) -> String {
    let mut text = String::new();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Words(words) => {
                let gap = matches!(index.checked_sub(1).map(|before| &steps[before]), Some(Step::Run { .. }));
                text += &format!("{}{words}\n", if gap { "\n" } else { "" });
            }
            Step::Run { command, output } => {
                text += &format!("$ {}\n{output}", command.replace('\n', "\n> ").replace("> \n", ">\n"))
            }
        }
    }
    text
}

/// Where a user of a server sits: a directory, and the commands in the PATH.
struct Desk<'a> {
    server: &'a Server,
    directory: PathBuf,
}

impl<'a> Desk<'a> {
    fn new(server: &'a Server) -> Self {
        let root = server.sealed.root.path();
        let (directory, bin) = (root.join("desk"), root.join("bin"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::create_dir(&bin).unwrap();
        let podrig = server.sealed.podrig();
        let args: Vec<&str> = podrig.get_args().map(|arg| arg.to_str().unwrap()).collect();
        let script = format!("#!/bin/sh\nexec {} {} \"$@\"\n", podrig.get_program().display(), args.join(" "));
        std::fs::write(bin.join("podrig"), script).unwrap();
        std::fs::set_permissions(bin.join("podrig"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { server, directory }
    }

    /// Runs a command line as a user does, and returns what is seen.
    fn run(&self, command: &str) -> String {
        let root = self.server.sealed.root.path().to_str().unwrap();
        let path = format!("{root}/bin:{}", std::env::var("PATH").unwrap());
        let kubectl = self.server.kubectl();
        let mut shell = Command::new("timeout");
        shell.args(["-k", "5", PATIENCE, "bash", "-c", &format!("exec 2>&1\n{command}")]).stdin(Stdio::null());
        shell.current_dir(&self.directory).env("PATH", path).env("TZ", "UTC").env("LC_ALL", "C").env("TERM", "dumb");
        shell.envs(kubectl.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = shell.output().unwrap();
        let mut seen = normalise(&text(&output), root).trim_end().to_owned();
        if !seen.is_empty() {
            seen.push('\n');
        }
        let code = output.status.code().unwrap();
        if code != 0 {
            seen += &format!("[exit code {code}]\n");
        }
        let misleading = seen.lines().any(|line| ["$ ", "# ", "> "].iter().any(|mark| line.starts_with(mark)));
        assert!(!misleading, "this output would be read as commands: {seen}");
        seen
    }

    fn compare(&self, expected: &Path, seen: &str) -> String {
        let actual = self.directory.join("seen.txt");
        std::fs::write(&actual, seen).unwrap();
        text(&Command::new("diff").arg("-u").arg(expected).arg(&actual).output().unwrap())
    }
}

#[test]
fn transcripts_are_written_as_they_are_read() {
    let text = "# One.\n$ a <<END\n> b\n>\n> END\nc\n\nd\n[exit code 1]\n\n# Two.\n$ e\n";
    let mut steps = parse(text);
    let Step::Run { command, output } = &mut steps[1] else { panic!("{steps:?}") };
    assert_eq!(command, "a <<END\nb\n\nEND");
    assert_eq!(output, "c\n\nd\n[exit code 1]\n\n");
    output.pop();
    assert_eq!(render(&steps), text);
}
