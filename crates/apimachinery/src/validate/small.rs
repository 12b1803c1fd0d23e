//! Leases and EndpointSlices.
//!
//! Source of rules and texts: `pkg/apis/{coordination,discovery}/validation`.

use k8s_openapi::api::{coordination::v1::Lease, discovery::v1::EndpointSlice};

use super::{immutable, not_negative, one_of};
use crate::field::{FieldErrors, Path};

/// Checks a Lease.
pub(super) fn lease(errors: &mut FieldErrors, lease: &Lease) {
    let path = Path::new("spec");
    let Some(spec) = &lease.spec else { return };
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    not_negative(errors, &path.child("leaseTransitions"), spec.lease_transitions.map(i64::from));
}

/// Checks an EndpointSlice.
pub(super) fn endpoint_slice(errors: &mut FieldErrors, slice: &EndpointSlice) {
    let kind = Some(slice.address_type.as_str());
    one_of(errors, &Path::new("addressType"), kind, &["FQDN", "IPv4", "IPv6"]);
    let path = Path::new("endpoints");
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > MOST_ENDPOINTS {
        errors.too_many(&path, endpoints.len(), MOST_ENDPOINTS);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        if endpoint.addresses.is_empty() {
            errors.required(&path.index(index).child("addresses"), "must contain at least 1 address");
        }
    }
    let ports = slice.ports.as_ref().map_or(0, Vec::len);
    if ports > MOST_PORTS {
        errors.too_many(&Path::new("ports"), ports, MOST_PORTS);
    }
}

/// Checks a changed EndpointSlice: its addresses stay of one kind.
pub(super) fn endpoint_slice_update(errors: &mut FieldErrors, old: &EndpointSlice, new: &EndpointSlice) {
    endpoint_slice(errors, new);
    immutable(errors, &Path::new("addressType"), Some(&old.address_type), Some(&new.address_type));
}

const MOST_ENDPOINTS: usize = 1000;
const MOST_PORTS: usize = 20_000;
