//! Tests of pods.

use super::*;

const NONE: [&str; 0] = [];

fn sidecar_errors(fields: Value) -> Vec<String> {
    init_errors(with(json!({"restartPolicy": "Always"}), fields))
}

fn exec() -> Value {
    json!({"exec": {"command": ["true"]}})
}

#[test]
fn a_plain_pod_is_fine() {
    assert_eq!(main_errors(json!({})), NONE);
    assert_eq!(sidecar_errors(json!({})), NONE);
}

#[test]
fn s1_03_s1_04_restart_policies_of_containers_are_the_three_known_ones() {
    for policy in ["Always", "OnFailure", "Never"] {
        assert_eq!(init_errors(json!({"restartPolicy": policy})), NONE, "{policy}");
        assert_eq!(main_errors(json!({"restartPolicy": policy})), NONE, "{policy}");
    }
    let expected =
        r#".restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure""#;
    let bad = json!({"restartPolicy": "Sometimes"});
    assert_eq!(init_errors(bad.clone()), [format!("spec.initContainers[0]{expected}")]);
    assert_eq!(main_errors(bad), [format!("spec.containers[0]{expected}")]);
}

#[test]
fn s1_05_restart_rules_need_a_policy_and_exit_codes_and_are_at_most_20() {
    let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}});
    let rules = |n: usize| json!({"restartPolicy": "Never", "restartPolicyRules": vec![rule.clone(); n]});
    assert_eq!(main_errors(rules(20)), NONE);
    assert_eq!(
        main_errors(rules(21)),
        ["spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items"]
    );
    assert_eq!(
        main_errors(json!({"restartPolicyRules": [rule]})),
        ["spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used"]
    );
    assert_eq!(
        main_errors(json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Jump"}]})),
        [
            r#"spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Jump": supported values: "Restart", "RestartAllContainers""#,
            "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
        ]
    );
}

#[test]
fn s1_06_sidecars_may_have_restart_rules() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}});
    assert_eq!(sidecar_errors(json!({"restartPolicyRules": [rule]})), NONE);
}

#[test]
fn s1_07_probes_and_hooks_are_for_sidecars_not_for_init_containers() {
    let fields = [
        ("lifecycle", json!({"postStart": exec()})),
        ("livenessProbe", exec()),
        ("readinessProbe", exec()),
        ("startupProbe", exec()),
    ];
    for (field, value) in fields {
        assert_eq!(sidecar_errors(json!({field: value.clone()})), NONE, "{field}");
        let expected = format!(
            "spec.initContainers[0].{field}: Forbidden: may not be set for init containers without restartPolicy=Always"
        );
        for policy in [Value::Null, json!("OnFailure")] {
            assert_eq!(init_errors(json!({field: value.clone(), "restartPolicy": policy})), vec![expected.clone()]);
        }
    }
}

#[test]
fn s1_08_a_pod_has_a_main_container() {
    let sidecar = with(container("s"), json!({"restartPolicy": "Always"}));
    let spec = json!({"containers": [], "initContainers": [sidecar]});
    assert_eq!(pod_errors(spec), ["spec.containers: Required value"]);
}

