//! Tests of what may change in an object.

use super::*;

const NONE: [&str; 0] = [];

fn two() -> Value {
    let sidecar = with(container("s"), json!({"restartPolicy": "Always"}));
    pod(json!({"containers": [container("a")], "initContainers": [sidecar], "activeDeadlineSeconds": 100}))
}

fn change(patch: Value) -> Vec<String> {
    update_errors("pod", two(), &json!({"spec": patch}))
}

#[test]
fn s1_15_the_active_deadline_only_gets_shorter() {
    assert_eq!(change(json!({"activeDeadlineSeconds": 50})), NONE);
    let path = "spec.activeDeadlineSeconds: Invalid value";
    assert_eq!(
        change(json!({"activeDeadlineSeconds": 101})),
        [format!("{path}: 101: must be less than or equal to previous value")]
    );
    assert_eq!(
        change(json!({"activeDeadlineSeconds": null})),
        [format!(r#"{path}: "null": must not update from a positive integer to nil value"#)]
    );
    let without = with(two(), json!({"spec": {"activeDeadlineSeconds": null}}));
    assert_eq!(update_errors("pod", without, &json!({"spec": {"activeDeadlineSeconds": 5}})), NONE);
}

#[test]
fn s1_23_images_may_change() {
    let sidecar = json!({"name": "s", "image": "other:2", "restartPolicy": "Always"});
    let spec = json!({"containers": [{"name": "a", "image": "other:1", "imagePullPolicy": "IfNotPresent"}],
        "initContainers": [sidecar]});
    assert_eq!(change(spec), NONE);
}

#[test]
fn s1_23_other_fields_may_not_change() {
    let cases = [
        json!({"initContainers": [{"name": "s", "image": "img:1"}]}),
        json!({"containers": [{"name": "a", "image": "img:1", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
        json!({"containers": [{"name": "b", "image": "img:1"}]}),
        json!({"terminationGracePeriodSeconds": 3}),
    ];
    for spec in cases {
        let errors = change(spec.clone());
        assert_eq!(errors.len(), 1, "{spec}: {errors:?}");
        let expected = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
            tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";
        assert!(errors[0].starts_with(expected), "{errors:?}");
    }
    assert!(change(json!({"hostname": "h"}))[0].ends_with("\n  - hostname: null\n  + hostname: \"h\"\n"));
}

#[test]
fn s1_23_containers_are_neither_added_nor_removed() {
    let text = "Forbidden: pod updates may not add or remove containers";
    assert_eq!(change(json!({"containers": [container("a"), container("b")]})), [format!("spec.containers: {text}")]);
    assert_eq!(change(json!({"initContainers": []})), [format!("spec.initContainers: {text}")]);
}

#[test]
fn s1_23_tolerations_are_only_added_and_gates_only_removed() {
    let toleration = |key: &str| json!({"key": key, "operator": "Exists"});
    let base = with(two(), json!({"spec": {"tolerations": [toleration("a")], "schedulingGates": [{"name": "g"}]}}));
    let change = |patch: Value| update_errors("pod", base.clone(), &json!({"spec": patch}));
    assert_eq!(change(json!({"tolerations": [toleration("a"), toleration("b")], "schedulingGates": []})), NONE);
    assert_eq!(
        change(json!({"tolerations": [toleration("b")]})),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
    assert_eq!(
        change(json!({"schedulingGates": [{"name": "g"}, {"name": "h"}]})),
        ["spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"]
    );
}

#[test]
fn s1_28_ephemeral_containers_are_added_with_few_fields_and_stay() {
    let old = prepared("pod", two());
    let errors = |old: &Value, list: Value| {
        let mut new = old.clone();
        new["spec"]["ephemeralContainers"] = list;
        let ctx = UpdateContext { now: NOW.parse().unwrap() };
        prepare::update(ty("pod"), old, &mut new, Subresource::EphemeralContainers, &ctx).unwrap();
        (texts(&ephemeral_containers_update(ty("pod"), old, &new)), new)
    };
    let (fine, with_one) = errors(&old, json!([with(container("e"), json!({"targetContainerName": "s"}))]));
    assert_eq!(fine, NONE);
    let bad = json!({"targetContainerName": "nobody", "livenessProbe": {"exec": {"command": ["a"]}}, "name": "a"});
    assert_eq!(
        errors(&old, json!([with(container("e"), bad)])).0,
        [
            r#"spec.ephemeralContainers[0].name: Duplicate value: "a""#,
            r#"spec.ephemeralContainers[0].targetContainerName: Not found: "nobody""#,
            "spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
        ]
    );
    assert_eq!(
        errors(&with_one, json!([])).0,
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n"]
    );
    assert_eq!(
        errors(&with_one, json!([container("e")])).0,
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be changed\n"]
    );
}

fn amounts(cpu: &str, memory: &str) -> Value {
    let list = json!({"cpu": cpu, "memory": memory});
    json!({"requests": list, "limits": list})
}

fn sized(name: &str, fields: Value) -> Value {
    with(with(container(name), json!({"resources": amounts("1", "1Gi")})), fields)
}

/// A pod with a plain init container, a sidecar and two mains.
fn resizable() -> Value {
    let inits = [sized("i", json!({})), sized("s", json!({"restartPolicy": "Always"}))];
    pod(json!({"containers": [sized("a", json!({})), sized("b", json!({}))], "initContainers": inits}))
}

/// What is wrong with a resize.
fn resize_errors(object: Value, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = prepared("pod", object);
    let mut new = old.clone();
    change(&mut new);
    let ctx = UpdateContext { now: NOW.parse().unwrap() };
    prepare::update(ty("pod"), &old, &mut new, Subresource::Resize, &ctx).unwrap();
    texts(&resize_update(ty("pod"), &old, &new))
}

#[test]
fn s8_07_processor_and_memory_of_mains_sidecars_and_plain_init_containers_may_change() {
    for (list, index) in [("containers", 0), ("containers", 1), ("initContainers", 0), ("initContainers", 1)] {
        let errors = resize_errors(resizable(), |pod| {
            pod["spec"][list][index]["resources"] = amounts("2", "512Mi");
            pod["spec"][list][index]["image"] = json!("other:1"); // not what this subresource is about
        });
        assert_eq!(errors, NONE, "{list} {index}");
    }
}

#[test]
fn s8_08_a_resize_takes_no_amount_away_changes_nothing_else_and_keeps_the_class() {
    let cases: [(&str, Value, Vec<&str>); 7] = [
        (
            "/spec/containers/0/resources",
            json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1"}}),
            vec![
                r#"spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing"#,
                "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
            ],
        ),
        (
            "/spec/initContainers/1/resources",
            json!({}),
            vec![
                r#"spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing"#,
                "spec.initContainers[1].resources.requests: Forbidden: resource requests cannot be removed",
                "spec.initContainers[1].resources.limits: Forbidden: resource limits cannot be removed",
            ],
        ),
        (
            "/spec/containers/1/resources/limits/ephemeral-storage",
            json!("1Gi"),
            vec!["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (
            "/spec/initContainers/0/resources/limits/ephemeral-storage",
            json!("1Gi"),
            vec![
                "spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable",
            ],
        ),
        (
            "/spec/containers/1/resizePolicy",
            json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
            vec!["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (
            "/spec/containers",
            json!([sized("b", json!({})), sized("a", json!({}))]),
            vec![
                "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
                "spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize",
            ],
        ),
        (
            "/spec/containers",
            json!([sized("a", json!({}))]),
            vec!["spec.containers: Forbidden: containers may not be added or removed on resize"],
        ),
    ];
    for (at, value, expected) in cases {
        let (parent, field) = at.rsplit_once('/').unwrap();
        let errors = resize_errors(resizable(), |pod| pod.pointer_mut(parent).unwrap()[field] = value.clone());
        assert_eq!(errors, expected, "{at}: {value}");
    }
}

#[test]
fn s8_08_pods_that_no_node_can_resize_are_left_alone() {
    let bigger = |pod: &mut Value| pod["spec"]["containers"][0]["resources"] = amounts("2", "1Gi");
    let mirror = with(resizable(), json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}));
    assert_eq!(resize_errors(mirror, bigger), [": Forbidden: static pods cannot be resized"]);
    let windows = with(resizable(), json!({"spec": {"os": {"name": "windows"}}}));
    assert_eq!(resize_errors(windows, bigger), [": Forbidden: windows pods cannot be resized"]);
    let mut old = prepared("pod", resizable());
    old["status"]["containerStatuses"] = json!([{"name": "a", "ready": true, "restartCount": 0, "image": "",
        "imageID": "", "state": {"running": {}}}]);
    let mut new = old.clone();
    bigger(&mut new);
    let unsupported = ["spec: Forbidden: Pod running on node without support for resize"];
    assert_eq!(texts(&resize_update(ty("pod"), &old, &new)), unsupported);
    old["status"]["containerStatuses"][0]["resources"] = json!({});
    assert_eq!(texts(&resize_update(ty("pod"), &old, &new)), NONE);
}

#[test]
fn s8_08_what_the_pod_as_a_whole_gets_may_change_too() {
    let whole = with(resizable(), json!({"spec": {"resources": amounts("8", "8Gi")}}));
    let change = |value: Value| resize_errors(whole.clone(), |pod| pod["spec"]["resources"] = value);
    assert_eq!(change(amounts("9", "6Gi")), NONE);
    assert_eq!(change(Value::Null), ["spec.resources: Forbidden: pod-level resources cannot be removed"]);
    assert_eq!(
        change(json!({"requests": {"cpu": "8", "memory": "8Gi"}, "limits": {"cpu": "8"}})),
        [
            r#"spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing"#,
            "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed",
        ]
    );
    let pages =
        with(amounts("8", "8Gi"), json!({"limits": {"hugepages-2Mi": "2Mi"}, "requests": {"hugepages-2Mi": "2Mi"}}));
    assert_eq!(change(pages), ["spec: Forbidden: only cpu and memory resources are mutable at pod-level"]);
}

/// What is wrong with a container's leaving `terminated` with this exit code.
fn leaving(spec: Value, list: &str, name: &str, exit_code: i32) -> Vec<String> {
    let mut old = prepared("pod", pod(spec));
    let status = |state: Value| json!([{"name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state}]);
    old["status"][list] = status(json!({"terminated": {"exitCode": exit_code}}));
    let mut new = old.clone();
    new["status"][list] = status(json!({"waiting": {"reason": "CrashLoopBackOff"}}));
    texts(&status_update(ty("pod"), &old, &new))
}

#[test]
fn s1_29_main_containers_leave_terminated_only_where_a_restart_is_legal() {
    let main = |pod_policy: &str, fields: Value| json!({"restartPolicy": pod_policy, "containers": [with(container("a"), fields)]});
    let rule = |action: &str| {
        json!({"restartPolicy": "Never",
            "restartPolicyRules": [{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]})
    };
    let cases = [
        (main("Always", json!({})), 0, true),
        (main("OnFailure", json!({})), 0, false),
        (main("OnFailure", json!({})), 1, true),
        (main("Never", json!({})), 1, false),
        (main("Never", json!({"restartPolicy": "Always"})), 0, true),
        (main("Always", json!({"restartPolicy": "Never"})), 1, false),
        (main("Never", rule("Restart")), 42, true),
        (main("Never", rule("Restart")), 1, false),
        (main("Never", rule("RestartAllContainers")), 0, true),
    ];
    for (spec, exit_code, legal) in cases {
        let expected =
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state".to_owned();
        let errors = leaving(spec.clone(), "containerStatuses", "a", exit_code);
        assert_eq!(errors, if legal { vec![] } else { vec![expected] }, "{spec} {exit_code}");
    }
}

#[test]
fn s1_29_sidecars_always_leave_terminated_and_init_containers_only_after_failure() {
    let spec = |fields: Value| {
        json!({"restartPolicy": "OnFailure", "containers": [container("a")],
            "initContainers": [with(container("i"), fields)]})
    };
    let leaving = |fields: Value, exit_code| leaving(spec(fields), "initContainerStatuses", "i", exit_code);
    assert_eq!(leaving(json!({"restartPolicy": "Always"}), 0), NONE);
    assert_eq!(leaving(json!({}), 1), NONE);
    assert_eq!(
        leaving(json!({}), 0),
        ["status.initContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
}

#[test]
fn what_is_immutable_stays() {
    let map = json!({"metadata": {"name": "c"}, "data": {"a": "b"}, "immutable": true});
    let text = "Forbidden: field is immutable when `immutable` is set";
    assert_eq!(update_errors("configmap", map.clone(), &json!({"data": {"a": "c"}})), [format!("data: {text}")]);
    assert_eq!(update_errors("configmap", map.clone(), &json!({"immutable": false})), [format!("immutable: {text}")]);
    assert_eq!(update_errors("configmap", map, &json!({"metadata": {"labels": {"x": "y"}}})), NONE);
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}, "immutable": true});
    assert_eq!(update_errors("secret", secret.clone(), &json!({"data": null})), [format!("data: {text}")]);
    assert_eq!(
        update_errors("secret", secret, &json!({"type": "x/y"})),
        [r#"type: Invalid value: "x/y": field is immutable"#]
    );
}

#[test]
fn an_object_being_deleted_gets_no_new_finalizers() {
    let mut old = prepared("configmap", json!({"metadata": {"name": "c", "finalizers": ["a.b/c"]}}));
    old["metadata"]["deletionTimestamp"] = NOW.into();
    let errors = |finalizers: Value| {
        let mut new = old.clone();
        new["metadata"]["finalizers"] = finalizers;
        texts(&update(ty("configmap"), &old, &new))
    };
    assert_eq!(errors(json!([])), NONE);
    assert_eq!(
        errors(json!(["a.b/c", "a.b/d"])),
        [
            r#"metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a.b/d"}"#
        ]
    );
}
