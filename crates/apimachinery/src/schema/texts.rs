//! Descriptions of types and fields.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::{Definition, Field};

static COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts.deflate"));

/// The descriptions of all types and fields, unpacked. Some 200 KiB: kept only as long as documents are made.
#[derive(Debug)]
pub struct Texts {
    all: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Unpacks the descriptions.
    pub fn unpack() -> Self {
        let mut all = String::new();
        // The input is part of the program; if it were broken, documents would have no texts.
        if DeflateDecoder::new(COMPRESSED).read_to_string(&mut all).is_err() {
            all.clear();
        }
        let ends = all.match_indices('\0').map(|(at, _)| at).collect();
        Self { all, ends }
    }

    /// Returns what a type is.
    pub fn of(&self, definition: &Definition) -> &str {
        self.nth(definition.text)
    }

    /// Returns what a field of a type is.
    ///
    /// ```
    /// use apimachinery::schema;
    /// let pod = schema::by_kind("", "v1", "Pod").unwrap();
    /// assert!(!schema::Texts::unpack().of_field(pod, pod.field("spec").unwrap()).is_empty());
    /// ```
    pub fn of_field(&self, definition: &Definition, field: &Field) -> &str {
        let index = definition.fields().iter().position(|one| one.name == field.name);
        index.map_or("", |index| self.nth(definition.text + 1 + index))
    }

    fn nth(&self, number: usize) -> &str {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| end + 1);
        let end = self.ends.get(number).copied().unwrap_or(start);
        self.all.get(start..end).unwrap_or_default()
    }
}
