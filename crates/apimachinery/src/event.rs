//! The two forms of events: core/v1, in which they are stored, and events.k8s.io/v1.
//!
//! They differ in the names of fields alone. Source: `pkg/apis/events/v1/conversion.go`.

use serde_json::Value;

use crate::scheme::ResourceType;

/// Names of fields in core/v1 and in events.k8s.io/v1, where they differ.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// API version of the form in which events are stored.
const STORED: &str = "v1";

/// Tells whether objects of the kind are events in a form other than the stored one.
pub fn is_other_form(ty: &ResourceType) -> bool {
    (ty.group, ty.kind) == ("events.k8s.io", "Event")
}

/// Brings an event of events.k8s.io/v1 into the stored form.
///
/// ```
/// use apimachinery::event;
/// use serde_json::json;
/// let mut event = json!({"apiVersion": "events.k8s.io/v1", "note": "m", "regarding": {"name": "a"}, "action": "b"});
/// event::to_stored(&mut event);
/// assert_eq!(event, json!({"apiVersion": "v1", "message": "m", "involvedObject": {"name": "a"}, "action": "b"}));
/// ```
pub fn to_stored(event: &mut Value) {
    rename(event, STORED, |(stored, other)| (other, stored));
}

/// Brings a stored event into the form of events.k8s.io/v1.
pub fn from_stored(event: &mut Value) {
    rename(event, "events.k8s.io/v1", |names| names);
}

fn rename(
    event: &mut Value,
    api_version: &str,
    order: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields) = event.as_object_mut() else { return };
    for (from, to) in RENAMED.into_iter().map(order) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    fields.insert("apiVersion".to_owned(), api_version.into());
}

/// Returns the path that a field has in the stored form, as selectors need it.
///
/// ```
/// use apimachinery::event;
/// assert_eq!(event::stored_path("regarding.name"), "involvedObject.name");
/// assert_eq!(event::stored_path("reason"), "reason");
/// ```
pub fn stored_path(path: &str) -> String {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let first = RENAMED.iter().find(|(_, other)| *other == first).map_or(first, |(stored, _)| stored);
    rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{rest}"))
}
