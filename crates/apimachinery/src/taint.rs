//! Taints of nodes and what pods tolerate (component-helpers `scheduling/corev1`).

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Tells whether a pod with this toleration may be where the taint is.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let any_or = |field: &Option<String>, value: &str| field.as_deref().is_none_or(|f| f.is_empty() || f == value);
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
    };
    any_or(&toleration.effect, &taint.effect) && any_or(&toleration.key, &taint.key) && value
}
