//! The start of one container: back-off, image, creation, process, postStart hook (contract S2-08, S2-11,
//! S7-01 to S7-05; kubelet `kuberuntime_container.go` `startContainer`).

use std::time::Duration;

use crate::{
    ContainerIdx, ContainerView, ContainerViewState, Effect, EffectId, EventType, Failure, HookKind, HookOutcome,
    MomentKind, MonoTime, PodMachine, PulledImage, Role, StopReason, Timer,
    container::Instance,
    machine::Purpose,
    plan::ImageNeed,
    restart::{MAX_DELAY, go_duration},
    sync::{Active, ERROR_RETRY},
};

/// The start going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Starting {
    pub(crate) container: ContainerIdx,
    pub(crate) stage: StartStage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartStage {
    Image {
        effect: EffectId,
        /// Place among the images that the container needs.
        position: usize,
    },
    /// The instance is being made, then begun.
    Create,
    PostStart(EffectId),
    /// The hook has failed; the container is being stopped for it.
    HookKill(Failure),
}

impl PodMachine {
    pub(crate) fn begin_start(&mut self, idx: ContainerIdx, last_exit: Option<MonoTime>) {
        let container = &mut self.containers[idx.index()];
        container.wake = None;
        container.crash_before = container.crash.clone();
        if let Some(event) = last_exit
            && self.crash_back_off(idx, event)
        {
            return;
        }
        self.ensure_image(idx, 0);
    }

    /// Makes the images present that a container needs, one after the other; then it is created.
    fn ensure_image(&mut self, idx: ContainerIdx, position: usize) {
        let Some(need) = self.plan.images(idx).into_iter().nth(position) else { return self.create_container(idx) };
        if self.image_back_off(idx, &need) {
            return;
        }
        let effect = Effect::EnsureImage { container: idx, volume: need.volume };
        let effect = self.run(effect, Purpose::Image(idx));
        self.starting(idx, StartStage::Image { effect, position });
    }

    fn starting(&mut self, container: ContainerIdx, stage: StartStage) {
        self.job = Some(Active::Starting(Starting { container, stage }));
    }

    fn stage_of(&self, idx: ContainerIdx) -> Option<&StartStage> {
        match &self.job {
            Some(Active::Starting(starting)) if starting.container == idx => Some(&starting.stage),
            Some(_) | None => None,
        }
    }

    /// Returns whether a crash back-off holds the container (contract S3-21, S3-26; kubelet `doBackOff`).
    fn crash_back_off(&mut self, idx: ContainerIdx, event: MonoTime) -> bool {
        // S3-20: another image and other resources start afresh.
        let plan = self.plan.container(idx);
        let key = format!("{} {:?}", plan.image(), plan.spec.resources);
        let now = self.now;
        let container = &mut self.containers[idx.index()];
        let Some((delay, until)) = container.crash.window(&key, event, now.mono, self.longest_back_off) else {
            container.crash.advance(&key, event, now.mono);
            return false;
        };
        container.wake = Some((until, Timer::Backoff(idx)));
        let first = container.told.replace(until) != Some(until);
        let name = self.plan.container(idx).name().to_owned();
        let pod = self.plan.full_name();
        let message = format!("back-off {} restarting failed container={name} pod={pod}", go_duration(delay));
        let judged_by_newest = self.containers[idx.index()].newest_dead().is_none_or(|i| i.finished == Some(event));
        if first {
            let text = format!("Back-off restarting failed container {name} in pod {pod}");
            self.event(Some(idx), EventType::Warning, "BackOff", text);
        }
        if first && judged_by_newest {
            self.moment(now.wall, Some(idx), MomentKind::BackOff { delay: until - now.mono });
        }
        self.start_blocked(idx, Failure { reason: "CrashLoopBackOff".to_owned(), message });
        true
    }

