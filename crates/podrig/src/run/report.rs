//! The result of a run, for people and for machines.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde::Serialize;
use serde_json::Value;

use super::{Observer, observer::Workload};
use crate::{
    error::Exit,
    story::{Finding, PodStory, Style, draw, explain},
};

/// How all workloads together ended; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Verdict {
    Succeeded,
    Failed,
    TimedOut,
    Interrupted,
}

impl Verdict {
    /// Returns the exit code that tells it.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Succeeded => Exit::Success,
            Self::Failed => Exit::Failure,
            Self::TimedOut => Exit::TimedOut,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Interrupted => "was interrupted",
        }
    }
}

/// Everything a run has to tell. Taken before the pods are stopped, so that it shows the state that decided.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) result: Verdict,
    pub(crate) exit_code: u8,
    pub(crate) workloads: Vec<WorkloadResult>,
    pub(crate) pods: Vec<PodReport>,
    pub(crate) jobs: Vec<Job>,
    /// When it was taken, nanoseconds since the epoch.
    pub(crate) taken_at: i64,
}

/// One workload's end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkloadResult {
    kind: &'static str,
    namespace: String,
    name: String,
    /// `None`: it had not ended.
    result: Option<Verdict>,
}

/// One pod's end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodReport {
    pub(crate) object: Pod,
    pub(crate) timeline: PodStory,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    /// Takes stock.
    pub(crate) fn take(observer: &Observer, result: Verdict, now: i64) -> Self {
        let workloads = observer.workloads.iter().map(|w| WorkloadResult::new(w, observer.verdict_on(w))).collect();
        let mut pods: Vec<PodReport> = observer
            .pods
            .values()
            .map(|w| PodReport {
                object: w.pod.clone(),
                timeline: w.story.clone(),
                findings: explain(&w.story, &w.pod),
            })
            .collect();
        pods.sort_by_key(|pod| pod.timeline.began);
        let jobs = observer.jobs.values().cloned().collect();
        Self { result, exit_code: result.exit() as u8, workloads, pods, jobs, taken_at: now }
    }

    /// Draws it for people.
    pub(crate) fn text(&self, style: Style) -> String {
        let mut parts: Vec<String> = Vec::new();
        for pod in &self.pods {
            parts.push(draw(&pod.timeline, self.taken_at, style));
            let reasons: Vec<String> = pod.findings.iter().map(|f| wrap(&f.message, style.width)).collect();
            parts.push(reasons.concat());
        }
        parts.push(self.summary());
        parts.join("\n")
    }

    /// Says in one line for each workload how it ended.
    fn summary(&self) -> String {
        if self.workloads.is_empty() {
            return "nothing to run: the manifests hold no Pod, Job or CronJob".to_owned();
        }
        let lines: Vec<String> = self
            .workloads
            .iter()
            .map(|w| {
                let end = w.result.unwrap_or(self.result).describe();
                format!("{}/{} {end}", w.kind.to_lowercase(), w.name)
            })
            .collect();
        lines.join("\n")
    }
}

impl WorkloadResult {
    fn new(workload: &Workload, result: Option<Verdict>) -> Self {
        let (kind, namespace, name) = match workload {
            Workload::Pod { namespace, name } => ("Pod", namespace, name),
            Workload::Job { namespace, name } => ("Job", namespace, name),
        };
        Self { kind, namespace: namespace.clone(), name: name.clone(), result }
    }
}

/// Returns `name<TAB>state` for each container, as the story's jsonpath queries print it: init containers
/// first, then the main containers.
pub(crate) fn state_lines(pod: &Pod) -> String {
    let status = serde_json::to_value(&pod.status).unwrap_or_default();
    let list = |field: &str| status[field].as_array().cloned().unwrap_or_default();
    let line = |c: &Value| format!("{}\t{}\n", c["name"].as_str().unwrap_or_default(), c["state"]);
    list("initContainerStatuses").iter().chain(&list("containerStatuses")).map(line).collect()
}

/// Breaks a sentence into lines, the first marked, the others indented.
fn wrap(text: &str, width: usize) -> String {
    let width = width.clamp(40, 110) - 4;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let fits = lines[last].is_empty() || lines[last].chars().count() + 1 + word.chars().count() <= width;
        if !fits {
            lines.push(word.to_owned());
        } else if lines[last].is_empty() {
            lines[last].push_str(word);
        } else {
            lines[last].push(' ');
            lines[last].push_str(word);
        }
    }
    format!("  → {}\n", lines.join("\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_workloads_says_so() {
        let result = Verdict::Succeeded;
        let report = Report { result, exit_code: 0, workloads: vec![], pods: vec![], jobs: vec![], taken_at: 0 };
        assert!(report.summary().starts_with("nothing to run"));
    }
}
