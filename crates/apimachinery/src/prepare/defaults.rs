//! Values that fields get when the manifest does not give them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job, JobSpec, PodFailurePolicy},
        core::v1::{
            Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle,
            ObjectFieldSelector, Pod, PodSpec, PodTemplateSpec, Probe, ResourceFieldSelector, ResourceRequirements,
            Volume, VolumeProjection,
        },
    },
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use crate::{resources, validate::volume::has_source};

/// Mode of projected files: 0644.
const FILE_MODE: i32 = 0o644;

/// Seconds a pod may take to stop unless it says otherwise.
const GRACE_SECONDS: i64 = 30;

pub(super) fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    spec.enable_service_links.get_or_insert(true);
    pod_spec(spec);
    for container in all_containers(spec) {
        requests_from_limits(container);
    }
    if spec.host_network == Some(true) {
        all_containers(spec).flat_map(|c| c.ports.iter_mut().flatten()).for_each(host_port);
    }
    pod_level_requests(spec);
}

pub(super) fn job(job: &mut Job) {
    let spec = job.spec.get_or_insert_default();
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    // With a limit for each index the one for the whole Job must not get in its way.
    let backoff_limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    spec.backoff_limit.get_or_insert(backoff_limit);
    fill(&mut spec.completion_mode, "NonIndexed");
    spec.suspend.get_or_insert(false);
    spec.manual_selector.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.into());
    job_spec(spec);
}

pub(super) fn cron_job(cron_job: &mut CronJob) {
    let spec = &mut cron_job.spec;
    fill(&mut spec.concurrency_policy, "Allow");
    spec.suspend.get_or_insert(false);
    spec.successful_jobs_history_limit.get_or_insert(3);
    spec.failed_jobs_history_limit.get_or_insert(1);
    job_spec(spec.job_template.spec.get_or_insert_default());
}

/// Defaults that jobs have in common with the templates of CronJobs: the pod's and those of the failure policy.
fn job_spec(spec: &mut JobSpec) {
    template(&mut spec.template);
    if let Some(policy) = &mut spec.pod_failure_policy {
        condition_patterns(policy);
    }
}

fn condition_patterns(policy: &mut PodFailurePolicy) {
    for pattern in policy.rules.iter_mut().flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        fill(&mut pattern.status, "True");
    }
}

pub(super) fn template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default());
}

