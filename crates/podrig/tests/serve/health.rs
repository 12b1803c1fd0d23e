//! grpc probes of a real server: this binary, which pods find on the host, is the program that they ask.

use std::net::Ipv4Addr;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{common::server::Server, container};

/// Where the program listens; it is one only where this is set.
const PORT: &str = "HEALTH_PORT";

/// Services, and what events say of a failed run; none: the probe passes.
const SERVICES: [(&str, Option<&str>); 5] = [
    ("", None),
    ("up", None),
    ("down", Some("service unhealthy (responded with \"NOT_SERVING\")")),
    ("stranger", Some("error: health rpc probe failed: rpc error: code = NotFound desc = unknown service")),
    (
        "unknown-to-all",
        Some("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no such method"),
    ),
];

/// The program: answers for the services of [`SERVICES`] until it is killed. As a test it does nothing.
#[test]
fn program() {
    let Ok(port) = std::env::var(PORT) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = (Ipv4Addr::UNSPECIFIED, port.parse().unwrap());
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
}

async fn answer(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    let mut message = Vec::new();
    let mut body = request.into_body();
    while let Some(Ok(piece)) = body.data().await {
        message.extend(piece);
    }
    // A frame's head has five bytes, the head of its only field two.
    let service = String::from_utf8_lossy(message.get(7..).unwrap_or_default()).into_owned();
    let (frame, status, words): (&[u8], _, _) = match service.as_str() {
        "" | "up" => (&[0, 0, 0, 0, 2, 8, 1], "0", ""),
        "down" => (&[0, 0, 0, 0, 2, 8, 2], "0", ""),
        "stranger" => (&[], "5", "unknown%20service"),
        _ => (&[], "12", "no such method"),
    };
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    body.send_data(Bytes::from_static(frame), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-message", words.parse().unwrap());
    body.send_trailers(trailers).unwrap();
}

/// A pod with the program as its sidecar, and a container for each service, all at one address.
fn pod() -> Value {
    let program = std::env::current_exe().unwrap();
    let container = |(index, (service, _)): (usize, &(&str, _))| {
        json!({"name": format!("c{index}"), "image": "busybox:1.37.0", "command": ["sleep", "3600"],
            "readinessProbe": {"grpc": {"port": 50051, "service": service}, "periodSeconds": 1}})
    };
    let containers: Vec<_> = SERVICES.iter().enumerate().map(container).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rig"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "program", "hostPath": {"path": program, "type": "File"}}],
            "initContainers": [{
                "name": "server", "image": "busybox:1.37.0", "restartPolicy": "Always",
                "command": ["/program", "--exact", "health::program"],
                "env": [{"name": PORT, "value": "50051"}],
                "volumeMounts": [{"name": "program", "mountPath": "/program", "readOnly": true}],
                "startupProbe": {"grpc": {"port": 50051, "service": "up"}, "periodSeconds": 1, "failureThreshold": 60}
            }],
            "containers": containers
        }
    })
}

#[test]
fn s6_20_s6_22_a_grpc_server_is_asked_for_the_health_of_a_service() {
    let server = Server::start();
    server.apply(&pod().to_string());
    for (index, (service, failure)) in SERVICES.iter().enumerate() {
        let name = format!("c{index}");
        server.until(&format!("an answer for {service:?}"), |server| match failure {
            None => container(&server.get(&["pod/rig"]), &name)["ready"].as_bool().filter(|ready| *ready).map(drop),
            Some(message) => {
                let field = format!("involvedObject.fieldPath=spec.containers{{{name}}},reason=Unhealthy");
                let events = server.get(&["events", "--field-selector", &field]);
                let want = format!("Readiness probe failed: {message}");
                events["items"].as_array()?.iter().any(|event| event["message"] == want).then_some(())
            }
        });
    }
    let pod = server.get(&["pod/rig"]);
    assert_eq!(container(&pod, "server")["started"], true, "{pod:#}");
    for (index, (service, failure)) in SERVICES.iter().enumerate() {
        let ready = &container(&pod, &format!("c{index}"))["ready"];
        assert_eq!(*ready, failure.is_none(), "{service:?}: {pod:#}");
    }
}
