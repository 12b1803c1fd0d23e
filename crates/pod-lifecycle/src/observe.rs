//! What the runtime tells of containers: taken in once, in whatever order it comes.

use crate::{
    ContainerIdx, ContainerView, ContainerViewState, MomentKind, PodMachine, Violation,
    container::{Instance, STATUS_UNKNOWN, rank},
};

impl PodMachine {
    /// Takes note of an instance's state. Repeats and stale news change nothing.
    pub(crate) fn observe(&mut self, view: ContainerView) {
        let idx = view.container;
        if !self.plan.contains(idx) {
            return self.violate(Violation::UnknownContainer { container: idx });
        }
        let current = self.containers[idx.index()].current.as_ref();
        match current {
            Some(instance) if instance.view.id == view.id => self.observe_current(view),
            Some(_) | None if self.is_being_created(&view) => self.adopt(view),
            Some(_) | None => {} // an instance of the past
        }
    }

    fn observe_current(&mut self, view: ContainerView) {
        let idx = view.container;
        let now = self.now;
        let container = &mut self.containers[idx.index()];
        let Some(instance) = &mut container.current else { return };
        let (old, new) = (rank(&instance.view.state), rank(&view.state));
        // An exit that was made up for want of a better one gives way to the real one.
        let made_up =
            matches!(&instance.view.state, ContainerViewState::Exited { reason, .. } if reason == STATUS_UNKNOWN);
        if new < old || (new == old && !made_up) {
            return;
        }
        let had_started = instance.started_at().is_some();
        let fresh = Instance::new(view, now);
        let (finished, resources) = (instance.finished.or(fresh.finished), instance.resources.take());
        *instance = Instance { finished, resources, ..fresh };
        let (started_at, state) = (instance.started_at(), instance.view.state.clone());
        self.dirty = true;
        if new == old {
            return;
        }
        if let Some(at) = started_at.filter(|_| !had_started) {
            self.moment(at, Some(idx), MomentKind::Started);
        }
        if let ContainerViewState::Exited { finished_at, exit_code, reason, .. } = state {
            self.moment(finished_at, Some(idx), MomentKind::Exited { exit_code, reason });
            self.saw_exit(idx);
        }
    }

    fn saw_exit(&mut self, idx: ContainerIdx) {
        for kind in crate::probe::KINDS {
            self.stop_probe(idx, kind);
        }
        self.kill_saw_exit(idx);
        self.start_saw_exit(idx);
    }
}
