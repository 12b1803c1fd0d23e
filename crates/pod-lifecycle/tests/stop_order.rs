//! Contract S4: how containers are stopped, and how a pod ends.

use expect_test::expect;
use testkit::engine::{check, pod};

const PRE_STOP: &str = "lifecycle: {preStop: {exec: {command: [x]}}}";

#[test]
fn s4_04_the_shortest_grace_counts_and_is_at_least_a_second() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: ignores TERM
at 1s delete grace 0
at 1s delete grace 20
show stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > stop app within 2s (PodEnds)
            3.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
            3.0    > stop sandbox
            3.0    # Failed
        "#]],
    );
}

#[test]
fn s4_05_a_shorter_grace_does_not_shorten_a_stop_going_on() {
    let script = "app: ignores TERM\nat 1s delete grace 20\nat 2s delete grace 3\nshow stop #";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > stop app within 20s (PodEnds)
            21.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
            21.0   > stop sandbox
            21.0   # Failed
        "#]],
    );
}

#[test]
fn s4_05_a_deletion_waits_for_the_kill_of_a_single_container() {
    check(
        &pod("Always", &["s1+"], &["app livenessProbe: {periodSeconds: 1, failureThreshold: 1}"]),
        "
app: ignores TERM, liveness fails from 3s
at 5s delete grace 2
show stop start #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    ! app Killing: Container app failed liveness probe, will be restarted
            3.0    > stop app within 30s (Liveness)
            33.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #0
            33.0   > stop s1 within 2s (PodEnds)
            33.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0
            33.0   > stop sandbox
            33.0   # Failed
        "#]],
    );
}

