//! Restart counts, and what is made of the runtime's records and news (contract S3-09, S3-51, S3-56, S5-14).

use std::{sync::Arc, time::Duration};

use expect_test::expect;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, PodCondition, PodStatus,
    ResourceRequirements,
};
use pod_lifecycle::{
    ContainerView, ContainerViewState, Effect, EffectId, EffectResult, Input, MomentKind, MonoTime, Now, Output,
    PodMachine, PodPlan, PulledImage, RuntimeView, SandboxView, Timestamp,
};
use testkit::engine::{check, pod, pod_from_yaml};

#[test]
fn s3_09_a_count_goes_on_from_the_instance_before_also_when_its_record_is_gone() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: runs 1s, exits 1
at 13s agent restarts
at 14s records of app lost
until 50s
show Running
",
        expect![[r#"
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(1)
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #2 last=Error(1)
            13.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #3 last=Error(1)
            24.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #4 last=Error(1)
            45.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #5 last=Error(1)
        "#]],
    );
}

/// A machine that an agent comes back to, with all that it has said so far.
struct Found {
    machine: PodMachine,
    said: Vec<Output>,
}

impl Found {
    /// Finds a pod as `status` and these instances: container, attempt, sandbox, state. There were two sandboxes, `old`
    /// and `new`.
    fn new(yaml: &str, status: &PodStatus, instances: &[(&str, u32, &str, ContainerViewState)]) -> Self {
        Self::in_sandboxes(yaml, status, &[("new", 1, true), ("old", 0, false)], instances)
    }

    fn in_sandboxes(
        yaml: &str,
        status: &PodStatus,
        sandboxes: &[(&str, u32, bool)],
        instances: &[(&str, u32, &str, ContainerViewState)],
    ) -> Self {
        let plan = PodPlan::from_pod(&Arc::new(pod_from_yaml(yaml))).expect("a pod");
        let view = |(name, attempt, sandbox, state): &(&str, u32, &str, ContainerViewState)| {
            view(&plan, name, *attempt, sandbox, state.clone())
        };
        let sandbox = |&(id, attempt, ready): &(&str, u32, bool)| SandboxView {
            id: id.into(),
            attempt,
            ready,
            ips: Vec::new(),
            created_at: Timestamp(1),
        };
        let containers = instances.iter().map(view).collect();
        let seen = RuntimeView { sandboxes: sandboxes.iter().map(sandbox).collect(), containers };
        let machine = PodMachine::restore(plan, status, seen, now(60), 1);
        let mut found = Self { machine, said: Vec::new() };
        found.listen();
        found
    }

    fn listen(&mut self) {
        loop {
            let output = self.machine.poll();
            if matches!(output, Output::Wait(_)) {
                return;
            }
            self.said.push(output);
        }
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(now(60), input);
        self.listen();
    }

    /// Answers the last effect that was asked for.
    fn answer(&mut self, result: EffectResult) {
        let last = self
            .said
            .iter()
            .rev()
            .find_map(|output| if let Output::Run { id, .. } = output { Some(*id) } else { None });
        self.tell(Input::Done { effect: last.expect("an effect"), result });
    }

    /// Prepares volumes, and images as they are asked for. Returns the effects that were asked for.
    fn effects(&mut self) -> String {
        self.answer(EffectResult::Volumes(Ok(())));
        while let Some(Output::Run { effect: Effect::EnsureImage { .. }, .. }) = self.last_effect() {
            self.answer(EffectResult::Image(Ok(PulledImage { pulled: None })));
        }
        let plan = self.machine.plan();
        let text = self.said.iter().filter_map(|output| {
            let Output::Run { effect, .. } = output else { return None };
            if let Effect::CreateContainer { container, sandbox, attempt } = effect {
                return Some(format!("create {} #{attempt} in {sandbox}", plan.container(*container).name()));
            }
            if let Effect::CreateSandbox { attempt } = effect {
                return Some(format!("create sandbox {attempt}"));
            }
            matches!(effect, Effect::Resize { .. }).then(|| "resize".to_owned())
        });
        text.collect::<Vec<_>>().join(", ")
    }

