//! Decides what to do next about a Deployment (deployment_controller.go: `syncDeployment`).
//!
//! A plan goes one stage far: ownership, then the ReplicaSet of the present template, then sizes,
//! then old ReplicaSets and the status. The next plan sees what came of it.

use std::sync::Arc;

use apimachinery::selector::LabelSelector;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use crate::children::Claims;
use crate::deployment::annotations::{self, REVISION};
use crate::deployment::numbers::{Numbers, actual, is_observed, size};
use crate::deployment::scale::{self, Sets};
use crate::deployment::status::{self, PROGRESSING};
use crate::deployment::{DeploymentPlan, DeploymentView, Update, template};
use crate::events::Note;
use crate::meta;

/// Decides what to do next about a Deployment.
///
/// Guarantees: a settled plan stays settled until the view changes or `wake_at` comes. No plan asks
/// for more pods than replicas and surge, or takes pods away when that leaves fewer available than
/// the strategy allows.
#[must_use]
pub fn plan(view: &DeploymentView<'_>) -> DeploymentPlan {
    let deployment = view.deployment;
    let Some(spec) = &deployment.spec else { return DeploymentPlan::default() };
    let selector = LabelSelector::from_api(&spec.selector);
    let Ok(selector) = selector else { return DeploymentPlan::default() };
    if selector.is_empty() {
        return refuse_all(deployment);
    }
    let claims = Claims::find(&deployment.metadata, &selector, view.replica_sets);
    if !claims.is_empty() {
        return DeploymentPlan { claims, ..DeploymentPlan::default() };
    }
    let uid = meta::uid(&deployment.metadata);
    let own: Vec<_> =
        view.replica_sets.iter().filter(|set| meta::is_controlled_by(&set.metadata, uid)).cloned().collect();
    let sets = Sets::new(template::find(deployment, &own), &own);
    let numbers = Numbers::read(spec);
    Pass { view, numbers, sets, next: deployment.clone(), plan: DeploymentPlan::default() }.decide()
}

fn refuse_all(deployment: &Deployment) -> DeploymentPlan {
    let message = "This deployment is selecting all pods. A non-empty selector is required.";
    let notes = vec![Note::warning("SelectingAll", message)];
    let mut next = deployment.clone();
    next.status.get_or_insert_default().observed_generation = deployment.metadata.generation;
    let status = Some(Box::new(next)).filter(|next| **next != *deployment);
    DeploymentPlan { notes, status, ..DeploymentPlan::default() }
}

/// Tells on the Deployment that the ReplicaSet of its template cannot be created.
pub(crate) fn creation_failed(view: &DeploymentView<'_>, message: &str) -> Option<Deployment> {
    Numbers::of(view.deployment).progress_deadline?;
    let mut next = view.deployment.clone();
    let failed = status::condition(PROGRESSING, "False", "ReplicaSetCreateError", message, view.now);
    status::set(next.status.get_or_insert_default(), failed);
    Some(next).filter(|next| next != view.deployment)
}

/// Counts a collision, so that the next name of a ReplicaSet is another one.
pub(crate) fn collided(deployment: &Deployment) -> Deployment {
    let mut next = deployment.clone();
    *next.status.get_or_insert_default().collision_count.get_or_insert_default() += 1;
    next
}

/// One plan in the making.
struct Pass<'a> {
    view: &'a DeploymentView<'a>,
    numbers: Numbers,
    sets: Sets,
    /// The Deployment as it is to be.
    next: Deployment,
    plan: DeploymentPlan,
}

