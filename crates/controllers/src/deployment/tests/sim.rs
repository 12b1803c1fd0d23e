//! A Deployment, its ReplicaSets, their pods, and an API server that does what plans say.
//!
//! Both controllers see what they wrote themselves at once, and everything else when they are told.

use std::collections::BTreeMap;

use super::super::numbers::{available, size};
use super::*;
use crate::replicaset::{self, ReplicaSetView};

/// All steps of a plan.
pub(super) const ALL: usize = usize::MAX;

/// Objects by name.
type Objects<K> = BTreeMap<String, Arc<K>>;

#[derive(Debug, Clone)]
pub(super) struct Sim {
    pub(super) deployment: Deployment,
    pub(super) sets: Objects<ReplicaSet>,
    pub(super) pods: Objects<Pod>,
    /// What the Deployment controller has seen.
    seen_sets: Objects<ReplicaSet>,
    /// What the ReplicaSet controller has seen.
    tracked_sets: Objects<ReplicaSet>,
    seen_pods: Objects<Pod>,
    pub(super) now: i64,
    serial: u64,
    pub(super) notes: Vec<String>,
}

impl Sim {
    pub(super) fn new(deployment: Deployment) -> Self {
        let (sets, pods, seen_sets, tracked_sets, seen_pods, notes) = <_>::default();
        Self { deployment, sets, pods, seen_sets, tracked_sets, seen_pods, now: 1000, serial: 0, notes }
    }

    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut k8s_openapi::api::apps::v1::DeploymentSpec)) {
        edit(self.deployment.spec.as_mut().unwrap());
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    pub(super) fn set_image(&mut self, image: &str) {
        let image = Some(image.to_owned());
        self.edit(|spec| spec.template.spec.as_mut().unwrap().containers[0].image = image);
    }

    pub(super) fn plan(&self) -> DeploymentPlan {
        let sets: Vec<_> = self.seen_sets.values().cloned().collect();
        let pods: Vec<_> = self.seen_pods.values().cloned().collect();
        let view = DeploymentView { deployment: &self.deployment, replica_sets: &sets, pods: &pods, now: at(self.now) };
        plan(&view)
    }

    /// Makes a plan for the Deployment and does its first `steps` steps.
    pub(super) fn step(&mut self, steps: usize) -> DeploymentPlan {
        let plan = self.plan();
        self.check(&plan);
        let mut left = steps;
        let mut may = || {
            let may = left > 0;
            left = left.saturating_sub(1);
            may
        };
        if let Some(set) = &plan.create
            && may()
        {
            let name = meta::name(&set.metadata).to_owned();
            if self.sets.contains_key(&name) {
                if !template::is_present(&self.deployment, &self.sets[&name]) {
                    self.deployment = plan::collided(&self.deployment);
                }
                self.see_set(&name);
                return plan;
            }
            let mut set = set.clone();
            set.metadata.uid = Some(name.clone());
            set.metadata.generation = Some(1);
            set.metadata.creation_timestamp = Some(meta::api_time(at(self.now)));
            self.put_set(set);
            self.see_set(&name);
            self.notes.extend(plan.notes.iter().map(|note| note.message.clone()));
        }
        for update in &plan.update {
            if may() && !self.update(update) {
                return plan;
            }
        }
        for set in &plan.delete {
            if may() {
                let name = meta::name(&set.metadata).to_owned();
                self.sets.remove(&name);
                self.see_set(&name);
                self.pods.retain(|_, pod| !meta::is_controlled_by(&pod.metadata, &name));
            }
        }
        if let Some(next) = &plan.status
            && may()
        {
            self.deployment = next.as_ref().clone();
        }
        plan
    }

    /// Whether the plan keeps its promises about what it has seen.
    fn check(&self, plan: &DeploymentPlan) {
        let numbers = numbers::Numbers::of(&self.deployment);
        let new_size = |set: &Arc<ReplicaSet>| {
            let update = plan.update.iter().find(|update| update.replica_set == *set);
            update.and_then(|update| update.replicas).unwrap_or_else(|| size(set))
        };
        let sum = |of: &dyn Fn(&Arc<ReplicaSet>) -> i32| self.seen_sets.values().map(of).sum::<i32>();
        let served_before = sum(&|set| available(set).min(size(set)));
        let served = sum(&|set| available(set).min(new_size(set)));
        // A scaling to fewer replicas takes what it must, in proportion.
        let scaling = plan.update.iter().any(|update| update.annotations.contains_key(DESIRED_REPLICAS));
        if numbers.rolling && !scaling {
            let least = numbers.least_available().min(served_before);
            assert!(served >= least, "{served} of {least} would be left: {plan:#?}\n{}", self.show());
        }
        let before = sum(&|set| size(set));
        let created = plan.create.as_ref().map_or(0, size);
        let total = sum(&new_size) + created;
        assert!(total <= numbers.most().max(before), "{total} pods: {plan:#?}\n{}", self.show());
    }

    fn update(&mut self, update: &Update) -> bool {
        let name = meta::name(&update.replica_set.metadata).to_owned();
        let present = self.sets.get(&name).cloned();
        let Some(set) =
            present.filter(|set| set.metadata.resource_version == update.replica_set.metadata.resource_version)
        else {
            self.see_set(&name);
            return false;
        };
        let mut set = set.as_ref().clone();
        set.metadata.annotations.get_or_insert_default().extend(update.annotations.clone());
        let spec = set.spec.as_mut().unwrap();
        spec.replicas = update.replicas.or(spec.replicas);
        spec.min_ready_seconds = update.min_ready_seconds.or(spec.min_ready_seconds);
        *set.metadata.generation.as_mut().unwrap() += 1;
        self.put_set(set);
        self.see_set(&name);
        self.notes.extend(update.note().map(|note| note.message));
        true
    }

    fn put_set(&mut self, mut set: ReplicaSet) {
        self.serial += 1;
        set.metadata.resource_version = Some(self.serial.to_string());
        self.sets.insert(meta::name(&set.metadata).to_owned(), Arc::new(set));
    }

    /// The ReplicaSet controller looks at a ReplicaSet and does its first `steps` steps.
    pub(super) fn step_set(&mut self, name: &str, steps: usize) -> bool {
        let Some(set) = self.tracked_sets.get(name).cloned() else { return true };
        let pods: Vec<_> = self.seen_pods.values().cloned().collect();
        let view = ReplicaSetView { replica_set: &set, pods: &pods, related: &pods, now: at(self.now), failure: None };
        let plan = replicaset::plan(&view);
        let mut left = steps;
        for pod in plan.delete.iter().take(left) {
            left -= 1;
            self.pods.remove(meta::name(&pod.metadata));
            self.seen_pods.remove(meta::name(&pod.metadata));
        }
        for _ in 0..plan.create.min(left) {
            left -= 1;
            self.serial += 1;
            let pod_name = format!("{name}-{:04}", self.serial);
            let mut pod = replicaset::build(&set, "");
            (pod.metadata.name, pod.metadata.uid) = (Some(pod_name.clone()), Some(pod_name.clone()));
            self.pods.insert(pod_name.clone(), Arc::new(pod));
            self.see_pod(&pod_name);
        }
        if let Some(status) = plan.status.clone().filter(|_| left > 0) {
            if self.sets.get(name) == Some(&set) {
                self.put_set(ReplicaSet { status: Some(status), ..set.as_ref().clone() });
            }
            self.track_set(name);
        }
        plan.is_settled()
    }

    // ---- What happens to pods, and who hears of what ----------------------------------------------

    pub(super) fn set_pod(&mut self, name: &str, status: Value) {
        if let Some(pod) = self.pods.get_mut(name).filter(|pod| !crate::pod::is_terminal(pod)) {
            Arc::make_mut(pod).status = Some(serde_json::from_value(status).unwrap());
        }
    }

    pub(super) fn make_ready(&mut self, name: &str) {
        let since = at(self.now);
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
        self.set_pod(name, json!({"phase": "Running", "conditions": [ready]}));
    }

    pub(super) fn make_all_ready(&mut self) {
        let open = |pod: &&Arc<Pod>| !crate::pod::is_ready(pod);
        let names: Vec<_> = self.pods.values().filter(open).map(|pod| meta::name(&pod.metadata).to_owned()).collect();
        names.iter().for_each(|name| self.make_ready(name));
    }

    pub(super) fn see_set(&mut self, name: &str) {
        copy(name, &self.sets, &mut self.seen_sets);
    }

    pub(super) fn track_set(&mut self, name: &str) {
        copy(name, &self.sets, &mut self.tracked_sets);
    }

    pub(super) fn see_pod(&mut self, name: &str) {
        copy(name, &self.pods, &mut self.seen_pods);
    }

    pub(super) fn see_all(&mut self) {
        self.seen_sets = self.sets.clone();
        self.tracked_sets = self.sets.clone();
        self.seen_pods = self.pods.clone();
    }

    /// Lets both controllers work until there is nothing to do, without any change of pods.
    pub(super) fn settle(&mut self) -> DeploymentPlan {
        for _ in 0..200 {
            self.see_all();
            let plan = self.step(ALL);
            self.see_all();
            let names: Vec<String> = self.sets.keys().cloned().collect();
            let idle = names.iter().fold(true, |idle, name| self.step_set(name, ALL) & idle);
            if idle && plan.is_settled() {
                return plan;
            }
        }
        panic!("never settles: {}", self.show());
    }

    /// The same, with every pod becoming ready at once.
    pub(super) fn roll_out(&mut self) -> DeploymentPlan {
        for _ in 0..200 {
            let plan = self.settle();
            if self.pods.values().all(|pod| crate::pod::is_ready(pod) || crate::pod::is_terminal(pod)) {
                return plan;
            }
            self.make_all_ready();
        }
        panic!("never rolled out: {}", self.show());
    }

    /// Sizes of the ReplicaSets by image.
    pub(super) fn sizes(&self) -> BTreeMap<String, i32> {
        let image = |set: &ReplicaSet| {
            let template = set.spec.as_ref().unwrap().template.clone().unwrap();
            template.spec.unwrap().containers[0].image.clone().unwrap()
        };
        self.sets.values().map(|set| (image(set), size(set))).collect()
    }

    /// The progress of the rollout, as conditions tell it.
    pub(super) fn progress(&self) -> String {
        let status = self.deployment.status.clone().unwrap_or_default();
        let condition = status::find(&status, status::PROGRESSING);
        condition.map_or_else(String::new, |c| format!("{} {}", c.status, c.reason.as_deref().unwrap_or_default()))
    }

    pub(super) fn show(&self) -> String {
        let line = |set: &Arc<ReplicaSet>| {
            format!("{} size {} status {:?}\n", meta::name(&set.metadata), size(set), set.status)
        };
        let stored: String = self.sets.values().map(line).collect();
        let seen: String = self.seen_sets.values().map(line).collect();
        let pods: Vec<_> = self.pods.values().map(|pod| (meta::name(&pod.metadata), crate::pod::phase(pod))).collect();
        format!("{:?}\nstored:\n{stored}seen:\n{seen}pods: {pods:?}", self.deployment.status)
    }
}

fn copy<K>(name: &str, from: &Objects<K>, to: &mut Objects<K>) {
    match from.get(name) {
        Some(object) => drop(to.insert(name.to_owned(), Arc::clone(object))),
        None => drop(to.remove(name)),
    }
}
