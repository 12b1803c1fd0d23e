//! A real `podrig serve` in directories of its own, and the kubectl of the machine.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::Sealed;

/// Oldest kubectl that tests are written for.
const KUBECTL_MINOR: u32 = 30;

/// Longest wait for something that takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server. Dropping it ends it, its pods too.
pub(crate) struct Server {
    pub(crate) sealed: Sealed,
    args: Vec<String>,
    child: Option<Child>,
    address: Option<SocketAddr>,
}

impl Server {
    /// Starts a server on a free port, with busybox in its image store.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more arguments.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut server = Self { sealed: Sealed::new(), args, child: None, address: None };
        server.resume();
        server
    }

    /// Starts the server again, in order, with other arguments.
    pub(crate) fn restart_with(&mut self, args: &[&str]) {
        self.terminate();
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.resume();
    }

    /// Returns the command line of the server.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.sealed.podrig();
        let address = self.address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        command.arg("serve").arg("--listen").arg(address.to_string()).args(&self.args);
        command
    }

    /// Starts the server again after [`Server::kill`] or [`Server::terminate`], on the same port; returns when it
    /// is ready.
    pub(crate) fn resume(&mut self) {
        self.spawn();
        let stdout = self.child.as_mut().and_then(|child| child.stdout.take()).unwrap();
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let kubeconfig = format!("export KUBECONFIG={}\n", self.kubeconfig().display());
        assert_eq!(line, kubeconfig, "the server did not start: {}", self.logs());
        let text = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let address = text.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap();
        self.address = Some(address.parse().unwrap());
    }

    /// Starts the server again, and does not wait for it.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "the server runs");
        self.child = Some(self.command().stdout(Stdio::piped()).stderr(self.log()).spawn().unwrap());
    }

    /// Ends the server as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn signal(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
    }

    /// Ends the server as a service manager does; returns its logs of that time.
    pub(crate) fn terminate(&mut self) -> String {
        self.signal();
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}: {}", self.logs());
        self.logs()
    }

    /// Returns the process of the server.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        let id = self.child.as_ref().unwrap().id();
        rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// Returns the file that it wrote for clients.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.sealed.data().join("server/kubeconfig")
    }

    /// Returns what it has logged since it was first started.
    pub(crate) fn logs(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.sealed.root.path().join("server.log")
    }

    fn log(&self) -> std::fs::File {
        std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap()
    }

    /// Returns a client that comes as all clients do: by the kubeconfig, with TLS.
    pub(crate) async fn client(&self) -> kube::Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// Returns kubectl, ready to be given its arguments.
    pub(crate) fn kubectl(&self) -> Command {
        check_kubectl();
        let mut command = Command::new("kubectl");
        // Its caches go where nobody else's are.
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.sealed.root.path());
        command.current_dir(self.sealed.root.path()).stdin(Stdio::null());
        command
    }

    /// Runs a kubectl that has to succeed; returns what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.kubectl().args(args).output().unwrap();
        assert!(output.status.success(), "kubectl {args:?}: {}\n{}", text(&output), self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, manifest: &str) {
        let path = self.sealed.manifest(manifest);
        self.run(&["apply", "-f", path.to_str().unwrap()]);
    }

    /// Gets one object, or with a plural a list of them.
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[&["get", "-o", "json"], args].concat())).unwrap()
    }

    /// Waits with `kubectl wait`.
    pub(crate) fn wait(&self, what: &str, condition: &str) {
        self.run(&["wait", what, "--for", condition, "--timeout", "60s"]);
    }

    /// Asks again and again until the answer satisfies; for what no kubectl can wait for.
    pub(crate) fn until<T>(&self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{what} did not happen: {}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // A server without its id is gone for good, and the next start of any instance removes what it left.
        let _ = std::fs::remove_file(self.sealed.data().join("server/id"));
        let dirs = podrig::Dirs { data: self.sealed.data(), run: self.sealed.root.path().join("run") };
        let swept = podrig::Instance::create(&dirs).and_then(podrig::Instance::remove);
        if !std::thread::panicking() {
            swept.unwrap();
            assert_eq!(self.sealed.processes(), 0, "processes of a server that is gone are left");
        }
    }
}

/// Returns both outputs of a command, for messages.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check_kubectl() {
    static CHECKED: OnceLock<()> = OnceLock::new();
    CHECKED.get_or_init(|| {
        let output = Command::new("kubectl").args(["version", "--client", "-o", "json"]).output();
        let output = output.unwrap_or_else(|error| panic!("these tests need kubectl in the PATH: {error}"));
        let version: Value = serde_json::from_slice(&output.stdout).unwrap();
        let minor = version["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+').parse::<u32>().unwrap();
        assert!(minor >= KUBECTL_MINOR, "kubectl 1.{minor} is too old: these tests need 1.{KUBECTL_MINOR}");
    });
}
