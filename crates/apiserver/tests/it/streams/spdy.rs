//! SPDY/3.1, byte by byte, with a client that compresses nothing.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Listening, Upgrade};

/// A client that writes and reads frames itself.
struct Connection {
    upgrade: Upgrade,
    opened: u32,
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Reply(u32),
    Data(u32, String),
    End(u32),
    Reset(u32),
    Ping(u32),
}

impl Connection {
    async fn open(listening: &Listening, path: &str, protocol: &str) -> Self {
        let headers = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)];
        let upgrade = listening.request(path, &headers).await.expect("upgrade");
        assert_eq!(upgrade.headers["x-stream-protocol-version"], protocol.rsplit(", ").next().expect("name"));
        Self { upgrade, opened: 0 }
    }

    /// Opens a stream with these headers and returns its number.
    async fn stream(&mut self, headers: &[(&str, &str)]) -> u32 {
        let first = self.opened == 0;
        self.opened += 1;
        let stream = 2 * self.opened - 1;
        let mut block = u32::try_from(headers.len()).expect("few").to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&u32::try_from(text.len()).expect("short").to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        let length = u16::try_from(block.len()).expect("short");
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0; 6]);
        payload.extend_from_slice(if first { b"\x78\x01" } else { b"" });
        payload.push(0);
        payload.extend_from_slice(&length.to_le_bytes());
        payload.extend_from_slice(&(!length).to_le_bytes());
        payload.extend_from_slice(&block);
        payload.extend_from_slice(b"\x00\x00\x00\xff\xff");
        self.control(1, &payload).await;
        stream
    }

    async fn accepted(&mut self, headers: &[(&str, &str)]) -> u32 {
        let stream = self.stream(headers).await;
        assert_eq!(self.next().await, Some(Frame::Reply(stream)));
        stream
    }

    async fn control(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![0x80, 3, 0, kind, 0, 0, 0, u8::try_from(payload.len()).expect("short")];
        frame.extend_from_slice(payload);
        self.upgrade.io.write_all(&frame).await.expect("send");
    }

    async fn data(&mut self, stream: u32, data: &[u8], fin: bool) {
        let mut frame = stream.to_be_bytes().to_vec();
        frame.push(u8::from(fin));
        frame.extend_from_slice(&u32::try_from(data.len()).expect("short").to_be_bytes()[1..]);
        frame.extend_from_slice(data);
        self.upgrade.io.write_all(&frame).await.expect("send");
    }

    async fn next(&mut self) -> Option<Frame> {
        let io = &mut self.upgrade.io;
        let start = io.read_u32().await.ok()?;
        let length = io.read_u32().await.expect("length");
        let mut payload = vec![0; (length & 0x00ff_ffff) as usize];
        io.read_exact(&mut payload).await.expect("payload");
        if start & 1 << 31 == 0 {
            let end = length >> 24 == 1;
            assert!(!end || payload.is_empty());
            return Some(if end {
                Frame::End(start)
            } else {
                Frame::Data(start, String::from_utf8(payload).expect("text"))
            });
        }
        let number = u32::from_be_bytes(payload[..4].try_into().expect("number"));
        match start & 0xffff {
            2 => Some(Frame::Reply(number)),
            3 => Some(Frame::Reset(number)),
            6 => Some(Frame::Ping(number)),
            kind => panic!("unexpected frame {kind}"),
        }
    }

    /// The contents of streams until each of these has ended.
    async fn until_end<const N: usize>(&mut self, streams: [u32; N]) -> [String; N] {
        let mut contents: BTreeMap<u32, (String, bool)> = BTreeMap::new();
        while !streams.iter().all(|stream| contents.get(stream).is_some_and(|(_, ended)| *ended)) {
            match self.next().await.expect("frame") {
                Frame::Data(stream, text) => contents.entry(stream).or_default().0.push_str(&text),
                Frame::End(stream) => contents.entry(stream).or_default().1 = true,
                other @ (Frame::Reply(_) | Frame::Reset(_) | Frame::Ping(_)) => panic!("unexpected {other:?}"),
            }
        }
        streams.map(|stream| contents.remove(&stream).map(|(text, _)| text).unwrap_or_default())
    }
}

