//! What tests of several modules share.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Mutex,
    thread,
    time::Duration,
};

use cri::{
    ContainerConfig, ContainerFilter, ContainerId, ContainerStatus, ExecOutput, ExecRequest, RuntimeEvent,
    RuntimeService, SandboxConfig, SandboxId, SandboxStatus,
};
use tokio::sync::broadcast;

/// A runtime that can only execute commands, with answers prepared.
#[derive(Debug, Default)]
pub(crate) struct ExecOnly {
    /// Prepared answers, taken from the front.
    pub(crate) answers: Mutex<Vec<cri::Result<ExecOutput>>>,
    /// What was asked.
    pub(crate) seen: Mutex<Vec<ExecRequest>>,
}

fn unused<T>() -> cri::Result<T> {
    Err(cri::Error::Internal { message: "not used here".to_owned() })
}

impl RuntimeService for ExecOnly {
    async fn run_sandbox(&self, _: SandboxConfig) -> cri::Result<SandboxStatus> {
        unused()
    }
    async fn stop_sandbox(&self, _: &SandboxId) -> cri::Result<()> {
        unused()
    }
    async fn remove_sandbox(&self, _: &SandboxId) -> cri::Result<()> {
        unused()
    }
    async fn list_sandboxes(&self) -> cri::Result<Vec<SandboxStatus>> {
        unused()
    }
    async fn create_container(&self, _: &SandboxId, _: ContainerConfig) -> cri::Result<ContainerId> {
        unused()
    }
    async fn start_container(&self, _: &ContainerId) -> cri::Result<ContainerStatus> {
        unused()
    }
    async fn stop_container(&self, _: &ContainerId, _: Duration) -> cri::Result<()> {
        unused()
    }
    async fn remove_container(&self, _: &ContainerId) -> cri::Result<()> {
        unused()
    }
    async fn container_status(&self, _: &ContainerId) -> cri::Result<ContainerStatus> {
        unused()
    }
    async fn list_containers(&self, _: ContainerFilter) -> cri::Result<Vec<ContainerStatus>> {
        unused()
    }
    async fn update_resources(
        &self,
        _: &SandboxId,
        _: cri::Resources,
        _: Vec<(ContainerId, cri::Resources)>,
    ) -> cri::Result<()> {
        unused()
    }
    async fn memory(&self, _: &SandboxId) -> cri::Result<cri::SandboxMemory> {
        unused()
    }
    async fn processes(&self, _: &SandboxId) -> cri::Result<usize> {
        unused()
    }
    async fn memory_stall(&self) {
        std::future::pending().await
    }
    async fn writable_layer(&self, _: &ContainerId) -> cri::Result<std::path::PathBuf> {
        unused()
    }
    async fn exec_sync(&self, _: &ContainerId, request: ExecRequest) -> cri::Result<ExecOutput> {
        self.seen.lock().expect("lock").push(request);
        self.answers.lock().expect("lock").remove(0)
    }
    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        broadcast::channel(1).1
    }
}

/// Serves prepared answers, one a connection, and returns what was asked.
pub(crate) fn serve(answers: Vec<Vec<u8>>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("accepted");
            let mut request = [0; 2048];
            let length = stream.read(&mut request).expect("read");
            asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
            stream.write_all(&answer).expect("written");
        }
        asked
    });
    (address, server)
}
