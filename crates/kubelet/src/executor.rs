//! Carries out effects: a table from variant to call. Decides nothing.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc, time::Duration};

use cri::{ContainerFilter, ContainerId, ImageService, RuntimeService, SandboxId};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use pod_lifecycle::{
    ContainerIdx, ContainerPlan, ContainerView, Effect, EffectResult, EventType, Failure, HookKind, HookOutcome,
    PodPlan, ProbeKind, ProbeOutcome, PulledImage, Role, SandboxView,
};

use crate::{
    container_config::Parts,
    downward::Facts,
    env::{self, Environment, Sources, file},
    events::Regarding,
    hooks,
    image::{self, PullPolicy},
    names::describe_pod,
    node_context::NodeContext,
    objects::{Objects, References},
    paths::PodPaths,
    probe,
    sandbox_config::sandbox_config,
    security, services, termination,
    tokens::Tokens,
    userns, view,
    volumes::{self, VolumeSource, Volumes},
};

/// First pause before a step that must succeed is tried again.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// Longest such pause.
const LAST_RETRY: Duration = Duration::from_secs(10);
/// The node's DNS configuration.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What an effect needs to know of its pod; a snapshot taken when it is started.
#[derive(Debug)]
pub(crate) struct PodContext<R> {
    /// The node.
    pub(crate) node: Arc<NodeContext<R>>,
    /// The pod as desired.
    pub(crate) plan: Arc<PodPlan>,
    /// Its directories.
    pub(crate) paths: Arc<PodPaths>,
    /// Addresses of its sandbox; empty before there is one, and with the host's network.
    pub(crate) sandbox_ips: Vec<IpAddr>,
    /// Tokens of its service account.
    pub(crate) tokens: Arc<Tokens>,
}

/// How an effect ended, and the container that was seen on the way, if any.
#[derive(Debug)]
pub(crate) struct EffectEnd {
    pub(crate) result: EffectResult,
    pub(crate) seen: Option<cri::ContainerStatus>,
}

impl From<EffectResult> for EffectEnd {
    fn from(result: EffectResult) -> Self {
        Self { result, seen: None }
    }
}

impl<R: RuntimeService + ImageService> PodContext<R> {
    /// Carries out one effect.
    pub(crate) async fn execute(self, effect: Effect) -> EffectEnd {
        match effect {
            Effect::PrepareVolumes => EffectResult::Volumes(self.prepare_volumes().await).into(),
            Effect::CreateSandbox { attempt } => EffectResult::Sandbox(self.create_sandbox(attempt).await).into(),
            Effect::StopSandbox { sandbox } => {
                let id = SandboxId(sandbox);
                until_done("stop sandbox", || self.runtime().stop_sandbox(&id)).await;
                EffectResult::Done.into()
            }
            Effect::RemoveSandbox { sandbox } => {
                let id = SandboxId(sandbox);
                until_done("remove sandbox", || self.runtime().remove_sandbox(&id)).await;
                EffectResult::Done.into()
            }
            Effect::EnsureImage { container, volume } => {
                EffectResult::Image(self.ensure_image(container, volume.as_deref()).await).into()
            }
            Effect::CreateContainer { container, sandbox, attempt } => {
                EffectResult::Created(self.create_container(container, &SandboxId(sandbox), attempt).await).into()
            }
            Effect::StartContainer { container, id } => self.start_container(container, &ContainerId(id)).await,
            Effect::RunHook { container, id, hook, limit } => {
                EffectResult::Hook(self.run_hook(container, ContainerId(id), hook, limit).await).into()
            }
            Effect::Probe { container, id, probe } => {
                EffectResult::Probe(self.run_probe(container, &ContainerId(id), probe).await).into()
            }
            Effect::StopContainer { container: _, id, grace, reason: _ } => {
                self.stop_container(&ContainerId(id), grace).await
            }
            Effect::Resize { sandbox, containers } => {
                EffectResult::Resized(self.resize(sandbox, containers).await).into()
            }
            Effect::RemoveContainer { container: _, id } => {
                let id = ContainerId(id);
                until_done("remove container", || self.runtime().remove_container(&id)).await;
                EffectResult::Removed.into()
            }
            Effect::Cleanup => {
                until_done("remove pod directories", || std::future::ready(volumes::remove_directories(&self.paths)))
                    .await;
                EffectResult::Done.into()
            }
        }
    }

    fn runtime(&self) -> &R {
        self.node.runtime.as_ref()
    }

    fn container(&self, idx: ContainerIdx) -> &ContainerPlan {
        self.plan.container(idx)
    }