#[test]
fn s4_06_s4_11_natural_completion_uses_the_grace_of_the_spec() {
    let script = "s1: ignores TERM\napp: runs 1s\nat 5s delete grace 2\nshow stop #";
    check(
        &pod("Never", &["s1+"], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    > stop s1 within 30s (PodEnds)
            31.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Error(137) rs #0
            31.0   > stop sandbox
            31.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_11_a_probe_kill_uses_the_grace_of_the_probe() {
    let probe = "livenessProbe: {periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 5}";
    check(
        &pod("Always", &[], &[&format!("app {probe}")]),
        "app: ignores TERM, liveness fails from 3s\nuntil 9s\nshow stop start",
        expect![[r#"
            0.0    > start app
            3.0    ! app Killing: Container app failed liveness probe, will be restarted
            3.0    > stop app within 5s (Liveness)
            8.0    > start app
        "#]],
    );
}

#[test]
fn s4_12_s4_13_an_endless_pre_stop_hook_lives_two_seconds_longer_than_the_grace() {
    let pod = pod("Always", &[], &[&format!("app {PRE_STOP}")]);
    check(
        &pod,
        "app: preStop hangs, ignores TERM\nat 1s delete grace 30\nverbose\nshow stop preStop exited PreStop #",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ~ app #0 started
            0.0    ~ pod #0 phase Running
            0.0    ~ app #0 ready
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > preStop of app
            1.0    ~ app #0 preStop began
            31.0   > stop app within 2s (PodEnds)
            31.0   ~ app #0 stop signal (PodEnds)
            33.0   ~ app #0 exited 137 Error
            33.0   ~ app #0 preStop ended, ok=false
            33.0   ! app Warning FailedPreStopHook: PreStopHook failed
            33.0   ~ pod #0 phase Failed
            33.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
            33.0   > stop sandbox
            33.0   # Failed
        "#]],
    );
}

#[test]
fn s4_14_a_failing_pre_stop_hook_is_told_and_the_kill_goes_on() {
    let script = "app: preStop fails after 1s\nat 1s delete\nshow stop preStop PreStop #";
    check(
        &pod("Always", &[], &[&format!("app {PRE_STOP}")]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > preStop of app
            2.0    ! app Warning FailedPreStopHook: PreStopHook failed
            2.0    > stop app within 29s (PodEnds)
            2.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            2.0    > stop sandbox
            2.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_15_no_pre_stop_hook_for_a_container_that_ended_by_itself() {
    let pod = pod("Never", &[&format!("s1+ {PRE_STOP}")], &[&format!("app {PRE_STOP}")]);
    check(
        &pod,
        "app: runs 1s\nshow stop preStop #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    > preStop of s1
            1.0    > stop s1 within 30s (PodEnds)
            1.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0
            1.0    > stop sandbox
            1.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_16_parts_of_seconds_are_in_the_containers_favour() {
    let script = "app: preStop takes 900ms, ignores TERM\nat 1s delete grace 10\nverbose\nshow stop exited";
    check(
        &pod("Always", &[], &[&format!("app {PRE_STOP}")]),
        script,
        expect![[r#"
            1.9    > stop app within 10s (PodEnds)
            1.9    ~ app #0 stop signal (PodEnds)
            11.9   ~ app #0 exited 137 Error
            11.9   > stop sandbox
        "#]],
    );
}

#[test]
fn s4_18_mains_are_stopped_at_the_same_time() {
    let pod = pod("Always", &[], &[&format!("a {PRE_STOP}"), &format!("b {PRE_STOP}")]);
    check(
        &pod,
        "a: preStop takes 5s\nb: preStop takes 5s\nat 1s delete\nshow stop preStop #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:ContainerCreating rs #0; b Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; a Running RS #0; b Running RS #0
            1.0    > preStop of a
            1.0    > preStop of b
            6.0    > stop a within 25s (PodEnds)
            6.0    > stop b within 25s (PodEnds)
            6.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; a Completed(0) rs #0; b Completed(0) rs #0
            6.0    > stop sandbox
            6.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_20_sidecars_stop_one_by_one_in_reverse() {
    check(
        &pod("Always", &["side1+", "side2+", "side3+"], &["app"]),
        "
side1: stops in 5s
side2: stops in 5s
side3: stops in 5s
app: stops in 2s
at 1s delete
show stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; side1 Waiting:PodInitializing rs #0; side2 Waiting:PodInitializing rs #0; side3 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = side1 Running RS #0
            0.0    = side2 Running RS #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; side3 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > stop app within 30s (PodEnds)
            3.0    > stop side3 within 28s (PodEnds)
            8.0    > stop side2 within 23s (PodEnds)
            13.0   > stop side1 within 18s (PodEnds)
            18.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; side1 Completed(0) rs #0; side2 Completed(0) rs #0; side3 Completed(0) rs #0; app Completed(0) rs #0
            18.0   > stop sandbox
            18.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_22_s4_23_one_clock_for_all() {
    check(
        &pod("Always", &["side1+", "side2+", "side3+"], &["app"]),
        "
app: stops in 1s
side3: stops in 1s
side2: ignores TERM
side1: stops in 1s
at 0s delete grace 5
verbose
show stop exited #
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; side1 Waiting:PodInitializing rs #0; side2 Waiting:PodInitializing rs #0; side3 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create side1 #0
            0.0    ~ side1 #0 created
            0.0    ~ side1 #0 started
            0.0    ~ side1 #0 ready
            0.0    = side1 Running RS #0
            0.0    > create side2 #0
            0.0    ~ side2 #0 created
            0.0    ~ side2 #0 started
            0.0    ~ side2 #0 ready
            0.0    = side2 Running RS #0
            0.0    > create side3 #0
            0.0    ~ side3 #0 created
            0.0    ~ side3 #0 started
            0.0    ~ side3 #0 ready
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; side3 Running RS #0
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ~ app #0 started
            0.0    ~ pod #0 phase Running
            0.0    ~ app #0 ready
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            0.0    > stop app within 5s (PodEnds)
            0.0    ~ app #0 stop signal (PodEnds)
            1.0    ~ app #0 exited 0 Completed
            1.0    > stop side3 within 4s (PodEnds)
            1.0    ~ side3 #0 stop signal (PodEnds)
            2.0    ~ side3 #0 exited 0 Completed
            2.0    > stop side2 within 3s (PodEnds)
            2.0    ~ side2 #0 stop signal (PodEnds)
            5.0    ~ side2 #0 exited 137 Error
            5.0    > stop side1 within 2s (PodEnds)
            5.0    ~ side1 #0 stop signal (PodEnds)
            6.0    ~ side1 #0 exited 0 Completed
            6.0    ~ pod #0 phase Succeeded
            6.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; side1 Completed(0) rs #0; side2 Error(137) rs #0; side3 Completed(0) rs #0; app Completed(0) rs #0
            6.0    > stop sandbox
            6.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_23_s4_24_when_the_budget_is_over_all_waiting_sidecars_stop_at_once() {
    check(
        &pod("Always", &["side1+", "side2+"], &["app"]),
        "
app: ignores TERM
side1: stops in 1s
side2: stops in 20s
at 0s delete grace 5
verbose
show stop exited #
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; side1 Waiting:PodInitializing rs #0; side2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create side1 #0
            0.0    ~ side1 #0 created
            0.0    ~ side1 #0 started
            0.0    ~ side1 #0 ready
            0.0    = side1 Running RS #0
            0.0    > create side2 #0
            0.0    ~ side2 #0 created
            0.0    ~ side2 #0 started
            0.0    ~ side2 #0 ready
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; side2 Running RS #0
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ~ app #0 started
            0.0    ~ pod #0 phase Running
            0.0    ~ app #0 ready
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            0.0    > stop app within 5s (PodEnds)
            0.0    ~ app #0 stop signal (PodEnds)
            5.0    ~ app #0 exited 137 Error
            5.0    > stop side2 within 2s (PodEnds)
            5.0    ~ side2 #0 stop signal (PodEnds)
            5.0    > stop side1 within 2s (PodEnds)
            5.0    ~ side1 #0 stop signal (PodEnds)
            6.0    ~ side1 #0 exited 0 Completed
            7.0    ~ side2 #0 exited 137 Error
            7.0    ~ pod #0 phase Failed
            7.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; side1 Completed(0) rs #0; side2 Error(137) rs #0; app Error(137) rs #0
            7.0    > stop sandbox
            7.0    # Failed
        "#]],
    );
}

#[test]
fn s4_24_a_main_whose_hook_used_up_the_grace_gets_two_seconds() {
    let script = "app: preStop hangs, ignores TERM\nat 0s delete grace 5\nverbose\nshow stop exited #";
    check(
        &pod("Always", &[], &[&format!("app {PRE_STOP}")]),
        script,
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ~ app #0 started
            0.0    ~ pod #0 phase Running
            0.0    ~ app #0 ready
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            0.0    ~ app #0 preStop began
            5.0    > stop app within 2s (PodEnds)
            5.0    ~ app #0 stop signal (PodEnds)
            7.0    ~ app #0 exited 137 Error
            7.0    ~ app #0 preStop ended, ok=false
            7.0    ~ pod #0 phase Failed
            7.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
            7.0    > stop sandbox
            7.0    # Failed
        "#]],
    );
}

#[test]
fn s4_26_sidecars_that_never_started_are_not_waited_for() {
    let script = "i1: ignores TERM\nat 1s delete grace 3\nshow stop #";
    check(
        &pod("Always", &["i1", "s1+", "s2+"], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = i1 Running rS #0
            1.0    > stop i1 within 3s (PodEnds)
            4.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Error(137) rs #0
            4.0    > stop sandbox
            4.0    # Failed
        "#]],
    );
}

#[test]
fn s4_29_a_sidecar_that_crashes_while_the_mains_shut_down_stays_down() {
    check(
        &pod("Never", &["s1+", "s2+"], &["app"]),
        "
s2: stops in 5s
at 1s exit app 0
at 2s exit s1 1
show start stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start s2
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s2 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    > stop s2 within 30s (PodEnds)
            6.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Error(1) rs #0; s2 Completed(0) rs #0
            6.0    > stop sandbox
            6.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_30_a_single_kill_waits_for_nobody() {
    let pod = pod("Always", &["a+ livenessProbe: {periodSeconds: 1}", "b+"], &["app"]);
    check(
        &pod,
        "a: liveness fails from 3s\nuntil 8s\nshow start stop",
        expect![[r#"
            0.0    > start a
            0.0    > start b
            0.0    > start app
            5.0    > stop a within 30s (Liveness)
            5.0    > start a
        "#]],
    );
}

#[test]
fn s4_31_two_kills_of_one_pass_come_one_after_the_other() {
    let probe = "livenessProbe: {periodSeconds: 1, failureThreshold: 1}";
    check(
        &pod(
            "Always",
            &[],
            &[&format!("a {probe}"), &format!("b {probe}"), "c lifecycle: {postStart: {exec: {command: [x]}}}"],
        ),
        "
a: liveness fails from 3s, stops in 10s
b: liveness fails from 3s, stops in 10s
c: postStart takes 6s
at 0.5s exit c 1
until 40s
show start stop
",
        expect![[r#"
            0.0    > start a
            0.0    > start b
            0.0    > start c
            0.5    > start c
            6.5    ! a Killing: Container a failed liveness probe, will be restarted
            6.5    > stop a within 30s (Liveness)
            16.5   ! b Killing: Container b failed liveness probe, will be restarted
            16.5   > stop b within 30s (Liveness)
            26.5   > start a
            26.5   > start b
            29.5   ! a Killing: Container a failed liveness probe, will be restarted
            29.5   > stop a within 30s (Liveness)
            39.5   > start a
            39.5   ! b Killing: Container b failed liveness probe, will be restarted
            39.5   > stop b within 30s (Liveness)
        "#]],
    );
}

#[test]
fn s4_32_a_kill_that_ends_the_pod_takes_the_pods_grace_and_order() {
    let probe = "livenessProbe: {periodSeconds: 1, terminationGracePeriodSeconds: 5}";
    let script = "app: liveness fails from 3s\nshow stop Killing #";
    check(
        &pod("Never", &["s1+"], &[&format!("app {probe}")]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    ! s1 Killing: Stopping container s1
            5.0    ! app Killing: Stopping container app
            5.0    > stop app within 30s (PodEnds)
            5.0    > stop s1 within 30s (PodEnds)
            5.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0; app Completed(0) rs #0
            5.0    > stop sandbox
            5.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_42_a_deleted_pod_ends_succeeded_when_all_mains_ended_with_zero() {
    check(
        &pod("Always", &[], &["a", "b"]),
        "at 1s delete\nshow # Succeeded",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:ContainerCreating rs #0; b Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; a Running RS #0; b Running RS #0
            1.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; a Completed(0) rs #0; b Completed(0) rs #0
            1.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_43_a_pod_deleted_while_pending_ends_failed() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "s1: image missing ErrImagePull\nat 3s delete\nverbose",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    ~ pod #0 sandbox ready
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > image of s1
            0.0    ! s1 Warning Failed: Failed to pull image "s1": no such image
            0.0    ! s1 Warning Failed: Error: ErrImagePull
            0.0    ~ s1 #0 start failed: ErrImagePull
            0.0    = s1 Waiting:ErrImagePull rs #0
            0.0    ! s1 BackOff: Back-off pulling image "s1"
            0.0    ! s1 Warning Failed: Error: ImagePullBackOff
            0.0    = s1 Waiting:ImagePullBackOff rs #0
            3.0    ~ pod #0 phase Failed
            3.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 ContainerStatusUnknown(137) rs #0
            3.0    > stop sandbox
            3.0    > remove sandbox
            3.0    > clean up
            3.0    # Failed
        "#]],
    );
}

#[test]
fn s4_43_a_pod_deleted_during_a_pull_gives_it_up() {
    let script = "app: image takes 60s\nat 3s delete\nverbose\nshow cancel # Failed";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    ~ pod #0 sandbox ready
            3.0    > cancel
            3.0    ~ pod #0 phase Failed
            3.0    = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app ContainerStatusUnknown(137) rs #0
            3.0    # Failed
        "#]],
    );
}

#[test]
fn s4_61_s4_62_readiness_is_asked_until_the_end_and_liveness_of_mains_is_not() {
    let probes = "livenessProbe: {periodSeconds: 1}, readinessProbe: {periodSeconds: 1, failureThreshold: 1}";
    check(
        &pod("Always", &[], &[&format!("app {probes}")]),
        "
app: stops in 5s
at 3s delete
at 4s app: readiness fails
until 9s
verbose
show probe ready Ready
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            0.0    > readiness probe of app
            0.0    ~ app #0 readiness probe passed
            0.0    ~ app #0 ready
            0.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > liveness probe of app
            1.0    > readiness probe of app
            2.0    > liveness probe of app
            2.0    > readiness probe of app
            3.0    > liveness probe of app
            3.0    > readiness probe of app
            4.0    > readiness probe of app
            5.0    > readiness probe of app
            5.0    ! app Warning Unhealthy: Readiness probe failed:
            5.0    ~ app #0 readiness probe failed
            5.0    ~ app #0 not ready
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Running rS #0
            6.0    > readiness probe of app
            6.0    ! app Warning Unhealthy: Readiness probe failed:
            7.0    > readiness probe of app
            7.0    ! app Warning Unhealthy: Readiness probe failed:
            8.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
        "#]],
    );
}

#[test]
fn s4_63_an_image_change_is_ignored_while_the_pod_ends() {
    let script = "app: stops in 5s\nat 3s delete\nat 4s image app two\nshow start stop #";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    > stop app within 30s (PodEnds)
            8.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            8.0    > stop sandbox
            8.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_66_only_the_last_main_ends_the_pod() {
    check(
        &pod("Never", &["s1+"], &["a", "b"]),
        "a: runs 1s\nb: runs 20s\nshow stop #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; a Running RS #0; b Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Completed(0) rs #0
            20.0   = b Completed(0) rs #0
            20.0   > stop s1 within 30s (PodEnds)
            20.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0
            20.0   > stop sandbox
            20.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_67_a_pod_with_policy_always_goes_on_and_its_sidecars_are_left_alone() {
    let script = "app: runs 700s\nuntil 3000s\nverbose\nshow start stop #";
    check(
        &pod("Always", &["s1+"], &["app"]),
        script,
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create s1 #0
            0.0    ~ s1 #0 created
            0.0    > start s1
            0.0    ~ s1 #0 started
            0.0    ! s1 Started: Container started
            0.0    ~ s1 #0 ready
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    > start app
            0.0    ~ app #0 started
            0.0    ! app Started: Container started
            0.0    ~ pod #0 phase Running
            0.0    ~ app #0 ready
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            700.0  ~ app #0 exited 0 Completed
            700.0  = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            700.0  > create app #1
            700.0  ~ app #1 created
            700.0  > start app
            700.0  ~ app #1 started
            700.0  ! app Started: Container started
            700.0  ~ app #1 ready
            700.0  = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Completed(0)
            1400.0 ~ app #1 exited 0 Completed
            1400.0 = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #1 last=Completed(0)
            1400.0 > create app #2
            1400.0 ~ app #2 created
            1400.0 > start app
            1400.0 ~ app #2 started
            1400.0 ! app Started: Container started
            1400.0 ~ app #2 ready
            1400.0 = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #2 last=Completed(0)
            2100.0 ~ app #2 exited 0 Completed
            2100.0 = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #2 last=Completed(0)
            2100.0 > create app #3
            2100.0 ~ app #3 created
            2100.0 > start app
            2100.0 ~ app #3 started
            2100.0 ! app Started: Container started
            2100.0 ~ app #3 ready
            2100.0 = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #3 last=Completed(0)
            2800.0 ~ app #3 exited 0 Completed
            2800.0 = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #3 last=Completed(0)
            2800.0 > create app #4
            2800.0 ~ app #4 created
            2800.0 > start app
            2800.0 ~ app #4 started
            2800.0 ! app Started: Container started
            2800.0 ~ app #4 ready
            2800.0 = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #4 last=Completed(0)
        "#]],
    );
}

#[test]
fn s4_68_completion_waits_for_a_last_sidecar_that_has_not_started_up_again() {
    check(
        &pod("Never", &["s1+ startupProbe: {periodSeconds: 1, failureThreshold: 60}"], &["app"]),
        "
at 2s s1: startup fails until 20s
at 3s exit s1 1
at 5s exit app 0
show start stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = s1 Running rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #0
            3.0    > start s1
            3.0    = s1 Running rs #1 last=Error(1)
            5.0    = app Completed(0) rs #0
            23.0   = s1 Running RS #1 last=Error(1)
            23.0   > stop s1 within 30s (PodEnds)
            23.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #1 last=Error(1)
            23.0   > stop sandbox
            23.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_68_completion_does_not_wait_for_a_last_sidecar_in_back_off() {
    check(
        &pod("Never", &["s1+"], &["app"]),
        "at 1s exit s1 1\nat 2s exit s1 1\nat 3s exit app 0\nshow start stop #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #0
            1.0    > start s1
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Error(1)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #1 last=Error(1)
            2.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            2.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(1)
            3.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Error(1) rs #1 last=Error(1); app Completed(0) rs #0
            3.0    > stop sandbox
            3.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_28_s12_14_a_kill_that_fails_releases_nobody_and_is_tried_again() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
app: stop fails until 5s
at 1s delete grace 3
show stop FailedKillPod #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > stop app within 3s (PodEnds)
            1.0    ! Warning FailedKillPod: error killing pod: the runtime is busy
            4.0    > stop s1 within 2s (PodEnds)
            14.0   > stop app within 3s (PodEnds)
            14.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0; app Completed(0) rs #0
            14.0   > stop sandbox
            14.0   # Succeeded
        "#]],
    );
}
