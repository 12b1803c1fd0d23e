//! The checked form of a pod's spec: parsed once, valid ever after.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, LifecycleHandler, Pod, PodSpec, Probe};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{HookKind, ProbeKind};

/// Index of a container in its [`PodPlan`]; made only by the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerIdx(pub(crate) usize);

impl ContainerIdx {
    /// Returns the position in [`PodPlan::containers`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// What part a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Init container that must run to completion.
    Init,
    /// Init container with `restartPolicy: Always` (KEP-753).
    Sidecar,
    /// Entry of `spec.containers`.
    Main,
    /// Entry of `spec.ephemeralContainers`: joins a running pod, is started once, and counts for nothing.
    Ephemeral,
}

/// When a container is started again after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// Unless its exit code was 0.
    OnFailure,
    /// Not at all.
    Never,
}

/// One probe with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// Time after the container's start before the first run.
    pub initial_delay: Duration,
    /// Time between runs.
    pub period: Duration,
    /// Time after which a run has failed.
    pub timeout: Duration,
    /// Consecutive successes that make it pass.
    pub success_threshold: u32,
    /// Consecutive failures that make it fail.
    pub failure_threshold: u32,
    /// Grace period of the kill it causes (`terminationGracePeriodSeconds` of the probe).
    pub grace: Option<Duration>,
}

/// One container of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerPlan {
    /// Its part.
    pub role: Role,
    /// Its spec.
    pub spec: Arc<Container>,
    /// Policy in force: its own if it has one, else the pod's; `Always` for sidecars.
    pub restart_policy: RestartPolicy,
    /// Startup probe.
    pub startup: Option<ProbePlan>,
    /// Liveness probe.
    pub liveness: Option<ProbePlan>,
    /// Readiness probe.
    pub readiness: Option<ProbePlan>,
}

/// Everything of a pod that the machine decides by. Init containers and sidecars come first, in spec
/// order, then the main containers in spec order, then the ephemeral containers in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct PodPlan {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// The pod's restart policy.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace: Duration,
    /// `activeDeadlineSeconds`.
    pub active_deadline: Option<Duration>,
    /// Whether the pod uses the node's network.
    pub host_network: bool,
    /// `readinessGates`, by condition type.
    pub readiness_gates: Vec<String>,
    /// All containers.
    pub containers: Vec<ContainerPlan>,
    /// The whole object as desired, for what has no field here.
    pub pod: Arc<Pod>,
}

impl PodPlan {
    /// Reads a pod as the API server stores it (defaulted and validated).
    ///
    /// # Errors
    ///
    /// When a field is missing without which nothing can be decided, or has a value outside its range.
    pub fn from_pod(pod: &Arc<Pod>) -> Result<Self, PlanError> {
        let spec = pod.spec.as_ref().ok_or(PlanError::Missing { field: "spec" })?;
        let meta = &pod.metadata;
        let restart_policy = match spec.restart_policy.as_deref() {
            None => RestartPolicy::Always,
            Some(text) => RestartPolicy::parse(text, "spec.restartPolicy")?,
        };
        Ok(Self {
            name: meta.name.clone().ok_or(PlanError::Missing { field: "metadata.name" })?,
            namespace: meta.namespace.clone().ok_or(PlanError::Missing { field: "metadata.namespace" })?,
            uid: meta.uid.clone().ok_or(PlanError::Missing { field: "metadata.uid" })?,
            generation: meta.generation.unwrap_or(0),
            restart_policy,
            grace: spec.termination_grace_period_seconds.map_or(DEFAULT_GRACE, seconds_at_least_zero),
            active_deadline: spec.active_deadline_seconds.map(seconds_at_least_zero),
            host_network: spec.host_network.unwrap_or(false),
            readiness_gates: spec.readiness_gates.iter().flatten().map(|g| g.condition_type.clone()).collect(),
            containers: containers(spec, restart_policy)?,
            pod: Arc::clone(pod),
        })
    }