    fn last_effect(&self) -> Option<&Output> {
        self.said.iter().rev().find(|output| matches!(output, Output::Run { .. }))
    }

    fn moments(&self) -> Vec<&MomentKind> {
        let moments = self
            .said
            .iter()
            .filter_map(|output| if let Output::Moment(moment) = output { Some(&moment.kind) } else { None });
        moments.collect()
    }
}

fn now(seconds: i64) -> Now {
    let mono = MonoTime(Duration::from_secs(seconds.unsigned_abs()));
    Now { mono, wall: Timestamp(seconds * 1_000_000_000) }
}

fn view(plan: &PodPlan, name: &str, attempt: u32, sandbox: &str, state: ContainerViewState) -> ContainerView {
    let container = plan.find(name).expect("a container");
    ContainerView {
        container,
        id: format!("{name}-{attempt}"),
        sandbox: sandbox.into(),
        attempt,
        image: name.into(),
        image_id: String::new(),
        spec_hash: plan.container(container).spec_hash(),
        created_at: Timestamp(1),
        user: None,
        state,
    }
}

fn running() -> ContainerViewState {
    ContainerViewState::Running { started_at: Timestamp(1) }
}

fn ended(exit_code: i32) -> ContainerViewState {
    let (started_at, finished_at) = (Some(Timestamp(1)), Timestamp(2));
    ContainerViewState::Exited { started_at, finished_at, exit_code, reason: "Error".into(), message: String::new() }
}

#[test]
fn s5_14_s3_06_an_instance_that_was_made_and_not_begun_waits_without_a_reason_and_is_made_anew() {
    let yaml = pod("Never", &[], &["app"]);
    let mut found = Found::new(&yaml, &PodStatus::default(), &[("app", 0, "new", ContainerViewState::Created)]);
    let status = found.machine.status();
    let statuses = status.container_statuses.expect("statuses");
    let waiting = statuses[0].state.as_ref().and_then(|state| state.waiting.clone()).expect("it waits");
    assert_eq!((waiting.reason, waiting.message), (None, None));
    assert_eq!(found.effects(), "create app #1 in new");
    let mut found = Found::new(
        &pod("Never", &["i"], &["app"]),
        &PodStatus::default(),
        &[("i", 0, "new", ContainerViewState::Created)],
    );
    assert_eq!(found.effects(), "create i #1 in new");
}

#[test]
fn s5_33_a_main_that_runs_shows_that_the_pod_was_initialised_whatever_the_status_said() {
    let yaml = pod("Always", &["s1+"], &["a", "b"]);
    let found = Found::new(&yaml, &PodStatus::default(), &[("s1", 0, "new", ended(1)), ("a", 0, "new", running())]);
    let conditions = found.machine.status().conditions.expect("conditions");
    assert!(conditions.iter().any(|condition| condition.type_ == "Initialized" && condition.status == "True"));
}

#[test]
fn s3_51_what_init_containers_and_sidecars_did_in_an_older_sandbox_does_not_count() {
    let yaml = pod("Always", &["i", "s1+"], &["app"]);
    let of = |instances: &[_]| Found::new(&yaml, &PodStatus::default(), instances).effects();
    assert_eq!(of(&[("i", 0, "old", ended(0))]), "create i #1 in new");
    assert_eq!(of(&[("i", 0, "new", ended(0)), ("s1", 0, "old", running())]), "create s1 #1 in new");
    let mut done = Found::new(
        &pod("OnFailure", &[], &["a", "b"]),
        &PodStatus::default(),
        &[("a", 0, "old", ended(0)), ("b", 0, "old", ended(0))],
    );
    assert_eq!(done.machine.status().phase.as_deref(), Some("Succeeded"), "what mains did counts");
    assert_eq!(done.effects(), "");
}

#[test]
fn s2_16_an_init_entry_is_behind_when_a_later_one_was_begun() {
    let yaml = pod("Always", &["i1", "i2"], &["app"]);
    let instances = [("i1", 0, "new", ended(1)), ("i2", 0, "new", ended(0))];
    assert_eq!(Found::new(&yaml, &PodStatus::default(), &instances).effects(), "create app #0 in new");
}

