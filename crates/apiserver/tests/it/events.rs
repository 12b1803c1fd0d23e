//! Events in both of their forms.

use serde_json::{Value, json};

use crate::support::Rig;

const CORE: &str = "/api/v1/namespaces/default/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const JSON: &str = "application/json";

#[tokio::test]
async fn an_event_is_read_and_changed_in_both_forms() {
    let rig = Rig::new();
    let old = json!({"metadata": {"name": "a"}, "message": "m", "reason": "R", "type": "Normal", "count": 2,
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "source": {"component": "c"}});
    assert_eq!(rig.raw("POST", CORE, JSON, &old.to_string()).await.0, 201);
    let (code, new) = rig.raw("GET", &format!("{NEW}/a"), JSON, "").await;
    assert_eq!((code, &new["apiVersion"], &new["kind"]), (200, &json!("events.k8s.io/v1"), &json!("Event")));
    assert_eq!(
        (&new["note"], &new["regarding"]["name"], &new["deprecatedCount"]),
        (&json!("m"), &json!("p"), &json!(2))
    );
    assert_eq!(new["deprecatedSource"], json!({"component": "c"}));
    let patch = r#"{"series":{"count":3,"lastObservedTime":"2026-01-02T03:04:05.000000Z"},"note":"n"}"#;
    let (code, patched) = rig.raw("PATCH", &format!("{NEW}/a"), "application/merge-patch+json", patch).await;
    assert_eq!((code, &patched["series"]["count"]), (200, &json!(3)), "{patched}");
    let old = rig.raw("GET", &format!("{CORE}/a"), JSON, "").await.1;
    assert_eq!((&old["message"], &old["series"]["count"], &old["apiVersion"]), (&json!("n"), &json!(3), &json!("v1")));
    let list = rig.raw("GET", NEW, JSON, "").await.1;
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("EventList"), &json!("events.k8s.io/v1")));
    assert_eq!(list["items"][0]["note"], "n");
}

#[tokio::test]
async fn a_new_event_says_who_did_what_when() {
    let rig = Rig::new();
    let mut event =
        json!({"metadata": {"name": "a"}, "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let (code, status) = rig.raw("POST", NEW, JSON, &event.to_string()).await;
    assert_eq!(code, 422);
    for field in ["eventTime", "reportingController", "reportingInstance", "action", "reason"] {
        assert!(status["message"].as_str().expect("text").contains(&format!("{field}: Required value")), "{status}");
    }
    let more = json!({"eventTime": "2026-01-02T03:04:05.000000Z", "reportingController": "x.io/y", "reportingInstance": "z",
        "action": "Do", "reason": "Done", "type": "Normal", "note": "n"});
    apimachinery::patch::merge(&mut event, &more);
    let (code, made) = rig.raw("POST", NEW, JSON, &event.to_string()).await;
    assert_eq!((code, &made["reportingController"]), (201, &json!("x.io/y")), "{made}");
    let old = rig.raw("GET", &format!("{CORE}/a"), JSON, "").await.1;
    assert_eq!((&old["reportingComponent"], &old["message"]), (&json!("x.io/y"), &json!("n")));
}

#[tokio::test]
async fn events_are_selected_by_what_they_are_about() {
    let rig = Rig::new();
    for name in ["a", "b"] {
        let event = json!({"metadata": {"name": name}, "reason": name, "type": "Normal",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": name}});
        assert_eq!(rig.raw("POST", CORE, JSON, &event.to_string()).await.0, 201);
    }
    let names = async |path: &str| -> Vec<Value> {
        let (code, list) = rig.raw("GET", path, JSON, "").await;
        assert_eq!(code, 200, "{list}");
        list["items"].as_array().expect("items").iter().map(|event| event["metadata"]["name"].clone()).collect()
    };
    assert_eq!(names(&format!("{CORE}?fieldSelector=involvedObject.name%3Da,type%3DNormal")).await, ["a"]);
    assert_eq!(names(&format!("{NEW}?fieldSelector=regarding.name%3Db")).await, ["b"]);
    assert_eq!(rig.raw("GET", &format!("{NEW}?fieldSelector=involvedObject.name%3Db"), JSON, "").await.0, 400);
    let watch = format!("{NEW}?watch=1&timeoutSeconds=1&fieldSelector=reason%3Da");
    let text = rig.raw_text("GET", &watch, JSON, "").await.1;
    let event: Value = serde_json::from_str(text.lines().next().expect("line")).expect("event");
    assert_eq!(event["object"]["regarding"]["name"], "a");
}
