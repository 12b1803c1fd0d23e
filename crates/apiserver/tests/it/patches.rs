//! Patches and replacements, field validation, generated names, sizes.

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams, ValidationDirective};
use serde_json::{Value, json};

use crate::support::{Rig, pod, refusal};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn the_three_patches_change_what_they_say() {
    let rig = Rig::new();
    let pods = rig.pods();
    rig.pod("a", json!({"metadata": {"labels": {"keep": "1", "drop": "1"}}})).await;
    let merge = Patch::Merge(json!({"metadata": {"labels": {"drop": null, "new": "2"}}}));
    let patched = pods.patch("a", &PatchParams::default(), &merge).await.expect("merge");
    assert_eq!(serde_json::to_value(patched.labels()).expect("labels"), json!({"keep": "1", "new": "2"}));
    let (code, patched) = rig
        .raw(
            "PATCH",
            &format!("{PODS}/a"),
            "application/json-patch+json",
            &json!([
                {"op": "test", "path": "/metadata/labels/new", "value": "2"},
                {"op": "replace", "path": "/spec/containers/0/image", "value": "other:1"},
            ])
            .to_string(),
        )
        .await;
    assert_eq!((code, &patched["spec"]["containers"][0]["image"]), (200, &json!("other:1")));
    let status = |kind: &str| Patch::Strategic(json!({"status": {"conditions": [{"type": kind, "status": "True"}]}}));
    pods.patch_status("a", &PatchParams::default(), &status("Ready")).await.expect("strategic");
    let patched = pods.patch_status("a", &PatchParams::default(), &status("Initialized")).await.expect("strategic");
    let conditions = patched.status.expect("status").conditions.expect("conditions");
    assert_eq!(conditions.len(), 2, "conditions are merged by type");
}

