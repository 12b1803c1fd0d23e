//! Keeps the latest state of all pods and jobs, and judges whether the workloads have ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{ResourceExt as _, runtime::watcher};
use kubelet::TimelineRecord;
use pod_lifecycle::{MomentKind, Role};

use super::{Verdict, logs::Source};
use crate::story::{Evidence, Outlook, PodStory, outlook};

/// What is to be run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Workload {
    Pod { namespace: String, name: String },
    Job { namespace: String, name: String },
}

/// One pod as seen so far.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) pod: Pod,
    pub(crate) story: PodStory,
    /// The API object was removed.
    pub(crate) gone: bool,
    /// Container instances whose output is being followed, by id.
    followed: BTreeSet<String>,
}

/// The latest state of everything.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) pods: BTreeMap<String, Watched>,
    pub(crate) jobs: BTreeMap<String, Job>,
    /// Records that arrived before their pod.
    early: BTreeMap<String, Vec<TimelineRecord>>,
}

/// A port that was found closed and is worth another look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedPort {
    pub(crate) pod_uid: String,
    pub(crate) evidence: Evidence,
}

impl Observer {
    /// Begins with nothing seen of these workloads.
    pub(crate) fn new(workloads: Vec<Workload>) -> Self {
        Self { workloads, ..Self::default() }
    }

    /// Takes a change of a pod and returns the container instances whose output is not followed yet.
    pub(crate) fn pod_event(&mut self, event: watcher::Event<Pod>) -> Vec<Source> {
        match event {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => self.pod_changed(pod, false),
            watcher::Event::Delete(pod) => self.pod_changed(pod, true),
            watcher::Event::Init | watcher::Event::InitDone => Vec::new(),
        }
    }

    /// Takes a change of a job.
    pub(crate) fn job_event(&mut self, event: watcher::Event<Job>) {
        if let watcher::Event::Apply(job) | watcher::Event::InitApply(job) | watcher::Event::Delete(job) = event {
            self.jobs.insert(format!("{}/{}", job.namespace().unwrap_or_default(), job.name_any()), job);
        }
    }

    /// Takes a step in a pod's life.
    pub(crate) fn record(&mut self, record: TimelineRecord) {
        match self.pods.get_mut(&record.uid) {
            Some(watched) => watched.story.add(record.container.as_deref(), record.moment),
            None => self.early.entry(record.uid.clone()).or_default().push(record),
        }
    }

    /// Judges all workloads together; `None`: they have not ended.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let verdicts: Option<Vec<Verdict>> = self.workloads.iter().map(|workload| self.verdict_on(workload)).collect();
        verdicts?.into_iter().max().or(Some(Verdict::Succeeded))
    }

    /// Judges one workload.
    pub(crate) fn verdict_on(&self, workload: &Workload) -> Option<Verdict> {
        match workload {
            Workload::Pod { namespace, name } => {
                let pod = self.pods.values().find(|w| is(&w.pod, namespace, name))?;
                judge_pod(pod)
            }
            Workload::Job { namespace, name } => {
                let job = self.jobs.get(&format!("{namespace}/{name}"))?;
                let mut pods = self.pods.values().filter(|w| is_owned_by(&w.pod, job));
                let hopeless = pods.any(|w| matches!(outlook(&w.pod), Outlook::Hopeless { .. }));
                judge_job(job).or_else(|| hopeless.then_some(Verdict::Failed))
            }
        }
    }

    /// Returns which declared ports of a pod's other containers deserve a look because this record says that
    /// a container failed.
    pub(crate) fn ports_worth_a_look(&self, record: &TimelineRecord) -> Vec<Evidence> {
        let MomentKind::Exited { exit_code, .. } = &record.moment.kind else { return Vec::new() };
        let (Some(watched), Some(client)) = (self.pods.get(&record.uid), &record.container) else { return Vec::new() };
        let is_sidecar = watched.story.with_role(Role::Sidecar).any(|c| c.name == *client);
        if *exit_code == 0 || is_sidecar {
            return Vec::new();
        }
        let others = watched.story.containers.iter().filter(|c| c.name != *client);
        others
            .filter(|c| c.last_instance().is_none_or(|i| i.exit.is_none()))
            .flat_map(|c| c.ports.iter().map(|port| (c.name.clone(), *port)))
            .map(|(server, port)| Evidence {
                at: record.moment.at.0,
                because_of: client.clone(),
                server,
                port,
                listening: false,
            })
            .collect()
    }

    /// Notes what a look at a port showed.
    pub(crate) fn add_evidence(&mut self, pod_uid: &str, evidence: Evidence) {
        if let Some(watched) = self.pods.get_mut(pod_uid) {
            watched.story.evidence.push(evidence);
        }
    }

    /// Returns the pods that still exist and have not ended.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &Watched> {
        self.pods.values().filter(|w| !w.gone && !matches!(phase(&w.pod), "Succeeded" | "Failed"))
    }

    /// Says in one line what goes on.
    pub(crate) fn summary(&self) -> String {
        let pods: Vec<String> = self.unfinished().map(|w| summarize(&w.pod)).collect();
        pods.join("  ")
    }

    fn pod_changed(&mut self, pod: Pod, gone: bool) -> Vec<Source> {
        let uid = pod.uid().unwrap_or_default();
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let early = self.early.remove(&uid).unwrap_or_default();
        let watched = self.pods.entry(uid).or_insert_with(|| Watched {
            story: PodStory::new(&pod, now),
            pod: pod.clone(),
            gone,
            followed: BTreeSet::new(),
        });
        watched.pod = pod;
        watched.gone = gone;
        for record in early {
            watched.story.add(record.container.as_deref(), record.moment);
        }
        instances(&watched.pod)
            .into_iter()
            .filter(|(id, _)| watched.followed.insert(id.clone()))
            .map(|(_, s)| s)
            .collect()
    }
}

