//! Contract S3.c: rules that restart all containers of a pod.

use expect_test::expect;
use testkit::engine::{check, pod};

const RESTART_ALL: &str = "restartPolicy: Never, \
                           restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]";

#[test]
fn s2_30_s3_40_s3_41_s3_42_s3_43_a_rule_restarts_all_containers_in_the_same_sandbox() {
    check(
        &pod(
            "Never",
            &["i1", "s1+ lifecycle: {preStop: {exec: {command: [x]}}}"],
            &[&format!("app {RESTART_ALL}"), "other"],
        ),
        "
i1: runs 1s
other: ignores TERM
at 10s exit app 88
at 30s exit app 0
at 30s exit other 0
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Completed(0) Rs #0
            1.0    > start s1
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            1.0    > start app
            1.0    > start other
            1.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            10.0   ! other Killing: killing
            10.0   > stop other within 2s (RestartAll)
            12.0   ! s1 Killing: killing
            12.0   > stop s1 within 2s (RestartAll)
            12.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; i1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            12.0   > start i1
            12.0   = Pending; i1 Running rS #1 last=RestartingAllContainers(137)
            13.0   = Running; i1 Completed(0) Rs #1 last=RestartingAllContainers(137)
            13.0   > start s1
            13.0   = s1 Running RS #1 last=RestartingAllContainers(137)
            13.0   > start app
            13.0   > start other
            13.0   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137); other Running RS #1 last=RestartingAllContainers(137)
            30.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; app Completed(0) rs #1 last=RestartingAllContainers(137)
            30.0   = other Completed(0) rs #1 last=RestartingAllContainers(137)
            30.0   ! s1 Killing: Stopping container s1
            30.0   > preStop of s1
            30.0   > stop s1 within 30s (PodEnds)
            30.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted AllContainersRestarting=False]; s1 Completed(0) rs #1 last=RestartingAllContainers(137)
            30.0   > stop sandbox
            30.0   > remove sandbox
            30.0   > clean up
            30.0   # Succeeded
        "#]],
    );
}

#[test]
fn s3_44_a_restart_of_all_survives_an_agent_restart() {
    check(
        &pod("Never", &["s1+"], &[&format!("app {RESTART_ALL}"), "other"]),
        "
other: ignores TERM
at 10s exit app 88
at 11s agent restarts
until 60s
show start AllContainersRestarting remove
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            10.0   > stop other within 2s (RestartAll)
            11.0   > stop other within 2s (RestartAll)
            12.0   > stop s1 within 2s (RestartAll)
            12.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            12.0   > start s1
            12.0   = s1 Running RS #1 last=RestartingAllContainers(137)
            12.0   > start app
            12.0   > start other
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137); other Running RS #1 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s3_21_a_container_that_always_asks_to_restart_all_backs_off() {
    let pod = pod("Never", &["s1+"], &[&format!("app {RESTART_ALL}")]);
    check(
        &pod,
        "app: runs 100ms, exits 88\nuntil 60s\nshow start BackOff",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0
            0.1    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            0.1    > stop s1 within 2s (RestartAll)
            0.1    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            0.1    > start s1
            0.1    = s1 Running RS #1 last=RestartingAllContainers(137)
            0.1    > start app
            0.1    = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137)
            0.2    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #1 last=RestartingAllContainers(137)
            0.2    > stop s1 within 2s (RestartAll)
            0.2    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #1 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #1 last=RestartingAllContainers(137)
            0.2    > start s1
            0.2    = s1 Running RS #2 last=RestartingAllContainers(137)
            0.2    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            0.2    = app Waiting:CrashLoopBackOff rs #1 last=RestartingAllContainers(137)
            10.2   > start app
            10.2   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #2 last=RestartingAllContainers(137)
            10.3   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #2 last=RestartingAllContainers(137)
            10.3   > stop s1 within 2s (RestartAll)
            10.3   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #2 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #2 last=RestartingAllContainers(137)
            10.3   > start s1
            10.3   = s1 Running RS #3 last=RestartingAllContainers(137)
            10.3   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            10.3   = app Waiting:CrashLoopBackOff rs #2 last=RestartingAllContainers(137)
            30.3   > start app
            30.3   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #3 last=RestartingAllContainers(137)
            30.4   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #3 last=RestartingAllContainers(137)
            30.4   > stop s1 within 2s (RestartAll)
            30.4   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #3 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #3 last=RestartingAllContainers(137)
            30.4   > start s1
            30.4   = s1 Running RS #4 last=RestartingAllContainers(137)
            30.4   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            30.4   = app Waiting:CrashLoopBackOff rs #3 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s3_41_s3_42_every_instance_is_removed_before_the_pod_starts_again() {
    check(
        &pod("Never", &["s1+"], &[&format!("app {RESTART_ALL}"), "other", "third"]),
        "
steps take 1s
third: image missing ErrImagePull
other: runs 3s, exits 1
at 15s exit app 88
until 30s
verbose
show > Restarting third
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0; third Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            1.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            1.0    > image of s1
            2.0    > create s1 #0
            3.0    > start s1
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            4.0    > image of app
            5.0    > create app #0
            6.0    > start app
            7.0    > image of other
            8.0    > create other #0
            9.0    > start other
            10.0   > image of third
            11.0   ! third Warning Failed: Failed to pull image "third": no such image
            11.0   ! third Warning Failed: Error: ErrImagePull
            11.0   ~ third #0 start failed: ErrImagePull
            11.0   = app Running RS #0; other Running RS #0; third Waiting:ErrImagePull rs #0
            11.0   ! third BackOff: Back-off pulling image "third"
            11.0   ! third Warning Failed: Error: ImagePullBackOff
            11.0   = third Waiting:ImagePullBackOff rs #0
            15.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            15.0   > stop s1 within 2s (RestartAll)
            16.0   > remove old s1
            16.0   > remove old app
            16.0   > remove old other
            17.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            17.0   > image of s1
            18.0   > create s1 #1
            19.0   > start s1
            20.0   = s1 Running RS #1 last=RestartingAllContainers(137)
            20.0   > image of app
            21.0   > create app #1
            22.0   > start app
            23.0   > image of other
            24.0   > create other #1
            25.0   > start other
            26.0   > image of third
            27.0   ! third Warning Failed: Failed to pull image "third": no such image
            27.0   ! third Warning Failed: Error: ErrImagePull
            27.0   ~ third #0 start failed: ErrImagePull
            27.0   = app Running RS #1 last=RestartingAllContainers(137); other Running RS #1 last=RestartingAllContainers(137); third Waiting:ErrImagePull rs #0
            27.0   ! third BackOff: Back-off pulling image "third"
            27.0   ! third Warning Failed: Error: ImagePullBackOff
            27.0   = third Waiting:ImagePullBackOff rs #0
            29.0   = other Error(1) rs #1 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s3_40_a_sidecar_that_is_stopped_when_the_mains_are_done_brings_them_not_back() {
    check(
        &pod(
            "Never",
            &["s1+ restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [137]}}]"],
            &["a", "b"],
        ),
        "
a: runs 1s
b: runs 2s
s1: ignores TERM
until 60s
show start stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            0.0    > start a
            0.0    > start b
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; a Running RS #0; b Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; a Completed(0) rs #0
            2.0    = b Completed(0) rs #0
            2.0    > stop s1 within 30s (PodEnds)
            32.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted AllContainersRestarting=False]; s1 Error(137) rs #0
            32.0   > stop sandbox
            32.0   # Succeeded
        "#]],
    );
}

