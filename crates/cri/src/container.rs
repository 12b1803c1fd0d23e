//! Containers: configuration, status, and commands executed inside.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Nanos, SandboxId};

/// Names one container instance (random, 64 hexadecimal digits).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name; without `=` or NUL.
    pub name: String,
    /// Value; without NUL.
    pub value: String,
}

/// Everything that is needed to create one container instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Name in the pod's spec.
    pub name: String,
    /// Restart count of this instance: 0 for the first.
    pub attempt: u32,
    /// Image id ([`crate::ImageInfo::id`]) to take the root file system and defaults from.
    pub image: String,
    /// The image as the user wrote it; returned in [`ContainerStatus::image`].
    pub image_name: String,
    /// Overrides the image's entrypoint and drops its cmd; empty: the image's (contract S11-22).
    pub command: Vec<String>,
    /// Overrides the image's cmd; empty: the image's, unless `command` is given.
    pub args: Vec<String>,
    /// Working directory; `None`: the image's, or `/`.
    pub working_dir: Option<String>,
    /// Environment; comes after, and overrides, the image's.
    pub env: Vec<EnvVar>,
    /// Volumes and files, mounted in this order.
    pub mounts: Vec<Mount>,
    /// Log file, relative to the sandbox's log directory: `<container>/<attempt>.log`.
    pub log_path: PathBuf,
    /// Keep standard input open for attach.
    pub stdin: bool,
    /// Close standard input after the first attach.
    pub stdin_once: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Limits.
    pub resources: Resources,
    /// User, capabilities and confinement.
    pub security: SecurityContext,
    /// Overrides the image's stop signal (`SIGTERM`, `SIGRTMIN+3`, …).
    pub stop_signal: Option<String>,
    /// A running container of the sandbox whose processes this one sees and can signal: it joins that container's PID
    /// namespace (`NamespaceMode_TARGET` of the CRI). Without effect where the whole pod shares one.
    #[serde(default)]
    pub pid_target: Option<ContainerId>,
    /// Returned unchanged in [`ContainerStatus`]; survives the agent.
    pub labels: BTreeMap<String, String>,
    /// Returned unchanged in [`ContainerStatus`]; survives the agent.
    pub annotations: BTreeMap<String, String>,
}

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host, or a [`crate::MemoryVolume`].
    Host(PathBuf),
    /// The root file system of an image, by id, read-only.
    Image(String),
}

/// One file or directory made visible in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container; made if missing.
    pub container_path: String,
    /// Content.
    pub source: MountSource,
    /// A path below the source, resolved with the source as root so that no link leads out of it;
    /// a missing one is made as a directory (contract S11-13).
    pub sub_path: Option<PathBuf>,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Whether mounts below it are read-only too.
    pub recursive_read_only: bool,
    /// How later mounts travel between host and container.
    pub propagation: MountPropagation,
}

/// How mounts made later travel between host and container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountPropagation {
    /// Not at all (`rprivate`).
    #[default]
    Private,
    /// From the host into the container (`rslave`).
    HostToContainer,
    /// Both ways (`rshared`).
    Bidirectional,
}

/// Limits of a container or a pod. `None` leaves the kernel's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative CPU weight, cgroup v1 scale (2 to 262,144).
    pub cpu_shares: Option<u64>,
    /// CPU time in microseconds for each period.
    pub cpu_quota: Option<i64>,
    /// Period in microseconds.
    pub cpu_period: Option<u64>,
    /// Memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// Largest number of processes.
    pub pids_limit: Option<u64>,
    /// `/proc/PID/oom_score_adj` of the container's processes (contract S8-10).
    pub oom_score_adj: Option<i32>,
    /// CPUs, in list format.
    pub cpuset_cpus: Option<String>,
}

/// Capabilities relative to the runtime's default set, without the `CAP_` prefix; `ALL` is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Added after `drop` took effect.
    pub add: Vec<String>,
    /// Dropped.
    pub drop: Vec<String>,
}

