//! A node whose processes are played by tasks.

use std::pin::Pin;
use std::sync::Mutex;

use apimachinery::status::ApiError;
use apiserver::{
    Connection, LogOptions, LogStream, NodeProxy, PodReference, Session, SessionEnd, SessionOptions, TerminalSize,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};

/// Plays processes and servers of one pod.
#[derive(Default)]
pub(crate) struct Node {
    /// What was asked, in order.
    pub(crate) asked: Mutex<Vec<(Vec<String>, SessionOptions)>>,
    /// Told when a session's streams were let go before its process ended.
    pub(crate) let_go: std::sync::Arc<Notify>,
}

/// The far ends of a session.
struct Process {
    stdin: DuplexStream,
    stdout: DuplexStream,
    stderr: DuplexStream,
    sizes: mpsc::Receiver<TerminalSize>,
}

/// What a pipe holds.
const PIPE: usize = 64 * 1024;

impl Node {
    fn session(&self, command: Vec<String>, options: &SessionOptions) -> Session {
        let (stdin, stdin_far) = tokio::io::duplex(PIPE);
        let (stdout, stdout_far) = tokio::io::duplex(PIPE);
        let (stderr, stderr_far) = tokio::io::duplex(PIPE);
        let (resize, sizes) = mpsc::channel(4);
        let process = Process { stdin: stdin_far, stdout: stdout_far, stderr: stderr_far, sizes };
        let let_go = std::sync::Arc::clone(&self.let_go);
        let running = tokio::spawn(async move { process.run(&command, &let_go).await });
        Session {
            stdin: options.stdin.then(|| Box::pin(stdin) as _),
            stdout: options.stdout.then(|| Box::pin(stdout) as _),
            stderr: options.stderr.then(|| Box::pin(stderr) as _),
            resize: options.tty.then_some(resize),
            end: async move { running.await.expect("process") }.boxed(),
        }
    }
}

impl Process {
    async fn run(mut self, command: &[String], let_go: &Notify) -> Result<SessionEnd, ApiError> {
        let number = || command[1].parse::<usize>().expect("number");
        match command[0].as_str() {
            "cat" => drop(tokio::io::copy(&mut self.stdin, &mut self.stdout).await),
            "exit" => return Ok(SessionEnd::Exited(command[1].parse().expect("code"))),
            "say" => {
                let _ = self.stdout.write_all(b"out\n").await;
                let _ = self.stderr.write_all(b"err\n").await;
                return Ok(SessionEnd::Exited(2));
            }
            "flood" => drop(self.stdout.write_all(&vec![b'x'; number()]).await),
            "sizes" => {
                for _ in 0..number() {
                    let TerminalSize { width, height } = self.sizes.recv().await.expect("size");
                    let _ = self.stdout.write_all(format!("{width}x{height}\n").as_bytes()).await;
                }
            }
            "fail" => return Err(ApiError::plain(500, "", "exec: \"fail\": executable file not found in $PATH")),
            "hang" => {
                // Takes no input at all; its outputs are let go when the session is.
                let _ = self.stdout.write_all(&vec![b'x'; 100 * 1024 * 1024]).await;
                let_go.notify_one();
            }
            "sleep" => {
                let _ = self.stdin.read_to_end(&mut Vec::new()).await;
                let_go.notify_one();
            }
            other => panic!("no such program: {other}"),
        }
        Ok(SessionEnd::Exited(0))
    }
}

impl NodeProxy for Node {
    fn logs(&self, _: PodReference, _: LogOptions) -> BoxFuture<'static, Result<LogStream, ApiError>> {
        async { Err(ApiError::bad_request("no logs here")) }.boxed()
    }

    fn exec(
        &self,
        _: PodReference,
        command: Vec<String>,
        options: SessionOptions,
    ) -> BoxFuture<'static, Result<Session, ApiError>> {
        let refused = command[0] == "refuse";
        let session = (!refused).then(|| self.session(command.clone(), &options));
        self.asked.lock().expect("asked").push((command, options));
        async { session.ok_or_else(|| ApiError::plain(404, "NotFound", "container not found (\"app\")")) }.boxed()
    }

    fn attach(&self, _: PodReference, options: SessionOptions) -> BoxFuture<'static, Result<Session, ApiError>> {
        let mut session = self.session(vec!["cat".to_owned()], &options);
        let end = std::mem::replace(&mut session.end, async { Ok(SessionEnd::Detached) }.boxed());
        session.end = async { end.await.map(|_| SessionEnd::Detached) }.boxed();
        async { Ok(session) }.boxed()
    }

    /// Port 7 sends back what it gets, 9 takes it and never closes, 13 says the time and closes, on others nothing
    /// listens.
    fn port_forward(
        &self,
        _: PodReference,
        port: u16,
    ) -> BoxFuture<'static, Result<Pin<Box<dyn Connection>>, ApiError>> {
        async move {
            let (near, mut far) = tokio::io::duplex(PIPE);
            match port {
                7 => drop(tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(far);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.write_all(b"[end]").await;
                    let _ = write.shutdown().await;
                })),
                9 => drop(tokio::spawn(async move {
                    let _ = far.read_to_end(&mut Vec::new()).await;
                    std::future::pending::<()>().await;
                })),
                13 => drop(tokio::spawn(async move { far.write_all(b"12:00\n").await })),
                _ => return Err(ApiError::plain(500, "", "dial tcp4 127.0.0.1: connect: connection refused")),
            }
            Ok(Box::pin(near) as Pin<Box<dyn Connection>>)
        }
        .boxed()
    }
}
