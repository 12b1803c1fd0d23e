//! Tests of defaults and system fields.

use serde_json::json;

use super::*;
use crate::{decode::FieldValidation, scheme};

const NOW: &str = "2024-01-01T00:00:00Z";

fn ty(name: &str) -> &'static ResourceType {
    scheme::by_name(name).unwrap()
}

#[expect(clippy::unwrap_in_result, reason = "a broken constant is the test's fault")]
fn try_created(kind: &str, object: Value) -> Result<Value, ApiError> {
    let ty = ty(kind);
    let (mut object, _) = decode::strict(ty, object, FieldValidation::Strict)?;
    let namespace = ty.namespaced.then_some("default");
    let ctx = CreateContext { namespace, uid: "u-1", now: NOW.parse().unwrap(), name_suffix: "x2x4x" };
    create(ty, &mut object, &ctx).map(|()| object)
}

fn created(kind: &str, object: Value) -> Value {
    try_created(kind, object).unwrap()
}

fn updated(kind: &str, old: &Value, new: Value, subresource: Subresource) -> Value {
    let mut new = new;
    update(ty(kind), old, &mut new, subresource, &UpdateContext { now: NOW.parse().unwrap() }).unwrap();
    new
}

fn pod(spec: Value) -> Value {
    created("pod", json!({"metadata": {"name": "p"}, "spec": spec}))["spec"].clone()
}

/// A container after defaulting.
fn container(container: Value) -> Value {
    let mut c = container;
    c["name"] = "a".into();
    pod(json!({"containers": [c]}))["containers"][0].clone()
}

#[test]
fn s1_02_container_restart_policy_is_not_defaulted() {
    let spec = pod(json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}));
    assert!(spec["initContainers"][0].get("restartPolicy").is_none());
    assert!(spec["containers"][0].get("restartPolicy").is_none());
}

#[test]
fn stop_signals_are_dropped_as_long_as_their_gate_is_off_by_default() {
    let hook = json!({"preStop": {"sleep": {"seconds": 1}}});
    let mut both = hook.clone();
    both["stopSignal"] = "SIGUSR1".into();
    let alone = json!({"image": "b:1", "lifecycle": {"stopSignal": "SIGUSR1"}});
    assert_eq!(container(json!({"lifecycle": both}))["lifecycle"], hook);
    assert_eq!(container(alone.clone()).get("lifecycle"), None);
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [alone]}});
    let job = created("job", json!({"metadata": {"name": "j"}, "spec": {"template": template}}));
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0].get("lifecycle"), None);
}

#[test]
fn s1_11_pull_policy_follows_the_tag() {
    let cases = [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.36", "IfNotPresent"),
        ("registry:5000/busybox", "Always"),
        ("registry:5000/busybox:1", "IfNotPresent"),
        ("busybox@sha256:abc", "IfNotPresent"),
        ("busybox:latest@sha256:abc", "Always"),
        (" img", "IfNotPresent"),
    ];
    for (image, expected) in cases {
        assert_eq!(container(json!({"image": image}))["imagePullPolicy"], expected, "{image}");
    }
}

