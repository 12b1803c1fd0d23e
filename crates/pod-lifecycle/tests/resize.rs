//! In-place resize and evictions by the node (contract S8-06 to S8-08, S4-57, S12-15, S12-17).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use expect_test::expect;
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use pod_lifecycle::{PendingResize, PodPlan};
use testkit::engine::{Script, Transcript, World, check, pod, transcript};

const SMALL: &str = "resources: {requests: {cpu: 1, memory: 64Mi}, limits: {cpu: 1, memory: 64Mi}}";
const RESTART: &str = "resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]";

#[test]
fn s8_07_s12_17_s2_01_a_container_is_resized_without_a_restart() {
    check(
        &pod("Always", &[&format!("proxy+ {SMALL}")], &[&format!("app {SMALL}")]),
        "
at 2s resize proxy cpu=2
at 4s resize app memory=32Mi
until 10s
show resize Resize #1
",
        expect![[r#"
            2.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"1","memory":"64Mi"}}}],"generation":2}
            2.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            2.0    > resize pod proxy
            2.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"1","memory":"64Mi"}}}],"generation":2}
            4.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"32Mi"},"requests":{"cpu":"1","memory":"32Mi"}}}],"generation":3}
            4.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            4.0    > resize pod app
            4.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"32Mi"},"requests":{"cpu":"1","memory":"32Mi"}}}],"generation":3}
        "#]],
    );
}

#[test]
fn s8_07_s4_30_s12_08_a_policy_of_restart_restarts_that_container_alone() {
    check(
        &pod("Always", &[&format!("proxy+ {SMALL}, {RESTART}")], &[&format!("app {SMALL}, {RESTART}")]),
        "
at 2s resize proxy memory=96Mi
at 4s resize app cpu=2
at 6s resize app memory=96Mi
until 10s
show resize Resize Killing Running
",
        expect![[r#"
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; proxy Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"1","memory":"96Mi"},"requests":{"cpu":"1","memory":"96Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"1","memory":"64Mi"}}}],"generation":2}
            2.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            2.0    ! proxy Killing: Container proxy resize requires restart
            2.0    > stop proxy within 30s (Resize)
            2.0    > resize pod
            2.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"1","memory":"96Mi"},"requests":{"cpu":"1","memory":"96Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"1","memory":"64Mi"}}}],"generation":2}
            2.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; proxy Running RS #1 last=Completed(0)
            4.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"1","memory":"96Mi"},"requests":{"cpu":"1","memory":"96Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":3}
            4.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            4.0    > resize pod app
            4.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"1","memory":"96Mi"},"requests":{"cpu":"1","memory":"96Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":3}
            6.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"1","memory":"96Mi"},"requests":{"cpu":"1","memory":"96Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"96Mi"},"requests":{"cpu":"2","memory":"96Mi"}}}],"generation":4}
            6.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            6.0    ! app Killing: Container app resize requires restart
            6.0    > stop app within 30s (Resize)
            6.0    > resize pod
            6.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"proxy","resources":{"limits":{"cpu":"1","memory":"96Mi"},"requests":{"cpu":"1","memory":"96Mi"}}}],"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"96Mi"},"requests":{"cpu":"2","memory":"96Mi"}}}],"generation":4}
            6.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Completed(0)
        "#]],
    );
}

#[test]
fn s8_07_s8_08_what_the_pod_as_a_whole_has_is_resized_and_waits_while_the_node_has_no_room() {
    let whole = "  resources: {requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}\n";
    check(
        &format!("{}{whole}", pod("Always", &["proxy+"], &["app"])),
        "
at 2s resize pod cpu=3
at 4s resize pod cpu=9 deferred
at 5s agent restarts
at 6s resize pod memory=2Gi
until 10s
show resize Resize #1
",
        expect![[r#"
            2.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"proxy","resources":{}}],"containers":[{"name":"app","resources":{}}],"generation":2}
            2.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            2.0    > resize pod
            2.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"proxy","resources":{}}],"containers":[{"name":"app","resources":{}}],"generation":2}
            4.0    ! Warning ResizeDeferred: Pod resize Deferred: {"initContainers":[{"name":"proxy","resources":{}}],"containers":[{"name":"app","resources":{}}],"generation":3,"error":"not enough"}
            4.0    = [PodResizePending=True/Deferred Sandbox=True Initialized=True Ready=True Containers=True]
            6.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"proxy","resources":{}}],"containers":[{"name":"app","resources":{}}],"generation":4}
            6.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            6.0    > resize pod
            6.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"proxy","resources":{}}],"containers":[{"name":"app","resources":{}}],"generation":4}
        "#]],
    );
}

