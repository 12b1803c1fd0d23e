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

#[test]
fn s2_12_no_kind_of_failed_start_of_a_main_holds_the_others_back() {
    let hook = "lifecycle: {postStart: {exec: {command: [x]}}}";
    check(
        &pod("Always", &[], &["a", "b", &format!("c {hook}"), "d", "e"]),
        "
a: config fails until 9s
b: cannot start
c: postStart fails
d: runs 1s, exits 1
until 3s
show > create > start
",
        expect![[r#"
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    > start b
            0.0    > start c
            0.0    > postStart of c
            0.0    > stop c within 30s (PostStartHook)
            0.0    > start d
            0.0    > start e
            0.0    > start b
            0.0    > start c
            0.0    > postStart of c
            0.0    > stop c within 30s (PostStartHook)
            0.0    ! b Warning BackOff: Back-off restarting failed container b in pod pod_default(uid-1)
            0.0    ! c Warning BackOff: Back-off restarting failed container c in pod pod_default(uid-1)
            1.0    > start d
            2.0    ! d Warning BackOff: Back-off restarting failed container d in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s2_21_a_sidecar_that_crashes_once_the_next_entry_was_made_holds_nothing() {
    check(
        &pod("Always", &["a+", "i1"], &["app"]),
        "
i1: runs 5s
at 1s exit a 1
at 2s exit a 1
until 20s
show start
",
        expect![[r#"
            0.0    > start a
            0.0    > start i1
            1.0    > start a
            2.0    ! a Warning BackOff: Back-off restarting failed container a in pod pod_default(uid-1)
            5.0    > start app
            12.0   > start a
        "#]],
    );
}

#[test]
fn s2_25_before_it_first_runs_a_main_just_takes_the_new_image() {
    check(
        &pod("Never", &["i1"], &["app"]),
        "
i1: runs 5s
at 2s image app two
until 9s
verbose
show Pulled > Killing
",
        expect![[r#"
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    > image of i1
            0.0    ! i1 Pulled: Container image "i1" already present on machine and can be accessed by the pod
            0.0    > create i1 #0
            0.0    > start i1
            5.0    > image of app
            5.0    ! app Pulled: Container image "two" already present on machine and can be accessed by the pod
            5.0    > create app #0
            5.0    > start app
        "#]],
    );
}

#[test]
fn s2_26_a_changed_image_of_an_init_container_counts_when_the_pod_is_initialised_anew() {
    check(
        &pod("Always", &["i1"], &["app"]),
        "
i1: runs 2s
at 1s image i1 two
at 5s image i1 three
at 8s sandbox lost
until 20s
verbose
show Pulled Killing
",
        expect![[r#"
            0.0    ! i1 Pulled: Container image "i1" already present on machine and can be accessed by the pod
            2.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            8.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            8.0    ! i1 Pulled: Container image "three" already present on machine and can be accessed by the pod
            10.0   ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
        "#]],
    );
}

#[test]
fn s2_33_a_crashed_only_main_waits_for_the_startup_probe_of_the_last_sidecar() {
    check(
        &pod("Always", &["s1+ startupProbe: {periodSeconds: 1, failureThreshold: 60}"], &["app"]),
        "
at 2s s1: startup fails until 5s
at 3s exit s1 1
at 4s exit app 1
until 20s
show start
",
        expect![[r#"
            0.0    > start s1
            0.0    > start app
            3.0    > start s1
            8.0    > start app
        "#]],
    );
}

#[test]
fn s3_20_another_image_or_other_resources_start_the_back_off_afresh() {
    check(
        &pod("Always", &["s1+"], &["app", "calm"]),
        "
app: runs 1s, exits 1
s1: runs 1s, exits 1
at 20s image app two
at 25s resize s1 cpu=2
until 40s
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
            20.0   > start app
            21.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            25.0   ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"s1","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}}],"containers":[{"name":"app","resources":{}},{"name":"calm","resources":{}}],"generation":3}
            25.0   > start s1
            26.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            31.0   > start app
            32.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            36.0   > start s1
            37.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s3_24_a_main_that_ends_with_zero_backs_off_like_one_that_fails() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: runs 1s
until 40s
show = start
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    > start app
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Completed(0)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #1 last=Completed(0)
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            2.0    = app Waiting:CrashLoopBackOff rs #1 last=Completed(0)
            12.0   > start app
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #2 last=Completed(0)
            13.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #2 last=Completed(0)
            13.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            13.0   = app Waiting:CrashLoopBackOff rs #2 last=Completed(0)
            33.0   > start app
            33.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #3 last=Completed(0)
            34.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #3 last=Completed(0)
            34.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            34.0   = app Waiting:CrashLoopBackOff rs #3 last=Completed(0)
        "#]],
    );
}

#[test]
fn s3_27_the_node_may_make_back_offs_shorter() {
    let starts = |limit: &str| {
        let script = format!("app: runs 1s, exits 1\n{limit}\nuntil 200s\nshow start");
        let text = testkit::engine::transcript(&pod("Always", &[], &["app"]), &script);
        let starts = text.lines().filter(|line| line.contains("> start")).filter_map(|line| line.split_once(' '));
        starts.map(|(at, _)| at.to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(starts(""), "0.0 1.0 12.0 33.0 74.0 155.0");
    assert_eq!(starts("back-off at most 30s"), "0.0 1.0 12.0 33.0 64.0 95.0 126.0 157.0 188.0");
    assert!(starts("back-off at most 3s").starts_with("0.0 1.0 5.0 9.0 13.0"));
}

#[test]
fn s3_27_pulls_keep_their_own_back_off() {
    check(
        &pod("Always", &[], &["app"]),
        "
back-off at most 1s
app: image missing ErrImagePull
until 40s
show Waiting:ErrImagePull
",
        expect![[r#"
            0.0    = app Waiting:ErrImagePull rs #0
            10.0   = app Waiting:ErrImagePull rs #0
            30.0   = app Waiting:ErrImagePull rs #0
        "#]],
    );
}

const RESTART_ALL: &str =
    "restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]";

#[test]
fn s3_40_s3_41_a_plain_init_container_may_ask_for_a_restart_of_all() {
    check(
        &pod("Never", &["s1+", &format!("i1 restartPolicy: Never, {RESTART_ALL}")], &["app"]),
        "
i1: runs 1s
at 0.5s exit i1 88
until 5s
show start stop remove Failed AllContainersRestarting=True
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    > start i1
            0.5    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; i1 Error(88) rs #0
            0.5    > stop s1 within 2s (RestartAll)
            0.5    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); i1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            0.5    > start s1
            0.5    = s1 Running RS #1 last=RestartingAllContainers(137)
            0.5    > start i1
            0.5    = i1 Running rS #1 last=RestartingAllContainers(137)
            1.5    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; i1 Completed(0) Rs #1 last=RestartingAllContainers(137)
            1.5    > start app
            1.5    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0
        "#]],
    );
}

#[test]
fn s3_40_s3_41_of_those_to_be_killed_a_sidecar_comes_after_the_mains() {
    check(
        &pod("Always", &[&format!("s1+ {RESTART_ALL}"), "s2+"], &["app", "other"]),
        "
s2: ignores TERM
app: stops in 1s
other: ignores TERM
at 5s exit s1 88
until 15s
show start stop AllContainersRestarting=True
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; s2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    > start s2
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s2 Running RS #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; s1 Error(88) rs #0
            5.0    > stop app within 2s (RestartAll)
            6.0    > stop other within 2s (RestartAll)
            8.0    > stop s2 within 2s (RestartAll)
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); s2 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            10.0   > start s1
            10.0   = s1 Running RS #1 last=RestartingAllContainers(137)
            10.0   > start s2
            10.0   = s2 Running RS #1 last=RestartingAllContainers(137)
            10.0   > start app
            10.0   > start other
            10.0   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137); other Running RS #1 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s3_55_s5_08_a_forgotten_init_container_of_an_initialised_pod_has_succeeded() {
    check(
        &pod("Never", &["i1", "s1+"], &["app"]),
        "
i1: runs 1s
at 5s records of i1 lost
at 5s agent restarts
until 9s
show start i1 Failed
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Completed(0) Rs #0
            1.0    > start s1
            1.0    > start app
        "#]],
    );
}

#[test]
fn s3_59_a_container_that_is_missing_while_the_pod_is_deleted_was_not_restarted() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: ignores TERM
at 3s delete grace 20
at 5s records lost
show app start #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    ! app Killing: Stopping container app
            3.0    > stop app within 20s (PodEnds)
            5.0    = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0 last=ContainerStatusUnknown(137)
            5.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app ContainerStatusUnknown(137) rs #0 last=ContainerStatusUnknown(137)
            5.0    # Failed
        "#]],
    );
}

#[test]
fn s4_02_s5_44_a_pod_that_others_declare_to_be_over_is_ended_and_stays_over() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
app: stops in 2s
at 3s api says Failed
show start stop = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    = Failed; [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed]
            3.0    > stop app within 30s (PodEnds)
            5.0    > stop s1 within 28s (PodEnds)
            5.0    = [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0; app Completed(0) rs #0
            5.0    > stop sandbox
            5.0    # Failed
        "#]],
    );
}

#[test]
fn s4_05_the_shorter_grace_counts_when_the_kill_is_tried_again() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: stop fails until 5s
at 1s delete grace 20
at 2s delete grace 3
show stop # Failed
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > stop app within 20s (PodEnds)
            1.0    ! Warning FailedKillPod: error killing pod: the runtime is busy
            11.0   > stop app within 3s (PodEnds)
            11.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            11.0   > stop sandbox
            11.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_15_no_pre_stop_hook_without_grace() {
    let pod =
        pod("Always", &[], &["app livenessProbe: {periodSeconds: 1}, lifecycle: {preStop: {exec: {command: [x]}}}"]);
    check(
        &format!("{pod}  terminationGracePeriodSeconds: 0\n"),
        "
app: liveness fails from 2s, ignores TERM
until 7s
show start stop preStop
",
        expect![[r#"
            0.0    > start app
            4.0    ! app Killing: Container app failed liveness probe, will be restarted
            4.0    > stop app within 2s (Liveness)
            6.0    > start app
        "#]],
    );
}

#[test]
fn s4_50_a_pod_without_grace_has_a_second_for_the_hook_and_two_for_the_signal() {
    let pod = pod("Always", &["s1+"], &["app lifecycle: {preStop: {exec: {command: [x]}}}"]);
    check(
        &format!("{pod}  terminationGracePeriodSeconds: 0\n"),
        "
app: preStop hangs, ignores TERM
at 1s delete
show stop preStop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > preStop of app
            2.0    > stop s1 within 2s (PodEnds)
            2.0    > stop app within 2s (PodEnds)
            4.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0; app Error(137) rs #0
            4.0    > stop sandbox
            4.0    # Failed
        "#]],
    );
}

#[test]
fn s4_60_a_kill_for_the_nodes_sake_that_takes_too_long_is_told_once() {
    let late = |cause: &str| {
        let script = format!("app: stop fails until 55s\nat 5s {cause}\nshow ExceededGracePeriod # Evicted: stop");
        testkit::engine::transcript(&pod("Always", &[], &["app"]), &script)
    };
    expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        5.0    ! Warning Evicted: too much
        5.0    > stop app within 2s (PodEnds)
        15.0   ! Warning ExceededGracePeriod: Container runtime did not kill the pod within specified grace period.
        15.0   > stop app within 2s (PodEnds)
        25.0   > stop app within 2s (PodEnds)
        35.0   > stop app within 2s (PodEnds)
        45.0   > stop app within 2s (PodEnds)
        55.0   > stop app within 2s (PodEnds)
        55.0   = Failed (Evicted); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Completed(0) rs #0
        55.0   > stop sandbox
        55.0   # Failed
    "#]].assert_eq(&late("evict too much"));
    expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        5.0    ! Warning Evicted: too little
        5.0    > stop app within 20s (PodEnds)
        15.0   > stop app within 20s (PodEnds)
        25.0   > stop app within 20s (PodEnds)
        35.0   ! Warning ExceededGracePeriod: Container runtime did not kill the pod within specified grace period.
        35.0   > stop app within 20s (PodEnds)
        45.0   > stop app within 20s (PodEnds)
        55.0   > stop app within 20s (PodEnds)
        55.0   = Failed (Evicted); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]; app Completed(0) rs #0
        55.0   > stop sandbox
        55.0   # Failed
    "#]].assert_eq(&late("starve 20s too little"));
    expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        5.0    > stop app within 30s (PodEnds)
        15.0   > stop app within 30s (PodEnds)
        25.0   > stop app within 30s (PodEnds)
        35.0   > stop app within 30s (PodEnds)
        45.0   > stop app within 30s (PodEnds)
        50.0   ! Warning ExceededGracePeriod: Container runtime did not kill the pod within specified grace period.
        55.0   > stop app within 30s (PodEnds)
        55.0   = Failed (Terminated); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]; app Completed(0) rs #0
        55.0   > stop sandbox
        55.0   # Failed
    "#]].assert_eq(&late("node shuts down"));
    expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        5.0    > stop app within 2s (PodEnds)
        15.0   > stop app within 2s (PodEnds)
        25.0   > stop app within 2s (PodEnds)
        35.0   > stop app within 2s (PodEnds)
        45.0   > stop app within 2s (PodEnds)
        55.0   > stop app within 2s (PodEnds)
        55.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
        55.0   > stop sandbox
        55.0   # Succeeded
    "#]].assert_eq(&late("delete grace 1"));
}

#[test]
fn s4_61_s4_62_probes_of_a_sidecar_go_on_until_the_end_and_restart_nothing() {
    let probe = "{periodSeconds: 1, failureThreshold: 1}";
    check(
        &pod("Always", &[&format!("s1+ livenessProbe: {probe}, readinessProbe: {probe}")], &["app"]),
        "
app: stops in 4s
at 2s delete
at 3s s1: liveness fails, readiness fails
verbose
until 9s
show probe: probe stop start Killing Ready=
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    ~ s1 #0 started
            0.0    ! s1 Started: Container started
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            0.0    > readiness probe of s1
            0.0    ~ s1 #0 readiness probe passed
            0.0    > start app
            0.0    ~ app #0 started
            0.0    ! app Started: Container started
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > liveness probe of s1
            1.0    > readiness probe of s1
            2.0    > liveness probe of s1
            2.0    > readiness probe of s1
            2.0    ! s1 Killing: Stopping container s1
            2.0    ! app Killing: Stopping container app
            2.0    > stop app within 30s (PodEnds)
            2.0    ~ app #0 stop signal (PodEnds)
            3.0    > liveness probe of s1
            3.0    > readiness probe of s1
            4.0    > liveness probe of s1
            4.0    > readiness probe of s1
            4.0    ! s1 Warning Unhealthy: Liveness probe failed:
            4.0    ~ s1 #0 liveness probe failed
            4.0    ! s1 Warning Unhealthy: Readiness probe failed:
            4.0    ~ s1 #0 readiness probe failed
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            5.0    > readiness probe of s1
            5.0    ! s1 Warning Unhealthy: Readiness probe failed:
            6.0    > stop s1 within 26s (PodEnds)
            6.0    ~ s1 #0 stop signal (PodEnds)
            6.0    > readiness probe of s1
            6.0    ! s1 Warning Unhealthy: Readiness probe failed:
            6.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0; app Completed(0) rs #0
            6.0    > stop sandbox
        "#]],
    );
}
