//! The endpoints of services: EndpointSlices (endpointslice/reconciler.go), and Endpoints, which
//! older clients read (endpoint/endpoints_controller.go).

mod legacy;
mod members;
mod reconcile;
mod slices;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub use legacy::plan as plan_legacy;
pub(crate) use reconcile::Controller;
pub use slices::plan;

/// All that plans for a service's endpoints may depend on.
#[derive(Debug, Clone)]
pub struct EndpointsView<'a> {
    /// The service.
    pub service: &'a Service,
    /// The pods of its namespace.
    pub pods: &'a [Arc<Pod>],
    /// The slices that this controller keeps for the service.
    pub slices: &'a [Arc<EndpointSlice>],
    /// The Endpoints of the service's name.
    pub endpoints: Option<&'a Endpoints>,
    /// The zones of nodes that have one.
    pub zones: &'a BTreeMap<String, String>,
    /// The time.
    pub now: Timestamp,
}

/// What to do next about the slices of a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SlicesPlan {
    /// Slices to create.
    pub create: Vec<EndpointSlice>,
    /// Slices to replace.
    pub update: Vec<EndpointSlice>,
    /// Slices to delete.
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// Label that names the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Label that names who keeps a slice.
pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// This controller, as that label names it.
pub const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Label that names who keeps an Endpoints object.
pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// This controller, as that label names it.
pub const CONTROLLER: &str = "endpoint-controller";

/// Label of what belongs to a service without an address of its own.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// Annotation that says when the change happened that led to the last write.
pub const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";
