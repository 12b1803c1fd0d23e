//! Selection by fields.

use std::{borrow::Cow, fmt};

use serde_json::Value;

use super::{MAX_SELECTOR_BYTES, SelectorError};
use crate::{event, scheme::ResourceType};

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    path: String,
    value: String,
    equal: bool,
}

/// Conditions on fields of which all must hold. Without conditions it matches everything.
///
/// ```
/// use apimachinery::{scheme, selector::FieldSelector};
/// let pods = scheme::by_name("pod").unwrap();
/// let selector = FieldSelector::parse(pods, "spec.nodeName=a,status.phase!=Failed").unwrap();
/// assert!(selector.matches(&serde_json::json!({"spec": {"nodeName": "a"}})));
/// assert!(FieldSelector::parse(pods, "spec.image=x").is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Reads the text form (`fieldSelector=` of a list request). Events are matched in the form in which they are stored.
    ///
    /// # Errors
    /// When the text is no selector, or objects of this type cannot be selected by one of the fields.
    pub fn parse(ty: &ResourceType, text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(SelectorError::Syntax(format!("longer than {MAX_SELECTOR_BYTES} bytes")));
        }
        let mut terms = Vec::new();
        for part in split_unescaped(text, ',') {
            if part.is_empty() {
                continue;
            }
            let term = parse_term(&part)?;
            supported(ty, &term.path)?;
            let path = if event::is_other_form(ty) { event::stored_path(&term.path) } else { term.path };
            terms.push(Term { path, ..term });
        }
        Ok(Self { terms })
    }

    /// Tells whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Tells whether all conditions hold for the object. An absent field is the empty string.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|t| (lookup(object, &t.path) == t.value) == t.equal)
    }

    /// Returns the value that a field must have, if one is asked for (`metadata.name=x`).
    ///
    /// ```
    /// use apimachinery::{scheme, selector::FieldSelector};
    /// let selector = FieldSelector::parse(scheme::by_name("pod").unwrap(), "metadata.name=a").unwrap();
    /// assert_eq!(selector.required("metadata.name"), Some("a"));
    /// ```
    pub fn required(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equal && t.path == path).map(|t| t.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}{}{}", term.path, if term.equal { "=" } else { "!=" }, escape(&term.value))?;
        }
        Ok(())
    }
}

fn parse_term(part: &str) -> Result<Term, SelectorError> {
    let syntax = || SelectorError::Syntax(format!("invalid selector: '{part}'; can't understand '{part}'"));
    let at = part.find('=').ok_or_else(syntax)?;
    let (left, value) = (&part[..at], &part[at + 1..]);
    let (path, equal) = match left.strip_suffix('!') {
        Some(path) => (path, false),
        None => (left, true),
    };
    let value = if equal { value.strip_prefix('=').unwrap_or(value) } else { value };
    Ok(Term { path: path.trim().to_owned(), value: unescape(value).ok_or_else(syntax)?, equal })
}

/// Splits at a character that is not escaped with a backslash.
fn split_unescaped(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == at && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

/// Finds the text of a field; an absent one is empty, as in the selectable field sets of the API server.
fn lookup<'a>(object: &'a Value, path: &str) -> Cow<'a, str> {
    let (object, path) = match path {
        "status.successful" => (object, "status.succeeded"),
        "source" => (object, "source.component"),
        path => (object, path),
    };
    let found = path.split('.').try_fold(object, |value, key| value.get(key));
    match found {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Cow::Owned(value.to_string()),
        None if is_flag(path) => Cow::Borrowed("false"),
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => Cow::Borrowed(""),
    }
}

fn is_flag(path: &str) -> bool {
    matches!(path, "spec.hostNetwork" | "spec.unschedulable")
}

fn supported(ty: &ResourceType, path: &str) -> Result<(), SelectorError> {
    let own: &[&str] = match (ty.group, ty.kind) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("apps", "ReplicaSet") => &["status.replicas"],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Namespace") => &["status.phase"],
        ("batch", "Job") => &["status.successful"],
        _ => &[],
    };
    let common = path == "metadata.name" || (path == "metadata.namespace" && ty.namespaced);
    if common || own.contains(&path) {
        return Ok(());
    }
    Err(SelectorError::UnsupportedField(if own.is_empty() {
        format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {path}")
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheme;

    fn pod(text: &str) -> Result<FieldSelector, SelectorError> {
        FieldSelector::parse(scheme::by_name("pod").unwrap(), text)
    }

    #[test]
    fn fields_are_compared_as_text_and_absent_ones_are_empty() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"hostNetwork": true}, "status": {}});
        let cases = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a", true),
            ("metadata.name!=a", false),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
            ("status.phase!=Failed,metadata.name=a", true),
            ("spec.hostNetwork=true", true),
        ];
        for (text, expected) in cases {
            assert_eq!(pod(text).unwrap().matches(&object), expected, "{text}");
        }
    }

    #[test]
    fn unknown_fields_and_bad_syntax_are_refused() {
        assert_eq!(pod("spec.x=1").unwrap_err().to_string(), "field label not supported: spec.x");
        assert!(pod("metadata.name").is_err());
        assert!(pod("metadata.name=a=b").is_err());
        assert!(pod("metadata.name=a\\").is_err());
    }

    #[test]
    fn commas_can_be_escaped() {
        let selector = pod(r"metadata.name=a\,b").unwrap();
        assert_eq!(selector.required("metadata.name"), Some("a,b"));
        assert_eq!(selector.to_string(), r"metadata.name=a\,b");
    }

    #[test]
    fn events_are_selected_by_the_object_they_are_about() {
        let ty = scheme::by_name("event").unwrap();
        let event = json!({"involvedObject": {"name": "a", "uid": "1"}, "source": {"component": "kubelet"}});
        assert!(FieldSelector::parse(ty, "involvedObject.uid=1,source=kubelet").unwrap().matches(&event));
    }
}