#[test]
fn s1_09_names_are_labels_and_unique() {
    let spec = json!({"containers": [container("a"), container("a")]});
    assert_eq!(pod_errors(spec), [r#"spec.containers[1].name: Duplicate value: "a""#]);
    let spec = json!({"containers": [container("a")], "initContainers": [container("a")]});
    assert_eq!(pod_errors(spec), [r#"spec.initContainers[0].name: Duplicate value: "a""#]);
    let spec = json!({"containers": [container("A_b")]});
    assert!(pod_errors(spec)[0].starts_with(r#"spec.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123"#));
    let spec = json!({"containers": [{"image": "x"}]});
    assert_eq!(pod_errors(spec), ["spec.containers[0].name: Required value"]);
}

#[test]
fn s1_10_images_are_required_and_not_padded_in_pods() {
    let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]});
    let expected = ["spec.containers[0].image: Required value", "spec.initContainers[0].image: Required value"];
    assert_eq!(pod_errors(spec), expected);
    assert_eq!(
        main_errors(json!({"image": " img"})),
        [r#"spec.containers[0].image: Invalid value: " img": must not have leading or trailing whitespace"#]
    );
    let template = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": " img"}]});
    assert_eq!(
        create_errors("job", json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": template}}})),
        NONE
    );
}

#[test]
fn s1_11_s1_12_enumerations_are_checked() {
    assert_eq!(
        main_errors(json!({"imagePullPolicy": "Maybe", "terminationMessagePolicy": "Log"})),
        [
            r#"spec.containers[0].terminationMessagePolicy: Unsupported value: "Log": supported values: "File", "FallbackToLogsOnError""#,
            r#"spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never""#,
        ]
    );
    let spec = json!({"containers": [container("a")], "restartPolicy": "Once", "dnsPolicy": "X"});
    assert_eq!(
        pod_errors(spec),
        [
            r#"spec.restartPolicy: Unsupported value: "Once": supported values: "Always", "OnFailure", "Never""#,
            r#"spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None""#,
        ]
    );
}

#[test]
fn s1_15_active_deadline_is_positive_on_create() {
    for (seconds, fine) in [(0, false), (1, true), (i64::from(i32::MAX), true), (1 << 31, false)] {
        let errors = pod_errors(json!({"containers": [container("a")], "activeDeadlineSeconds": seconds}));
        assert_eq!(errors.is_empty(), fine, "{seconds}: {errors:?}");
    }
    assert_eq!(
        pod_errors(json!({"containers": [container("a")], "activeDeadlineSeconds": 0})),
        ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]
    );
}

#[test]
fn s1_16_numbers_of_probes_are_not_negative() {
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"] {
        let probe = with(exec(), json!({field: -1}));
        assert_eq!(
            main_errors(json!({"readinessProbe": probe})),
            [format!(
                "spec.containers[0].readinessProbe.{field}: Invalid value: -1: must be greater than or equal to 0"
            )]
        );
    }
}

#[test]
fn s1_17_only_readiness_may_need_several_successes() {
    let probe = with(exec(), json!({"successThreshold": 2}));
    assert_eq!(main_errors(json!({"readinessProbe": probe})), NONE);
    for kind in ["livenessProbe", "startupProbe"] {
        assert_eq!(
            sidecar_errors(json!({kind: probe.clone()})),
            [format!("spec.initContainers[0].{kind}.successThreshold: Invalid value: 2: must be 1")]
        );
    }
}

#[test]
fn s1_18_probes_that_kill_may_have_their_own_grace_period() {
    let probe = |seconds: i64| with(exec(), json!({"terminationGracePeriodSeconds": seconds}));
    assert_eq!(main_errors(json!({"livenessProbe": probe(5), "startupProbe": probe(5)})), NONE);
    let path = "terminationGracePeriodSeconds: Invalid value";
    assert_eq!(
        main_errors(json!({"livenessProbe": probe(0)})),
        [format!("spec.containers[0].livenessProbe.{path}: 0: must be greater than 0")]
    );
    assert_eq!(
        main_errors(json!({"readinessProbe": probe(5)})),
        [format!("spec.containers[0].readinessProbe.{path}: 5: must not be set for readinessProbes")]
    );
}

#[test]
fn s1_19_probes_and_hooks_have_exactly_one_handler() {
    let two = with(exec(), json!({"tcpSocket": {"port": 80}}));
    for (field, path, none, two) in [
        ("livenessProbe", "livenessProbe", json!({"periodSeconds": 3}), two.clone()),
        ("lifecycle", "lifecycle.preStop", json!({"preStop": {}}), json!({"preStop": two})),
    ] {
        assert_eq!(
            main_errors(json!({field: none})),
            [format!("spec.containers[0].{path}: Required value: must specify a handler type")]
        );
        assert_eq!(
            main_errors(json!({field: two})),
            [format!("spec.containers[0].{path}.tcpSocket: Forbidden: may not specify more than 1 handler type")]
        );
    }
}

#[test]
fn s1_20_handlers_are_complete() {
    let cases = [
        (json!({"exec": {}}), "exec.command: Required value"),
        (json!({"httpGet": {"port": 0}}), "httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        (
            json!({"tcpSocket": {"port": 65536}}),
            "tcpSocket.port: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (json!({"grpc": {"port": -1}}), "grpc.port: Invalid value: -1: must be between 1 and 65535, inclusive"),
        (
            json!({"httpGet": {"port": "web", "scheme": "FTP"}}),
            r#"httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS""#,
        ),
        (
            json!({"httpGet": {"port": 1, "httpHeaders": [{"name": "a b", "value": ""}]}}),
            r#"httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of"#,
        ),
    ];
    for (probe, expected) in cases {
        let errors = main_errors(json!({"startupProbe": probe}));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&format!("spec.containers[0].startupProbe.{expected}")), "{errors:?}");
    }
}

#[test]
fn s1_21_a_hook_sleeps_no_longer_than_the_pod_may_take_to_stop() {
    for (seconds, fine) in [(-1, false), (0, true), (30, true), (31, false)] {
        let errors = main_errors(json!({"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}}));
        let expected = format!(
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: {seconds}: must be non-negative and less than \
             terminationGracePeriodSeconds (30)"
        );
        assert_eq!(errors, if fine { vec![] } else { vec![expected] });
    }
}

#[test]
fn s1_24_host_ports_collide_among_mains_and_within_one_init_container_only() {
    let port = json!({"ports": [{"containerPort": 80, "hostPort": 8080}]});
    let with_port = |name: &str| with(container(name), port.clone());
    let sidecar = |name: &str| with(with_port(name), json!({"restartPolicy": "Always"}));
    let spec = json!({"containers": [with_port("a")], "initContainers": [sidecar("s"), sidecar("t")]});
    assert_eq!(pod_errors(spec), NONE);
    let spec = json!({"containers": [with_port("a"), with_port("b")]});
    assert_eq!(pod_errors(spec), [r#"spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//8080""#]);
}

#[test]
fn s1_27_resize_policies_are_known_and_fit_the_role() {
    let policy =
        |resource: &str, policy: &str| json!({"resizePolicy": [{"resourceName": resource, "restartPolicy": policy}]});
    assert_eq!(main_errors(policy("cpu", "RestartContainer")), NONE);
    assert_eq!(sidecar_errors(policy("memory", "RestartContainer")), NONE);
    assert_eq!(init_errors(policy("cpu", "NotRequired")), NONE);
    assert_eq!(init_errors(policy("cpu", "RestartContainer")).len(), 1);
    assert_eq!(
        main_errors(policy("disk", "NotRequired")),
        [r#"spec.containers[0].resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory""#]
    );
    let never =
        json!({"restartPolicy": "Never", "containers": [with(container("a"), policy("cpu", "RestartContainer"))]});
    assert_eq!(
        pod_errors(never),
        [
            r#"spec.containers[0].resizePolicy: Invalid value: "RestartContainer": must be 'NotRequired' when `restartPolicy` is 'Never'"#
        ]
    );
}

#[test]
fn s1_28_ephemeral_containers_cannot_come_with_a_new_pod() {
    let spec = json!({"containers": [container("a")], "ephemeralContainers": [container("e")]});
    assert_eq!(pod_errors(spec), ["spec.ephemeralContainers: Forbidden: cannot be set on create"]);
}

#[test]
fn s1_31_the_resources_of_a_pod_cover_those_of_its_containers() {
    let cpu = |side: &str, amount: &str| json!({"resources": {side: {"cpu": amount}}});
    let spec = |own: Value, fields: Value| {
        pod_errors(json!({"containers": [with(container("a"), fields)], "resources": own["resources"]}))
    };
    assert_eq!(
        spec(cpu("requests", "200m"), cpu("requests", "300m")),
        [
            r#"spec.resources.requests[cpu]: Invalid value: "200m": must be greater than or equal to aggregate container requests of 300m"#
        ]
    );
    assert_eq!(spec(cpu("requests", "300m"), cpu("requests", "300m")), NONE);
    assert!(
        spec(cpu("limits", "1"), cpu("limits", "2"))
            .contains(&r#"spec.containers[0].resources.limits[cpu]: Invalid value: "2": must be less than or equal to pod limits of 1"#.to_owned())
    );
    assert!(
        spec(json!({"resources": {"requests": {"ephemeral-storage": "1Gi"}}}), json!({}))[0]
            .starts_with(r#"spec.resources.requests: Unsupported value: "ephemeral-storage""#)
    );
}

#[test]
fn requests_are_at_most_the_limits() {
    let resources = |value: Value| main_errors(json!({"resources": value}));
    assert_eq!(resources(json!({"limits": {"cpu": "2"}, "requests": {"cpu": "2000m"}})), NONE);
    assert_eq!(
        resources(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})),
        [r#"spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#]
    );
    assert_eq!(
        resources(json!({"requests": {"memory": "-1"}})),
        [r#"spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0"#]
    );
    assert_eq!(
        resources(json!({"limits": {"gpus": "1"}})),
        [
            r#"spec.containers[0].resources.limits: Invalid value: "gpus": must be a standard resource type or fully qualified"#,
            r#"spec.containers[0].resources.limits: Invalid value: "gpus": must be a standard resource for containers"#,
            // The request is the limit by default.
            r#"spec.containers[0].resources.requests: Invalid value: "gpus": must be a standard resource type or fully qualified"#,
            r#"spec.containers[0].resources.requests: Invalid value: "gpus": must be a standard resource for containers"#,
        ]
    );
    assert_eq!(
        resources(json!({"requests": {"example.com/gpu": "1"}})),
        ["spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"]
    );
}

#[test]
fn ports_have_numbers_names_and_protocols() {
    let ports = |value: Value| main_errors(json!({"ports": value}));
    assert_eq!(ports(json!([{"name": "http", "containerPort": 80}])), NONE);
    assert_eq!(
        ports(json!([{"name": "http", "containerPort": 80}, {"name": "http", "containerPort": 81}])),
        [r#"spec.containers[0].ports[1].name: Duplicate value: "http""#]
    );
    assert_eq!(ports(json!([{"protocol": "TCP"}])), ["spec.containers[0].ports[0].containerPort: Required value"]);
    assert_eq!(
        ports(json!([{"containerPort": 70000}])),
        ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]
    );
    assert_eq!(
        ports(json!([{"containerPort": 1, "protocol": "ICMP"}])),
        [r#"spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP""#]
    );
}

#[test]
fn s11_08_variables_refer_to_a_few_fields() {
    let env = |source: Value| main_errors(json!({"env": [{"name": "A", "valueFrom": source}]}));
    for field in
        ["metadata.name", "metadata.labels['a/b']", "metadata.annotations['K']", "spec.nodeName", "status.podIPs"]
    {
        assert_eq!(env(json!({"fieldRef": {"fieldPath": field}})), NONE, "{field}");
    }
    let path = "spec.containers[0].env[0].valueFrom";
    assert_eq!(
        env(json!({"fieldRef": {"fieldPath": "status.startTime"}})),
        [format!(
            r#"{path}.fieldRef.fieldPath: Invalid value: "status.startTime": error converting fieldPath: field label not supported: status.startTime"#
        )]
    );
    assert!(
        env(json!({"fieldRef": {"fieldPath": "status.phase"}}))[0].starts_with(&format!(
            r#"{path}.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "#
        ))
    );
    assert_eq!(
        env(json!({})),
        [format!(
            r#"{path}: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"#
        )]
    );
}

#[test]
fn s11_10_divisors_fit_the_resource() {
    let env = |resource: &str, divisor: &str| {
        let source = json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}});
        main_errors(json!({"env": [{"name": "A", "valueFrom": source}]}))
    };
    assert_eq!(env("limits.cpu", "1m"), NONE);
    assert_eq!(env("requests.memory", "1Mi"), NONE);
    assert_eq!(
        env("limits.cpu", "10m"),
        [
            r#"spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource"#
        ]
    );
    assert_eq!(env("limits.disk", "1").len(), 1);
}

#[test]
fn s11_20_files_of_variables_are_in_an_empty_dir() {
    let spec = |volumes: Value| {
        let source = json!({"fileKeyRef": {"volumeName": "v", "path": "a.env", "key": "A"}});
        let env = json!({"env": [{"name": "A", "valueFrom": source}]});
        pod_errors(json!({"containers": [with(container("a"), env)], "volumes": volumes}))
    };
    let path = "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName";
    assert_eq!(spec(json!([{"name": "v", "emptyDir": {}}])), NONE);
    assert_eq!(spec(json!([])), [format!(r#"{path}: Not found: "v""#)]);
    assert_eq!(spec(json!([{"name": "v", "hostPath": {"path": "/"}}])).len(), 1);
}

#[test]
fn names_of_variables_are_printable_without_equals_sign() {
    assert_eq!(main_errors(json!({"env": [{"name": "a.b c", "value": "x"}]})), NONE);
    assert_eq!(main_errors(json!({"env": [{"name": ""}]})), ["spec.containers[0].env[0].name: Required value"]);
    assert_eq!(main_errors(json!({"env": [{"name": "A=B"}]})).len(), 1);
}

fn volume_errors(volume: Value) -> Vec<String> {
    let volume = with(json!({"name": "v"}), volume);
    pod_errors(json!({"containers": [container("a")], "volumes": [volume]}))
}

#[test]
fn s11_04_keys_and_modes_of_files_are_right() {
    assert_eq!(
        volume_errors(json!({"configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}})),
        [r#"spec.volumes[0].configMap.items[0].path: Invalid value: "../x": must not contain '..'"#]
    );
    assert_eq!(
        volume_errors(json!({"secret": {"secretName": "s", "defaultMode": 512}})),
        [
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"
        ]
    );
    assert_eq!(volume_errors(json!({"configMap": {}})), ["spec.volumes[0].configMap.name: Required value"]);
}

#[test]
fn s11_07_files_refer_to_metadata_or_a_containers_resources() {
    let file = |item: Value| volume_errors(json!({"downwardAPI": {"items": [with(json!({"path": "p"}), item)]}}));
    assert_eq!(file(json!({"fieldRef": {"fieldPath": "metadata.labels"}})), NONE);
    assert_eq!(
        file(json!({"resourceFieldRef": {"resource": "limits.cpu"}})),
        ["spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value"]
    );
    assert_eq!(
        file(json!({})),
        ["spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]
    );
}

#[test]
fn s11_11_projected_sources_do_not_write_the_same_file() {
    let sources = |list: Value| volume_errors(json!({"projected": {"sources": list}}));
    let item = json!([{"key": "k", "path": "p"}]);
    assert_eq!(
        sources(json!([{"configMap": {"name": "c", "items": item}}, {"secret": {"name": "s", "items": item}}])),
        [r#"spec.volumes[0].projected.sources[1].secret: Invalid value: "s": conflicting duplicate paths"#]
    );
    assert_eq!(
        sources(json!([{"serviceAccountToken": {"path": "t", "expirationSeconds": 599}}])),
        [
            "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"
        ]
    );
}

#[test]
fn s11_12_host_paths_do_not_go_up() {
    assert_eq!(
        volume_errors(json!({"hostPath": {"path": "/a/../b"}})),
        [r#"spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'"#]
    );
    assert_eq!(volume_errors(json!({"hostPath": {"path": "/a", "type": "Pipe"}})).len(), 1);
    assert_eq!(
        volume_errors(json!({"hostPath": {"path": "/a"}, "emptyDir": {}})),
        ["spec.volumes[0]: Forbidden: may not specify more than 1 volume type"]
    );
}

#[test]
fn s11_13_mounts_name_volumes_and_have_their_own_place() {
    let spec = |mounts: Value| {
        let container = with(container("a"), json!({"volumeMounts": mounts}));
        pod_errors(json!({"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}))
    };
    assert_eq!(spec(json!([{"name": "v", "mountPath": "/v", "subPath": "a/b"}])), NONE);
    assert_eq!(
        spec(json!([{"name": "w", "mountPath": "/v"}])),
        [r#"spec.containers[0].volumeMounts[0].name: Not found: "w""#]
    );
    assert_eq!(
        spec(json!([{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}])),
        [r#"spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique"#]
    );
    assert_eq!(
        spec(json!([{"name": "v", "mountPath": "/v", "subPath": "a", "subPathExpr": "b"}])),
        [
            r#"spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "b": subPathExpr and subPath are mutually exclusive"#
        ]
    );
    assert_eq!(
        spec(json!([{"name": "v", "mountPath": "/v", "subPath": "/abs"}])),
        [r#"spec.containers[0].volumeMounts.subPath: Invalid value: "/abs": must be a relative path"#]
    );
    let twice = json!([{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]);
    assert_eq!(
        pod_errors(json!({"containers": [container("a")], "volumes": twice})),
        [r#"spec.volumes[1].name: Duplicate value: "v""#]
    );
}

#[test]
fn s11_15_bidirectional_mounts_are_for_privileged_containers() {
    let spec = |privileged: bool| {
        let mount = json!([{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]);
        let fields = json!({"volumeMounts": mount, "securityContext": {"privileged": privileged}});
        let volumes = json!([{"name": "v", "emptyDir": {}}]);
        pod_errors(json!({"containers": [with(container("a"), fields)], "volumes": volumes}))
    };
    assert_eq!(spec(true), NONE);
    assert_eq!(
        spec(false),
        [
            "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
        ]
    );
}

#[test]
fn ids_are_not_negative() {
    assert_eq!(
        main_errors(json!({"securityContext": {"runAsUser": -1}})),
        [
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"
        ]
    );
}

#[test]
fn users_of_its_own_exclude_namespaces_of_the_host_and_allow_an_unmasked_proc() {
    let spec = |host_users: Value, more: Value| {
        let unmasked = with(container("a"), json!({"securityContext": {"procMount": "Unmasked"}}));
        pod_errors(with(json!({"containers": [unmasked], "hostUsers": host_users}), more))
    };
    assert_eq!(spec(json!(false), json!({})), NONE);
    let unmasked = "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`";
    assert_eq!(spec(json!(null), json!({"hostPID": true})), [unmasked]);
    assert_eq!(spec(json!(true), json!({})), [unmasked]);
    let host = ["hostNetwork", "hostPID", "hostIPC"];
    let all = spec(json!(false), host.map(|field| (field.to_owned(), json!(true))).into_iter().collect());
    assert_eq!(all, host.map(|field| format!("spec.{field}: Forbidden: when `hostUsers` is false")));
}

#[test]
fn dns_settings_are_complete_and_search_names_may_have_underscores() {
    let spec = |policy: &str, config: Value| {
        pod_errors(json!({"containers": [container("a")], "dnsPolicy": policy, "dnsConfig": config}))
    };
    assert_eq!(spec("None", json!({"nameservers": ["::1"], "searches": ["_tcp.local.", "."]})), NONE);
    assert_eq!(
        spec("None", Value::Null),
        ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]
    );
    assert_eq!(
        spec("Default", json!({"nameservers": ["one"]})),
        [
            r#"spec.dnsConfig.nameservers[0]: Invalid value: "one": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
        ]
    );
    assert_eq!(spec("Default", json!({"searches": ["A b"]})).len(), 1);
}

#[test]
fn tolerations_fit_together() {
    let one = |toleration: Value| pod_errors(json!({"containers": [container("a")], "tolerations": [toleration]}));
    assert_eq!(one(json!({"operator": "Exists"})), NONE);
    assert_eq!(one(json!({"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5})), NONE);
    assert_eq!(
        one(json!({"value": "b"})),
        [
            r#"spec.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and all keys""#
        ]
    );
    assert_eq!(
        one(json!({"key": "a", "operator": "Exists", "value": "b"})),
        [r#"spec.tolerations[0].operator: Invalid value: "b": value must be empty when `operator` is 'Exists'"#]
    );
    assert_eq!(one(json!({"key": "a", "tolerationSeconds": 5})).len(), 1);
}

#[test]
fn what_a_pod_mentions_has_a_name_that_can_be() {
    let spec = json!({
        "serviceAccountName": "A", "nodeName": "B", "priorityClassName": "C", "runtimeClassName": "D",
        "hostname": "a.b", "subdomain": "c.d", "preemptionPolicy": "Sometimes", "os": {"name": "plan9"},
        "nodeSelector": {"a b": "c"}, "hostAliases": [{"ip": "nowhere"}],
        "readinessGates": [{"conditionType": "a b"}],
        "schedulingGates": [{"name": "a/b"}, {"name": "a/b"}, {"name": "c d"}],
        "containers": [container("m")],
    });
    let errors = create_errors("pod", pod(spec));
    let places: Vec<_> = errors.iter().map(|text| text.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    expect_test::expect![[r#"
        spec.nodeSelector Invalid value
        spec.readinessGates[0].conditionType Invalid value
        spec.schedulingGates[1] Duplicate value
        spec.schedulingGates[2] Invalid value
        spec.serviceAccountName Invalid value
        spec.nodeName Invalid value
        spec.priorityClassName Invalid value
        spec.runtimeClassName Invalid value
        spec.hostname Invalid value
        spec.subdomain Invalid value
        spec.hostAliases[0].ip Invalid value
        spec.preemptionPolicy Unsupported value
        spec.os.name Unsupported value
        spec.nodeName Forbidden"#]]
    .assert_eq(&places.join("\n"));
    let template = json!({
        "metadata": {"labels": {"a b": "c"}, "annotations": {"d e": "f"}},
        "spec": {
            "restartPolicy": "Never", "hostname": "a.b", "containers": [container("m")],
            "ephemeralContainers": [container("d")],
        },
    });
    let errors = create_errors("job", json!({"metadata": {"name": "j"}, "spec": {"template": template}}));
    let places: Vec<_> = errors.iter().map(|text| text.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    expect_test::expect![[r#"
        metadata.labels Invalid value
        spec.template.labels Invalid value
        spec.template.annotations Invalid value
        spec.template.spec.hostname Invalid value
        spec.template.spec.ephemeralContainers Forbidden"#]]
    .assert_eq(&places.join("\n"));
}