impl Pass<'_> {
    fn decide(mut self) -> DeploymentPlan {
        if meta::is_deleting(&self.next.metadata) {
            return self.report(false);
        }
        self.tell_pause();
        if let Some(update) = self.annotate_present() {
            self.plan.update.push(update);
            return self.plan;
        }
        self.note_revision();
        if self.numbers.paused || scale::is_due(&self.numbers, &self.sets) {
            let deployed = self.view.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
            self.plan.update = scale::scale(&self.numbers, deployed, &self.sets);
            return match self.plan.update.is_empty() {
                true => self.report(false),
                false => self.plan,
            };
        }
        match self.numbers.rolling {
            true => self.roll(),
            false => self.recreate(),
        }
    }

    /// A pause or its end stands in the way of judging progress, unless that has failed already.
    fn tell_pause(&mut self) {
        let status = self.next.status.get_or_insert_default();
        if self.numbers.progress_deadline.is_none() || status::is_timed_out(status) {
            return;
        }
        let told = status::has_reason(status::find(status, PROGRESSING), "DeploymentPaused");
        let (reason, message) = match (self.numbers.paused, told) {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        status::set(status, status::condition(PROGRESSING, "Unknown", reason, message, self.view.now));
    }

    /// The revision that the present template has, or is to have.
    fn next_revision(&self) -> i64 {
        1 + self.sets.old.iter().map(|set| annotations::revision(&set.metadata)).max().unwrap_or(0)
    }

    fn annotate_present(&self) -> Option<Update> {
        let set = self.sets.present.as_ref()?;
        let rest = self.numbers.min_ready_seconds;
        let known = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let update = Update {
            annotations: annotations::of_present(&self.next, set, self.next_revision()),
            min_ready_seconds: Some(rest).filter(|rest| *rest != known),
            ..Update::of(Arc::clone(set))
        };
        Some(update).filter(|update| !update.is_empty())
    }

    fn note_revision(&mut self) {
        let Some(set) = self.sets.present.clone() else { return };
        if let Some(revision) = annotations::get(&set.metadata, REVISION) {
            self.set_revision(revision.to_owned());
        }
        let status = self.next.status.get_or_insert_default();
        if self.numbers.progress_deadline.is_some() && status::find(status, PROGRESSING).is_none() {
            let message = format!("Found new replica set {:?}", meta::name(&set.metadata));
            status::set(status, status::condition(PROGRESSING, "True", "FoundNewReplicaSet", message, self.view.now));
        }
    }

    fn set_revision(&mut self, revision: String) {
        self.next.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision);
    }

    fn roll(mut self) -> DeploymentPlan {
        if self.sets.present.is_none() {
            return self.create();
        }
        self.plan.update = scale::roll(&self.numbers, &self.sets);
        self.finish()
    }

    fn recreate(mut self) -> DeploymentPlan {
        self.plan.update = scale::empty_old(&self.numbers, &self.sets);
        if !self.plan.update.is_empty() || scale::old_pods_run(&self.sets, self.view.pods) {
            return self.finish();
        }
        if self.sets.present.is_none() {
            return self.create();
        }
        self.plan.update = scale::fill_present(&self.numbers, &self.sets);
        self.finish()
    }

    fn create(mut self) -> DeploymentPlan {
        let mut set = template::make(&self.next, &self.numbers);
        let revision = self.next_revision();
        let replicas = scale::present_size(&self.numbers, &self.sets.all(), 0);
        if let Some(spec) = &mut set.spec {
            spec.replicas = Some(replicas);
        }
        let mut annotations = annotations::of_present(&self.next, &set, revision);
        annotations.extend(annotations::of_scale(&self.numbers, &set));
        set.metadata.annotations = Some(annotations);
        let name = meta::name(&set.metadata).to_owned();
        if replicas > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {replicas}");
            self.plan.notes.push(Note::normal("ScalingReplicaSet", message));
        }
        self.set_revision(revision.to_string());
        if self.numbers.progress_deadline.is_some() {
            let message = format!("Created new replica set {name:?}");
            let created = status::condition(PROGRESSING, "True", "NewReplicaSetCreated", message, self.view.now);
            status::set(self.next.status.get_or_insert_default(), created);
        }
        self.plan.create = Some(set);
        self.plan.status = Some(Box::new(self.next));
        self.plan
    }

    fn finish(self) -> DeploymentPlan {
        match self.plan.update.is_empty() {
            true => self.report(true),
            false => self.plan,
        }
    }

    /// The last stage. Progress is not judged while nothing is rolled out.
    fn report(mut self, rolling_out: bool) -> DeploymentPlan {
        let (now, present, all) = (self.view.now, self.sets.present.as_ref(), self.sets.all());
        let mut status = status::count(&self.next, &self.numbers, &all, present, now);
        if rolling_out {
            self.plan.wake_at = status::judge_progress(&self.next, &self.numbers, &all, present, &mut status, now);
        }
        let before = self.view.deployment.status.clone().unwrap_or_default();
        let over = rolling_out && status::is_complete(&self.next, &self.numbers, &before);
        if !meta::is_deleting(&self.next.metadata) && (self.numbers.paused || over) {
            self.plan.delete = self.surplus();
        }
        self.next.status = Some(status);
        let unchanged = self.next.metadata == self.view.deployment.metadata && self.next.status == Some(before);
        self.plan.status = (!unchanged).then(|| Box::new(self.next));
        self.plan
    }

    /// Old ReplicaSets beyond the history limit, the earliest revisions first; none that has pods.
    fn surplus(&self) -> Vec<Arc<ReplicaSet>> {
        let Some(limit) = self.numbers.history_limit else { return Vec::new() };
        let mut old: Vec<_> = self.sets.old.iter().filter(|set| !meta::is_deleting(&set.metadata)).collect();
        old.sort_by_cached_key(|set| (annotations::revision(&set.metadata), template::age(set)));
        let surplus = old.len().saturating_sub(limit);
        old.into_iter().take(surplus).filter(|set| is_over(set)).cloned().collect()
    }
}

/// Whether the ReplicaSet has no pods and is to have none.
fn is_over(set: &ReplicaSet) -> bool {
    actual(set) == 0 && size(set) == 0 && is_observed(set)
}
