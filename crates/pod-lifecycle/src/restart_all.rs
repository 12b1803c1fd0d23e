//! Restart of all containers, asked for by a container's rule (contract S3-40 to S3-44; kubelet
//! `kuberuntime_manager.go` `ContainersToReset`).
//!
//! Flow: the condition `AllContainersRestarting` becomes True; whatever runs is killed with grace 0; all instances
//! are removed; the condition becomes False, and the pod is initialised from the beginning in the same sandbox.
//! The stored condition makes that survive an agent restart.

use std::time::Duration;

use crate::{
    ContainerIdx, Effect, PodMachine, Role, StopReason,
    container::Container,
    machine::Purpose,
    restart::{self, RuleAction},
    sync::{Active, Job},
};

impl PodMachine {
    /// Takes note if a container has ended in a way that asks for it.
    pub(crate) fn judge_restart_all(&mut self) {
        // A sidecar that is stopped because the mains are done does not bring them back.
        let done = self.plan.main_indices().all(|idx| self.is_done(idx));
        self.restarting_all |= !done && self.plan.indices().any(|idx| self.asks_for_restart_all(idx));
    }

    fn is_done(&self, idx: ContainerIdx) -> bool {
        self.containers[idx.index()].exit().is_some() && !self.should_start(idx)
    }

    fn asks_for_restart_all(&self, idx: ContainerIdx) -> bool {
        let exit = self.containers[idx.index()].exit();
        exit.is_some_and(|exit| {
            restart::matching_rule(self.plan.container(idx), exit.exit_code) == Some(RuleAction::RestartAll)
        })
    }

    /// Decides the steps: victims first, mains before init entries; those that asked for it last (contract S3-41).
    pub(crate) fn restart_all_actions(&self) -> Vec<Job> {
        let mut order: Vec<_> = self.plan.init_indices().chain(self.plan.main_indices()).collect();
        order.sort_by_key(|&idx| (self.asks_for_restart_all(idx), self.plan.container(idx).role != Role::Main));
        let kill = |container| Job::Kill {
            container,
            grace: Duration::ZERO,
            reason: StopReason::RestartAll,
            message: "killing".to_owned(),
        };
        order.into_iter().map(kill).chain([Job::RemoveAll]).collect()
    }

    /// Removes every instance but those of ephemeral containers, which are not part of it. The answers are waited for: a record that came back after an agent restart would
    /// ask for it again.
    pub(crate) fn remove_all(&mut self) {
        for idx in self.plan.init_indices().chain(self.plan.main_indices()) {
            let asked = self.asks_for_restart_all(idx);
            let container = &mut self.containers[idx.index()];
            let last_exit = container.newest_dead().and_then(|instance| instance.finished);
            let old = [container.current.take(), container.previous.take()];
            if old.iter().any(Option::is_some) {
                container.reset = true;
                container.blocked = None;
                // Kubernetes remembers nothing, and is slowed down by its polling. Here the crash back-off goes on.
                container.reset_exit = last_exit.filter(|_| asked);
            }
            for instance in old.into_iter().flatten() {
                let effect = Effect::RemoveContainer { container: idx, id: instance.view.id };
                self.run(effect, Purpose::Remove);
            }
        }
        self.job = Some(Active::Resetting);
        self.end_reset_if_over();
    }

    pub(crate) fn end_reset_if_over(&mut self) {
        // Answers of another kind may still be owed: of a stop that came too late.
        let over = !self.effects.values().any(|purpose| *purpose == Purpose::Remove);
        if over && self.job == Some(Active::Resetting) {
            self.job = None;
            self.restarting_all = false;
            self.dirty = true;
        }
    }
}

impl Container {
    /// Returns whether it waits for its first instance after a restart of all.
    pub(crate) fn is_reset(&self) -> bool {
        self.reset && self.current.is_none()
    }
}
