//! Questions that several parts ask of a pod's spec.

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// Which list of the spec a container is in, and what that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Init container that must run to completion.
    Init,
    /// Init container with `restartPolicy: Always` (KEP-753).
    Sidecar,
    /// Entry of `spec.containers`.
    Main,
}

/// A container and where it is in the spec.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What it is.
    pub role: Role,
    /// Position in its list.
    pub index: usize,
    /// Its spec.
    pub container: &'a Container,
}

impl Entry<'_> {
    /// Returns the path as validation errors have it (`spec.initContainers[0]`).
    pub fn path(&self) -> String {
        format!("spec.{}[{}]", self.role.list(), self.index)
    }

    /// Returns the path as events have it (`spec.initContainers{name}`).
    ///
    /// ```
    /// use apimachinery::pod;
    /// let spec = serde_json::from_value(serde_json::json!({"containers": [{"name": "app"}]})).unwrap();
    /// assert_eq!(pod::containers(&spec).next().unwrap().field_path(), "spec.containers{app}");
    /// ```
    pub fn field_path(&self) -> String {
        format!("spec.{}{{{}}}", self.role.list(), self.container.name)
    }
}

impl Role {
    /// Returns the name of the list in the spec.
    pub fn list(self) -> &'static str {
        match self {
            Self::Init | Self::Sidecar => "initContainers",
            Self::Main => "containers",
        }
    }
}

/// Tells whether an init container is a sidecar (S1-01). Only entries of `initContainers` may be asked about.
pub fn is_sidecar(init_container: &Container) -> bool {
    init_container.restart_policy.as_deref() == Some("Always")
}

/// Returns the init containers and sidecars in order.
pub fn init_containers(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

/// Returns all init containers and sidecars, then all main containers, in spec order.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = Entry<'_>> {
    let inits = init_containers(spec).iter().enumerate().map(|(index, container)| {
        let role = if is_sidecar(container) { Role::Sidecar } else { Role::Init };
        Entry { role, index, container }
    });
    let mains =
        spec.containers.iter().enumerate().map(|(index, container)| Entry { role: Role::Main, index, container });
    inits.chain(mains)
}

/// Finds a container by name.
pub fn find<'a>(spec: &'a PodSpec, name: &str) -> Option<Entry<'a>> {
    containers(spec).find(|entry| entry.container.name == name)
}

/// Returns the restart policy in force: the container's own, else the pod's, else `Always`.
///
/// ```
/// use apimachinery::pod;
/// let spec = serde_json::from_value(serde_json::json!({
///     "restartPolicy": "Never",
///     "initContainers": [{"name": "s", "restartPolicy": "Always"}],
///     "containers": [{"name": "a"}],
/// })).unwrap();
/// let policies: Vec<_> = pod::containers(&spec).map(|e| pod::restart_policy(&spec, e.container)).collect();
/// assert_eq!(policies, ["Always", "Never"]);
/// ```
pub fn restart_policy<'a>(spec: &'a PodSpec, container: &'a Container) -> &'a str {
    container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// Finds the number of a port that a probe or hook names.
///
/// ```
/// use apimachinery::pod;
/// use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
/// let c = serde_json::from_value(serde_json::json!({"name": "a", "ports": [{"name": "web", "containerPort": 80}]})).unwrap();
/// assert_eq!(pod::port(&c, &IntOrString::String("web".into())), Some(80));
/// assert_eq!(pod::port(&c, &IntOrString::String("8080".into())), Some(8080));
/// assert_eq!(pod::port(&c, &IntOrString::String("x".into())), None);
/// ```
pub fn port(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok())?
        }
    };
    u16::try_from(number).ok().filter(|n| *n > 0)
}

/// Tells whether a pod's phase is final.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Returns the phase; empty if it has none yet.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Tells whether a condition of the pod is `True`.
pub fn has_condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == kind && c.status == "True")
}
