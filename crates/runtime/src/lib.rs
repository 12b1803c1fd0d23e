//! The embedded container runtime behind cri: images, sandboxes, containers, cgroups, network, logs.

pub mod cgroup;
pub mod image;
mod container;
mod protocol;
mod record;
pub mod shim;
mod sys;
