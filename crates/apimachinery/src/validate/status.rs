//! What may change in a status.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus},
};

use super::{invalid_for, names, not_negative};
use crate::{
    field::{FieldErrors, Path},
    pod::{containers, init_containers, is_sidecar},
};

/// Checks a changed status of a pod.
pub(super) fn pod(errors: &mut FieldErrors, old: &Pod, new: &Pod) {
    let path = Path::new("status");
    let empty = PodStatus::default();
    let (before, after) = (old.status.as_ref().unwrap_or(&empty), new.status.as_ref().unwrap_or(&empty));
    if let Some(name) = after.nominated_node_name.as_deref().filter(|name| !name.is_empty()) {
        invalid_for(errors, &path.child("nominatedNodeName"), name, names::dns_subdomain(name));
    }
    let Some(spec) = &old.spec else { return };
    let lists = [
        ("containerStatuses", &before.container_statuses, &after.container_statuses, Group::Main),
        ("initContainerStatuses", &before.init_container_statuses, &after.init_container_statuses, Group::Init),
        (
            "ephemeralContainerStatuses",
            &before.ephemeral_container_statuses,
            &after.ephemeral_container_statuses,
            Group::Ephemeral,
        ),
    ];
    for (list, before, after, group) in lists {
        let (before, after) = (before.as_deref().unwrap_or_default(), after.as_deref().unwrap_or_default());
        transitions(errors, &path.child(list), &Transition { spec, group }, before, after);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Main,
    Init,
    Ephemeral,
}

/// What decides whether a container that ended may run again.
struct Transition<'a> {
    spec: &'a PodSpec,
    group: Group,
}

/// Checks that only containers that may be restarted leave the state `terminated` (S1-29).
fn transitions(
    errors: &mut FieldErrors,
    path: &Path,
    rule: &Transition<'_>,
    old: &[ContainerStatus],
    new: &[ContainerStatus],
) {
    let after: BTreeMap<&str, &ContainerStatus> = new.iter().map(|status| (status.name.as_str(), status)).collect();
    for (index, before) in old.iter().enumerate() {
        let ended = before.state.as_ref().and_then(|state| state.terminated.as_ref());
        if ended.is_none_or(|ended| rule.may_restart(&before.name, ended.exit_code)) {
            continue;
        }
        let stays = |status: &&ContainerStatus| status.state.as_ref().is_some_and(|state| state.terminated.is_some());
        if after.get(before.name.as_str()).is_some_and(|status| !stays(status)) {
            errors.forbidden(&path.index(index).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}

impl Transition<'_> {
    fn may_restart(&self, name: &str, exit_code: i32) -> bool {
        let list = match self.group {
            Group::Main => self.spec.containers.as_slice(),
            Group::Init => init_containers(self.spec),
            Group::Ephemeral => return false,
        };
        if containers(self.spec).any(|entry| restarts_all(entry.container)) {
            return true;
        }
        let container = list.iter().find(|container| container.name == name);
        if self.group == Group::Init && container.is_some_and(is_sidecar) {
            return true;
        }
        let own = container.filter(|container| container.restart_policy.is_some());
        let policy = own.and_then(|container| container.restart_policy.as_deref());
        if own.is_some_and(|container| rule_matches(container, exit_code)) {
            return true;
        }
        match policy.or(self.spec.restart_policy.as_deref()) {
            Some("Never") => false,
            Some("OnFailure") => exit_code != 0,
            Some(_) | None => true,
        }
    }
}

fn restarts_all(container: &Container) -> bool {
    container.restart_policy_rules.iter().flatten().any(|rule| rule.action == "RestartAllContainers")
}

fn rule_matches(container: &Container, exit_code: i32) -> bool {
    container.restart_policy_rules.iter().flatten().any(|rule| {
        let Some(codes) = &rule.exit_codes else { return false };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    })
}

/// Checks the status of a Job.
pub(super) fn job(errors: &mut FieldErrors, job: &Job) {
    let path = Path::new("status");
    let Some(status) = &job.status else { return };
    for (field, value) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        not_negative(errors, &path.child(field), value.map(i64::from));
    }
}
