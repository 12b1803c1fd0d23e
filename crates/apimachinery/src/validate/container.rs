//! The containers of a pod: main containers, init containers, sidecars and ephemeral containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, EphemeralContainer, PodSpec};

use super::{
    env, handler, invalid_for, mounts, names, one_of, pod::Scope, required_label, resources, restart, security, text,
};
use crate::{
    field::{FieldErrors, Path},
    pod::{init_containers, is_sidecar},
};

/// Checks main containers, init containers and sidecars, and ephemeral containers.
pub(super) fn all(errors: &mut FieldErrors, path: &Path, scope: &Scope<'_>) {
    mains(errors, &path.child("containers"), scope);
    inits(errors, &path.child("initContainers"), scope);
    ephemerals(errors, &path.child("ephemeralContainers"), scope);
}

fn mains(errors: &mut FieldErrors, path: &Path, scope: &Scope<'_>) {
    let containers = &scope.spec.containers;
    if containers.is_empty() {
        errors.required(path, "");
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let at = path.index(index);
        common(errors, &at, container, scope);
        if !seen.insert(container.name.as_str()) {
            errors.duplicate(&at.child("name"), container.name.as_str());
        }
        handler::lifecycle_and_probes(errors, &at, container, scope);
        restart::main(errors, &at, container);
    }
    host_ports(errors, path, containers.iter().enumerate());
}

fn inits(errors: &mut FieldErrors, path: &Path, scope: &Scope<'_>) {
    let mut seen: BTreeSet<&str> = scope.spec.containers.iter().map(|c| c.name.as_str()).collect();
    for (index, container) in init_containers(scope.spec).iter().enumerate() {
        let at = path.index(index);
        common(errors, &at, container, scope);
        restart::init(errors, &at, container);
        if !seen.insert(container.name.as_str()) && !container.name.is_empty() {
            errors.duplicate(&at.child("name"), container.name.as_str());
        }
        // Each on its own: they do not run at the same time, or so Kubernetes takes it even for sidecars (S1-24).
        host_ports(errors, path, std::iter::once((index, container)));
        if is_sidecar(container) {
            handler::lifecycle_and_probes(errors, &at, container, scope);
        } else {
            only_for_sidecars(errors, &at, container);
        }
    }
}

/// Refuses what an init container that runs to completion cannot have (S1-07, S1-27).
fn only_for_sidecars(errors: &mut FieldErrors, at: &Path, container: &Container) {
    let fields = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        errors.forbidden(&at.child(field), "may not be set for init containers without restartPolicy=Always");
    }
    let restarts = |policy: &str| policy == resources::RESTART_CONTAINER;
    if container.resize_policy.iter().flatten().any(|p| restarts(&p.restart_policy)) {
        let why = "must not be set to RestartContainer for init containers without restartPolicy=Always";
        errors.invalid(&at.child("resizePolicy"), resources::RESTART_CONTAINER, why);
    }
}

fn ephemerals(errors: &mut FieldErrors, path: &Path, scope: &Scope<'_>) {
    let others: BTreeSet<&str> = names_of(scope.spec).collect();
    let mut seen = others.clone();
    for (index, container) in scope.spec.ephemeral_containers.iter().flatten().enumerate() {
        let at = path.index(index);
        let plain = as_container(container);
        common(errors, &at, &plain, scope);
        only_in_pods(errors, &at, &plain);
        if !seen.insert(container.name.as_str()) {
            errors.duplicate(&at.child("name"), container.name.as_str());
        }
        let target = text(&container.target_container_name);
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&at.child("targetContainerName"), target);
        }
        not_for_ephemeral(errors, &at, container);
    }
}

fn names_of(spec: &PodSpec) -> impl Iterator<Item = &str> {
    spec.containers.iter().chain(init_containers(spec)).map(|c| c.name.as_str())
}

/// An ephemeral container with those fields that it has in common with the others.
fn as_container(c: &EphemeralContainer) -> Container {
    Container {
        args: c.args.clone(),
        command: c.command.clone(),
        env: c.env.clone(),
        env_from: c.env_from.clone(),
        image: c.image.clone(),
        image_pull_policy: c.image_pull_policy.clone(),
        name: c.name.clone(),
        security_context: c.security_context.clone(),
        termination_message_policy: c.termination_message_policy.clone(),
        volume_devices: c.volume_devices.clone(),
        volume_mounts: c.volume_mounts.clone(),
        ..Container::default()
    }
}