    /// Iterates over the indices of all containers, init containers and sidecars first.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = ContainerIdx> + use<> {
        (0..self.containers.len()).map(ContainerIdx)
    }

    /// Iterates over the indices of the init containers and sidecars, in spec order.
    pub fn init_indices(&self) -> impl DoubleEndedIterator<Item = ContainerIdx> + use<> {
        (0..self.init_count()).map(ContainerIdx)
    }

    /// Iterates over the indices of the sidecars, in spec order.
    pub fn sidecar_indices(&self) -> impl DoubleEndedIterator<Item = ContainerIdx> + '_ {
        self.init_indices().filter(|&idx| self.container(idx).role == Role::Sidecar)
    }

    /// Iterates over the indices of the main containers, in spec order.
    pub fn main_indices(&self) -> impl DoubleEndedIterator<Item = ContainerIdx> + use<> {
        (self.init_count()..self.lasting_count()).map(ContainerIdx)
    }

    /// Iterates over the indices of the ephemeral containers.
    pub fn ephemeral_indices(&self) -> impl DoubleEndedIterator<Item = ContainerIdx> + use<> {
        (self.lasting_count()..self.containers.len()).map(ContainerIdx)
    }

    /// Returns how many init containers and sidecars there are.
    pub fn init_count(&self) -> usize {
        self.containers.iter().take_while(|c| matches!(c.role, Role::Init | Role::Sidecar)).count()
    }

    /// Returns how many containers the pod was made with: all but the ephemeral ones.
    fn lasting_count(&self) -> usize {
        self.containers.iter().take_while(|c| c.role != Role::Ephemeral).count()
    }

    /// Returns whether this is a later plan of the same pod: only ephemeral containers have come to it.
    pub(crate) fn continues(&self, earlier: &Self) -> bool {
        let (known, new) = self.containers.split_at(earlier.containers.len().min(self.containers.len()));
        let same = |(new, old): (&ContainerPlan, &ContainerPlan)| new.role == old.role && new.name() == old.name();
        self.uid == earlier.uid
            && known.len() == earlier.containers.len()
            && known.iter().zip(&earlier.containers).all(same)
            && new.iter().all(|c| c.role == Role::Ephemeral)
    }

    /// Takes over the order that ephemeral containers have in an earlier plan of the pod; new ones come last.
    ///
    /// A client that replaces the list may change its order. The indices stay what they are.
    pub fn keep_order_of(&mut self, earlier: &Self) {
        let known = |c: &ContainerPlan| earlier.containers.iter().position(|old| old.name() == c.name());
        let count = self.lasting_count();
        self.containers[count..].sort_by_key(|c| known(c).unwrap_or(usize::MAX));
    }

    /// Returns one container. `idx` must come from a plan of the same pod.
    pub fn container(&self, idx: ContainerIdx) -> &ContainerPlan {
        &self.containers[idx.0]
    }

    /// Returns whether the pod has such a container.
    pub fn contains(&self, idx: ContainerIdx) -> bool {
        idx.0 < self.containers.len()
    }

    /// Finds a container by its name.
    pub fn find(&self, name: &str) -> Option<ContainerIdx> {
        self.indices().find(|&idx| self.container(idx).name() == name)
    }

    /// Returns the `fieldPath` that events about a container carry (contract S12).
    pub fn field_path(&self, idx: ContainerIdx) -> String {
        let container = self.container(idx);
        let list = match container.role {
            Role::Init | Role::Sidecar => "initContainers",
            Role::Main => "containers",
            Role::Ephemeral => "ephemeralContainers",
        };
        format!("spec.{list}{{{}}}", container.name())
    }

    /// Returns the grace of the pod's deletion, if it is being deleted.
    pub fn deletion_grace(&self) -> Option<Duration> {
        let meta = &self.pod.metadata;
        meta.deletion_timestamp.as_ref()?;
        Some(meta.deletion_grace_period_seconds.map_or(self.grace, seconds_at_least_zero))
    }

    /// Returns `<name>_<namespace>(<uid>)`, by which messages name a pod.
    pub fn full_name(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// A plan is written down as the pod it was made from.
impl Serialize for PodPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pod.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PodPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pod = Pod::deserialize(deserializer)?;
        Self::from_pod(&Arc::new(pod)).map_err(de::Error::custom)
    }
}

/// An image that has to be there before a container is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageNeed {
    /// The volume that it is for; `None`: it is the container's own.
    pub(crate) volume: Option<String>,
    /// As the spec names it.
    pub(crate) image: String,
}

