//! `kube` as the client: WebSockets of versions 5 and 4.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Listening;

fn pods(listening: &Listening) -> Api<Pod> {
    Api::default_namespaced(listening.client())
}

async fn all(mut from: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).await.expect("text");
    text
}

/// Reason and exit code, or success.
async fn end(mut process: AttachedProcess) -> String {
    let status = process.take_status().expect("status").await.expect("status comes");
    process.join().await.expect("join");
    let code = status.details.and_then(|details| details.causes).and_then(|mut causes| causes.pop());
    match code.and_then(|cause| cause.message) {
        Some(code) => format!("{} {code}", status.reason.unwrap_or_default()),
        None => status.status.unwrap_or_default(),
    }
}

#[tokio::test]
async fn input_comes_back_and_its_end_ends_the_command() {
    let listening = Listening::new().await;
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut process = pods(&listening).exec("web", ["cat"], &params).await.expect("exec");
    let (mut stdin, stdout) = (process.stdin().expect("stdin"), process.stdout().expect("stdout"));
    let text = "line\n".repeat(100_000);
    let (sent, received) = tokio::join!(
        async {
            stdin.write_all(text.as_bytes()).await.expect("write");
            stdin.shutdown().await.expect("shutdown");
            drop(stdin);
        },
        all(stdout)
    );
    let () = sent;
    assert!(received == text, "{} of {} bytes", received.len(), text.len());
    assert_eq!(end(process).await, "Success");
}

#[tokio::test]
async fn outputs_are_told_apart_and_the_code_is_told_last() {
    let listening = Listening::new().await;
    let mut process = pods(&listening).exec("web", ["say"], &AttachParams::default()).await.expect("exec");
    let (stdout, stderr) = (process.stdout().expect("stdout"), process.stderr().expect("stderr"));
    assert_eq!(tokio::join!(all(stdout), all(stderr)), ("out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(end(process).await, "NonZeroExitCode 2");
}

#[tokio::test]
async fn a_terminal_has_one_output_and_its_size_changes() {
    let listening = Listening::new().await;
    let params = AttachParams::interactive_tty();
    let mut process = pods(&listening).exec("web", ["sizes", "2"], &params).await.expect("exec");
    let mut sizes = process.terminal_size().expect("terminal");
    for (width, height) in [(80, 24), (132, 50)] {
        futures::SinkExt::send(&mut sizes, TerminalSize { width, height }).await.expect("resize");
    }
    assert_eq!(all(process.stdout().expect("stdout")).await, "80x24\n132x50\n");
    assert_eq!(end(process).await, "Success");
    let asked = listening.node.asked.lock().expect("asked");
    let (command, options) = &asked[0];
    assert_eq!(command, &["sizes", "2"]);
    assert_eq!((options.container.as_str(), options.tty, options.stdin, options.stderr), ("app", true, true, false));
}

#[tokio::test]
async fn an_attached_container_ends_without_a_code() {
    let listening = Listening::new().await;
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut process = pods(&listening).attach("web", &params).await.expect("attach");
    let mut stdin = process.stdin().expect("stdin");
    stdin.write_all(b"hello").await.expect("write");
    stdin.shutdown().await.expect("shutdown");
    assert_eq!(all(process.stdout().expect("stdout")).await, "hello");
    assert_eq!(end(process).await, "Success");
}

#[tokio::test]
async fn ports_are_forwarded_over_channels() {
    let listening = Listening::new().await;
    let mut forward = pods(&listening).portforward("web", &[7, 13, 99]).await.expect("forward");
    let error = forward.take_error(99).expect("error").await.expect("refused");
    assert!(error.starts_with("error forwarding port 99 to pod web, uid "), "{error}");
    assert!(error.ends_with("connection refused"), "{error}");
    let mut echo = forward.take_stream(7).expect("stream");
    echo.write_all(b"hello").await.expect("write");
    let mut text = [0; 5];
    echo.read_exact(&mut text).await.expect("echo");
    assert_eq!(&text, b"hello");
    let mut time = [0; 6];
    forward.take_stream(13).expect("stream").read_exact(&mut time).await.expect("time");
    assert_eq!(&time, b"12:00\n");
    drop(echo);
    forward.abort();
}
