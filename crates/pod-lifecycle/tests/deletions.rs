//! Contract S4: pods that end in the midst of something, kills that fail, and exits that nobody hears of.

use expect_test::expect;
use testkit::engine::{check, pod, transcript};

const PRE_STOP: &str = "lifecycle: {preStop: {exec: {command: [x]}}}";

#[test]
fn s3_07_s4_02_s4_43_a_pod_deleted_in_the_midst_of_a_step_takes_no_further_one() {
    let pod = pod("Always", &["i"], &["app lifecycle: {postStart: {exec: {command: [x]}}}"]);
    let play = |at: &str| {
        let script = format!("steps take 2s\ni: runs 1s\nat {at} delete grace 3\nshow > =\nuntil 60s");
        format!("deleted at {at}\n{}", transcript(&pod, &script))
    };
    expect![[r#"
        deleted at 1s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        2.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i ContainerStatusUnknown(137) rs #0
        2.0    > stop sandbox
        4.0    > remove sandbox
        6.0    > clean up
        deleted at 3s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        3.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i ContainerStatusUnknown(137) rs #0
        3.0    > stop sandbox
        5.0    > remove sandbox
        7.0    > clean up
        deleted at 5s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        6.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i ContainerStatusUnknown(137) rs #0
        6.0    > stop sandbox
        8.0    > remove sandbox
        10.0   > clean up
        deleted at 7s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        6.0    > start i
        8.0    = i Running rS #0
        8.0    > stop i within 3s (PodEnds)
        9.0    = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
        9.0    > stop sandbox
        11.0   > remove sandbox
        13.0   > clean up
        deleted at 9s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        6.0    > start i
        8.0    = i Running rS #0
        9.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
        9.0    = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app ContainerStatusUnknown(137) rs #0
        9.0    > stop sandbox
        11.0   > remove sandbox
        13.0   > clean up
        deleted at 10s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        6.0    > start i
        8.0    = i Running rS #0
        9.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
        10.0   = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app ContainerStatusUnknown(137) rs #0
        10.0   > stop sandbox
        12.0   > remove sandbox
        14.0   > clean up
        deleted at 12s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        6.0    > start i
        8.0    = i Running rS #0
        9.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
        13.0   = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app ContainerStatusUnknown(137) rs #0
        13.0   > stop sandbox
        15.0   > remove sandbox
        17.0   > clean up
        deleted at 14s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        6.0    > start i
        8.0    = i Running rS #0
        9.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
        13.0   > start app
        15.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        15.0   > stop app within 3s (PodEnds)
        17.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
        17.0   > stop sandbox
        19.0   > remove sandbox
        21.0   > clean up
        deleted at 16s
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > prepare volumes
        0.0    > create sandbox 0
        2.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
        6.0    > start i
        8.0    = i Running rS #0
        9.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
        13.0   > start app
        15.0   > postStart of app
        16.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        16.0   > stop app within 3s (PodEnds)
        18.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
        18.0   > stop sandbox
        20.0   > remove sandbox
        22.0   > clean up
    "#]].assert_eq(&["1s", "3s", "5s", "7s", "9s", "10s", "12s", "14s", "16s"].map(play).concat());
}

#[test]
fn s4_05_the_shortest_grace_counts_that_is_asked_for_during_the_kill_of_a_single_container() {
    check(
        &pod("Always", &["s1+"], &["app livenessProbe: {periodSeconds: 1, failureThreshold: 1}"]),
        "
app: ignores TERM, liveness fails from 3s
at 5s delete grace 20
at 6s delete grace 5
at 7s delete grace 9
at 9s node shuts down
show stop Evicted Terminated #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    > stop app within 30s (Liveness)
            33.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #0
            33.0   > stop s1 within 5s (PodEnds)
            33.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0
            33.0   > stop sandbox
            33.0   # Failed
        "#]],
    );
}

#[test]
fn s4_02_a_pod_that_ends_by_itself_is_neither_evicted_nor_shut_down() {
    check(
        &pod("Never", &["s+", "i"], &["app"]),
        "
s: ignores TERM
i: runs 1s, exits 1
at 5s evict late
at 6s node shuts down
show stop Evicted Terminated #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s Waiting:PodInitializing rs #0; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = s Running RS #0
            0.0    = i Running rS #0
            1.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/PodFailed Containers=False/PodFailed]; i Error(1) rs #0
            1.0    > stop s within 30s (PodEnds)
            31.0   = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/PodFailed Containers=False/PodFailed]; s Error(137) rs #0
            31.0   > stop sandbox
            31.0   # Failed
        "#]],
    );
}

