//! YAML and JSON manifests.

use serde_json::Value;
use serde_saphyr::Options;

use super::{DecodeError, typed::name_of};

/// Longest manifest that is read. A request to an API server is bounded by about 3 MiB; a file may hold many objects.
const MAX_BYTES: usize = 32 << 20;

/// Deepest nesting that is read: a CronJob reaches 16, and a debug build needs some 20 KiB of stack for each level.
const MAX_DEPTH: usize = 48;

/// Reads every object of a manifest.
///
/// Several documents are allowed, empty ones are skipped, and the items of a `List` are taken out of it. JSON is read
/// as well. Numbers are those of YAML 1.1 as Kubernetes reads them: `0644` is octal.
///
/// ```
/// let objects = apimachinery::decode::yaml("kind: A\n---\n# nothing\n---\n{\"kind\": \"B\"}\n").unwrap();
/// assert_eq!(objects[1]["kind"], "B");
/// let error = apimachinery::decode::yaml("a: 1\na: 2\n").unwrap_err();
/// assert!(error.to_string().starts_with("line 2"), "{error}");
/// ```
///
/// # Errors
/// For text that is not YAML, keys given twice, documents that are no objects, and manifests over the limits.
pub fn yaml(text: &str) -> Result<Vec<Value>, DecodeError> {
    if text.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge { what: "size in bytes", limit: MAX_BYTES });
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|e| syntax_error(&e))?;
    let mut objects = Vec::with_capacity(documents.len());
    for (index, document) in documents.into_iter().enumerate() {
        flatten(document, index + 1, &mut objects)?;
    }
    Ok(objects)
}

fn options() -> Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    }
}

fn syntax_error(error: &serde_saphyr::Error) -> DecodeError {
    let at = error.location();
    let text = error.without_snippet().to_string();
    DecodeError::Syntax {
        line: at.map_or(0, |l| l.line()),
        column: at.map_or(0, |l| l.column()),
        message: text.split(" at line ").next().unwrap_or(&text).to_owned(),
    }
}

fn flatten(document: Value, number: usize, into: &mut Vec<Value>) -> Result<(), DecodeError> {
    match document {
        Value::Null => Ok(()),
        Value::Object(mut fields) if is_list(&fields) => {
            let Some(Value::Array(items)) = fields.remove("items") else { return Ok(()) };
            items.into_iter().try_for_each(|item| flatten(item, number, into))
        }
        Value::Object(_) => {
            into.push(document);
            Ok(())
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(DecodeError::NotAnObject { document: number, found: name_of(&document) })
        }
    }
}

/// Tells whether an object is a list: of mixed kinds (`v1` `List`) or of one (`PodList`).
fn is_list(fields: &serde_json::Map<String, Value>) -> bool {
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && fields.get("items").is_some_and(|items| items.is_array() || items.is_null())
}
