//! In-place resize and evictions by the node (contract S8-06 to S8-08, S4-57, S12-15, S12-17).

use expect_test::expect;
use testkit::engine::{check, pod, transcript};

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
        5.0    = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed]
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