    /// Returns whether an image back-off holds the container (contract S3-31, S12-04; kubelet
    /// `image_manager.go`).
    fn image_back_off(&mut self, idx: ContainerIdx, need: &ImageNeed) -> bool {
        let image = &need.image;
        let Some((back_off, failed, cause)) = self.images.get(image) else { return false };
        let Some((_, until)) = back_off.window(image, *failed, self.now.mono, MAX_DELAY) else { return false };
        let text = format!("Back-off pulling image {image:?}");
        let message = format!("{text}: {cause}");
        let container = &mut self.containers[idx.index()];
        container.wake = Some((until, Timer::ImageBackoff(idx)));
        if container.told.replace(until) != Some(until) {
            self.event(need.told_of(idx), EventType::Normal, "BackOff", text);
            self.event(Some(idx), EventType::Warning, "Failed", "Error: ImagePullBackOff");
        }
        self.start_blocked(idx, Failure { reason: "ImagePullBackOff".to_owned(), message });
        true
    }

    pub(crate) fn image_ensured(&mut self, idx: ContainerIdx, result: Result<PulledImage, Failure>) {
        let Some(&StartStage::Image { position, .. }) = self.stage_of(idx) else { return };
        let Some(need) = self.plan.images(idx).into_iter().nth(position) else { return };
        match result {
            Ok(pulled) => {
                let text = pulled_message(&need.image, &pulled);
                self.event(need.told_of(idx), EventType::Normal, "Pulled", text);
                self.ensure_image(idx, position + 1);
            }
            Err(failure) => self.image_failed(idx, &need, failure),
        }
    }

    fn image_failed(&mut self, idx: ContainerIdx, need: &ImageNeed, failure: Failure) {
        let (image, about) = (&need.image, need.told_of(idx));
        match failure.reason.as_str() {
            "ErrImageNeverPull" => {
                let text = format!("Container image {image:?} is not present with pull policy of Never");
                self.event(about, EventType::Warning, "ErrImageNeverPull", text); // S12-05
                self.retry_in(ERROR_RETRY);
            }
            "InvalidImageName" | "ImageInspectError" => {
                self.event(about, EventType::Warning, "InspectFailed", failure.message.clone()); // S12-05
                self.retry_in(ERROR_RETRY);
            }
            _ => {
                let text = format!("Failed to pull image {image:?}: {}", failure.message);
                self.event(about, EventType::Warning, "Failed", text); // S12-04
                let now = self.now.mono;
                let cause = format!("{}: {}", failure.reason, failure.message);
                let entry = self.images.entry(image.clone()).or_default();
                entry.0.advance(image, now, now);
                (entry.1, entry.2) = (now, cause);
                self.dirty = true; // the next pass shows the back-off
            }
        }
        self.event(Some(idx), EventType::Warning, "Failed", format!("Error: {}", failure.reason));
        self.start_failed(idx, failure);
    }

    fn create_container(&mut self, idx: ContainerIdx) {
        let Some(sandbox) = self.sandbox.ready().map(|view| view.id.clone()) else {
            // Lost meanwhile; the next pass makes another. This attempt does not count.
            let container = &mut self.containers[idx.index()];
            container.crash = container.crash_before.clone();
            self.job = None;
            return self.abort_pass();
        };
        let container = &mut self.containers[idx.index()];
        container.creating = self.plan.container(idx).spec.resources.clone();
        let attempt = container.next_attempt;
        self.run(Effect::CreateContainer { container: idx, sandbox, attempt }, Purpose::Create(idx));
        self.starting(idx, StartStage::Create);
    }

    pub(crate) fn container_created(&mut self, idx: ContainerIdx, result: Result<String, Failure>) {
        match result {
            Ok(id) => {
                if self.instance_id(idx).as_ref() != Some(&id) {
                    let view = self.fresh_view(idx, id.clone());
                    self.adopt(view);
                }
                self.event(Some(idx), EventType::Normal, "Created", "Container created"); // S12-06
                if !self.wants_more() {
                    self.job = None;
                    return;
                }
                self.run(Effect::StartContainer { container: idx, id }, Purpose::Start(idx));
            }
            Err(failure) => {
                self.event(Some(idx), EventType::Warning, "Failed", format!("Error: {}", failure.message)); // S12-07
                self.retry_in(ERROR_RETRY);
                self.start_failed(idx, failure);
            }
        }
    }