#[test]
fn s3_09_of_several_records_the_newest_counts_unless_the_status_knows_a_newer_instance() {
    let yaml = pod("Always", &[], &["app"]);
    let instances = [("app", 3, "new", ended(3)), ("app", 2, "new", ended(2))];
    let mut found = Found::new(&yaml, &PodStatus::default(), &instances);
    let shown = found.machine.status().container_statuses.expect("statuses");
    let code = |state: &Option<ContainerState>| state.as_ref()?.terminated.as_ref().map(|t| t.exit_code);
    assert_eq!((code(&shown[0].state), code(&shown[0].last_state)), (Some(3), Some(2)));
    assert_eq!(found.effects(), "create app #4 in new");
    let mut newer = PodStatus { container_statuses: Some(shown), ..PodStatus::default() };
    newer.container_statuses.iter_mut().flatten().for_each(|status| status.restart_count = 4);
    let mut found = Found::new(&yaml, &newer, &instances);
    assert_eq!(found.machine.status().container_statuses.expect("statuses")[0].restart_count, 4);
    assert_eq!(found.effects(), "create app #5 in new");
}

/// What a status says of a container that waits.
fn waiting(id: Option<&str>, reason: Option<&str>) -> PodStatus {
    let waiting = ContainerStateWaiting { reason: reason.map(Into::into), message: None };
    let status = ContainerStatus {
        name: "app".into(),
        container_id: id.map(Into::into),
        state: Some(ContainerState { waiting: Some(waiting), ..ContainerState::default() }),
        ..ContainerStatus::default()
    };
    PodStatus { container_statuses: Some(vec![status]), ..PodStatus::default() }
}

#[test]
fn s3_09_an_instance_that_was_made_and_whose_record_is_gone_counts() {
    let yaml = pod("Always", &[], &["app"]);
    assert_eq!(Found::new(&yaml, &waiting(Some("podrig://app-0"), None), &[]).effects(), "create app #1 in new");
    let never = waiting(None, Some("ContainerCreating"));
    assert_eq!(Found::new(&yaml, &never, &[]).effects(), "create app #0 in new");
    assert_eq!(Found::in_sandboxes(&yaml, &never, &[], &[]).effects(), "create sandbox 0");
}

#[test]
fn s3_50_a_sandbox_that_is_found_lost_is_made_anew() {
    let yaml = pod("Always", &[], &["app"]);
    let instances = [("app", 0, "old", ended(1))];
    let mut found = Found::in_sandboxes(&yaml, &PodStatus::default(), &[("old", 4, false)], &instances);
    assert_eq!(found.effects(), "");
    assert!(matches!(found.last_effect(), Some(Output::Run { effect: Effect::StopSandbox { .. }, .. })));
    found.answer(EffectResult::Done);
    assert!(matches!(found.last_effect(), Some(Output::Run { effect: Effect::CreateSandbox { attempt: 5 }, .. })));
}

#[test]
fn s3_43_an_instance_that_came_after_a_restart_of_all_is_judged_like_any_other() {
    let yaml = pod("Never", &[], &["app"]);
    let status = waiting(None, Some("RestartingAllContainers"));
    let found = Found::new(&yaml, &status, &[("app", 1, "new", ended(0))]);
    assert_eq!(found.machine.status().phase.as_deref(), Some("Succeeded"));
}

#[test]
fn s4_43_a_pod_deleted_while_its_volumes_are_prepared_gives_them_up() {
    let mut found = Found::new(&pod("Always", &[], &["app"]), &PodStatus::default(), &[]);
    let volumes = found.said.iter().find_map(|said| if let Output::Run { id, .. } = said { Some(*id) } else { None });
    found.tell(Input::Delete { grace: Duration::ZERO });
    assert!(found.said.contains(&Output::Cancel(volumes.expect("volumes"))));
    assert_eq!(found.machine.status().phase.as_deref(), Some("Failed"));
}

