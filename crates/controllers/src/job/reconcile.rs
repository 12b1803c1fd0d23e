//! Carries out the plans for Jobs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;

use crate::api::{self, Doing as _, Result, api, cause};
use crate::cache::{Cache, Change};
use crate::clock::SharedClock;
use crate::events::{Note, Recorder};
use crate::job::{Backoff, Deletion, JobPlan, JobView, NewPod, TRACKING_FINALIZER, facts, plan, pods};
use crate::meta::{self, Key};
use crate::queue::{Next, Queue};

/// The component that events name.
pub(crate) const COMPONENT: &str = "job-controller";

/// Calls to the API that one pass makes at a time.
const CALLS: usize = 32;

/// Names tried for one pod before the pass is given up.
const NAME_ATTEMPTS: usize = 5;

/// The Job controller.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) jobs: Arc<Cache<Job>>,
    pub(crate) pods: Arc<Cache<Pod>>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: SharedClock,
    pub(crate) seed: u64,
    memories: Mutex<BTreeMap<Key, Memory>>,
}

/// What is kept of a Job between passes. All of it may be lost.
#[derive(Debug, Clone, Default)]
struct Memory {
    uid: String,
    backoff: Backoff,
    /// Pods created so far; makes names unique.
    serial: u64,
}

impl Controller {
    pub(crate) const fn new(
        client: Client,
        jobs: Arc<Cache<Job>>,
        pods: Arc<Cache<Pod>>,
        recorder: Recorder,
        clock: SharedClock,
        seed: u64,
    ) -> Self {
        Self { client, jobs, pods, recorder, clock, seed, memories: Mutex::new(BTreeMap::new()) }
    }

    /// Looks at a Job once.
    pub(crate) async fn pass(self: Arc<Self>, key: Key) -> Result<Next> {
        let Some(job) = self.jobs.get(&key) else {
            self.memories().remove(&key);
            return Ok(Next::Idle);
        };
        let plan = self.plan(&key, &job, true);
        let Err(error) = self.execute(&key, &job, &plan).await else {
            return Ok(if plan.is_settled() { Next::at(plan.wake_at) } else { Next::Again });
        };
        if api::is_conflict(&error.source) {
            // Somebody else wrote first; the cache has been brought up to date.
            return Ok(Next::Again);
        }
        if !(plan.delete.is_empty() && plan.create.is_empty()) {
            // The status shall say what came of it even if the next attempts fail too.
            let plan = self.plan(&key, &job, false);
            self.execute(&key, &job, &plan).await?;
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
            *memory = Memory { uid: uid.to_owned(), ..Memory::default() };
        }
        memory.clone()
    }