    /// What is known of an instance when only its id is.
    fn fresh_view(&self, idx: ContainerIdx, id: String) -> ContainerView {
        let plan = self.plan.container(idx);
        ContainerView {
            container: idx,
            id,
            sandbox: self.sandbox.newest().map(|view| view.id.clone()).unwrap_or_default(),
            attempt: self.containers[idx.index()].next_attempt,
            image: plan.image().to_owned(),
            image_id: String::new(),
            spec_hash: plan.spec_hash(),
            created_at: self.now.wall,
            user: None,
            state: ContainerViewState::Created,
        }
    }

    /// Makes an instance the current one.
    pub(crate) fn adopt(&mut self, view: ContainerView) {
        let idx = view.container;
        let created_at = view.created_at;
        let now = self.now;
        let container = &mut self.containers[idx.index()];
        let unneeded = container.retire();
        container.next_attempt = view.attempt.saturating_add(1);
        (container.reset, container.reset_exit) = (false, None);
        let state = view.state.clone();
        let created = Instance::new(ContainerView { state: ContainerViewState::Created, ..view.clone() }, now);
        container.current = Some(Instance { resources: container.creating.take(), ..created });
        self.moment(created_at, Some(idx), MomentKind::Created);
        if let Some(old) = unneeded {
            let effect = Effect::RemoveContainer { container: idx, id: old.view.id };
            self.run(effect, Purpose::Remove);
        }
        self.observe(ContainerView { state, ..view });
    }

    /// Returns whether a container seen for the first time is the one being created.
    pub(crate) fn is_being_created(&self, view: &ContainerView) -> bool {
        let expected = self.containers[view.container.index()].next_attempt;
        self.stage_of(view.container) == Some(&StartStage::Create) && view.attempt == expected
    }

    pub(crate) fn container_started(&mut self, idx: ContainerIdx, result: Result<ContainerView, Failure>) {
        match result {
            Ok(view) => {
                self.observe(view);
                self.event(Some(idx), EventType::Normal, "Started", "Container started"); // S12-06
                self.begin_post_start(idx);
            }
            Err(failure) => {
                self.note_start_error(idx, &failure);
                self.event(Some(idx), EventType::Warning, "Failed", format!("Error: {}", failure.message)); // S12-07
                self.start_failed(idx, failure);
            }
        }
    }

    /// A process that could not be started leaves an instance that has exited (contract S5-06).
    fn note_start_error(&mut self, idx: ContainerIdx, failure: &Failure) {
        let Some(instance) = self.containers[idx.index()].current.as_ref() else { return };
        let state = ContainerViewState::Exited {
            started_at: None,
            finished_at: self.now.wall,
            exit_code: START_ERROR_CODE,
            reason: "StartError".to_owned(),
            message: failure.message.clone(),
        };
        let view = ContainerView { state, ..instance.view.clone() };
        self.observe(view);
    }

    fn begin_post_start(&mut self, idx: ContainerIdx) {
        let has_hook = self.plan.container(idx).hook(HookKind::PostStart).is_some();
        let running = self.containers[idx.index()].is_running();
        let Some(id) = self.instance_id(idx).filter(|_| has_hook && running && self.wants_more()) else {
            return self.start_succeeded(idx);
        };
        // S7-02: no limit.
        let effect = Effect::RunHook { container: idx, id, hook: HookKind::PostStart, limit: None };
        let effect = self.run(effect, Purpose::Hook(idx, HookKind::PostStart));
        self.moment(self.now.wall, Some(idx), MomentKind::HookStarted(HookKind::PostStart));
        self.starting(idx, StartStage::PostStart(effect));
    }

