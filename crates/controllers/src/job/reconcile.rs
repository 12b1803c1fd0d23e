//! Carries out the plans for Jobs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde_json::json;

use crate::api::{self, Doing as _, Result, api};
use crate::cache::{Cache, Change};
use crate::children::{self, PodControl, all};
use crate::clock::SharedClock;
use crate::events::Recorder;
use crate::job::{Backoff, Deletion, JobPlan, JobView, TRACKING_FINALIZER, facts, plan, pods};
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// The component that events name.
pub(crate) const COMPONENT: &str = "job-controller";

/// The Job controller.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) jobs: Arc<Cache<Job>>,
    pub(crate) pods: Arc<Cache<Pod>>,
    control: PodControl,
    pub(crate) clock: SharedClock,
    memories: Mutex<BTreeMap<Key, Memory>>,
}

/// What is kept of a Job between passes. All of it may be lost.
#[derive(Debug, Clone, Default)]
struct Memory {
    uid: String,
    backoff: Backoff,
}

impl Controller {
    pub(crate) fn new(
        client: Client,
        jobs: Arc<Cache<Job>>,
        pods: Arc<Cache<Pod>>,
        recorder: Recorder,
        clock: SharedClock,
        seed: u64,
    ) -> Self {
        let control = PodControl::new(client.clone(), Arc::clone(&pods), recorder, seed);
        Self { client, jobs, pods, control, clock, memories: Mutex::default() }
    }

