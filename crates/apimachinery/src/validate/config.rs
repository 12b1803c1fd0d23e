//! ConfigMaps, Secrets and Events.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Event, Secret},
};

use super::{invalid_for, names, required, text};
use crate::field::{FieldErrors, Path};

/// Checks a ConfigMap.
pub(super) fn config_map(errors: &mut FieldErrors, map: &ConfigMap) {
    let mut size = 0_usize;
    let binary = map.binary_data.as_ref();
    for (key, value) in map.data.iter().flatten() {
        let path = Path::new("data").key(key);
        invalid_for(errors, &path, key, names::config_key(key));
        if binary.is_some_and(|binary| binary.contains_key(key)) {
            errors.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
        }
        size = size.saturating_add(value.len());
    }
    for (key, value) in binary.into_iter().flatten() {
        invalid_for(errors, &Path::new("binaryData").key(key), key, names::config_key(key));
        size = size.saturating_add(value.0.len());
    }
    if size > MOST_BYTES {
        errors.too_long(&Path::default(), MOST_BYTES);
    }
}

/// Checks a changed ConfigMap: one that is immutable stays as it is.
pub(super) fn config_map_update(errors: &mut FieldErrors, old: &ConfigMap, new: &ConfigMap) {
    if old.immutable == Some(true) {
        let changed = [
            ("immutable", new.immutable != Some(true)),
            ("data", !same(old.data.as_ref(), new.data.as_ref())),
            ("binaryData", !same(old.binary_data.as_ref(), new.binary_data.as_ref())),
        ];
        refuse_changes(errors, &changed);
    }
    config_map(errors, new);
}

/// Checks a Secret.
pub(super) fn secret(errors: &mut FieldErrors, secret: &Secret) {
    let path = Path::new("data");
    let mut size = 0_usize;
    for (key, value) in secret.data.iter().flatten() {
        invalid_for(errors, &path.key(key), key, names::config_key(key));
        size = size.saturating_add(value.0.len());
    }
    if size > MOST_BYTES {
        errors.too_long(&path, MOST_BYTES);
    }
    let get = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let all: &[&str] = match text(&secret.type_) {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/basic-auth" if get("username").is_none() && get("password").is_none() => {
            &["username", "password"]
        }
        _ => &[],
    };
    for key in all.iter().filter(|key| get(key).is_none()) {
        errors.required(&path.key(key), "");
    }
    for key in [".dockercfg", ".dockerconfigjson"].into_iter().filter(|key| all.contains(key)) {
        if get(key).is_some_and(|value| !is_json_object(value)) {
            errors.invalid(&path.key(key), "<secret contents redacted>", "must be a JSON object");
        }
    }
}

fn is_json_object(value: &ByteString) -> bool {
    serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&value.0).is_ok()
}

/// Checks a changed Secret: its type never changes, and nothing of it if it is immutable.
pub(super) fn secret_update(errors: &mut FieldErrors, old: &Secret, new: &Secret) {
    if old.type_ != new.type_ {
        errors.invalid(&Path::new("type"), text(&new.type_), "field is immutable");
    }
    if old.immutable == Some(true) {
        let changed =
            [("immutable", new.immutable != Some(true)), ("data", !same(old.data.as_ref(), new.data.as_ref()))];
        refuse_changes(errors, &changed);
    }
    secret(errors, new);
}

fn refuse_changes(errors: &mut FieldErrors, fields: &[(&str, bool)]) {
    for (field, _) in fields.iter().filter(|(_, changed)| *changed) {
        errors.forbidden(&Path::new(field), "field is immutable when `immutable` is set");
    }
}

/// Tells whether two maps are equal, taking an empty one for none.
fn same<V: PartialEq>(old: Option<&BTreeMap<String, V>>, new: Option<&BTreeMap<String, V>>) -> bool {
    let filled = |map: Option<&BTreeMap<String, V>>| map.is_some_and(|map| !map.is_empty());
    old == new || (!filled(old) && !filled(new))
}

/// Checks an Event: it is in the namespace of what it is about.
pub(super) fn event(errors: &mut FieldErrors, event: &Event) {
    let own = text(&event.metadata.namespace);
    let about = text(&event.involved_object.namespace);
    let right = if about.is_empty() { matches!(own, "" | "default") } else { own == about };
    if !right {
        let path = Path::new("involvedObject").child("namespace");
        errors.invalid(&path, about, "does not match event.namespace");
    }
}

/// Checks an Event that comes in the form of events.k8s.io/v1, which demands more.
pub(super) fn new_event(errors: &mut FieldErrors, event: &Event) {
    self::event(errors, event);
    if event.event_time.is_none() {
        errors.required(&Path::new("eventTime"), "");
    }
    for (field, value) in [
        ("reportingController", text(&event.reporting_component)),
        ("reportingInstance", text(&event.reporting_instance)),
        ("action", text(&event.action)),
        ("reason", text(&event.reason)),
    ] {
        required(errors, &Path::new(field), value);
        if value.len() > MOST_NAME_BYTES {
            errors.invalid(&Path::new(field), "", format!("can have at most {MOST_NAME_BYTES} characters"));
        }
    }
    let controller = text(&event.reporting_component);
    if !controller.is_empty() {
        invalid_for(errors, &Path::new("reportingController"), controller, names::qualified_name(controller));
    }
    if text(&event.message).len() > MOST_NOTE_BYTES {
        errors.invalid(&Path::new("note"), "", format!("can have at most {MOST_NOTE_BYTES} characters"));
    }
    let kind = text(&event.type_);
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
    }
}

/// `ReportingInstanceLengthLimit`, `ActionLengthLimit` and `ReasonLengthLimit`.
const MOST_NAME_BYTES: usize = 128;

/// `NoteLengthLimit`.
const MOST_NOTE_BYTES: usize = 1024;

/// `MaxSecretSize`, which holds for ConfigMaps as well.
const MOST_BYTES: usize = 1 << 20;