/// System call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// None.
    #[default]
    Unconfined,
    /// The runtime's own default profile.
    RuntimeDefault,
    /// A profile in OCI JSON on the host.
    Localhost(PathBuf),
}

/// User, capabilities and confinement of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityContext {
    /// All capabilities and devices, nothing masked, no seccomp.
    pub privileged: bool,
    /// Numeric user; `None`: the image's.
    pub run_as_user: Option<u32>,
    /// Numeric primary group; `None`: the image's, or the user's from the image's `/etc/passwd`.
    pub run_as_group: Option<u32>,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// Whether groups that the image's `/etc/group` gives the user are left out (policy `Strict`).
    pub supplemental_groups_strict: bool,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Root file system read-only.
    pub read_only_root: bool,
    /// Sets `no_new_privs`.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: SeccompProfile,
    /// `procMount: Unmasked`: nothing under `/proc` is masked or read-only.
    pub unmasked_proc: bool,
}

/// Who the first process of a container is, as numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxUser {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one among them, in rising order.
    pub groups: Vec<u32>,
}

/// Life stage of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Set up, not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process ended, or could not be started.
    Exited,
    /// The runtime lost track of it.
    Unknown,
}

/// Why a container is in [`ContainerState::Exited`]; the texts are those a pod status shows (contract S5-08).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// Exit code 0.
    Completed,
    /// Any other exit code.
    Error,
    /// The kernel killed a process of it for want of memory.
    OomKilled,
    /// The process could not be started; exit code 128.
    StartError,
    /// The record of the exit was lost; exit code 137.
    Unknown,
}

impl ExitReason {
    /// Returns the text for `terminated.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::StartError => "StartError",
            Self::Unknown => "ContainerStatusUnknown",
        }
    }
}

/// What is known of a container instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its id.
    pub id: ContainerId,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// Name in the pod's spec.
    pub name: String,
    /// Restart count of this instance.
    pub attempt: u32,
    /// Life stage.
    pub state: ContainerState,
    /// When it was created.
    pub created_at: Nanos,
    /// When its process was started; 0: not yet, or never.
    pub started_at: Nanos,
    /// When its process ended; 0: not yet.
    pub finished_at: Nanos,
    /// Exit code; 128 + n after death by signal n. Meaningful once exited.
    pub exit_code: i32,
    /// Why it is exited.
    pub reason: Option<ExitReason>,
    /// Details for people, such as why it could not be started.
    pub message: String,
    /// The image as the user wrote it.
    pub image: String,
    /// Image id or digest reference.
    pub image_ref: String,
    /// Absolute path of the log file. It is there from creation on; files that were full are beside it, the newest of
    /// them with `.1` at the end.
    pub log_path: PathBuf,
    /// Process id of its init process on the host, while running.
    pub pid: Option<u32>,
    /// Who its init process is; `None`: it could not be set up.
    #[serde(default)]
    pub user: Option<LinuxUser>,
    /// As given at creation.
    pub labels: BTreeMap<String, String>,
    /// As given at creation.
    pub annotations: BTreeMap<String, String>,
}

/// Which containers to list; `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// Only those of this sandbox.
    pub sandbox: Option<SandboxId>,
    /// Only those whose sandbox belongs to the pod with this uid.
    pub pod_uid: Option<String>,
}

/// A command to execute in a running container, with the container's user, groups, capabilities,
/// seccomp filter, environment and working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// Ends the command with SIGKILL; `None`: never (a postStart hook has no time-out, contract S7-02).
    pub timeout: Option<Duration>,
    /// Most bytes kept of each output stream; the rest is read and dropped.
    pub output_limit: usize,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// Standard output, cut at the limit.
    pub stdout: Vec<u8>,
    /// Standard error, cut at the limit.
    pub stderr: Vec<u8>,
    /// Exit code; 128 + n after death by signal n.
    pub exit_code: i32,
    /// Whether the time-out ended it.
    pub timed_out: bool,
}