#[test]
fn s3_56_what_a_status_says_of_another_instance_does_not_go_on_to_hold() {
    let yaml = pod("Always", &[], &["app readinessProbe: {periodSeconds: 9}, resources: {limits: {cpu: 2}}"]);
    let shown = ContainerStatus {
        name: "app".into(),
        container_id: Some("podrig://app-0".into()),
        ready: true,
        started: Some(true),
        state: Some(ContainerState { running: Some(ContainerStateRunning::default()), ..ContainerState::default() }),
        resources: Some(ResourceRequirements::default()),
        ..ContainerStatus::default()
    };
    let status = PodStatus { container_statuses: Some(vec![shown]), ..PodStatus::default() };
    let ready = |found: &Found| found.machine.status().container_statuses.expect("statuses")[0].ready;
    let mut same = Found::new(&yaml, &status, &[("app", 0, "new", running())]);
    assert!(ready(&same));
    assert_eq!(same.effects(), "resize", "it has other limits than those that were granted meanwhile");
    let mut other = Found::new(&yaml, &status, &[("app", 1, "new", running())]);
    assert!(!ready(&other));
    assert_eq!(other.effects(), "", "it is taken to have what was granted");
}

/// A pod whose container is being created.
fn creating(yaml: &str) -> (Found, PodPlan) {
    let mut found = Found::new(yaml, &PodStatus::default(), &[]);
    assert_eq!(found.effects(), "create app #0 in new");
    let plan = found.machine.plan().clone();
    (found, plan)
}

#[test]
fn news_of_an_instance_may_come_before_the_answer_that_it_was_made() {
    let (mut found, plan) = creating(&pod("Always", &[], &["app"]));
    let of = |attempt, state| Input::Container(view(&plan, "app", attempt, "new", state));
    found.tell(of(5, running()));
    assert_eq!(found.machine.status().container_statuses.expect("statuses")[0].container_id, None, "not this one");
    found.tell(of(0, running()));
    found.answer(EffectResult::Created(Ok("app-0".into())));
    let kinds: Vec<_> = found.moments().into_iter().filter(|kind| !matches!(kind, MomentKind::Phase(_))).collect();
    assert_eq!(kinds, [&MomentKind::Created, &MomentKind::Started]);
    assert!(matches!(found.last_effect(), Some(Output::Run { effect: Effect::StartContainer { .. }, .. })));
    found.tell(of(5, running()));
    assert_eq!(found.moments().iter().filter(|kind| ***kind == MomentKind::Created).count(), 1, "none is awaited now");
}

#[test]
fn news_of_the_next_instance_may_come_first_too() {
    let instances = [("app", 0, "new", ended(1))];
    let mut found = Found::new(&pod("Always", &[], &["app"]), &PodStatus::default(), &instances);
    assert_eq!(found.effects(), "create app #1 in new");
    let plan = found.machine.plan().clone();
    found.tell(Input::Container(view(&plan, "app", 1, "new", running())));
    assert!(found.moments().contains(&&MomentKind::Started));
}

#[test]
fn an_end_that_is_heard_of_before_the_answer_to_the_start_counts() {
    let (mut found, plan) = creating(&pod("Never", &[], &["app lifecycle: {postStart: {exec: {command: [x]}}}"]));
    found.answer(EffectResult::Created(Ok("app-0".into())));
    found.tell(Input::Container(view(&plan, "app", 0, "new", ended(4))));
    assert!(found.moments().contains(&&MomentKind::Started));
    found.answer(EffectResult::Started(Ok(view(&plan, "app", 0, "new", running()))));
    assert!(!found.said.iter().any(|said| matches!(said, Output::Run { effect: Effect::RunHook { .. }, .. })));
    found.tell(Input::Container(view(&plan, "app", 0, "new", ended(9))));
    let exits = found.moments().iter().filter(|kind| matches!(kind, MomentKind::Exited { .. })).count();
    assert_eq!((exits, found.machine.status().phase.as_deref()), (1, Some("Failed")));
}

#[test]
fn s8_06_a_refusal_of_what_an_older_generation_asked_for_is_over() {
    let pending = |generation| PodCondition {
        type_: "PodResizePending".into(),
        status: "True".into(),
        observed_generation: Some(generation),
        ..PodCondition::default()
    };
    let shown = |generation| {
        let status = PodStatus { conditions: Some(vec![pending(generation)]), ..PodStatus::default() };
        let found = Found::new(&pod("Always", &[], &["app"]), &status, &[("app", 0, "new", running())]);
        found.machine.status().conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "PodResizePending"))
    };
    assert_eq!([shown(1), shown(7)], [true, false]);
}

