//! Contract S2: in which order containers are started.

use expect_test::expect;
use testkit::engine::{check, pod, transcript};

#[test]
fn s2_01_s2_22_s12_02_s12_03_every_step_of_a_start_in_order() {
    check(
        &pod("Never", &["s1+"], &["app"]),
        "
s1: image takes 3s
app: runs 1s
verbose
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    ~ pod #0 sandbox ready
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > image of s1
            3.0    ! s1 Pulled: Successfully pulled image "s1" in 3s (3s including waiting). Image size: 1000 bytes.
            3.0    > create s1 #0
            3.0    ~ s1 #0 created
            3.0    ! s1 Created: Container created
            3.0    > start s1
            3.0    ~ s1 #0 started
            3.0    ! s1 Started: Container started
            3.0    ~ s1 #0 ready
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            3.0    > image of app
            3.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            3.0    > create app #0
            3.0    ~ app #0 created
            3.0    ! app Created: Container created
            3.0    > start app
            3.0    ~ app #0 started
            3.0    ! app Started: Container started
            3.0    ~ pod #0 phase Running
            3.0    ~ app #0 ready
            3.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            4.0    ~ app #0 exited 0 Completed
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            4.0    ! s1 Killing: Stopping container s1
            4.0    > stop s1 within 30s (PodEnds)
            4.0    ~ s1 #0 stop signal (PodEnds)
            4.0    ~ s1 #0 exited 0 Completed
            4.0    ~ pod #0 phase Succeeded
            4.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0
            4.0    > stop sandbox
            4.0    > remove sandbox
            4.0    > clean up
            4.0    # Succeeded
        "#]],
    );
}

