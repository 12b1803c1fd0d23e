//! The embedded container runtime behind cri: images, sandboxes, containers, cgroups, network, logs.

pub mod cgroup;
pub mod image;