#[test]
fn s1_12_termination_message_defaults() {
    let c = container(json!({}));
    assert_eq!(c["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(c["terminationMessagePolicy"], "File");
}

#[test]
fn s1_13_a_minimal_pod_reads_back_as_on_a_cluster() {
    let pod =
        created("pod", json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i:1"}]}}));
    assert_eq!(
        pod,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default", "uid": "u-1", "creationTimestamp": NOW, "generation": 1},
            "spec": {
                "containers": [{"name": "a", "image": "i:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "enableServiceLinks": true, "schedulerName": "default-scheduler", "securityContext": {},
                "serviceAccount": "default", "serviceAccountName": "default", "priority": 0,
                "preemptionPolicy": "PreemptLowerPriority",
            },
            "status": {"phase": "Pending", "qosClass": "BestEffort"},
        })
    );
}

#[test]
fn s1_14_negative_grace_becomes_one_and_zero_stays() {
    let grace = |n: i64| {
        pod(json!({"containers": [{"name": "a"}], "terminationGracePeriodSeconds": n}))["terminationGracePeriodSeconds"]
            .clone()
    };
    assert_eq!((grace(-1), grace(0), grace(5)), (json!(1), json!(0), json!(5)));
}

#[test]
fn s1_16_probe_defaults() {
    let c = container(json!({"livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 0, "timeoutSeconds": 7}}));
    assert_eq!(
        c["livenessProbe"],
        json!({"tcpSocket": {"port": 1}, "timeoutSeconds": 7, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
    );
}

#[test]
fn s1_20_http_and_grpc_defaults() {
    let c = container(json!({
        "readinessProbe": {"httpGet": {"port": "web"}}, "startupProbe": {"grpc": {"port": 9}},
        "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/x", "scheme": "HTTPS"}}, "postStart": {"httpGet": {"port": 1}}}}));
    assert_eq!(c["readinessProbe"]["httpGet"], json!({"port": "web", "path": "/", "scheme": "HTTP"}));
    assert_eq!(c["startupProbe"]["grpc"], json!({"port": 9, "service": ""}));
    assert_eq!(c["lifecycle"]["preStop"]["httpGet"], json!({"port": 80, "path": "/x", "scheme": "HTTPS"}));
    assert_eq!(c["lifecycle"]["postStart"]["httpGet"]["path"], "/");
}

#[test]
fn s1_25_host_network_defaults_host_ports() {
    let ports = json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}]);
    let containers = json!([{"name": "a", "ports": ports}]);
    let spec = pod(json!({"hostNetwork": true, "containers": containers, "initContainers": containers}));
    for list in ["containers", "initContainers"] {
        let ports = &spec[list][0]["ports"];
        assert_eq!((&ports[0]["hostPort"], &ports[1]["hostPort"]), (&json!(80), &json!(8081)));
    }
    assert_eq!(spec["containers"][0]["ports"][0]["protocol"], "TCP");
    assert!(pod(json!({"containers": containers}))["containers"][0]["ports"][0].get("hostPort").is_none());
}

#[test]
fn s1_26_requests_come_from_limits_in_pods_only() {
    let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}});
    let spec = json!({"containers": [{"name": "a", "resources": limits}], "initContainers": [{"name": "i", "resources": limits}]});
    let defaulted = pod(spec.clone());
    for list in ["containers", "initContainers"] {
        assert_eq!(defaulted[list][0]["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
    }
    let job = created("job", json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": spec}}}));
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["resources"], limits);
}

#[test]
fn s1_31_pod_level_requests_come_from_containers_then_limits() {
    let spec = pod(json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "300m"}}}]}));
    assert_eq!(spec["resources"]["requests"], json!({"cpu": "300m", "memory": "1Gi"}));
}

#[test]
fn s11_03_a_volume_without_source_is_an_empty_dir() {
    let spec = pod(json!({"containers": [{"name": "a"}], "volumes": [{"name": "x"}]}));
    assert_eq!(spec["volumes"], json!([{"name": "x", "emptyDir": {}}]));
}

#[test]
fn s11_04_to_12_volume_sources_have_defaults() {
    let spec = pod(json!({"containers": [{"name": "a"}], "volumes": [
        {"name": "a", "configMap": {"name": "x"}}, {"name": "b", "secret": {"secretName": "x"}},
        {"name": "c", "hostPath": {"path": "/x"}},
        {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    ]}));
    assert_eq!(
        spec["volumes"],
        json!([
            {"name": "a", "configMap": {"name": "x", "defaultMode": 420}},
            {"name": "b", "secret": {"secretName": "x", "defaultMode": 420}},
            {"name": "c", "hostPath": {"path": "/x", "type": ""}},
            {"name": "d", "downwardAPI": {"defaultMode": 420, "items": [{"path": "l", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}}]}},
            {"name": "e", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}},
        ])
    );
}

fn job_spec(spec: Value) -> Value {
    let mut spec = spec;
    spec["template"] = json!({"spec": {"containers": [{"name": "a", "image": "i"}], "restartPolicy": "Never"}});
    created("job", json!({"metadata": {"name": "j"}, "spec": spec}))["spec"].clone()
}

