//! What happened in a run: facts collected while it runs, a timeline drawn from them, and reasons.

mod explain;
mod facts;
mod outlook;
mod timeline;

pub use explain::{Finding, explain};
pub use facts::{ContainerStory, Evidence, Instance, PodStory};
pub use outlook::{Outlook, outlook};
pub use timeline::{Style, draw};
