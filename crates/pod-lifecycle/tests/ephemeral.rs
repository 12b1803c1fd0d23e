//! Ephemeral containers: they join a pod that is there already (contract S2-01, S2-23, S5-01).

use expect_test::expect;
use testkit::engine::{check, pod};

#[test]
fn s2_01_s2_23_an_ephemeral_container_starts_before_a_pod_is_initialised_and_never_again() {
    check(
        &pod("Always", &["init"], &["app"]),
        "
init: runs on
debug: runs 3s, exits 1
at 2s debug debug
at 7s exit init 0
at 9s agent restarts
until 20s
show start debug #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; init Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > start init
            0.0    = init Running rS #0
            2.0    = debug Waiting:PodInitializing rs #0
            2.0    > start debug
            2.0    = debug Running rs #0
            5.0    = debug Error(1) rs #0
            7.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; init Completed(0) Rs #0
            7.0    > start app
            7.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
        "#]],
    );
}

#[test]
fn s5_01_ephemeral_containers_have_a_list_of_their_own_and_count_for_nothing() {
    check(
        &pod("Never", &[], &["app"]),
        "
app: runs 9s
z: runs on
at 1s debug z
at 2s debug a
a: runs 1s, exits 3
until 60s
show =  stop !
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = z Waiting:ContainerCreating rs #0
            1.0    = z Running rs #0
            2.0    = a Waiting:ContainerCreating rs #0
            2.0    = a Running rs #0
            3.0    = a Error(3) rs #0
            9.0    = [Sandbox=True Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            9.0    ! z Killing: Stopping container z
            9.0    > stop z within 30s (PodEnds)
            9.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; z Completed(0) rs #0
            9.0    > stop sandbox
        "#]],
    );
}

#[test]
fn s2_23_an_ephemeral_container_ends_with_its_pod_which_waits_for_it() {
    check(
        &pod("Always", &["s+"], &["app"]),
        "
debug: ignores TERM
at 1s debug debug
at 5s delete grace 4
until 60s
show = > stop #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s Running RS #0
            0.0    > start app
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = debug Waiting:PodInitializing rs #0
            1.0    > start debug
            1.0    = debug Running rs #0
            5.0    > stop app within 4s (PodEnds)
            5.0    > stop debug within 4s (PodEnds)
            5.0    > stop s within 4s (PodEnds)
            9.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; s Completed(0) rs #0; app Completed(0) rs #0; debug Error(137) rs #0
            9.0    > stop sandbox
            9.0    > remove sandbox
            9.0    > clean up
            9.0    # Succeeded
        "#]],
    );
}

#[test]
fn s2_23_an_ephemeral_container_whose_image_is_missing_holds_nobody_back() {
    check(
        &pod("Always", &[], &["app"]),
        "
debug: image missing ErrImagePull until 15s
at 1s debug debug
at 2s exit app 1
until 60s
show start debug
",
        expect![[r#"
            0.0    > start app
            1.0    = debug Waiting:ContainerCreating rs #0
            1.0    ! debug Warning Failed: Failed to pull image "debug": no such image
            1.0    ! debug Warning Failed: Error: ErrImagePull
            1.0    = debug Waiting:ErrImagePull rs #0
            1.0    ! debug BackOff: Back-off pulling image "debug"
            1.0    ! debug Warning Failed: Error: ImagePullBackOff
            1.0    = debug Waiting:ImagePullBackOff rs #0
            2.0    > start app
            11.0   ! debug Warning Failed: Failed to pull image "debug": no such image
            11.0   ! debug Warning Failed: Error: ErrImagePull
            11.0   = debug Waiting:ErrImagePull rs #0
            11.0   ! debug BackOff: Back-off pulling image "debug"
            11.0   ! debug Warning Failed: Error: ImagePullBackOff
            11.0   = debug Waiting:ImagePullBackOff rs #0
            31.0   > start debug
            31.0   = debug Running rs #0
        "#]],
    );
}

#[test]
fn s4_43_an_ephemeral_container_that_never_ran_is_not_looked_for() {
    check(
        &pod("Always", &["i", "j"], &["app"]),
        "
i: image takes 9s
debug: image missing ErrImageNeverPull
at 1s debug debug
at 2s delete
show = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; j Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            2.0    = Failed; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i ContainerStatusUnknown(137) rs #0; debug Waiting:PodInitializing rs #0
            2.0    # Failed
        "#]],
    );
}

#[test]
fn s4_43_an_ephemeral_container_that_never_ran_is_not_looked_for_in_a_pod_that_ran() {
    check(
        &pod("Always", &[], &["app"]),
        "
debug: image missing ErrImageNeverPull
at 1s debug debug
at 2s delete
show = #
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = debug Waiting:ContainerCreating rs #0
            1.0    = debug Waiting:ErrImageNeverPull rs #0
            2.0    = debug Waiting:ContainerCreating rs #0
            2.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app Completed(0) rs #0
            2.0    # Succeeded
        "#]],
    );
}
