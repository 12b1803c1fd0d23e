//! What is special about writing LimitRanges, PriorityClasses, bindings of roles and EndpointSlices.

use k8s_openapi::api::{
    core::v1::LimitRange,
    discovery::v1::EndpointSlice,
    rbac::v1::{RoleRef, Subject},
    scheduling::v1::PriorityClass,
};

use super::defaults::fill;

/// `SetDefaults_LimitRangeItem`: a limit is at most the maximum, and a request the limit, else the minimum.
pub(super) fn limit_range(range: &mut LimitRange) {
    let items = range.spec.iter_mut().flat_map(|spec| &mut spec.limits);
    for item in items.filter(|item| item.type_ == "Container") {
        let default = item.default.get_or_insert_default();
        for (name, amount) in item.max.iter().flatten() {
            default.entry(name.clone()).or_insert_with(|| amount.clone());
        }
        let request = item.default_request.get_or_insert_default();
        for (name, amount) in default.iter().chain(item.min.iter().flatten()) {
            request.entry(name.clone()).or_insert_with(|| amount.clone());
        }
        item.default = item.default.take().filter(|list| !list.is_empty());
        item.default_request = item.default_request.take().filter(|list| !list.is_empty());
    }
}

pub(super) fn priority_class(class: &mut PriorityClass) {
    fill(&mut class.preemption_policy, "PreemptLowerPriority");
}

/// `pkg/apis/rbac/v1/defaults.go`.
pub(super) fn binding(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    fill(&mut role.api_group, GROUP);
    for subject in subjects.into_iter().flatten().filter(|subject| matches!(subject.kind.as_str(), "User" | "Group")) {
        fill(&mut subject.api_group, GROUP);
    }
}

pub(super) fn endpoint_slice(slice: &mut EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
        fill(&mut port.protocol, "TCP");
    }
}