/// Lists the container instances that a pod's status knows by id and that have run: the present ones and those before.
fn instances(pod: &Pod) -> Vec<(String, Source)> {
    let status = pod.status.as_ref();
    let inits = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let mains = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let mut instances = Vec::new();
    for container in inits.iter().chain(mains) {
        let ran = container.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some());
        let before = container.last_state.as_ref().and_then(|s| s.terminated.as_ref()?.container_id.clone());
        let source = |previous| Source {
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            container: container.name.clone(),
            previous,
        };
        instances.extend(before.map(|id| (id, source(true))));
        instances.extend(container.container_id.clone().filter(|_| ran).map(|id| (id, source(false))));
    }
    instances
}

fn is(pod: &Pod, namespace: &str, name: &str) -> bool {
    pod.namespace().as_deref() == Some(namespace) && pod.name_any() == name
}

fn is_owned_by(pod: &Pod, job: &Job) -> bool {
    pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
}

fn judge_pod(watched: &Watched) -> Option<Verdict> {
    match outlook(&watched.pod) {
        Outlook::Ended { succeeded: true } => Some(Verdict::Succeeded),
        Outlook::Ended { succeeded: false } | Outlook::Hopeless { .. } => Some(Verdict::Failed),
        Outlook::Open | Outlook::ServerLeft { .. } | Outlook::InitRuns { .. } => {
            watched.gone.then_some(Verdict::Failed)
        }
    }
}

fn judge_job(job: &Job) -> Option<Verdict> {
    let conditions = job.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let is_true = |kind: &str| conditions.iter().any(|c| c.type_ == kind && c.status == "True");
    if is_true("Complete") { Some(Verdict::Succeeded) } else { is_true("Failed").then_some(Verdict::Failed) }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

fn summarize(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let inits = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let mains = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let states: Vec<String> = inits
        .iter()
        .chain(mains)
        .map(|c| {
            let state = c.state.as_ref();
            let word = if state.is_some_and(|s| s.running.is_some()) {
                if c.started == Some(false) { "starting".to_owned() } else { "running".to_owned() }
            } else if let Some(ended) = state.and_then(|s| s.terminated.as_ref()) {
                format!("exit {}", ended.exit_code)
            } else {
                state.and_then(|s| s.waiting.as_ref()?.reason.clone()).unwrap_or_else(|| "waiting".into())
            };
            format!("{}: {word}", c.name)
        })
        .collect();
    format!("pod/{} {} [{}]", pod.name_any(), phase(pod), states.join(", "))
}
