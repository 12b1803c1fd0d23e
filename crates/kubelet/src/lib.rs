//! The node agent: one driver per pod around the engine, probes, volumes, status, logs.
//!
//! It talks to the API server through a [`kube::Client`] and to the container runtime through the traits of [`cri`];
//! it knows neither implementation.

mod admission;
mod agent;
mod allocation;
mod clock;
mod container_config;
mod downward;
mod env;
mod events;
mod eviction;
mod executor;
mod hooks;
mod http_client;
mod image;
mod linger;
pub mod logs;
mod names;
mod node;
mod node_context;
mod objects;
mod options;
mod orphans;
mod paths;
mod pod_worker;
mod probe;
mod refusal;
mod resize;
mod resources;
mod sandbox_config;
mod security;
mod services;
mod status;
mod status_queue;
mod storage_limits;
mod streaming;
mod sysctls;
mod termination;
#[cfg(test)]
mod test_support;
mod timeline;
mod tokens;
mod userns;
mod view;
mod volumes;

pub use agent::{Kubelet, KubeletError};
pub use eviction::{EvictionFlagError, EvictionFlags, EvictionOptions, ImageGcOptions};
pub use options::{MAX_BACK_OFF, Options};
pub use streaming::{PodName, SessionError};
pub use timeline::TimelineRecord;
pub use userns::release_host_ids;
