//! WebSockets, byte by byte: the parts of the protocol that no library client of ours uses.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Listening, Upgrade};

/// A client that writes and reads frames itself.
struct Socket {
    upgrade: Upgrade,
}

impl Socket {
    async fn open(listening: &Listening, path: &str, protocol: Option<&str>) -> Self {
        let mut headers = vec![
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        headers.extend(protocol.map(|name| ("sec-websocket-protocol", name)));
        let upgrade = listening.request(path, &headers).await.expect("upgrade");
        assert_eq!(upgrade.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let chosen = upgrade.headers.get("sec-websocket-protocol").map(|value| value.to_str().expect("text"));
        assert_eq!(chosen, protocol.map(|names| names.rsplit(", ").next().expect("name")));
        Self { upgrade }
    }

    /// Sends a short frame; `start` is its first byte.
    async fn send(&mut self, start: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).expect("short");
        let mut frame = vec![start, 0x80 | length, 1, 2, 3, 4];
        frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.upgrade.io.write_all(&frame).await.expect("send");
    }

    /// The next frame: its first byte and its payload; `None` at the end.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let io = &mut self.upgrade.io;
        let start = io.read_u8().await.ok()?;
        let length = match io.read_u8().await.expect("length") {
            126 => u64::from(io.read_u16().await.expect("length")),
            127 => io.read_u64().await.expect("length"),
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).expect("length")];
        io.read_exact(&mut payload).await.expect("payload");
        Some((start, payload))
    }

    /// Everything until the end as text: `channel "content"`, or the first byte of other frames.
    async fn rest(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some((start, payload)) = self.next().await {
            frames.push(match (start, payload.split_first()) {
                (0x82, Some((channel, rest))) => format!("{channel} {}", String::from_utf8_lossy(rest)),
                (0x81, Some(_)) => String::from_utf8(payload).expect("text"),
                _ => format!("{start:#x} {payload:?}"),
            });
            if start == 0x88 {
                self.send(0x88, &payload_of_close()).await;
            }
        }
        frames
    }
}

fn payload_of_close() -> Vec<u8> {
    1000_u16.to_be_bytes().to_vec()
}

const CAT: &str = "web/exec?command=cat&stdin=1&stdout=1";

#[tokio::test]
async fn version_5_closes_input_and_the_status_comes_last() {
    let listening = Listening::new().await;
    let mut socket = Socket::open(&listening, CAT, Some("v5.channel.k8s.io")).await;
    assert_eq!(socket.next().await, Some((0x82, vec![1])), "an empty message says that the connection stands");
    // One message in three frames with a ping in between; then the end of channel 0.
    socket.send(0x02, b"\x00he").await;
    socket.send(0x89, b"there?").await;
    socket.send(0x00, b"").await;
    socket.send(0x80, b"llo").await;
    let (mut heard, mut answered) = (Vec::new(), false);
    while heard != b"hello" || !answered {
        match socket.next().await.expect("frame") {
            (0x82, message) => heard.extend_from_slice(&message[1..]),
            (start, payload) => answered = (start, &payload[..]) == (0x8a, b"there?"),
        }
    }
    socket.send(0x82, b"\xff\x00").await;
    let status = r#"3 {"metadata":{},"status":"Success"}"#;
    assert_eq!(socket.rest().await, [status, "0x88 [3, 232]"]);
}

#[tokio::test]
async fn old_versions_tell_failures_as_text_and_success_by_silence() {
    let listening = Listening::new().await;
    let failed = "command terminated with non-zero exit code: command terminated with exit code 7";
    let path = "web/exec?command=exit&command=7&stdout=1";
    let close = "0x88 [3, 232]";
    for protocol in [None, Some("channel.k8s.io")] {
        let mut socket = Socket::open(&listening, path, protocol).await;
        assert_eq!(socket.rest().await, ["1 ", &format!("3 {failed}"), close]);
    }
    let mut socket = Socket::open(&listening, path, Some("base64.channel.k8s.io")).await;
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, failed);
    assert_eq!(socket.rest().await, ["1", &format!("3{encoded}"), close]);
    let mut socket = Socket::open(&listening, "web/exec?command=exit&command=0&stderr=1", None).await;
    assert_eq!(socket.rest().await, ["2 ", close]);
}

#[tokio::test]
async fn encoded_channels_work_both_ways() {
    let listening = Listening::new().await;
    let mut socket = Socket::open(&listening, CAT, Some("x, v4.base64.channel.k8s.io")).await;
    assert_eq!(socket.next().await, Some((0x81, b"1".to_vec())));
    socket.send(0x81, b"0aGVsbG8=").await;
    assert_eq!(socket.next().await, Some((0x81, b"1aGVsbG8=".to_vec())));
}

#[tokio::test]
async fn a_command_that_cannot_start_is_told_on_the_error_channel() {
    let listening = Listening::new().await;
    let mut socket = Socket::open(&listening, "web/exec?command=fail&stdout=1", Some("v4.channel.k8s.io")).await;
    let frames = socket.rest().await;
    let status: serde_json::Value = serde_json::from_str(frames[1].trim_start_matches("3 ")).expect("status");
    assert_eq!((status["reason"].as_str(), status["code"].as_u64()), (Some("InternalError"), Some(500)));
    assert_eq!(
        status["message"],
        "Internal error occurred: error executing command in container: exec: \"fail\": executable file not found in \
         $PATH"
    );
}

#[tokio::test]
async fn a_slow_client_gets_all_output_before_the_status() {
    let listening = Listening::new().await;
    const BYTES: usize = 20 * 1024 * 1024;
    let path = format!("web/exec?command=flood&command={BYTES}&stdout=1");
    let mut socket = Socket::open(&listening, &path, Some("v4.channel.k8s.io")).await;
    // What it sends meanwhile does no harm.
    socket.send(0x82, b"\x00nobody reads this").await;
    let (mut received, mut last) = (0, Vec::new());
    while let Some((start, payload)) = socket.next().await {
        match (start, payload[0]) {
            (0x82, 1) => received += payload.len() - 1,
            (0x82, 3) => last = payload,
            _ => break,
        }
        // The kernel's buffers are full all the time.
        tokio::task::yield_now().await;
    }
    assert_eq!(received, BYTES);
    assert_eq!(last, b"\x03{\"metadata\":{},\"status\":\"Success\"}");
}

#[tokio::test]
async fn a_process_is_let_go_when_its_client_closes_or_vanishes() {
    let listening = Listening::new().await;
    let path = "web/exec?command=sleep&stdin=1&stdout=1";
    let mut socket = Socket::open(&listening, path, None).await;
    socket.send(0x88, &payload_of_close()).await;
    assert_eq!(socket.rest().await.pop().expect("farewell"), "0x88 [3, 232]");
    listening.node.let_go.notified().await;
    drop(Socket::open(&listening, path, None).await);
    listening.node.let_go.notified().await;
    // One that writes much and takes no input, to a client that reads nothing.
    let socket = Socket::open(&listening, "web/exec?command=hang&stdin=1&stdout=1", None).await;
    drop(socket);
    listening.node.let_go.notified().await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_and_left() {
    let listening = Listening::new().await;
    let mut socket = Socket::open(&listening, CAT, None).await;
    socket.upgrade.io.write_all(b"\x82\x01x").await.expect("unmasked");
    assert_eq!(socket.rest().await, ["1 ", "0x88 [3, 234]"]);
}
