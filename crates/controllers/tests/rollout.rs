//! `kubectl rollout` and its kin, as they are, against the API server and the controllers.

#![allow(clippy::unwrap_used, clippy::redundant_clone, reason = "a test fails by panicking; clones keep it readable")]

mod common;
#[path = "../../apiserver/tests/it/kubectl.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is shared with the server's own tests")]
mod kubectl;

use common::World;
use kubectl::Kubectl;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: 'v1'}]}
";

/// Columns apart by one space.
fn normal(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn kubectl_follows_undoes_pauses_resumes_and_restarts_a_rollout() {
    let world = World::running().await;
    let kubectl = Kubectl::new(&world.server).await;
    let script = async {
        let file = kubectl.file("web.yaml", WEB);
        assert_eq!(kubectl.ok(&["apply", "-f", &file]).await, "deployment.apps/web created\n");
        let done = "deployment \"web\" successfully rolled out\n";
        let status = kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=20s"]).await;
        assert!(status.ends_with(done), "{status}");
        kubectl.ok(&["set", "image", "deployment/web", "app=v2"]).await;
        kubectl.ok(&["annotate", "deployment/web", "kubernetes.io/change-cause=second"]).await;
        let status = kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=20s"]).await;
        assert!(status.ends_with(done), "{status}");
        let history = normal(&kubectl.ok(&["rollout", "history", "deployment/web"]).await);
        assert_eq!(history, "deployment.apps/web\nREVISION CHANGE-CAUSE\n1 <none>\n2 second\n");
        let first = kubectl.ok(&["rollout", "history", "deployment/web", "--revision=1"]).await;
        assert!(first.contains("Image:\tv1") && first.contains("pod-template-hash="), "{first}");
        assert_eq!(kubectl.ok(&["rollout", "undo", "deployment/web"]).await, "deployment.apps/web rolled back\n");
        kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=20s"]).await;
        let image = ["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"];
        assert_eq!(kubectl.ok(&image).await, "v1");
        let history = normal(&kubectl.ok(&["rollout", "history", "deployment/web"]).await);
        assert!(history.starts_with("deployment.apps/web\nREVISION CHANGE-CAUSE\n2 second\n3 "), "{history}");
        assert_eq!(kubectl.ok(&["rollout", "pause", "deployment/web"]).await, "deployment.apps/web paused\n");
        kubectl.ok(&["set", "image", "deployment/web", "app=v3"]).await;
        kubectl.ok(&["scale", "deployment/web", "--replicas=4"]).await;
        let images = ["get", "rs", "-o", "jsonpath={.items[*].spec.template.spec.containers[0].image}"];
        let condition = ["wait", "--for=jsonpath={.status.readyReplicas}=4", "deployment/web", "--timeout=20s"];
        kubectl.ok(&condition).await;
        assert!(!kubectl.ok(&images).await.contains("v3"), "nothing is rolled out during a pause");
        assert_eq!(kubectl.ok(&["rollout", "resume", "deployment/web"]).await, "deployment.apps/web resumed\n");
        kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=20s"]).await;
        assert!(kubectl.ok(&images).await.contains("v3"));
        assert_eq!(kubectl.ok(&["rollout", "restart", "deployment/web"]).await, "deployment.apps/web restarted\n");
        kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=20s"]).await;
        kubectl.ok(&["wait", "--for=condition=Available", "deployment/web", "--timeout=20s"]).await;
        let described = kubectl.ok(&["describe", "deployment", "web"]).await;
        for text in [
            "Available      True    MinimumReplicasAvailable",
            "Progressing    True    NewReplicaSetAvailable",
            "4 desired | 4 updated | 4 total | 4 available | 0 unavailable",
            "ScalingReplicaSet",
        ] {
            assert!(described.contains(text), "{text}: {described}");
        }
        assert_eq!(
            kubectl.ok(&["delete", "deployment", "web", "--timeout=20s"]).await,
            "deployment.apps \"web\" deleted\n"
        );
        kubectl.ok(&["wait", "--for=delete", "pods", "-l", "app=web", "--timeout=20s"]).await;
    };
    world.meanwhile(script).await;
}

#[tokio::test]
async fn kubectl_shows_the_endpoints_of_a_service() {
    let world = World::running().await;
    let kubectl = Kubectl::new(&world.server).await;
    let manifest = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: first, labels: {app: web}}
spec: {containers: [{name: app, image: i, ports: [{name: http, containerPort: 8080}]}]}
";
    let file = kubectl.file("web.yaml", manifest);
    kubectl.ok(&["apply", "-f", &file]).await;
    let pod = world.pods("bound", |pods| pods[0].spec.as_ref().unwrap().node_name.is_some()).await.remove(0);
    let status = serde_json::json!({"phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}],
        "conditions": [{"type": "Ready", "status": "True"}]});
    world.set_pod(&pod, status).await;
    let ready = "jsonpath={.endpoints[0].conditions.ready}=true";
    let wait =
        ["wait", &format!("--for={ready}"), "endpointslice", "-l", "kubernetes.io/service-name=web", "--timeout=20s"];
    kubectl.ok(&wait).await;
    let endpoints = "--for=jsonpath={.subsets[0].addresses[0].ip}=10.0.0.7";
    kubectl.ok(&["wait", endpoints, "endpoints/web", "--timeout=20s"]).await;
    assert!(kubectl.ok(&["get", "endpoints", "web"]).await.contains("10.0.0.7:8080"));
    assert!(kubectl.ok(&["describe", "service", "web"]).await.contains("10.0.0.7:8080"));
}