#[test]
fn s3_40_s3_43_a_sidecar_can_ask_for_it_while_one_main_runs_and_a_back_off_does_not_show_then() {
    check(
        &pod(
            "OnFailure",
            &["s1+ restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]"],
            &["a", "b", "c"],
        ),
        "
a: runs 1s
c: runs 1s, exits 1
b: ignores TERM
at 5s exit s1 88
until 12s
show start stop c
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0; c Waiting:PodInitializing rs #0
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            0.0    > start a
            0.0    > start b
            0.0    > start c
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; a Running RS #0; b Running RS #0; c Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; a Completed(0) rs #0
            1.0    = c Error(1) rs #0
            1.0    > start c
            1.0    = c Running RS #1 last=Error(1)
            2.0    = c Error(1) rs #1 last=Error(1)
            2.0    ! c Warning BackOff: Back-off restarting failed container c in pod pod_default(uid-1)
            2.0    = c Waiting:CrashLoopBackOff rs #1 last=Error(1)
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; s1 Error(88) rs #0
            5.0    > stop b within 2s (RestartAll)
            7.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); a Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); b Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); c Waiting:RestartingAllContainers rs #1 last=RestartingAllContainers(137)
            7.0    > start s1
            7.0    = s1 Running RS #1 last=RestartingAllContainers(137)
            7.0    > start a
            7.0    > start b
            7.0    > start c
            7.0    = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; a Running RS #1 last=RestartingAllContainers(137); b Running RS #1 last=RestartingAllContainers(137); c Running RS #2 last=RestartingAllContainers(137)
            8.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; a Completed(0) rs #1 last=RestartingAllContainers(137)
            8.0    = c Error(1) rs #2 last=RestartingAllContainers(137)
            8.0    ! c Warning BackOff: Back-off restarting failed container c in pod pod_default(uid-1)
            8.0    = c Waiting:CrashLoopBackOff rs #2 last=Error(1)
        "#]],
    );
}

