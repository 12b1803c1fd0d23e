//! Tables: what `kubectl get` asks for.

use serde_json::{Value, json};

use crate::support::{Rig, assigned};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn a_list_is_a_table_with_the_metadata_of_each_object() {
    let rig = Rig::new();
    rig.pod("a", assigned()).await;
    rig.advance(65);
    let (code, table) = rig.accepting(TABLE, "GET", "/api/v1/namespaces/default/pods", "").await;
    assert_eq!((code, &table["kind"], &table["apiVersion"]), (200, &json!("Table"), &json!("meta.k8s.io/v1")));
    assert!(table["metadata"]["resourceVersion"].is_string());
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    let row = &table["rows"][0];
    assert_eq!(row["cells"], json!(["a", "0/1", "Pending", "0", "65s", "<none>", "node1", "<none>", "<none>"]));
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"]["name"], "a");
    assert_eq!(row["object"]["spec"], Value::Null);
}

#[tokio::test]
async fn as_much_of_each_object_is_included_as_is_asked_for() {
    let rig = Rig::new();
    let path = "/api/v1/namespaces/default";
    for (include, kind) in
        [("None", Value::Null), ("Metadata", json!("PartialObjectMetadata")), ("Object", json!("Namespace"))]
    {
        let (code, table) = rig.accepting(TABLE, "GET", &format!("{path}?includeObject={include}"), "").await;
        assert_eq!((code, &table["rows"][0]["object"]["kind"]), (200, &kind), "{include}");
    }
    assert_eq!(rig.accepting(TABLE, "GET", &format!("{path}?includeObject=All"), "").await.0, 400);
}

#[tokio::test]
async fn only_the_first_table_of_a_watch_names_its_columns() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    rig.pod("b", json!({})).await;
    let path = "/api/v1/namespaces/default/pods?watch=1&timeoutSeconds=1&allowWatchBookmarks=1";
    let text = rig.accepting_text(TABLE, "GET", path, "").await.1;
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("event")).collect();
    let shown: Vec<_> = events
        .iter()
        .map(|event| {
            let table = &event["object"];
            let columns = table["columnDefinitions"].as_array().expect("columns").len();
            (event["type"].as_str().expect("type"), table["rows"][0]["cells"][0].as_str().unwrap_or_default(), columns)
        })
        .collect();
    assert_eq!(shown, [("ADDED", "a", 9), ("ADDED", "b", 0), ("BOOKMARK", "", 0)]);
    assert!(events[2]["object"]["metadata"]["resourceVersion"].is_string());
}

#[tokio::test]
async fn what_cannot_be_served_is_not_acceptable_and_errors_are_no_tables() {
    let rig = Rig::new();
    let (code, status) = rig.accepting("application/vnd.kubernetes.protobuf", "GET", "/api/v1/pods", "").await;
    assert_eq!((code, &status["reason"]), (406, &json!("NotAcceptable")));
    let (code, status) = rig.accepting(TABLE, "GET", "/api/v1/namespaces/default/pods/x", "").await;
    assert_eq!((code, &status["kind"]), (404, &json!("Status")));
}
