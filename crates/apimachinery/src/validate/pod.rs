//! Pods and the templates of pods.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::{
    ContainerPort, HostAlias, Pod, PodDNSConfig, PodSchedulingGate, PodSpec, PodTemplateSpec, Toleration, Volume,
};

use super::{container, in_range, invalid_for, meta, names, one_of, pod_level, required_label, security, text, volume};
use crate::{
    field::{FieldErrors, Path},
    pod::init_containers,
};

/// What the parts of a pod's spec are checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The whole spec.
    pub(super) spec: &'a PodSpec,
}

impl<'a> Scope<'a> {
    /// Returns the volume with a name.
    pub(super) fn volume(&self, name: &str) -> Option<&'a Volume> {
        self.spec.volumes.iter().flatten().find(|volume| volume.name == name)
    }
}

/// Checks a new pod.
pub(super) fn create(errors: &mut FieldErrors, pod: &Pod) {
    whole(errors, pod);
    let Some(spec) = &pod.spec else { return };
    let path = Path::new("spec");
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(&spec.node_name).is_empty() && spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        errors.forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/// Checks what holds for a pod at any time.
pub(super) fn whole(errors: &mut FieldErrors, pod: &Pod) {
    let path = Path::new("spec");
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    of_spec(errors, &path, spec);
    for (list, containers) in [("containers", &spec.containers[..]), ("initContainers", init_containers(spec))] {
        for (index, found) in containers.iter().enumerate() {
            container::only_in_pods(errors, &path.child(list).index(index), found);
        }
    }
    host_network_ports(errors, &path, spec, true);
}

/// Checks the template of a pod.
pub(super) fn template(errors: &mut FieldErrors, path: &Path, template: &PodTemplateSpec) {
    if let Some(found) = &template.metadata {
        meta::labels(errors, &path.child("labels"), found.labels.iter().flatten());
        meta::annotations(errors, &path.child("annotations"), found.annotations.iter().flatten());
    }
    let empty = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&empty);
    of_spec(errors, &path.child("spec"), spec);
    host_network_ports(errors, &path.child("spec"), spec, false);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        let path = path.child("spec").child("ephemeralContainers");
        errors.forbidden(&path, "ephemeral containers not allowed in pod template");
    }
}

fn of_spec(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let scope = Scope { spec };
    volume::all(errors, &path.child("volumes"), &scope);
    container::all(errors, path, &scope);
    pod_level::all(errors, &path.child("resources"), spec);
    one_of(errors, &path.child("restartPolicy"), spec.restart_policy.as_deref(), &["Always", "OnFailure", "Never"]);
    dns(errors, path, spec);
    meta::labels(errors, &path.child("nodeSelector"), spec.node_selector.iter().flatten());
    security::pod(errors, path, spec);
    gates(errors, path, spec);
    names_in(errors, path, spec);
    if let Some(seconds) = spec.active_deadline_seconds {
        in_range(errors, &path.child("activeDeadlineSeconds"), seconds, 1, i32::MAX.into());
    }
    tolerations(errors, &path.child("tolerations"), spec.tolerations.iter().flatten());
    host_aliases(errors, &path.child("hostAliases"), spec.host_aliases.iter().flatten());
    if let Some(policy) = &spec.preemption_policy {
        let path = path.child("preemptionPolicy");
        one_of(errors, &path, Some(policy), &["PreemptLowerPriority", "Never"]);
    }
    if let Some(os) = &spec.os {
        one_of(errors, &path.child("os").child("name"), Some(&os.name), &["linux", "windows"]);
    }
}

/// Checks the names that a spec mentions.
fn names_in(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    for (field, name) in [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
        ("runtimeClassName", &spec.runtime_class_name),
    ] {
        let name = text(name);
        if !name.is_empty() {
            invalid_for(errors, &path.child(field), name, names::dns_subdomain(name));
        }
    }
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        let name = text(name);
        if !name.is_empty() {
            required_label(errors, &path.child(field), name);
        }
    }
}

