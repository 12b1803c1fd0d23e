//! The real kubectl, over WebSockets and over SPDY.

use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::Listening;

/// Over WebSockets, and as older clients do it.
const TRANSPORTS: [&str; 2] = ["true", "false"];

fn command(listening: &Listening, websockets: &str, arguments: &[&str]) -> Command {
    let mut command = listening.kubectl.command(arguments);
    command
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command of kubectl with this input.
async fn kubectl(listening: &Listening, websockets: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(listening, websockets, arguments).spawn().expect("kubectl starts");
    let mut stdin = child.stdin.take().expect("stdin");
    // It need not read its input.
    let send = async {
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    tokio::join!(send, child.wait_with_output()).1.expect("output")
}

fn text(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[tokio::test]
async fn kubectl_executes_commands() {
    let listening = Listening::new().await;
    for websockets in TRANSPORTS {
        let found = kubectl(&listening, websockets, &["exec", "web", "--", "say"], b"").await;
        let want = ("out\n".to_owned(), "err\ncommand terminated with exit code 2\n".to_owned(), Some(2));
        assert_eq!(text(&found), want, "websockets: {websockets}");

        let input = vec![b'i'; 3_000_000];
        let found = kubectl(&listening, websockets, &["exec", "-i", "web", "--", "cat"], &input).await;
        assert_eq!((found.stdout == input, found.status.code()), (true, Some(0)), "{}", text(&found).1);

        let found = kubectl(&listening, websockets, &["exec", "web", "--", "flood", "5000000"], b"").await;
        assert_eq!((found.stdout.len(), found.status.code()), (5_000_000, Some(0)), "{}", text(&found).1);

        let found = kubectl(&listening, websockets, &["exec", "web", "--", "refuse"], b"").await;
        assert_eq!(text(&found).1, "Error from server (NotFound): container not found (\"app\")\n");

        let found = kubectl(&listening, websockets, &["exec", "web", "--", "fail"], b"").await;
        let refusal = "error: Internal error occurred: error executing command in container: exec: \"fail\": \
                       executable file not found in $PATH\n";
        assert_eq!(text(&found), (String::new(), refusal.to_owned(), Some(1)));
    }
}

#[tokio::test]
async fn kubectl_forwards_ports() {
    let listening = Listening::new().await;
    for websockets in TRANSPORTS {
        let mut running =
            command(&listening, websockets, &["port-forward", "web", ":7", ":13"]).spawn().expect("kubectl starts");
        let mut lines = BufReader::new(running.stdout.take().expect("stdout")).lines();
        let mut locals = Vec::new();
        while locals.len() < 2 {
            let line = lines.next_line().await.expect("line").expect("kubectl goes on");
            // One line for each of the two loopback addresses.
            locals.extend(
                line.strip_prefix("Forwarding from 127.0.0.1:")
                    .and_then(|ports| ports.split_once(" -> "))
                    .map(|(local, remote)| (remote.to_owned(), local.parse::<u16>().expect("port"))),
            );
        }
        let connect = async |remote: &str| {
            let (_, local) = locals.iter().find(|(port, _)| port == remote).expect("forwarded");
            TcpStream::connect(("127.0.0.1", *local)).await.expect("connect")
        };
        let mut idle = connect("7").await;
        let (mut read, mut write) = connect("7").await.into_split();
        let sent = vec![b'b'; 3_000_000];
        let mut received = vec![0; sent.len()];
        let (written, echoed) = tokio::join!(write.write_all(&sent), read.read_exact(&mut received));
        assert!(written.is_ok() && echoed.is_ok() && received == sent);
        idle.write_all(b"hello").await.expect("send");
        idle.read_exact(&mut received[..5]).await.expect("receive");
        assert_eq!(&received[..5], b"hello");
        let mut time = String::new();
        connect("13").await.read_to_string(&mut time).await.expect("time");
        assert_eq!(time, "12:00\n");
        running.kill().await.expect("stop kubectl");
    }
}

#[tokio::test]
async fn kubectl_attaches() {
    let listening = Listening::new().await;
    for websockets in TRANSPORTS {
        let found = kubectl(&listening, websockets, &["attach", "-i", "web"], b"hello\n").await;
        assert_eq!((text(&found).0.as_str(), found.status.code()), ("hello\n", Some(0)), "{}", text(&found).1);
    }
}
