//! Probes and hooks.

use k8s_openapi::{
    api::core::v1::{Container, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{container::port_number, invalid_for, names, not_negative, pod::Scope, text};
use crate::field::{FieldErrors, Path};

/// Checks the hooks and probes of a main container or sidecar.
pub(super) fn lifecycle_and_probes(errors: &mut FieldErrors, at: &Path, container: &Container, scope: &Scope<'_>) {
    if let Some(found) = &container.lifecycle {
        lifecycle(errors, &at.child("lifecycle"), found, scope);
    }
    if let Some(found) = &container.liveness_probe {
        once(errors, &at.child("livenessProbe"), found);
    }
    if let Some(found) = &container.readiness_probe {
        readiness(errors, &at.child("readinessProbe"), found);
    }
    if let Some(found) = &container.startup_probe {
        once(errors, &at.child("startupProbe"), found);
    }
}

/// A liveness or startup probe: one success is enough, always (S1-17).
fn once(errors: &mut FieldErrors, at: &Path, found: &Probe) {
    probe(errors, at, found);
    let threshold = found.success_threshold.unwrap_or_default();
    if threshold != 1 {
        errors.invalid(&at.child("successThreshold"), threshold, "must be 1");
    }
}

fn readiness(errors: &mut FieldErrors, at: &Path, found: &Probe) {
    probe(errors, at, found);
    if let Some(grace) = found.termination_grace_period_seconds {
        let path = at.child("terminationGracePeriodSeconds");
        errors.invalid(&path, grace, "must not be set for readinessProbes");
    }
}

fn probe(errors: &mut FieldErrors, at: &Path, probe: &Probe) {
    let handlers = Handlers {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_port: probe.tcp_socket.as_ref().map(|tcp| &tcp.port),
        grpc_port: probe.grpc.as_ref().map(|grpc| grpc.port),
        sleep: None,
    };
    handler(errors, at, &handlers, None);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        not_negative(errors, &at.child(field), value.map(i64::from));
    }
    if let Some(grace) = probe.termination_grace_period_seconds.filter(|grace| *grace <= 0) {
        errors.invalid(&at.child("terminationGracePeriodSeconds"), grace, "must be greater than 0");
    }
}

fn lifecycle(errors: &mut FieldErrors, at: &Path, lifecycle: &Lifecycle, scope: &Scope<'_>) {
    for (field, found) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(found) = found {
            hook(errors, &at.child(field), found, scope);
        }
    }
}

fn hook(errors: &mut FieldErrors, at: &Path, hook: &LifecycleHandler, scope: &Scope<'_>) {
    let handlers = Handlers {
        exec: hook.exec.as_ref(),
        http_get: hook.http_get.as_ref(),
        tcp_port: hook.tcp_socket.as_ref().map(|tcp| &tcp.port),
        grpc_port: None,
        sleep: hook.sleep.as_ref(),
    };
    handler(errors, at, &handlers, scope.spec.termination_grace_period_seconds);
}

/// What probes and hooks have in common.
struct Handlers<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_port: Option<&'a IntOrString>,
    grpc_port: Option<i32>,
    sleep: Option<&'a SleepAction>,
}

/// Checks that there is exactly one handler and that it is right (S1-19); of several only the first is looked at.
fn handler(errors: &mut FieldErrors, at: &Path, found: &Handlers<'_>, grace: Option<i64>) {
    let present = [
        ("exec", found.exec.is_some()),
        ("httpGet", found.http_get.is_some()),
        ("tcpSocket", found.tcp_port.is_some()),
        ("grpc", found.grpc_port.is_some()),
        ("sleep", found.sleep.is_some()),
    ];
    let mut fields = present.into_iter().filter(|(_, set)| *set).map(|(field, _)| field);
    let Some(first) = fields.next() else {
        errors.required(at, "must specify a handler type");
        return;
    };
    one(errors, &at.child(first), found, grace);
    for field in fields {
        errors.forbidden(&at.child(field), "may not specify more than 1 handler type");
    }
}

fn one(errors: &mut FieldErrors, at: &Path, found: &Handlers<'_>, grace: Option<i64>) {
    if let Some(exec) = found.exec {
        if exec.command.as_ref().is_none_or(Vec::is_empty) {
            errors.required(&at.child("command"), "");
        }
    } else if let Some(http) = found.http_get {
        http_get(errors, at, http);
    } else if let Some(port) = found.tcp_port {
        port_or_name(errors, &at.child("port"), port);
    } else if let Some(port) = found.grpc_port {
        port_number(errors, &at.child("port"), port);
    } else if let Some(sleep) = found.sleep {
        sleep_seconds(errors, at, sleep.seconds, grace);
    }
}

fn http_get(errors: &mut FieldErrors, at: &Path, http: &HTTPGetAction) {
    if text(&http.path).is_empty() {
        errors.required(&at.child("path"), "");
    }
    port_or_name(errors, &at.child("port"), &http.port);
    let scheme = text(&http.scheme);
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&at.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in http.http_headers.iter().flatten() {
        invalid_for(errors, &at.child("httpHeaders"), &header.name, names::http_header(&header.name));
    }
}

fn port_or_name(errors: &mut FieldErrors, path: &Path, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => port_number(errors, path, *number),
        IntOrString::String(name) => invalid_for(errors, path, name, names::port_name(name)),
    }
}

/// A hook that sleeps longer than the pod may live would never end by itself (S1-21).
fn sleep_seconds(errors: &mut FieldErrors, at: &Path, seconds: i64, grace: Option<i64>) {
    if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(at, seconds, why);
    }
}
