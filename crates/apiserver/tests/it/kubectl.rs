//! `kubectl` as it is, against the server on a loopback port.

use std::fs;
use std::net::SocketAddr;

use apiserver::ApiServer;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// A server with a port, a home directory for `kubectl`, and an end.
pub(crate) struct Kubectl {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    home: TempDir,
    listener: JoinHandle<()>,
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Kubectl {
    pub(crate) async fn new(server: &ApiServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let home = tempfile::tempdir().expect("home");
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: \
             'http://{address}'}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nusers: [{{name: \
             a, user: {{}}}}]\n"
        );
        fs::write(home.path().join("config"), config).expect("kubeconfig");
        Self { address, home, listener: tokio::spawn(listen(listener, server.clone())) }
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, text).expect("file");
        path.to_str().expect("path").to_owned()
    }

    /// A command line that is to be run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .env("KUBECONFIG", self.home.path().join("config"))
            .env("HOME", self.home.path())
            .kill_on_drop(true);
        command
    }

    /// Runs a command line; returns whether it succeeded, and what it printed, errors last.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().await.expect("kubectl starts");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    /// Runs a command line that must succeed.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments).await;
        assert!(success, "kubectl {}: {text}", arguments.join(" "));
        text
    }

    /// Runs a command line that must fail.
    pub(crate) async fn fails(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments).await;
        assert!(!success, "kubectl {} succeeded: {text}", arguments.join(" "));
        text
    }
}

async fn listen(listener: TcpListener, server: ApiServer) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(server.service());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        });
    }
}
