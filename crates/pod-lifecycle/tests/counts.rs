//! Restart counts, and instances that were made but never begun (contract S3-09, S5-14).

use std::{sync::Arc, time::Duration};

use expect_test::expect;
use k8s_openapi::api::core::v1::PodStatus;
use pod_lifecycle::{
    ContainerView, ContainerViewState, MonoTime, Now, Output, PodMachine, PodPlan, RuntimeView, SandboxView, Timestamp,
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

#[test]
fn s5_14_an_instance_that_was_made_and_not_begun_waits_without_a_reason() {
    let plan = PodPlan::from_pod(&Arc::new(pod_from_yaml(&pod("Always", &[], &["app"])))).expect("a pod");
    let app = plan.find("app").expect("a container");
    let view = ContainerView {
        container: app,
        id: "c".into(),
        sandbox: "s".into(),
        attempt: 0,
        image: "app".into(),
        image_id: String::new(),
        spec_hash: plan.container(app).spec_hash(),
        created_at: Timestamp(1),
        state: ContainerViewState::Created,
    };
    let sandbox = SandboxView { id: "s".into(), attempt: 0, ready: true, ips: Vec::new(), created_at: Timestamp(1) };
    let seen = RuntimeView { sandboxes: vec![sandbox], containers: vec![view] };
    let now = Now { mono: MonoTime(Duration::ZERO), wall: Timestamp(2) };
    let mut machine = PodMachine::restore(plan, &PodStatus::default(), seen, now, 1);
    let mut outputs = std::iter::from_fn(|| Some(machine.poll()).filter(|output| !matches!(output, Output::Wait(_))));
    let status = outputs.find_map(|output| if let Output::Status(status) = output { Some(status) } else { None });
    let status = status.expect("a status");
    let statuses = status.container_statuses.expect("statuses");
    let waiting = statuses[0].state.as_ref().and_then(|state| state.waiting.clone()).expect("it waits");
    assert_eq!((waiting.reason, waiting.message), (None, None));
}
