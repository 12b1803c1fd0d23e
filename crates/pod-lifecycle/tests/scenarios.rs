//! The recorded scenarios: what a real Kubernetes 1.36 did with these pods, and what the machine does with them in
//! a world in which nothing takes time but what the scenario says.

use expect_test::expect;
use testkit::engine::check_recorded;

#[test]
fn s4_54_fails_when_its_active_deadline_passes() {
    check_recorded(
        include_str!("oracle/active-deadline-with-sidecar.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            8.0    ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            8.0    = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed]
            8.0    ! s1 Killing: Stopping container s1
            8.0    ! app Killing: Stopping container app
            8.0    > stop app within 5s (PodEnds)
            8.0    > stop s1 within 5s (PodEnds)
            8.0    = Failed (DeadlineExceeded); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0; app Completed(0) rs #0
            8.0    > stop sandbox
            8.0    > remove sandbox
            8.0    > clean up
            8.0    # Failed
        "#]],
    );
}

#[test]
fn s3_31_waits_for_an_image_that_is_never_pulled() {
    check_recorded(
        include_str!("oracle/app-image-missing.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    ! app Warning ErrImageNeverPull: Container image "nowhere.invalid/none:1" is not present with pull policy of Never
            0.0    ! app Warning Failed: Error: ErrImageNeverPull
            0.0    = app Waiting:ErrImageNeverPull rs #0
            10.0   ! app Warning ErrImageNeverPull: Container image "nowhere.invalid/none:1" is not present with pull policy of Never
            10.0   ! app Warning Failed: Error: ErrImageNeverPull
        "#]],
    );
}

#[test]
fn s5_06_a_program_that_cannot_be_executed_loops() {
    check_recorded(
        include_str!("oracle/bad-command.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    ! app Warning Failed: Error: exec: "/does-not-exist": no such file or directory
            0.0    = Running; app Waiting:RunContainerError rs #0 last=StartError(128)
            0.0    > start app
            0.0    ! app Warning Failed: Error: exec: "/does-not-exist": no such file or directory
            0.0    = app Waiting:RunContainerError rs #1 last=StartError(128)
            0.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            0.0    = app Waiting:CrashLoopBackOff rs #1 last=StartError(128)
            10.0   > start app
            10.0   ! app Warning Failed: Error: exec: "/does-not-exist": no such file or directory
            10.0   = app Waiting:RunContainerError rs #2 last=StartError(128)
            10.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            10.0   = app Waiting:CrashLoopBackOff rs #2 last=StartError(128)
        "#]],
    );
}

#[test]
fn s4_25_deleted_during_init_stops_both_at_once() {
    check_recorded(
        include_str!("oracle/delete-during-init.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            5.0    ! s1 Killing: Stopping container s1
            5.0    > stop s1 within 6s (PodEnds)
            5.0    ! i1 Killing: Stopping container i1
            5.0    > stop i1 within 6s (PodEnds)
            5.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #0; i1 Completed(0) Rs #0
            5.0    > stop sandbox
            5.0    > remove sandbox
            5.0    > clean up
            5.0    # Failed
        "#]],
    );
}

#[test]
fn s4_23_a_main_that_ignores_term_uses_up_the_grace() {
    check_recorded(
        include_str!("oracle/delete-main-ignores-term.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start s2
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s2 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            6.0    ! s1 Killing: Stopping container s1
            6.0    ! s2 Killing: Stopping container s2
            6.0    ! app Killing: Stopping container app
            6.0    > stop app within 8s (PodEnds)
            14.0   > stop s2 within 2s (PodEnds)
            14.0   > stop s1 within 2s (PodEnds)
            14.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0; s2 Completed(0) rs #0; app Error(137) rs #0
            14.0   > stop sandbox
            14.0   > remove sandbox
            14.0   > clean up
            14.0   # Failed
        "#]],
    );
}

#[test]
fn s4_21_pre_stop_hooks_run_at_once() {
    check_recorded(
        include_str!("oracle/delete-prestop-all-at-once.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start s2
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s2 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            6.0    ! s1 Killing: Stopping container s1
            6.0    > preStop of s1
            6.0    ! s2 Killing: Stopping container s2
            6.0    > preStop of s2
            6.0    ! app Killing: Stopping container app
            6.0    > preStop of app
            8.0    > stop app within 13s (PodEnds)
            8.0    > stop s2 within 13s (PodEnds)
            9.0    > stop s1 within 12s (PodEnds)
            9.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0; s2 Completed(0) rs #0; app Completed(0) rs #0
            9.0    > stop sandbox
            9.0    > remove sandbox
            9.0    > clean up
            9.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_22_a_sidecar_that_ignores_term_uses_up_the_grace() {
    check_recorded(
        include_str!("oracle/delete-sidecar-ignores-term.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start s2
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s2 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            6.0    ! s1 Killing: Stopping container s1
            6.0    ! s2 Killing: Stopping container s2
            6.0    ! app Killing: Stopping container app
            6.0    > stop app within 8s (PodEnds)
            8.0    > stop s2 within 6s (PodEnds)
            14.0   > stop s1 within 2s (PodEnds)
            14.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0; s2 Error(137) rs #0; app Completed(0) rs #0
            14.0   > stop sandbox
            14.0   > remove sandbox
            14.0   > clean up
            14.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_52_force_deletion_leaves_two_seconds() {
    check_recorded(
        include_str!("oracle/force-delete.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    ! s1 Killing: Stopping container s1
            5.0    ! app Killing: Stopping container app
            5.0    > stop app within 2s (PodEnds)
            6.0    > stop s1 within 2s (PodEnds)
            8.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Error(137) rs #0; app Error(137) rs #0
            8.0    > stop sandbox
            8.0    > remove sandbox
            8.0    > clean up
            8.0    # Failed
        "#]],
    );
}

#[test]
fn s5_43_a_failing_init_is_retried_beside_its_sidecar() {
    check_recorded(
        include_str!("oracle/init-after-sidecar-fails-always.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Error(2) rs #0
            1.0    > start i1
            1.0    = i1 Running rS #1 last=Error(2)
            2.0    = i1 Error(2) rs #1 last=Error(2)
            2.0    ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            2.0    = i1 Waiting:CrashLoopBackOff rs #1 last=Error(2)
            12.0   > start i1
            12.0   = i1 Running rS #2 last=Error(2)
            13.0   = i1 Error(2) rs #2 last=Error(2)
            13.0   ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            13.0   = i1 Waiting:CrashLoopBackOff rs #2 last=Error(2)
            33.0   > start i1
            33.0   = i1 Running rS #3 last=Error(2)
            34.0   = i1 Error(2) rs #3 last=Error(2)
            34.0   ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            34.0   = i1 Waiting:CrashLoopBackOff rs #3 last=Error(2)
        "#]],
    );
}

#[test]
fn s3_04_a_failing_init_ends_a_never_pod() {
    check_recorded(
        include_str!("oracle/init-after-sidecar-fails-never.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/PodFailed Containers=False/PodFailed]; i1 Error(2) rs #0
            1.0    ! s1 Killing: Stopping container s1
            1.0    > stop s1 within 30s (PodEnds)
            1.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0
            1.0    > stop sandbox
            1.0    > remove sandbox
            1.0    > clean up
            1.0    # Failed
        "#]],
    );
}

#[test]
fn s4_20_natural_end_stops_sidecars_in_reverse() {
    check_recorded(
        include_str!("oracle/natural-end-stops-sidecars-in-reverse.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running RS #0
            0.0    > start s2
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s2 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            3.0    ! s1 Killing: Stopping container s1
            3.0    > preStop of s1
            3.0    ! s2 Killing: Stopping container s2
            3.0    > stop s2 within 30s (PodEnds)
            4.0    > stop s1 within 29s (PodEnds)
            5.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0; s2 Error(3) rs #0
            5.0    > stop sandbox
            5.0    > remove sandbox
            5.0    > clean up
            5.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_40_a_main_out_of_memory_fails_the_pod() {
    check_recorded(
        include_str!("oracle/oom-killed.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app OOMKilled(137) rs #0
            2.0    ! s1 Killing: Stopping container s1
            2.0    > stop s1 within 30s (PodEnds)
            2.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0
            2.0    > stop sandbox
            2.0    > remove sandbox
            2.0    > clean up
            2.0    # Failed
        "#]],
    );
}

#[test]
fn s2_03_init_entries_start_in_order_and_mains_one_by_one() {
    check_recorded(
        include_str!("oracle/order-mixed.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; i2 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; m1 Waiting:PodInitializing rs #0; m2 Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Completed(0) Rs #0
            1.0    > start s1
            1.0    = s1 Running RS #0
            1.0    > start i2
            1.0    = i2 Running rS #0
            2.0    = i2 Completed(0) Rs #0
            2.0    > start s2
            2.0    = s2 Running rs #0
            3.0    ! s2 Warning Unhealthy: Startup probe failed:
            4.0    ! s2 Warning Unhealthy: Startup probe failed:
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s2 Running RS #0
            5.0    > start m1
            5.0    > postStart of m1
            7.0    > start m2
            7.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; m1 Running RS #0; m2 Running RS #0
            15.0   ! s1 Killing: Stopping container s1
            15.0   ! s2 Killing: Stopping container s2
            15.0   ! m1 Killing: Stopping container m1
            15.0   > stop m1 within 10s (PodEnds)
            15.0   ! m2 Killing: Stopping container m2
            15.0   > stop m2 within 10s (PodEnds)
            15.0   > stop s2 within 10s (PodEnds)
            15.0   > stop s1 within 10s (PodEnds)
            15.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0; s2 Completed(0) rs #0; m1 Completed(0) rs #0; m2 Completed(0) rs #0
            15.0   > stop sandbox
            15.0   > remove sandbox
            15.0   > clean up
            15.0   # Succeeded
        "#]],
    );
}

#[test]
fn s2_04_a_server_as_plain_init_blocks_for_ever() {
    check_recorded(
        include_str!("oracle/plain-init-server-blocks.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running rS #0
        "#]],
    );
}

#[test]
fn s7_03_a_failing_post_start_hook_loops() {
    check_recorded(
        include_str!("oracle/poststart-fails.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    > postStart of app
            0.0    ! app Warning FailedPostStartHook: PostStartHook failed
            0.0    ! app Killing: FailedPostStartHook
            0.0    > stop app within 3s (PostStartHook)
            0.0    = Running; app Waiting:PostStartHookError rs #0 last=Completed(0)
            0.0    > start app
            0.0    > postStart of app
            0.0    ! app Warning FailedPostStartHook: PostStartHook failed
            0.0    ! app Killing: FailedPostStartHook
            0.0    > stop app within 3s (PostStartHook)
            0.0    = app Waiting:PostStartHookError rs #1 last=Completed(0)
            0.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            0.0    = app Waiting:CrashLoopBackOff rs #1 last=Completed(0)
            10.0   > start app
            10.0   > postStart of app
            10.0   ! app Warning FailedPostStartHook: PostStartHook failed
            10.0   ! app Killing: FailedPostStartHook
            10.0   > stop app within 3s (PostStartHook)
            10.0   = app Waiting:PostStartHookError rs #2 last=Completed(0)
            10.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            10.0   = app Waiting:CrashLoopBackOff rs #2 last=Completed(0)
        "#]],
    );
}

#[test]
fn s3_02_a_sidecar_restarts_in_a_never_pod() {
    check_recorded(
        include_str!("oracle/sidecar-crashes-in-never-pod.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #0
            2.0    > start s1
            2.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Error(1)
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #1 last=Error(1)
            4.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            4.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(1)
            14.0   > start s1
            14.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #2 last=Error(1)
            16.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #2 last=Error(1)
            16.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            16.0   = s1 Waiting:CrashLoopBackOff rs #2 last=Error(1)
            36.0   > start s1
            36.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #3 last=Error(1)
            38.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #3 last=Error(1)
            38.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            38.0   = s1 Waiting:CrashLoopBackOff rs #3 last=Error(1)
        "#]],
    );
}

#[test]
fn s3_24_a_sidecar_that_exits_zero_restarts_until_the_main_is_done() {
    check_recorded(
        include_str!("oracle/sidecar-exits-zero-restarts.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #0
            2.0    > start s1
            2.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Completed(0)
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #1 last=Completed(0)
            4.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            14.0   > start s1
            14.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #2 last=Completed(0)
            16.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #2 last=Completed(0)
            16.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            30.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            30.0   > stop sandbox
            30.0   > remove sandbox
            30.0   > clean up
            30.0   # Succeeded
        "#]],
    );
}

#[test]
fn s2_13_a_sidecar_without_image_holds_a_never_pod() {
    check_recorded(
        include_str!("oracle/sidecar-image-missing-never.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    ! s1 Warning ErrImageNeverPull: Container image "nowhere.invalid/none:1" is not present with pull policy of Never
            0.0    ! s1 Warning Failed: Error: ErrImageNeverPull
            0.0    = s1 Waiting:ErrImageNeverPull rs #0
            10.0   ! s1 Warning ErrImageNeverPull: Container image "nowhere.invalid/none:1" is not present with pull policy of Never
            10.0   ! s1 Warning Failed: Error: ErrImageNeverPull
            20.0   ! s1 Warning ErrImageNeverPull: Container image "nowhere.invalid/none:1" is not present with pull policy of Never
            20.0   ! s1 Warning Failed: Error: ErrImageNeverPull
        "#]],
    );
}

#[test]
fn s3_30_liveness_restarts_back_off_from_the_third() {
    check_recorded(
        include_str!("oracle/sidecar-liveness-restarts.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            4.0    ! s1 Warning Unhealthy: Liveness probe failed:
            5.0    ! s1 Warning Unhealthy: Liveness probe failed:
            5.0    ! s1 Killing: Init container s1 failed liveness probe
            5.0    > stop s1 within 30s (Liveness)
            5.0    > start s1
            5.0    = s1 Running RS #1 last=Completed(0)
            9.0    ! s1 Warning Unhealthy: Liveness probe failed:
            10.0   ! s1 Warning Unhealthy: Liveness probe failed:
            10.0   ! s1 Killing: Init container s1 failed liveness probe
            10.0   > stop s1 within 30s (Liveness)
            10.0   > start s1
            10.0   = s1 Running RS #2 last=Completed(0)
            14.0   ! s1 Warning Unhealthy: Liveness probe failed:
            15.0   ! s1 Warning Unhealthy: Liveness probe failed:
            15.0   ! s1 Killing: Init container s1 failed liveness probe
            15.0   > stop s1 within 30s (Liveness)
            15.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            15.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #2 last=Completed(0)
            15.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            25.0   > start s1
            25.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #3 last=Completed(0)
            29.0   ! s1 Warning Unhealthy: Liveness probe failed:
            30.0   ! s1 Warning Unhealthy: Liveness probe failed:
            30.0   ! s1 Killing: Init container s1 failed liveness probe
            30.0   > stop s1 within 30s (Liveness)
            30.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            30.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #3 last=Completed(0)
            30.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            50.0   > start s1
            50.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #4 last=Completed(0)
            54.0   ! s1 Warning Unhealthy: Liveness probe failed:
            55.0   ! s1 Warning Unhealthy: Liveness probe failed:
            55.0   ! s1 Killing: Init container s1 failed liveness probe
            55.0   > stop s1 within 30s (Liveness)
            55.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            55.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #4 last=Completed(0)
            55.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s5_37_a_sidecar_that_is_not_ready_makes_the_pod_not_ready() {
    check_recorded(
        include_str!("oracle/sidecar-readiness-gates-pod-ready.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            0.0    ! s1 Warning Unhealthy: Readiness probe failed:
            0.0    > start app
            0.0    = Running; app Running RS #0
            0.0    ! s1 Warning Unhealthy: Readiness probe failed:
            1.0    ! s1 Warning Unhealthy: Readiness probe failed:
            2.0    ! s1 Warning Unhealthy: Readiness probe failed:
            3.0    ! s1 Warning Unhealthy: Readiness probe failed:
            4.0    ! s1 Warning Unhealthy: Readiness probe failed:
            5.0    ! s1 Warning Unhealthy: Readiness probe failed:
            6.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #0
        "#]],
    );
}

#[test]
fn s2_19_a_sidecar_that_never_starts_up_holds_a_never_pod() {
    check_recorded(
        include_str!("oracle/sidecar-startup-probe-fails-in-never-pod.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running rs #0
            1.0    ! s1 Warning Unhealthy: Startup probe failed:
            2.0    ! s1 Warning Unhealthy: Startup probe failed:
            3.0    ! s1 Warning Unhealthy: Startup probe failed:
            3.0    ! s1 Killing: Init container s1 failed startup probe
            3.0    > stop s1 within 30s (Startup)
            3.0    > start s1
            3.0    = s1 Running rs #1 last=Completed(0)
            4.0    ! s1 Warning Unhealthy: Startup probe failed:
            5.0    ! s1 Warning Unhealthy: Startup probe failed:
            6.0    ! s1 Warning Unhealthy: Startup probe failed:
            6.0    ! s1 Killing: Init container s1 failed startup probe
            6.0    > stop s1 within 30s (Startup)
            6.0    > start s1
            6.0    = s1 Running rs #2 last=Completed(0)
            7.0    ! s1 Warning Unhealthy: Startup probe failed:
            8.0    ! s1 Warning Unhealthy: Startup probe failed:
            9.0    ! s1 Warning Unhealthy: Startup probe failed:
            9.0    ! s1 Killing: Init container s1 failed startup probe
            9.0    > stop s1 within 30s (Startup)
            9.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            9.0    = s1 Completed(0) rs #2 last=Completed(0)
            9.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            19.0   > start s1
            19.0   = s1 Running rs #3 last=Completed(0)
            20.0   ! s1 Warning Unhealthy: Startup probe failed:
            21.0   ! s1 Warning Unhealthy: Startup probe failed:
            22.0   ! s1 Warning Unhealthy: Startup probe failed:
            22.0   ! s1 Killing: Init container s1 failed startup probe
            22.0   > stop s1 within 30s (Startup)
            22.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            22.0   = s1 Completed(0) rs #3 last=Completed(0)
            22.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            42.0   > start s1
            42.0   = s1 Running rs #4 last=Completed(0)
            43.0   ! s1 Warning Unhealthy: Startup probe failed:
            44.0   ! s1 Warning Unhealthy: Startup probe failed:
            45.0   ! s1 Warning Unhealthy: Startup probe failed:
            45.0   ! s1 Killing: Init container s1 failed startup probe
            45.0   > stop s1 within 30s (Startup)
            45.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            45.0   = s1 Completed(0) rs #4 last=Completed(0)
            45.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s5_09_the_termination_message_is_passed_on() {
    check_recorded(
        include_str!("oracle/termination-message-fallback.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            0.5    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(7) rs #0
            0.5    ! s1 Killing: Stopping container s1
            0.5    > stop s1 within 30s (PodEnds)
            0.5    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0
            0.5    > stop sandbox
            0.5    > remove sandbox
            0.5    > clean up
            0.5    # Failed
        "#]],
    );
}