#[test]
fn s8_08_a_resize_that_fails_shows_its_error_and_is_tried_again() {
    check(
        &pod("Always", &[], &[&format!("app {SMALL}")]),
        "
app: resize fails until 15s
at 2s resize app memory=1Mi
until 30s
show resize Resize
",
        expect![[r#"
            2.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"1Mi"},"requests":{"cpu":"1","memory":"1Mi"}}}],"generation":2}
            2.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            2.0    > resize pod app
            2.0    ! Warning ResizeError: Pod resize error: {"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"1Mi"},"requests":{"cpu":"1","memory":"1Mi"}}}],"generation":2,"error":"cannot decrease memory limits: attempting to set container \"app\" memory limit (1) below current usage (2)"}
            2.0    = [PodResizeInProgress=True/Error Sandbox=True Initialized=True Ready=True Containers=True]
            12.0   > resize pod app
            22.0   > resize pod app
            22.0   ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"1Mi"},"requests":{"cpu":"1","memory":"1Mi"}}}],"generation":2}
        "#]],
    );
}

#[test]
fn s8_06_s12_17_what_the_node_does_not_grant_waits_or_is_refused() {
    check(
        &pod("Always", &[], &[&format!("app {SMALL}")]),
        "
at 2s resize app cpu=4 deferred
at 3s resize app cpu=400 infeasible
at 4s agent restarts
at 5s resize app cpu=2
until 10s
show resize Resize
",
        expect![[r#"
            2.0    ! Warning ResizeDeferred: Pod resize Deferred: {"containers":[{"name":"app","resources":{"limits":{"cpu":"4","memory":"64Mi"},"requests":{"cpu":"4","memory":"64Mi"}}}],"generation":2,"error":"not enough"}
            2.0    = [PodResizePending=True/Deferred Sandbox=True Initialized=True Ready=True Containers=True]
            3.0    ! Warning ResizeInfeasible: Pod resize Infeasible: {"containers":[{"name":"app","resources":{"limits":{"cpu":"400","memory":"64Mi"},"requests":{"cpu":"400","memory":"64Mi"}}}],"generation":3,"error":"not enough"}
            3.0    = [PodResizePending=True/Infeasible Sandbox=True Initialized=True Ready=True Containers=True]
            5.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":4}
            5.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            5.0    > resize pod app
            5.0    ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":4}
        "#]],
    );
}

#[test]
fn s8_07_an_agent_that_comes_back_finishes_a_resize() {
    check(
        &pod("Always", &[], &[&format!("app {SMALL}")]),
        "
app: resize fails until 5s
at 2s resize app memory=1Mi
at 6s agent restarts
until 30s
show resize Resize
",
        expect![[r#"
            2.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"1Mi"},"requests":{"cpu":"1","memory":"1Mi"}}}],"generation":2}
            2.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            2.0    > resize pod app
            2.0    ! Warning ResizeError: Pod resize error: {"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"1Mi"},"requests":{"cpu":"1","memory":"1Mi"}}}],"generation":2,"error":"cannot decrease memory limits: attempting to set container \"app\" memory limit (1) below current usage (2)"}
            2.0    = [PodResizeInProgress=True/Error Sandbox=True Initialized=True Ready=True Containers=True]
            6.0    > resize pod app
            6.0    ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"1Mi"},"requests":{"cpu":"1","memory":"1Mi"}}}],"generation":2}
        "#]],
    );
}

