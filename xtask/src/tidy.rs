//! Rules of the tree that no compiler checks: edges between crates, purity, headers, sizes, wording.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Which of our crates each crate may depend on; the architecture page says why.
const EDGES: [(&str, &[&str]); 10] = [
    ("apimachinery", &[]),
    ("cri", &[]),
    ("pod-lifecycle", &["apimachinery"]),
    ("runtime", &["cri"]),
    ("kubelet", &["pod-lifecycle", "cri", "apimachinery"]),
    ("controllers", &["apimachinery"]),
    ("apiserver", &["apimachinery"]),
    ("testkit", &["apimachinery", "apiserver", "controllers", "cri", "kubelet", "pod-lifecycle", "runtime"]),
    ("podrig", &["apimachinery", "apiserver", "controllers", "cri", "kubelet", "pod-lifecycle", "runtime"]),
    ("xtask", &[]),
];

/// Crates that decide and never do: nothing that reaches a socket, a clock or dice may be below them.
const PURE: [&str; 2] = ["apimachinery", "pod-lifecycle"];
const IMPURE: [&str; 5] = ["tokio", "mio", "socket2", "rand", "getrandom"];

/// A longer file is two things in one.
const MAX_LINES: usize = 800;

/// Checks all rules and reports every breach at once.
///
/// # Errors
/// When a rule is broken, with one line for each breach, or when cargo or git cannot be asked.
pub fn run() -> Result<()> {
    let root = root();
    let mut breaches = edges(&metadata(&root)?);
    for krate in PURE {
        breaches.extend(impure(&root, krate)?);
    }
    for file in tracked_files(&root)? {
        breaches.extend(check_file(&root, &file));
    }
    breaches.extend(check_changelog(&root)?);
    ensure!(breaches.is_empty(), "tidy found {} breach(es):\n{}", breaches.len(), breaches.join("\n"));
    Ok(())
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata(root: &Path) -> Result<Value> {
    let text = stdout(root, "cargo", &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    serde_json::from_str(&text).context("parsing cargo's metadata")
}

/// Compares the edges between our crates with those allowed. Development dependencies may go anywhere
/// but to the binary: only tests see them.
fn edges(metadata: &Value) -> Vec<String> {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(krate, may)| (*krate, may.iter().copied().collect())).collect();
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may) = allowed.get(name) else {
            breaches.push(format!("crate {name} is not in the list of allowed edges"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"] == "dev";
            if allowed.contains_key(on) && !may.contains(on) && !(is_dev && on != "podrig") {
                breaches.push(format!("crate {name} must not depend on {on}"));
            }
        }
    }
    breaches
}

fn impure(root: &Path, krate: &str) -> Result<Vec<String>> {
    let args = ["tree", "--offline", "-p", krate, "-e", "normal", "--prefix", "none", "--format", "{p}"];
    let tree = stdout(root, "cargo", &args)?;
    let below: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    Ok(IMPURE
        .iter()
        .filter(|bad| below.contains(*bad))
        .map(|bad| format!("crate {krate} is pure and must not reach {bad}"))
        .collect())
}

pub(crate) fn tracked_files(root: &Path) -> Result<Vec<String>> {
    Ok(stdout(root, "git", &["ls-files", "--cached", "--others", "--exclude-standard"])?
        .lines()
        .map(str::to_owned)
        .collect())
}

fn check_file(root: &Path, file: &str) -> Vec<String> {
    let Ok(text) = fs::read_to_string(root.join(file)) else { return Vec::new() };
    let mut breaches = wording(file, &text);
    if file.ends_with(".rs") {
        if !text.starts_with("//!") && !text.starts_with("#!") {
            breaches.push(format!("{file}: has no module header (//!)"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            breaches.push(format!("{file}: {lines} lines, at most {MAX_LINES} are allowed"));
        }
    }
    breaches
}

/// The tree names no machine and no package registry, and holds nothing unfinished.
fn wording(file: &str, text: &str) -> Vec<String> {
    // Put together here, or this file would breach its own rule.
    let banned = [
        concat!("/wo", "rk/"),
        concat!("index.cra", "tes.io"),
        concat!("deb.deb", "ian.org"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ign", "ore"),
    ];
    if file == "Cargo.lock" {
        return Vec::new();
    }
    banned.iter().filter(|bad| text.contains(*bad)).map(|bad| format!("{file}: contains {bad:?}")).collect()
}

fn check_changelog(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join("CHANGELOG.md")).context("reading CHANGELOG.md")?;
    let version = env!("CARGO_PKG_VERSION");
    let has_section = text.lines().any(|line| line.starts_with("## ") && line.contains(version));
    Ok(if has_section { Vec::new() } else { vec![format!("CHANGELOG.md: no section for version {version}")] })
}

fn stdout(root: &Path, program: &str, args: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(args).current_dir(root).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading what {program} printed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        run().unwrap();
    }

    #[test]
    fn an_edge_that_is_not_allowed_is_found_and_a_test_dependency_is_not() {
        let metadata = json!({"packages": [{"name": "kubelet", "dependencies": [
            {"name": "runtime", "kind": null}, {"name": "apiserver", "kind": "dev"}, {"name": "cri", "kind": null}]}]});
        assert_eq!(edges(&metadata), ["crate kubelet must not depend on runtime"]);
    }

    #[test]
    fn machine_paths_and_unfinished_code_are_found() {
        let text = concat!("see /wo", "rk/main and to", "do!()");
        assert_eq!(wording("a.rs", text).len(), 2);
    }
}