    /// Looks at a Job once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(job) = self.jobs.get(&key) else {
            self.memories().remove(&key);
            return Ok(Next::Idle);
        };
        let plan = self.plan(&key, &job, true);
        let Err(error) = self.execute(&job, &plan).await else {
            return Ok(if plan.is_settled() { Next::at(plan.wake_at) } else { Next::Again });
        };
        if api::is_conflict(&error.source) {
            // Somebody else wrote first; the cache has been brought up to date.
            return Ok(Next::Again);
        }
        if !(plan.delete.is_empty() && plan.create.is_empty()) {
            // The status shall say what came of it even if the next attempts fail too.
            let plan = self.plan(&key, &job, false);
            self.execute(&job, &plan).await?;
        }
        Err(error)
    }

    fn plan(&self, key: &Key, job: &Job, manage: bool) -> JobPlan {
        let uid = meta::uid(&job.metadata);
        let mut pods = self.pods.controlled_by(uid);
        pods.extend(self.pods.without_controller(&key.namespace));
        let backoff = self.memory(key, uid).backoff;
        let plan = plan(&JobView { job, pods: &pods, backoff: &backoff, now: self.clock.now(), manage });
        if facts::finished(job).is_some() {
            self.memories().remove(key);
        } else if let Some(memory) = self.memories().get_mut(key) {
            memory.backoff = plan.backoff.clone();
        }
        plan
    }

    /// The memory of this very Job, not of an earlier one of the same name.
    fn memory(&self, key: &Key, uid: &str) -> Memory {
        let mut memories = self.memories();
        let memory = memories.entry(key.clone()).or_default();
        if memory.uid != uid {
            *memory = Memory { uid: uid.to_owned(), backoff: Backoff::default() };
        }
        memory.clone()
    }

    fn memories(&self) -> MutexGuard<'_, BTreeMap<Key, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn execute(&self, job: &Job, plan: &JobPlan) -> Result<()> {
        if !plan.adopt.is_empty() {
            self.adopt_all(job, &plan.adopt).await?;
        }
        for pod in &plan.release {
            self.release(job, pod).await?;
        }
        all(plan.delete.iter().map(|deletion| self.delete(job, deletion).boxed()).collect()).await?;
        self.control
            .create_all(job, plan.create.len(), &|at, suffix| pods::build(job, &plan.create[at], suffix))
            .await?;
        if let Some(status) = &plan.status {
            let new = Job { status: Some(status.clone()), ..job.clone() };
            children::write_status(&self.client, &self.jobs, &new).await?;
        }
        all(plan.untrack.iter().map(|pod| self.untrack(pod).boxed()).collect()).await?;
        plan.notes.iter().for_each(|note| self.control.recorder.record(job, note.clone()));
        Ok(())
    }

    async fn untrack(&self, pod: &Pod) -> Result<()> {
        api::remove_finalizer(&self.client, &self.pods, pod, TRACKING_FINALIZER).await
    }

    // ---- Adoption -----------------------------------------------------------------------------

    /// Adopts pods after a look at the Job itself: the cache may be late about its deletion.
    async fn adopt_all(&self, job: &Job, strangers: &[Arc<Pod>]) -> Result<()> {
        let fresh = api::refresh(&self.client, &self.jobs, job).await?;
        if fresh.is_none_or(|fresh| meta::is_deleting(&fresh.metadata)) {
            return Ok(());
        }
        let owner = meta::controller_reference("batch/v1", "Job", &job.metadata);
        for pod in strangers {
            let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
            owners.push(owner.clone());
            let mut finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
            if !facts::is_tracked(pod) {
                finalizers.push(TRACKING_FINALIZER.to_owned());
            }
            let metadata = json!({ "ownerReferences": owners, "finalizers": finalizers });
            children::rewrite(&self.client, &self.pods, pod.as_ref(), metadata).await?;
        }
        Ok(())
    }

    async fn release(&self, job: &Job, pod: &Pod) -> Result<()> {
        let uid = meta::uid(&job.metadata);
        let owners: Vec<_> = meta::owners(&pod.metadata).iter().filter(|owner| owner.uid != uid).collect();
        let finalizers: Vec<_> =
            pod.metadata.finalizers.iter().flatten().filter(|f| *f != TRACKING_FINALIZER).collect();
        let metadata = json!({ "ownerReferences": owners, "finalizers": finalizers });
        children::rewrite(&self.client, &self.pods, pod, metadata).await
    }

    // ---- Pods ---------------------------------------------------------------------------------

    async fn delete(&self, job: &Job, deletion: &Deletion) -> Result<()> {
        if deletion.uncounted {
            self.untrack(&deletion.pod).await?;
        }
        self.control.delete(job, &deletion.pod).await
    }

    // ---- Pods without a Job -------------------------------------------------------------------

    /// Takes the tracking finalizer from a pod whose Job is gone (S9-19).
    pub(crate) async fn orphan_pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(pod) = self.pods.get(&key).filter(|pod| facts::is_tracked(pod)) else { return Ok(Next::Idle) };
        if !self.has_job(&pod).await? {
            self.untrack(&pod).await?;
        }
        Ok(Next::Idle)
    }

    async fn has_job(&self, pod: &Pod) -> Result<bool> {
        let Some(owner) = meta::controller(&pod.metadata) else {
            return Ok(!self.adopters(pod).is_empty());
        };
        if owner.kind != "Job" {
            return Ok(false);
        }
        let key = Key::new(meta::namespace(&pod.metadata), &owner.name);
        let job = api::<Job>(&self.client, &key.namespace).get_opt(&key.name).await.doing("reading job", &key)?;
        Ok(job.is_some_and(|job| meta::uid(&job.metadata) == owner.uid))
    }

    /// Jobs that would adopt the pod.
    fn adopters(&self, pod: &Pod) -> Vec<Key> {
        let wants = |job: &Arc<Job>| {
            let selector = job.spec.as_ref().and_then(facts::selector);
            let selects = selector.is_some_and(|s| s.matches_map(pod.metadata.labels.as_ref()));
            let open = !meta::is_deleting(&job.metadata) && facts::finished(job).is_none();
            selects && open && job.metadata.namespace == pod.metadata.namespace
        };
        self.jobs.all().iter().filter(|job| wants(job)).map(|job| Key::of(&job.metadata)).collect()
    }

    // ---- Triggers -----------------------------------------------------------------------------

    /// Queues what a change of a pod touches.
    pub(crate) fn pod_changed(&self, change: &Change<'_, Pod>, jobs: &Queue<Key>, orphans: &Queue<Key>) {
        for pod in [change.old, change.new].into_iter().flatten() {
            if let Some(owner) = meta::controller(&pod.metadata).filter(|owner| owner.kind == "Job") {
                jobs.add(Key::new(meta::namespace(&pod.metadata), &owner.name));
            }
        }
        let Some(pod) = change.new else { return };
        match meta::controller(&pod.metadata) {
            None => self.adopters(pod).into_iter().for_each(|key| jobs.add(key)),
            Some(owner) if self.knows_job(pod, &owner.name, &owner.uid) => return,
            Some(_) => {}
        }
        if facts::is_tracked(pod) {
            orphans.add(Key::of(&pod.metadata));
        }
    }

    fn knows_job(&self, pod: &Pod, name: &str, uid: &str) -> bool {
        let job = self.jobs.get(&Key::new(meta::namespace(&pod.metadata), name));
        job.is_some_and(|job| meta::uid(&job.metadata) == uid)
    }

    /// Queues a Job that changed, and what the end of a Job leaves behind.
    pub(crate) fn job_changed(&self, change: &Change<'_, Job>, jobs: &Queue<Key>, orphans: &Queue<Key>) {
        if let Some(job) = change.old.or(change.new) {
            jobs.add(Key::of(&job.metadata));
        }
        let Some(job) = change.old.filter(|_| change.new.is_none()) else { return };
        for pod in self.pods.controlled_by(meta::uid(&job.metadata)) {
            if facts::is_tracked(&pod) {
                orphans.add(Key::of(&pod.metadata));
            }
        }
    }
}
