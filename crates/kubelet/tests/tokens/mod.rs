//! The token that a pod finds in its containers.

use std::path::Path;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{FakeRuntime, PATIENCE, Rig, container};

fn read(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("token")).expect("always there")
}

/// Asks the API server whose token it is.
async fn review(rig: &Rig, token: String) -> TokenReview {
    let reviews: Api<TokenReview> = Api::all(rig.client.clone());
    let review =
        TokenReview { spec: TokenReviewSpec { token, ..TokenReviewSpec::default() }, ..TokenReview::default() };
    reviews.create(&PostParams::default(), &review).await.expect("reviewed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_finds_a_token_that_proves_who_it_is_and_a_restarted_agent_renews_it() {
    let mut rig = Rig::new(FakeRuntime::new([])).await;
    rig.create(json!({"containers": [container("main")]})).await;
    rig.until_phase("Running").await;
    let mount = rig.runtime.config("main").expect("created").mounts[0].clone();
    let cri::MountSource::Host(dir) = mount.source else { panic!("not a directory") };
    assert!(mount.read_only);
    assert_eq!(std::fs::read_to_string(dir.join("namespace")).expect("read"), "default");
    assert_eq!(std::fs::read_to_string(dir.join("ca.crt")).expect("read"), "", "no listener, no certificate");

    let first = read(&dir);
    let status = review(&rig, first.clone()).await.status.expect("a status");
    assert_eq!(status.authenticated, Some(true), "{status:?}");
    let user = status.user.expect("a user");
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:default"));
    let extra = user.extra.expect("facts");
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(extra["authentication.kubernetes.io/node-name"], ["node1"]);

    rig.restart().await;
    let renewed = async {
        while read(&dir) == first {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("in time");
    assert_eq!(review(&rig, read(&dir)).await.status.expect("a status").authenticated, Some(true));
}