    fn pod_ips(&self) -> &[IpAddr] {
        if self.plan.host_network { &self.node.options.node_ips } else { &self.sandbox_ips }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            pod: &self.plan.pod,
            host_ips: &self.node.options.node_ips,
            pod_ips: self.pod_ips(),
            allocatable: &self.node.allocatable,
        }
    }

    /// Returns the group that owns the pod's volumes.
    fn group(&self) -> Option<u32> {
        let context = self.plan.pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
        security::id("fsGroup", context.and_then(|c| c.fs_group)).ok().flatten()
    }

    fn volumes<'a>(&'a self, facts: &'a Facts<'a>) -> Volumes<'a> {
        Volumes { paths: &self.paths, facts, group: self.group(), user: security::common_user(&self.plan.pod) }
    }

    async fn fetch(&self, references: &References) -> Result<Objects, String> {
        let fetched = Objects::fetch(&self.node.client.0, &self.plan.namespace, references).await;
        let mut objects = fetched.map_err(|e| e.to_string())?;
        for spec in &references.tokens {
            let token = self.tokens.get(&self.node.client.0, &self.plan.pod, spec).await;
            objects.tokens.insert(spec.clone(), token);
        }
        Ok(objects)
    }

    /// Makes all volumes but those that are images, which come with the containers that mount them.
    async fn prepare_volumes(&self) -> Result<(), Vec<Failure>> {
        let failed = |message: String| Failure { reason: "FailedMount".to_owned(), message };
        volumes::make_directories(&self.paths).map_err(|e| vec![failed(format!("making pod directories: {e}"))])?;
        let objects = self.fetch(&volumes::references(&self.plan.pod)).await.map_err(|e| vec![failed(e)])?;
        let facts = self.facts();
        let errors = self.volumes(&facts).prepare(&objects);
        if errors.is_empty() { Ok(()) } else { Err(errors.into_iter().map(|e| failed(e.to_string())).collect()) }
    }

    /// Writes content volumes again whose objects changed (contract S11-05).
    pub(crate) async fn refresh_volumes(&self) -> Result<(), String> {
        let objects = self.fetch(&volumes::references(&self.plan.pod)).await?;
        let facts = self.facts();
        let volumes = self.volumes(&facts);
        volumes.refresh(&objects).map_err(|e| e.to_string())
    }

    async fn create_sandbox(&self, attempt: u32) -> Result<SandboxView, Failure> {
        let host = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let failed = |message: String| Failure { reason: "FailedCreatePodSandBox".to_owned(), message };
        let (options, paths, pod) = (&self.node.options, &self.paths, &self.plan.pod);
        let users = userns::of_pod(options, paths, pod).await.map_err(failed)?;
        let config = sandbox_config(options, paths, pod, attempt, self.group(), users, &host);
        let status = self.runtime().run_sandbox(config).await.map_err(|e| failed(e.to_string()))?;
        Ok(view::sandbox(&status))
    }

    async fn ensure_image(&self, idx: ContainerIdx, volume: Option<&str>) -> Result<PulledImage, Failure> {
        let container = self.container(idx);
        let mut volumes = volumes::volumes_of(&self.plan.pod);
        if let Some(source) = volume.and_then(|name| volumes.find(|v| v.name == name)?.image.as_ref()) {
            let reference = source.reference.clone().unwrap_or_default();
            let policy = PullPolicy::of(source.pull_policy.as_deref(), &reference);
            return self.ensure(&reference, policy, None).await;
        }
        let policy = PullPolicy::of(container.spec.image_pull_policy.as_deref(), container.image());
        self.ensure(container.image(), policy, Some(self.plan.field_path(idx))).await
    }

    async fn ensure(
        &self,
        image: &str,
        policy: PullPolicy,
        field_path: Option<String>,
    ) -> Result<PulledImage, Failure> {
        let auth = match policy {
            PullPolicy::Never => Vec::new(),
            PullPolicy::Always | PullPolicy::IfNotPresent => self.pull_credentials(image).await,
        };
        let pulling = || {
            let about = Regarding::pod(&self.plan, field_path.clone());
            self.node.events.record(about, EventType::Normal, "Pulling", format!("Pulling image {image:?}"));
        };
        image::ensure(self.runtime(), image, policy, auth, pulling).await.map(|(_, pulled)| pulled)
    }

    /// Reads the pull secrets; a missing one is worth an event, and the pull is tried anyway (contract S11-28).
    async fn pull_credentials(&self, image: &str) -> Vec<cri::ImageAuth> {
        let names: Vec<_> = self
            .plan
            .pod
            .spec
            .iter()
            .flat_map(|s| s.image_pull_secrets.iter().flatten())
            .map(|r| r.name.clone())
            .filter(|n| !n.is_empty())
            .collect();
        let api: Api<Secret> = Api::namespaced(self.node.client.0.clone(), &self.plan.namespace);
        let (mut secrets, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match api.get_opt(&name).await {
                Ok(Some(secret)) => secrets.push(secret),
                Ok(None) | Err(_) => missing.push(name),
            }
        }
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            let about = Regarding::pod(&self.plan, None);
            self.node.events.record(about, EventType::Warning, "FailedToRetrieveImagePullSecret", message);
        }
        image::credentials(&secrets, image)
    }

    async fn create_container(&self, idx: ContainerIdx, sandbox: &SandboxId, attempt: u32) -> Result<String, Failure> {
        let config = self
            .container_config(idx, attempt)
            .await
            .map_err(|message| Failure { reason: "CreateContainerConfigError".to_owned(), message })?;
        let create_failed = |message: String| Failure { reason: "CreateContainerError".to_owned(), message };
        let message_file = self.paths.termination_message(&config.name, attempt);
        termination::make_file(&message_file)
            .map_err(|e| create_failed(format!("making termination message file {}: {e}", message_file.display())))?;
        make_host_directories(&config.mounts);
        let id = self.runtime().create_container(sandbox, config).await.map_err(|e| create_failed(e.to_string()))?;
        Ok(id.0)
    }

    /// Resolves environment, mounts and user; the error is the text of `CreateContainerConfigError`.
    async fn container_config(&self, idx: ContainerIdx, attempt: u32) -> Result<cri::ContainerConfig, String> {
        let container = self.container(idx);
        let image = self.image(container.image()).await?;
        let env = self.environment(container).await?;
        let ready = volumes::locate(&self.paths, &self.plan.pod);
        let mut image_ids = BTreeMap::new();
        let mounted = container.spec.volume_mounts.iter().flatten().filter_map(|mount| ready.get(&mount.name));
        for volume in mounted {
            if let VolumeSource::Image(reference) = &volume.source {
                image_ids.insert(reference.clone(), self.image(reference).await?.id);
            }
        }
        let parts = Parts {
            options: &self.node.options,
            paths: &self.paths,
            pod: &self.plan.pod,
            container: &container.spec,
            attempt,
            image: &image,
            env: &env,
            volumes: &ready,
            image_ids: &image_ids,
            spec_hash: container.spec_hash(),
            pid_target: self.pid_target(container).await?,
            memory_capacity: self.node.memory,
        };
        parts.config().map_err(|e| e.to_string())
    }

    /// Finds the container that an ephemeral one targets (kuberuntime_container.go `getTargetID`).
    async fn pid_target(&self, container: &ContainerPlan) -> Result<Option<ContainerId>, String> {
        let spec = self.plan.pod.spec.as_ref();
        let mut ephemeral = spec.and_then(|s| s.ephemeral_containers.as_ref()).into_iter().flatten();
        let of_plan = ephemeral.find(|e| container.role == Role::Ephemeral && e.name == container.name());
        let target = of_plan.and_then(|e| e.target_container_name.as_ref()).filter(|name| !name.is_empty());
        let Some(target) = target else { return Ok(None) };
        let filter = ContainerFilter { sandbox: None, pod_uid: Some(self.plan.uid.clone()) };
        let all = self.runtime().list_containers(filter).await.map_err(|e| e.to_string())?;
        let newest = all.into_iter().filter(|c| c.name == *target).max_by_key(|c| (c.attempt, c.created_at));
        let newest = newest.ok_or_else(|| format!("unable to find target container {target}"))?;
        Ok(Some(newest.id))
    }

    async fn image(&self, name: &str) -> Result<cri::ImageInfo, String> {
        match self.runtime().image_status(name).await {
            Ok(Some(info)) => Ok(info),
            Ok(None) => Err(format!("image {name:?} is not present any more")),
            Err(e) => Err(e.to_string()),
        }
    }

    async fn environment(&self, container: &ContainerPlan) -> Result<Environment, String> {
        let objects = self.fetch(&env::references(&container.spec)).await?;
        let services = services::environment(&self.node.client.0, &self.plan.pod).await;
        let volumes = volumes::locate(&self.paths, &self.plan.pod);
        let files = |selector: &k8s_openapi::api::core::v1::FileKeySelector| match volumes
            .get(&selector.volume_name)
            .map(|v| &v.source)
        {
            Some(VolumeSource::Host(dir)) => file::read_key(dir, selector),
            Some(VolumeSource::Memory(_) | VolumeSource::Image(_)) | None => {
                Err(file::FileKeyError::NoVolume(selector.volume_name.clone()))
            }
        };
        let facts = self.facts();
        let sources = Sources { facts: &facts, objects: &objects, services: &services, files: &files };
        sources.environment(&container.spec).map_err(|e| e.to_string())
    }

    async fn start_container(&self, idx: ContainerIdx, id: &ContainerId) -> EffectEnd {
        match self.runtime().start_container(id).await {
            Ok(status) => EffectResult::Started(self.view(&status).ok_or_else(|| Failure {
                reason: "RunContainerError".to_owned(),
                message: format!("the runtime started {:?} instead of {:?}", status.name, self.container(idx).name()),
            }))
            .into(),
            Err(e) => {
                let seen = self.runtime().container_status(id).await.ok();
                let failure = Failure { reason: "RunContainerError".to_owned(), message: e.to_string() };
                EffectEnd { result: EffectResult::Started(Err(failure)), seen }
            }
        }
    }

    /// Stops a container; its exit is handed over before the answer, whatever the events do.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> EffectEnd {
        match self.runtime().stop_container(id, grace).await {
            Ok(()) => {
                let seen = self.runtime().container_status(id).await.ok();
                EffectEnd { result: EffectResult::Stopped(Ok(())), seen }
            }
            Err(cri::Error::NotFound { .. }) => EffectResult::Stopped(Ok(())).into(),
            Err(
                e @ (cri::Error::InvalidImageName { .. }
                | cri::Error::RegistryUnavailable { .. }
                | cri::Error::PullFailed { .. }
                | cri::Error::StartFailed { .. }
                | cri::Error::FailedPrecondition { .. }
                | cri::Error::InvalidArgument { .. }
                | cri::Error::Internal { .. }),
            ) => {
                let failure = Failure { reason: "KillContainerError".to_owned(), message: e.to_string() };
                EffectResult::Stopped(Err(failure)).into()
            }
        }
    }

    async fn run_hook(
        &self,
        idx: ContainerIdx,
        id: ContainerId,
        kind: HookKind,
        limit: Option<Duration>,
    ) -> HookOutcome {
        let container = self.container(idx);
        let Some(hook) = container.hook(kind) else { return HookOutcome::Succeeded };
        let target = hooks::Target {
            container: Arc::clone(&container.spec),
            id,
            pod_ip: self.pod_ips().first().copied(),
            tls: Arc::clone(&self.node.tls),
        };
        let finished = hooks::run(Arc::clone(&self.node.runtime), target, hook, limit).await;
        if let Some(message) = finished.http_fallback {
            let about = Regarding::pod(&self.plan, Some(self.plan.field_path(idx)));
            self.node.events.record(about, EventType::Warning, "LifecycleHTTPFallback", message);
        }
        if let HookOutcome::Failed { message } = &finished.outcome {
            let pod = describe_pod(&self.plan.pod);
            tracing::info!(pod, container = container.name(), ?kind, "hook failed: {message}");
        }
        finished.outcome
    }

    async fn run_probe(&self, idx: ContainerIdx, id: &ContainerId, kind: ProbeKind) -> ProbeOutcome {
        let container = self.container(idx);
        let spec = match kind {
            ProbeKind::Startup => &container.spec.startup_probe,
            ProbeKind::Liveness => &container.spec.liveness_probe,
            ProbeKind::Readiness => &container.spec.readiness_probe,
        };
        let (Some(spec), Some(plan)) = (spec, container.probe(kind)) else {
            return ProbeOutcome::Success { warning: None };
        };
        let target = probe::Target {
            container: &container.spec,
            id,
            pod_ip: self.pod_ips().first().copied(),
            tls: &self.node.tls,
        };
        probe::run(self.runtime(), &target, spec, plan.timeout).await
    }

    fn view(&self, status: &cri::ContainerStatus) -> Option<ContainerView> {
        view::container(&self.plan, &self.paths, status)
    }
}

/// Makes missing directories of hostPath volumes without a type, as container runtimes do.
fn make_host_directories(mounts: &[cri::Mount]) {
    for mount in mounts {
        if let cri::MountSource::Host(path) = &mount.source
            && !Path::new(path).exists()
            && let Err(e) = std::fs::create_dir_all(path)
        {
            tracing::warn!(path = %path.display(), "mount source is missing and cannot be made: {e}");
        }
    }
}

/// Tries a step that must succeed until it does, for as long as the agent lives.
async fn until_done<E, F>(what: &str, mut step: impl FnMut() -> F)
where
    E: std::fmt::Display,
    F: Future<Output = Result<(), E>>,
{
    let mut pause = FIRST_RETRY;
    while let Err(e) = step().await {
        tracing::warn!("{what} failed, trying again: {e}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
    }
}