fn typed(kind: &str) -> [(&'static str, &str); 1] {
    [("streamtype", kind)]
}

#[tokio::test]
async fn each_stream_of_a_command_has_its_own_end() {
    let listening = Listening::new().await;
    let path = "web/exec?command=cat&stdin=1&stdout=1&stderr=1";
    let mut connection = Connection::open(&listening, path, "v9.channel.k8s.io, v4.channel.k8s.io").await;
    let error = connection.accepted(&typed("error")).await;
    connection.control(6, &7_u32.to_be_bytes()).await;
    assert_eq!(connection.next().await, Some(Frame::Ping(7)));
    let wrong = connection.stream(&typed("else")).await;
    assert_eq!(connection.next().await, Some(Frame::Reset(wrong)));
    let again = connection.stream(&typed("error")).await;
    assert_eq!(connection.next().await, Some(Frame::Reset(again)));
    let stdin = connection.accepted(&typed("stdin")).await;
    let stdout = connection.accepted(&typed("stdout")).await;
    let stderr = connection.accepted(&typed("stderr")).await;
    connection.data(stdin, b"hello", false).await;
    assert_eq!(connection.next().await, Some(Frame::Data(stdout, "hello".to_owned())));
    connection.data(stdin, b" world", true).await;
    let status = r#"{"metadata":{},"status":"Success"}"#;
    let found = connection.until_end([stdout, stderr, error]).await;
    assert_eq!(found, [" world", "", status]);
}

#[tokio::test]
async fn a_terminal_is_resized_from_version_3_on_and_statuses_begin_with_4() {
    let listening = Listening::new().await;
    let path = "web/exec?command=sizes&command=1&stdout=1&tty=1";
    for (protocol, want) in [("v5.channel.k8s.io", r#"{"metadata":{},"status":"Success"}"#), ("v3.channel.k8s.io", "")]
    {
        let mut connection = Connection::open(&listening, path, protocol).await;
        let error = connection.accepted(&typed("error")).await;
        let stdout = connection.accepted(&typed("stdout")).await;
        let resize = connection.accepted(&typed("resize")).await;
        connection.data(resize, b"{\"Width\":80,\"Height\":24}\n", false).await;
        assert_eq!(connection.until_end([stdout, error]).await, ["80x24\n", want]);
    }
    let path = "web/exec?command=exit&command=3&stdout=1&tty=1";
    let mut connection = Connection::open(&listening, path, "v2.channel.k8s.io").await;
    let error = connection.accepted(&typed("error")).await;
    let stdout = connection.accepted(&typed("stdout")).await;
    let text = "command terminated with non-zero exit code: command terminated with exit code 3";
    assert_eq!(connection.until_end([stdout, error]).await, ["", text]);
}

#[tokio::test]
async fn connections_to_ports_are_independent_of_each_other() {
    let listening = Listening::new().await;
    let mut connection = Connection::open(&listening, "web/portforward", "portforward.k8s.io").await;
    let pair = |kind, port, request| [("streamtype", kind), ("port", port), ("requestid", request)];
    let slow_error = connection.accepted(&pair("error", "7", "0")).await;
    let slow = connection.accepted(&pair("data", "7", "0")).await;
    let time_error = connection.accepted(&pair("error", "13", "1")).await;
    connection.data(slow, b"hello", false).await;
    assert_eq!(connection.next().await, Some(Frame::Data(slow, "hello".to_owned())));
    let time = connection.accepted(&pair("data", "13", "1")).await;
    assert_eq!(connection.until_end([time, time_error]).await, ["12:00\n", ""]);
    // The half that is still open goes on; its end reaches the pod, whose answer comes back.
    connection.data(slow, b"more", true).await;
    assert_eq!(connection.until_end([slow, slow_error]).await, ["more[end]", ""]);
    // Nobody listens: the error stream says so.
    let error = connection.accepted(&pair("error", "99", "2")).await;
    let data = connection.accepted(&pair("data", "99", "2")).await;
    let [nothing, text] = connection.until_end([data, error]).await;
    assert_eq!(nothing, "");
    assert!(text.starts_with("error forwarding port 99 to pod web, uid ") && text.ends_with("refused"), "{text}");
}

#[tokio::test]
async fn streams_are_paired_by_number_for_old_clients_and_wrong_ones_are_refused() {
    let listening = Listening::new().await;
    let mut connection = Connection::open(&listening, "web/portforward", "portforward.k8s.io").await;
    for headers in [
        &[("streamtype", "data")][..],
        &[("streamtype", "data"), ("port", "0")],
        &[("streamtype", "data"), ("port", "70000")],
        &[("streamtype", "stdin"), ("port", "7")],
        &[("port", "7")],
    ] {
        let stream = connection.stream(headers).await;
        assert_eq!(connection.next().await, Some(Frame::Reset(stream)), "{headers:?}");
    }
    let error = connection.accepted(&[("streamtype", "error"), ("port", "13")]).await;
    let data = connection.stream(&[("streamtype", "data"), ("port", "13")]).await;
    assert_eq!(connection.next().await, Some(Frame::Reply(data)));
    assert_eq!(connection.until_end([data, error]).await, ["12:00\n", ""]);
}

#[tokio::test]
async fn a_connection_that_is_given_up_ends_with_its_error_stream() {
    let listening = Listening::new().await;
    let mut connection = Connection::open(&listening, "web/portforward", "portforward.k8s.io").await;
    let error = connection.accepted(&[("streamtype", "error"), ("port", "9"), ("requestid", "a")]).await;
    let data = connection.accepted(&[("streamtype", "data"), ("port", "9"), ("requestid", "a")]).await;
    connection.control(3, &[&data.to_be_bytes()[..], &5_u32.to_be_bytes()].concat()).await;
    assert_eq!(connection.until_end([error]).await, [""]);
}

#[tokio::test]
async fn a_process_is_let_go_when_its_client_goes_away() {
    let listening = Listening::new().await;
    let path = "web/exec?command=sleep&stdin=1";
    for leave in [&[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], b"\x80\x02what is this?"] {
        let mut connection = Connection::open(&listening, path, "v4.channel.k8s.io").await;
        connection.accepted(&typed("error")).await;
        connection.accepted(&typed("stdin")).await;
        connection.upgrade.io.write_all(leave).await.expect("send");
        listening.node.let_go.notified().await;
        assert_eq!(connection.next().await, None);
    }
    drop(Connection::open(&listening, path, "v4.channel.k8s.io").await);
    listening.node.let_go.notified().await;
}
