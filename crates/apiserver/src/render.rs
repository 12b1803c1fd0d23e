//! The form in which a client wants objects.

use apimachinery::scheme::ResourceType;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::store::Object;

/// What `Accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Render {
    /// The objects themselves.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
}

impl Render {
    /// The first form in an `Accept` header that can be served.
    pub(crate) fn from_accept(accept: Option<&str>) -> Self {
        let partial = |media: &&str| {
            let mut parameters = media.split(';').map(str::trim).skip(1);
            parameters.any(|one| one == "as=PartialObjectMetadata" || one == "as=PartialObjectMetadataList")
        };
        let servable = |media: &&str| partial(media) || !media.contains("as=");
        match accept.unwrap_or_default().split(',').find(servable) {
            Some(media) if partial(&media) => Self::Metadata,
            _ => Self::Whole,
        }
    }

    /// The JSON text of an object.
    pub(crate) fn object(self, object: &Object) -> Bytes {
        match self {
            Self::Whole => object.json(),
            Self::Metadata => Bytes::from(metadata_of(object.value()).to_string()),
        }
    }

    /// `apiVersion` and `kind` of a list.
    pub(crate) fn list_type(self, kind: &ResourceType) -> (String, String) {
        match self {
            Self::Whole => (kind.api_version.to_owned(), kind.list_kind()),
            Self::Metadata => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned()),
        }
    }

    /// `apiVersion` and `kind` of one object.
    pub(crate) fn object_type(self, kind: &ResourceType) -> (String, String) {
        match self {
            Self::Whole => (kind.api_version.to_owned(), kind.kind.to_owned()),
            Self::Metadata => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata".to_owned()),
        }
    }
}

fn metadata_of(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_servable_form_is_taken() {
        for (accept, want) in [
            (None, Render::Whole),
            (Some("*/*"), Render::Whole),
            (Some("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"), Render::Metadata),
            (Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Render::Whole),
        ] {
            assert_eq!(Render::from_accept(accept), want, "{accept:?}");
        }
    }
}
