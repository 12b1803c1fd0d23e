//! Every probe kind against servers of this process.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::Mutex,
};

use cri::ExecOutput;
use serde_json::{Value, json};

use super::*;
use crate::{
    http_client::insecure_tls,
    test_support::{ExecOnly, serve},
};

async fn probe_with(runtime: &ExecOnly, probe: Value) -> ProbeOutcome {
    let container: Container = serde_json::from_value(json!({
        "name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 80}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    }))
    .expect("a container");
    let probe: Probe = serde_json::from_value(probe).expect("a probe");
    let tls = insecure_tls().expect("tls");
    let pod_ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let target = Target { container: &container, id: &ContainerId("id".to_owned()), pod_ip, tls: &tls };
    run(runtime, &target, &probe, Duration::from_secs(1)).await
}

async fn probe(spec: Value) -> ProbeOutcome {
    probe_with(&ExecOnly::default(), spec).await
}

fn failure(output: impl Into<String>) -> ProbeOutcome {
    ProbeOutcome::Failure { output: output.into() }
}

const SUCCESS: ProbeOutcome = ProbeOutcome::Success { warning: None };

fn http(status: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{headers}\r\nhi").into_bytes()
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound").local_addr().expect("an address").port()
}

#[tokio::test]
async fn s6_18_http_statuses_are_judged() {
    for (status, want) in [
        ("200 OK", SUCCESS),
        ("204 No Content", SUCCESS),
        ("404 Not Found", failure("HTTP probe failed with statuscode: 404")),
        ("500 Internal Server Error", failure("HTTP probe failed with statuscode: 500")),
    ] {
        let answer =
            if status.starts_with("204") { b"HTTP/1.1 204 No Content\r\n\r\n".to_vec() } else { http(status, "") };
        let (address, server) = serve(vec![answer]);
        let got = probe(json!({"httpGet": {"path": "/healthz?x=1", "port": address.port()}})).await;
        assert_eq!(got, want, "{status}");
        let asked = server.join().expect("served").remove(0).to_lowercase();
        assert!(asked.starts_with("get /healthz?x=1 http/1.1\r\n"), "{asked}");
        for header in ["user-agent: kube-probe/1.36", "accept: */*", "connection: close", "host: 127.0.0.1:"] {
            assert!(asked.contains(header), "{header} in {asked}");
        }
    }
}

#[tokio::test]
async fn s6_18_headers_of_the_manifest_are_sent() {
    let (address, server) = serve(vec![http("200 OK", "")]);
    let headers = json!([{"name": "Host", "value": "example.com"}, {"name": "Accept", "value": ""},
        {"name": "User-Agent", "value": "mine"}, {"name": "X-A", "value": "1"}]);
    assert_eq!(probe(json!({"httpGet": {"port": address.port(), "httpHeaders": headers}})).await, SUCCESS);
    let asked = server.join().expect("served").remove(0).to_lowercase();
    assert!(asked.contains("host: example.com\r\n") && asked.contains("x-a: 1\r\n"), "{asked}");
    assert!(asked.contains("user-agent: mine\r\n") && !asked.contains("accept:"), "{asked}");
}

#[tokio::test]
async fn s6_18_redirects_are_followed_on_the_same_host_only() {
    let (address, server) = serve(vec![http("302 Found", "Location: /ok\r\n"), http("200 OK", "")]);
    assert_eq!(probe(json!({"httpGet": {"path": "/a", "port": address.port()}})).await, SUCCESS);
    assert!(server.join().expect("served")[1].starts_with("GET /ok "));

    let (address, _server) = serve(vec![http("301 Moved", "Location: http://example.invalid/\r\n")]);
    let got = probe(json!({"httpGet": {"path": "/", "port": address.port()}})).await;
    let warning = Some("Probe terminated redirects, Response body: hi".to_owned());
    assert_eq!(got, ProbeOutcome::Success { warning });

    let (address, _server) = serve(vec![http("302 Found", "Location: /again\r\n"); 10]);
    let got = probe(json!({"httpGet": {"path": "/", "port": address.port()}})).await;
    let url = format!("http://127.0.0.1:{}/again", address.port());
    assert_eq!(got, failure(format!("Get \"{url}\": stopped after 10 redirects")));
}

#[tokio::test]
async fn s6_18_s6_27_transport_errors_read_as_on_a_cluster() {
    let port = closed_port();
    let got = probe(json!({"httpGet": {"path": "/x", "port": port}})).await;
    let want = format!("Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(got, failure(want));

    let (address, _server) = serve(vec![Vec::new()]);
    let got = probe(json!({"httpGet": {"path": "/", "port": address.port()}})).await;
    assert_eq!(got, failure(format!("Get \"http://{address}/\": EOF")));

    let (address, _server) = serve(vec![http("200 OK", "")]);
    let got = probe(json!({"httpGet": {"path": "/", "port": address.port(), "scheme": "HTTPS"}})).await;
    assert_eq!(got, failure(format!("Get \"https://{address}/\": http: server gave HTTP response to HTTPS client")));

    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = silent.local_addr().expect("an address");
    let got = probe(json!({"httpGet": {"path": "/", "port": address.port()}})).await;
    let want = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    assert_eq!(got, failure(format!("Get \"http://{address}/\": {want}")));
}

#[tokio::test]
async fn s6_19_tcp_connects_or_says_why_not() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let open = listener.local_addr().expect("an address").port();
    assert_eq!(probe(json!({"tcpSocket": {"port": open}})).await, SUCCESS);
    let port = closed_port();
    let want = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(probe(json!({"tcpSocket": {"port": port}})).await, failure(want));
}

#[tokio::test]
async fn s6_16_an_unknown_port_name_is_an_error_not_a_failure() {
    let got = probe(json!({"tcpSocket": {"port": "nope"}})).await;
    assert!(matches!(&got, ProbeOutcome::Error { message } if message.contains("nope")), "{got:?}");
}

fn output(exit_code: i32, stdout: &str, stderr: &str, timed_out: bool) -> ExecOutput {
    ExecOutput { stdout: stdout.into(), stderr: stderr.into(), exit_code, timed_out }
}

#[tokio::test]
async fn s6_16_s6_17_exec_outcomes() {
    let spec = json!({"exec": {"command": ["check", "$(A)", "$(B)", "$(NOPE)"]}});
    let broken = || Err(cri::Error::StartFailed { message: "no such program".to_owned() });
    let error = ProbeOutcome::Error { message: "no such program".to_owned() };
    let late = "command timed out: \"check 1 $(B) $(NOPE)\" timed out after 1s";
    let cases = [
        (vec![Ok(output(0, "fine", "", false))], SUCCESS, 1),
        (vec![Ok(output(1, "out", "err", false))], failure("outerr"), 1),
        (vec![Ok(output(137, "", "", true))], failure(late), 1),
        (vec![broken(), broken(), broken()], error, 3),
        (vec![broken(), Ok(output(0, "", "", false))], SUCCESS, 2),
    ];
    for (answers, want, runs) in cases {
        let runtime = ExecOnly { answers: Mutex::new(answers), ..ExecOnly::default() };
        assert_eq!(probe_with(&runtime, spec.clone()).await, want);
        let seen = runtime.seen.lock().expect("lock");
        assert_eq!(seen.len(), runs, "{want:?}");
        assert_eq!(seen[0].command, ["check", "1", "$(B)", "$(NOPE)"], "only literal values are known");
        assert_eq!(seen[0].timeout, Some(Duration::from_secs(1)));
    }
}

/// Serves one health check over HTTP/2.
async fn serve_grpc(frame: &'static [u8], status: &'static str, message: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        let mut connection = h2::server::handshake(stream).await.expect("handshake");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let response =
                ::http::Response::builder().header("content-type", "application/grpc").body(()).expect("built");
            let mut body = respond.send_response(response, false).expect("sent");
            body.send_data(bytes::Bytes::from_static(frame), false).expect("sent");
            let mut trailers = ::http::HeaderMap::new();
            trailers.insert("grpc-status", status.parse().expect("a value"));
            trailers.insert("grpc-message", message.parse().expect("a value"));
            body.send_trailers(trailers).expect("sent");
        }
    });
    port
}

