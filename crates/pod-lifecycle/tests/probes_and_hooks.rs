//! Contract S6 and S7: probes and hooks.

use expect_test::expect;
use testkit::engine::{check, pod, transcript};

#[test]
fn s6_03_first_runs_and_periods() {
    let probes = "startupProbe: {periodSeconds: 3, initialDelaySeconds: 2}, \
                  livenessProbe: {periodSeconds: 2, initialDelaySeconds: 1}, readinessProbe: {periodSeconds: 4}";
    check(
        &pod("Always", &[], &[&format!("app {probes}")]),
        "
app: startup fails until 4s
until 12s
verbose
show probe Unhealthy Running
",
        expect![[r#"
            0.0    ~ pod #0 phase Running
            0.0    = Running; app Running rs #0
            2.0    > startup probe of app
            5.0    > startup probe of app
            5.0    ~ app #0 startup probe passed
            5.0    = app Running rS #0
            5.0    > liveness probe of app
            5.0    > readiness probe of app
            5.0    ~ app #0 readiness probe passed
            5.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            7.0    > liveness probe of app
            9.0    > liveness probe of app
            9.0    > readiness probe of app
            11.0   > liveness probe of app
        "#]],
    );
}

#[test]
fn s6_05_readiness_is_asked_at_once_after_the_startup_probe_has_passed() {
    let pod = pod(
        "Always",
        &[],
        &["app startupProbe: {periodSeconds: 1, failureThreshold: 9}, readinessProbe: {periodSeconds: 30}"],
    );
    check(
        &pod,
        "app: startup fails until 4s\nuntil 40s\nverbose\nshow probe Running",
        expect![[r#"
            0.0    ~ pod #0 phase Running
            0.0    = Running; app Running rs #0
            0.0    > startup probe of app
            1.0    > startup probe of app
            1.0    ! app Warning Unhealthy: Startup probe failed:
            2.0    > startup probe of app
            2.0    ! app Warning Unhealthy: Startup probe failed:
            3.0    > startup probe of app
            3.0    ! app Warning Unhealthy: Startup probe failed:
            4.0    > startup probe of app
            4.0    ~ app #0 startup probe passed
            4.0    = app Running rS #0
            4.0    > readiness probe of app
            4.0    ~ app #0 readiness probe passed
            4.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            34.0   > readiness probe of app
        "#]],
    );
}

#[test]
fn s6_12_readiness_comes_and_goes_without_a_restart() {
    let pod = pod("Always", &[], &["app readinessProbe: {periodSeconds: 1, failureThreshold: 2, successThreshold: 2}"]);
    check(
        &pod,
        "at 5s app: readiness fails\nat 10s app: readiness passes\nuntil 20s\nshow Ready start stop",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start app
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            7.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Running rS #0
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s6_13_s3_13_a_main_that_fails_liveness_under_never_is_stopped_and_stays_down() {
    let pod = pod("Never", &[], &["app livenessProbe: {periodSeconds: 1}", "other"]);
    check(
        &pod,
        "app: liveness fails from 3s\nuntil 20s\nshow start stop Killing app",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; other Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; other Running RS #0
            3.0    ! app Warning Unhealthy: Liveness probe failed:
            4.0    ! app Warning Unhealthy: Liveness probe failed:
            5.0    ! app Warning Unhealthy: Liveness probe failed:
            5.0    ! app Killing: Container app failed liveness probe
            5.0    > stop app within 30s (Liveness)
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
        "#]],
    );
}

#[test]
fn s6_15_a_startup_kill_uses_the_probes_grace() {
    let probe = "startupProbe: {periodSeconds: 1, terminationGracePeriodSeconds: 500}";
    let script = "app: startup fails\nuntil 6s\nshow stop Killing";
    check(
        &pod("Always", &[], &[&format!("app {probe}")]),
        script,
        expect![[r#"
            3.0    ! app Killing: Container app failed startup probe, will be restarted
            3.0    > stop app within 500s (Startup)
            6.0    ! app Killing: Container app failed startup probe, will be restarted
            6.0    > stop app within 500s (Startup)
        "#]],
    );
}

#[test]
fn s6_14_a_startup_failure_is_judged_after_delay_and_threshold_and_keeps_the_sequence_blocked() {
    let probe = "startupProbe: {initialDelaySeconds: 4, periodSeconds: 3, failureThreshold: 2}";
    let hook = "lifecycle: {preStop: {exec: {command: [x]}}}";
    check(
        &pod("Never", &[&format!("s1+ {probe}, {hook}")], &["app"]),
        "s1: startup fails, preStop takes 1s\nuntil 20s\nshow start Killing Unhealthy preStop stop s1",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = s1 Running rs #0
            7.0    ! s1 Warning Unhealthy: Startup probe failed:
            10.0   ! s1 Warning Unhealthy: Startup probe failed:
            10.0   ! s1 Killing: Init container s1 failed startup probe
            10.0   > preStop of s1
            11.0   > stop s1 within 29s (Startup)
            11.0   > start s1
            11.0   = s1 Running rs #1 last=Completed(0)
            18.0   ! s1 Warning Unhealthy: Startup probe failed:
        "#]],
    );
}

#[test]
fn s6_15_a_shorter_grace_of_the_probe_counts_until_the_pod_is_deleted() {
    let probe = "livenessProbe: {periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 5}";
    check(
        &pod("Always", &[], &[&format!("app {probe}"), "other"]),
        "app: liveness fails from 2s, ignores TERM\nat 12s delete\nshow stop app",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; other Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0; other Running RS #0
            2.0    ! app Warning Unhealthy: Liveness probe failed:
            2.0    ! app Killing: Container app failed liveness probe, will be restarted
            2.0    > stop app within 5s (Liveness)
            7.0    > start app
            7.0    = app Running RS #1 last=Error(137)
            9.0    ! app Warning Unhealthy: Liveness probe failed:
            9.0    ! app Killing: Container app failed liveness probe, will be restarted
            9.0    > stop app within 5s (Liveness)
            14.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #1 last=Error(137)
            14.0   > stop other within 30s (PodEnds)
            14.0   > stop sandbox
        "#]],
    );
}

#[test]
fn s6_16_a_probe_that_cannot_be_run_neither_passes_nor_fails() {
    let probes = "livenessProbe: {periodSeconds: 1}, readinessProbe: {periodSeconds: 1}";
    let script = "app: liveness errs, readiness errs\nuntil 3s\nshow Unhealthy stop app";
    let long = "app: liveness errs, readiness errs\nuntil 1000s\nshow Killing start stop Ready";
    let never_killed = transcript(&pod("Always", &[], &[&format!("app {probes}")]), long);
    assert_eq!(never_killed.matches(" > start app").count(), 1, "{never_killed}");
    assert!(!never_killed.contains("stop app") && !never_killed.contains(" Ready=True"), "{never_killed}");
    check(
        &pod("Always", &[], &[&format!("app {probes}")]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    = Running; app Running rS #0
            0.0    ! app Warning Unhealthy: Readiness probe errored and resulted in unknown state: no such port
            1.0    ! app Warning Unhealthy: Liveness probe errored and resulted in unknown state: no such port
            1.0    ! app Warning Unhealthy: Readiness probe errored and resulted in unknown state: no such port
            2.0    ! app Warning Unhealthy: Liveness probe errored and resulted in unknown state: no such port
            2.0    ! app Warning Unhealthy: Readiness probe errored and resulted in unknown state: no such port
            3.0    ! app Warning Unhealthy: Liveness probe errored and resulted in unknown state: no such port
            3.0    ! app Warning Unhealthy: Readiness probe errored and resulted in unknown state: no such port
        "#]],
    );
}

#[test]
fn s6_24_a_sidecar_that_fails_liveness_for_ever_fails_no_pod() {
    let pod = pod("Never", &["s1+ livenessProbe: {periodSeconds: 1, failureThreshold: 1}"], &["app"]);
    check(
        &pod,
        "s1: liveness fails\napp: runs 30s\nshow start #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > start s1
            1.0    = s1 Running RS #1 last=Completed(0)
            2.0    > start s1
            2.0    = s1 Running RS #2 last=Completed(0)
            3.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #2 last=Completed(0)
            3.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            13.0   > start s1
            13.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #3 last=Completed(0)
            14.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            14.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #3 last=Completed(0)
            14.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            30.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            30.0   # Succeeded
        "#]],
    );
}

#[test]
fn s6_25_a_sidecar_that_starts_up_at_the_third_attempt_lets_the_pod_go_on() {
    let pod = pod("Never", &["s1+ startupProbe: {periodSeconds: 1, failureThreshold: 2}"], &["app"]);
    check(
        &pod,
        "s1: startup fails\nat 5s s1: startup passes\napp: runs 1s\nshow start #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = s1 Running rs #0
            2.0    ! s1 Killing: Init container s1 failed startup probe
            2.0    > start s1
            2.0    = s1 Running rs #1 last=Completed(0)
            4.0    ! s1 Killing: Init container s1 failed startup probe
            4.0    > start s1
            4.0    = s1 Running rs #2 last=Completed(0)
            6.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #2 last=Completed(0)
            6.0    > start app
            6.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            7.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            7.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #2 last=Completed(0)
            7.0    # Succeeded
        "#]],
    );
}

#[test]
fn s7_02_a_hook_that_hangs_holds_the_pod_until_it_is_deleted() {
    let pod = pod("Always", &["s1+ lifecycle: {postStart: {exec: {command: [x]}}}"], &["app"]);
    check(
        &pod,
        "s1: postStart hangs\nat 1000s delete\nverbose\nshow start postStart stop cancel #",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create s1 #0
            0.0    ~ s1 #0 created
            0.0    > start s1
            0.0    ~ s1 #0 started
            0.0    ! s1 Started: Container started
            0.0    > postStart of s1
            0.0    ~ s1 #0 postStart began
            1000.0 > cancel
            1000.0 ~ s1 #0 ready
            1000.0 = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            1000.0 > stop s1 within 30s (PodEnds)
            1000.0 ~ s1 #0 stop signal (PodEnds)
            1000.0 ~ s1 #0 exited 0 Completed
            1000.0 ~ pod #0 phase Failed
            1000.0 = Failed; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #0
            1000.0 > stop sandbox
            1000.0 # Failed
        "#]],
    );
}

#[test]
fn s7_02_a_command_hook_ends_with_its_container() {
    let pod = pod("Never", &[], &["app lifecycle: {postStart: {exec: {command: [x]}}}"]);
    check(
        &pod,
        "app: postStart hangs\nat 5s exit app 3\nshow start postStart PostStart app #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    > postStart of app
            5.0    ! app Warning FailedPostStartHook: PostStartHook failed
            5.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(3) rs #0
            5.0    # Failed
        "#]],
    );
}

#[test]
fn s7_03_a_failed_post_start_hook_stops_the_container_with_its_pre_stop_hook() {
    let hooks = "lifecycle: {postStart: {exec: {command: [x]}}, preStop: {exec: {command: [x]}}}";
    let pod = pod("Always", &[], &[&format!("app {hooks}")]);
    check(
        &pod,
        "app: postStart fails after 1s, preStop takes 2s, stops in 1s\nuntil 5s",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start app
            0.0    > postStart of app
            1.0    ! app Warning FailedPostStartHook: PostStartHook failed
            1.0    ! app Killing: FailedPostStartHook
            1.0    > preStop of app
            3.0    > stop app within 28s (PostStartHook)
            4.0    = Running; app Waiting:PostStartHookError rs #0 last=Completed(0)
            4.0    > start app
            4.0    > postStart of app
            5.0    ! app Warning FailedPostStartHook: PostStartHook failed
            5.0    ! app Killing: FailedPostStartHook
            5.0    > preStop of app
        "#]],
    );
}

#[test]
fn s7_04_under_never_the_kill_decides_the_phase() {
    let pod = pod("Never", &[], &["app lifecycle: {postStart: {exec: {command: [x]}}}"]);
    check(
        &pod,
        "app: postStart fails\nuntil 5s\nshow app #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    > postStart of app
            0.0    ! app Warning FailedPostStartHook: PostStartHook failed
            0.0    ! app Killing: FailedPostStartHook
            0.0    > stop app within 30s (PostStartHook)
            0.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            0.0    # Succeeded
        "#]],
    );
}

#[test]
fn s7_05_a_sidecar_whose_post_start_hook_fails_lets_nobody_start() {
    let pod = pod("Never", &["s1+ lifecycle: {postStart: {exec: {command: [x]}}}"], &["app"]);
    check(
        &pod,
        "s1: postStart fails, stops in 0s with 143\nuntil 40s\nshow start s1",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    > postStart of s1
            0.0    ! s1 Warning FailedPostStartHook: PostStartHook failed
            0.0    ! s1 Killing: FailedPostStartHook
            0.0    > stop s1 within 30s (PostStartHook)
            0.0    = s1 Waiting:PostStartHookError rs #0 last=Error(143)
            0.0    > start s1
            0.0    > postStart of s1
            0.0    ! s1 Warning FailedPostStartHook: PostStartHook failed
            0.0    ! s1 Killing: FailedPostStartHook
            0.0    > stop s1 within 30s (PostStartHook)
            0.0    = s1 Waiting:PostStartHookError rs #1 last=Error(143)
            0.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            0.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(143)
            10.0   > start s1
            10.0   > postStart of s1
            10.0   ! s1 Warning FailedPostStartHook: PostStartHook failed
            10.0   ! s1 Killing: FailedPostStartHook
            10.0   > stop s1 within 30s (PostStartHook)
            10.0   = s1 Waiting:PostStartHookError rs #2 last=Error(143)
            10.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            10.0   = s1 Waiting:CrashLoopBackOff rs #2 last=Error(143)
            30.0   > start s1
            30.0   > postStart of s1
            30.0   ! s1 Warning FailedPostStartHook: PostStartHook failed
            30.0   ! s1 Killing: FailedPostStartHook
            30.0   > stop s1 within 30s (PostStartHook)
            30.0   = s1 Waiting:PostStartHookError rs #3 last=Error(143)
            30.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            30.0   = s1 Waiting:CrashLoopBackOff rs #3 last=Error(143)
        "#]],
    );
}

#[test]
fn s7_10_pre_stop_runs_before_every_kill_of_a_live_container() {
    let pod =
        pod("Always", &[], &["app livenessProbe: {periodSeconds: 1}, lifecycle: {preStop: {exec: {command: [x]}}}"]);
    check(
        &pod,
        "app: liveness fails from 3s\nat 6s image app two\nat 8s delete\nshow preStop stop",
        expect![[r#"
            5.0    > preStop of app
            5.0    > stop app within 30s (Liveness)
            6.0    > preStop of app
            6.0    > stop app within 30s (DefinitionChanged)
            8.0    > preStop of app
            8.0    > stop app within 30s (PodEnds)
            8.0    > stop sandbox
        "#]],
    );
}

#[test]
fn s7_10_pre_stop_runs_before_a_resize_restart_and_not_where_nothing_is_left_to_stop() {
    let hook = "lifecycle: {preStop: {exec: {command: [x]}}}";
    let memory = "resources: {requests: {memory: 64Mi}, limits: {memory: 64Mi}}, \
                  resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]";
    check(
        &pod("Always", &[], &[&format!("app {hook}, {memory}")]),
        "at 2s resize app memory=96Mi\nat 5s exit app 1\nat 10s sandbox lost\nuntil 20s\nshow preStop stop start",
        expect![[r#"
            0.0    > start app
            2.0    ! ResizeStarted: Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"memory":"96Mi"},"requests":{"memory":"96Mi"}}}],"generation":2}
            2.0    ! app Killing: Container app resize requires restart
            2.0    > preStop of app
            2.0    > stop app within 30s (Resize)
            2.0    > start app
            5.0    > start app
            10.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            10.0   > stop sandbox
            20.0   > start app
        "#]],
    );
    let rules = "restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, \
                 exitCodes: {operator: In, values: [88]}}]";
    check(
        &pod("Never", &[&format!("s1+ {hook}")], &[&format!("app {rules}"), &format!("other {hook}")]),
        "at 5s exit app 88\nuntil 8s\nshow preStop stop start",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0; other Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Running RS #0
            0.0    > start app
            0.0    > start other
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #0; other Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=True/RestartAllContainersStarted]; app Error(88) rs #0
            5.0    > stop other within 2s (RestartAll)
            5.0    > stop s1 within 2s (RestartAll)
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady AllContainersRestarting=False]; s1 Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); app Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137); other Waiting:RestartingAllContainers rs #0 last=RestartingAllContainers(137)
            5.0    > start s1
            5.0    = s1 Running RS #1 last=RestartingAllContainers(137)
            5.0    > start app
            5.0    > start other
            5.0    = [Sandbox=True Initialized=True Ready=True Containers=True AllContainersRestarting=False]; app Running RS #1 last=RestartingAllContainers(137); other Running RS #1 last=RestartingAllContainers(137)
        "#]],
    );
}

#[test]
fn s7_11_a_long_pre_stop_hook_is_cut_by_the_grace() {
    let pod = pod("Always", &[], &["app lifecycle: {preStop: {sleep: {seconds: 50}}}"]);
    check(
        &pod,
        "app: preStop takes 50s\nat 1s delete grace 30\nverbose\nshow preStop stop PreStop exited",
        expect![[r#"
            1.0    > preStop of app
            1.0    ~ app #0 preStop began
            31.0   > stop app within 2s (PodEnds)
            31.0   ~ app #0 stop signal (PodEnds)
            31.0   ~ app #0 exited 0 Completed
            31.0   ~ app #0 preStop ended, ok=true
            31.0   > stop sandbox
        "#]],
    );
}

#[test]
fn s7_12_the_hook_of_a_main_delays_every_sidecar() {
    let hook = "lifecycle: {preStop: {exec: {command: [x]}}}";
    check(
        &pod("Always", &["side1+", "side2+"], &[&format!("app {hook}"), "other"]),
        "app: preStop takes 8s, stops in 2s\nat 1s delete\nshow preStop stop",
        expect![[r#"
            1.0    > preStop of app
            1.0    > stop other within 30s (PodEnds)
            9.0    > stop app within 22s (PodEnds)
            11.0   > stop side2 within 20s (PodEnds)
            11.0   > stop side1 within 20s (PodEnds)
            11.0   > stop sandbox
        "#]],
    );
}

#[test]
fn s7_12_the_hook_of_a_later_sidecar_delays_the_earlier_one() {
    let pod = pod("Always", &["side1+", "side2+ lifecycle: {preStop: {exec: {command: [x]}}}"], &["app"]);
    check(
        &pod,
        "side2: preStop takes 8s\nat 1s delete\nshow preStop stop",
        expect![[r#"
            1.0    > preStop of side2
            1.0    > stop app within 30s (PodEnds)
            9.0    > stop side2 within 22s (PodEnds)
            9.0    > stop side1 within 22s (PodEnds)
            9.0    > stop sandbox
        "#]],
    );
}

#[test]
fn s4_28_a_hook_that_hangs_through_a_kill_that_fails_holds_nothing_up() {
    let script = "app: preStop hangs, stop fails until 5s\nat 1s delete grace 3\nshow stop preStop FailedKillPod #";
    check(
        &pod("Always", &[], &["app lifecycle: {preStop: {exec: {command: [x]}}}"]),
        script,
        expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        1.0    > preStop of app
        4.0    > stop app within 2s (PodEnds)
        4.0    ! Warning FailedKillPod: error killing pod: the runtime is busy
        14.0   > preStop of app
        17.0   > stop app within 2s (PodEnds)
        17.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
        17.0   > stop sandbox
        17.0   # Succeeded
    "#]],
    );
}

#[test]
fn s6_02_a_container_that_ended_before_its_status_showed_it_running_is_not_probed() {
    check(
        &pod("Never", &[], &["a livenessProbe: {periodSeconds: 1, initialDelaySeconds: 1}", "b"]),
        "
a: runs 1s
b: image takes 3s
until 9s
verbose
show probe start
",
        expect![[r#"
            0.0    > start a
            0.0    ~ a #0 started
            0.0    ! a Started: Container started
            3.0    > start b
            3.0    ~ b #0 started
            3.0    ! b Started: Container started
        "#]],
    );
}

#[test]
fn s6_03_liveness_with_an_initial_delay_counts_from_its_first_run() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 10, initialDelaySeconds: 5, failureThreshold: 1}"]),
        "
app: liveness fails until 6s
until 9s
show start Killing
",
        expect![[r#"
            0.0    > start app
            5.0    ! app Killing: Container app failed liveness probe, will be restarted
            5.0    > start app
        "#]],
    );
}

#[test]
fn s7_01_s7_10_a_timeline_has_the_moments_of_hooks() {
    check(
        &pod("Always", &[], &["app lifecycle: {postStart: {exec: {command: [x]}}, preStop: {exec: {command: [x]}}}"]),
        "
app: postStart takes 2s, preStop takes 3s
at 5s delete
verbose
show ~
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    ~ pod #0 sandbox ready
            0.0    ~ app #0 created
            0.0    ~ app #0 started
            0.0    ~ app #0 postStart began
            2.0    ~ app #0 postStart ended, ok=true
            2.0    ~ pod #0 phase Running
            2.0    ~ app #0 ready
            5.0    ~ app #0 preStop began
            8.0    ~ app #0 preStop ended, ok=true
            8.0    ~ app #0 stop signal (PodEnds)
            8.0    ~ app #0 exited 0 Completed
            8.0    ~ pod #0 phase Succeeded
        "#]],
    );
}

#[test]
fn s7_02_a_hook_that_is_no_command_is_not_failed_by_the_end_of_its_container() {
    check(
        &pod("Always", &["i"], &["app lifecycle: {postStart: {httpGet: {port: 80}}, preStop: {httpGet: {port: 80}}}"]),
        "
i: runs 1s
app: postStart takes 9s, preStop takes 9s
at 3s exit app 0
at 20s delete
at 21s exit app 0
until 60s
verbose
show Stop Start hook ready exited #
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    ! i Pulled: Container image "i" already present on machine and can be accessed by the pod
            0.0    > create i #0
            0.0    ~ i #0 created
            0.0    ~ i #0 started
            0.0    ! i Started: Container started
            0.0    = i Running rS #0
            1.0    ~ i #0 exited 0 Completed
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
            1.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            1.0    > create app #0
            1.0    ~ app #0 created
            1.0    ~ app #0 started
            1.0    ! app Started: Container started
            1.0    > postStart of app
            1.0    ~ app #0 postStart began
            3.0    ~ app #0 exited 0 Completed
            3.0    ~ app #0 postStart ended, ok=true
            3.0    ~ pod #0 phase Running
            3.0    = Running; app Completed(0) rs #0
            3.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            3.0    > create app #1
            3.0    ~ app #1 created
            3.0    ~ app #1 started
            3.0    ! app Started: Container started
            3.0    > postStart of app
            3.0    ~ app #1 postStart began
            12.0   ~ app #1 postStart ended, ok=true
            12.0   ~ app #1 ready
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Completed(0)
            20.0   ! app Killing: Stopping container app
            20.0   > preStop of app
            20.0   ~ app #1 preStop began
            21.0   ~ app #1 exited 0 Completed
            21.0   ~ app #1 preStop ended, ok=true
            21.0   ~ pod #0 phase Succeeded
            21.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #1 last=Completed(0)
            21.0   # Succeeded
        "#]],
    );
}

#[test]
fn s7_03_a_container_that_cannot_be_stopped_for_its_hook_shows_as_running() {
    check(
        &pod(
            "Always",
            &[],
            &["app lifecycle: {postStart: {exec: {command: [x]}}}, livenessProbe: {terminationGracePeriodSeconds: 5}"],
        ),
        "
app: postStart fails after 1s, stop fails until 9s
until 12s
show stop start app
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    > postStart of app
            1.0    ! app Warning FailedPostStartHook: PostStartHook failed
            1.0    ! app Killing: FailedPostStartHook
            1.0    > stop app within 30s (PostStartHook)
            1.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s4_11_only_a_kill_for_a_probe_takes_the_grace_of_the_probe() {
    check(
        &pod(
            "Always",
            &[],
            &[
                "app livenessProbe: {terminationGracePeriodSeconds: 5}, resources: {limits: {memory: 1Mi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]",
            ],
        ),
        "
at 2s image app other
at 4s resize app memory=2Mi
until 9s
show stop
",
        expect![[r#"
            2.0    > stop app within 30s (DefinitionChanged)
            4.0    > stop app within 30s (Resize)
        "#]],
    );
}
