//! Reads `numbers.txt`.

use std::collections::BTreeMap;

/// Field numbers by field, by the full name of the definition.
pub(crate) type Numbers = BTreeMap<String, BTreeMap<String, [u8; 2]>>;

/// Reads the table.
///
/// # Errors
/// Names the first line that cannot be read.
pub(crate) fn parse(text: &str) -> Result<Numbers, String> {
    let mut all = Numbers::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let refused = |word: &str| format!("numbers.txt, line {}: unknown word {word:?}", number + 1);
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let fields = words.map(|word| field(word).ok_or_else(|| refused(word))).collect::<Result<_, _>>()?;
        all.insert(format!("io.k8s.{name}"), fields);
    }
    Ok(all)
}

fn field(word: &str) -> Option<(String, [u8; 2])> {
    let (name, numbers) = word.split_once('=')?;
    let (first, second) = numbers.split_once('/').unwrap_or((numbers, "0"));
    Some((name.to_owned(), [first.parse().ok()?, second.parse().ok()?]))
}