#[tokio::test]
async fn s6_20_s6_27_only_serving_is_healthy() {
    let unimplemented = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ";
    let cases: [(&[u8], &str, &str, ProbeOutcome); 5] = [
        (&[0, 0, 0, 0, 2, 8, 1], "0", "", SUCCESS),
        (&[0, 0, 0, 0, 2, 8, 2], "0", "", failure("service unhealthy (responded with \"NOT_SERVING\")")),
        (&[0, 0, 0, 0, 0], "0", "", failure("service unhealthy (responded with \"UNKNOWN\")")),
        (&[], "12", "unknown%20service", failure(format!("{unimplemented}unknown service"))),
        (&[], "5", "x", failure("error: health rpc probe failed: rpc error: code = NotFound desc = x")),
    ];
    for (frame, status, message, want) in cases {
        let port = serve_grpc(frame, status, message).await;
        assert_eq!(probe(json!({"grpc": {"port": port, "service": "s"}})).await, want);
    }
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let port = silent.local_addr().expect("an address").port();
    let want = "timeout: health rpc did not complete within 1s";
    assert_eq!(probe(json!({"grpc": {"port": port}})).await, failure(want));
    let port = closed_port();
    let want = format!("timeout: failed to connect service \"127.0.0.1:{port}\" within 1s: context deadline exceeded");
    assert_eq!(probe(json!({"grpc": {"port": port}})).await, failure(want));
}

/// Serves one answer over TLS, with a certificate for another name that nobody has signed.
async fn serve_tls() -> u16 {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("testdata/certificate.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        config.expect("versions").with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair");
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut stream = acceptor.accept(stream).await.expect("a handshake");
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.expect("read");
        assert!(length > 0);
        stream.write_all(&http("200 OK", "")).await.expect("written");
        stream.shutdown().await.expect("closed");
    });
    port
}

#[tokio::test]
async fn s6_18_certificates_are_not_verified() {
    let port = serve_tls().await;
    assert_eq!(probe(json!({"httpGet": {"path": "/", "port": port, "scheme": "HTTPS"}})).await, SUCCESS);
}
