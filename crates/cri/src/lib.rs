//! The container runtime interface as plain Rust traits and data.
//!
//! Shaped like the Kubernetes CRI (`runtime.v1`), so that containerd or CRI-O could stand behind it,
//! with three changes that the embedded runtime needs: events carry the full status (nobody has to
//! list again), a sandbox owns its in-memory volumes (they live in the sandbox's mount namespace, the
//! host's mount table stays clean), and a mount names its sub-path apart from its source (it is
//! resolved inside the volume, where no link can lead out).
//!
//! Times are nanoseconds since the Unix epoch ([`Nanos`]): exact, serialisable, free of clocks.

mod container;
mod error;
mod event;
mod image;
mod sandbox;
mod service;
mod streaming;

pub use container::{
    Capabilities, ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStatus, EnvVar, ExecOutput,
    ExecRequest, ExitReason, LinuxUser, Mount, MountPropagation, MountSource, Resources, SeccompProfile,
    SecurityContext,
};
pub use error::{Error, ObjectKind, Result};
pub use event::{RuntimeEvent, RuntimeEventKind};
pub use image::{ImageAuth, ImageInfo, ImageUser, Removal, UnusedImage};
pub use sandbox::{
    DnsConfig, HostAlias, IdMapping, Memory, MemoryVolume, NamespaceMode, Namespaces, PodMetadata, PortMapping,
    Protocol, SandboxConfig, SandboxId, SandboxMemory, SandboxState, SandboxStatus, UserNamespace,
};
pub use service::{ImageService, RuntimeService};
pub use streaming::{
    Connection, ExecSession, Input, Output, Resize, Session, SessionEnd, StreamingService, Streams, TerminalSize,
};

/// Nanoseconds since the Unix epoch, wall clock.
pub type Nanos = i64;
