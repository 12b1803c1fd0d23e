//! Tests of the documents.

use serde_json::Value;

use super::*;

fn document(path: &str) -> Value {
    serde_json::from_slice(&v3(path, "v1.36.2").unwrap()).unwrap()
}

/// Every reference inside a document, by its name.
fn references(value: &Value, prefix: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| match value.as_str() {
            Some(text) if key == "$ref" => {
                all.insert(text.strip_prefix(prefix).unwrap().to_owned());
            }
            _ => references(value, prefix, all),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, prefix, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn documents_are_json_and_hold_everything_they_refer_to() {
    for path in group_versions() {
        let document = document(&path);
        let mut all = BTreeSet::new();
        references(&document, "#/components/schemas/", &mut all);
        for name in all {
            assert!(document["components"]["schemas"].get(&name).is_some(), "{path} lacks {name}");
        }
    }
    let document: Value = serde_json::from_slice(&v2("v1.36.2")).unwrap();
    let mut all = BTreeSet::new();
    references(&document, "#/definitions/", &mut all);
    assert!(all.iter().all(|name| document["definitions"].get(name).is_some()));
}

#[test]
fn fields_say_how_they_merge() {
    let schemas = &document("api/v1")["components"]["schemas"];
    let ports = &schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-list-type"], "map");
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    let spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(spec["nodeSelector"]["x-kubernetes-map-type"], "atomic");
    assert_eq!(spec["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(schemas["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
}

#[test]
fn patches_have_the_parameter_that_clients_look_for() {
    let patch = &document("apis/batch/v1")["paths"]["/apis/batch/v1/namespaces/{namespace}/jobs/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"], json!({"group": "batch", "kind": "Job", "version": "v1"}));
    let names: Vec<_> = patch["parameters"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
}
