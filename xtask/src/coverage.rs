//! Which rule of the contract which test proves, read off the tests' names.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::tidy::{root, tracked_files};

/// The rules, with reasons for those that no test proves.
const RULES: &str = "docs/behaviour.txt";
/// What is made of them.
const TABLE: &str = "docs/behaviour-coverage.md";
/// Marks the reason why a rule has no test.
const REASON: &str = "untested: ";

/// One rule of the contract.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    id: String,
    text: String,
    reason: Option<String>,
}

/// Tests by the id of the rule that they prove.
type Proofs = BTreeMap<String, Vec<String>>;

/// Checks that each rule has a test or a reason, and that the table is the one that `write` would make.
///
/// # Errors
/// When a rule has neither or both, when a test names a rule that does not exist, or when the table is old.
pub fn run(write: bool) -> Result<()> {
    let root = root();
    let rules = parse(&read(&root.join(RULES))?)?;
    let proofs = proofs(&root)?;
    let breaches = breaches(&rules, &proofs);
    ensure!(breaches.is_empty(), "{} rule(s) without proof:\n{}", breaches.len(), breaches.join("\n"));
    let table = table(&rules, &proofs);
    let path = root.join(TABLE);
    if write {
        return fs::write(&path, table).with_context(|| format!("writing {TABLE}"));
    }
    ensure!(read(&path)? == table, "{TABLE} is old: run `cargo xtask coverage`");
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Reads the list of rules.
fn parse(text: &str) -> Result<Vec<Rule>> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(reason) = line.trim_start().strip_prefix(REASON) {
            let last = rules.last_mut().context("a reason stands before the first rule")?;
            last.reason = Some(reason.to_owned());
            continue;
        }
        let Some((id, text)) = line.split_once(' ') else { bail!("{RULES}: {line:?} is no rule") };
        rules.push(Rule { id: id.to_owned(), text: text.to_owned(), reason: None });
    }
    Ok(rules)
}

/// Finds the tests of all crates.
fn proofs(root: &Path) -> Result<Proofs> {
    let mut proofs = Proofs::new();
    let is_source =
        |file: &String| file.starts_with("crates/") && Path::new(file).extension().is_some_and(|e| e == "rs");
    for file in tracked_files(root)?.into_iter().filter(is_source) {
        // A file that was deleted and is not yet committed is still listed.
        let Ok(text) = fs::read_to_string(root.join(&file)) else { continue };
        let krate: PathBuf = Path::new(&file).components().skip(1).take(1).collect();
        for test in tests(&text) {
            for id in ids(test) {
                proofs.entry(id).or_default().push(format!("{}::{test}", krate.display()));
            }
        }
    }
    Ok(proofs)
}

/// Names the functions that bear the id of a rule. Whether the compiler's attribute or a list of the file's own makes
/// them tests does not matter: one that nobody calls is dead code, which no build lets pass.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "))
        .map(|name| name.split(['(', '<']).next().unwrap_or(name))
        .filter(|name| !ids(name).is_empty())
}

/// Reads the ids at the beginning of a test's name: `s2_06_s4_10_stops` proves S2-06 and S4-10.
fn ids(test: &str) -> Vec<String> {
    let mut words = test.split('_');
    let mut ids = Vec::new();
    while let (Some(section), Some(number)) = (words.next(), words.next()) {
        let section = section.strip_prefix('s').filter(|digits| is_number(digits));
        let (Some(section), true) = (section, is_number(number)) else { break };
        ids.push(format!("S{section}-{number}"));
    }
    ids
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn breaches(rules: &[Rule], proofs: &Proofs) -> Vec<String> {
    let unproven = rules.iter().filter_map(|rule| match (proofs.get(&rule.id), &rule.reason) {
        (None, None) => Some(format!("{}: no test and no reason: {}", rule.id, rule.text)),
        (Some(tests), Some(_)) => Some(format!("{}: has a reason for no test, but also {}", rule.id, tests.join(", "))),
        (Some(_), None) | (None, Some(_)) => None,
    });
    let unknown = proofs.iter().filter(|(id, _)| !rules.iter().any(|rule| rule.id == **id));
    unproven.chain(unknown.map(|(id, tests)| format!("{id}: no such rule: {}", tests.join(", ")))).collect()
}

fn table(rules: &[Rule], proofs: &Proofs) -> String {
    let reasoned = rules.iter().filter(|rule| rule.reason.is_some()).count();
    let tests: usize = proofs.values().map(Vec::len).sum();
    let mut table = String::from("# Which test proves which rule\n\n");
    let _ = writeln!(
        table,
        "Made by `cargo xtask coverage` from the names of the tests and from [behaviour.txt](behaviour.txt).\n\n\
         {} rules: {} proven by {tests} tests, {reasoned} without a test for a reason.\n\n\
         | Rule | Says | Proven by, or why not |\n|---|---|---|",
        rules.len(),
        rules.len() - reasoned,
    );
    for rule in rules {
        let proof = match (proofs.get(&rule.id), &rule.reason) {
            (Some(tests), _) => tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>"),
            (None, Some(reason)) => reason.clone(),
            (None, None) => String::new(),
        };
        let _ = writeln!(table, "| {} | {} | {proof} |", rule.id, rule.text.replace('|', "\\|"));
    }
    table
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn every_rule_is_proven_or_reasoned_and_the_table_is_fresh() {
        run(false).unwrap();
    }

    #[test]
    fn ids_are_read_off_the_beginning_of_a_name() {
        assert_eq!(ids("s2_06_s4_10_sidecars_stop"), ["S2-06", "S4-10"]);
        assert_eq!(ids("s2_06"), ["S2-06"]);
        assert!(ids("stops_2_06").is_empty());
    }

    #[test]
    fn functions_that_bear_an_id_are_found() {
        let text = "#[test]\nfn s1_01_a() {}\nfn helper() {}\n    async fn s1_03_c<T>() {}\n// fn s1_04_d";
        assert_eq!(tests(text).collect::<Vec<_>>(), ["s1_01_a", "s1_03_c"]);
    }

    #[test]
    fn a_rule_needs_exactly_one_of_test_and_reason() {
        let rules = parse("# x\n\nS1-01 one.\nS1-02 two.\n  untested: Windows only.\nS1-03 three.").unwrap();
        let proofs = |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), vec!["t".to_owned()])).collect();
        assert!(breaches(&rules, &proofs(&["S1-01", "S1-03"])).is_empty());
        assert_eq!(breaches(&rules, &proofs(&["S1-01", "S1-02", "S9-99"])).len(), 3);
    }
}