impl PodPlan {
    /// Returns the images that a container needs: those of the volumes that it mounts, then its own (contract S11-16).
    pub(crate) fn images(&self, idx: ContainerIdx) -> Vec<ImageNeed> {
        let container = self.container(idx);
        let mounts = |name: &str| container.spec.volume_mounts.iter().flatten().any(|mount| mount.name == name);
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let of_volumes = volumes.filter(|volume| mounts(&volume.name)).filter_map(|volume| {
            let image = volume.image.as_ref()?.reference.clone().unwrap_or_default();
            Some(ImageNeed { volume: Some(volume.name.clone()), image })
        });
        let own = ImageNeed { volume: None, image: container.image().to_owned() };
        of_volumes.chain([own]).collect()
    }
}

impl ContainerPlan {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns its image as the spec names it.
    pub fn image(&self) -> &str {
        self.spec.image.as_deref().unwrap_or_default()
    }

    /// Returns the hash of name and image by which a changed definition is recognised (contract S2-25).
    pub fn spec_hash(&self) -> String {
        let text = format!("{}\0{}", self.name(), self.image());
        format!("{:016x}", fnv1a(text.as_bytes()))
    }

    /// Returns one of its probes.
    pub fn probe(&self, kind: ProbeKind) -> Option<&ProbePlan> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }

    /// Returns one of its hooks.
    pub fn hook(&self, kind: HookKind) -> Option<&LifecycleHandler> {
        let lifecycle = self.spec.lifecycle.as_ref()?;
        match kind {
            HookKind::PostStart => lifecycle.post_start.as_ref(),
            HookKind::PreStop => lifecycle.pre_stop.as_ref(),
        }
    }
}

impl RestartPolicy {
    fn parse(text: &str, path: &str) -> Result<Self, PlanError> {
        match text {
            "Always" => Ok(Self::Always),
            "OnFailure" => Ok(Self::OnFailure),
            "Never" => Ok(Self::Never),
            _ => Err(PlanError::Unsupported { path: path.to_owned(), value: text.to_owned() }),
        }
    }
}

impl ProbePlan {
    /// Fills in the defaults (contract S1-16).
    fn new(probe: &Probe) -> Self {
        let or = |value: Option<i32>, default: u32| match value {
            Some(n) if n > 0 => n.unsigned_abs(),
            Some(_) | None => default,
        };
        let seconds = |value, default| Duration::from_secs(u64::from(or(value, default)));
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: or(probe.success_threshold, 1),
            failure_threshold: or(probe.failure_threshold, 3),
            grace: probe.termination_grace_period_seconds.map(seconds_at_least_zero),
        }
    }
}

fn containers(spec: &PodSpec, pod_policy: RestartPolicy) -> Result<Vec<ContainerPlan>, PlanError> {
    if spec.containers.is_empty() {
        return Err(PlanError::Missing { field: "spec.containers" });
    }
    let init = spec.init_containers.iter().flatten().enumerate();
    let init = init.map(|(i, c)| container(c, &format!("spec.initContainers[{i}]"), true, pod_policy));
    let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate().map(|(i, c)| ephemeral(i, c));
    let main = spec.containers.iter().enumerate();
    let main = main.map(|(i, c)| container(c, &format!("spec.containers[{i}]"), false, pod_policy));
    init.chain(main).chain(ephemeral).collect()
}

/// An ephemeral container has the fields of the others. The API server lets none of them have probes, hooks or a
/// restart policy (contract S1-28).
fn ephemeral(index: usize, spec: &EphemeralContainer) -> Result<ContainerPlan, PlanError> {
    let common = serde_json::to_value(spec).and_then(serde_json::from_value::<Container>);
    let path = format!("spec.ephemeralContainers[{index}]");
    let unreadable = |error: serde_json::Error| PlanError::Unsupported { path: path.clone(), value: error.to_string() };
    let common = Container { restart_policy: None, restart_policy_rules: None, ..common.map_err(unreadable)? };
    Ok(ContainerPlan { role: Role::Ephemeral, ..container(&common, &path, false, RestartPolicy::Never)? })
}