    fn memories(&self) -> MutexGuard<'_, BTreeMap<Key, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn execute(&self, key: &Key, job: &Job, plan: &JobPlan) -> Result<()> {
        if !plan.adopt.is_empty() {
            self.adopt_all(job, &plan.adopt).await?;
        }
        for pod in &plan.release {
            self.release(job, pod).await?;
        }
        all(plan.delete.iter().map(|deletion| self.delete(job, deletion).boxed()).collect()).await?;
        self.create_all(key, job, &plan.create).await?;
        if let Some(status) = &plan.status {
            self.write_status(key, job, status).await?;
        }
        all(plan.untrack.iter().map(|pod| self.untrack(pod).boxed()).collect()).await?;
        plan.notes.iter().for_each(|note| self.recorder.record(job, note.clone()));
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
            self.patch_claim(pod, &json!(owners), &json!(finalizers)).await?;
        }
        Ok(())
    }

    async fn release(&self, job: &Job, pod: &Pod) -> Result<()> {
        let uid = meta::uid(&job.metadata);
        let owners: Vec<_> = meta::owners(&pod.metadata).iter().filter(|owner| owner.uid != uid).collect();
        let finalizers: Vec<_> =
            pod.metadata.finalizers.iter().flatten().filter(|f| *f != TRACKING_FINALIZER).collect();
        self.patch_claim(pod, &json!(owners), &json!(finalizers)).await
    }

    /// The version makes it fail if the pod has changed since the decision.
    async fn patch_claim(&self, pod: &Pod, owners: &serde_json::Value, finalizers: &serde_json::Value) -> Result<()> {
        let key = Key::of(&pod.metadata);
        let metadata = json!({
            "uid": pod.metadata.uid,
            "resourceVersion": pod.metadata.resource_version,
            "ownerReferences": owners,
            "finalizers": finalizers,
        });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        match api::<Pod>(&self.client, &key.namespace).patch(&key.name, &PatchParams::default(), &patch).await {
            Ok(patched) => self.pods.apply(patched),
            Err(error) if api::is_conflict(&error) || api::is_not_found(&error) => {
                api::refresh(&self.client, &self.pods, pod).await?;
            }
            Err(error) => return Err(error).doing("claiming", &key),
        }
        Ok(())
    }

    // ---- Pods ---------------------------------------------------------------------------------

    async fn delete(&self, job: &Job, deletion: &Deletion) -> Result<()> {
        let pod = &deletion.pod;
        let deleted = self.untrack_and_delete(pod, deletion.uncounted).await;
        match &deleted {
            Ok(true) => {
                let message = format!("Deleted pod: {}", meta::name(&pod.metadata));
                self.recorder.record(job, Note::normal("SuccessfulDelete", message));
            }
            Ok(false) => {}
            Err(error) => {
                let message = format!("Error deleting: {}", cause(&error.source));
                self.recorder.record(job, Note::warning("FailedDelete", message));
            }
        }
        deleted.map(drop)
    }

    async fn untrack_and_delete(&self, pod: &Arc<Pod>, uncounted: bool) -> Result<bool> {
        if uncounted {
            self.untrack(pod).await?;
        }
        api::delete(&self.client, &self.pods, pod.as_ref(), PropagationPolicy::Background).await
    }

    /// Creates pods in batches of 1, 2, 4, …: if creation fails for a reason that all share, few
    /// calls find that out (S9-14).
    async fn create_all(&self, key: &Key, job: &Job, new: &[NewPod]) -> Result<()> {
        let (mut left, mut batch) = (new, 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(batch));
            all(now.iter().map(|new| self.create(key, job, new).boxed()).collect()).await?;
            (left, batch) = (later, batch * 2);
        }
        Ok(())
    }

    async fn create(&self, key: &Key, job: &Job, new: &NewPod) -> Result<()> {
        match self.create_named(key, job, new).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", meta::name(&pod.metadata));
                self.pods.apply(pod);
                self.recorder.record(job, Note::normal("SuccessfulCreate", message));
                Ok(())
            }
            Err(error) if api::is_namespace_terminating(&error.source) => Err(error),
            Err(error) => {
                let message = format!("Error creating: {}", cause(&error.source));
                self.recorder.record(job, Note::warning("FailedCreate", message));
                Err(error)
            }
        }
    }

    /// Creates a pod under a fresh name. An attempt whose outcome is unknown is repeated under the
    /// same name, so that it cannot make two pods.
    async fn create_named(&self, key: &Key, job: &Job, new: &NewPod) -> Result<Pod> {
        let pods = api::<Pod>(&self.client, &key.namespace);
        let mut pod = pods::build(job, new, &self.next_suffix(key, job));
        let mut uncertain = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match pods.create(&PostParams::default(), &pod).await {
                Ok(created) => return Ok(created),
                Err(error) => error,
            };
            let name = Key::of(&pod.metadata);
            let repeat = api::is_conflict(&error) || api::is_ambiguous(&error);
            if attempt >= NAME_ATTEMPTS || !repeat {
                return Err(error).doing("creating pod", &name);
            }
            if api::is_conflict(&error) {
                // After an attempt with unknown outcome this is that attempt's pod.
                if let Some(own) = self.own_pod(job, &name).await?.filter(|_| uncertain) {
                    return Ok(own);
                }
                pod = pods::build(job, new, &self.next_suffix(key, job));
            }
            uncertain = api::is_ambiguous(&error);
        }
    }

    /// The pod of that name, if it is the Job's.
    async fn own_pod(&self, job: &Job, name: &Key) -> Result<Option<Pod>> {
        let found = api::<Pod>(&self.client, &name.namespace).get_opt(&name.name).await.doing("reading pod", name)?;
        Ok(found.filter(|pod| meta::is_controlled_by(&pod.metadata, meta::uid(&job.metadata))))
    }

    fn next_suffix(&self, key: &Key, job: &Job) -> String {
        let mut memories = self.memories();
        let memory = memories.entry(key.clone()).or_default();
        memory.serial += 1;
        pods::suffix(self.seed, meta::uid(&job.metadata), memory.serial)
    }

    // ---- Status -------------------------------------------------------------------------------

    async fn write_status(&self, key: &Key, job: &Job, status: &JobStatus) -> Result<()> {
        let new = Job { status: Some(status.clone()), ..job.clone() };
        match api::<Job>(&self.client, &key.namespace).replace_status(&key.name, &PostParams::default(), &new).await {
            Ok(written) => {
                self.jobs.apply(written);
                Ok(())
            }
            Err(error) => {
                if api::is_conflict(&error) || api::is_not_found(&error) {
                    api::refresh(&self.client, &self.jobs, job).await?;
                }
                Err(error).doing("writing the status of job", key)
            }
        }
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

/// Makes calls side by side; completes them all, and returns the first error.
async fn all(calls: Vec<BoxFuture<'_, Result<()>>>) -> Result<()> {
    let outcomes: Vec<Result<()>> = stream::iter(calls).buffer_unordered(CALLS).collect().await;
    outcomes.into_iter().collect()
}