#[test]
fn s3_44_a_restart_of_all_goes_on_when_the_record_of_who_asked_is_gone() {
    check(
        &pod("Never", &["s1+"], &[&format!("app {RESTART_ALL}"), "other"]),
        "
other: ignores TERM
at 10s exit app 88
at 11s records of app lost
at 11s agent restarts
at 30s agent restarts
until 60s
show start stop
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            10.0   > stop other within 2s (RestartAll)
            11.0   > stop other within 2s (RestartAll)
            12.0   > stop s1 within 2s (RestartAll)
            12.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            12.0   > start s1
            12.0   = s1 Running RS #1 last=RestartingAllContainers(137)
            12.0   > start app
            12.0   > start other
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=Error(88); other Running RS #1 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s3_43_s3_44_what_waits_for_its_turn_goes_on_to_show_it_after_an_agent_restart() {
    check(
        &pod("Never", &["s1+"], &[&format!("app {RESTART_ALL}"), "other"]),
        "
steps take 1s
at 15s exit app 88
at 20s agent restarts
until 40s
show start create app other
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    > create sandbox 0
            1.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            3.0    > start s1
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            6.0    > start app
            9.0    > start other
            10.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            15.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            15.0   ! other Killing: killing
            15.0   > stop other within 2s (RestartAll)
            16.0   > stop s1 within 2s (RestartAll)
            18.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            20.0   > start s1
            20.0   = s1 Waiting:- rs #1 last=RestartingAllContainers(137)
            23.0   > start s1
            24.0   = s1 Running RS #2 last=RestartingAllContainers(137)
            26.0   > start app
            29.0   > start other
            30.0   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137); other Running RS #1 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s2_30_a_pod_deleted_during_a_restart_of_all_ends() {
    check(
        &pod("Never", &["i", "j"], &[&format!("app {RESTART_ALL}"), "other"]),
        "
steps take 1s
i: runs 1s
at 15s exit app 88
at 19s delete
until 40s
show > = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; i Waiting:PodInitializing rs #0; j Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            1.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            3.0    > start i
            4.0    = i Running rS #0
            5.0    = i Completed(0) Rs #0
            7.0    > start j
            8.0    = j Running rS #0
            19.0   > stop j within 30s (PodEnds)
            20.0   = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; j Completed(0) Rs #0
            20.0   > stop sandbox
            21.0   > remove sandbox
            22.0   > clean up
            23.0   # Failed
        "#]],
    );
}

#[test]
fn s3_40_a_sidecar_can_ask_for_it_beside_a_main_that_runs() {
    check(
        &pod(
            "Never",
            &["s1+ restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]"],
            &["app"],
        ),
        "
at 5s exit s1 88
until 12s
show start stop
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; s1 Error(88) rs #0
            5.0    > stop app within 2s (RestartAll)
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            5.0    > start s1
            5.0    = s1 Running RS #1 last=RestartingAllContainers(137)
            5.0    > start app
            5.0    = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s3_44_a_restart_of_all_whose_records_are_gone_has_nothing_left_to_remove() {
    check(
        &pod("Always", &[], &[&format!("app {RESTART_ALL}"), "other"]),
        "
other: ignores TERM
at 10s exit app 88
at 11s records lost
until 30s
show start stop AllContainersRestarting
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; app Waiting:ContainerCreating rs #0; other Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            10.0   > stop other within 2s (RestartAll)
            11.0   = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; other Waiting:ContainerCreating rs #1 last=ContainerStatusUnknown(137)
            11.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]
            11.0   > start app
            11.0   > start other
            11.0   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=True/RestartAllContainersStarted]; app Running RS #1 last=Error(88); other Running RS #1 last=ContainerStatusUnknown(137)
            11.0   > stop app within 2s (RestartAll)
            11.0   > stop other within 2s (RestartAll)
            13.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; app Waiting:RestartingAllContainers rs #1 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #1 last=RestartingAllContainers(137)
            13.0   > start app
            13.0   > start other
            13.0   = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #2 last=RestartingAllContainers(137); other Running RS #2 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s3_43_a_restart_of_all_that_is_over_does_not_show_after_a_sandbox_was_lost() {
    check(
        &pod("Always", &["i"], &[&format!("app {RESTART_ALL}"), "other"]),
        "
i: runs 1s
at 5s exit app 88
at 10s i: image takes 3s
at 10s sandbox lost
until 20s
show i
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start i
            0.0    = i Running rS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; i Completed(0) Rs #0
            1.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            5.0    ! other Killing: killing
            5.0    > stop other within 2s (RestartAll)
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; i Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            5.0    > start i
            5.0    = Pending; i Running rS #1 last=RestartingAllContainers(137)
            6.0    = Running; i Completed(0) Rs #1 last=RestartingAllContainers(137)
            6.0    = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137); other Running RS #1 last=RestartingAllContainers(137)
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; app Error(137) rs #1 last=RestartingAllContainers(137)
            10.0   = other Error(137) rs #1 last=RestartingAllContainers(137)
            10.0   = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            10.0   ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            13.0   > start i
            13.0   = Pending; i Running rS #2 last=Completed(0)
            14.0   = Running; i Completed(0) Rs #2 last=Completed(0)
            14.0   = other Running RS #2 last=Error(137)
        "#]],
    );
}
