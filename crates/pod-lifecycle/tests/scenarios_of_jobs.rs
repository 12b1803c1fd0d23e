//! The recorded scenarios of pods that belong to Jobs: what a real Kubernetes 1.36 did with these pods, and what the machine does with them in
//! a world in which nothing takes time but what the scenario says.

use expect_test::expect;
use testkit::engine::check_recorded;

#[test]
fn s5_41_a_pod_of_a_failing_job_fails() {
    check_recorded(
        include_str!("oracle/job-backoff-never.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            0.5    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(1) rs #0
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

#[test]
fn s4_66_a_classic_sidecar_keeps_its_pod_running() {
    check_recorded(
        include_str!("oracle/job-classic-sidecar-hangs.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; s1 Waiting:ContainerCreating rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start app
            0.0    > start s1
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; s1 Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
        "#]],
    );
}

#[test]
fn s4_65_a_native_sidecar_ends_with_its_pod() {
    check_recorded(
        include_str!("oracle/job-native-sidecar.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    ! s1 Killing: Stopping container s1
            1.0    > stop s1 within 30s (PodEnds)
            1.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0
            1.0    > stop sandbox
            1.0    > remove sandbox
            1.0    > clean up
            1.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_65_a_pod_of_an_indexed_job_ends_with_its_main() {
    check_recorded(
        include_str!("oracle/job-indexed-with-sidecar.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    ! s1 Killing: Stopping container s1
            1.0    > stop s1 within 30s (PodEnds)
            1.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0
            1.0    > stop sandbox
            1.0    > remove sandbox
            1.0    > clean up
            1.0    # Succeeded
        "#]],
    );
}

#[test]
fn s3_02_a_sidecar_restarts_in_an_on_failure_pod() {
    check_recorded(
        include_str!("oracle/job-onfailure-sidecar-restarts-count.txt"),
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
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
            12.0   > start s1
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #2 last=Error(1)
            12.2   ! s1 Killing: Stopping container s1
            12.2   ! app Killing: Stopping container app
            12.2   > stop app within 30s (PodEnds)
            12.2   > stop s1 within 30s (PodEnds)
            12.7   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Error(1) rs #2 last=Error(1); app Completed(0) rs #0
            12.7   > stop sandbox
            12.7   > remove sandbox
            12.7   > clean up
            12.7   # Succeeded
        "#]],
    );
}
