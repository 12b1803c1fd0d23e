//! Exec, attach and port-forward over TCP, with clients of all kinds and a node that plays processes.

mod kubectl;
mod library;
mod node;
mod refusals;
mod spdy;
mod websocket;

use std::sync::Arc;

use apiserver::NodeProxy;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use tokio::net::TcpStream;

use crate::kubectl::Kubectl;
use crate::support::{Rig, assigned};
use node::Node;

/// A server that listens, with the pod `web` on its node.
struct Listening {
    rig: Rig,
    node: Arc<Node>,
    kubectl: Kubectl,
}

impl Listening {
    async fn new() -> Self {
        let rig = Rig::new();
        let node = Arc::new(Node::default());
        rig.server.set_node_proxy(Arc::clone(&node) as Arc<dyn NodeProxy>);
        rig.pod("web", assigned()).await;
        let path = "/api/v1/namespaces/default/pods/web/status";
        rig.raw("PATCH", path, "application/merge-patch+json", r#"{"status": {"phase": "Running"}}"#).await;
        let kubectl = Kubectl::new(&rig.server).await;
        Self { rig, node, kubectl }
    }

    /// A `kube` client that comes through the socket.
    fn client(&self) -> Client {
        let config = Config::new(format!("http://{}", self.kubectl.address).parse().expect("uri"));
        Client::try_from(config).expect("client")
    }

    /// Sends a request on a subresource of `web` and returns code, headers and body of a refusal, or the connection.
    async fn request(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Upgrade, (u16, http::HeaderMap, String)> {
        use http_body_util::BodyExt;
        let stream = TcpStream::connect(self.kubectl.address).await.expect("connect");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("handshake");
        tokio::spawn(connection.with_upgrades());
        let mut request = http::Request::get(format!("/api/v1/namespaces/default/pods/{path}")).header("host", "test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).expect("request");
        let mut response = sender.send_request(request).await.expect("response");
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            let io = hyper::upgrade::on(&mut response).await.expect("upgrade");
            return Ok(Upgrade { headers: response.headers().clone(), io: TokioIo::new(io) });
        }
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.expect("body").to_bytes();
        Err((code, headers, String::from_utf8(body.to_vec()).expect("text")))
    }
}

/// An upgraded connection, at the client.
#[derive(Debug)]
struct Upgrade {
    headers: http::HeaderMap,
    io: TokioIo<Upgraded>,
}