#[test]
fn s4_56_a_pod_that_has_to_go_for_the_nodes_sake_is_a_target_of_disruption() {
    let script = "
app: ignores TERM
at 5s starve 3s The node was low on resource: memory.
until 30s
show Evicted Disruption # Failed
";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    ! Warning Evicted: The node was low on resource: memory.
            5.0    = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]
            8.0    = Failed (Evicted); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]; app Error(137) rs #0
            8.0    # Failed
        "#]],
    );
    let deleted = "app: ignores TERM\nat 1s delete grace 60\nat 2s starve 1s late\nuntil 90s\nshow Evicted Error";
    check(
        &pod("Always", &[], &["app"]),
        deleted,
        expect![[r#"
        61.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
    "#]],
    );
}

#[test]
fn s4_57_s12_15_a_pod_over_its_own_limits_fails_as_evicted_once() {
    let script = "
app: ignores TERM
at 5s evict Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\".
at 5.5s evict again
until 30s
show Evicted Disruption # Failed
";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        5.0    ! Warning Evicted: Usage of EmptyDir volume "v" exceeds the limit "1Mi".
        5.0    = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed]
        7.0    = Failed (Evicted); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
        7.0    # Failed
    "#]],
    );
    let over =
        transcript(&pod("Always", &[], &["app"]), "at 1s delete grace 5\nat 2s evict late\nuntil 30s\nshow Evicted");
    assert_eq!(over, "", "a pod that ends already is not evicted");
}

#[test]
fn s8_07_a_resized_container_is_not_resized_again_after_an_agent_restart() {
    check(
        &pod("Always", &[], &[&format!("app {SMALL}"), "other"]),
        "
at 2s resize app cpu=2
at 4s agent restarts
at 5s exit other 1
until 10s
show resize Resize
",
        expect![[r#"
            2.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}},{"name":"other","resources":{}}],"generation":2}
            2.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            2.0    > resize pod app
            2.0    ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}},{"name":"other","resources":{}}],"generation":2}
        "#]],
    );
}

#[test]
fn s8_07_a_container_that_ended_meanwhile_is_not_given_the_new_limits() {
    check(
        &pod("Always", &[], &[&format!("app {SMALL}"), "b"]),
        "
steps take 2s
at 20s resize app cpu=2
at 21s exit app 1
until 40s
show resize Resize start
",
        expect![[r#"
            6.0    > start app
            12.0   > start b
            20.0   ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}},{"name":"b","resources":{}}],"generation":2}
            20.0   = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
            20.0   > resize pod app
            22.0   ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}},{"name":"b","resources":{}}],"generation":2}
            26.0   > start app
        "#]],
    );
}