#[tokio::test]
async fn patches_that_cannot_be_applied_or_read_are_refused() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    for (media_type, body, code, text) in [
        (
            "application/json-patch+json",
            r#"[{"op":"test","path":"/kind","value":"x"}]"#,
            422,
            "the server rejected our request",
        ),
        ("application/json-patch+json", r#"{"op":"test"}"#, 400, ""),
        ("application/merge-patch+json", "{", 400, "error decoding patch"),
        ("application/merge-patch+json", r#"{"metadata":{"name":"b"}}"#, 400, "does not match the name on the URL (a)"),
        (
            "application/merge-patch+json",
            r#"{"metadata":{"resourceVersion":"1"}}"#,
            409,
            "the object has been modified",
        ),
        (
            "application/merge-patch+json",
            r#"{"metadata":{"uid":"1"}}"#,
            409,
            "Precondition failed: UID in precondition: 1",
        ),
        ("application/merge-patch+json", r#"{"spec":{"containers":5}}"#, 400, ""),
        ("application/strategic-merge-patch+json", r#"{"$patch":"eat"}"#, 400, "unknown patch type"),
        ("application/apply-patch+cbor", "a", 415, "accepted media types include"),
        ("text/plain", "a", 415, "accepted media types include"),
    ] {
        let (got, status) = rig.raw("PATCH", &format!("{PODS}/a"), media_type, body).await;
        assert_eq!(got, code, "{body}: {status}");
        assert!(status["message"].as_str().expect("message").contains(text), "{body}: {status}");
    }
}

#[tokio::test]
async fn a_patch_that_changes_nothing_writes_nothing() {
    let rig = Rig::new();
    let before = rig.pod("a", json!({"metadata": {"labels": {"x": "1"}}})).await;
    let patch = Patch::Merge(json!({"metadata": {"labels": {"x": "1"}}}));
    let after = rig.pods().patch("a", &PatchParams::default(), &patch).await.expect("patch");
    assert_eq!(after.resource_version(), before.resource_version());
}

#[tokio::test]
async fn unknown_fields_are_refused_dropped_with_a_warning_or_dropped() {
    let rig = Rig::new();
    let mut value = serde_json::to_value(pod("a", json!({}))).expect("pod");
    value["spec"]["nonsense"] = json!(1);
    let post = |validation: &'static str, name: &str| {
        let mut body = value.clone();
        body["metadata"]["name"] = json!(name);
        let path = format!("{PODS}?fieldValidation={validation}");
        let service = rig.server.service();
        async move {
            let request = http::Request::post(path)
                .header("content-type", "application/json")
                .body(http_body_util::Full::new(bytes::Bytes::from(body.to_string())))
                .expect("request");
            let response = tower::ServiceExt::oneshot(service, request).await.expect("infallible");
            let warning = response.headers().get("warning").map(|text| text.to_str().expect("text").to_owned());
            (response.status().as_u16(), warning)
        }
    };
    assert_eq!(post("Strict", "a").await.0, 400);
    assert_eq!(post("Warn", "b").await, (201, Some(r#"299 - "unknown field \"spec.nonsense\"""#.to_owned())));
    assert_eq!(post("Ignore", "c").await, (201, None));
    assert_eq!(post("Sometimes", "d").await.0, 400);
    let strict = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"foo": 1}}));
    assert!(refusal(rig.pods().patch("b", &strict, &patch).await).starts_with("400 BadRequest"));
}

#[tokio::test]
async fn a_changed_spec_is_a_new_generation_and_a_changed_status_is_not() {
    let rig = Rig::new();
    let cron_jobs: Api<CronJob> = Api::default_namespaced(rig.client.clone());
    let template = json!({"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}});
    let value = json!({"metadata": {"name": "a"}, "spec": {"schedule": "0 * * * *", "jobTemplate": template}});
    let created: CronJob = serde_json::from_value(value).expect("cron job");
    cron_jobs.create(&PostParams::default(), &created).await.expect("create");
    let suspend =
        Patch::Merge(json!({"spec": {"suspend": true}, "status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}}));
    let patched = cron_jobs.patch("a", &PatchParams::default(), &suspend).await.expect("patch");
    assert_eq!(patched.metadata.generation, Some(2));
    assert!(patched.status.unwrap_or_default().last_schedule_time.is_none());
    let status =
        Patch::Merge(json!({"spec": {"suspend": false}, "status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}}));
    let patched = cron_jobs.patch_status("a", &PatchParams::default(), &status).await.expect("patch");
    assert_eq!(patched.metadata.generation, Some(2));
    assert_eq!(patched.spec.suspend, Some(true));
    assert!(patched.status.expect("status").last_schedule_time.is_some());
}

#[tokio::test]
async fn identity_survives_a_replacement() {
    let rig = Rig::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(rig.client.clone());
    let map = |data: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"k": data}})).expect("map")
    };
    let first = maps.create(&PostParams::default(), &map("1")).await.expect("create");
    rig.advance(9);
    let second = maps.replace("a", &PostParams::default(), &map("2")).await.expect("replace");
    assert_eq!(second.uid(), first.uid());
    assert_eq!(second.creation_timestamp(), first.creation_timestamp());
    assert_ne!(second.resource_version(), first.resource_version());
    assert_eq!(
        refusal(maps.replace("b", &PostParams::default(), &map("3")).await).split(':').next(),
        Some("400 BadRequest")
    );
}

#[tokio::test]
async fn a_lease_is_made_by_its_first_update_and_needs_a_version_later() {
    let rig = Rig::new();
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a";
    let lease = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "x"}});
    let (code, made) = rig.raw("PUT", path, "application/json", &lease.to_string()).await;
    assert_eq!(code, 201, "{made}");
    let (code, refused) = rig.raw("PUT", path, "application/json", &lease.to_string()).await;
    assert_eq!(code, 422);
    assert_eq!(
        refused["message"],
        "Lease.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    );
}

#[tokio::test]
async fn generated_names_are_unique_and_bodies_may_be_yaml() {
    let rig = Rig::new();
    let mut names = Vec::new();
    for _ in 0..20 {
        let value = json!({"metadata": {"name": null, "generateName": "job-"}});
        let made: Pod = rig.pods().create(&PostParams::default(), &pod("x", value)).await.expect("create");
        names.push(made.name_any());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
    assert!(names.iter().all(|name| name.len() == 9));
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: from-yaml}\nspec:\n  containers: [{name: a, image: b}]\n";
    let (code, made) = rig.raw("POST", PODS, "application/yaml", yaml).await;
    assert_eq!((code, &made["metadata"]["name"]), (201, &Value::from("from-yaml")));
}

#[tokio::test]
async fn names_that_are_no_path_segments_are_refused() {
    let rig = Rig::new();
    for name in ["", "a/b", "..", "a%2fb"] {
        let body = json!({"metadata": {"name": name}}).to_string();
        let (code, status) = rig.raw("POST", "/api/v1/namespaces/default/configmaps", "application/json", &body).await;
        assert_eq!(
            (code, &status["details"]["causes"][0]["field"]),
            (422, &json!("metadata.name")),
            "{name}: {status}"
        );
    }
}

#[tokio::test]
async fn a_body_over_three_mebibytes_is_too_large() {
    let rig = Rig::new();
    let (code, status) = rig.raw("POST", PODS, "application/json", &" ".repeat(3 * 1024 * 1024 + 1)).await;
    assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
}

#[tokio::test]
async fn an_object_over_one_and_a_half_mebibytes_is_too_large_however_it_grew() {
    let rig = Rig::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(rig.client.clone());
    let piece = "x".repeat(800_000);
    let map = json!({"metadata": {"name": "a"}, "data": {"one": piece}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).expect("map")).await.expect("create");
    let grow = Patch::Merge(json!({"data": {"two": piece}}));
    let answer = refusal(maps.patch("a", &PatchParams::default(), &grow).await);
    assert!(answer.starts_with("413 RequestEntityTooLarge") || answer.starts_with("422 Invalid"), "{answer}");
}

#[tokio::test]
async fn patches_without_a_version_never_conflict() {
    let rig = Rig::new();
    rig.pod("a", json!({})).await;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let pods = rig.pods();
            tokio::spawn(async move {
                for round in 0..10 {
                    let patch = Patch::Merge(json!({"metadata": {"annotations": {format!("t{task}-{round}"): "x"}}}));
                    pods.patch("a", &PatchParams::default(), &patch).await.expect("patch");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
    assert_eq!(rig.pods().get("a").await.expect("get").annotations().len(), 160);
}
