//! Contract S5: what the status says, in full.

use std::{sync::Arc, time::Duration};

use expect_test::expect;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use pod_lifecycle::{
    ContainerView, Effect, EffectId, EffectResult, Input, MomentKind, Output, PodPlan, PodUpdate, ProbeOutcome,
};
use serde_json::json;
use testkit::engine::{Script, World, check, pod, pod_from_yaml, transcript};

/// Plays a script and returns the last status.
fn last_status(yaml: &str, script: &str) -> PodStatus {
    let world = play(yaml, script);
    world.stored().clone()
}

fn play(yaml: &str, script: &str) -> World {
    script.parse::<Script>().expect("a script").play(yaml).0
}

#[test]
fn s5_01_s5_12_the_whole_status_of_a_running_pod() {
    let status = last_status(&pod("Always", &["s+"], &["b", "a"]), "until 2s");
    expect![[r#"
        {
          "conditions": [
            {
              "lastTransitionTime": "2026-01-01T00:00:00Z",
              "observedGeneration": 1,
              "status": "True",
              "type": "PodReadyToStartContainers"
            },
            {
              "lastTransitionTime": "2026-01-01T00:00:00Z",
              "observedGeneration": 1,
              "status": "True",
              "type": "Initialized"
            },
            {
              "lastTransitionTime": "2026-01-01T00:00:00Z",
              "observedGeneration": 1,
              "status": "True",
              "type": "Ready"
            },
            {
              "lastTransitionTime": "2026-01-01T00:00:00Z",
              "observedGeneration": 1,
              "status": "True",
              "type": "ContainersReady"
            },
            {
              "lastTransitionTime": "2026-01-01T00:00:00Z",
              "observedGeneration": 1,
              "status": "True",
              "type": "PodScheduled"
            }
          ],
          "containerStatuses": [
            {
              "containerID": "podrig://a-0-10",
              "image": "a",
              "imageID": "sha256:a",
              "lastState": {},
              "name": "a",
              "ready": true,
              "resources": {},
              "restartCount": 0,
              "started": true,
              "state": {
                "running": {
                  "startedAt": "2026-01-01T00:00:00Z"
                }
              },
              "user": {
                "linux": {
                  "gid": 0,
                  "supplementalGroups": [
                    0,
                    2000
                  ],
                  "uid": 1000
                }
              }
            },
            {
              "containerID": "podrig://b-0-7",
              "image": "b",
              "imageID": "sha256:b",
              "lastState": {},
              "name": "b",
              "ready": true,
              "resources": {},
              "restartCount": 0,
              "started": true,
              "state": {
                "running": {
                  "startedAt": "2026-01-01T00:00:00Z"
                }
              },
              "user": {
                "linux": {
                  "gid": 0,
                  "supplementalGroups": [
                    0,
                    2000
                  ],
                  "uid": 1000
                }
              }
            }
          ],
          "initContainerStatuses": [
            {
              "containerID": "podrig://s-0-4",
              "image": "s",
              "imageID": "sha256:s",
              "lastState": {},
              "name": "s",
              "ready": true,
              "resources": {},
              "restartCount": 0,
              "started": true,
              "state": {
                "running": {
                  "startedAt": "2026-01-01T00:00:00Z"
                }
              },
              "user": {
                "linux": {
                  "gid": 0,
                  "supplementalGroups": [
                    0,
                    2000
                  ],
                  "uid": 1000
                }
              }
            }
          ],
          "observedGeneration": 1,
          "phase": "Running",
          "podIP": "10.0.0.2",
          "podIPs": [
            {
              "ip": "10.0.0.2"
            }
          ],
          "startTime": "2026-01-01T00:00:00Z"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&status).unwrap());
}

#[test]
fn s11_15_s11_25_mounts_and_user_are_shown_and_outlive_an_agent() {
    let mounts = "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b, readOnly: true}, \
                  {name: v, mountPath: /c, readOnly: true, recursiveReadOnly: IfPossible}]";
    let yaml = pod("Never", &[], &[&format!("app {mounts}"), "late"]) + "  volumes: [{name: v}]\n";
    for script in ["until 2s", "at 1s agent restarts\nuntil 2s", "app: runs 1s\nat 2s agent restarts\nuntil 3s"] {
        let status = last_status(&yaml, script);
        let app = &status.container_statuses.unwrap()[0];
        assert_eq!(
            json!(app.volume_mounts),
            json!([
                {"name": "v", "mountPath": "/a"},
                {"name": "v", "mountPath": "/b", "readOnly": true, "recursiveReadOnly": "Disabled"},
                {"name": "v", "mountPath": "/c", "readOnly": true, "recursiveReadOnly": "Enabled"},
            ])
        );
        let user = json!({"linux": {"uid": 1000, "gid": 0, "supplementalGroups": [0, 2000]}});
        assert_eq!(json!(app.user), user, "{script}");
    }
    let waiting = last_status(&yaml, "app: config fails until 9s\nuntil 2s");
    let app = &waiting.container_statuses.unwrap()[0];
    assert_eq!((app.volume_mounts.as_ref().map(Vec::len), &app.user), (Some(3), &None));
}

#[test]
fn s5_07_the_whole_status_of_a_failed_container() {
    let yaml = pod("Never", &[], &["app"]);
    let status = last_status(&yaml, "app: runs 1500ms, exits 3, says it broke\nuntil 5s");
    let container = &status.container_statuses.unwrap()[0];
    expect![[r#"
        {
          "containerID": "podrig://app-0-4",
          "image": "app",
          "imageID": "sha256:app",
          "lastState": {},
          "name": "app",
          "ready": false,
          "resources": {},
          "restartCount": 0,
          "started": false,
          "state": {
            "terminated": {
              "containerID": "podrig://app-0-4",
              "exitCode": 3,
              "finishedAt": "2026-01-01T00:00:01Z",
              "message": "it broke",
              "reason": "Error",
              "startedAt": "2026-01-01T00:00:00Z"
            }
          },
          "user": {
            "linux": {
              "gid": 0,
              "supplementalGroups": [
                0,
                2000
              ],
              "uid": 1000
            }
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(container).unwrap());
}

#[test]
fn s3_26_s5_03_the_messages_of_waiting_containers() {
    let message = |script: &str| {
        let status = last_status(&pod("Always", &[], &["app"]), script);
        let waiting = status.container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap();
        format!("{}: {}", waiting.reason.unwrap(), waiting.message.unwrap_or_default())
    };
    let messages = [
        message("app: exits 1, runs 1s\nuntil 3s"),
        message("app: image missing ErrImagePull\nuntil 3s"),
        message("app: image missing ErrImageNeverPull\nuntil 3s"),
        message("app: config fails until 9s\nuntil 3s"),
        message("volumes fail until 9s\nuntil 1s"),
        message("app: image missing InvalidImageName\nuntil 3s"),
        message("app: image missing ImageInspectError\nuntil 3s"),
        message("app: image missing RegistryUnavailable\nuntil 3s"),
        message("app: image missing SignatureValidationFailed\nuntil 3s"),
        message("app: cannot start\nuntil 0s"),
    ];
    expect![[r#"
        CrashLoopBackOff: back-off 10s restarting failed container=app pod=pod_default(uid-1)
        ImagePullBackOff: Back-off pulling image "app": ErrImagePull: no such image
        ErrImageNeverPull: no such image
        CreateContainerConfigError: configmap "c" not found
        ContainerCreating: 
        InvalidImageName: no such image
        ImageInspectError: no such image
        ImagePullBackOff: Back-off pulling image "app": RegistryUnavailable: no such image
        ImagePullBackOff: Back-off pulling image "app": SignatureValidationFailed: no such image
        CrashLoopBackOff: back-off 10s restarting failed container=app pod=pod_default(uid-1)"#]]
    .assert_eq(&messages.join("\n"));
}

#[test]
fn s5_02_one_init_entry_makes_all_wait_for_initialisation() {
    check(
        &pod("Always", &["s+"], &["app"]),
        "volumes fail until 5s\nuntil 1s\nshow =",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
        "#]],
    );
    check(
        &pod("Always", &[], &["app"]),
        "volumes fail until 5s\nuntil 1s\nshow =",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
        "#]],
    );
}

#[test]
fn s5_35_s5_02_s5_12_the_first_status_tells_of_every_container() {
    let world = play(&pod("Always", &["i", "s+"], &["b", "a"]), "volumes fail until 5s\nuntil 1s");
    let first = world.said().iter().find_map(|said| match &said.output {
        Output::Status(status) => Some(status.clone()),
        Output::Run { .. } | Output::Cancel(_) | Output::Event(_) => None,
        Output::Moment(_) | Output::Finished(_) | Output::Wait(_) => None,
    });
    let first = first.expect("a status");
    let statuses = first.init_container_statuses.iter().chain(&first.container_statuses).flatten();
    let texts = statuses.map(|status| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.clone()).unwrap_or_default();
        let (name, image, count) = (&status.name, &status.image, status.restart_count);
        let flags = (status.ready, status.started, &status.image_id, &status.container_id);
        format!("{name} {image} #{count} {} {flags:?}", waiting.reason.unwrap_or_default())
    });
    expect![[r#"
        i i #0 PodInitializing (false, Some(false), "", None)
        s s #0 PodInitializing (false, Some(false), "", None)
        a a #0 PodInitializing (false, Some(false), "", None)
        b b #0 PodInitializing (false, Some(false), "", None)"#]]
    .assert_eq(&texts.collect::<Vec<_>>().join("\n"));
    let initialized = first.conditions.iter().flatten().find(|condition| condition.type_ == "Initialized");
    assert_eq!(initialized.and_then(|found| found.reason.as_deref()), Some("ContainersNotInitialized"));
    assert_eq!(first.observed_generation, Some(1));
}

#[test]
fn s5_47_the_address_of_a_pod_stays_after_its_end() {
    let address = |script: &str| last_status(&pod("Never", &[], &["app"]), script).pod_ip;
    let after =
        ["app: runs 1s", "app: runs 9s\nat 5s sandbox lost", "app: runs 1s\nat 0.5s agent dies after 4 behind 0"];
    assert_eq!(after.map(address), [(); 3].map(|()| Some("10.0.0.2".to_owned())));
}

#[test]
fn s1_34_no_label_and_no_annotation_decides_anything() {
    let script = "at 1s exit s 1\nat 2s exit app 0\nverbose";
    let plain = pod("Never", &["i", "s+"], &["app"]);
    let marked = format!(
        "metadata:\n  labels: {{app: s, sidecar: app}}\n  annotations: {{kubectl.kubernetes.io/default-container: s, \
         sidecar.istio.io/inject: \"false\"}}\n{plain}"
    );
    assert_eq!(transcript(&marked, script), transcript(&plain, script));
}

#[test]
fn s5_32_s5_37_conditions_name_the_containers_that_hold_the_pod() {
    let yaml = pod("Always", &["i", "s+ readinessProbe: {periodSeconds: 1}"], &["app"]);
    let conditions = |script: &str| {
        let status = last_status(&yaml, script);
        let text = |c: &PodCondition| {
            format!("{}={} {}", c.type_, c.status, c.message.as_deref().unwrap_or_default()).trim_end().to_owned()
        };
        status.conditions.unwrap().iter().map(text).collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        PodReadyToStartContainers=True
        Initialized=False containers with incomplete status: [i s]
        Ready=False containers with unready status: [s app]
        ContainersReady=False containers with unready status: [s app]
        PodScheduled=True"#]]
    .assert_eq(&conditions("i: runs 5s\nuntil 1s"));
    expect![[r#"
        PodReadyToStartContainers=True
        Initialized=True
        Ready=False containers with unready status: [s]
        ContainersReady=False containers with unready status: [s]
        PodScheduled=True"#]]
    .assert_eq(&conditions("i: runs 1s\ns: readiness fails\nuntil 3s"));
}

#[test]
fn s5_30_s5_38_readiness_gates_and_foreign_conditions() {
    let yaml =
        format!("{}  readinessGates: [{{conditionType: a/b}}, {{conditionType: c}}]\n", pod("Always", &[], &["app"]));
    let mut world = play(&yaml, "until 1s");
    let condition = |type_: &str, status: &str| PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        ..PodCondition::default()
    };
    let ready = |world: &World| {
        let conditions = world.stored().conditions.clone().unwrap();
        let types: Vec<_> = conditions.iter().map(|c| c.type_.as_str()).collect();
        let ready = conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        format!("{}\n{} {:?} {:?}", types.join(" "), ready.status, ready.reason, ready.message)
    };
    expect![[r#"
        PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        False Some("ReadinessGatesNotReady") Some("corresponding condition of pod readiness gate \"a/b\" does not exist., corresponding condition of pod readiness gate \"c\" does not exist.")"#]].assert_eq(&ready(&world));
    world.update_with(world.plan().clone(), vec![condition("a/b", "True"), condition("c", "False")]);
    expect![[r#"
        a/b c PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        False Some("ReadinessGatesNotReady") Some("the status of pod readiness gate \"c\" is not \"True\", but False")"#]].assert_eq(&ready(&world));
    world.update_with(world.plan().clone(), vec![condition("a/b", "True"), condition("c", "True")]);
    expect![[r#"
        a/b c PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        True None None"#]]
    .assert_eq(&ready(&world));
}

#[test]
fn s5_40_a_transition_time_changes_with_the_status_only() {
    let yaml = pod("Always", &[], &["app readinessProbe: {periodSeconds: 1, failureThreshold: 1}"]);
    let world = play(&yaml, "at 10s app: readiness fails\nat 20s app: readiness passes\nuntil 30s");
    let statuses = world.said().iter().filter_map(|said| {
        let Output::Status(status) = &said.output else { return None };
        Some(status.clone())
    });
    let times = statuses.map(|status| {
        let conditions = status.conditions.unwrap();
        let of = |type_: &str| {
            let condition = conditions.iter().find(|c| c.type_ == type_).unwrap();
            format!(
                "{type_}={} since {:?}",
                condition.status,
                condition.last_transition_time.as_ref().unwrap().0.as_second() % 100
            )
        };
        format!("{} {}", of("Initialized"), of("Ready"))
    });
    expect![[r#"
        Initialized=True since 0 Ready=False since 0
        Initialized=True since 0 Ready=False since 0
        Initialized=True since 0 Ready=False since 0
        Initialized=True since 0 Ready=True since 0
        Initialized=True since 0 Ready=False since 11
        Initialized=True since 0 Ready=True since 21"#]]
    .assert_eq(&times.collect::<Vec<_>>().join("\n"));
}

#[test]
fn s5_40_a_condition_that_held_before_the_agent_knew_the_pod_keeps_its_time() {
    let scheduled = "{type: PodScheduled, status: \"True\", lastTransitionTime: \"2025-12-31T23:59:00Z\"}";
    let status =
        last_status(&format!("status: {{conditions: [{scheduled}]}}\n{}", pod("Always", &[], &["app"])), "until 1s");
    let conditions = status.conditions.unwrap();
    let times = conditions.iter().map(|c| c.last_transition_time.as_ref().unwrap().0.to_string());
    let old: Vec<_> = times.filter(|time| time == "2025-12-31T23:59:00Z").collect();
    assert_eq!(old.len(), 1);
}

#[test]
fn s5_40_the_observed_generation_follows_the_spec() {
    let status = last_status(&pod("Always", &[], &["app"]), "at 5s deadline 500s\nuntil 9s");
    assert_eq!(status.observed_generation, Some(2));
    assert!(status.conditions.unwrap().iter().all(|condition| condition.observed_generation == Some(2)));
}

#[test]
fn s5_11_last_state_is_empty_after_an_init_container_that_was_not_retried() {
    let status = last_status(&pod("Always", &["i"], &["app"]), "i: runs 1s\nuntil 9s");
    let init = &status.init_container_statuses.unwrap()[0];
    assert!(init.ready && init.last_state.as_ref().is_some_and(|state| state.terminated.is_none()));
}

#[test]
fn an_input_that_cannot_be_is_noted_and_changes_nothing() {
    let yaml = pod("Always", &[], &["app"]);
    let mut world = play(&yaml, "until 1s");
    let before = world.stored().clone();
    let mut other = pod_from_yaml(&yaml);
    other.metadata.uid = Some("another".to_owned());
    let plan = PodPlan::from_pod(&Arc::new(other)).unwrap();
    world.tell(Input::Desired(PodUpdate { plan, pending: None, foreign_conditions: Vec::new() }));
    assert_eq!(world.check().unwrap_err().to_string(), "update of another pod, or with other containers: another");
    assert_eq!(*world.stored(), before);
}

#[test]
fn s12_05_an_image_whose_name_is_wrong_is_told_and_tried_again() {
    check(
        &pod("Always", &[], &["a", "b"]),
        "
a: image missing InvalidImageName until 15s
b: image missing ImageInspectError until 15s
until 30s
show start a b
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; a Waiting:ContainerCreating rs #0; b Waiting:ContainerCreating rs #0
            0.0    > prepare volumes
            0.0    > create sandbox 0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    ! a Warning InspectFailed: no such image
            0.0    ! a Warning Failed: Error: InvalidImageName
            0.0    ! b Warning InspectFailed: no such image
            0.0    ! b Warning Failed: Error: ImageInspectError
            0.0    = a Waiting:InvalidImageName rs #0; b Waiting:ImageInspectError rs #0
            10.0   ! a Warning InspectFailed: no such image
            10.0   ! a Warning Failed: Error: InvalidImageName
            10.0   ! b Warning InspectFailed: no such image
            10.0   ! b Warning Failed: Error: ImageInspectError
            20.0   > start a
            20.0   > start b
            20.0   = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; a Running RS #0; b Running RS #0
        "#]],
    );
}

#[test]
fn s5_03_an_init_container_that_ended_well_shows_it_while_it_cannot_start_again() {
    check(
        &pod("Always", &["i"], &["app"]),
        "
i: runs 1s
at 3s i: config fails until 40s
at 5s sandbox lost
until 9s
show i
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Waiting:PodInitializing rs #0; app Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start i
            0.0    = i Running rS #0
            1.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; i Completed(0) Rs #0
            1.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Error(137) rs #0
            5.0    = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            5.0    ! SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            5.0    ! i Warning Failed: Error: configmap "c" not found
            5.0    ! i Warning BackOff: Back-off restarting failed container i in pod pod_default(uid-1)
        "#]],
    );
}

#[test]
fn s4_40_s5_41_a_main_that_ended_with_zero_has_succeeded_whatever_was_killed_inside_it() {
    check(
        &pod("Never", &[], &["app"]),
        "
app: runs 1s, oom, exits 0
show =
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            1.0    = Succeeded; [Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted Containers=False/PodCompleted]; app OOMKilled(0) rs #0
        "#]],
    );
}

#[test]
fn s5_41_a_sidecar_that_starts_up_in_a_new_sandbox_makes_the_pod_pending() {
    check(
        &pod("OnFailure", &["s1+ startupProbe: {periodSeconds: 1, failureThreshold: 30}"], &["a", "b"]),
        "
at 5s exit b 0
at 10s s1: startup fails until 4s
at 10s sandbox lost
at 20s exit s1 1
until 30s
show start =
",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Waiting:PodInitializing rs #0; a Waiting:PodInitializing rs #0; b Waiting:PodInitializing rs #0
            0.0    = [Sandbox=True Initialized=False/ContainersNotInitialized Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            0.0    > start s1
            0.0    = s1 Running rs #0
            0.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Running RS #0
            0.0    > start a
            0.0    > start b
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; a Running RS #0; b Running RS #0
            5.0    = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; b Completed(0) rs #0
            10.0   = a Error(137) rs #0
            10.0   = [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; s1 Error(137) rs #0
            10.0   = [Sandbox=True Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]
            10.0   > start s1
            10.0   = Pending; s1 Running rs #1 last=Error(137)
            14.0   = Running; s1 Running RS #1 last=Error(137)
            14.0   > start a
            14.0   = a Running RS #1 last=Error(137)
            20.0   = s1 Error(1) rs #1 last=Error(137)
            20.0   ! s1 Warning BackOff: Back-off restarting failed container s1 in pod pod_default(uid-1)
            20.0   = s1 Waiting:CrashLoopBackOff rs #1 last=Error(1)
            30.0   > start s1
            30.0   = s1 Running rs #2 last=Error(1)
        "#]],
    );
}

#[test]
fn s5_21_no_moment_tells_that_an_init_container_is_ready() {
    check(
        &pod("Never", &["i"], &["app"]),
        "
i: runs 1s
app: runs 1s
verbose
show ~
",
        expect![[r#"
            0.0    ~ pod #0 phase Pending
            0.0    ~ pod #0 sandbox ready
            0.0    ~ i #0 created
            0.0    ~ i #0 started
            1.0    ~ i #0 exited 0 Completed
            1.0    ~ app #0 created
            1.0    ~ app #0 started
            1.0    ~ pod #0 phase Running
            1.0    ~ app #0 ready
            2.0    ~ app #0 exited 0 Completed
            2.0    ~ pod #0 phase Succeeded
        "#]],
    );
}

/// Writes down all conditions but those that every pod has.
fn special_conditions(status: &PodStatus) -> String {
    let usual = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let special = status.conditions.iter().flatten().filter(|c| !usual.contains(&c.type_.as_str()));
    let text = special.map(|c| {
        let (reason, message) = (c.reason.as_deref().unwrap_or_default(), c.message.as_deref().unwrap_or_default());
        format!("{}={} {reason}: {message} @{:?}\n", c.type_, c.status, c.observed_generation)
    });
    text.collect()
}

#[test]
fn s8_06_s3_40_s4_59_what_conditions_that_come_and_go_say() {
    const SMALL: &str = "app resources: {limits: {cpu: 1}, requests: {cpu: 1}}";
    const RULE: &str = "app restartPolicy: Never, \
                        restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]";
    let of = |main: &str, script: &str| special_conditions(&last_status(&pod("Always", &[], &[main]), script));
    expect![[r#"
        PodResizePending=True Deferred: not enough @Some(2)

        PodResizeInProgress=True Error: cannot decrease memory limits: attempting to set container "app" memory limit (1) below current usage (2) @Some(2)

        AllContainersRestarting=True RestartAllContainersStarted: container exited with restart policy rule @Some(1)

        DisruptionTarget=True TerminationByKubelet: Pod was terminated in response to imminent node shutdown. @Some(1)
    "#]]
    .assert_eq(
        &[
            of(SMALL, "at 2s resize app cpu=4 deferred\nuntil 3s"),
            of(SMALL, "app: resize fails until 9s\nat 2s resize app cpu=4\nat 3s deadline 500s\nuntil 4s"),
            of(RULE, "app: ignores TERM\nsteps take 1s\nat 9s exit app 88\nuntil 9.5s"),
            of("app", "app: ignores TERM\nat 1s node shuts down\nuntil 40s"),
        ]
        .join("\n"),
    );
}

#[test]
fn s5_30_a_condition_that_others_have_set_is_there_once() {
    let mut world = play(&pod("Always", &[], &["app"]), "until 1s");
    let theirs =
        |type_: &str| PodCondition { type_: type_.to_owned(), status: "True".to_owned(), ..PodCondition::default() };
    world.update_with(world.plan().clone(), vec![theirs("DisruptionTarget"), theirs("a/b"), theirs("Ready")]);
    world.restart_agent();
    world.shut_down();
    world.run_until(Duration::from_secs(60));
    let conditions = world.stored().conditions.clone().unwrap();
    let types: Vec<_> = conditions.iter().map(|c| c.type_.as_str()).collect();
    expect!["a/b PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled DisruptionTarget"]
        .assert_eq(&types.join(" "));
}

#[test]
fn s5_40_a_pod_without_a_generation_shows_none_and_a_new_one_shows_also_while_the_pod_ends() {
    let status = last_status(&format!("metadata: {{generation: 0}}\n{}", pod("Always", &[], &["app"])), "until 1s");
    assert_eq!(status.observed_generation, None);
    assert!(status.conditions.unwrap().iter().all(|condition| condition.observed_generation.is_none()));
    let script = "app: ignores TERM\nat 5s delete\nat 6s image app two\nuntil 9s";
    assert_eq!(last_status(&pod("Always", &[], &["app"]), script).observed_generation, Some(2));
}

#[test]
fn s5_47_s8_07_qos_and_resources_show_as_the_pod_has_them() {
    let yaml = format!(
        "status: {{qosClass: Burstable}}\n{}  resources: {{requests: {{cpu: 2}}, limits: {{cpu: 3}}}}\n",
        pod(
            "Never",
            &[],
            &["a resources: {limits: {cpu: 1}, requests: {cpu: 1}}", "b", "c resources: {requests: {cpu: 1}}"]
        )
    );
    let status = last_status(&yaml, "c: image missing ErrImagePull\na: runs 1s\nat 3s resize a cpu=2\nuntil 5s");
    let of = |status: &ContainerStatus| {
        let terminated = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        let message = terminated.map(|t| t.message.clone());
        format!("{}: {:?} {:?} {message:?}", status.name, status.allocated_resources, status.resources)
    };
    let containers: Vec<_> = status.container_statuses.iter().flatten().map(of).collect();
    let whole = format!("{:?} {:?} {:?}", status.qos_class, status.allocated_resources, status.resources);
    expect![[r#"
        Some("Burstable") Some({"cpu": Quantity("2")}) Some(ResourceRequirements { claims: None, limits: Some({"cpu": Quantity("3")}), requests: Some({"cpu": Quantity("2")}) })
        a: Some({"cpu": Quantity("2")}) Some(ResourceRequirements { claims: None, limits: Some({"cpu": Quantity("2")}), requests: Some({"cpu": Quantity("2")}) }) Some(None)
        b: None Some(ResourceRequirements { claims: None, limits: None, requests: None }) None
        c: None None None"#]].assert_eq(&format!("{whole}\n{}", containers.join("\n")));
}

#[test]
fn s4_57_s5_45_the_message_of_an_eviction_shows() {
    let status = last_status(&pod("Always", &[], &["app"]), "at 1s evict no room\nuntil 9s");
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some("no room")));
    let script = "steps take 1s\nat 9s evict no room\nat 12.5s agent restarts\nuntil 30s";
    assert_eq!(last_status(&pod("Always", &[], &["app"]), script).message.as_deref(), Some("no room"));
}

#[test]
fn s5_01_ephemeral_containers_are_sorted_by_name() {
    let status = last_status(&pod("Always", &[], &["app"]), "at 1s debug z\nat 2s debug a\nuntil 9s");
    let names: Vec<_> = status.ephemeral_container_statuses.iter().flatten().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a", "z"]);
}

#[test]
fn s7_02_s3_42_messages_of_what_was_cut_off() {
    let hook = "app lifecycle: {postStart: {exec: {command: [x]}}}";
    let status = last_status(
        &pod("Always", &[], &[hook]),
        "app: postStart takes 9s\nat 3s exit app 1\nat 4s exit app 1\nuntil 3.5s",
    );
    let moments = play(&pod("Always", &[], &[hook]), "app: postStart takes 9s\nat 3s exit app 1\nuntil 3.5s");
    let failed = moments.said().iter().find_map(|said| {
        let Output::Moment(moment) = &said.output else { return None };
        if let MomentKind::StartFailed { message, .. } = &moment.kind { Some(message.clone()) } else { None }
    });
    assert_eq!(failed.as_deref(), Some("container ended before the hook did"));
    assert_eq!(status.container_statuses.unwrap()[0].restart_count, 1);
    let rule = "app restartPolicy: Never, \
                restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]";
    let status = last_status(&pod("Always", &[], &[rule]), "steps take 1s\nat 9s exit app 88\nuntil 10.5s");
    let last = status.container_statuses.unwrap()[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref(), last.message), (137, Some("RestartingAllContainers"), None));
}

#[test]
fn s1_15_s4_54_a_deadline_that_comes_later_counts_from_the_start_of_the_pod() {
    check(
        &format!("{}  activeDeadlineSeconds: 30\n", pod("Always", &[], &["app"])),
        "at 5s deadline 8s\nshow Deadline #",
        expect![[r#"
            0.0    = Pending; [Sandbox=False Initialized=True Ready=False/ContainersNotReady Containers=False/ContainersNotReady]; app Waiting:ContainerCreating rs #0
            0.0    = Running; [Sandbox=True Initialized=True Ready=True Containers=True]; app Running RS #0
            8.0    ! DeadlineExceeded: Pod was active on the node longer than the specified deadline
            8.0    = Failed (DeadlineExceeded); [Sandbox=False Initialized=True Ready=False/PodFailed Containers=False/PodFailed]; app Completed(0) rs #0
            8.0    # Failed
        "#]],
    );
}

#[test]
fn answers_that_cannot_be_are_noted_and_change_nothing() {
    let yaml = pod("Always", &[], &["app lifecycle: {postStart: {exec: {command: [x]}}}"]);
    let begun = || play(&yaml, "app: postStart takes 5s\nuntil 1s");
    let effect = |world: &World| {
        let runs = world
            .said()
            .iter()
            .rev()
            .find_map(|said| if let Output::Run { id, .. } = &said.output { Some(*id) } else { None });
        runs.expect("an effect")
    };
    let mut world = begun();
    let open = effect(&world);
    world.tell(Input::Done { effect: EffectId(open.0 + 1), result: EffectResult::Done });
    assert_eq!(
        world.check().unwrap_err().to_string(),
        format!("answer to effect EffectId({}), which was never started", open.0 + 1)
    );
    let mut world = begun();
    world.tell(Input::Done { effect: EffectId(0), result: EffectResult::Done });
    assert_eq!(world.check(), Ok(()), "an answer that comes twice or too late is nothing");
    world.tell(Input::Done { effect: open, result: EffectResult::Removed });
    assert_eq!(world.check().unwrap_err().to_string(), format!("effect {open:?} was answered with Removed"));
    world.run_until(Duration::from_secs(6));
    assert_eq!(world.stored().phase.as_deref(), Some("Running"), "the right answer still counts");
    let mut world = begun();
    let view = world.containers().next().expect("an instance").clone();
    let more = PodPlan::from_pod(&Arc::new(pod_from_yaml(&pod("Always", &[], &["a", "b"])))).unwrap();
    world.tell(Input::Container(ContainerView { container: more.find("b").unwrap(), ..view }));
    assert_eq!(world.check().unwrap_err().to_string(), "container ContainerIdx(1) is not in the plan");
}

#[test]
fn s6_18_s12_09_a_probe_that_passes_with_a_warning_is_told() {
    let yaml = pod("Always", &[], &["app readinessProbe: {periodSeconds: 9}"]);
    let mut world = play(&yaml, "steps take 1s\nuntil 4.5s");
    let probe = world.said().iter().rev().find_map(|said| {
        if let Output::Run { id, effect: Effect::Probe { .. } } = &said.output { Some(*id) } else { None }
    });
    let outcome = ProbeOutcome::Success { warning: Some("moved".to_owned()) };
    world.tell(Input::Done { effect: probe.expect("a run"), result: EffectResult::Probe(outcome) });
    let events = testkit::engine::Transcript::events(&world);
    assert_eq!(events.last().map(String::as_str), Some("app Warning ProbeWarning: Readiness probe warning: moved"));
}
