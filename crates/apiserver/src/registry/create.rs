//! `create`: names, identity, admission, storing.

use std::sync::Arc;

use apimachinery::decode::Json;
use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use apimachinery::time::seconds;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Place, Registry, WriteOptions, Written, admission, meta, strategy};
use crate::rules;
use crate::store::{Change, CommitError, Expected, Object};

impl Registry {
    /// Creates an object from what a client sent.
    pub(crate) fn create(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        body: Json,
        options: WriteOptions,
    ) -> Result<Written, ApiError> {
        let (mut object, warnings) = rules::decode(kind, body, options.validation)?;
        check_namespace(kind, namespace, &mut object)?;
        if !meta::text(&object, "resourceVersion").is_empty() {
            return Err(ApiError::plain(500, "", "resourceVersion should not be set on objects to be created"));
        }
        let generated = meta::name(&object).is_empty() && !meta::text(&object, "generateName").is_empty();
        let rounds = if generated { MOST_GENERATED_NAMES } else { 1 };
        for _ in 0..rounds {
            match self.create_named(kind, object.clone(), generated, options.dry_run) {
                Ok(object) => return Ok(Written { object, created: true, warnings }),
                Err(error) if generated && error.reason == "AlreadyExists" => {}
                Err(error) => return Err(error),
            }
        }
        Err(ApiError::generated_name_exists(kind, meta::text(&object, "generateName")))
    }

    fn create_named(
        &self,
        kind: &'static ResourceType,
        mut object: Value,
        generated: bool,
        dry_run: bool,
    ) -> Result<Arc<Object>, ApiError> {
        if generated {
            let name = generate_name(meta::text(&object, "generateName"));
            meta::set(&mut object, "name", json!(name));
        }
        self.give_identity(kind, &mut object);
        rules::prepare_create(kind, &mut object);
        admission::create(self, kind, &mut object)?;
        rules::validate_create(kind, &object)?;
        self.insert(kind, object, dry_run)
    }

    /// Stores a complete object that has no predecessor.
    pub(crate) fn insert(
        &self,
        kind: &'static ResourceType,
        object: Value,
        dry_run: bool,
    ) -> Result<Arc<Object>, ApiError> {
        let place = Place::of(kind, &object);
        let (key, name) = (place.key(), place.name.to_owned());
        let table = strategy::table(kind);
        if dry_run {
            return match self.store.get(&table, &key) {
                Some(_) => Err(ApiError::already_exists(kind, &name)),
                None => Ok(Arc::new(Object::draft(key.into(), object))),
            };
        }
        match self.store.commit(&table, &key, Expected::Absent, Change::Put(object)) {
            Ok(object) => {
                self.after_create(kind, &object);
                Ok(object)
            }
            Err(CommitError::Exists | CommitError::Missing | CommitError::Changed) => {
                Err(ApiError::already_exists(kind, &name))
            }
        }
    }

    /// What the server decides: uid, times, generation; nothing that a client may bring along.
    fn give_identity(&self, kind: &ResourceType, object: &mut Value) {
        meta::set(object, "uid", json!(Uuid::new_v4().to_string()));
        meta::set(object, "creationTimestamp", json!(seconds(self.now())));
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"] {
            meta::set(object, field, Value::Null);
        }
        let generation = if kind.has_generation { json!(1) } else { Value::Null };
        meta::set(object, "generation", generation);
        if !kind.namespaced {
            meta::set(object, "namespace", Value::Null);
        }
    }
}

fn check_namespace(kind: &ResourceType, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    if !kind.namespaced {
        return Ok(());
    }
    let given = meta::namespace(object);
    if given.is_empty() {
        meta::set(object, "namespace", json!(namespace));
    } else if given != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// `SimpleNameGenerator`: the base, cut so that the result is a DNS label, and five random characters.
pub(crate) fn generate_name(base: &str) -> String {
    let cut = base.char_indices().map(|(at, _)| at).find(|at| *at >= MOST_BASE_BYTES).unwrap_or(base.len());
    format!("{}{}", &base[..cut], random_suffix())
}

/// Characters without vowels and look-alikes (`k8s.io/apimachinery/pkg/util/rand`).
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// 63 bytes of a DNS label less the suffix (`names.MaxGeneratedNameLength`).
const MOST_BASE_BYTES: usize = 58;

/// How often a taken generated name is replaced (`RetryGenerateName`).
const MOST_GENERATED_NAMES: usize = 8;

/// Five random characters.
pub(crate) fn random_suffix() -> String {
    let random = Uuid::new_v4().into_bytes();
    // Bytes 6 and 8 of a version 4 uuid hold fixed bits; the first five hold none.
    random[..5].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_have_five_random_characters_and_fit_a_label() {
        let name = generate_name("job-");
        assert!(name.starts_with("job-") && name.len() == 9, "{name}");
        assert!(name.bytes().skip(4).all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(generate_name("a"), generate_name("a"));
        assert_eq!(generate_name(&"x".repeat(100)).len(), 63);
        assert!(generate_name(&"ä".repeat(100)).len() <= 64);
    }
}
