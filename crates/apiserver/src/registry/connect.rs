//! Which container of which node a request for a stream is about.

use std::sync::Arc;

use apimachinery::status::ApiError;
use serde_json::Value;

use super::{Place, Registry, meta};
use crate::node_proxy::{NodeProxy, PodReference};

/// The pod of an exec, attach or port-forward, and the way to its node.
pub(crate) struct Target {
    pub(crate) proxy: Arc<dyn NodeProxy>,
    pub(crate) pod: PodReference,
    /// The pod object.
    pub(crate) object: Arc<crate::store::Object>,
}

impl Registry {
    /// Finds the pod and its node (`streamLocation` and `PortForwardLocation` of the pod registry).
    ///
    /// # Errors
    /// The pod does not exist, is on no node, or nothing serves its node.
    pub(crate) fn target(&self, place: Place<'_>) -> Result<Target, ApiError> {
        let object = self.get(place)?;
        if object.value()["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
            return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", place.name)));
        }
        let proxy = self.node_proxy().ok_or_else(|| ApiError::service_unavailable("no node agent serves this pod"))?;
        Ok(Target { proxy, pod: reference(place, object.value()), object })
    }
}

/// The pod as a node knows it.
pub(crate) fn reference(place: Place<'_>, pod: &Value) -> PodReference {
    PodReference { namespace: place.namespace.to_owned(), name: place.name.to_owned(), uid: meta::uid(pod).to_owned() }
}

/// The named container, else the only main one (`validateContainer` of the pod registry).
///
/// # Errors
/// The pod has no such container, or no name is given and there are several.
pub(crate) fn choose_container(pod_name: &str, pod: &Value, asked: Option<&str>) -> Result<String, ApiError> {
    let of = |list: &'static str| {
        pod["spec"][list].as_array().into_iter().flatten().filter_map(|container| container["name"].as_str())
    };
    let all: Vec<&str> = ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(of).collect();
    if let Some(asked) = asked {
        return if all.contains(&asked) {
            Ok(asked.to_owned())
        } else {
            Err(ApiError::bad_request(format!("container {asked} is not valid for pod {pod_name}")))
        };
    }
    let must = format!("a container name must be specified for pod {pod_name}");
    match of("containers").collect::<Vec<_>>().as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(ApiError::bad_request(must)),
        _ => Err(ApiError::bad_request(format!("{must}, choose one of: [{}]", all.join(" ")))),
    }
}
