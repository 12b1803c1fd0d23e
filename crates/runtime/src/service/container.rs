//! Calls about containers, forwarded to the shim, or answered from records when it is gone.

use std::{fs, time::Duration};

use cri::{ContainerId, ContainerStatus, Error, ExecOutput, ExecRequest, Result};

use super::{
    internal, remove_dir,
    sandbox::{Sandbox, blocking},
};
use crate::{
    connection::Gone,
    container::ContainerSpec,
    protocol::{Answer, Call},
    record,
};

impl Sandbox {
    /// Sets a container up.
    pub(super) async fn create(&self, spec: ContainerSpec) -> Result<()> {
        let id = spec.id.clone();
        let created = self.ask(Call::Create(Box::new(spec))).await.unwrap_or_else(|gone| Err(stopped(&gone)));
        if created.is_err() {
            self.forget(&id).await?;
        }
        created.map(drop)
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

    /// Ends and forgets a container.
    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        match self.ask(Call::Remove(id.clone())).await {
            Ok(Ok(_)) | Err(Gone) => {}
            Ok(Err(error)) => return Err(error),
        }
        self.forget(id).await
    }

    async fn forget(&self, id: &ContainerId) -> Result<()> {
        let (dir, file) = (record::container_dir(self.dir(), id), record::container_file(self.dir(), id));
        blocking(move || {
            // The record goes first: a directory without one is litter to whoever finds it.
            let _ = fs::remove_file(file);
            remove_dir(&dir).map_err(|e| internal(&format!("remove {}", dir.display()), &e))
        })
        .await?;
        self.view().containers.remove(id);
        Ok(())
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

fn stopped(gone: &Gone) -> Error {
    Error::FailedPrecondition { message: gone.to_string() }
}

fn unexpected(call: &str) -> Error {
    Error::Internal { message: format!("the sandbox's shim answered something else than was asked: {call}") }
}
