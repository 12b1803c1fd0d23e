//! What is done once, before the first request: what a new cluster has, and what the end of a server cut short.

use super::Registry;

impl Registry {
    /// Completes the dataset, whatever moment it is of.
    pub(crate) fn resume(&self) {
        self.resume_events();
        self.create_built_in_namespaces();
        self.resume_namespaces();
    }
}
