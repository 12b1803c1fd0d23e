//! Rules of S5 to S7 and S12, each shown by one short script.

use expect_test::expect;
use testkit::engine::{check, pod};

#[test]
fn s5_10_restart_counts_go_on_across_sandboxes() {
    check(
        &pod("Always", &["i1", "s1+"], &["app"]),
        "
i1: runs 1s
at 3s exit app 1
at 4s exit s1 1
at 5s sandbox lost
until 30s
show #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = i1 Running rS #0
            1.0    = i1 Completed(0) Rs #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            1.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(1) rs #0
            3.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(1)
            4.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #0
            4.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Error(1)
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #1 last=Error(1)
            5.0    = app Waiting:CrashLoopBackOff rs #1 last=Error(137)
            5.0    = s1 Error(137) rs #1 last=Error(1)
            5.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(137)
            5.0    = Pending; i1 Running rS #1 last=Completed(0); s1 Waiting:PodInitializing rs #1 last=Error(137)
            6.0    = Running; i1 Completed(0) Rs #1 last=Completed(0)
            6.0    = s1 Waiting:CrashLoopBackOff rs #1 last=Error(137)
            15.0   = s1 Running RS #2 last=Error(137)
            15.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #2 last=Error(137)
        "#]],
    );
}

#[test]
fn s5_13_while_a_post_start_hook_runs_the_old_status_stays() {
    check(
        &pod("Always", &[], &["app lifecycle: {postStart: {exec: {command: [x]}}}"]),
        "
app: postStart takes 10s
until 15s
show = postStart
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > postStart of app
            10.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s5_20_s6_06_started_follows_the_startup_probe_and_ready_the_readiness_probe() {
    check(
        &pod(
            "Always",
            &["s1+ startupProbe: {periodSeconds: 1, failureThreshold: 9}, readinessProbe: {periodSeconds: 1}"],
            &["app readinessProbe: {periodSeconds: 1}"],
        ),
        "
s1: startup fails until 3s, readiness fails until 5s
app: readiness fails until 7s
until 20s
show =
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = s1 Running rs #0
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            3.0    = Running; app Running rS #0
            5.0    = s1 Running RS #0
            10.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s5_21_without_probes_a_running_container_is_ready() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
until 2s
show Running
",
        expect![[r#"
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s5_22_a_plain_init_container_is_ready_when_it_has_succeeded() {
    check(
        &pod("OnFailure", &["i1"], &["app"]),
        "
i1: runs 1s, exits 1
at 1.5s i1: exits 0
until 30s
show i1
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Error(1) rs #0
            1.0    > start i1
            1.0    = i1 Running rS #1 last=Error(1)
            2.0    = i1 Error(1) rs #1 last=Error(1)
            2.0    ! i1 Warning BackOff: Back-off restarting failed container i1 in pod pod_default(uid-1)
            2.0    = i1 Waiting:CrashLoopBackOff rs #1 last=Error(1)
            12.0   > start i1
            12.0   = i1 Running rS #2 last=Error(1)
            13.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Completed(0) Rs #2 last=Error(1)
        "#]],
    );
}

#[test]
fn s5_23_a_sidecar_that_ended_with_zero_is_not_ready() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
at 1s exit s1 0
at 2s exit s1 0
until 5s
show s1
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start s1
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #0
            1.0    > start s1
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Completed(0)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Completed(0) rs #1 last=Completed(0)
            2.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s5_24_a_change_of_readiness_shows_at_once() {
    check(
        &pod("Always", &["s1+ readinessProbe: {periodSeconds: 1, failureThreshold: 1}"], &["app"]),
        "
s1: readiness fails from 3s
at 6s s1: readiness passes
until 8s
show Ready
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            3.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            7.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #0
        "#]],
    );
}

#[test]
fn s5_31_the_pod_can_start_containers_before_images_are_pulled() {
    check(
        &pod("Never", &[], &["app"]),
        "
app: image takes 5s, runs 1s
show Sandbox
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            5.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            6.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
        "#]],
    );
}

#[test]
fn s5_33_s5_36_a_pod_stays_initialised_when_a_sidecar_crashes() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
at 1s exit s1 1
at 2s exit s1 1
at 20s sandbox lost
until 40s
show Initialized
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #0
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #1 last=Error(1)
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(1) rs #1 last=Error(1)
            12.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #2 last=Error(1)
            20.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #0
            20.0   = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(137) rs #2 last=Error(1)
            20.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            40.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(137)
        "#]],
    );
}

#[test]
fn s5_34_s5_39_conditions_of_a_pod_that_succeeded() {
    check(
        &pod("Never", &["i1", "s1+"], &["app"]),
        "
i1: runs 1s
app: runs 1s
show Succeeded
",
        expect![[r#"
            2.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0
            2.0    # Succeeded
        "#]],
    );
}

#[test]
fn s5_34_s5_39_conditions_of_a_pod_that_failed_to_initialise() {
    check(
        &pod("Never", &["s1+", "i1"], &["app"]),
        "
i1: runs 1s, exits 1
show Failed
",
        expect![[r#"
            1.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/PodFailed Containers=False/PodFailed]; i1 Error(1) rs #0
            1.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/PodFailed Containers=False/PodFailed]; s1 Completed(0) rs #0
            1.0    # Failed
        "#]],
    );
}

#[test]
fn s5_42_the_phase_while_a_main_has_no_image() {
    check(
        &pod("Always", &[], &["app", "other"]),
        "
other: image missing ErrImagePull until 15s
until 60s
show Pending Running
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0; other Waiting:ContainerCreating rs #0
            0.0    = app Running RS #0; other Waiting:ErrImagePull rs #0
            30.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; other Running RS #0
        "#]],
    );
}

#[test]
fn s5_42_the_phase_while_a_sidecar_crashes_before_the_mains() {
    check(
        &pod("Always", &["s1+ startupProbe: {periodSeconds: 1}"], &["app"]),
        "
s1: startup fails, runs 1s, exits 1
until 15s
show Pending Running Failed
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = s1 Running rs #0
            1.0    = s1 Running rs #1 last=Error(1)
            12.0   = s1 Running rs #2 last=Error(1)
        "#]],
    );
}

#[test]
fn s5_42_the_phase_while_a_main_crashes() {
    check(
        &pod("Always", &["s1+"], &["app"]),
        "
app: runs 1s, exits 1
until 8s
show Pending Running Failed
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(1)
        "#]],
    );
}

#[test]
fn s5_45_the_reason_of_a_failed_pod_stays() {
    check(
        &format!("{}  activeDeadlineSeconds: 2\n", pod("Always", &[], &["app"])),
        "
app: stops in 5s
at 4s agent restarts
show Exceeded #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            4.0    ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            7.0    = Failed (DeadlineExceeded); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Completed(0) rs #0
            7.0    # Failed
        "#]],
    );
}

#[test]
fn s6_01_probes_of_each_container_and_kind_run_by_themselves() {
    check(
        &pod(
            "Always",
            &["s1+ readinessProbe: {periodSeconds: 2}"],
            &["app livenessProbe: {periodSeconds: 3}, readinessProbe: {periodSeconds: 5}"],
        ),
        "
verbose
until 11s
show probe
",
        expect![[r#"
            0.0    > readiness probe of s1
            0.0    ~ s1 #0 readiness probe passed
            0.0    > readiness probe of app
            0.0    ~ app #0 readiness probe passed
            2.0    > readiness probe of s1
            3.0    > liveness probe of app
            4.0    > readiness probe of s1
            5.0    > readiness probe of app
            6.0    > readiness probe of s1
            6.0    > liveness probe of app
            8.0    > readiness probe of s1
            9.0    > liveness probe of app
            10.0   > readiness probe of s1
            10.0   > readiness probe of app
        "#]],
    );
}

#[test]
fn s6_04_liveness_and_readiness_wait_for_the_startup_probe() {
    check(
        &pod(
            "Always",
            &[],
            &[
                "app startupProbe: {periodSeconds: 1, failureThreshold: 9}, livenessProbe: {periodSeconds: 1}, readinessProbe: {periodSeconds: 1}",
            ],
        ),
        "
verbose
app: startup fails until 3s
until 6s
show probe
",
        expect![[r#"
            0.0    > startup probe of app
            1.0    > startup probe of app
            1.0    ! app Warning Unhealthy: Startup probe failed:
            2.0    > startup probe of app
            2.0    ! app Warning Unhealthy: Startup probe failed:
            3.0    > startup probe of app
            3.0    ~ app #0 startup probe passed
            3.0    > liveness probe of app
            3.0    > readiness probe of app
            3.0    ~ app #0 readiness probe passed
            4.0    > liveness probe of app
            4.0    > readiness probe of app
            5.0    > liveness probe of app
            5.0    > readiness probe of app
            6.0    > liveness probe of app
            6.0    > readiness probe of app
        "#]],
    );
}

#[test]
fn s6_09_no_probe_runs_while_its_verdict_is_carried_out() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 1, failureThreshold: 2}"]),
        "
verbose
app: liveness fails, stops in 5s
until 9s
show probe stop start
",
        expect![[r#"
            0.0    > start app
            0.0    ~ app #0 started
            0.0    ! app Started: Container started
            1.0    > liveness probe of app
            1.0    ! app Warning Unhealthy: Liveness probe failed:
            2.0    > liveness probe of app
            2.0    ! app Warning Unhealthy: Liveness probe failed:
            2.0    ~ app #0 liveness probe failed
            2.0    ! app Killing: Container app failed liveness probe, will be restarted
            2.0    > stop app within 30s (Liveness)
            2.0    ~ app #0 stop signal (Liveness)
            7.0    > start app
            7.0    ~ app #1 started
            7.0    ! app Started: Container started
            8.0    > liveness probe of app
            8.0    ! app Warning Unhealthy: Liveness probe failed:
            9.0    > liveness probe of app
            9.0    ! app Warning Unhealthy: Liveness probe failed:
            9.0    ~ app #1 liveness probe failed
            9.0    ! app Killing: Container app failed liveness probe, will be restarted
            9.0    > stop app within 30s (Liveness)
            9.0    ~ app #1 stop signal (Liveness)
        "#]],
    );
}

#[test]
fn s6_02_s6_10_a_sidecar_is_probed_once_it_runs_and_again_after_every_restart() {
    check(
        &pod("Never", &["s1+ readinessProbe: {periodSeconds: 1}"], &["app"]),
        "
verbose
at 2s exit s1 1
at 4s exit s1 1
until 16s
show probe start
",
        expect![[r#"
            0.0    > start s1
            0.0    ~ s1 #0 started
            0.0    ! s1 Started: Container started
            0.0    > readiness probe of s1
            0.0    ~ s1 #0 readiness probe passed
            0.0    > start app
            0.0    ~ app #0 started
            0.0    ! app Started: Container started
            1.0    > readiness probe of s1
            2.0    > readiness probe of s1
            2.0    > start s1
            2.0    ~ s1 #1 started
            2.0    ! s1 Started: Container started
            2.0    > readiness probe of s1
            2.0    ~ s1 #1 readiness probe passed
            3.0    > readiness probe of s1
            4.0    > readiness probe of s1
            4.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            14.0   > start s1
            14.0   ~ s1 #2 started
            14.0   ! s1 Started: Container started
            14.0   > readiness probe of s1
            14.0   ~ s1 #2 readiness probe passed
            15.0   > readiness probe of s1
            16.0   > readiness probe of s1
        "#]],
    );
}

#[test]
fn s6_11_an_agent_that_comes_back_to_a_pod_that_ends_does_not_ask_for_liveness() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 1}"]),
        "
verbose
app: ignores TERM
at 2s delete grace 10
at 4s agent restarts
at 4s app: liveness fails
until 30s
show probe: stop Killing #
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    ~ pod #0 sandbox ready
            0.0    > create app #0
            0.0    ~ app #0 created
            0.0    ~ app #0 started
            0.0    ~ pod #0 phase Running
            0.0    ~ app #0 ready
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            2.0    ! app Killing: Stopping container app
            2.0    > stop app within 10s (PodEnds)
            2.0    ~ app #0 stop signal (PodEnds)
            4.0    ! app Killing: Stopping container app
            4.0    > stop app within 10s (PodEnds)
            4.0    ~ app #0 stop signal (PodEnds)
            12.0   ~ app #0 exited 137 Error
            12.0   ~ pod #0 phase Failed
            12.0   = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(137) rs #0
            12.0   > stop sandbox
            12.0   # Failed
        "#]],
    );
}

#[test]
fn s6_22_s12_09_every_failed_run_is_told() {
    check(
        &pod(
            "Always",
            &[],
            &["app livenessProbe: {periodSeconds: 1, failureThreshold: 3}, readinessProbe: {periodSeconds: 2}"],
        ),
        "
verbose
app: liveness fails, readiness fails
until 4s
show Unhealthy Killing
",
        expect![[r#"
            0.0    ! app Warning Unhealthy: Readiness probe failed:
            1.0    ! app Warning Unhealthy: Liveness probe failed:
            2.0    ! app Warning Unhealthy: Liveness probe failed:
            2.0    ! app Warning Unhealthy: Readiness probe failed:
            3.0    ! app Warning Unhealthy: Liveness probe failed:
            3.0    ! app Killing: Container app failed liveness probe, will be restarted
            3.0    ! app Warning Unhealthy: Readiness probe failed:
            3.0    ! app Warning Unhealthy: Readiness probe failed:
            4.0    ! app Warning Unhealthy: Liveness probe failed:
        "#]],
    );
}

#[test]
fn s6_18_s12_09_what_is_odd_about_a_passed_probe_is_told_and_changes_nothing() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 1}, readinessProbe: {periodSeconds: 2}"]),
        "
app: liveness warns, readiness warns
until 2s
show probe Running Killing
",
        expect![[r#"
            0.0    = Running; app Running rS #0
            0.0    ! app Warning ProbeWarning: Readiness probe warning: redirected
            0.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    ! app Warning ProbeWarning: Liveness probe warning: redirected
            2.0    ! app Warning ProbeWarning: Liveness probe warning: redirected
            2.0    ! app Warning ProbeWarning: Readiness probe warning: redirected
        "#]],
    );
}

#[test]
fn s6_10_a_container_that_has_ended_for_good_is_unready_and_not_asked_again() {
    check(
        &pod("Never", &[], &["app readinessProbe: {periodSeconds: 1}", "other"]),
        "
verbose
at 2s exit app 0
until 6s
show probe app
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
            0.0    = Running; app Running rS #0; other Running RS #0
            0.0    > readiness probe of app
            0.0    ~ app #0 readiness probe passed
            0.0    ~ app #0 ready
            0.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    > readiness probe of app
            2.0    > readiness probe of app
            2.0    ~ app #0 exited 0 Completed
            2.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
        "#]],
    );
}

#[test]
fn s6_23_a_readiness_probe_on_a_sidecar_makes_the_pod_ready_or_not() {
    check(
        &pod("Always", &["s1+ readinessProbe: {periodSeconds: 1, failureThreshold: 1}"], &["app"]),
        "
s1: readiness fails until 3s
until 6s
show Ready
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            3.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; s1 Running RS #0
        "#]],
    );
}

#[test]
fn s7_01_a_post_start_hook_runs_once_for_each_instance() {
    check(
        &pod("Always", &["s1+ lifecycle: {postStart: {exec: {command: [x]}}}"], &["app"]),
        "
at 2s exit s1 1
at 3s exit s1 1
until 20s
show start postStart
",
        expect![[r#"
            0.0    > start s1
            0.0    > postStart of s1
            0.0    > start app
            2.0    > start s1
            2.0    > postStart of s1
            3.0    ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            13.0   > start s1
            13.0   > postStart of s1
        "#]],
    );
}

#[test]
fn s12_04_s12_02_pulls_and_their_failures_are_told() {
    check(
        &pod("Always", &[], &["app"]),
        "
verbose
app: image missing ErrImagePull until 25s
until 60s
show !
",
        expect![[r#"
            0.0    ! app Warning Failed: Failed to pull image "app": no such image
            0.0    ! app Warning Failed: Error: ErrImagePull
            0.0    ! app BackOff: Back-off pulling image "app"
            0.0    ! app Warning Failed: Error: ImagePullBackOff
            10.0   ! app Warning Failed: Failed to pull image "app": no such image
            10.0   ! app Warning Failed: Error: ErrImagePull
            10.0   ! app BackOff: Back-off pulling image "app"
            10.0   ! app Warning Failed: Error: ImagePullBackOff
            30.0   ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            30.0   ! app Created: Container created
            30.0   ! app Started: Container started
        "#]],
    );
}

#[test]
fn s12_05_an_image_that_is_never_pulled_is_told() {
    check(
        &pod("Always", &[], &["app"]),
        "
verbose
app: image missing ErrImageNeverPull
until 5s
show !
",
        expect![[r#"
            0.0    ! app Warning ErrImageNeverPull: Container image "app" is not present with pull policy of Never
            0.0    ! app Warning Failed: Error: ErrImageNeverPull
        "#]],
    );
}

#[test]
fn s12_05_an_image_that_cannot_be_looked_at_is_told() {
    check(
        &pod("Always", &[], &["app"]),
        "
verbose
app: image missing InvalidImageName
until 5s
show ! app
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > image of app
            0.0    ! app Warning InspectFailed: no such image
            0.0    ! app Warning Failed: Error: InvalidImageName
            0.0    ~ app #0 start failed: InvalidImageName
            0.0    = app Waiting:InvalidImageName rs #0
        "#]],
    );
}

#[test]
fn s12_07_what_hinders_a_start_is_told() {
    check(
        &pod("Always", &[], &["app", "other"]),
        "
verbose
app: config fails until 5s
other: cannot start
until 3s
show !
",
        expect![[r#"
            0.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            0.0    ! app Warning Failed: Error: configmap "c" not found
            0.0    ! other Pulled: Container image "other" already present on machine and can be accessed by the pod
            0.0    ! other Created: Container created
            0.0    ! other Warning Failed: Error: exec: "/does-not-exist": no such file or directory
            0.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            0.0    ! app Warning Failed: Error: configmap "c" not found
            0.0    ! other Pulled: Container image "other" already present on machine and can be accessed by the pod
            0.0    ! other Created: Container created
            0.0    ! other Warning Failed: Error: exec: "/does-not-exist": no such file or directory
            0.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            0.0    ! app Warning Failed: Error: configmap "c" not found
            0.0    ! other Warning BackOff: Back-off restarting failed container other in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s12_08_each_kill_says_why() {
    check(
        &pod(
            "Always",
            &["s1+ livenessProbe: {periodSeconds: 1, failureThreshold: 1}"],
            &[
                "app livenessProbe: {periodSeconds: 1, failureThreshold: 1}",
                "b startupProbe: {periodSeconds: 1, failureThreshold: 1}",
                "c",
            ],
        ),
        "
s1: liveness fails from 3s
app: liveness fails from 5s
b: startup fails
at 7s image c other
at 9s delete
show Killing
",
        expect![[r#"
            1.0    ! b Killing: Container b failed startup probe, will be restarted
            2.0    ! b Killing: Container b failed startup probe, will be restarted
            3.0    ! s1 Killing: Init container s1 failed liveness probe
            3.0    ! b Killing: Container b failed startup probe, will be restarted
            5.0    ! app Killing: Container app failed liveness probe, will be restarted
            6.0    ! s1 Killing: Init container s1 failed liveness probe
            7.0    ! c Killing: Container c definition changed, will be restarted
            9.0    ! s1 Killing: Init container s1 failed liveness probe
            9.0    ! app Killing: Stopping container app
            9.0    ! c Killing: Stopping container c
        "#]],
    );
}

#[test]
fn s12_10_a_crash_loop_is_told() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: runs 1s, exits 1
until 30s
show BackOff
",
        expect![[r#"
            2.0    ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            2.0    = app Waiting:CrashLoopBackOff rs #1 last=Error(1)
            13.0   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            13.0   = app Waiting:CrashLoopBackOff rs #2 last=Error(1)
        "#]],
    );
}

#[test]
fn s12_11_failed_hooks_are_told() {
    check(
        &pod(
            "Always",
            &["s1+ lifecycle: {preStop: {exec: {command: [x]}}}"],
            &["app lifecycle: {postStart: {exec: {command: [x]}}}"],
        ),
        "
app: postStart fails
s1: preStop fails
at 5s delete
show Failed
",
        expect![[r#"
            0.0    ! app Warning FailedPostStartHook: PostStartHook failed
            0.0    ! app Killing: FailedPostStartHook
            0.0    ! app Warning FailedPostStartHook: PostStartHook failed
            0.0    ! app Killing: FailedPostStartHook
            5.0    ! s1 Warning FailedPreStopHook: PreStopHook failed
        "#]],
    );
}