/// Refuses what an ephemeral container cannot have (S1-28).
fn not_for_ephemeral(errors: &mut FieldErrors, at: &Path, c: &EphemeralContainer) {
    let resources = c.resources.as_ref();
    let has_resources = resources.is_some_and(|r| r.claims.is_some() || r.limits.is_some() || r.requests.is_some());
    let fields = [
        ("ports", c.ports.as_ref().is_some_and(|list| !list.is_empty())),
        ("resources", has_resources),
        ("resizePolicy", c.resize_policy.as_ref().is_some_and(|list| !list.is_empty())),
        ("restartPolicy", c.restart_policy.is_some()),
        ("restartPolicyRules", c.restart_policy_rules.as_ref().is_some_and(|list| !list.is_empty())),
        ("livenessProbe", c.liveness_probe.is_some()),
        ("readinessProbe", c.readiness_probe.is_some()),
        ("startupProbe", c.startup_probe.is_some()),
        ("lifecycle", c.lifecycle.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        errors.forbidden(&at.child(field), NOT_EPHEMERAL);
    }
    for (index, mount) in c.volume_mounts.iter().flatten().enumerate() {
        let at = at.child("volumeMounts").index(index);
        for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if !text(value).is_empty() {
                errors.forbidden(&at.child(field), NOT_EPHEMERAL);
            }
        }
    }
}

const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// Checks what all containers have.
fn common(errors: &mut FieldErrors, at: &Path, container: &Container, scope: &Scope<'_>) {
    required_label(errors, &at.child("name"), &container.name);
    if text(&container.image).is_empty() {
        errors.required(&at.child("image"), "");
    }
    let policy = container.termination_message_policy.as_deref();
    one_of(errors, &at.child("terminationMessagePolicy"), policy, &["File", "FallbackToLogsOnError"]);
    ports(errors, &at.child("ports"), container.ports.iter().flatten());
    env::all(errors, at, container, scope);
    mounts::mounts(errors, &at.child("volumeMounts"), container, scope);
    mounts::devices(errors, &at.child("volumeDevices"), container, scope);
    pull_policy(errors, &at.child("imagePullPolicy"), container.image_pull_policy.as_deref());
    if let Some(wanted) = &container.resources {
        resources::of_container(errors, &at.child("resources"), wanted, scope);
    }
    resources::resize_policy(errors, &at.child("resizePolicy"), container, scope);
    if let Some(context) = &container.security_context {
        security::container(errors, &at.child("securityContext"), context, scope.spec.host_users != Some(false));
    }
}

pub(super) fn pull_policy(errors: &mut FieldErrors, path: &Path, policy: Option<&str>) {
    one_of(errors, path, policy, &["Always", "IfNotPresent", "Never"]);
}

/// Checks what holds for containers of pods but not of templates (S1-10).
pub(super) fn only_in_pods(errors: &mut FieldErrors, at: &Path, container: &Container) {
    let image = text(&container.image);
    if image.trim() != image {
        errors.invalid(&at.child("image"), image, "must not have leading or trailing whitespace");
    }
}

fn ports<'a>(errors: &mut FieldErrors, path: &Path, ports: impl Iterator<Item = &'a ContainerPort>) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.enumerate() {
        let at = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let problems = names::port_name(name);
            if problems.is_empty() && !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
            invalid_for(errors, &at.child("name"), name, problems);
        }
        if port.container_port == 0 {
            errors.required(&at.child("containerPort"), "");
        } else {
            port_number(errors, &at.child("containerPort"), port.container_port);
        }
        if let Some(host_port) = port.host_port.filter(|port| *port != 0) {
            port_number(errors, &at.child("hostPort"), host_port);
        }
        one_of(errors, &at.child("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
    }
}

pub(super) fn port_number(errors: &mut FieldErrors, path: &Path, port: i32) {
    for problem in names::port_number(port.into()) {
        errors.invalid(path, port, problem);
    }
}

/// Refuses containers that want the same port of the host.
fn host_ports<'a>(errors: &mut FieldErrors, path: &Path, containers: impl Iterator<Item = (usize, &'a Container)>) {
    let mut seen = BTreeSet::new();
    for (index, container) in containers {
        for (at, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let key = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
            if !seen.insert(key.clone()) {
                errors.duplicate(&path.index(index).child("ports").index(at).child("hostPort"), key);
            }
        }
    }
}
