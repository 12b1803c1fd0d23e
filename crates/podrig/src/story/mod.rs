//! What happened in a run: facts collected while it runs, a timeline drawn from them, and reasons.

mod explain;
mod facts;
mod outlook;
mod timeline;

pub(crate) use explain::{Finding, explain};
pub(crate) use facts::{ContainerStory, Evidence, Instance, PodStory};
pub(crate) use outlook::{Outlook, outlook};
pub(crate) use timeline::{Style, draw};
