//! The ReplicaSet controller under random events: late views, crashes in the middle of plans, pods
//! that end in any way, deletions by others.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::pod as pods;

#[derive(Debug, Clone)]
enum Event {
    /// One plan is made; so many of its steps are done, and unless it is all, the controller dies.
    Pass(usize),
    /// The controller hears of a pod.
    See(usize),
    Ready(usize),
    Fail(usize),
    /// Somebody deletes a pod.
    Delete(usize),
    /// The node has stopped a pod.
    Stopped(usize),
    Replicas(i32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Pass(usize::MAX)),
        4 => (0usize..4).prop_map(Event::Pass),
        8 => (0usize..64).prop_map(Event::See),
        4 => (0usize..64).prop_map(Event::Ready),
        3 => (0usize..64).prop_map(Event::Fail),
        1 => (0usize..64).prop_map(Event::Delete),
        3 => (0usize..64).prop_map(Event::Stopped),
        1 => (0i32..6).prop_map(Event::Replicas),
    ]
}

struct Sim {
    set: ReplicaSet,
    stored: BTreeMap<String, Arc<Pod>>,
    seen: BTreeMap<String, Arc<Pod>>,
    created: usize,
}

impl Sim {
    fn pass(&mut self, steps: usize) -> ReplicaSetPlan {
        let seen: Vec<_> = self.seen.values().cloned().collect();
        let plan = plan_at(&self.set, &seen, 100, None);
        let mut left = steps;
        for victim in plan.delete.iter().take(left) {
            left -= 1;
            self.delete(meta::name(&victim.metadata));
            self.see(meta::name(&victim.metadata));
        }
        for _ in 0..plan.create.min(left) {
            left -= 1;
            self.created += 1;
            let name = format!("p{:03}", self.created);
            let mut new = build(&self.set, "");
            (new.metadata.name, new.metadata.uid) = (Some(name.clone()), Some(name.clone()));
            self.stored.insert(name.clone(), Arc::new(new));
            self.see(&name);
        }
        if let Some(status) = plan.status.clone().filter(|_| left > 0) {
            self.set.status = Some(status);
        }
        if steps != usize::MAX {
            self.seen = self.stored.clone();
        }
        plan
    }

    fn see(&mut self, name: &str) {
        match self.stored.get(name) {
            Some(pod) => drop(self.seen.insert(name.to_owned(), pod.clone())),
            None => drop(self.seen.remove(name)),
        }
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.stored.get_mut(name) {
            edit(Arc::make_mut(pod));
        }
    }

    fn delete(&mut self, name: &str) {
        self.edit(name, |pod| pod.metadata.deletion_timestamp = Some(meta::api_time(at(100))));
    }

    fn status(&mut self, name: &str, status: Value) {
        self.edit(name, |pod| {
            if !pods::is_terminal(pod) {
                pod.status = Some(serde_json::from_value(status).unwrap());
            }
        });
    }

    fn active(&self) -> usize {
        self.stored.values().filter(|pod| pods::is_active(pod)).count()
    }

    fn apply(&mut self, event: &Event) {
        let all: Vec<String> = self.stored.keys().chain(self.seen.keys()).cloned().collect();
        let pick = |n: &usize| all.get(n % all.len().max(1)).cloned().unwrap_or_default();
        match event {
            Event::Pass(steps) => drop(self.pass(*steps)),
            Event::See(n) => self.see(&pick(n)),
            Event::Ready(n) => self.status(&pick(n), ready()),
            Event::Fail(n) => self.status(&pick(n), json!({"phase": "Failed"})),
            Event::Delete(n) => self.delete(&pick(n)),
            Event::Stopped(n) => {
                let name = pick(n);
                if self.stored.get(&name).is_some_and(|pod| meta::is_deleting(&pod.metadata)) {
                    self.stored.remove(&name);
                }
            }
            Event::Replicas(n) => self.set.spec.as_mut().unwrap().replicas = Some(*n),
        }
    }
}

fn ready() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(90)}]})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_are_never_too_many_pods_and_in_the_end_exactly_enough(events in prop::collection::vec(event(), 0..150)) {
        let mut sim = Sim { set: replica_set(3, json!({})), stored: <_>::default(), seen: <_>::default(), created: 0 };
        let mut most = 3;
        for event in &events {
            if let Event::Replicas(n) = event {
                most = most.max(*n);
            }
            sim.apply(event);
            prop_assert!(sim.active() <= usize::try_from(most).unwrap(), "after {event:?}: {:#?}", sim.stored);
        }
        for _ in 0..10 {
            sim.seen = sim.stored.clone();
            sim.pass(usize::MAX);
            sim.stored.retain(|_, pod| !meta::is_deleting(&pod.metadata));
            let names: Vec<String> = sim.stored.keys().cloned().collect();
            names.iter().for_each(|name| sim.status(name, ready()));
        }
        sim.seen = sim.stored.clone();
        prop_assert!(sim.pass(usize::MAX).is_settled(), "a settled plan stays settled");
        let wanted = sim.set.spec.as_ref().unwrap().replicas.unwrap();
        prop_assert_eq!(sim.active(), usize::try_from(wanted).unwrap());
        let status = sim.set.status.unwrap_or_default();
        prop_assert_eq!((status.replicas, status.available_replicas.unwrap_or(0)), (wanted, wanted));
    }
}
