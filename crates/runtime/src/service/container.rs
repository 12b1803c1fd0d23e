//! Calls about containers, forwarded to the shim, or answered from records when it is gone.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use cri::{ContainerId, ContainerStatus, Error, ExecOutput, ExecRequest, Result, Session};

use tokio::net::{TcpSocket, TcpStream};

use super::{internal, sandbox::Sandbox};
use crate::{
    connection::Gone,
    container::{ContainerSpec, program::describe},
    protocol::{Answer, Call},
    record, session,
};

impl Sandbox {
    /// Sets a container up.
    pub(super) async fn create(&self, spec: ContainerSpec) -> Result<()> {
        self.ask(Call::Create(Box::new(spec))).await.unwrap_or_else(|gone| Err(stopped(&gone))).map(drop)
    }

    /// Executes a container's program.
    pub(super) async fn start(&self, id: &ContainerId) -> Result<ContainerStatus> {
        match self.ask(Call::Start(id.clone())).await {
            Ok(Ok(Answer::Started(status))) => Ok(*status),
            Ok(Ok(_)) => Err(unexpected("start")),
            Ok(Err(error)) => Err(error),
            Err(gone) => Err(stopped(&gone)),
        }
    }

    /// Stops a container and waits for its end. Without a shim it has ended.
    pub(super) async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        match self.ask(Call::Stop { id: id.clone(), grace }).await {
            Ok(Ok(_)) | Err(Gone) | Ok(Err(Error::NotFound { .. })) => Ok(()),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Ends a container if it runs; the shim forgets it.
    pub(super) async fn end_container(&self, id: &ContainerId) -> Result<()> {
        match self.ask(Call::Remove(id.clone())).await {
            Ok(Ok(_)) | Err(Gone) => {}
            Ok(Err(error)) => return Err(error),
        }
        match fs::remove_file(record::container_file(self.dir(), id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(internal(&format!("remove the record of container {id}"), &error))
            }
            _ => Ok(()),
        }
    }

    /// Stops listing a container.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.view().containers.remove(id);
    }

    /// Executes a command in a container.
    pub(super) async fn exec(&self, id: &ContainerId, request: ExecRequest) -> Result<ExecOutput> {
        match self.ask(Call::Exec { id: id.clone(), request }).await {
            Ok(Ok(Answer::Output(output))) => Ok(output.into()),
            Ok(Ok(_)) => Err(unexpected("exec")),
            Ok(Err(error)) => Err(error),
            Err(gone) => Err(stopped(&gone)),
        }
    }
}

impl Sandbox {
    /// Opens a session.
    pub(super) async fn open_session(&self, call: Call) -> Result<Session> {
        let socket = self.view().record.socket.clone();
        session::open(&socket, call).await
    }

    /// Connects to a port on the sandbox's own loopback addresses. The socket is made in the sandbox, and stays there
    /// wherever it is used.
    pub(super) async fn connect(&self, port: u16) -> Result<TcpStream> {
        let socket = self.view().record.socket.clone();
        let mut failures = Vec::new();
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        for (fd, address) in session::sockets(&socket).await?.into_iter().zip(addresses) {
            let address = SocketAddr::new(address, port);
            match TcpSocket::from_std_stream(fd.into()).connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failures.push(format!("dial tcp {address}: connect: {}", describe(&error))),
            }
        }
        let place = format!("failed to connect to localhost:{port} inside namespace {:?}", self.id().0);
        let message = match failures.as_slice() {
            [v4, v6] => format!("{place}, IPv4: {v4} IPv6 {v6}"),
            _ => format!("{place}: {}", failures.join("")),
        };
        Err(Error::FailedPrecondition { message })
    }
}

fn stopped(gone: &Gone) -> Error {
    Error::FailedPrecondition { message: gone.to_string() }
}

fn unexpected(call: &str) -> Error {
    Error::Internal { message: format!("the sandbox's shim answered something else than was asked: {call}") }
}