#[test]
fn s9_01_job_defaults() {
    let fields = [
        "completions",
        "parallelism",
        "backoffLimit",
        "completionMode",
        "suspend",
        "manualSelector",
        "podReplacementPolicy",
    ];
    let cases = [
        (json!({}), json!([1, 1, 6, "NonIndexed", false, false, "TerminatingOrFailed"])),
        (json!({"completions": 5}), json!([5, 1, 6, "NonIndexed", false, false, "TerminatingOrFailed"])),
        (json!({"parallelism": 5}), json!([null, 5, 6, "NonIndexed", false, false, "TerminatingOrFailed"])),
        (
            json!({"backoffLimitPerIndex": 1, "completions": 2, "completionMode": "Indexed"}),
            json!([2, 1, 2147483647, "Indexed", false, false, "TerminatingOrFailed"]),
        ),
        (
            json!({"podFailurePolicy": {"rules": [{"action": "Count", "onPodConditions": [{"type": "X"}]}]}}),
            json!([1, 1, 6, "NonIndexed", false, false, "Failed"]),
        ),
    ];
    for (spec, expected) in cases {
        let spec = job_spec(spec);
        let found: Vec<_> = fields.iter().map(|f| spec[f].clone()).collect();
        assert_eq!(Value::Array(found), expected);
    }
}

#[test]
fn s9_05_a_condition_pattern_means_true() {
    let spec =
        job_spec(json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "X"}]}]}}));
    assert_eq!(spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
}

#[test]
fn s9_09_selector_and_template_labels_are_generated() {
    let job = created(
        "job",
        json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}),
    );
    let labels = json!({"controller-uid": "u-1", "batch.kubernetes.io/controller-uid": "u-1", "job-name": "j", "batch.kubernetes.io/job-name": "j"});
    assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(job["metadata"]["labels"], labels);
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}));
    assert_eq!(job["status"], json!({}));
}

