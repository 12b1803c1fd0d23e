//! Every hook kind against servers of this process.

use std::{net::Ipv4Addr, sync::Mutex};

use cri::ExecOutput;
use serde_json::{Value, json};

use super::*;
use crate::{
    http_client::insecure_tls,
    test_support::{ExecOnly, serve},
};

async fn run_with(runtime: ExecOnly, hook: Value, limit: Option<Duration>) -> Finished {
    run_on(&Arc::new(runtime), hook, limit).await
}

async fn run_on(runtime: &Arc<ExecOnly>, hook: Value, limit: Option<Duration>) -> Finished {
    let hook: LifecycleHandler = serde_json::from_value(hook).expect("a hook");
    let container = json!({"name": "c", "image": "i"});
    let target = Target {
        container: Arc::new(serde_json::from_value(container).expect("a container")),
        id: ContainerId("id".to_owned()),
        pod_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        tls: insecure_tls().expect("tls"),
    };
    run(Arc::clone(runtime), target, &hook, limit).await
}

fn succeeded(finished: &Finished) -> bool {
    finished.outcome == HookOutcome::Succeeded
}

#[tokio::test]
async fn s7_06_a_commands_exit_code_decides() {
    for (exit_code, want) in [(0, true), (3, false)] {
        let output = ExecOutput { stdout: vec![], stderr: b"why".to_vec(), exit_code, timed_out: false };
        let runtime = Arc::new(ExecOnly { answers: Mutex::new(vec![Ok(output)]), ..ExecOnly::default() });
        let got = run_on(&runtime, json!({"exec": {"command": ["do", "$(A)"]}}), None).await;
        assert_eq!(succeeded(&got), want, "{got:?}");
        let seen = runtime.seen.lock().expect("lock");
        assert_eq!(seen.iter().map(|request| request.command.clone()).collect::<Vec<_>>(), [["do", "$(A)"]]);
        assert_eq!(seen[0].timeout, None, "s7_02: however long it takes");
    }
}

#[tokio::test]
async fn s7_07_any_http_status_is_success_and_only_transport_errors_fail() {
    let answer = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (address, server) = serve(vec![answer]);
    let hook = json!({"httpGet": {"path": "bye?x=1", "port": address.port()}});
    let got = run_with(ExecOnly::default(), hook.clone(), None).await;
    assert!(succeeded(&got) && got.http_fallback.is_none(), "{got:?}");
    let asked = server.join().expect("served").remove(0).to_lowercase();
    assert!(asked.starts_with("get /bye?x=1 ") && asked.contains("user-agent: kube-lifecycle/1.36"), "{asked}");
    assert!(!succeeded(&run_with(ExecOnly::default(), hook, None).await), "nobody listens any more");
}

#[tokio::test]
async fn s7_07_https_that_meets_http_falls_back_without_credentials() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (address, server) = serve(vec![answer.clone(), answer]);
    let headers = json!([{"name": "Authorization", "value": "secret"}, {"name": "X-A", "value": "1"}]);
    let hook = json!({"httpGet": {"path": "/", "port": address.port(), "scheme": "HTTPS", "httpHeaders": headers}});
    let got = run_with(ExecOnly::default(), hook, None).await;
    assert!(succeeded(&got) && got.http_fallback.is_some(), "{got:?}");
    let asked = server.join().expect("served").remove(1).to_lowercase();
    assert!(asked.contains("x-a: 1") && !asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn s7_08_s7_11_a_sleep_lasts_its_seconds_or_the_limit() {
    let begin = std::time::Instant::now();
    assert!(succeeded(&run_with(ExecOnly::default(), json!({"sleep": {"seconds": 1}}), None).await));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let limit = Some(Duration::from_millis(10));
    assert!(!succeeded(&run_with(ExecOnly::default(), json!({"sleep": {"seconds": 3600}}), limit).await));
    assert!(succeeded(&run_with(ExecOnly::default(), json!({"sleep": {"seconds": 0}}), limit).await));
}

#[tokio::test]
async fn s7_09_tcp_socket_hooks_fail() {
    let got = run_with(ExecOnly::default(), json!({"tcpSocket": {"port": 1}}), None).await;
    assert_eq!(got.outcome, HookOutcome::Failed { message: "invalid handler".to_owned() });
}