#[test]
fn s2_02_volumes_come_before_everything() {
    check(
        &pod("Never", &["s1+"], &["app"]),
        "volumes fail until 2s\nuntil 10s\nshow volumes sandbox FailedMount start",
        expect![[r#"
            0.0    > prepare volumes
            0.0    ! Warning FailedMount: MountVolume.SetUp failed for volume "v" : configmap "c" not found
            0.5    > prepare volumes
            0.5    ! Warning FailedMount: MountVolume.SetUp failed for volume "v" : configmap "c" not found
            1.5    > prepare volumes
            1.5    ! Warning FailedMount: MountVolume.SetUp failed for volume "v" : configmap "c" not found
            3.5    > prepare volumes
            3.5    > create sandbox 0
            3.5    > start s1
            3.5    > start app
        "#]],
    );
}

#[test]
fn s2_05_readiness_and_liveness_do_not_gate() {
    let sidecar = "s1+ readinessProbe: {periodSeconds: 1}, livenessProbe: {periodSeconds: 1, initialDelaySeconds: 5}";
    check(
        &pod("Never", &[sidecar, "i1"], &["app"]),
        "s1: readiness fails, liveness fails\ni1: runs 1s\nuntil 3s\nshow start",
        expect![[r#"
            0.0    > start s1
            0.0    > start i1
            1.0    > start app
        "#]],
    );
}

#[test]
fn s2_07_the_startup_probe_gates() {
    let pod = pod("Never", &["a+ startupProbe: {periodSeconds: 1, failureThreshold: 30}", "b+"], &["app"]);
    check(
        &pod,
        "a: startup fails until 10s\nuntil 20s\nshow start",
        expect![[r#"
            0.0    > start a
            10.0   > start b
            10.0   > start app
        "#]],
    );
}

#[test]
fn s2_08_the_post_start_hook_of_a_sidecar_gates_and_shows_it_waiting() {
    let pod = pod("Never", &["s1+ lifecycle: {postStart: {exec: {command: [x]}}}"], &["app"]);
    check(
        &pod,
        "s1: postStart takes 5s\nuntil 20s\nshow start postStart Running",
        expect![[r#"
            0.0    > start s1
            0.0    > postStart of s1
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            5.0    > start app
            5.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s2_11_mains_start_one_after_the_other() {
    let pod = pod("Never", &[], &["c1 lifecycle: {postStart: {exec: {command: [x]}}}", "c2"]);
    check(
        &pod,
        "c1: postStart takes 3s\nuntil 20s\nshow start Running",
        expect![[r#"
            0.0    > start c1
            3.0    > start c2
            3.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; c1 Running RS #0; c2 Running RS #0
        "#]],
    );
}

#[test]
fn s2_12_a_main_that_cannot_start_holds_nobody_back() {
    check(
        &pod("Never", &[], &["c1", "c2"]),
        "c1: image missing ErrImagePull\nuntil 1s\nshow start c1 c2",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; c1 Waiting:ContainerCreating rs #0; c2 Waiting:ContainerCreating rs #0
            0.0    ! c1 Warning Failed: Failed to pull image "c1": no such image
            0.0    ! c1 Warning Failed: Error: ErrImagePull
            0.0    > start c2
            0.0    = c1 Waiting:ErrImagePull rs #0; c2 Running RS #0
            0.0    ! c1 BackOff: Back-off pulling image "c1"
            0.0    ! c1 Warning Failed: Error: ImagePullBackOff
            0.0    = c1 Waiting:ImagePullBackOff rs #0
        "#]],
    );
}

#[test]
fn s2_13_an_init_container_that_cannot_start_holds_all_back() {
    check(
        &pod("Never", &["i1"], &["app"]),
        "i1: config fails until 15s, runs 1s\nuntil 25s\nshow start i1",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    ! i1 Warning Failed: Error: configmap "c" not found
            0.0    = i1 Waiting:CreateContainerConfigError rs #0
            10.0   ! i1 Warning Failed: Error: configmap "c" not found
            20.0   > start i1
            20.0   = i1 Running rS #0
            21.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Completed(0) Rs #0
            21.0   > start app
        "#]],
    );
}

#[test]
fn s2_14_a_sidecar_that_cannot_be_restarted_holds_no_main_back() {
    check(
        &pod("OnFailure", &["a+", "b+"], &["m1", "m2"]),
        "
at 5s a: image missing ErrImageNeverPull
at 6s exit a 1
at 6s exit m2 1
until 10s
show start ErrImageNeverPull
",
        expect![[r#"
            0.0    > start a
            0.0    > start b
            0.0    > start m1
            0.0    > start m2
            6.0    ! a Warning ErrImageNeverPull: Container image "a" is not present with pull policy of Never
            6.0    ! a Warning Failed: Error: ErrImageNeverPull
            6.0    = a Waiting:ErrImageNeverPull rs #0 last=Error(1)
            6.0    ! a Warning BackOff: Back-off restarting failed container a in pod pod_default(uid-1)
            6.0    > start m2
        "#]],
    );
}

#[test]
fn s2_15_sidecars_that_died_together_start_in_list_order() {
    check(
        &pod("Always", &["a+", "b+"], &["m1 lifecycle: {postStart: {exec: {command: [x]}}}"]),
        "
m1: postStart takes 5s
at 1s exit b 1
at 2s exit a 1
until 10s
show start
",
        expect![[r#"
            0.0    > start a
            0.0    > start b
            0.0    > start m1
            5.0    > start a
            5.0    > start b
        "#]],
    );
}

#[test]
fn s2_17_s3_51_after_sandbox_loss_the_pod_is_initialised_anew() {
    check(
        &pod("Always", &["i1", "s1+", "i2"], &["app"]),
        "
i1: runs 1s
i2: runs 1s
at 10s sandbox lost
until 20s
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; i2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
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
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i2 Completed(0) Rs #0
            2.0    > start app
            2.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #0
            10.0   = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(137) rs #0
            10.0   ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            10.0   > stop sandbox
            10.0   > create sandbox 1
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            10.0   > start i1
            10.0   = Pending; i1 Running rS #1 last=Completed(0)
            11.0   = Running; i1 Completed(0) Rs #1 last=Completed(0)
            11.0   > start s1
            11.0   = s1 Running RS #1 last=Error(137)
            11.0   > start i2
            11.0   = Pending; i2 Running rS #1 last=Completed(0)
            12.0   = Running; i2 Completed(0) Rs #1 last=Completed(0)
            12.0   > start app
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(137)
        "#]],
    );
}

#[test]
fn s2_20_liveness_of_a_sidecar_counts_during_initialisation() {
    let pod = pod("Always", &["s1+ livenessProbe: {periodSeconds: 1}", "i1"], &["app"]);
    check(
        &pod,
        "s1: liveness fails from 5s\ni1: runs 9s\nuntil 15s\nshow start Killing",
        expect![[r#"
            0.0    > start s1
            0.0    > start i1
            7.0    ! s1 Killing: Init container s1 failed liveness probe
            7.0    > start s1
            9.0    > start app
            14.0   ! s1 Killing: Init container s1 failed liveness probe
            14.0   > start s1
        "#]],
    );
}

#[test]
fn s2_21_a_sidecar_that_crashes_before_the_next_has_started_holds_it() {
    let pod = pod("Always", &["a+ startupProbe: {periodSeconds: 1}", "b+"], &["app"]);
    check(
        &pod,
        "a: startup fails until 2s\nat 1s exit a 1\nuntil 10s\nshow start",
        expect![[r#"
            0.0    > start a
            1.0    > start a
            3.0    > start b
            3.0    > start app
        "#]],
    );
}

#[test]
fn s2_25_s12_08_a_changed_image_restarts_just_that_container_under_every_policy() {
    check(
        &pod("Never", &["s1+"], &["app", "other"]),
        "
at 5s image app two
at 8s image s1 two
until 10s
show start Killing app s1
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; other Running RS #0
            5.0    ! app Killing: Container app definition changed, will be restarted
            5.0    > stop app within 30s (DefinitionChanged)
            5.0    > start app
            5.0    = app Running RS #1 last=Completed(0)
            8.0    ! s1 Killing: Init container s1 definition changed
            8.0    > stop s1 within 30s (DefinitionChanged)
            8.0    > start s1
            8.0    = s1 Running RS #1 last=Completed(0)
        "#]],
    );
}

#[test]
fn s11_16_an_image_that_is_a_volume_holds_the_containers_that_mount_it_like_their_own() {
    let mounts = "volumeMounts: [{name: data, mountPath: /data}]";
    let volumes = "  volumes: [{name: data, image: {reference: data:1}}]\n";
    check(
        &format!("{}{volumes}", pod("Always", &[], &["free", &format!("app {mounts}")])),
        "
verbose
data: image missing ErrImagePull until 25s
until 40s
show image ! app
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; free Waiting:ContainerCreating rs #0
            0.0    > image of free
            0.0    ! free Pulled: Container image "free" already present on machine and can be accessed by the pod
            0.0    ! free Created: Container created
            0.0    ! free Started: Container started
            0.0    > image of data for app
            0.0    ! Warning Failed: Failed to pull image "data:1": no such image
            0.0    ! app Warning Failed: Error: ErrImagePull
            0.0    ~ app #0 start failed: ErrImagePull
            0.0    = app Waiting:ErrImagePull rs #0; free Running RS #0
            0.0    ! BackOff: Back-off pulling image "data:1"
            0.0    ! app Warning Failed: Error: ImagePullBackOff
            0.0    = app Waiting:ImagePullBackOff rs #0
            10.0   > image of data for app
            10.0   ! Warning Failed: Failed to pull image "data:1": no such image
            10.0   ! app Warning Failed: Error: ErrImagePull
            10.0   ~ app #0 start failed: ErrImagePull
            10.0   = app Waiting:ErrImagePull rs #0
            10.0   ! BackOff: Back-off pulling image "data:1"
            10.0   ! app Warning Failed: Error: ImagePullBackOff
            10.0   = app Waiting:ImagePullBackOff rs #0
            30.0   > image of data for app
            30.0   ! Pulled: Container image "data:1" already present on machine and can be accessed by the pod
            30.0   > image of app
            30.0   ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            30.0   > create app #0
            30.0   ~ app #0 created
            30.0   ! app Created: Container created
            30.0   > start app
            30.0   ~ app #0 started
            30.0   ! app Started: Container started
            30.0   ~ app #0 ready
            30.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s2_26_a_changed_image_of_an_init_container_changes_nothing() {
    let script = "i1: runs 3s\nat 1s image i1 two\nat 6s image i1 three\nuntil 20s\nshow start Killing";
    check(
        &pod("Always", &["i1"], &["app"]),
        script,
        expect![[r#"
            0.0    > start i1
            3.0    > start app
        "#]],
    );
}

#[test]
fn s2_28_a_sandbox_that_cannot_be_created_is_tried_again_under_the_same_number() {
    check(
        &pod("Never", &[], &["app"]),
        "sandbox fails until 15s\nuntil 30s\nshow sandbox Sandbox start",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > create sandbox 0
            0.0    ! Warning FailedCreatePodSandBox: Failed to create pod sandbox: no network
            10.0   > create sandbox 0
            10.0   ! Warning FailedCreatePodSandBox: Failed to create pod sandbox: no network
            20.0   > create sandbox 0
            20.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            20.0   > start app
            20.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s2_29_a_long_step_holds_back_every_other_of_the_pod() {
    check(
        &pod("Always", &["s1+"], &["app lifecycle: {postStart: {exec: {command: [x]}}}"]),
        "
app: postStart takes 20s
at 2s exit s1 1
until 30s
show start postStart s1
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    > postStart of app
            20.0   = Running; s1 Error(1) rs #0; app Running RS #0
            20.0   > start s1
            20.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Error(1)
        "#]],
    );
}

#[test]
fn s2_33_a_crashed_only_main_waits_for_the_last_sidecar() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
at 1s exit s1 1
at 2s exit s1 1
at 3s exit app 1
until 20s
show start BackOff Error
",
        expect![[r#"
            0.0    > start s1
            0.0    > start app
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #0
            1.0    > start s1
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Error(1)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #1 last=Error(1)
            2.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            2.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(1)
            3.0    = app Error(1) rs #0
            12.0   > start s1
            12.0   = s1 Running RS #2 last=Error(1)
            12.0   > start app
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(1)
        "#]],
    );
}

#[test]
fn s2_33_a_dead_sidecar_that_is_not_last_holds_no_main() {
    check(
        &pod("Always", &["s1+", "i1"], &["app"]),
        "
i1: runs 100ms
at 1s exit s1 1
at 2s exit s1 1
at 3s exit app 1
until 20s
show start BackOff
",
        expect![[r#"
            0.0    > start s1
            0.0    > start i1
            0.1    > start app
            1.0    > start s1
            2.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            2.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(1)
            3.0    > start app
            12.0   > start s1
        "#]],
    );
}

#[test]
fn s2_01_s2_13_an_init_container_that_cannot_start_holds_a_resize_back() {
    check(
        &pod("Always", &["s+ resources: {limits: {cpu: 1}, requests: {cpu: 1}}", "i"], &["app"]),
        "
i: config fails until 5s, runs 1s
at 2s resize s cpu=2
until 30s
show start resize i
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s Waiting:PodInitializing rs #0; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s
            0.0    = s Running RS #0
            0.0    ! i Warning Failed: Error: configmap "c" not found
            0.0    = i Waiting:CreateContainerConfigError rs #0
            2.0    ! ResizeStarted: Pod resize started: {"initContainers":[{"name":"s","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}},{"name":"i","resources":{}}],"containers":[{"name":"app","resources":{}}],"generation":2}
            2.0    = [PodResizeInProgress=True Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            2.0    ! i Warning Failed: Error: configmap "c" not found
            12.0   > start i
            12.0   > resize pod s
            12.0   ! ResizeCompleted: Pod resize completed: {"initContainers":[{"name":"s","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}},{"name":"i","resources":{}}],"containers":[{"name":"app","resources":{}}],"generation":2}
            12.0   = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Running rS #0
            13.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
            13.0   > start app
            13.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s2_16_s2_24_of_init_entries_the_latest_evidence_is_trusted() {
    check(
        &pod("Always", &["i1", "s1+", "i2"], &["app"]),
        "
i1: runs 1s
i2: runs 9s
at 3s exit s1 1
at 4s agent restarts
until 20s
show start
",
        expect![[r#"
            0.0    > start i1
            1.0    > start s1
            1.0    > start i2
            3.0    > start s1
            10.0   > start app
        "#]],
    );
}

#[test]
fn s3_53_a_main_that_has_succeeded_is_left_out_of_a_new_sandbox_without_init_entries() {
    check(
        &pod("OnFailure", &[], &["a", "b"]),
        "
at 5s exit a 0
at 8s sandbox lost
until 20s
show start sandbox
",
        expect![[r#"
            0.0    > create sandbox 0
            0.0    > start a
            0.0    > start b
            8.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            8.0    > stop sandbox
            8.0    > create sandbox 1
            8.0    > start b
        "#]],
    );
}

#[test]
fn s3_52_s4_02_a_never_pod_whose_sandbox_goes_before_its_mains_ran_fails() {
    check(
        &pod("Never", &["i"], &["app"]),
        "
i: runs 1s
app: image takes 10s
at 5s sandbox lost
until 60s
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start i
            0.0    = i Running rS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
            11.0   = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            11.0   > stop sandbox
            11.0   = Failed; app ContainerStatusUnknown(137) rs #0
            11.0   > remove sandbox
            11.0   > clean up
            11.0   # Failed
        "#]],
    );
}

#[test]
fn s3_52_a_never_pod_whose_sandbox_goes_before_anything_ran_gets_another() {
    check(
        &pod("Never", &["i"], &["app"]),
        "
i: image takes 5s, runs 1s
app: runs 1s
at 3s sandbox lost
until 60s
show sandbox start #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > create sandbox 0
            5.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            5.0    > stop sandbox
            5.0    > create sandbox 1
            10.0   > start i
            10.0   = i Running rS #0
            11.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
            11.0   > start app
            11.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            12.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            12.0   > stop sandbox
            12.0   > remove sandbox
            12.0   > remove sandbox
            12.0   # Succeeded
        "#]],
    );
}

#[test]
fn s3_52_mains_that_ended_well_get_no_other_sandbox_even_if_they_were_to_restart() {
    check(
        &pod("OnFailure", &[], &["app restartPolicy: Always"]),
        "
app: runs 1s
at 5s sandbox lost
until 60s
show sandbox start #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > create sandbox 0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    > start app
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Completed(0)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #1 last=Completed(0)
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            2.0    = app Waiting:CrashLoopBackOff rs #1 last=Completed(0)
            5.0    > stop sandbox
            5.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #1 last=Completed(0)
            5.0    > remove sandbox
            5.0    # Succeeded
        "#]],
    );
}

#[test]
fn s3_06_a_restart_that_a_lost_sandbox_has_cut_short_does_not_count_for_the_back_off() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: runs 1s, exits 1, image takes 2s
at 17s sandbox lost
until 70s
show start sandbox BackOff
",
        expect![[r#"
            0.0    > create sandbox 0
            2.0    > start app
            5.0    > start app
            6.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            6.0    = app Waiting:CrashLoopBackOff rs #1 last=Error(1)
            18.0   ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            18.0   > stop sandbox
            18.0   > create sandbox 1
            20.0   > start app
            21.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            21.0   = app Waiting:CrashLoopBackOff rs #2 last=Error(1)
            43.0   > start app
            44.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            44.0   = app Waiting:CrashLoopBackOff rs #3 last=Error(1)
        "#]],
    );
}

#[test]
fn s3_51_a_main_that_ended_well_and_is_to_restart_gets_another_sandbox() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: runs 1s
at 5s sandbox lost
until 13s
show start sandbox
",
        expect![[r#"
            0.0    > create sandbox 0
            0.0    > start app
            1.0    > start app
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            5.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            5.0    > stop sandbox
            5.0    > create sandbox 1
            12.0   > start app
            13.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s2_28_no_image_is_pulled_for_a_sandbox_that_cannot_be_created() {
    check(
        &pod("Never", &[], &["app"]),
        "
sandbox fails until 15s
until 30s
verbose
show image sandbox
",
        expect![[r#"
            0.0    > create sandbox 0
            0.0    ! Warning FailedCreatePodSandBox: Failed to create pod sandbox: no network
            10.0   > create sandbox 0
            10.0   ! Warning FailedCreatePodSandBox: Failed to create pod sandbox: no network
            20.0   > create sandbox 0
            20.0   ~ pod #0 sandbox ready
            20.0   > image of app
            20.0   ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
        "#]],
    );
}

#[test]
fn s2_02_attempts_to_mount_come_more_and_more_seldom_up_to_two_minutes() {
    let script = "volumes fail until 9000s\nuntil 8000s\nshow prepare";
    let text = transcript(&pod("Never", &[], &["app"]), script);
    let times: Vec<f64> = text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..10], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 122.0, 122.0]);
    assert!(gaps[10..].iter().all(|gap| *gap == 122.0) && gaps.len() > 64);
}
