//! Contract S3: who is restarted, and when.

use expect_test::expect;
use testkit::engine::{check, pod};

#[test]
fn s3_03_a_failed_init_container_is_retried_in_place() {
    let pod = pod("OnFailure", &["i1", "i2"], &["app"]);
    check(
        &pod,
        "i1: runs 1s\ni2: runs 1s, exits 1\nat 8s i2: exits 0\napp: runs 1s\nshow start i1 Succeeded",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; i2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Completed(0) Rs #0
            1.0    > start i2
            2.0    > start i2
            3.0    ! i2 Warning BackOff: Back-off restarting failed container i2 in pod pod_default(uid-1)
            13.0   > start i2
            14.0   > start app
            15.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            15.0   # Succeeded
        "#]],
    );
}

#[test]
fn s3_05_a_sidecar_is_not_restarted_any_more_when_the_mains_are_done() {
    let pod = pod("OnFailure", &["a+", "b+"], &["app"]);
    check(
        &pod,
        "at 1s exit a 1\nat 2s exit a 1\nat 3s exit app 0\nuntil 60s\nshow start stop # BackOff",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start a
            0.0    = a Running RS #0
            0.0    > start b
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; b Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Error(1) rs #0
            1.0    > start a
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; a Running RS #1 last=Error(1)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Error(1) rs #1 last=Error(1)
            2.0    ! a Warning BackOff: Back-off restarting failed container a in pod pod_default(uid-1)
            2.0    = a Waiting:CrashLoopBackOff rs #1 last=Error(1)
            3.0    = app Completed(0) rs #0
            3.0    > stop b within 30s (PodEnds)
            3.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; a Error(1) rs #1 last=Error(1); b Completed(0) rs #0
            3.0    > stop sandbox
            3.0    # Succeeded
        "#]],
    );
}

#[test]
fn s3_07_s4_29_nothing_is_restarted_once_the_pod_is_being_deleted() {
    check(
        &pod("Always", &["s1+"], &["app", "other"]),
        "
app: ignores TERM
at 1s delete grace 10
at 2s exit other 1
at 3s exit s1 1
show start stop # Succeeded Failed
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; other Running RS #0
            1.0    > stop app within 10s (PodEnds)
            1.0    > stop other within 10s (PodEnds)
            11.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Error(1) rs #0; app Error(137) rs #0; other Completed(0) rs #0
            11.0   > stop sandbox
            11.0   # Failed
        "#]],
    );
}

#[test]
fn s3_08_an_init_container_out_of_memory_has_failed_even_with_code_zero() {
    check(
        &pod("Never", &["i1"], &["app"]),
        "i1: runs 1s, oom, exits 0\nuntil 20s\nshow start i1 #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; i1 OOMKilled(0) Rs #0; app ContainerStatusUnknown(137) rs #0
            1.0    # Failed
        "#]],
    );
}

#[test]
fn s3_11_a_rule_restarts_under_policy_never() {
    let rule = "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]";
    let pod = pod("Never", &[], &[&format!("app {rule}")]);
    check(
        &pod,
        "at 1s exit app 42\nat 2s exit app 1\nuntil 9s\nshow start phase app #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(42) rs #0
            1.0    > start app
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(42)
            2.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(1) rs #1 last=Error(42)
            2.0    # Failed
        "#]],
    );
}

#[test]
fn s3_11_a_rule_retries_a_plain_init_container() {
    let rule =
        "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [1]}}]";
    let pod = pod("Never", &[&format!("i1 {rule}")], &["app"]);
    check(
        &pod,
        "at 1s exit i1 42\nat 2s exit i1 1\nuntil 9s\nshow start i1 #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Error(42) rs #0
            1.0    > start i1
            1.0    = i1 Running rS #1 last=Error(42)
            2.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/PodFailed Containers=False/PodFailed]; i1 Error(1) rs #1 last=Error(42)
            2.0    # Failed
        "#]],
    );
}

