//! Random requests: no panic, no internal error, no broken state.

use proptest::prelude::*;
use serde_json::json;

use crate::support::Rig;

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "api", "apis", "v1", "batch", "namespaces", "default", "pods", "jobs", "cronjobs", "nodes", "a", "status",
            "binding", "eviction", "log", "finalize", "watch", "events", "ephemeralcontainers", "resize", "configmaps",
            "leases", "coordination.k8s.io", "", "%2e%2e", "%ff", "none",
        ])
        .prop_map(str::to_owned),
        1 => "[a-zA-Z0-9%._~-]{0,12}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let free = prop::collection::vec(segment(), 0..9).prop_map(|parts| format!("/{}", parts.join("/")));
    let near = prop::sample::select(vec![
        "/api/v1/namespaces/default/pods",
        "/api/v1/namespaces/default/pods/a",
        "/api/v1/namespaces/default/pods/a/status",
        "/api/v1/namespaces/default/pods/a/binding",
        "/api/v1/namespaces/default/pods/a/eviction",
        "/api/v1/namespaces/default/pods/a/log",
        "/api/v1/namespaces/default/pods/a/ephemeralcontainers",
        "/api/v1/namespaces/default/pods/a/resize",
        "/apis/batch/v1/namespaces/default/jobs",
        "/apis/batch/v1/namespaces/default/jobs/a",
        "/apis/batch/v1/namespaces/default/cronjobs",
        "/api/v1/namespaces",
        "/api/v1/namespaces/x/finalize",
        "/api/v1/nodes/a/status",
        "/apis/coordination.k8s.io/v1/namespaces/default/leases/a",
        "/openapi/v3/apis/batch/v1",
    ])
    .prop_map(str::to_owned);
    prop_oneof![free, near]
}

fn query() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "limit",
        "continue",
        "resourceVersion",
        "resourceVersionMatch",
        "labelSelector",
        "fieldSelector",
        "dryRun",
        "fieldValidation",
        "gracePeriodSeconds",
        "propagationPolicy",
        "timeoutSeconds",
        "sendInitialEvents",
        "container",
        "tailLines",
        "sinceTime",
        "orphanDependents",
        "allowWatchBookmarks",
        "fieldManager",
        "force",
        "hash",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "1",
            "0",
            "-1",
            "All",
            "Exact",
            "NotOlderThan",
            "true",
            "Strict",
            "Orphan",
            "Foreground",
            "a=b",
            "metadata.name=a",
            "99999999999999999999",
            "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIifQ",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,16}".prop_map(|text| text.replace(['#', ' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}'], "%7b")),
    ];
    prop::collection::vec((key, value), 0..4)
        .prop_map(|pairs| pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&"))
}

/// JSON that looks like objects here and there.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|one| json!(one)),
        any::<i64>().prop_map(|one| json!(one)),
        prop::sample::select(vec![
            "", "a", "v1", "Pod", "Job", "batch/v1", "default", "Never", "1", "-5", "x/y", "100m"
        ])
        .prop_map(|one| json!(one)),
        "\\PC{0,8}".prop_map(|one| json!(one)),
    ];
    let key = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "namespace",
        "spec",
        "status",
        "containers",
        "initContainers",
        "image",
        "restartPolicy",
        "template",
        "labels",
        "annotations",
        "finalizers",
        "uid",
        "resourceVersion",
        "generateName",
        "deletionTimestamp",
        "ownerReferences",
        "schedule",
        "jobTemplate",
        "target",
        "deleteOptions",
        "preconditions",
        "gracePeriodSeconds",
        "propagationPolicy",
        "phase",
        "conditions",
        "type",
        "op",
        "path",
        "value",
        "from",
        "$patch",
        "containerStatuses",
        "resources",
        "limits",
        "nodeName",
        "terminationGracePeriodSeconds",
        "managedFields",
        "fieldsV1",
        "f:spec",
        "k:{\"name\":\"a\"}",
        "ports",
        "containerPort",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..8).prop_map(|map| json!(map)),
        ]
    })
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => value().prop_map(|value| value.to_string()),
        2 => value().prop_map(|more| {
            let mut whole = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {
                "containers": [{"name": "a", "image": "b"}]}});
            apimachinery::patch::merge(&mut whole, &more);
            whole.to_string()
        }),
        1 => "\\PC{0,40}",
        1 => Just(String::new()),
        1 => (1usize..3000).prop_map(|depth| "[".repeat(depth)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_requests_breaks_the_server(requests in prop::collection::vec(
        (
            prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
            path(),
            query(),
            prop::sample::select(vec![
                "application/json", "application/merge-patch+json", "application/strategic-merge-patch+json",
                "application/json-patch+json", "application/yaml", "application/apply-patch+yaml", "",
            ]),
            body(),
        ),
        1..12,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let rig = Rig::new();
            rig.pod("a", json!({"spec": {"nodeName": "n"}})).await;
            for (method, path, query, media_type, body) in &requests {
                let uri = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
                let request = http::Request::builder()
                    .method(*method)
                    .uri(&uri)
                    .header("content-type", *media_type)
                    .body(http_body_util::Full::new(bytes::Bytes::from(body.clone())));
                let Ok(request) = request else { continue };
                // Watches do not end; their beginning is enough.
                let response = tower::ServiceExt::oneshot(rig.server.service(), request).await.expect("infallible");
                prop_assert!(response.status().as_u16() >= 200, "{uri}");
                // What an apply says besides its type has no better code in Kubernetes.
                let applies = media_type.contains("apply");
                prop_assert!(response.status().as_u16() != 500 || applies, "{} {} {}", method, uri, body);
            }
            // Whatever happened, the server still works and its objects can be read.
            let (code, list) = rig.raw("GET", "/api/v1/pods", "", "").await;
            prop_assert_eq!(code, 200);
            for item in list["items"].as_array().expect("items") {
                prop_assert!(item["metadata"]["uid"].is_string());
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_sequence_of_applies_breaks_an_object(
        applies in prop::collection::vec((prop::sample::select(vec!["a", "b"]), any::<bool>(), value()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let rig = Rig::new();
            for (manager, force, more) in &applies {
                let mut body = json!({"apiVersion": "v1", "kind": "Pod", "spec": {
                    "containers": [{"name": "a", "image": "b", "ports": [{"containerPort": 1}]}]}});
                apimachinery::patch::merge(&mut body, more);
                apimachinery::patch::merge(&mut body, &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}));
                let uri = format!("/api/v1/namespaces/default/pods/a?fieldManager={manager}&force={force}");
                let (code, answer) = rig.raw("PATCH", &uri, "application/apply-patch+yaml", &body.to_string()).await;
                let known = answer["message"].as_str().unwrap_or_default().starts_with("failed to create typed patch object");
                prop_assert!(matches!(code, 200 | 201 | 400 | 409 | 422) || (code == 500 && known), "{} {}", body, answer);
                if code < 300 {
                    prop_assert!(answer["metadata"]["managedFields"].is_array(), "{}", answer);
                }
            }
            Ok(())
        })?;
    }
}
