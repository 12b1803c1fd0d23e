//! The embedded container runtime behind cri: images, sandboxes, containers, cgroups, network, logs.

pub mod cgroup;
mod connection;
mod container;
pub mod image;
pub mod net;
mod protocol;
mod record;
mod service;
mod session;
pub mod shim;
mod stalls;
mod sys;

pub use service::{ImageRoot, Images, Options, Runtime, sweep};
