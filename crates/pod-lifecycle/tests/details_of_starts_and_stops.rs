//! Rules of S2 to S4, each shown by one short script.

use expect_test::expect;
use testkit::engine::{check, pod};

#[test]
fn s2_06_a_sidecar_has_started_when_process_hook_and_startup_probe_have() {
    check(
        &pod(
            "Always",
            &[
                "s1+ startupProbe: {periodSeconds: 1, failureThreshold: 9}, lifecycle: {postStart: {exec: {command: [x]}}}",
            ],
            &["app"],
        ),
        "
s1: postStart takes 2s, startup fails until 5s
until 8s
show start s1
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    > postStart of s1
            2.0    = s1 Running rs #0
            2.0    ! s1 Warning Unhealthy: Startup probe failed:
            3.0    ! s1 Warning Unhealthy: Startup probe failed:
            4.0    ! s1 Warning Unhealthy: Startup probe failed:
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            5.0    > start app
        "#]],
    );
}

#[test]
fn s2_09_s2_22_each_init_entry_is_begun_when_the_one_before_was_seen_to_have_started() {
    check(
        &pod("Always", &["a+", "b+", "c+"], &["app"]),
        "
a: image takes 3s
b: image takes 2s
until 9s
show image start
",
        expect![[r#"
            3.0    > start a
            5.0    > start b
            5.0    > start c
            5.0    > start app
        "#]],
    );
}

#[test]
fn s2_10_mains_wait_for_every_init_entry() {
    check(
        &pod("Always", &["i1", "s1+ startupProbe: {periodSeconds: 1, failureThreshold: 9}", "i2"], &["app"]),
        "
i1: runs 2s
s1: startup fails until 4s
i2: runs 3s
until 9s
show start
",
        expect![[r#"
            0.0    > start i1
            2.0    > start s1
            6.0    > start i2
            9.0    > start app
        "#]],
    );
}

#[test]
fn s2_16_init_containers_whose_records_are_gone_are_not_run_again() {
    check(
        &pod("Always", &["i1", "i2", "i3"], &["app"]),
        "
i1: runs 1s
i2: runs 1s
i3: runs 9s
at 5s records of i1 lost
at 5s records of i2 lost
at 5s agent restarts
until 20s
show start
",
        expect![[r#"
            0.0    > start i1
            1.0    > start i2
            2.0    > start i3
            11.0   > start app
        "#]],
    );
}

#[test]
fn s2_18_a_sidecar_whose_record_is_gone_starts_again_and_a_plain_init_container_does_not() {
    check(
        &pod("Always", &["i1", "s1+"], &["app"]),
        "
i1: runs 1s
at 5s exit s1 1
at 6s exit s1 1
at 7s records of i1 lost
at 7s records of s1 lost
at 7s agent restarts
until 20s
show start
",
        expect![[r#"
            0.0    > start i1
            1.0    > start s1
            1.0    > start app
            5.0    > start s1
            6.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            7.0    > start s1
        "#]],
    );
}

#[test]
fn s2_24_init_containers_are_not_run_again_beside_running_mains() {
    check(
        &pod("Always", &["i1"], &["app"]),
        "
i1: runs 1s
at 5s exit app 1
at 6s image i1 other
at 7s agent restarts
at 8s exit app 1
until 60s
show start
",
        expect![[r#"
            0.0    > start i1
            1.0    > start app
            5.0    > start app
            8.0    > start app
        "#]],
    );
}

#[test]
fn s3_25_the_back_off_is_the_same_for_mains_and_sidecars() {
    check(
        &pod("Always", &["s1+"], &["app", "calm"]),
        "
s1: runs 1s, exits 1
app: runs 1s, exits 1
until 100s
show start
",
        expect![[r#"
            0.0    > start s1
            0.0    > start app
            0.0    > start calm
            1.0    > start s1
            1.0    > start app
            2.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            12.0   > start s1
            12.0   > start app
            13.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            13.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            33.0   > start s1
            33.0   > start app
            34.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            34.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            74.0   > start s1
            74.0   > start app
            75.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            75.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s3_25_the_back_off_is_the_same_for_init_containers() {
    check(
        &pod("Always", &["i1"], &["app"]),
        "
i1: runs 1s, exits 1
until 100s
show start
",
        expect![[r#"
            0.0    > start i1
            1.0    > start i1
            2.0    ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            12.0   > start i1
            13.0   ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            33.0   > start i1
            34.0   ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            74.0   > start i1
            75.0   ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s3_29_a_restart_comes_exactly_when_its_back_off_has_passed() {
    check(
        &pod("Always", &[], &["app", "other"]),
        "
app: runs 2s, exits 1
other: runs 3s, exits 1
until 40s
show start
",
        expect![[r#"
            0.0    > start app
            0.0    > start other
            2.0    > start app
            3.0    > start other
            4.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            6.0    ! other Warning BackOff: Back-off restarting failed container other in pod pod_default(uid-1)
            14.0   > start app
            16.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            16.0   > start other
            19.0   ! other Warning BackOff: Back-off restarting failed container other in pod pod_default(uid-1)
            36.0   > start app
            38.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            39.0   > start other
        "#]],
    );
}

#[test]
fn s3_33_a_crash_is_answered_at_once() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
at 1.25s exit s1 1
at 2.5s exit app 1
until 5s
show start
",
        expect![[r#"
            0.0    > start s1
            0.0    > start app
            1.2    > start s1
            2.5    > start app
        "#]],
    );
}

#[test]
fn s3_50_s12_12_a_sandbox_that_is_not_ready_is_made_anew_under_the_next_number() {
    check(
        &pod("Always", &[], &["app"]),
        "
at 3s sandbox lost
at 6s sandbox lost
at 9s agent restarts
at 12s records lost
until 20s
show sandbox SandboxChanged
",
        expect![[r#"
            0.0    > create sandbox 0
            3.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            3.0    > stop sandbox
            3.0    > create sandbox 1
            6.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            6.0    > stop sandbox
            6.0    > create sandbox 2
            12.0   > create sandbox 1
        "#]],
    );
}

#[test]
fn s3_54_after_a_reboot_the_pod_is_pending_until_it_is_initialised_again() {
    check(
        &pod("Always", &["i1", "s1+"], &["app"]),
        "
i1: runs 2s
at 10s records lost
until 20s
show Pending Running start
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            2.0    > start s1
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            2.0    > start app
            2.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            10.0   > start i1
            10.0   = Pending; i1 Running rS #1 last=Completed(0)
            12.0   = Running; i1 Completed(0) Rs #1 last=Completed(0)
            12.0   > start s1
            12.0   = s1 Running RS #1 last=ContainerStatusUnknown(137)
            12.0   > start app
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=ContainerStatusUnknown(137)
        "#]],
    );
}

#[test]
fn s3_10_a_restart_keeps_the_sandbox() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
at 3s exit app 1
at 4s exit s1 1
at 5s agent restarts
until 30s
show sandbox volumes start
",
        expect![[r#"
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    > start s1
            0.0    > start app
            3.0    > start app
            4.0    > start s1
            5.0    > prepare volumes
        "#]],
    );
}

#[test]
fn s3_06_a_container_that_was_created_but_did_not_start_is_started_whatever_the_policy() {
    check(
        &pod("Never", &["s1+"], &["app"]),
        "
s1: cannot start
at 5s s1: can start
until 40s
show start s1 StartError Error
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    ! s1 Warning Failed: Error: exec: "/does-not-exist": no such file or directory
            0.0    = s1 Waiting:RunContainerError rs #0 last=StartError(128)
            0.0    > start s1
            0.0    ! s1 Warning Failed: Error: exec: "/does-not-exist": no such file or directory
            0.0    = s1 Waiting:RunContainerError rs #1 last=StartError(128)
            0.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            0.0    = s1 Waiting:CrashLoopBackOff rs #1 last=StartError(128)
            10.0   > start s1
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #2 last=StartError(128)
            10.0   > start app
        "#]],
    );
}

#[test]
fn s4_01_s4_02_a_pod_that_ends_never_starts_anything_again() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
app: ignores TERM
at 1s delete grace 20
at 3s agent restarts
at 4s image app other
at 5s exit s1 1
show start stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > stop app within 20s (PodEnds)
            3.0    > stop app within 20s (PodEnds)
            21.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Error(1) rs #0; app Error(137) rs #0
            21.0   > stop sandbox
            21.0   # Failed
        "#]],
    );
}

#[test]
fn s4_02_a_deadline_ends_a_pod_like_a_deletion() {
    check(
        &format!("{}  activeDeadlineSeconds: 5\n", pod("Always", &["s1+"], &["app"])),
        "
app: stops in 2s
show start stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    > stop app within 30s (PodEnds)
            7.0    > stop s1 within 28s (PodEnds)
            7.0    = Failed (DeadlineExceeded); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0; app Completed(0) rs #0
            7.0    > stop sandbox
            7.0    # Failed
        "#]],
    );
}

#[test]
fn s4_10_a_kill_takes_hook_and_turn_off_the_grace_and_leaves_two_seconds() {
    check(
        &format!(
            "{}  terminationGracePeriodSeconds: 10\n",
            pod(
                "Always",
                &["s1+ lifecycle: {preStop: {exec: {command: [x]}}}"],
                &["app lifecycle: {preStop: {exec: {command: [x]}}}"]
            )
        ),
        "
app: preStop takes 4s, stops in 5s
s1: preStop takes 2s, ignores TERM
at 1s delete
show stop preStop Killing #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    ! s1 Killing: Stopping container s1
            1.0    > preStop of s1
            1.0    ! app Killing: Stopping container app
            1.0    > preStop of app
            5.0    > stop app within 6s (PodEnds)
            10.0   > stop s1 within 2s (PodEnds)
            12.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Error(137) rs #0; app Completed(0) rs #0
            12.0   > stop sandbox
            12.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_19_a_container_that_does_not_run_is_not_waited_for() {
    check(
        &pod("Always", &["a+", "b+"], &["app"]),
        "
at 1s exit b 1
at 2s exit b 1
app: stops in 3s
a: stops in 1s
at 4s delete
show stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = a Running RS #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; b Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; b Error(1) rs #0
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; b Running RS #1 last=Error(1)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; b Error(1) rs #1 last=Error(1)
            2.0    = b Waiting:CrashLoopBackOff rs #1 last=Error(1)
            4.0    = b Error(1) rs #1 last=Error(1)
            4.0    > stop app within 30s (PodEnds)
            7.0    > stop a within 27s (PodEnds)
            8.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; a Completed(0) rs #0; app Completed(0) rs #0
            8.0    > stop sandbox
            8.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_27_a_pod_without_sidecars_stops_all_at_once() {
    check(
        &pod("Always", &["i1"], &["app", "other", "third"]),
        "
i1: runs 200ms
app: stops in 5s
at 1s delete
show stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0; third Waiting:PodInitializing rs #0
            0.0    = i1 Running rS #0
            0.2    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Completed(0) Rs #0
            0.2    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; other Running RS #0; third Running RS #0
            1.0    > stop app within 30s (PodEnds)
            1.0    > stop other within 30s (PodEnds)
            1.0    > stop third within 30s (PodEnds)
            6.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0; other Completed(0) rs #0; third Completed(0) rs #0
            6.0    > stop sandbox
            6.0    # Succeeded
        "#]],
    );
}

#[test]
fn s4_41_s9_21_the_exit_codes_of_sidecars_do_not_count() {
    check(
        &pod("Never", &["a+", "b+"], &["app"]),
        "
a: stops in 1s with 1
b: ignores TERM
app: runs 2s
show stop Error Succeeded #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = a Running RS #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; b Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            2.0    > stop b within 30s (PodEnds)
            32.0   > stop a within 2s (PodEnds)
            33.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; a Error(1) rs #0; b Error(137) rs #0
            33.0   > stop sandbox
            33.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_51_grace_1_leaves_a_second_for_the_hook_and_two_for_the_signal() {
    check(
        &pod("Always", &[], &["app lifecycle: {preStop: {exec: {command: [x]}}}"]),
        "
app: preStop hangs, ignores TERM
at 1s delete grace 1
show stop preStop Error #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > preStop of app
            2.0    > stop app within 2s (PodEnds)
            4.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
            4.0    > stop sandbox
            4.0    # Failed
        "#]],
    );
}

#[test]
fn s4_55_the_deadline_counts_from_before_the_images_are_pulled() {
    check(
        &format!("{}  activeDeadlineSeconds: 10\n", pod("Always", &["i1"], &["app"])),
        "
i1: image takes 4s, runs 30s
show start DeadlineExceeded #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            4.0    > start i1
            4.0    = i1 Running rS #0
            10.0   ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            10.0   = Failed (DeadlineExceeded); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; i1 Completed(0) Rs #0
            10.0   # Failed
        "#]],
    );
}

#[test]
fn s4_59_a_node_that_shuts_down_ends_its_pods_in_order_and_they_have_failed() {
    check(
        &pod("Always", &["s1+", "s2+"], &["app"]),
        "
app: stops in 1s with 0
at 5s node shuts down
show stop # Failed
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = s1 Running RS #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s2 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]
            5.0    > stop app within 30s (PodEnds)
            6.0    > stop s2 within 29s (PodEnds)
            6.0    > stop s1 within 29s (PodEnds)
            6.0    = Failed (Terminated); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]; s1 Completed(0) rs #0; s2 Completed(0) rs #0; app Completed(0) rs #0
            6.0    > stop sandbox
            6.0    # Failed
        "#]],
    );
}
