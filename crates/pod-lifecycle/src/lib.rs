//! The engine: decides what one pod does next.
//!
//! A pod's life is one [`PodMachine`]. It is driven by two methods: [`PodMachine::handle`] takes one
//! [`Input`], then [`PodMachine::poll`] is drained until it answers [`Output::Wait`]. The machine does no
//! IO, reads no clock and rolls no dice: time comes with each input, randomness is a seed.
//!
//! Rules are those of Kubernetes 1.36 (contract sections S2 to S7), also where they are odd.

mod conditions;
mod container;
mod evict;
mod input;
mod invariants;
mod machine;
mod observe;
mod output;
mod phase;
mod plan;
mod probe;
mod resize;
mod restart;
mod restart_all;
mod restore;
mod sandbox;
mod start;
mod start_order;
mod status;
mod stop_order;
mod sync;
mod time;

pub use conditions::{foreign_conditions, is_disruption_by_agent, is_own_condition};
pub use evict::EVICTION_GRACE;
pub use input::{
    ContainerView, ContainerViewState, EffectResult, Failure, HookOutcome, Input, PodUpdate, ProbeOutcome, PulledImage,
    RuntimeView, SandboxView, UserView,
};
pub use invariants::Violation;
pub use machine::PodMachine;
pub use output::{
    Deadline, Effect, EffectId, EventType, HookKind, Moment, MomentKind, Outcome, Output, PodEvent, ProbeKind,
    ResizedContainer, StopReason, Timer,
};
pub use plan::{ContainerIdx, ContainerPlan, PlanError, PodPlan, ProbePlan, RestartPolicy, Role};
pub use resize::{PENDING as RESIZE_PENDING, PendingResize};
pub use time::{MonoTime, Now, Timestamp};
