//! OpenAPI documents, and what `kubectl` makes of them.

use serde_json::json;

use crate::kubectl::Kubectl;
use crate::support::Rig;

#[tokio::test]
async fn documents_are_found_by_their_hash_and_kept_by_clients() {
    let rig = Rig::new();
    let (code, index) = rig.raw("GET", "/openapi/v3", "", "").await;
    let url = index["paths"]["apis/batch/v1"]["serverRelativeURL"].as_str().expect("url").to_owned();
    assert_eq!(code, 200);
    let (code, document) = rig.raw("GET", &url, "", "").await;
    assert_eq!((code, &document["openapi"]), (200, &json!("3.0.0")));
    assert_eq!(rig.raw("GET", "/openapi/v3/apis/batch/v1?hash=0", "", "").await.0, 301);
    assert_eq!(rig.raw("GET", "/openapi/v3/apis/none/v1", "", "").await.0, 404);
    assert_eq!(rig.raw("POST", "/openapi/v3", "", "").await.0, 405);
    let hash = url.rsplit('=').next().expect("hash");
    let request = http::Request::builder()
        .uri("/openapi/v3/apis/batch/v1")
        .header("if-none-match", format!("\"{hash}\""))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .expect("request");
    let response = tower::ServiceExt::oneshot(rig.server.service(), request).await.expect("infallible");
    assert_eq!(response.status(), 304);
    let (code, document) = rig.raw("GET", "/openapi/v2", "", "").await;
    assert_eq!((code, &document["swagger"]), (200, &json!("2.0")));
}

#[tokio::test]
async fn kubectl_explains_fields() {
    let rig = Rig::new();
    let kubectl = Kubectl::new(&rig.server).await;
    let text = kubectl.ok(&["explain", "pod.spec.initContainers.restartPolicy"]).await;
    assert!(text.contains("FIELD: restartPolicy <string>"), "{text}");
    assert!(text.contains("KIND:       Pod") && text.contains("restart behavior"), "{text}");
    let text = kubectl.ok(&["explain", "--recursive", "cronjob"]).await;
    assert!(text.contains("jobTemplate") && text.contains("ttlSecondsAfterFinished\t<integer>"), "{text}");
    let text = kubectl.ok(&["explain", "pod.spec.restartPolicy"]).await;
    assert!(text.contains("ENUM:"), "{text}");
    let text = kubectl.fails(&["explain", "pod.spec.nothing"]).await;
    assert!(text.contains("field \"nothing\" does not exist"), "{text}");
}

#[tokio::test]
async fn kubectl_tells_unknown_kinds_by_the_protobuf_document() {
    let rig = Rig::new();
    let kubectl = Kubectl::new(&rig.server).await;
    let manifest = kubectl.file("nonsense.yaml", "apiVersion: example.com/v1\nkind: Nonsense\nmetadata: {name: a}\n");
    let text = kubectl.fails(&["apply", "-f", &manifest]).await;
    assert!(text.contains("no matches for kind \"Nonsense\" in version \"example.com/v1\""), "{text}");
}

#[tokio::test]
async fn kubectl_says_which_field_is_misspelt() {
    let rig = Rig::new();
    let kubectl = Kubectl::new(&rig.server).await;
    let manifest = kubectl.file(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: a, imagee: x, image: b}]\n",
    );
    let text = kubectl.fails(&["apply", "-f", &manifest]).await;
    assert!(text.contains("unknown field \"spec.containers[0].imagee\""), "{text}");
    let text = kubectl.ok(&["apply", "--validate=warn", "-f", &manifest]).await;
    assert!(text.contains("Warning: unknown field \"spec.containers[0].imagee\""), "{text}");
    let text = kubectl.ok(&["apply", "--validate=ignore", "-f", &manifest]).await;
    assert!(text.contains("pod/a") && !text.contains("imagee"), "{text}");
    let changed = kubectl.file(
        "pod2.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: a, image: c}]\n",
    );
    let text = kubectl.fails(&["diff", "-f", &changed]).await;
    assert!(text.contains("-  - image: b") && text.contains("+  - image: c"), "{text}");
    kubectl.ok(&["apply", "-f", &changed]).await;
}
