//! Discovery, index, version and health.

use serde_json::{Value, json};

use crate::support::Rig;

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

#[tokio::test]
async fn old_and_aggregated_discovery_tell_of_the_same_resources() {
    let rig = Rig::new();
    let mut aggregated = Vec::new();
    for (path, root) in [("/api", "/api"), ("/apis", "/apis")] {
        let list = rig.accepting(V2, "GET", path, "").await.1;
        assert_eq!(
            (&list["kind"], &list["apiVersion"]),
            (&json!("APIGroupDiscoveryList"), &json!("apidiscovery.k8s.io/v2"))
        );
        for group in list["items"].as_array().expect("groups") {
            for version in group["versions"].as_array().expect("versions") {
                let name = group["metadata"]["name"].as_str().map_or(String::new(), |name| format!("/{name}"));
                let old = format!("{root}{name}/{}", version["version"].as_str().expect("version"));
                let old = rig.raw("GET", &old, "", "").await.1;
                let mut names: Vec<String> = Vec::new();
                for resource in version["resources"].as_array().expect("resources") {
                    let plural = resource["resource"].as_str().expect("name");
                    names.push(plural.to_owned());
                    for part in resource["subresources"].as_array().into_iter().flatten() {
                        names.push(format!("{plural}/{}", part["subresource"].as_str().expect("name")));
                    }
                }
                let of_old = old["resources"].as_array().expect("resources").iter();
                assert_eq!(names, of_old.map(|one| one["name"].as_str().expect("name")).collect::<Vec<_>>());
                aggregated.append(&mut names);
            }
        }
    }
    for name in ["pods/log", "namespaces/finalize", "deployments/scale", "cronjobs/status", "clusterroles"] {
        assert!(aggregated.iter().any(|one| one == name), "{name}");
    }
    assert_eq!(rig.accepting(V2BETA1, "GET", "/apis", "").await.1["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    assert_eq!(rig.raw("GET", "/apis", "", "").await.1["kind"], "APIGroupList");
    assert_eq!(rig.raw("GET", "/apis/batch", "", "").await.1["preferredVersion"]["groupVersion"], "batch/v1");
}

#[tokio::test]
async fn a_client_that_has_the_aggregated_list_does_not_get_it_again() {
    let rig = Rig::new();
    let ask = async |tag: &str| {
        let request = http::Request::get("/apis").header("accept", V2).header("if-none-match", tag);
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).expect("request");
        let response = tower::ServiceExt::oneshot(rig.server.service(), request).await.expect("infallible");
        (response.status().as_u16(), response.headers()["etag"].to_str().expect("text").to_owned())
    };
    let (code, tag) = ask("").await;
    assert_eq!(code, 200);
    assert_eq!(ask(&tag).await, (304, tag));
}

#[tokio::test]
async fn index_version_and_health_are_served() {
    let rig = Rig::new();
    let index = rig.raw("GET", "/", "", "").await.1;
    for path in ["/api/v1", "/apis/apps/v1", "/readyz/ping", "/version"] {
        assert!(index["paths"].as_array().expect("paths").contains(&json!(path)), "{path}");
    }
    assert_eq!(rig.raw("GET", "/version", "", "").await.1["gitVersion"], "v1.36.2+podrig");
    assert_eq!(rig.raw_text("GET", "/livez", "", "").await, (200, "ok".to_owned()));
    assert_eq!(rig.raw_text("GET", "/readyz/ping", "", "").await, (200, "ok".to_owned()));
    let verbose = "[+]ping ok\n[+]etcd ok\nreadyz check passed\n".to_owned();
    assert_eq!(rig.raw_text("GET", "/readyz?verbose", "", "").await, (200, verbose));
    assert_eq!(rig.raw("GET", "/readyz/other", "", "").await.0, 404);
    let (code, status): (u16, Value) = rig.raw("POST", "/version", "", "").await;
    assert_eq!((code, &status["reason"]), (405, &json!("MethodNotAllowed")));
}
