//! Contract S3-55 to S3-59: what an agent restart changes, and what not.

use expect_test::expect;
use testkit::engine::{check, pod};

#[test]
fn s3_55_nothing_that_runs_is_touched() {
    check(
        &pod("Always", &["i1", "s1+"], &["app"]),
        "
i1: runs 1s
at 10s agent restarts
at 20s exit app 1
until 30s
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Completed(0) Rs #0
            1.0    > start s1
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            1.0    > start app
            1.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            10.0   > prepare volumes
            20.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(1) rs #0
            20.0   > start app
            20.0   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=Error(1)
        "#]],
    );
}

#[test]
fn s3_55_an_init_container_goes_on_running() {
    let script = "i1: runs 10s\ni2: runs 1s\nat 5s agent restarts\nuntil 20s\nshow start i1";
    check(
        &pod("Always", &["i1", "i2"], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; i2 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start i1
            0.0    = i1 Running rS #0
            10.0   = i1 Completed(0) Rs #0
            10.0   > start i2
            11.0   > start app
        "#]],
    );
}

#[test]
fn s3_56_started_and_ready_are_kept() {
    let probes = "startupProbe: {periodSeconds: 1}, readinessProbe: {periodSeconds: 1}";
    check(
        &pod("Always", &[&format!("s1+ {probes}")], &[&format!("app {probes}")]),
        "
at 10s agent restarts
until 15s
show s1 app Ready
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running rS #0
            0.0    = s1 Running RS #0
            0.0    > start app
            0.0    = Running; app Running rs #0
            0.0    = app Running rS #0
            0.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s3_57_a_sidecar_that_had_started_up_keeps_the_pod_initialised() {
    check(
        &pod("Always", &["s1+ startupProbe: {periodSeconds: 1}"], &["app"]),
        "
at 10s agent restarts
at 10s s1: startup fails
at 12s exit app 1
until 15s
show start
",
        expect![[r#"
            0.0    > start s1
            0.0    > start app
            12.0   > start app
        "#]],
    );
}

#[test]
fn s4_03_a_natural_end_goes_on_after_a_restart() {
    let script = "s1: stops in 10s\napp: runs 1s\nat 5s agent restarts\nshow stop # Succeeded";
    check(
        &pod("Never", &["s1+"], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Completed(0) rs #0
            1.0    > stop s1 within 30s (PodEnds)
            5.0    > stop s1 within 30s (PodEnds)
            11.0   = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s1 Completed(0) rs #0
            11.0   > stop sandbox
            11.0   # Succeeded
        "#]],
    );
}

#[test]
fn s4_44_a_terminal_status_is_final_across_a_restart() {
    let script = "app: runs 1s, exits 3\nat 1s agent restarts\nshow start # Failed clean";
    check(
        &pod("Never", &[], &["app"]),
        script,
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = Failed; [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Error(3) rs #0
            1.0    > clean up
            1.0    # Failed
        "#]],
    );
}

#[test]
fn s4_54_the_deadline_is_counted_from_the_first_start_of_the_pod() {
    let pod = format!("{}  activeDeadlineSeconds: 20\n", pod("Always", &[], &["app"]));
    check(
        &pod,
        "at 15s agent restarts\nshow DeadlineExceeded #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            20.0   ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            20.0   = Failed (DeadlineExceeded); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Completed(0) rs #0
            20.0   # Failed
        "#]],
    );
}

#[test]
fn s3_51_a_sandbox_lost_while_the_agent_was_away_is_made_anew() {
    check(
        &pod("Always", &["i1"], &["app"]),
        "
i1: runs 1s
at 5s sandbox lost
at 5s agent restarts
until 20s
show sandbox start SandboxChanged
",
        expect![[r#"
            0.0    > create sandbox 0
            0.0    > start i1
            1.0    > start app
            5.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            5.0    > stop sandbox
            5.0    > create sandbox 1
            5.0    > start i1
            6.0    > start app
        "#]],
    );
}

#[test]
fn s2_17_s3_51_a_main_that_a_lost_sandbox_has_left_unstarted_proves_nothing() {
    // The agent dies when it is about to start the main, and the sandbox goes before another attempt.
    let script = "i1: runs 3s\napp: image takes 5s\nat 7s agent dies after 6 behind 0\nat 10s sandbox lost\n\
                  until 30s\nshow start create restarted";
    check(
        &pod("Always", &["i1"], &["app"]),
        script,
        expect![[r#"
        0.0    > create sandbox 0
        0.0    > start i1
        13.0   ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
        13.0   > create sandbox 1
        13.0   > start i1
        21.0   > start app
    "#]],
    );
}

#[test]
fn s3_09_s3_59_containers_whose_records_are_gone_have_ended_unseen_and_start_anew() {
    check(
        &pod("Always", &["i1", "s1+"], &["app"]),
        "i1: runs 1s\nat 5s records lost\nuntil 9s",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i1 Waiting:PodInitializing rs #0; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start i1
            0.0    = i1 Running rS #0
            1.0    = i1 Completed(0) Rs #0
            1.0    > start s1
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            1.0    > start app
            1.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #1 last=ContainerStatusUnknown(137); app Waiting:PodInitializing rs #1 last=ContainerStatusUnknown(137)
            5.0    > prepare volumes
            5.0    > create sandbox 1
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            5.0    > start i1
            5.0    = Pending; i1 Running rS #1 last=Completed(0)
            6.0    = Running; i1 Completed(0) Rs #1 last=Completed(0)
            6.0    > start s1
            6.0    = s1 Running RS #1 last=ContainerStatusUnknown(137)
            6.0    > start app
            6.0    = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #1 last=ContainerStatusUnknown(137)
        "#]],
    );
}

#[test]
fn s3_52_a_never_pod_whose_records_are_gone_is_not_run_twice() {
    check(
        &pod("Never", &["s1+"], &["app"]),
        "at 5s records lost\nuntil 9s\nshow start app #",
        expect![[r#"
        0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        0.0    > start s1
        0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
        0.0    > start app
        0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        5.0    = [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; s1 Waiting:PodInitializing rs #1 last=ContainerStatusUnknown(137); app Waiting:PodInitializing rs #1 last=ContainerStatusUnknown(137)
        5.0    = Failed; s1 ContainerStatusUnknown(137) rs #1 last=ContainerStatusUnknown(137); app ContainerStatusUnknown(137) rs #1 last=ContainerStatusUnknown(137)
        5.0    # Failed
    "#]],
    );
}

#[test]
fn s3_58_a_restarted_agent_spreads_the_first_runs_of_probes() {
    let probe = "livenessProbe: {periodSeconds: 10}";
    check(
        &pod("Always", &[], &[&format!("a {probe}"), &format!("b {probe}"), &format!("c {probe}")]),
        "verbose\nat 25s agent restarts\nuntil 36s\nshow probe",
        expect![[r#"
            10.0   > liveness probe of a
            10.0   > liveness probe of b
            10.0   > liveness probe of c
            20.0   > liveness probe of a
            20.0   > liveness probe of b
            20.0   > liveness probe of c
            29.4   > liveness probe of b
            30.3   > liveness probe of c
            32.0   > liveness probe of a
        "#]],
    );
}

#[test]
fn s4_44_s5_44_s5_45_a_terminal_phase_and_its_reason_stay_across_an_agent_restart() {
    check(
        &pod("Always", &[], &["app"]),
        "
steps take 1s
at 10s evict no room
at 13.5s agent restarts
until 60s
show > = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            3.0    > start app
            4.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            10.0   = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed]
            10.0   > stop app within 2s (PodEnds)
            11.0   = Failed (Evicted); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Completed(0) rs #0
            11.0   > stop sandbox
            12.0   > remove sandbox
            13.0   > clean up
            13.5   > clean up
            14.5   # Failed
        "#]],
    );
}

#[test]
fn s3_50_an_agent_that_comes_back_before_anything_was_begins_with_number_zero() {
    check(
        &pod("Always", &[], &["app"]),
        "
steps take 1s
at 500ms agent restarts
until 20s
show create sandbox =
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    > create sandbox 0
            1.5    > create sandbox 0
            2.5    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            5.5    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s3_09_s3_59_records_lost_while_one_container_had_never_run() {
    check(
        &pod("Always", &[], &["a", "b"]),
        "
b: image missing ErrImagePull until 12s
at 5s records lost
until 30s
show create sandbox = start
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:ContainerCreating rs #0; b Waiting:ContainerCreating rs #0
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start a
            0.0    = a Running RS #0; b Waiting:ErrImagePull rs #0
            0.0    = b Waiting:ImagePullBackOff rs #0
            5.0    = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:ContainerCreating rs #1 last=ContainerStatusUnknown(137); b Waiting:ContainerCreating rs #0
            5.0    > create sandbox 1
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            5.0    > start a
            5.0    = a Running RS #1 last=ContainerStatusUnknown(137); b Waiting:ErrImagePull rs #0
            5.0    = b Waiting:ImagePullBackOff rs #0
            15.0   > start b
            15.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; b Running RS #0
        "#]],
    );
}

#[test]
fn s3_56_what_had_not_started_up_and_was_not_ready_stays_so() {
    check(
        &pod("Always", &["s1+ startupProbe: {periodSeconds: 2}"], &["app readinessProbe: {periodSeconds: 2}"]),
        "
s1: startup fails until 5s
app: readiness fails
at 3s agent restarts
at 9s agent restarts
until 12s
show = start
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running rs #0
            6.1    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            6.1    > start app
            6.1    = Running; app Running rS #0
        "#]],
    );
}

#[test]
fn s6_02_what_is_dead_is_not_probed_after_an_agent_restart() {
    check(
        &pod("Always", &[], &["app livenessProbe: {periodSeconds: 1}", "b"]),
        "
app: image takes 5s, runs 3s, exits 1
at 9s agent restarts
until 15s
verbose
show probe start
",
        expect![[r#"
            5.0    > start app
            5.0    ~ app #0 started
            5.0    ! app Started: Container started
            5.0    > start b
            5.0    ~ b #0 started
            5.0    ! b Started: Container started
            6.0    > liveness probe of app
            7.0    > liveness probe of app
            14.0   > start app
            14.0   ~ app #1 started
            14.0   ! app Started: Container started
            15.0   > liveness probe of app
        "#]],
    );
}

#[test]
fn s2_23_an_ephemeral_container_is_known_after_an_agent_restart_and_when_its_record_is_gone() {
    check(
        &pod("Always", &[], &["app"]),
        "
at 2s debug debug
at 5s agent restarts
at 8s records lost
until 20s
show start debug
",
        expect![[r#"
            0.0    > start app
            2.0    = debug Waiting:ContainerCreating rs #0
            2.0    > start debug
            2.0    = debug Running rs #0
            8.0    = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #1 last=ContainerStatusUnknown(137); debug Waiting:ContainerCreating rs #1 last=ContainerStatusUnknown(137)
            8.0    > start app
        "#]],
    );
}

#[test]
fn s5_14_s5_11_an_instance_that_was_made_and_not_begun_leaves_the_last_state_alone() {
    check(
        &pod("Always", &[], &["app"]),
        "
steps take 1s
app: runs 1s, exits 3
at 7.5s agent restarts
until 16s
verbose
show app
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            1.0    > image of app
            2.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            2.0    > create app #0
            3.0    ~ app #0 created
            3.0    ! app Created: Container created
            3.0    > start app
            4.0    ~ app #0 started
            4.0    ! app Started: Container started
            4.0    ~ app #0 ready
            4.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    ~ app #0 exited 3 Error
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(3) rs #0
            5.0    > image of app
            6.0    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            6.0    > create app #1
            7.0    ~ app #1 created
            7.0    ! app Created: Container created
            7.0    > start app
            7.5    = app Waiting:- rs #1 last=Error(3)
            8.5    > image of app
            9.5    ! app Pulled: Container image "app" already present on machine and can be accessed by the pod
            9.5    > create app #2
            10.5   ~ app #2 created
            10.5   > remove old app
            10.5   ! app Created: Container created
            10.5   > start app
            11.5   ~ app #2 started
            11.5   ! app Started: Container started
            11.5   ~ app #2 ready
            11.5   = [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #2 last=Error(3)
            12.5   ~ app #2 exited 3 Error
            12.5   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(3) rs #2 last=Error(3)
            12.5   ! app Warning BackOff: Back-off restarting failed container app in pod pod_default(uid-1)
            12.5   ~ app #2 back-off 10s
            12.5   = app Waiting:CrashLoopBackOff rs #2 last=Error(3)
        "#]],
    );
}

#[test]
fn s4_01_s4_59_an_agent_that_dies_while_its_node_shuts_down_goes_on_with_that() {
    check(
        &pod("Never", &["s1+"], &["app"]),
        "
app: ignores TERM
at 5s node shuts down
at 10s agent restarts
show stop # Failed Disruption
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]
            5.0    > stop app within 30s (PodEnds)
            10.0   > stop app within 30s (PodEnds)
            35.0   > stop s1 within 5s (PodEnds)
            35.0   = Failed (Terminated); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]; s1 Completed(0) rs #0; app Error(137) rs #0
            35.0   > stop sandbox
            35.0   # Failed
        "#]],
    );
}

#[test]
fn s4_01_s4_56_an_agent_that_dies_while_it_evicts_a_pod_goes_on_with_that() {
    check(
        &pod("Always", &[], &["app"]),
        "
app: ignores TERM
at 5s starve 20s The node was low on resource: memory.
at 10s agent restarts
show stop # Failed Disruption
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]
            5.0    > stop app within 20s (PodEnds)
            10.0   > stop app within 2s (PodEnds)
            12.0   = Failed (Evicted); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed DisruptionTarget=True/TerminationByKubelet]; app Error(137) rs #0
            12.0   > stop sandbox
            12.0   # Failed
        "#]],
    );
}
