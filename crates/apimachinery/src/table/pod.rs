//! Pods (S5-50…S5-58).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, Row, age, human_duration, list, name, number, or, text};
use crate::time;

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Ready", "How many of the containers that run with the pod are ready."),
    Column::text("Status", "What the containers of the pod are about, in one word."),
    Column::text("Restarts", "How often containers of the pod were restarted, and when the last time."),
    AGE,
    Column::text("IP", "Address of the pod.").wide(),
    Column::text("Node", "Node that the pod is on.").wide(),
    Column::text("Nominated Node", "Node on which room is being made for the pod.").wide(),
    Column::text("Readiness Gates", "How many of the further conditions for readiness hold.").wide(),
];

pub(super) fn row(pod: &Value, now: Timestamp) -> Row {
    let summary = Summary::of(pod);
    let restarts = match (summary.restarts.count, summary.restarts.last) {
        (count, Some(last)) if count != 0 => format!("{count} ({} ago)", human_duration(now.duration_since(last))),
        (count, _) => count.to_string(),
    };
    let cells = vec![
        name(pod),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.status),
        json!(restarts),
        age(pod, now),
        json!(or(text(pod, "/status/podIPs/0/ip"), "<none>")),
        json!(or(text(pod, "/spec/nodeName"), "<none>")),
        json!(or(text(pod, "/status/nominatedNodeName"), "<none>")),
        json!(readiness_gates(pod)),
    ];
    Row { cells, conditions: conditions(text(pod, "/status/phase")) }
}

fn conditions(phase: &str) -> Vec<Value> {
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": phase, "message": message})]
}

/// What the columns say before it is put into words.
#[derive(Debug)]
struct Summary {
    ready: usize,
    total: usize,
    status: String,
    restarts: Restarts,
}

/// Restarts of some containers, and the end of the newest instance before a present one.
#[derive(Debug, Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count = self.count.saturating_add(number(status, "/restartCount"));
        self.last = self.last.max(time::parse(text(status, "/lastState/terminated/finishedAt")));
    }
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let sidecars = list(pod, "/spec/initContainers").iter().filter(|container| is_sidecar(container)).count();
        let phase = text(pod, "/status/phase");
        let mut summary = Self {
            ready: 0,
            total: list(pod, "/spec/containers").len() + sidecars,
            status: or(text(pod, "/status/reason"), phase).to_owned(),
            restarts: Restarts::default(),
        };
        if list(pod, "/status/conditions").iter().any(is_gated) {
            "SchedulingGated".clone_into(&mut summary.status);
        }
        let of_sidecars = summary.add_init_containers(pod);
        if of_sidecars.all_passed || has_condition(pod, "Initialized") {
            summary.restarts = of_sidecars.restarts;
            summary.add_main_containers(pod);
        }
        if is_deleting(pod) && text(pod, "/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut summary.status);
        } else if is_deleting(pod) && !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut summary.status);
        }
        summary
    }

    /// S5-52: goes through the init containers up to the one that others wait for.
    fn add_init_containers(&mut self, pod: &Value) -> InitContainers {
        let specs = list(pod, "/spec/initContainers");
        let mut of_sidecars = Restarts::default();
        for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
            let sidecar = specs.iter().any(|spec| spec["name"] == status["name"] && is_sidecar(spec));
            self.restarts.add(status);
            if sidecar {
                of_sidecars.add(status);
            }
            let ended = status.pointer("/state/terminated").filter(|ended| !ended.is_null());
            if ended.is_some_and(|ended| number(ended, "/exitCode") == 0) {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let waiting = text(status, "/state/waiting/reason");
            self.status = match ended {
                Some(ended) => format!("Init:{}", why_ended(ended)),
                None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
                None => format!("Init:{index}/{}", specs.len()),
            };
            return InitContainers { all_passed: false, restarts: of_sidecars };
        }
        InitContainers { all_passed: true, restarts: of_sidecars }
    }

    /// S5-53, S5-54: the first main container that has something to say wins.
    fn add_main_containers(&mut self, pod: &Value) {
        let (mut runs, mut failure) = (false, None);
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            self.restarts.add(status);
            let waiting = text(status, "/state/waiting/reason");
            let ended = status.pointer("/state/terminated").filter(|ended| !ended.is_null());
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.status);
            } else if let Some(ended) = ended {
                self.status = why_ended(ended);
                if number(ended, "/exitCode") != 0 {
                    failure = Some(self.status.clone());
                }
            } else if status["ready"] == true && status.pointer("/state/running").is_some() {
                runs = true;
                self.ready += 1;
            }
        }
        if self.status != "Completed" {
            return;
        }
        if runs && has_condition(pod, "Ready") {
            "Running".clone_into(&mut self.status);
        } else if let Some(failure) = failure {
            self.status = failure;
        } else if runs {
            "NotReady".clone_into(&mut self.status);
        }
    }
}

/// What the walk over the init containers found.
struct InitContainers {
    /// Whether none keeps others waiting.
    all_passed: bool,
    /// Restarts of the sidecars among them.
    restarts: Restarts,
}

fn why_ended(ended: &Value) -> String {
    match (text(ended, "/reason"), number(ended, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(ended, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn is_gated(condition: &Value) -> bool {
    text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated"
}

fn is_deleting(pod: &Value) -> bool {
    !text(pod, "/metadata/deletionTimestamp").is_empty()
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    let conditions = list(pod, "/status/conditions");
    conditions.iter().any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let held = gates.iter().filter(|gate| has_condition(pod, text(gate, "/conditionType"))).count();
    format!("{held}/{}", gates.len())
}