#[test]
fn s4_45_a_second_deletion_does_not_disturb_the_removal() {
    check(
        &pod("Always", &[], &["app"]),
        "
steps take 1s
at 10s delete grace 5
at 11.5s delete grace 0
at 12.5s delete grace 0
show > #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            3.0    > start app
            4.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            10.0   > stop app within 5s (PodEnds)
            11.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            11.0   > stop sandbox
            12.0   > remove sandbox
            13.0   > clean up
            14.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_15_a_spec_grace_of_zero_leaves_no_time_for_the_hook_at_a_natural_end() {
    check(
        &format!("{}  terminationGracePeriodSeconds: 0\n", pod("Never", &[&format!("s1+ {PRE_STOP}")], &["app"])),
        "
app: runs 1s
s1: ignores TERM
show stop preStop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    > stop s1 within 2s (PodEnds)
            3.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Error(137) rs #0
            3.0    > stop sandbox
            3.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_28_s4_30_a_single_kill_that_fails_starts_nothing_beside_what_still_runs() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 1, failureThreshold: 1}"]),
        "
app: stop fails until 9s, liveness fails from 3s
until 25s
show stop start Kill
",
        expect![[r#"
            0.0    > start app
            3.0    ! app Killing: Container app failed liveness probe, will be restarted
            3.0    > stop app within 30s (Liveness)
            3.0    ! Warning FailedKillPod: error killing pod: the runtime is busy
            13.0   ! app Killing: Container app failed liveness probe, will be restarted
            13.0   > stop app within 30s (Liveness)
            13.0   > start app
            16.0   ! app Killing: Container app failed liveness probe, will be restarted
            16.0   > stop app within 30s (Liveness)
            16.0   > start app
            19.0   ! app Killing: Container app failed liveness probe, will be restarted
            19.0   > stop app within 30s (Liveness)
            19.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            19.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s4_31_a_container_that_ends_by_itself_meanwhile_is_not_killed() {
    check(
        &pod(
            "Never",
            &[],
            &[
                "a livenessProbe: {periodSeconds: 1, failureThreshold: 1}",
                "b livenessProbe: {periodSeconds: 1, failureThreshold: 1}",
                "c",
            ],
        ),
        "
a: stops in 10s, liveness fails from 3s
b: liveness fails from 3s
at 8s exit b 7
until 20s
show stop Killing Error
",
        expect![[r#"
            3.0    ! a Killing: Container a failed liveness probe
            3.0    > stop a within 30s (Liveness)
            13.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Completed(0) rs #0; b Error(7) rs #0
        "#]],
    );
}

#[test]
fn s3_59_s5_08_an_exit_that_nobody_hears_of_is_made_up_after_ten_seconds() {
    check(
        &pod("Never", &[], &["app livenessProbe: {periodSeconds: 1, failureThreshold: 1}", "other"]),
        "
app: liveness fails from 3s, exits unseen, stops in 1s with 5
at 20s news of app
at 21s news of app
until 30s
verbose
show stop exited app
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; other Waiting:ContainerCreating rs #0
            0.0    > image of app
            0.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ! app Created: Container created
            0.0    > start app
            0.0    ~ app #0 started
            0.0    ! app Started: Container started
            0.0    ~ app #0 ready
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; other Running RS #0
            1.0    > liveness probe of app
            2.0    > liveness probe of app
            3.0    > liveness probe of app
            3.0    ! app Warning Unhealthy: Liveness probe failed:
            3.0    ~ app #0 liveness probe failed
            3.0    ! app Killing: Container app failed liveness probe
            3.0    > stop app within 30s (Liveness)
            3.0    ~ app #0 stop signal (Liveness)
            14.0   ~ app #0 exited 137 ContainerStatusUnknown
            14.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app ContainerStatusUnknown(137) rs #0
            20.0   = app Error(5) rs #0
        "#]],
    );
}

#[test]
fn s3_51_s3_59_what_ended_unseen_in_a_lost_sandbox_is_started_again() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
app: exits unseen
s1: exits unseen
at 5s sandbox lost
until 20s
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    = [Sandbox=False Initialized=True Ready=True Containers=True]
            5.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            5.0    > stop sandbox
            5.0    > create sandbox 1
            5.0    = [Sandbox=True Initialized=True Ready=True Containers=True]
            5.0    > start s1
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #1 last=ContainerStatusUnknown(137); app ContainerStatusUnknown(137) rs #0
            5.0    > start app
            5.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=ContainerStatusUnknown(137)
        "#]],
    );
}

#[test]
fn s4_02_a_lost_sandbox_is_stopped_before_its_pod_ends() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
steps take 1s
app: exits unseen
at 15s sandbox lost
at 15.5s delete
until 40s
show > # app
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            3.0    > start s1
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            6.0    > start app
            7.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            15.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(137) rs #0
            15.5   > stop sandbox
            16.5   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app ContainerStatusUnknown(137) rs #0
            16.5   > remove sandbox
            17.5   > clean up
            18.5   # Failed
        "#]],
    );
}

#[test]
fn s4_61_a_liveness_run_going_on_is_given_up_when_the_pod_ends() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 5}, readinessProbe: {periodSeconds: 5}"]),
        "
steps take 2s
app: stops in 9s, liveness fails, readiness fails
at 14s delete
until 40s
verbose
show probe Probe cancel #
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            2.0    ~ pod #0 sandbox ready
            4.0    > create app #0
            6.0    ~ app #0 created
            8.0    ~ app #0 started
            8.0    ~ pod #0 phase Running
            8.0    = Running; app Running rS #0
            8.0    > readiness probe of app
            10.0   ! app Warning Unhealthy: Readiness probe failed:
            13.0   > liveness probe of app
            13.0   > readiness probe of app
            14.0   > cancel
            14.0   ~ app #0 stop signal (PodEnds)
            15.0   ! app Warning Unhealthy: Readiness probe failed:
            18.0   > readiness probe of app
            20.0   ! app Warning Unhealthy: Readiness probe failed:
            23.0   > readiness probe of app
            25.0   ~ app #0 exited 0 Completed
            25.0   > cancel
            25.0   ~ pod #0 phase Succeeded
            25.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            31.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_43_a_pod_deleted_before_its_last_sidecar_has_started_up_has_never_had_its_mains() {
    check(
        &pod("Always", &["a+", "s1+ startupProbe: {periodSeconds: 1}"], &["app"]),
        "
s1: startup fails
at 2s delete
show = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = a Running RS #0
            0.0    = s1 Running rs #0
            2.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Completed(0) rs #0; s1 Completed(0) rs #0
            2.0    # Failed
        "#]],
    );
}

#[test]
fn s4_43_a_pod_deleted_during_the_first_pull_of_a_main_counts_it_as_lost() {
    check(
        &pod("Always", &["s1+"], &["a", "b"]),
        "
b: image takes 9s
at 2s delete
show = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            2.0    = a Running RS #0
            2.0    = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #0; a Completed(0) rs #0; b ContainerStatusUnknown(137) rs #0
            2.0    # Failed
        "#]],
    );
}

#[test]
fn s4_43_a_pod_deleted_while_it_is_initialised_again_had_been_initialised() {
    check(
        &pod("Always", &["i"], &["app"]),
        "
i: runs 1s
app: config fails until 99s
at 3s i: runs 9s
at 3s sandbox lost
at 5s delete
show = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = i Running rS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
            1.0    = app Waiting:CreateContainerConfigError rs #0
            3.0    = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            3.0    = i Running rS #1 last=Completed(0)
            5.0    = app Waiting:PodInitializing rs #0
            5.0    = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #1 last=Completed(0); app ContainerStatusUnknown(137) rs #0
            5.0    # Failed
        "#]],
    );
}

#[test]
fn s3_32_s4_28_what_is_to_be_tried_again_delays_no_deletion() {
    check(
        &pod("Always", &[], &["a", "b"]),
        "
a: config fails until 99s
b: stop fails until 9s
at 5s delete
show stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:ContainerCreating rs #0; b Waiting:ContainerCreating rs #0
            0.0    = a Waiting:CreateContainerConfigError rs #0; b Running RS #0
            5.0    = a Waiting:ContainerCreating rs #0
            5.0    > stop b within 30s (PodEnds)
            15.0   > stop b within 30s (PodEnds)
            15.0   = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a ContainerStatusUnknown(137) rs #0; b Completed(0) rs #0
            15.0   > stop sandbox
            15.0   # Failed
        "#]],
    );
}

#[test]
fn s4_61_the_startup_probe_of_a_main_is_not_asked_any_more() {
    check(
        &pod("Always", &[], &["app startupProbe: {periodSeconds: 1, failureThreshold: 99}"]),
        "
app: startup fails, stops in 5s
at 2500ms delete
verbose
show probe #
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ~ app #0 started
            0.0    ~ pod #0 phase Running
            0.0    = Running; app Running rs #0
            0.0    > startup probe of app
            1.0    > startup probe of app
            1.0    ! app Warning Unhealthy: Startup probe failed:
            2.0    > startup probe of app
            2.0    ! app Warning Unhealthy: Startup probe failed:
            2.5    ~ app #0 stop signal (PodEnds)
            7.5    ~ app #0 exited 0 Completed
            7.5    ~ pod #0 phase Succeeded
            7.5    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            7.5    # Succeeded
        "#]],
    );
}

#[test]
fn s4_43_a_sandbox_that_is_lost_before_anything_ran_goes_with_its_pod() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: image takes 9s
at 3s sandbox lost
at 4s delete
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            4.0    = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app ContainerStatusUnknown(137) rs #0
            4.0    > stop sandbox
            4.0    > remove sandbox
            4.0    > clean up
            4.0    # Failed
        "#]],
    );
}

#[test]
fn s4_43_a_main_that_runs_proves_that_the_pod_was_initialised() {
    check(
        &pod("Always", &["s1+"], &["a", "b"]),
        "
b: config fails until 99s
at 1s exit s1 1
at 2s exit s1 1
at 5s delete
show = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = a Running RS #0; b Waiting:CreateContainerConfigError rs #0
            1.0    = s1 Error(1) rs #0
            1.0    = s1 Running RS #1 last=Error(1)
            2.0    = s1 Error(1) rs #1 last=Error(1)
            2.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(1)
            5.0    = s1 Error(1) rs #1 last=Error(1); b Waiting:PodInitializing rs #0
            5.0    = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Completed(0) rs #0; b ContainerStatusUnknown(137) rs #0
            5.0    # Failed
        "#]],
    );
}
