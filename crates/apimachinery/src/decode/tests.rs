//! Tests of decoding.

use serde_json::json;

use super::*;
use crate::scheme;

fn pod() -> &'static ResourceType {
    scheme::by_name("pod").unwrap()
}

fn strict_pod(value: Value) -> Result<(Value, Vec<String>), ApiError> {
    strict(pod(), value, FieldValidation::Strict)
}

#[test]
fn unknown_fields_are_refused_with_the_text_of_the_api_server() {
    let error = strict_pod(json!({"spec": {"containers": [{"name": "a", "imagee": "x"}], "foo": 1}})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: \
         unknown field \"spec.containers[0].imagee\", unknown field \"spec.foo\""
    );
    assert_eq!(error.code, 400);
}

#[test]
fn wrong_types_name_the_path() {
    let cases = [
        (json!({"spec": {"containers": [{"name": 1}]}}), "spec.containers[0].name"),
        (json!({"spec": {"containers": "x"}}), "spec.containers"),
        (
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": "80"}]}]}}),
            "ports[0].containerPort",
        ),
        (json!({"spec": {"hostNetwork": "true"}}), "spec.hostNetwork"),
        (json!({"metadata": {"labels": {"a": 1}}}), "metadata.labels.a"),
        (json!({"spec": {"terminationGracePeriodSeconds": 1.5}}), "spec.terminationGracePeriodSeconds"),
        (json!({"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": 1}]}]}}), "env[0].value"),
    ];
    for (object, path) in cases {
        let error = strict_pod(object).unwrap_err();
        assert!(error.to_string().contains(path), "{path}: {error}");
    }
}

#[test]
fn null_is_the_zero_value() {
    let (pod, _) =
        strict_pod(json!({"metadata": {"creationTimestamp": null, "labels": {"a": null}}, "spec": null, "status": {}}))
            .unwrap();
    assert_eq!(pod["metadata"], json!({"labels": {"a": ""}}));
}

#[test]
fn another_kind_is_refused() {
    let error = strict_pod(json!({"apiVersion": "v1", "kind": "Job"})).unwrap_err();
    assert_eq!(error.to_string(), "the kind in the data (Job) does not match the expected kind (Pod)");
}

#[test]
fn every_resource_has_a_type() {
    for ty in scheme::all() {
        let (value, _) = strict(ty, json!({"metadata": {"name": "a"}}), FieldValidation::Strict).unwrap();
        assert_eq!((value["kind"].as_str(), value["apiVersion"].as_str()), (Some(ty.kind), Some(ty.api_version)));
    }
}

#[test]
fn normal_form_is_a_fixed_point() {
    let manifest = json!({"metadata": {"name": "a"}, "spec": {
        "containers": [{"name": "a", "image": "b", "args": [], "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
            "env": [{"name": "E", "value": ""}], "securityContext": {}, "stdin": false, "ports": [{"containerPort": 80}]}],
        "volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 0}});
    let (once, _) = strict_pod(manifest).unwrap();
    assert_eq!(
        once["spec"],
        json!({"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "env": [{"name": "E"}], "securityContext": {}, "ports": [{"containerPort": 80}]}],
            "volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 0})
    );
    assert_eq!(strict_pod(once.clone()).unwrap().0, once);
}

#[test]
fn yaml_reads_what_kubernetes_reads() {
    let docs =
        yaml("a: 0644\nb: yes\nc: '1'\nd: 1e3\ne: ~\nf: 0x10\ng: on\nh: 1_000\ni: 2024-01-01\nj: \"yes\"\n").unwrap();
    assert_eq!(
        docs[0],
        json!({"a": 420, "b": true, "c": "1", "d": 1000.0, "e": null, "f": 16, "g": true, "h": 1000, "i": "2024-01-01",
            "j": "yes"})
    );
}

#[test]
fn yaml_keys_are_text() {
    assert_eq!(yaml("labels: {1: a, true: b}").unwrap()[0], json!({"labels": {"1": "a", "true": "b"}}));
}

#[test]
fn yaml_lists_are_flattened_and_empty_documents_skipped() {
    let text = "---\n---\nkind: List\nitems:\n- kind: A\n- kind: BList\n  items: [{kind: B}]\n---\n# c\n";
    let kinds: Vec<_> = yaml(text).unwrap().iter().map(|o| o["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["A", "B"]);
}

#[test]
fn yaml_anchors_work_and_alias_bombs_do_not() {
    assert_eq!(yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}").unwrap()[0]["d"], json!({"b": 1, "e": 2}));
    let mut bomb = String::from("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
    for i in 1..12 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")));
    }
    assert!(yaml(&bomb).is_err());
}

#[test]
fn yaml_errors_have_a_place() {
    let DecodeError::Syntax { line, .. } = yaml("a: 1\nb: [1\nc: 2\n").unwrap_err() else {
        panic!("not a syntax error")
    };
    assert!(line >= 2, "{line}");
    assert!(matches!(yaml("a: 1\nb: 2\na: 3\n"), Err(DecodeError::Syntax { line: 3, .. })));
}

#[test]
fn yaml_scalars_and_lists_are_no_manifests() {
    assert_eq!(yaml("- a\n"), Err(DecodeError::NotAnObject { document: 1, found: "a list" }));
    assert_eq!(yaml("a: 1\n---\nfoo\n"), Err(DecodeError::NotAnObject { document: 2, found: "a string" }));
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    assert!(yaml(&"[".repeat(100_000)).is_err());
    assert!(yaml(&format!("a: {}{}", "{b: ".repeat(5000), "}".repeat(5000))).is_err());
    assert!(json(&b"[".repeat(100_000)).is_err());
}