#[test]
fn s3_60_news_of_an_instance_of_the_past_changes_nothing() {
    let yaml = pod("Always", &[], &["app"]);
    let mut found = Found::new(&yaml, &PodStatus::default(), &[("app", 1, "new", running())]);
    let plan = found.machine.plan().clone();
    found.tell(Input::Container(view(&plan, "app", 0, "new", ended(9))));
    found.tell(Input::Container(view(&plan, "app", 1, "new", ContainerViewState::Created)));
    found.tell(Input::Container(view(&plan, "app", 2, "new", ended(9))));
    assert!(found.machine.status().container_statuses.expect("statuses")[0].state.as_ref().unwrap().running.is_some());
    assert!(!found.moments().iter().any(|kind| matches!(kind, MomentKind::Exited { .. })));
}

#[test]
fn s3_50_older_sandboxes_are_removed_when_the_pod_ends() {
    let yaml = pod("Never", &[], &["app"]);
    let mut found = Found::new(&yaml, &PodStatus::default(), &[("app", 0, "new", ended(0))]);
    found.answer(EffectResult::Done);
    found.answer(EffectResult::Done);
    let removed = found.said.iter().filter_map(|said| {
        if let Output::Run { effect: Effect::RemoveSandbox { sandbox }, .. } = said {
            Some(sandbox.as_str())
        } else {
            None
        }
    });
    assert_eq!(removed.collect::<Vec<_>>(), ["old", "new"]);
}

#[test]
fn s4_01_nothing_is_said_or_noted_after_the_end() {
    let mut pod = pod_from_yaml(&pod("Never", &[], &["app"]));
    pod.metadata.deletion_timestamp = Some(Timestamp(1).to_k8s());
    let plan = PodPlan::from_pod(&Arc::new(pod)).expect("a pod");
    let mut found = Found { machine: PodMachine::new(plan, now(1), 1), said: Vec::new() };
    found.listen();
    found.answer(EffectResult::Done);
    assert!(matches!(found.said.last(), Some(Output::Finished(_))));
    let said = found.said.len();
    found.tell(Input::Done { effect: EffectId(99), result: EffectResult::Done });
    found.tell(Input::Delete { grace: Duration::ZERO });
    assert_eq!((found.said.len(), found.machine.check()), (said, Ok(())));
}

#[test]
fn s5_45_a_reason_goes_with_its_phase() {
    let found = |phase: &str, reason: &str| {
        let status = PodStatus { phase: Some(phase.into()), reason: Some(reason.into()), ..PodStatus::default() };
        let found = Found::new(&pod("Always", &[], &["app"]), &status, &[("app", 0, "new", running())]);
        found.machine.status().reason
    };
    assert_eq!(found("Running", "Lost"), Some("Lost".to_owned()));
    assert_eq!(found("Pending", "Full"), None);
}

#[test]
fn s3_55_s5_08_an_init_container_without_a_record_has_succeeded_when_a_main_was_made() {
    let status = serde_json::json!({"phase": "Pending", "initContainerStatuses": [{"name": "i1", "image": "i1",
        "imageID": "", "ready": false, "restartCount": 2, "containerID": "podrig://i",
        "state": {"running": {"startedAt": "1970-01-01T00:00:00Z"}}}]});
    let status = serde_json::from_value(status).expect("a status");
    let found = Found::new(&pod("Never", &["i1"], &["app"]), &status, &[("app", 0, "new", running())]);
    let init = found.machine.status().init_container_statuses.expect("statuses").remove(0);
    let ended = init.state.and_then(|state| state.terminated).expect("it has ended");
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (0, Some("Completed")));
    let message = "Unable to get init container status from container runtime and pod has been initialized, \
                   treat it as exited normally";
    assert_eq!(ended.message.as_deref(), Some(message));
    // As everywhere, one that ran and is missing counts as one more.
    assert_eq!((init.ready, init.restart_count), (true, 3));
}
