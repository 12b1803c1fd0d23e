//! `LimitRanger`: what the LimitRanges of a namespace add to its pods and refuse of them.

use apimachinery::resources::qos_class;
use apimachinery::scheme::{self, ResourceType};
use apimachinery::status::ApiError;
use apimachinery::{decode, limits};
use k8s_openapi::api::core::v1::{LimitRange, Pod};
use serde_json::Value;

use crate::registry::{Registry, meta, strategy};

/// Gives a pod that is being created the requests and limits that it lacks, and refuses one beyond the bounds.
pub(crate) fn create(registry: &Registry, kind: &ResourceType, object: &mut Value) -> Result<(), ApiError> {
    let ranges = ranges(registry, meta::namespace(object));
    if ranges.is_empty() {
        return Ok(());
    }
    let mut pod: Pod = decode::object(object).map_err(ApiError::bad_request)?;
    ranges.iter().for_each(|range| limits::complete(range, &mut pod));
    if let (Some(spec), Some(status)) = (&pod.spec, &mut pod.status) {
        status.qos_class = Some(qos_class(spec).as_str().to_owned());
    }
    let name = meta::name(object).to_owned();
    *object = decode::encode(&pod);
    match ranges.iter().map(|range| limits::problems(range, &pod)).find(|problems| !problems.is_empty()) {
        None => Ok(()),
        Some(problems) => match problems.as_slice() {
            [problem] => Err(ApiError::forbidden(kind, &name, problem)),
            _ => Err(ApiError::forbidden(kind, &name, &format!("[{}]", problems.join(", ")))),
        },
    }
}

fn ranges(registry: &Registry, namespace: &str) -> Vec<LimitRange> {
    let Some(kind) = scheme::by_plural("", "v1", "limitranges") else { return Vec::new() };
    let snapshot = registry.store.snapshot(&strategy::table(kind));
    let prefix = format!("{namespace}/");
    snapshot.range(&prefix, "").filter_map(|object| decode::object(object.value()).ok()).collect()
}
