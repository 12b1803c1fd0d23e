//! `metadata.managedFields`.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::{Map, Value, json};

use super::FieldSet;
use crate::field::quote;

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// By server-side apply.
    Apply,
    /// In any other way.
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who set fields. An applier is the same in every version (`BuildManagerIdentifier`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for appliers.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    pub(super) fn new(operation: Operation, name: &str, api_version: &str, subresource: &str) -> Self {
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        Self { name: name.into(), operation, api_version: api_version.into(), subresource: subresource.into() }
    }

    /// As conflicts show it (`printManager`).
    pub(super) fn describe(&self) -> String {
        let mut text = quote(&self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", quote(&self.subresource)));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// What a manager has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) fields: FieldSet,
    pub(super) api_version: String,
    /// When it last changed something, as the API writes times; empty if not known.
    pub(super) time: String,
}

/// Everybody who has set fields of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Managers(pub(super) BTreeMap<Manager, Owned>);

/// Most managers of which updates are told apart (`DefaultMaxUpdateManagers`).
const MOST_UPDATERS: usize = 10;

/// Whom the fields of older ones go to.
const ANCIENT: &str = "ancient-changes";

impl Managers {
    /// Reads `metadata.managedFields`; `None` if it is malformed.
    pub(super) fn read(entries: &Value) -> Option<Self> {
        let mut all = Self::default();
        for entry in entries.as_array().map_or(&[][..], Vec::as_slice) {
            let text = |key: &str| entry[key].as_str().unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            let api_version = text("apiVersion");
            if api_version.is_empty() || !matches!(text("fieldsType"), "" | "FieldsV1") {
                return None;
            }
            let fields = &entry["fieldsV1"];
            let fields = if fields.is_null() { FieldSet::default() } else { FieldSet::from_fields_v1(fields)? };
            let manager = Manager::new(operation, text("manager"), api_version, text("subresource"));
            let owned = Owned { fields, api_version: api_version.to_owned(), time: text("time").to_owned() };
            all.0.insert(manager, owned);
        }
        Some(all)
    }

    /// Writes `metadata.managedFields`; null if there is nobody.
    pub(super) fn write(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        let mut all: Vec<(&Manager, &Owned)> = self.0.iter().collect();
        all.sort_by(|a, b| order(*a, *b));
        all.into_iter().map(|(manager, owned)| entry(manager, owned)).collect()
    }

    /// Takes fields from a manager, and what has been below fields that are gone; one without any is forgotten.
    pub(super) fn take(&mut self, manager: &Manager, fields: &FieldSet, gone: &FieldSet) {
        if let Some(owned) = self.0.get_mut(manager) {
            owned.fields = owned.fields.difference(fields).recursive_difference(gone);
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// What all of them have set.
    pub(super) fn all_fields(&self) -> FieldSet {
        self.0.values().fold(FieldSet::default(), |all, owned| all.union(owned.fields.clone()))
    }

    /// Puts the oldest updates together until there are no more than [`MOST_UPDATERS`].
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<Manager> =
            self.0.keys().filter(|manager| manager.operation == Operation::Update).cloned().collect();
        let mut count = updaters.len();
        let time = |all: &Self, manager: &Manager| all.0.get(manager).map(|owned| owned.time.clone());
        updaters.sort_by_key(|manager| (time(self, manager), manager.clone()));
        let mut first_of: BTreeMap<String, Manager> = BTreeMap::new();
        for manager in updaters {
            if count <= MOST_UPDATERS {
                return;
            }
            let bucket = Manager::new(Operation::Update, ANCIENT, &manager.api_version, "");
            let Some(first) = first_of.get(&manager.api_version) else {
                first_of.insert(manager.api_version.clone(), manager);
                continue;
            };
            if !self.0.contains_key(&bucket)
                && let Some(owned) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), owned);
            }
            if manager != bucket
                && let Some(owned) = self.0.remove(&manager)
                && let Some(ancient) = self.0.get_mut(&bucket)
            {
                ancient.fields = std::mem::take(&mut ancient.fields).union(owned.fields);
                ancient.time = owned.time;
                count -= 1;
            }
        }
    }
}

/// Appliers first, then by time, name, version, subresource (`sortEncodedManagedFields`).
fn order(a: (&Manager, &Owned), b: (&Manager, &Owned)) -> Ordering {
    let key = |(manager, owned): (&Manager, &Owned)| {
        (
            manager.operation,
            owned.time.clone(),
            manager.name.clone(),
            owned.api_version.clone(),
            manager.subresource.clone(),
        )
    };
    key(a).cmp(&key(b))
}

fn entry(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = Map::new();
    let mut set = |key: &str, text: &str| {
        if !text.is_empty() {
            entry.insert(key.to_owned(), text.into());
        }
    };
    set("manager", &manager.name);
    set("operation", manager.operation.text());
    set("apiVersion", &owned.api_version);
    set("time", &owned.time);
    set("fieldsType", "FieldsV1");
    set("subresource", &manager.subresource);
    entry.insert("fieldsV1".to_owned(), owned.fields.to_fields_v1());
    Value::Object(entry)
}

/// Whether `managedFields` of a request asks for all to be forgotten: one entry that says nothing.
pub(super) fn is_reset(entries: &Value) -> bool {
    *entries == json!([{}])
}
