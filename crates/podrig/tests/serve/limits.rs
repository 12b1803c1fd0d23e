//! Slow, broken and hostile clients: they are cut off, and others do not notice.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    client::{self, Client, Tls},
    common::server::Server,
};

/// Longer than the server waits for a first request, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects; reads give up after a while.
fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Connects with TLS, as nobody.
fn secure(server: &Server) -> Tls {
    let stream = client::connect(&server.kubeconfig(), Client::Nobody).unwrap();
    stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the server closes the connection; returns what came. It must close it in time.
fn rest(mut stream: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server keeps the connection"),
            // A reset, or TLS that ends without a farewell.
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn silent_slow_and_broken_clients_are_cut_off_while_others_are_served() {
    let server = Server::start();
    let silent = connect(&server);
    let mut half_a_handshake = connect(&server);
    half_a_handshake.write_all(&[22, 3, 1, 2]).unwrap();
    let mut garbage = connect(&server);
    garbage.write_all(&[0; 4096]).unwrap();
    let mut plain = connect(&server);
    plain.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut no_request = secure(&server);
    no_request.flush().unwrap();
    let mut half_a_head = secure(&server);
    half_a_head.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
    let mut half_a_preface = secure(&server);
    half_a_preface.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    let mut half_a_body = secure(&server);
    half_a_body.write_all(b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{").unwrap();
    half_a_body.sock.shutdown(Shutdown::Write).unwrap();
    let start = Instant::now();
    server.run(&["get", "--raw", "/readyz"]);
    assert!(start.elapsed() < Duration::from_secs(5), "others had to wait for {:?}", start.elapsed());
    for stream in [silent, half_a_handshake, garbage, plain] {
        rest(stream);
    }
    for stream in [no_request, half_a_head, half_a_preface, half_a_body] {
        rest(stream);
    }
}

#[test]
fn more_clients_than_there_is_room_for_wait_until_the_silent_ones_are_cut_off() {
    let server = Server::start();
    let silent: Vec<TcpStream> = (0..1100).map(|_| connect(&server)).collect();
    server.run(&["get", "--raw", "/readyz"]);
    drop(silent);
    server.run(&["get", "--raw", "/readyz"]);
}

#[test]
fn heads_and_bodies_have_a_largest_size() {
    let server = Server::start();
    let mut long_head = secure(&server);
    let head = format!("GET /version HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // The server may close the connection before it has everything.
    let _ = long_head.write_all(head.as_bytes());
    let answer = rest(long_head);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let path = server.sealed.root.path().join("large.json");
    std::fs::write(&path, format!(r#"{{"data": {{"a": "{}"}}}}"#, "x".repeat(4 << 20))).unwrap();
    let create = ["create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", path.to_str().unwrap()];
    let output = server.kubectl().args(create).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("Request entity too large: limit is 3145728"), "{text}");
    server.run(&["get", "--raw", "/readyz"]);
}

#[test]
fn watches_end_in_order_when_the_server_ends() {
    let mut server = Server::start();
    let mut watch = server.kubectl();
    watch.args([
        "get",
        "--raw",
        "/api/v1/pods?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    ]);
    let mut watch = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    watch.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let start = Instant::now();
    server.terminate();
    assert!(watch.wait().unwrap().success(), "the watch did not end, it broke");
    assert!(start.elapsed() < Duration::from_secs(4), "the server took {:?} to end", start.elapsed());
}
