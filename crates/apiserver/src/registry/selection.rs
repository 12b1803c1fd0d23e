//! Which objects a request is about: namespace and selectors.

use std::sync::Arc;

use apimachinery::scheme::ResourceType;
use apimachinery::selector::{FieldSelector, LabelSelector, SelectorError};
use apimachinery::status::ApiError;

use super::{Place, meta};
use crate::store::{Object, Snapshot};

/// A kind, a namespace (or all), a name (or all), a label selector and a field selector.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    kind: &'static ResourceType,
    prefix: String,
    name: String,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Parses the selectors.
    pub(crate) fn parse(place: Place<'_>, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let refused = |error: SelectorError| ApiError::bad_request(error.to_string());
        Ok(Self {
            kind: place.kind,
            prefix: place.prefix(),
            name: place.name.to_owned(),
            labels: LabelSelector::parse(labels).map_err(refused)?,
            fields: FieldSelector::parse(place.kind, fields).map_err(refused)?,
        })
    }

    pub(crate) fn kind(&self) -> &'static ResourceType {
        self.kind
    }

    /// The part of the key that all selected objects share.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether every object of the namespace is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.name.is_empty() && self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        object.key().starts_with(&self.prefix)
            && (self.name.is_empty() || self.name == meta::name(object.value()))
            && self.labels.matches_object(object.value())
            && self.fields.matches(object.value())
    }

    /// The selected objects of a snapshot, in order.
    pub(crate) fn pick(&self, snapshot: &Snapshot) -> Vec<Arc<Object>> {
        snapshot.range(&self.prefix, "").filter(|object| self.matches(object)).cloned().collect()
    }
}
