//! Rules of S2 to S4 and S12 whose clauses need a script each.

use expect_test::expect;
use testkit::engine::{check, pod};

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

#[test]
fn s12_15_a_passed_deadline_is_told() {
    check(
        &format!("{}  activeDeadlineSeconds: 2\n", pod("Always", &[], &["app"])),
        "
show !
",
        expect![[r#"
            2.0    ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            2.0    ! app Killing: Stopping container app
        "#]],
    );
}

#[test]
fn s12_20_nothing_is_told_of_sidecars_that_started_or_wait_for_their_turn() {
    check(
        &format!("{}  terminationGracePeriodSeconds: 3\n", pod("Always", &["a+", "b+"], &["app"])),
        "
verbose
app: ignores TERM
b: ignores TERM
at 2s delete
show !
",
        expect![[r#"
            0.0    ! a Pulled: Container image "a" already present on machine and can be accessed by the pod
            0.0    ! a Created: Container created
            0.0    ! a Started: Container started
            0.0    ! b Pulled: Container image "b" already present on machine and can be accessed by the pod
            0.0    ! b Created: Container created
            0.0    ! b Started: Container started
            0.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            0.0    ! app Created: Container created
            0.0    ! app Started: Container started
            2.0    ! a Killing: Stopping container a
            2.0    ! b Killing: Stopping container b
            2.0    ! app Killing: Stopping container app
        "#]],
    );
}

#[test]
fn s5_44_a_pod_that_is_being_deleted_stays_what_others_declare_it_to_be() {
    let script =
        "app: stops in 5s\nat 1s delete grace 30\nat 3s api says Failed\nuntil 9s\nshow stop Failed Succeeded #";
    check(
        &pod("Always", &[], &["app"]),
        script,
        expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        1.0    > stop app within 30s (PodEnds)
        3.0    = Failed; [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed]
        6.0    = [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Completed(0) rs #0
        6.0    > stop sandbox
        6.0    # Failed
    "#]],
    );
}
