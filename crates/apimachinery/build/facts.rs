//! Reads `facts.txt`.

use std::collections::BTreeMap;

/// What is known of a field besides its schema.
#[derive(Default)]
pub(crate) struct FieldFacts {
    pub(crate) atomic: bool,
    pub(crate) set: bool,
    pub(crate) map_keys: Vec<String>,
    pub(crate) strategy: String,
    pub(crate) merge_key: String,
    pub(crate) inline: bool,
    pub(crate) optional: bool,
    pub(crate) default: Option<String>,
    pub(crate) values: Vec<String>,
}

/// What is known of a type.
#[derive(Default)]
pub(crate) struct TypeFacts {
    pub(crate) atomic: bool,
    pub(crate) fields: BTreeMap<String, FieldFacts>,
}

/// Facts by the full name of the definition.
pub(crate) type Facts = BTreeMap<String, TypeFacts>;

/// Reads the table.
///
/// # Errors
/// Names the first line that cannot be read.
pub(crate) fn parse(text: &str) -> Result<Facts, String> {
    let mut all = Facts::new();
    let mut current = String::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let refused = |word: &str| format!("facts.txt, line {}: unknown word {word:?}", number + 1);
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        if line.starts_with(' ') {
            let mut facts = FieldFacts::default();
            words.try_for_each(|word| facts.read(word).ok_or_else(|| refused(word)))?;
            all.entry(current.clone()).or_default().fields.insert(name.to_owned(), facts);
        } else {
            current = format!("io.k8s.{name}");
            let facts = all.entry(current.clone()).or_default();
            match words.next() {
                None => {}
                Some("atomic") => facts.atomic = true,
                Some(word) => return Err(refused(word)),
            }
        }
    }
    Ok(all)
}

impl FieldFacts {
    fn read(&mut self, word: &str) -> Option<()> {
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        match word.split_once('=') {
            None if word == "atomic" => self.atomic = true,
            None if word == "set" => self.set = true,
            None if word == "struct" => self.inline = true,
            None if word == "optional" => self.optional = true,
            Some(("map", keys)) => self.map_keys = list(keys),
            Some(("patch", strategy)) => strategy.clone_into(&mut self.strategy),
            Some(("key", key)) => key.clone_into(&mut self.merge_key),
            Some(("default", value)) => self.default = Some(value.to_owned()),
            Some(("enum", values)) => self.values = list(values),
            _ => return None,
        }
        Some(())
    }
}
