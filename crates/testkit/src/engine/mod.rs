//! The engine in a simulated world: containers that do as a script says, a clock that jumps.
//!
//! [`World`] is the kubelet's executor and the runtime in one, without either; [`check`] runs a script and
//! compares the transcript of everything the machine says.

mod behaviour;
mod log;
mod script;
mod transcript;
mod world;

pub use behaviour::{Behaviour, Hook, ImageBehaviour, OnTerm, ProbeRule};
pub use log::Log;
pub use script::{Action, Script, ScriptError, check, check_recorded, pod, pod_from_yaml, transcript};
pub use transcript::Transcript;
pub use world::{Fact, Said, World, WorldOptions};