fn container(spec: &Container, path: &str, init: bool, pod_policy: RestartPolicy) -> Result<ContainerPlan, PlanError> {
    let own = spec.restart_policy.as_deref();
    let own = own.map(|text| RestartPolicy::parse(text, &format!("{path}.restartPolicy"))).transpose()?;
    Ok(ContainerPlan {
        role: match (init, own) {
            (true, Some(RestartPolicy::Always)) => Role::Sidecar,
            (true, Some(RestartPolicy::OnFailure | RestartPolicy::Never) | None) => Role::Init,
            (false, _) => Role::Main,
        },
        restart_policy: own.unwrap_or(pod_policy),
        startup: spec.startup_probe.as_ref().map(ProbePlan::new),
        liveness: spec.liveness_probe.as_ref().map(ProbePlan::new),
        readiness: spec.readiness_probe.as_ref().map(ProbePlan::new),
        spec: Arc::new(spec.clone()),
    })
}

fn seconds_at_least_zero(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The FNV-1a hash: short, and the same on every build and machine (unlike the standard library's).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `terminationGracePeriodSeconds` of a pod that names none (contract S1-13).
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Why a pod cannot be run. The API server's validation lets no such pod through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field without which nothing can be decided is missing.
    #[error("pod has no {field}")]
    Missing {
        /// Path of the field.
        field: &'static str,
    },
    /// A field has a value outside its range.
    #[error("{path}: unsupported value {value:?}")]
    Unsupported {
        /// Path of the field.
        path: String,
        /// What it says.
        value: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn plan(spec: Value) -> Result<PodPlan, PlanError> {
        PodPlan::from_pod(&pod(spec))
    }

    #[test]
    fn s1_01_only_the_policy_on_an_init_entry_makes_a_sidecar() {
        let plan = plan(json!({
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "o", "restartPolicy": "OnFailure"}],
            "containers": [{"name": "m", "restartPolicy": "Always"}],
        }));
        let roles: Vec<_> = plan.unwrap().containers.iter().map(|c| c.role).collect();
        assert_eq!(roles, [Role::Init, Role::Sidecar, Role::Init, Role::Main]);
    }

    #[test]
    fn s1_13_s1_16_defaults_are_filled_in() {
        let set = plan(json!({"terminationGracePeriodSeconds": -5, "hostNetwork": true, "containers": [
            {"name": "m", "livenessProbe": {"periodSeconds": 7, "failureThreshold": 9}},
        ]}))
        .unwrap();
        let probe = set.containers[0].liveness.as_ref().unwrap();
        assert_eq!((probe.period.as_secs(), probe.failure_threshold), (7, 9));
        assert_eq!((set.grace, set.host_network, set.generation), (Duration::ZERO, true, 0));
        let plan = plan(json!({"containers": [{"name": "m", "livenessProbe": {"periodSeconds": 0}}]})).unwrap();
        assert!(!plan.host_network);
        assert_eq!((plan.restart_policy, plan.grace), (RestartPolicy::Always, Duration::from_secs(30)));
        let probe = plan.containers[0].liveness.as_ref().unwrap();
        assert_eq!((probe.period.as_secs(), probe.timeout.as_secs(), probe.initial_delay.as_secs()), (10, 1, 0));
        assert_eq!((probe.success_threshold, probe.failure_threshold), (1, 3));
    }

    #[test]
    fn what_nothing_can_be_decided_from_is_refused() {
        assert_eq!(plan(json!({"containers": []})), Err(PlanError::Missing { field: "spec.containers" }));
        let error = plan(json!({"containers": [{"name": "m", "restartPolicy": "Sometimes"}]})).unwrap_err();
        assert_eq!(error.to_string(), "spec.containers[0].restartPolicy: unsupported value \"Sometimes\"");
        let without = |field: &str| {
            let mut pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [{"name": "m"}]}});
            pod["metadata"].as_object_mut().unwrap().remove(field);
            serde_json::from_value::<PodPlan>(pod).unwrap_err().to_string()
        };
        assert_eq!(["name", "namespace"].map(without), ["pod has no metadata.name", "pod has no metadata.namespace"]);
        let no_spec = serde_json::from_value::<PodPlan>(json!({"metadata": {}})).unwrap_err();
        assert_eq!(no_spec.to_string(), "pod has no spec");
        let odd = |init: Value, policy: &str| {
            let spec = json!({"restartPolicy": policy, "containers": [{"name": "m"}], "initContainers": [init]});
            plan(spec).unwrap_err().to_string()
        };
        let refused = [odd(json!({"name": "i"}), "Often"), odd(json!({"name": "i", "restartPolicy": "Once"}), "Never")];
        assert_eq!(
            refused,
            [
                "spec.restartPolicy: unsupported value \"Often\"",
                "spec.initContainers[0].restartPolicy: unsupported value \"Once\"",
            ]
        );
        let no_uid = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "m"}]}});
        let error = serde_json::from_value::<PodPlan>(no_uid).unwrap_err();
        assert_eq!(error.to_string(), "pod has no metadata.uid");
    }

    #[test]
    fn s2_25_the_hash_changes_with_name_and_image_only() {
        let hash = |container: Value| plan(json!({"containers": [container]})).unwrap().containers[0].spec_hash();
        let one = hash(json!({"name": "m", "image": "a", "env": [{"name": "X"}]}));
        assert_eq!(one, hash(json!({"name": "m", "image": "a"})));
        assert_ne!(one, hash(json!({"name": "m", "image": "b"})));
        assert_ne!(one, hash(json!({"name": "n", "image": "a"})));
        // It is kept beside the container: another version that computed another one would restart it.
        assert_eq!(one, "0879441917c7a5eb");
    }

    #[test]
    fn only_ephemeral_containers_may_come_to_a_pod() {
        let of = |uid: &str, init: &[&str], mains: &[&str], debuggers: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
            let spec = json!({"initContainers": list(init), "containers": list(mains), "ephemeralContainers": list(debuggers)});
            let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": uid}, "spec": spec});
            serde_json::from_value::<PodPlan>(pod).unwrap()
        };
        let earlier = of("u", &["i"], &["m"], &["d"]);
        assert!(of("u", &["i"], &["m"], &["d"]).continues(&earlier));
        assert!(of("u", &["i"], &["m"], &["d", "e"]).continues(&earlier));
        for other in [
            of("v", &["i"], &["m"], &["d"]),
            of("u", &["i"], &["m"], &[]),
            of("u", &["i"], &["n"], &["d"]),
            of("u", &[], &["i", "m"], &["d"]),
            of("u", &["i"], &["m", "d"], &["e"]),
        ] {
            assert!(!other.continues(&earlier), "{other:?}");
        }
        let without_debugger = of("u", &["i"], &["m"], &[]);
        assert!(!of("u", &["i"], &["m", "n"], &[]).continues(&without_debugger));
    }

    #[test]
    fn s12_events_name_their_container_by_field_path() {
        let plan = plan(json!({
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
            "containers": [{"name": "m"}],
            "ephemeralContainers": [{"name": "e"}],
        }))
        .unwrap();
        let paths: Vec<_> = plan.indices().map(|idx| plan.field_path(idx)).collect();
        assert_eq!(
            paths,
            ["spec.initContainers{i}", "spec.initContainers{s}", "spec.containers{m}", "spec.ephemeralContainers{e}"]
        );
    }

    #[test]
    fn s2_23_ephemeral_containers_keep_their_places_and_are_never_restarted() {
        let with = |names: &[&str]| {
            let debuggers: Vec<_> = names.iter().map(|name| json!({"name": name, "tty": true})).collect();
            plan(json!({"containers": [{"name": "m"}], "ephemeralContainers": debuggers})).unwrap()
        };
        let mut later = with(&["z", "b", "a"]);
        later.keep_order_of(&with(&["a", "b"]));
        assert_eq!(later.containers.iter().map(ContainerPlan::name).collect::<Vec<_>>(), ["m", "a", "b", "z"]);
        assert_eq!(later.main_indices().collect::<Vec<_>>(), [ContainerIdx(0)]);
        assert_eq!(later.ephemeral_indices().count(), 3);
        let debugger = &later.containers[1];
        assert_eq!((debugger.role, debugger.restart_policy), (Role::Ephemeral, RestartPolicy::Never));
        assert_eq!(debugger.spec.tty, Some(true));
    }
}