#[test]
fn s9_09_a_manual_selector_is_left_alone() {
    let job = created(
        "job",
        json!({"metadata": {"name": "j", "labels": {"own": "1"}}, "spec": {"manualSelector": true,
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a"}]}}}}),
    );
    assert_eq!(job["spec"]["template"]["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
    assert_eq!(job["metadata"]["labels"], json!({"own": "1"}));
}

#[test]
fn s10_06_cron_job_defaults() {
    let job = created(
        "cronjob",
        json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *",
        "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}}}}),
    );
    let spec = &job["spec"];
    assert_eq!(spec["concurrencyPolicy"], "Allow");
    assert_eq!(spec["suspend"], false);
    assert_eq!((&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]), (&json!(3), &json!(1)));
    assert!(spec.get("startingDeadlineSeconds").is_none());
    let template = &spec["jobTemplate"]["spec"];
    assert!(template.get("completions").is_none() && template.get("selector").is_none());
    assert_eq!(template["template"]["spec"]["terminationGracePeriodSeconds"], 30);
}

#[test]
fn system_fields_of_the_client_are_ignored_on_create() {
    let meta = created(
        "configmap",
        json!({"metadata": {"name": "c", "uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z",
        "deletionTimestamp": NOW, "generation": 7}}),
    )["metadata"]
        .clone();
    assert_eq!(meta, json!({"name": "c", "namespace": "default", "uid": "u-1", "creationTimestamp": NOW}));
}

#[test]
fn another_namespace_and_stored_objects_are_refused() {
    assert_eq!(try_created("pod", json!({"metadata": {"namespace": "other"}})).unwrap_err().code, 400);
    assert_eq!(try_created("node", json!({"metadata": {"namespace": "other"}})).unwrap_err().code, 400);
    assert_eq!(try_created("pod", json!({"metadata": {"resourceVersion": "5"}})).unwrap_err().code, 400);
}

#[test]
fn generated_names_are_cut_to_63_characters() {
    let name = created("pod", json!({"metadata": {"generateName": "a".repeat(80)}}))["metadata"]["name"].clone();
    assert_eq!(name.as_str().unwrap(), format!("{}x2x4x", "a".repeat(58)));
}

#[test]
fn string_data_of_secrets_becomes_data() {
    let secret =
        created("secret", json!({"metadata": {"name": "s"}, "data": {"a": "eA=="}, "stringData": {"a": "y", "b": ""}}));
    assert_eq!(secret["data"], json!({"a": "eQ==", "b": ""}));
    assert_eq!((&secret["type"], secret.get("stringData")), (&json!("Opaque"), None));
}

fn stored_pod() -> Value {
    created(
        "pod",
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i:1"}], "nodeName": "n"}}),
    )
}

#[test]
fn a_status_write_changes_status_only() {
    let old = stored_pod();
    let mut new = old.clone();
    new["spec"] = json!({});
    new["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]);
    new["status"] = json!({"phase": "Running", "qosClass": "Guaranteed"});
    let new = updated("pod", &old, new, Subresource::Status);
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["metadata"], old["metadata"]);
    assert_eq!(new["status"], json!({"phase": "Running", "qosClass": "BestEffort"}));
}

#[test]
fn a_spec_write_leaves_status_and_system_fields_and_counts_a_generation() {
    let mut old = stored_pod();
    old["metadata"]["deletionTimestamp"] = NOW.into();
    let mut new = old.clone();
    new["status"] = json!({"phase": "Failed"});
    new["spec"]["containers"][0]["image"] = "i:2".into();
    new["metadata"] = json!({"name": "p", "labels": {"a": "b"}});
    let new = updated("pod", &old, new, Subresource::None);
    assert_eq!(new["status"], old["status"]);
    assert_eq!(
        new["metadata"],
        json!({"name": "p", "namespace": "default", "uid": "u-1", "creationTimestamp": NOW, "deletionTimestamp": NOW,
            "generation": 2, "labels": {"a": "b"}})
    );
}

#[test]
fn a_metadata_write_counts_no_generation() {
    let old = stored_pod();
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(updated("pod", &old, new, Subresource::None)["metadata"]["generation"], 1);
}

#[test]
fn another_uid_is_a_conflict() {
    let old = stored_pod();
    let mut new = old.clone();
    new["metadata"]["uid"] = "other".into();
    let ctx = UpdateContext { now: NOW.parse().unwrap() };
    assert_eq!(update(ty("pod"), &old, &mut new, Subresource::None, &ctx).unwrap_err().code, 409);
}

#[test]
fn ephemeral_containers_are_the_only_part_of_their_subresource() {
    let old = stored_pod();
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = "i:2".into();
    new["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "dbg:1"}]);
    let new = updated("pod", &old, new, Subresource::EphemeralContainers);
    assert_eq!(new["spec"]["containers"], old["spec"]["containers"]);
    assert_eq!(new["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "IfNotPresent");
}

#[test]
fn preparing_twice_is_preparing_once() {
    let old = stored_pod();
    assert_eq!(updated("pod", &old, old.clone(), Subresource::None), old);
    let job = created(
        "job",
        json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}),
    );
    assert_eq!(updated("job", &job, job.clone(), Subresource::None), job);
}

#[test]
fn what_admission_filled_in_stays_when_a_client_leaves_it_out() {
    let spec = json!({"serviceAccount": "robot", "priority": 5, "containers": [{"name": "a", "image": "i:1"}]});
    let old = created("pod", json!({"metadata": {"name": "p"}, "spec": spec}));
    let filled = ["serviceAccountName", "serviceAccount", "priority", "preemptionPolicy"];
    assert_eq!(
        filled.map(|field| old["spec"][field].clone()),
        [json!("robot"), json!("robot"), json!(5), json!("PreemptLowerPriority")]
    );
    let mut new = old.clone();
    filled.iter().for_each(|field| _ = new["spec"].as_object_mut().unwrap().remove(*field));
    assert_eq!(updated("pod", &old, new, Subresource::None)["spec"], old["spec"]);
    let mut other = old.clone();
    other["spec"]["preemptionPolicy"] = "Never".into();
    other["spec"]["priority"] = 7.into();
    other["spec"]["serviceAccountName"] = "other".into();
    let kept = updated("pod", &old, other, Subresource::None);
    assert_eq!((&kept["spec"]["preemptionPolicy"], &kept["spec"]["priority"]), (&json!("Never"), &json!(7)));
    assert_eq!(kept["spec"]["serviceAccountName"], "other");
    assert_eq!(pod(json!({"containers": [{"name": "a"}]}))["serviceAccountName"], "default");
    let template = json!({"restartPolicy": "Never", "serviceAccount": "robot", "containers": [{"name": "a"}]});
    let job = created("job", json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": template}}}));
    assert_eq!(job["spec"]["template"]["spec"]["serviceAccountName"], "robot");
}

#[test]
fn s8_06_resources_and_their_policies_are_the_only_part_of_resize() {
    let container = |name: &str| json!({"name": name, "image": "i:1", "resources": {"requests": {"cpu": "1"}}});
    let spec = json!({"containers": [container("a"), container("b")], "initContainers": [container("i")]});
    let old = created("pod", json!({"metadata": {"name": "p"}, "spec": spec}));
    let mut new = old.clone();
    let more = json!({"requests": {"cpu": "2"}});
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    new["metadata"]["labels"] = json!({"a": "b"});
    new["status"] = json!({"phase": "Running"});
    new["spec"]["resources"] = more.clone();
    for container in ["/spec/containers/1", "/spec/initContainers/0"] {
        let container = new.pointer_mut(container).unwrap();
        (container["image"], container["resources"], container["resizePolicy"]) =
            ("x".into(), more.clone(), policy.clone());
    }
    let new = updated("pod", &old, new, Subresource::Resize);
    for changed in ["/spec/containers/1", "/spec/initContainers/0"] {
        let container = new.pointer(changed).unwrap();
        assert_eq!((&container["resources"], &container["resizePolicy"]), (&more, &policy));
        assert_eq!(container["image"], "i:1");
    }
    assert_eq!((&new["spec"]["containers"][0], &new["spec"]["resources"]), (&old["spec"]["containers"][0], &more));
    assert_eq!((&new["status"], new["metadata"].get("labels")), (&old["status"], None));
}

#[test]
fn s1_16_s11_04_to_12_defaults_of_probes_variables_and_rarer_volumes() {
    let resource = json!({"containerName": "a", "resource": "limits.cpu"});
    let made = container(json!({
        "image": "b:1",
        "livenessProbe": {"exec": {"command": ["x"]}},
        "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "valueFrom": {"resourceFieldRef": resource}},
            {"name": "C", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "f", "key": "k"}}},
        ],
    }));
    assert_eq!(made["livenessProbe"]["timeoutSeconds"], 1);
    assert_eq!(made["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(made["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"], "0");
    assert_eq!(made["env"][2]["valueFrom"]["fileKeyRef"]["optional"], false);
    let items = json!([
        {"path": "n", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "c", "resourceFieldRef": resource},
    ]);
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let spec = pod(json!({"containers": [{"name": "a"}], "volumes": [
        {"name": "i", "image": {"reference": "b:1"}},
        {"name": "e", "ephemeral": {"volumeClaimTemplate": claim}},
        {"name": "p", "projected": {"sources": [{"downwardAPI": {"items": items}}]}},
        {"name": "d", "downwardAPI": {"items": items}},
    ]}));
    let at = |path: &str| spec.pointer(&format!("/volumes/{path}")).cloned().unwrap_or_default();
    assert_eq!(at("0/image/pullPolicy"), "IfNotPresent");
    assert_eq!(at("1/ephemeral/volumeClaimTemplate/spec/volumeMode"), "Filesystem");
    for items in ["2/projected/sources/0/downwardAPI/items", "3/downwardAPI/items"] {
        assert_eq!(at(&format!("{items}/0/fieldRef/apiVersion")), "v1", "{items}");
        assert_eq!(at(&format!("{items}/1/resourceFieldRef/divisor")), "0", "{items}");
    }
}
