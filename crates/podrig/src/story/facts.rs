//! The facts of one pod's life, as exact as the node saw them.

use k8s_openapi::api::core::v1::{Container, Pod};
use pod_lifecycle::{Moment, MomentKind, ProbeKind, Role, StopReason};
use serde::Serialize;

/// One pod's life.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodStory {
    /// `metadata.namespace`.
    pub(crate) namespace: String,
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.uid`.
    pub(crate) uid: String,
    /// When the first fact was seen; zero of the timeline. Nanoseconds since the epoch.
    pub(crate) began: i64,
    /// Its containers: init containers and sidecars in spec order, then the main containers.
    pub(crate) containers: Vec<ContainerStory>,
    /// What was observed beside the lifecycle.
    pub(crate) evidence: Vec<Evidence>,
}

/// One container's life over all its instances.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerStory {
    /// Name in the spec.
    pub(crate) name: String,
    /// Its part in the pod.
    pub(crate) role: Role,
    /// Image in the spec.
    pub(crate) image: String,
    /// TCP ports it declares.
    pub(crate) ports: Vec<u16>,
    /// Whether it has a startup probe.
    pub(crate) startup_probe: bool,
    /// Steps in the order in which they happened.
    pub(crate) moments: Vec<Moment>,
}

/// Something observed from outside the containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Evidence {
    /// When. Nanoseconds since the epoch.
    pub(crate) at: i64,
    /// The container whose exit made us look.
    pub(crate) because_of: String,
    /// The container that declares the port.
    pub(crate) server: String,
    /// The declared port.
    pub(crate) port: u16,
    /// Whether anything in the pod listened on it.
    pub(crate) listening: bool,
}

/// One instance of a container, put together from its moments. Times are nanoseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Restart count.
    pub(crate) attempt: u32,
    /// Created.
    pub(crate) created: Option<i64>,
    /// Process started.
    pub(crate) started: Option<i64>,
    /// Startup probe passed.
    pub(crate) startup_passed: Option<i64>,
    /// Stop signal sent, and why.
    pub(crate) stop: Option<(i64, StopReason)>,
    /// Ended: when, exit code, reason.
    pub(crate) exit: Option<(i64, i32, String)>,
}

impl PodStory {
    /// Starts the story of a pod from its spec.
    pub(crate) fn new(pod: &Pod, began: i64) -> Self {
        let spec = pod.spec.as_ref();
        let inits = spec.and_then(|s| s.init_containers.as_deref()).unwrap_or_default();
        let mains = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
        let containers = inits
            .iter()
            .map(|c| ContainerStory::new(c, if is_sidecar(c) { Role::Sidecar } else { Role::Init }))
            .chain(mains.iter().map(|c| ContainerStory::new(c, Role::Main)))
            .collect();
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            began,
            containers,
            evidence: Vec::new(),
        }
    }

    /// Adds one step of one container; `None` is the pod itself, which has no row.
    pub(crate) fn add(&mut self, container: Option<&str>, moment: Moment) {
        self.began = self.began.min(moment.at.0);
        if let Some(story) = container.and_then(|name| self.containers.iter_mut().find(|c| c.name == name)) {
            let place = story.moments.partition_point(|m| m.at <= moment.at);
            story.moments.insert(place, moment);
        }
    }

    /// Returns the latest time of any fact.
    pub(crate) fn ended(&self) -> i64 {
        self.containers.iter().flat_map(|c| c.moments.last()).map(|m| m.at.0).fold(self.began, i64::max)
    }

    /// Returns all containers that play this part.
    pub(crate) fn with_role(&self, role: Role) -> impl Iterator<Item = &ContainerStory> {
        self.containers.iter().filter(move |c| c.role == role)
    }
}

impl ContainerStory {
    fn new(container: &Container, role: Role) -> Self {
        let ports = container.ports.as_deref().unwrap_or_default();
        Self {
            name: container.name.clone(),
            role,
            image: container.image.clone().unwrap_or_default(),
            ports: ports
                .iter()
                .filter(|p| p.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
                .filter_map(|p| u16::try_from(p.container_port).ok())
                .collect(),
            startup_probe: container.startup_probe.is_some(),
            moments: Vec::new(),
        }
    }

    /// Puts the moments together, instance by instance.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        let mut instances: Vec<Instance> = Vec::new();
        for moment in &self.moments {
            let instance = match instances.iter_mut().position(|i| i.attempt == moment.attempt) {
                Some(place) => &mut instances[place],
                None if belongs_to_an_instance(&moment.kind) => {
                    instances.push(Instance { attempt: moment.attempt, ..Instance::default() });
                    let last = instances.len() - 1;
                    &mut instances[last]
                }
                None => continue,
            };
            note(instance, moment);
        }
        instances
    }

    /// Returns the newest instance.
    pub(crate) fn last_instance(&self) -> Option<Instance> {
        self.instances().pop()
    }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn belongs_to_an_instance(kind: &MomentKind) -> bool {
    matches!(kind, MomentKind::Created | MomentKind::Started | MomentKind::Exited { .. })
}

fn note(instance: &mut Instance, moment: &Moment) {
    let at = moment.at.0;
    match &moment.kind {
        MomentKind::Created => instance.created = Some(at),
        MomentKind::Started => instance.started = Some(at),
        MomentKind::ProbePassed(ProbeKind::Startup) => instance.startup_passed = Some(at),
        MomentKind::StopSignal { reason } => instance.stop = instance.stop.or(Some((at, *reason))),
        MomentKind::Exited { exit_code, reason } => instance.exit = Some((at, *exit_code, reason.clone())),
        MomentKind::SandboxReady
        | MomentKind::HookStarted(_)
        | MomentKind::HookEnded { .. }
        | MomentKind::ProbePassed(_)
        | MomentKind::ProbeFailed(_)
        | MomentKind::Ready
        | MomentKind::NotReady
        | MomentKind::BackOff { .. }
        | MomentKind::StartFailed { .. }
        | MomentKind::Phase(_) => {}
    }
}