    pub(crate) fn post_start_ended(&mut self, idx: ContainerIdx, outcome: HookOutcome) {
        let hook = HookKind::PostStart;
        self.moment(self.now.wall, Some(idx), MomentKind::HookEnded { hook, ok: outcome == HookOutcome::Succeeded });
        match outcome {
            HookOutcome::Succeeded => self.start_succeeded(idx),
            HookOutcome::Failed { message } => self.post_start_failed(idx, message),
        }
    }

    /// S7-03: the container is stopped, with its preStop hook and the pod's grace.
    fn post_start_failed(&mut self, idx: ContainerIdx, message: String) {
        self.event(Some(idx), EventType::Warning, "FailedPostStartHook", "PostStartHook failed"); // S12-11
        let failure = Failure { reason: "PostStartHookError".to_owned(), message };
        if !self.containers[idx.index()].is_running() {
            return self.start_failed(idx, failure);
        }
        self.starting(idx, StartStage::HookKill(failure));
        self.begin_kill(idx, self.plan.grace, StopReason::PostStartHook, "FailedPostStartHook".to_owned());
    }

    /// A container has ended under its postStart hook: a command inside it has ended with it.
    pub(crate) fn start_saw_exit(&mut self, idx: ContainerIdx) {
        let Some(&StartStage::PostStart(effect)) = self.stage_of(idx) else { return };
        self.cancel(effect);
        let is_exec = self.plan.container(idx).hook(HookKind::PostStart).is_some_and(|hook| hook.exec.is_some());
        let hook = HookKind::PostStart;
        self.moment(self.now.wall, Some(idx), MomentKind::HookEnded { hook, ok: !is_exec });
        if is_exec {
            self.post_start_failed(idx, "container ended before the hook did".to_owned());
        } else {
            self.start_succeeded(idx);
        }
    }

    fn start_succeeded(&mut self, idx: ContainerIdx) {
        self.containers[idx.index()].blocked = None;
        self.job = None;
    }

    pub(crate) fn start_failed(&mut self, idx: ContainerIdx, failure: Failure) {
        let Failure { reason, message } = failure.clone();
        self.moment(self.now.wall, Some(idx), MomentKind::StartFailed { reason, message });
        self.start_blocked(idx, failure);
    }

    /// The start ends here. After a plain init container nothing else of the pass is done (contract S2-13);
    /// a sidecar or a main container holds nobody back (contract S2-12, S2-14).
    fn start_blocked(&mut self, idx: ContainerIdx, failure: Failure) {
        self.containers[idx.index()].blocked = Some(failure);
        self.job = None;
        if self.plan.container(idx).role == Role::Init {
            self.abort_pass();
        }
    }
}

impl ImageNeed {
    /// Returns whom events tell of the image: the container if it is its own, else the pod.
    fn told_of(&self, idx: ContainerIdx) -> Option<ContainerIdx> {
        self.volume.is_none().then_some(idx)
    }
}

fn pulled_message(image: &str, pulled: &PulledImage) -> String {
    match pulled.pulled {
        None => format!("Container image {image:?} already present on machine and can be accessed by the pod"),
        Some((took, size)) => {
            let took = pull_time(took);
            format!(
                "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
            )
        }
    }
}

/// Formats a pull's time as Go does, to the millisecond.
fn pull_time(took: Duration) -> String {
    let millis = took.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = format!("{}.{:03}", millis / 1000 % 60, millis % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match millis / 60_000 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{seconds}s"),
    }
}

/// Exit code of a process that could not be started (contract S5-06).
const START_ERROR_CODE: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_03_the_time_of_a_pull_looks_like_gos() {
        let texts =
            [0, 999, 1000, 1250, 59_999, 60_000, 61_500, 3_600_000].map(|ms| pull_time(Duration::from_millis(ms)));
        assert_eq!(texts, ["0ms", "999ms", "1s", "1.25s", "59.999s", "1m0s", "1m1.5s", "60m0s"]);
    }
}
