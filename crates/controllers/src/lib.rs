//! Controllers: CronJob, Job, ReplicaSet, Deployment, endpoints, quotas, scheduler, garbage
//! collection. A pure plan and a thin reconcile each.
//!
//! Each controller is a pure `plan` function (its view of the API's objects and the time go in,
//! what to write comes out) and a thin pass that reads the view from caches, writes what the plan
//! says, and puts the server's answers back into the caches. They hold a [`kube::Client`] and
//! nothing else, so they run against any Kubernetes API.

mod api;
mod cache;
mod children;
mod clock;
pub mod cronjob;
pub mod deployment;
pub mod endpoints;
mod events;
pub mod garbage;
pub mod job;
mod manager;
mod meta;
mod pod;
pub mod podgc;
#[cfg(test)]
mod property;
mod queue;
pub mod quota;
mod reflector;
pub mod replicaset;
pub mod scheduler;
mod shrink;
mod taints;
pub mod ttl;
mod wiring;

pub use children::Claims;
pub use clock::{Clock, SharedClock, SystemClock};
pub use events::{EventType, Note};
pub use manager::{Options, run};
pub use meta::Key;