fn gates(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        invalid_for(errors, &path, &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
    scheduling_gates(errors, &path.child("schedulingGates"), spec.scheduling_gates.iter().flatten());
}

fn scheduling_gates<'a>(errors: &mut FieldErrors, path: &Path, gates: impl Iterator<Item = &'a PodSchedulingGate>) {
    let mut seen = BTreeSet::new();
    for (index, gate) in gates.enumerate() {
        invalid_for(errors, &path.index(index), &gate.name, names::qualified_name(&gate.name));
        if !seen.insert(gate.name.as_str()) {
            errors.duplicate(&path.index(index), gate.name.as_str());
        }
    }
}

fn dns(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    const POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(errors, &path.child("dnsPolicy"), spec.dns_policy.as_deref(), POLICIES);
    let path = path.child("dnsConfig");
    let none = spec.dns_policy.as_deref() == Some("None");
    match &spec.dns_config {
        None if none => errors.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None"),
        None => {}
        Some(config) if none && config.nameservers.as_ref().is_none_or(Vec::is_empty) => {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&path.child("nameservers"), why);
        }
        Some(config) => dns_config(errors, &path, config),
    }
}

fn dns_config(errors: &mut FieldErrors, path: &Path, config: &PodDNSConfig) {
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let servers_path = path.child("nameservers");
    if servers.len() > MOST_NAMESERVERS {
        let why = format!("must not have more than {MOST_NAMESERVERS} nameservers");
        errors.invalid(&servers_path, servers.to_vec(), why);
    }
    for (index, server) in servers.iter().enumerate() {
        address(errors, &servers_path.index(index), server);
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let searches_path = path.child("searches");
    if searches.len() > MOST_SEARCHES {
        let why = format!("must not have more than {MOST_SEARCHES} search paths");
        errors.invalid(&searches_path, searches.to_vec(), why);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        // Underscores are fine here, as in the names of service records.
        let name = search.strip_suffix('.').unwrap_or(search);
        invalid_for(errors, &searches_path.index(index), name, names::dns_subdomain(&name.replace('_', "x")));
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.required(&path.child("options").index(index), "must not be empty");
        }
    }
}

/// `MaxDNSNameservers` and `MaxDNSSearchPaths`.
const MOST_NAMESERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;

fn address(errors: &mut FieldErrors, path: &Path, text: &str) {
    if text.parse::<IpAddr>().is_err() {
        errors.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

fn host_aliases<'a>(errors: &mut FieldErrors, path: &Path, aliases: impl Iterator<Item = &'a HostAlias>) {
    for (index, alias) in aliases.enumerate() {
        let at = path.index(index);
        address(errors, &at.child("ip"), &alias.ip);
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            invalid_for(errors, &at.child("hostnames").index(index), name, names::dns_subdomain(name));
        }
    }
}

/// Checks tolerations.
pub(super) fn tolerations<'a>(errors: &mut FieldErrors, path: &Path, found: impl Iterator<Item = &'a Toleration>) {
    for (index, toleration) in found.enumerate() {
        let at = path.index(index);
        let (key, operator) = (text(&toleration.key), text(&toleration.operator));
        let (value, effect) = (text(&toleration.value), text(&toleration.effect));
        if !key.is_empty() {
            invalid_for(errors, &at.child("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&at.child("operator"), operator, why);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&at.child("effect"), effect, why);
        }
        match operator {
            "Equal" | "" => {
                if let Some(problem) = names::label_value(value).into_iter().next() {
                    errors.invalid(&at.child("operator"), value, problem);
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid(&at.child("operator"), value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            _ => errors.not_supported(&at.child("operator"), operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
            one_of(errors, &at.child("effect"), Some(effect), EFFECTS);
        }
    }
}

/// In the network of the host a container listens on the host's ports, there is nothing to map.
fn host_network_ports(errors: &mut FieldErrors, path: &Path, spec: &PodSpec, is_pod: bool) {
    if spec.host_network != Some(true) {
        return;
    }
    let wrong = |port: &ContainerPort| {
        let host_port = port.host_port.unwrap_or_default();
        (is_pod || host_port != 0) && host_port != port.container_port
    };
    for (at, container) in spec.containers.iter().enumerate() {
        let ports = path.child("containers").index(at).child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate().filter(|(_, port)| wrong(port)) {
            let why = "must match `containerPort` when `hostNetwork` is true";
            errors.invalid(&ports.index(index).child("hostPort"), port.host_port.unwrap_or_default(), why);
        }
    }
}
