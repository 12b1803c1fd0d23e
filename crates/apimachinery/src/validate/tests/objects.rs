//! Tests of metadata, ConfigMaps, Secrets and Events.

use super::*;

const NONE: [&str; 0] = [];

#[test]
fn names_are_what_the_kind_demands() {
    let errors = |kind: &str, name: &str| create_errors(kind, json!({"metadata": {"name": name}}));
    assert_eq!(errors("configmap", "a.b"), NONE);
    assert_eq!(errors("namespace", "a-b"), NONE);
    for (kind, name, starts) in [
        ("configmap", "A", r#"metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain"#),
        ("namespace", "a.b", r#"metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label"#),
        ("configmap", "", "metadata.name: Required value: name or generateName is required"),
    ] {
        let errors = errors(kind, name);
        assert!(errors[0].starts_with(starts), "{errors:?}");
    }
}

#[test]
fn labels_and_annotations_are_checked() {
    let errors = |meta: Value| create_errors("configmap", json!({"metadata": with(json!({"name": "a"}), meta)}));
    assert_eq!(errors(json!({"labels": {"a/b": "c"}, "annotations": {"A/b": "any thing"}})), NONE);
    assert!(
        errors(json!({"labels": {"a b": "c"}}))[0].starts_with(r#"metadata.labels: Invalid value: "a b": name part"#)
    );
    assert!(
        errors(json!({"labels": {"a": "c d"}}))[0]
            .starts_with(r#"metadata.labels: Invalid value: "c d": a valid label"#)
    );
    assert_eq!(errors(json!({"annotations": {"a": "x".repeat(256 * 1024 - 1)}})), NONE);
    assert_eq!(
        errors(json!({"annotations": {"a": "x".repeat(256 * 1024)}})),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
}

#[test]
fn an_object_has_one_controller() {
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "1", "controller": true});
    let errors =
        create_errors("configmap", json!({"metadata": {"name": "a", "ownerReferences": [owner("x"), owner("y")]}}));
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0]
            .ends_with(r#"Only one reference can have Controller set to true. Found "true" in references for x and y"#)
    );
    let nobody = json!({"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "1"});
    assert_eq!(
        create_errors("configmap", json!({"metadata": {"name": "a", "ownerReferences": [nobody]}})),
        [r#"metadata.ownerReferences.name: Invalid value: "": must not be empty"#]
    );
}

#[test]
fn keys_of_config_maps_and_secrets_are_file_names() {
    let errors = create_errors("configmap", json!({"metadata": {"name": "a"}, "data": {"a/b": "x"}}));
    assert!(errors[0].starts_with(r#"data[a/b]: Invalid value: "a/b": a valid config key"#), "{errors:?}");
    assert_eq!(
        create_errors("configmap", json!({"metadata": {"name": "a"}, "data": {"a": "x"}, "binaryData": {"a": "eA=="}})),
        [r#"data[a]: Invalid value: "a": duplicate of key present in binaryData"#]
    );
    let big = "x".repeat((1 << 20) + 1);
    assert_eq!(
        create_errors("secret", json!({"metadata": {"name": "a"}, "stringData": {"a": big}})),
        ["data: Too long: may not be more than 1048576 bytes"]
    );
}

#[test]
fn secrets_have_the_keys_of_their_type() {
    let errors = |kind: &str, data: Value| {
        create_errors("secret", json!({"metadata": {"name": "a"}, "type": kind, "stringData": data}))
    };
    assert_eq!(errors("kubernetes.io/tls", json!({"tls.crt": ""})), ["data[tls.key]: Required value"]);
    assert_eq!(errors("kubernetes.io/basic-auth", json!({"password": "x"})), NONE);
    assert_eq!(errors("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "{}"})), NONE);
    assert_eq!(errors("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "x"})).len(), 1);
}

#[test]
fn an_event_is_where_its_object_is() {
    let errors = |namespace: Value| {
        create_errors("event", json!({"metadata": {"name": "a.17"}, "involvedObject": {"namespace": namespace}}))
    };
    assert_eq!(errors(json!("default")), NONE);
    assert_eq!(errors(Value::Null), NONE);
    assert_eq!(
        errors(json!("other")),
        [r#"involvedObject.namespace: Invalid value: "other": does not match event.namespace"#]
    );
}
