//! The `scale` subresource: the number of replicas of an object, seen and changed without the rest of it.
//!
//! Source: `ScaleREST` of `pkg/registry/apps/{deployment,replicaset}/storage`.

use std::sync::Arc;

use apimachinery::decode::{self, Json};
use apimachinery::field::{FieldErrors, Path};
use apimachinery::prepare::Subresource;
use apimachinery::scheme;
use apimachinery::selector::LabelSelector;
use apimachinery::status::ApiError;
use k8s_openapi::api::autoscaling::v1::Scale;
use serde_json::{Value, json};

use super::apply::Rewrite;
use super::update::{Part, Patch};
use super::{Place, Registry, WriteOptions, Written, meta};
use crate::rules;
use crate::store::Object;

impl Registry {
    /// The scale of an object.
    pub(crate) fn scale(&self, place: Place<'_>) -> Result<Arc<Object>, ApiError> {
        self.get(place).map(|object| scale_of(&object))
    }

    /// Replaces the scale of an object.
    pub(crate) fn update_scale(
        &self,
        place: Place<'_>,
        body: &Json,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        self.rescale(place, options, |_| Ok(body.value.clone()))
    }

    /// Changes the scale of an object by a patch.
    pub(crate) fn patch_scale(
        &self,
        place: Place<'_>,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        self.rescale(place, options, |mut scale| {
            rules::apply_patch(place.kind, &mut scale, patch)?;
            Ok(scale)
        })
    }

    fn rescale(
        &self,
        place: Place<'_>,
        options: &WriteOptions,
        wanted: impl Fn(Value) -> Result<Value, ApiError>,
    ) -> Result<Written, ApiError> {
        let tracked = Rewrite::tracked(Part::Of(Subresource::None), options);
        let mut written = self.rewrite(place, Rewrite { subresource: "scale", ..tracked }, |old| {
            let scale = checked(place, &wanted(scale_value(old))?)?;
            let mut new = old.clone();
            new["spec"]["replicas"] = json!(scale.spec.and_then(|spec| spec.replicas).unwrap_or_default());
            // So that a scale that was read before others wrote is refused.
            meta::set(&mut new, "resourceVersion", json!(scale.metadata.resource_version));
            meta::set(&mut new, "uid", json!(scale.metadata.uid));
            Ok((new, Vec::new()))
        })?;
        written.object = scale_of(&written.object);
        Ok(written)
    }
}

/// Reads a scale and checks it (`ValidateScale`).
fn checked(place: Place<'_>, scale: &Value) -> Result<Scale, ApiError> {
    let kind = &scheme::SCALE;
    let is = |field: &str, want: &str| scale[field].as_str().is_none_or(|given| given == want);
    if !is("apiVersion", kind.api_version) || !is("kind", kind.kind) {
        return Err(ApiError::bad_request(format!("the body must be a {} of {}", kind.kind, kind.api_version)));
    }
    let scale: Scale = decode::object(scale).map_err(ApiError::bad_request)?;
    match scale.metadata.name.as_deref() {
        Some(name) if name == place.name => {}
        name => {
            let name = name.unwrap_or_default();
            let text = format!("the name of the object ({name}) does not match the name on the URL ({})", place.name);
            return Err(ApiError::bad_request(text));
        }
    }
    if let Some(replicas) = scale.spec.as_ref().and_then(|spec| spec.replicas).filter(|replicas| *replicas < 0) {
        let mut errors = FieldErrors::default();
        errors.invalid(&Path::new("spec").child("replicas"), replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid(kind, place.name, &errors));
    }
    Ok(scale)
}

fn scale_of(object: &Object) -> Arc<Object> {
    Arc::new(Object::draft(object.shared_key(), scale_value(object.value())))
}

fn scale_value(object: &Value) -> Value {
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: serde_json::Map<String, Value> =
        kept.into_iter().map(|field| (field.to_owned(), meta::field(object, field).clone())).collect();
    let selector = serde_json::from_value(object["spec"]["selector"].clone()).ok();
    let selector = selector.and_then(|selector| LabelSelector::from_api(&selector).ok());
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or_default()});
    if let Some(selector) = selector {
        status["selector"] = json!(selector.to_string());
    }
    json!({
        "kind": scheme::SCALE.kind, "apiVersion": scheme::SCALE.api_version, "metadata": metadata,
        "spec": {"replicas": object["spec"]["replicas"].as_i64().unwrap_or_default()}, "status": status,
    })
}