#[test]
fn s8_06_a_refusal_that_is_over_is_forgotten_also_by_an_agent_that_comes_back() {
    check(
        &pod("Always", &[], &[&format!("app {SMALL}")]),
        "
at 2s resize app cpu=4 deferred
at 3s resize app cpu=4 deferred
at 4s agent restarts
at 5s resize app cpu=1
until 10s
show [ Resize
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    ! Warning ResizeDeferred: Pod resize Deferred: {"containers":[{"name":"app","resources":{"limits":{"cpu":"4","memory":"64Mi"},"requests":{"cpu":"4","memory":"64Mi"}}}],"generation":2,"error":"not enough"}
            2.0    = [PodResizePending=True/Deferred Sandbox=True Initialized=True Ready=True Containers=True]
            3.0    ! Warning ResizeDeferred: Pod resize Deferred: {"containers":[{"name":"app","resources":{"limits":{"cpu":"4","memory":"64Mi"},"requests":{"cpu":"4","memory":"64Mi"}}}],"generation":3,"error":"not enough"}
            5.0    = [Sandbox=True Initialized=True Ready=True Containers=True]
        "#]],
    );
}

#[test]
fn s8_07_a_debugger_has_no_limits_to_change() {
    check(
        &pod("Always", &[], &[&format!("app {SMALL}")]),
        "
at 1s debug debug
at 2s resize app cpu=2
until 5s
show resize
",
        expect![[r#"
            2.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":3}
            2.0    > resize pod app
            2.0    ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":3}
        "#]],
    );
}

/// The pod, with these resources for all its containers together, as its spec comes to have them.
fn with_pod_level(world: &World, cpu: &str) -> PodPlan {
    let mut pod = (*world.plan().pod).clone();
    let amounts = BTreeMap::from([("cpu".to_owned(), Quantity(cpu.to_owned()))]);
    let resources = ResourceRequirements {
        requests: Some(amounts.clone()),
        limits: Some(amounts),
        ..ResourceRequirements::default()
    };
    pod.spec.as_mut().expect("a spec").resources = Some(resources);
    pod.metadata.generation = pod.metadata.generation.map(|generation| generation + 1);
    PodPlan::from_pod(&Arc::new(pod)).expect("a pod")
}

fn with_cpu(plan: &PodPlan, cpu: &str) -> PodPlan {
    let mut pod = (*plan.pod).clone();
    let resources = pod.spec.as_mut().expect("a spec").containers[0].resources.get_or_insert_default();
    for list in [&mut resources.requests, &mut resources.limits] {
        list.get_or_insert_default().insert("cpu".to_owned(), Quantity(cpu.to_owned()));
    }
    PodPlan::from_pod(&Arc::new(pod)).expect("a pod")
}

fn lines(world: &World, words: &[&str]) -> String {
    let text = Transcript::of(world, true);
    let shown = text.lines().filter(|line| words.iter().any(|word| line.contains(word)));
    shown.flat_map(|line| [line.split(": {").next().unwrap_or_default(), "\n"]).collect()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn s8_07_limits_of_the_pod_as_a_whole_are_changed_also_by_an_agent_that_comes_back() {
    let yaml = pod("Always", &[], &[&format!("app {SMALL}")]);
    let (mut world, _) = "until 1s".parse::<Script>().unwrap().play(&yaml);
    world.slow_down(seconds(2));
    world.update(with_pod_level(&world, "4"));
    world.run_until(seconds(2));
    world.restart_agent();
    world.run_until(seconds(20));
    expect![[r#"
        1.0    ! ResizeStarted: Pod resize started
        1.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]
        1.0    > resize pod
        4.0    > resize pod
        6.0    ! ResizeCompleted: Pod resize completed
    "#]]
    .assert_eq(&lines(&world, &["resize", "Resize"]));
}

#[test]
fn s8_07_limits_of_a_pod_in_which_nothing_runs_are_those_of_what_will() {
    let yaml = pod("Always", &[], &[&format!("app {SMALL}")]);
    let (mut world, _) = "app: image takes 9s\nuntil 1s".parse::<Script>().unwrap().play(&yaml);
    world.update(with_pod_level(&world, "4"));
    world.run_until(seconds(20));
    expect![[r#"
        1.0    ! ResizeStarted: Pod resize started
        9.0    = Running; [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        9.0    > resize pod
        9.0    ! ResizeCompleted: Pod resize completed
    "#]].assert_eq(&lines(&world, &["resize", "Resize"]));
}

#[test]
fn s8_07_a_change_of_the_pods_limits_is_not_lost_over_one_that_is_taken_back() {
    let yaml = pod("Always", &[], &[&format!("app {SMALL}"), "b lifecycle: {postStart: {exec: {command: [x]}}}"]);
    let (mut world, _) = "b: postStart takes 9s\nuntil 1s".parse::<Script>().unwrap().play(&yaml);
    let wanted = with_pod_level(&world, "4");
    world.update(wanted.clone());
    world.update(with_cpu(&wanted, "2"));
    world.update(wanted);
    world.run_until(seconds(20));
    expect![[r#"
        1.0    ! ResizeStarted: Pod resize started
        1.0    ! ResizeStarted: Pod resize started
        1.0    ! ResizeStarted: Pod resize started
        9.0    = Running; [PodResizeInProgress=True Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; b Running RS #0
        9.0    > resize pod
        9.0    ! ResizeCompleted: Pod resize completed
    "#]].assert_eq(&lines(&world, &["resize", "Resize"]));
}

#[test]
fn s8_06_what_the_node_does_not_grant_is_told_once() {
    let yaml = pod("Always", &[], &[&format!("app {SMALL}")]);
    let (mut world, _) = "until 1s".parse::<Script>().unwrap().play(&yaml);
    let plan = world.plan().clone();
    for infeasible in [false, false, true, true] {
        world.refuse_resize(plan.clone(), PendingResize::new(infeasible, "not enough".to_owned(), &plan.pod));
    }
    expect![[r#"
        1.0    ! Warning ResizeDeferred: Pod resize Deferred
        1.0    = [PodResizePending=True/Deferred Sandbox=True Initialized=True Ready=True Containers=True]
        1.0    ! Warning ResizeInfeasible: Pod resize Infeasible
        1.0    = [PodResizePending=True/Infeasible Sandbox=True Initialized=True Ready=True Containers=True]
    "#]]
    .assert_eq(&lines(&world, &["Resize"]));
}

#[test]
fn s8_07_what_does_not_run_is_not_resized() {
    check(
        &pod("Never", &[], &[&format!("a {SMALL}"), "b"]),
        "
a: runs 1s
at 3s resize a cpu=2
until 9s
show resize Resize
",
        expect![[r#"
            3.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"a","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}},{"name":"b","resources":{}}],"generation":2}
            3.0    ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"a","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}},{"name":"b","resources":{}}],"generation":2}
        "#]],
    );
}

#[test]
fn s8_07_only_the_resource_whose_policy_says_so_restarts_a_container() {
    let policies = "resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, \
                    {resourceName: memory, restartPolicy: RestartContainer}]";
    check(
        &pod("Always", &[], &[&format!("app {SMALL}, {policies}")]),
        "
at 2s resize app cpu=2
at 4s resize app memory=96Mi
until 9s
show resize start stop
",
        expect![[r#"
            0.0    > start app
            2.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":2}
            2.0    > resize pod app
            2.0    ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"64Mi"},"requests":{"cpu":"2","memory":"64Mi"}}}],"generation":2}
            4.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"96Mi"},"requests":{"cpu":"2","memory":"96Mi"}}}],"generation":3}
            4.0    ! app Killing: Container app resize requires restart
            4.0    > stop app within 30s (Resize)
            4.0    > resize pod
            4.0    > start app
            4.0    ! ResizeCompleted: Pod resize completed: {"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"96Mi"},"requests":{"cpu":"2","memory":"96Mi"}}}],"generation":3}
        "#]],
    );
}

#[test]
fn s8_07_a_sidecar_that_is_to_restart_for_it_does_so_once_it_has_started_up() {
    let sidecar = format!(
        "s1+ resources: {{limits: {{memory: 1}}}}, {RESTART}, startupProbe: {{periodSeconds: 1, failureThreshold: 9}}"
    );
    let script =
        "s1: startup fails until 4s\nat 1s resize s1 memory=2\nuntil 8s\nshow start stop resize Resize Killing";
    check(
        &pod("Always", &[&sidecar], &["app"]),
        script,
        expect![[r#"
        0.0    > start s1
        1.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"s1","resources":{"limits":{"memory":"2"},"requests":{"memory":"2"}}}],"containers":[{"name":"app","resources":{}}],"generation":2}
        1.0    = [PodResizeInProgress=True Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        4.0    = [PodResizeInProgress=True Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
        4.0    ! s1 Killing: Container s1 resize requires restart
        4.0    > stop s1 within 30s (Resize)
        4.0    > start s1
        4.0    > resize pod
        4.0    > start app
        4.0    ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"s1","resources":{"limits":{"memory":"2"},"requests":{"memory":"2"}}}],"containers":[{"name":"app","resources":{}}],"generation":2}
    "#]],
    );
}
