//! What is wrong with which field: paths and the error texts of Kubernetes.
//!
//! Source of the texts: apimachinery `pkg/util/validation/field`.

use std::fmt;

use serde_json::Value;

/// Where a field is inside an object, in the notation of Kubernetes (`spec.containers[0].image`).
///
/// ```
/// use apimachinery::field::Path;
/// let path = Path::new("spec").child("containers").index(0).child("image");
/// assert_eq!(path.to_string(), "spec.containers[0].image");
/// assert_eq!(Path::new("metadata").child("labels").key("a/b").to_string(), "metadata.labels[a/b]");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Path(String);

impl Path {
    /// Starts at a field of the object itself.
    pub fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    /// Goes to a named field below.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// Goes to an entry of a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// Goes to an entry of a map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// Returns the notation.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of thing is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorType {
    /// A value that must be given is not.
    Required,
    /// The value is not one of those allowed.
    Invalid,
    /// The value is not in the set of known values.
    NotSupported,
    /// The field may not be set here.
    Forbidden,
    /// The value must be unique and is not.
    Duplicate,
    /// The value is longer than allowed.
    TooLong,
    /// The list has more entries than allowed.
    TooMany,
    /// The value refers to something that does not exist.
    NotFound,
    /// The value has the wrong type.
    TypeInvalid,
}

impl ErrorType {
    /// Returns the text that starts the error's body.
    pub fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }

    /// Returns the machine-readable reason in `details.causes`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of thing.
    pub kind: ErrorType,
    /// Which field.
    pub field: Path,
    /// The value as the text shows it; absent where the text does not show it.
    pub value: Option<String>,
    /// What would be right; may be empty.
    pub detail: String,
}

impl FieldError {
    /// Returns the text without the field's name.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Everything that is wrong with an object.
///
/// ```
/// use apimachinery::field::{FieldErrors, Path};
/// let mut errors = FieldErrors::default();
/// errors.required(&Path::new("spec"), "");
/// assert_eq!(errors.to_string(), "spec: Required value");
/// errors.not_supported(&Path::new("mode"), "x", &["A", "B"]);
/// assert_eq!(
///     errors.to_string(),
///     r#"[spec: Required value, mode: Unsupported value: "x": supported values: "A", "B"]"#
/// );
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Tells whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many things are wrong.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns them in the order found.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.0.iter()
    }

    /// Adds one.
    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// A value that must be given is not. `detail` may be empty.
    pub fn required(&mut self, field: &Path, detail: &str) {
        self.add(ErrorType::Required, field, None, detail.to_owned());
    }

    /// A value is not allowed.
    pub fn invalid(&mut self, field: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.add(ErrorType::Invalid, field, Some(show(&value.into())), detail.into());
    }

    /// A value is not one of the supported ones; the text lists them in the order given.
    pub fn not_supported(&mut self, field: &Path, value: &str, supported: &[&str]) {
        let names: Vec<String> = supported.iter().map(|s| quote(s)).collect();
        let detail = if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        self.add(ErrorType::NotSupported, field, Some(quote(value)), detail);
    }

    /// A field may not be set here.
    pub fn forbidden(&mut self, field: &Path, detail: impl Into<String>) {
        self.add(ErrorType::Forbidden, field, None, detail.into());
    }

    /// A value must be unique and is not.
    pub fn duplicate(&mut self, field: &Path, value: impl Into<Value>) {
        self.add(ErrorType::Duplicate, field, Some(show(&value.into())), String::new());
    }

    /// A value has more bytes than allowed.
    pub fn too_long(&mut self, field: &Path, max: usize) {
        self.add(ErrorType::TooLong, field, None, format!("may not be more than {max} bytes"));
    }

    /// A list has more entries than allowed.
    pub fn too_many(&mut self, field: &Path, actual: usize, max: usize) {
        let noun = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {noun}");
        self.add(ErrorType::TooMany, field, Some(actual.to_string()), detail);
    }

    /// A value refers to something that does not exist.
    pub fn not_found(&mut self, field: &Path, value: impl Into<Value>) {
        self.add(ErrorType::NotFound, field, Some(show(&value.into())), String::new());
    }

    fn add(&mut self, kind: ErrorType, field: &Path, value: Option<String>, detail: String) {
        self.0.push(FieldError { kind, field: field.clone(), value, detail });
    }
}

impl fmt::Display for FieldErrors {
    /// One error stands alone, several are listed in brackets, equal ones once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen: Vec<String> = Vec::with_capacity(self.0.len());
        for text in self.0.iter().map(ToString::to_string) {
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        match seen.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

impl IntoIterator for FieldErrors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a FieldErrors {
    type Item = &'a FieldError;
    type IntoIter = std::slice::Iter<'a, FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Writes a value as the texts show it: strings quoted, the rest as JSON.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Quotes a string the way Go's `%q` does for printable text.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_text_of_kubernetes() {
        let path = Path::new("f");
        let mut e = FieldErrors::default();
        e.required(&path, "why");
        e.invalid(&path, -1, "must be positive");
        e.invalid(&path, "a\"b", "no");
        e.forbidden(&path, "may not be set");
        e.duplicate(&path, "x");
        e.too_long(&path, 63);
        e.too_many(&path, 21, 20);
        e.not_found(&path, "v");
        e.not_supported(&path, "Sometimes", &["Always", "Never"]);
        let texts: Vec<_> = e.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "f: Required value: why",
                "f: Invalid value: -1: must be positive",
                r#"f: Invalid value: "a\"b": no"#,
                "f: Forbidden: may not be set",
                r#"f: Duplicate value: "x""#,
                "f: Too long: may not be more than 63 bytes",
                "f: Too many: 21: must have at most 20 items",
                r#"f: Not found: "v""#,
                r#"f: Unsupported value: "Sometimes": supported values: "Always", "Never""#,
            ]
        );
    }

    #[test]
    fn equal_errors_are_listed_once() {
        let mut e = FieldErrors::default();
        e.required(&Path::new("a"), "");
        e.required(&Path::new("a"), "");
        assert_eq!(e.to_string(), "a: Required value");
    }
}
