//! What is refused before the upgrade is an ordinary answer.

use serde_json::json;

use super::Listening;

const WEBSOCKET: [(&str, &str); 4] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn requests_that_make_no_sense_get_a_status() {
    let listening = Listening::new().await;
    let rig = &listening.rig;
    rig.pod("waiting", json!({})).await;
    let several = json!({"spec": {"nodeName": "n", "initContainers": [{"name": "s1", "image": "b"}], "containers": [
        {"name": "a", "image": "b"}, {"name": "c", "image": "d"}
    ]}});
    rig.pod("several", several).await;
    for (path, want) in [
        ("none/exec?command=cat&stdout=1", "404 pods \"none\" not found"),
        ("waiting/exec?command=cat&stdout=1", "400 pod waiting does not have a host assigned"),
        ("waiting/portforward", "400 pod waiting does not have a host assigned"),
        ("web/exec?command=cat", "400 you must specify at least 1 of stdin, stdout, stderr"),
        ("web/attach?stderr=true&tty=true", "400 you must specify at least 1 of stdin, stdout, stderr"),
        ("web/exec?stdout=1", "400 you must specify at least one command for the container"),
        ("web/exec?stdout=1&command=cat&container=x", "400 container x is not valid for pod web"),
        (
            "several/exec?stdout=1&command=cat",
            "400 a container name must be specified for pod several, choose one of: [s1 a c]",
        ),
        ("web/exec?stdout=1&command=refuse", "404 container not found (\"app\")"),
        ("web/portforward", "400 query parameter \"ports\" is required"),
        ("web/portforward?ports=80,x", "400 unable to parse \"x\" as a port"),
        ("web/portforward?ports=0", "400 port \"0\" must be > 0"),
    ] {
        let (code, _, body) = listening.request(path, &WEBSOCKET).await.expect_err(path);
        let status: serde_json::Value = serde_json::from_str(&body).expect("status");
        assert_eq!(format!("{code} {}", status["message"].as_str().unwrap_or_default()), want, "{path}");
    }
}

#[tokio::test]
async fn requests_without_a_usable_upgrade_get_a_status() {
    let listening = Listening::new().await;
    let spdy = |version| [("connection", "upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", version)];
    let protocol = |name| [&WEBSOCKET[..], &[("sec-websocket-protocol", name)]].concat();
    for (headers, want) in [
        (vec![], "400 Upgrade request required"),
        (vec![("upgrade", "websocket")], "400 Upgrade request required"),
        (vec![("connection", "upgrade"), ("upgrade", "h2c")], "400 Upgrade request required"),
        (WEBSOCKET[..3].to_vec(), "400 websocket: 'Sec-WebSocket-Key' header must be 16 bytes in base64"),
        (
            protocol("v9.channel.k8s.io, x"),
            "403 requested protocol(s) are not supported: [v9.channel.k8s.io x]; supports [v5.channel.k8s.io \
             v4.channel.k8s.io v4.base64.channel.k8s.io channel.k8s.io base64.channel.k8s.io ]",
        ),
        (spdy("")[..2].to_vec(), "400 unable to upgrade: X-Stream-Protocol-Version is required"),
        (
            spdy("v1.x").to_vec(),
            "403 unable to upgrade: unable to negotiate protocol: client supports [v1.x], server accepts \
             [v5.channel.k8s.io v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io]",
        ),
    ] {
        let (code, answered, body) =
            listening.request("web/exec?command=cat&stdout=1", &headers).await.expect_err(want);
        let status: serde_json::Value = serde_json::from_str(&body).expect("status");
        assert_eq!(format!("{code} {}", status["message"].as_str().unwrap_or_default()), want);
        let accepted = answered.get_all("x-accepted-stream-protocol-versions").iter().count();
        assert_eq!(accepted, if want.contains("v1.x") { 4 } else { 0 });
    }
    assert!(listening.node.asked.lock().expect("asked").is_empty(), "no process is started for them");
}

#[tokio::test]
async fn a_part_of_this_process_cannot_upgrade_and_is_told() {
    let listening = Listening::new().await;
    let path = "/api/v1/namespaces/default/pods/web/exec?command=cat&stdout=1";
    assert_eq!(listening.rig.raw("GET", path, "", "").await.1["message"], "Upgrade request required");
    assert_eq!(listening.rig.raw("PUT", path, "", "").await.0, 405);
}