#[test]
fn s3_12_a_container_policy_overrides_the_pods_in_both_directions() {
    let pod = pod("Always", &[], &["once restartPolicy: Never", "again"]);
    check(
        &pod,
        "at 1s exit once 1\nat 2s exit again 0\nuntil 9s\nshow start",
        expect![[r#"
            0.0    > start once
            0.0    > start again
            2.0    > start again
        "#]],
    );
}

#[test]
fn s3_12_a_main_with_policy_always_keeps_a_never_pod_alive() {
    let pod = pod("Never", &[], &["app", "for-ever restartPolicy: Always"]);
    check(
        &pod,
        "at 1s exit app 0\nat 2s exit for-ever 0\nuntil 60s\nshow start # Running",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; for-ever Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    > start for-ever
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; for-ever Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            2.0    = for-ever Completed(0) rs #0
            2.0    > start for-ever
            2.0    = for-ever Running RS #1 last=Completed(0)
        "#]],
    );
}

#[test]
fn s3_13_a_probe_kill_ignores_the_rules_but_the_next_pass_does_not() {
    let rule = "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [0]}}]";
    let pod =
        pod("Never", &[], &[&format!("app {rule}, livenessProbe: {{periodSeconds: 1, failureThreshold: 1}}"), "other"]);
    check(
        &pod,
        "app: liveness fails from 3s\nuntil 5s\nshow start Killing app",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; other Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; other Running RS #0
            3.0    ! app Warning Unhealthy: Liveness probe failed:
            3.0    ! app Killing: Container app failed liveness probe
            3.0    > stop app within 30s (Liveness)
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            3.0    > start app
            3.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Completed(0)
        "#]],
    );
}

#[test]
fn s3_22_the_window_is_counted_from_the_exit() {
    check(
        &pod("Always", &[], &["app"]),
        "at 1s exit app 1\nat 26s exit app 1\nuntil 60s\nshow start",
        expect![[r#"
            0.0    > start app
            1.0    > start app
            26.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            36.0   > start app
        "#]],
    );
}

#[test]
fn s3_23_ten_minutes_of_good_conduct_are_a_fresh_start() {
    check(
        &pod("Always", &[], &["app"]),
        "
at 1s exit app 1
at 2s exit app 1
at 700s exit app 1
at 701s exit app 1
until 800s
show start BackOff
",
        expect![[r#"
            0.0    > start app
            1.0    > start app
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            2.0    = app Waiting:CrashLoopBackOff rs #1 last=Error(1)
            12.0   > start app
            700.0  > start app
            701.0  ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            701.0  = app Waiting:CrashLoopBackOff rs #3 last=Error(1)
            711.0  > start app
        "#]],
    );
}

#[test]
fn s3_26_s5_04_the_back_off_shows_with_its_message() {
    let script = "app: runs 1s, exits 3\nuntil 3s\nverbose\nshow = BackOff back-off";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(3) rs #0
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(3)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(3) rs #1 last=Error(3)
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            2.0    ~ app #1 back-off 10s
            2.0    = app Waiting:CrashLoopBackOff rs #1 last=Error(3)
        "#]],
    );
}

#[test]
fn s3_28_an_agent_restart_forgets_the_back_off() {
    check(
        &pod("Always", &[], &["app"]),
        "
at 1s exit app 1
at 2s exit app 1
at 5s agent restarts
at 8s exit app 1
at 9s exit app 1
until 30s
show start BackOff
",
        expect![[r#"
            0.0    > start app
            1.0    > start app
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            2.0    = app Waiting:CrashLoopBackOff rs #1 last=Error(1)
            5.0    > start app
            8.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            8.0    = app Waiting:CrashLoopBackOff rs #2 last=Error(1)
            18.0   > start app
        "#]],
    );
}

#[test]
fn s3_31_pulls_back_off_and_a_new_image_starts_afresh() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: image missing ErrImagePull
at 35s image app other
at 35s app: image present
until 80s
show Image Pull start
",
        expect![[r#"
            0.0    ! app Warning Failed: Error: ErrImagePull
            0.0    = app Waiting:ErrImagePull rs #0
            0.0    ! app Warning Failed: Error: ImagePullBackOff
            0.0    = app Waiting:ImagePullBackOff rs #0
            10.0   ! app Warning Failed: Error: ErrImagePull
            10.0   = app Waiting:ErrImagePull rs #0
            10.0   ! app Warning Failed: Error: ImagePullBackOff
            10.0   = app Waiting:ImagePullBackOff rs #0
            30.0   ! app Warning Failed: Error: ErrImagePull
            30.0   = app Waiting:ErrImagePull rs #0
            30.0   ! app Warning Failed: Error: ImagePullBackOff
            30.0   = app Waiting:ImagePullBackOff rs #0
            35.0   ! app Warning Failed: Error: ErrImagePull
            35.0   = app Waiting:ErrImagePull rs #0
            35.0   ! app Warning Failed: Error: ImagePullBackOff
            35.0   = app Waiting:ImagePullBackOff rs #0
            45.0   > start app
        "#]],
    );
}

#[test]
fn s3_32_configuration_errors_are_tried_again_every_ten_seconds() {
    check(
        &pod("Always", &[], &["app"]),
        "app: config fails until 25s\nuntil 60s\nshow start app",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    ! app Warning Failed: Error: configmap "c" not found
            0.0    = app Waiting:CreateContainerConfigError rs #0
            10.0   ! app Warning Failed: Error: configmap "c" not found
            20.0   ! app Warning Failed: Error: configmap "c" not found
            30.0   > start app
            30.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s3_52_a_never_pod_gets_no_other_sandbox() {
    check(
        &pod("Never", &["s1+"], &["app"]),
        "at 5s sandbox lost\nuntil 60s",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #0
            5.0    ! s1 Killing: Stopping container s1
            5.0    > stop s1 within 30s (PodEnds)
            5.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Error(137) rs #0
            5.0    > stop sandbox
            5.0    > remove sandbox
            5.0    > clean up
            5.0    # Failed
        "#]],
    );
}

#[test]
fn s3_52_mains_that_have_succeeded_need_no_other_sandbox() {
    let pod = pod("OnFailure", &["s1+"], &["a", "b"]);
    let script =
        "s1: stops in 10s\nat 1s exit a 0\nat 2s exit b 0\nat 5s sandbox lost\nuntil 60s\nshow sandbox Sandbox #";
    check(
        &pod,
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; a Running RS #0; b Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Completed(0) rs #0
            2.0    = b Completed(0) rs #0
            5.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Error(137) rs #0
            5.0    > stop sandbox
            5.0    > remove sandbox
            5.0    # Succeeded
        "#]],
    );
}

#[test]
fn s3_53_a_main_that_has_succeeded_is_not_run_again_in_a_new_sandbox() {
    check(
        &pod("OnFailure", &["i1"], &["a", "b"]),
        "
i1: runs 1s
at 5s exit a 0
at 8s sandbox lost
until 20s
show start SandboxChanged
",
        expect![[r#"
            0.0    > start i1
            1.0    > start a
            1.0    > start b
            8.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            8.0    > start i1
            9.0    > start b
        "#]],
    );
}

#[test]
fn s3_60_one_dead_instance_is_kept() {
    let script = "app: runs 1s, exits 1\nuntil 30s\nverbose\nshow create remove";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
            0.0    > create sandbox 0
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ! app Created: Container created
            1.0    > create app #1
            1.0    ~ app #1 created
            1.0    ! app Created: Container created
            12.0   > create app #2
            12.0   ~ app #2 created
            12.0   > remove old app
            12.0   ! app Created: Container created
        "#]],
    );
}

#[test]
fn s3_08_an_own_exit_code_counts_beside_out_of_memory() {
    check(
        &pod(
            "Never",
            &[
                "i1 restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [3]}}]",
            ],
            &["app"],
        ),
        "
i1: runs 1s, oom, exits 3
until 5s
show start OOMKilled
",
        expect![[r#"
            0.0    > start i1
            1.0    = i1 OOMKilled(3) rs #0
            1.0    > start i1
            1.0    = i1 Running rS #1 last=OOMKilled(3)
            2.0    = i1 OOMKilled(3) rs #1 last=OOMKilled(3)
            2.0    ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            2.0    = i1 Waiting:CrashLoopBackOff rs #1 last=OOMKilled(3)
        "#]],
    );
}

#[test]
fn s3_31_the_pull_back_off_goes_on_after_a_pull_that_went_well() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: image missing ErrImagePull until 15s, runs 1s, exits 1
at 30s app: image missing ErrImagePull until 300s
until 200s
show start pull
",
        expect![[r#"
            0.0    ! app Warning Failed: Failed to pull image "app": no such image
            0.0    ! app BackOff: Back-off pulling image "app"
            10.0   ! app Warning Failed: Failed to pull image "app": no such image
            10.0   ! app BackOff: Back-off pulling image "app"
            30.0   > start app
            31.0   ! app Warning Failed: Failed to pull image "app": no such image
            31.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            41.0   ! app BackOff: Back-off pulling image "app"
            71.0   ! app Warning Failed: Failed to pull image "app": no such image
            71.0   ! app BackOff: Back-off pulling image "app"
            151.0  ! app Warning Failed: Failed to pull image "app": no such image
            151.0  ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            191.0  ! app BackOff: Back-off pulling image "app"
        "#]],
    );
}

#[test]
fn s3_32_a_pass_for_another_reason_postpones_the_next_attempt() {
    check(
        &pod("Always", &[], &["app", "other"]),
        "
app: config fails until 40s
at 5s exit other 1
until 50s
show start configmap
",
        expect![[r#"
            0.0    ! app Warning Failed: Error: configmap "c" not found
            0.0    > start other
            0.0    ! app Warning Failed: Error: configmap "c" not found
            5.0    ! app Warning Failed: Error: configmap "c" not found
            5.0    > start other
            5.0    ! app Warning Failed: Error: configmap "c" not found
            15.0   ! app Warning Failed: Error: configmap "c" not found
            25.0   ! app Warning Failed: Error: configmap "c" not found
            35.0   ! app Warning Failed: Error: configmap "c" not found
            45.0   > start app
        "#]],
    );
}

#[test]
fn s3_32_the_first_of_two_failures_says_when_to_try_again() {
    check(
        &pod("Always", &[], &["a", "b"]),
        "
steps take 1s
a: config fails until 14s
b: config fails until 14s
until 40s
show start configmap
",
        expect![[r#"
            3.0    ! a Warning Failed: Error: configmap "c" not found
            5.0    ! b Warning Failed: Error: configmap "c" not found
            15.0   > start a
            18.0   > start b
        "#]],
    );
}

#[test]
fn s3_26_timers_that_end_during_a_long_step_wait_for_it() {
    check(
        &format!(
            "{}  activeDeadlineSeconds: 20\n",
            pod("Always", &["s1+"], &["a", "b lifecycle: {postStart: {exec: {command: [x]}}}"])
        ),
        "
a: runs 1s, exits 1
at 5s b: postStart takes 30s
at 6s exit b 1
until 60s
show start BackOff Deadline postStart
",
        expect![[r#"
            0.0    > start s1
            0.0    > start a
            0.0    > start b
            0.0    > postStart of b
            1.0    > start a
            2.0    ! a Warning BackOff: Back-off restarting failed container a in pod pod_default(uid-1)
            2.0    = a Waiting:CrashLoopBackOff rs #1 last=Error(1)
            6.0    > start b
            6.0    > postStart of b
            36.0   ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            36.0   = Failed (DeadlineExceeded); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0; a Error(1) rs #1 last=Error(1); b Completed(0) rs #1 last=Error(1)
        "#]],
    );
}

#[test]
fn s3_26_s3_30_a_back_off_is_told_once_for_each_window() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 1, failureThreshold: 1}", "other"]),
        "
app: liveness fails from 2s
at 20s exit other 1
until 60s
verbose
show back-off BackOff
",
        expect![[r#"
            6.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            6.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:CrashLoopBackOff rs #2 last=Completed(0)
            6.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            6.0    ~ app #2 back-off 10s
            18.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            18.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:CrashLoopBackOff rs #3 last=Completed(0)
            18.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            18.0   ~ app #3 back-off 20s
            40.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            40.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:CrashLoopBackOff rs #4 last=Completed(0)
            40.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            40.0   ~ app #4 back-off 40s
        "#]],
    );
}
