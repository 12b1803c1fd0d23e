//! The two services a node agent talks to.

use std::{future::Future, path::PathBuf, time::Duration};

use tokio::sync::broadcast;

use crate::{
    ContainerConfig, ContainerFilter, ContainerId, ContainerStatus, ExecOutput, ExecRequest, ImageAuth, ImageInfo,
    Removal, Resources, Result, RuntimeEvent, SandboxConfig, SandboxId, SandboxMemory, SandboxStatus, UnusedImage,
};

/// Runs sandboxes and containers.
///
/// Guarantees: every call may be repeated; stopping or removing what is already stopped or gone
/// succeeds. A container's exit is recorded durably before an event tells of it. Containers outlive the
/// process that implements this trait; after a restart the same ids are listed again.
pub trait RuntimeService: Send + Sync + 'static {
    /// Creates and starts a sandbox: namespaces, network, cgroup. It is ready when this returns.
    fn run_sandbox(&self, config: SandboxConfig) -> impl Future<Output = Result<SandboxStatus>> + Send;

    /// Ends everything in the sandbox with SIGKILL and frees its network. Logs and records stay.
    fn stop_sandbox(&self, id: &SandboxId) -> impl Future<Output = Result<()>> + Send;

    /// Removes a sandbox with all its containers and their records; stops it first if need be. Logs stay.
    fn remove_sandbox(&self, id: &SandboxId) -> impl Future<Output = Result<()>> + Send;

    /// Lists all sandboxes, those of earlier lives of the agent included.
    fn list_sandboxes(&self) -> impl Future<Output = Result<Vec<SandboxStatus>>> + Send;

    /// Sets a container up without starting its process.
    fn create_container(
        &self,
        sandbox: &SandboxId,
        config: ContainerConfig,
    ) -> impl Future<Output = Result<ContainerId>> + Send;

    /// Starts the process of a created container and returns the status with its start time.
    ///
    /// # Errors
    /// [`crate::Error::StartFailed`] when the program cannot be executed; the container is then
    /// [`crate::ContainerState::Exited`] with [`crate::ExitReason::StartError`] and exit code 128.
    fn start_container(&self, id: &ContainerId) -> impl Future<Output = Result<ContainerStatus>> + Send;

    /// Sends the stop signal now and SIGKILL after `grace`; returns when the process has ended.
    ///
    /// A second call with a shorter grace brings SIGKILL forward; a longer one changes nothing. The
    /// time-out is kept by the sandbox: it also strikes when the caller is gone.
    fn stop_container(&self, id: &ContainerId, grace: Duration) -> impl Future<Output = Result<()>> + Send;

    /// Removes a container and its record, ending it with SIGKILL if it runs. Its log stays.
    fn remove_container(&self, id: &ContainerId) -> impl Future<Output = Result<()>> + Send;

    /// Returns one container's status.
    fn container_status(&self, id: &ContainerId) -> impl Future<Output = Result<ContainerStatus>> + Send;

    /// Lists containers.
    fn list_containers(&self, filter: ContainerFilter) -> impl Future<Output = Result<Vec<ContainerStatus>>> + Send;

    /// Changes the limits of a sandbox and of running containers in it. Of [`Resources`] everything counts that can be
    /// changed while processes run; a limit of 0, or a quota below, lifts one. What has been changed before a failure
    /// stays changed.
    fn update_resources(
        &self,
        sandbox: &SandboxId,
        whole: Resources,
        containers: Vec<(ContainerId, Resources)>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Returns the memory that a sandbox and the containers in it use, and may use.
    fn memory(&self, sandbox: &SandboxId) -> impl Future<Output = Result<SandboxMemory>> + Send;

    /// Returns how many processes a sandbox has, those of its containers included.
    fn processes(&self, sandbox: &SandboxId) -> impl Future<Output = Result<usize>> + Send;

    /// Waits until processes of the machine have to wait for memory; for ever where nobody tells. While they do, it
    /// returns every few seconds.
    fn memory_stall(&self) -> impl Future<Output = ()> + Send;

    /// Returns the directory of the host that holds what a container has written to its root file system.
    fn writable_layer(&self, id: &ContainerId) -> impl Future<Output = Result<PathBuf>> + Send;

    /// Executes a command in a running container and waits for its end.
    ///
    /// # Errors
    /// [`crate::Error::StartFailed`] when the program cannot be executed,
    /// [`crate::Error::FailedPrecondition`] when the container does not run.
    fn exec_sync(&self, id: &ContainerId, request: ExecRequest) -> impl Future<Output = Result<ExecOutput>> + Send;

    /// Subscribes to changes from now on. A subscriber that lags must list again.
    fn events(&self) -> broadcast::Receiver<RuntimeEvent>;
}

/// Stores images.
pub trait ImageService: Send + Sync + 'static {
    /// Looks a name (`busybox`, `host/repo:tag`, `repo@sha256:…`, or an image id) up in the local store.
    ///
    /// # Errors
    /// [`crate::Error::InvalidImageName`] when it is not a reference at all.
    fn image_status(&self, image: &str) -> impl Future<Output = Result<Option<ImageInfo>>> + Send;

    /// Pulls an image from its registry, trying the credentials in turn, and unpacks it.
    fn pull_image(&self, image: &str, auth: Vec<ImageAuth>) -> impl Future<Output = Result<ImageInfo>> + Send;

    /// Lists all stored images.
    fn list_images(&self) -> impl Future<Output = Result<Vec<ImageInfo>>> + Send;

    /// Removes a name, and the image with its last name. A missing one is no error.
    fn remove_image(&self, image: &str) -> impl Future<Output = Result<()>> + Send;

    /// Returns the directory where images are kept.
    fn image_dir(&self) -> PathBuf;

    /// Lists the images that may be removed, the one that was not used for longest first, and clears away what earlier
    /// removals had to leave.
    fn unused_images(&self) -> impl Future<Output = Result<Vec<UnusedImage>>> + Send;

    /// Removes an image with all its names, unless it has come into use or the store is busy.
    fn remove_unused_image(&self, id: &str) -> impl Future<Output = Result<Removal>> + Send;
}
