//! The two applications of the story, as this executable plays them inside a container.

use std::{
    ffi::OsString,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    thread,
    time::Duration,
};

/// First argument that selects an application.
pub(crate) const COMMAND: &str = "demo-app";

/// An application and the image that holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct App {
    pub(crate) name: &'static str,
    pub(crate) image: &'static str,
    pub(crate) port: Option<u16>,
    run: fn() -> io::Result<()>,
}

/// Both applications, under the image names that the story's manifests use.
pub(crate) const ALL: [App; 2] = [
    App { name: "slow-sidecar", image: "zwindler/slow-sidecar", port: Some(PORT), run: slow_sidecar },
    App { name: "sidecar-user", image: "zwindler/sidecar-user", port: None, run: sidecar_user },
];

const PORT: u16 = 8081;
const SLOWNESS: Duration = Duration::from_secs(5);
/// Nobody may keep the server busy for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// More header lines than any honest client sends.
const MAX_HEADER_LINES: usize = 100;

/// Runs the application named by the next argument.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let wanted = args.next().unwrap_or_default();
    let Some(app) = ALL.iter().find(|app| wanted == app.name) else {
        say(&format!("no application {wanted:?}"));
        return ExitCode::from(2);
    };
    match (app.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{}: {error}", app.name));
            ExitCode::FAILURE
        }
    }
}

/// Sleeps, then serves `Hello, World!` on port 8081 for ever.
///
/// It installs no signal handler. As process 1 of its container it is therefore deaf to SIGTERM, exactly
/// as a server behind a shell wrapper is.
fn slow_sidecar() -> io::Result<()> {
    say("slow-sidecar: sleeping 5 s before listening");
    // The slowness is the point of this application, it waits for nothing.
    thread::sleep(SLOWNESS);
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    say("slow-sidecar: listening on port 8081");
    for stream in listener.incoming() {
        // A client that breaks off is the client's affair.
        let _ = stream.and_then(answer);
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    for line in BufReader::new(&stream).take(1 << 16).lines().take(MAX_HEADER_LINES) {
        if line?.is_empty() {
            break;
        }
    }
    let body = "Hello, World!";
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Makes one HTTP request to the sidecar; fails if it does.
fn sidecar_user() -> io::Result<()> {
    say("sidecar-user: requesting http://localhost:8081/");
    let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost:8081\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(format!("unexpected answer {:?}", head.lines().next().unwrap_or_default())));
    }
    say(&format!("sidecar-user: success, the sidecar says {body:?}"));
    Ok(())
}

fn say(text: &str) {
    // Without a reader there is nobody to tell.
    let _ = writeln!(io::stdout(), "{text}");
}
