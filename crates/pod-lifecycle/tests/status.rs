//! Contract S5: what the status says, in full.

use std::sync::Arc;

use expect_test::expect;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use pod_lifecycle::{Input, Output, PodPlan, PodUpdate};
use testkit::engine::{Script, World, check, pod, pod_from_yaml};

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
    ];
    expect![[r#"
        CrashLoopBackOff: back-off 10s restarting failed container=app pod=pod_default(uid-1)
        ImagePullBackOff: Back-off pulling image "app": ErrImagePull: no such image
        ErrImageNeverPull: no such image
        CreateContainerConfigError: configmap "c" not found
        ContainerCreating: "#]]
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