fn pod_spec(spec: &mut PodSpec) {
    fill(&mut spec.dns_policy, "ClusterFirst");
    fill(&mut spec.restart_policy, "Always");
    fill(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    let grace = spec.termination_grace_period_seconds.get_or_insert(GRACE_SECONDS);
    if *grace < 0 {
        *grace = 1;
    }
    same_account(spec);
    all_containers(spec).for_each(container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(ephemeral_container);
    spec.volumes.iter_mut().flatten().for_each(volume);
}

/// Keeps the old name of the service account field in step with the new one.
fn same_account(spec: &mut PodSpec) {
    let name = [&spec.service_account_name, &spec.service_account].into_iter().flatten().find(|n| !n.is_empty());
    if let Some(name) = name.cloned() {
        spec.service_account_name = Some(name.clone());
        spec.service_account = Some(name);
    }
}

fn all_containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

/// Takes away what belongs to a gate that is off by default, as `DropDisabledTemplateFields` does: nothing would come
/// of it (`ContainerStopSignals`, S1-22, S7-14).
fn drop_disabled(c: &mut Container) {
    if let Some(lifecycle) = &mut c.lifecycle
        && lifecycle.stop_signal.take().is_some()
        && *lifecycle == Lifecycle::default()
    {
        c.lifecycle = None;
    }
}

fn container(c: &mut Container) {
    drop_disabled(c);
    common(Common {
        image: c.image.as_deref(),
        pull_policy: &mut c.image_pull_policy,
        message_path: &mut c.termination_message_path,
        message_policy: &mut c.termination_message_policy,
        resources: &mut c.resources,
        ports: &mut c.ports,
        env: &mut c.env,
        lifecycle: &mut c.lifecycle,
        probes: [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe],
    });
}

fn ephemeral_container(c: &mut EphemeralContainer) {
    common(Common {
        image: c.image.as_deref(),
        pull_policy: &mut c.image_pull_policy,
        message_path: &mut c.termination_message_path,
        message_policy: &mut c.termination_message_policy,
        resources: &mut c.resources,
        ports: &mut c.ports,
        env: &mut c.env,
        lifecycle: &mut c.lifecycle,
        probes: [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe],
    });
}

/// What ordinary and ephemeral containers have in common.
struct Common<'a> {
    image: Option<&'a str>,
    pull_policy: &'a mut Option<String>,
    message_path: &'a mut Option<String>,
    message_policy: &'a mut Option<String>,
    resources: &'a mut Option<ResourceRequirements>,
    ports: &'a mut Option<Vec<ContainerPort>>,
    env: &'a mut Option<Vec<EnvVar>>,
    lifecycle: &'a mut Option<Lifecycle>,
    probes: [&'a mut Option<Probe>; 3],
}

fn common(c: Common<'_>) {
    fill(c.pull_policy, pull_policy(c.image.unwrap_or_default()));
    fill(c.message_path, "/dev/termination-log");
    fill(c.message_policy, "File");
    c.resources.get_or_insert_default();
    c.ports.iter_mut().flatten().for_each(|port| fill(&mut port.protocol, "TCP"));
    c.env.iter_mut().flatten().for_each(env);
    c.probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = c.lifecycle {
        for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
            handler.http_get.iter_mut().for_each(http_get);
        }
    }
}

/// Returns the pull policy for an image: always for `latest`, otherwise only if it is not there (S1-11).
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    let valid = !name.is_empty() && !name.contains(char::is_whitespace);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) if valid => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(probe: &mut Probe) {
    fill_number(&mut probe.timeout_seconds, 1);
    fill_number(&mut probe.period_seconds, 10);
    fill_number(&mut probe.success_threshold, 1);
    fill_number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get(action: &mut HTTPGetAction) {
    fill(&mut action.path, "/");
    fill(&mut action.scheme, "HTTP");
}

fn env(var: &mut EnvVar) {
    let Some(source) = &mut var.value_from else { return };
    source.field_ref.iter_mut().for_each(field_ref);
    source.resource_field_ref.iter_mut().for_each(resource_field_ref);
    if let Some(file) = &mut source.file_key_ref {
        file.optional.get_or_insert(false);
    }
}

fn field_ref(selector: &mut ObjectFieldSelector) {
    fill(&mut selector.api_version, "v1");
}

/// Writes the divisor as the API server does: 0 stands for 1.
fn resource_field_ref(selector: &mut ResourceFieldSelector) {
    selector.divisor.get_or_insert_with(|| ApiQuantity("0".into()));
}

fn volume(volume: &mut Volume) {
    if !has_source(volume) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(config_map) = &mut volume.config_map {
        config_map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(host_path) = &mut volume.host_path {
        host_path.type_.get_or_insert_default();
    }
    if let Some(api) = &mut volume.downward_api {
        api.default_mode.get_or_insert(FILE_MODE);
        for item in api.items.iter_mut().flatten() {
            item.field_ref.iter_mut().for_each(field_ref);
            item.resource_field_ref.iter_mut().for_each(resource_field_ref);
        }
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(FILE_MODE);
        projected.sources.iter_mut().flatten().for_each(projection);
    }
    if let Some(image) = &mut volume.image {
        fill(&mut image.pull_policy, pull_policy(image.reference.as_deref().unwrap_or_default()));
    }
    if let Some(claim) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        fill(&mut claim.spec.volume_mode, "Filesystem");
    }
}

fn projection(source: &mut VolumeProjection) {
    if let Some(token) = &mut source.service_account_token {
        token.expiration_seconds.get_or_insert(3600);
    }
    for item in source.downward_api.iter_mut().flat_map(|api| api.items.iter_mut().flatten()) {
        item.field_ref.iter_mut().for_each(field_ref);
        item.resource_field_ref.iter_mut().for_each(resource_field_ref);
    }
}

fn requests_from_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    for (name, limit) in resources.limits.iter().flatten() {
        resources.requests.get_or_insert_default().entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

fn host_port(port: &mut ContainerPort) {
    fill_number(&mut port.host_port, port.container_port);
}

/// Fills the pod's own requests: first from what the containers ask for, then from the pod's limits.
fn pod_level_requests(spec: &mut PodSpec) {
    if !resources::has_pod_level(spec) {
        return;
    }
    let asked = resources::aggregate_requests(spec);
    let Some(own) = &mut spec.resources else { return };
    let mut requests: BTreeMap<String, ApiQuantity> = own.requests.take().unwrap_or_default();
    for (name, amount) in asked.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")) {
        requests.entry(name).or_insert_with(|| amount.into());
    }
    for (name, limit) in own.limits.iter().flatten() {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    own.requests = (!requests.is_empty()).then_some(requests);
}

pub(super) fn fill(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.into());
    }
}

fn fill_number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(value);
    }
}
