//! The Deployment and ReplicaSet controllers under random events: late views, crashes in the middle
//! of plans, pods that end in any way, users who change their minds. The simulation checks at every
//! plan that it keeps the bounds of the strategy.

use proptest::prelude::*;

use super::super::numbers::Numbers;
use super::sim::{ALL, Sim};
use super::*;

#[derive(Debug, Clone)]
enum Event {
    /// The Deployment controller does so many steps; unless it is all, it dies.
    Pass(usize),
    /// The same for a ReplicaSet.
    PassSet(usize, usize),
    SeeSet(usize),
    TrackSet(usize),
    SeePod(usize),
    Ready(usize),
    Fail(usize),
    Time(i64),
    Image(u8),
    Replicas(i32),
    Pause(bool),
    Strategy(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Pass(ALL)),
        3 => (0usize..4).prop_map(Event::Pass),
        8 => (0usize..8).prop_map(|n| Event::PassSet(n, ALL)),
        3 => (0usize..8, 0usize..4).prop_map(|(n, steps)| Event::PassSet(n, steps)),
        6 => (0usize..8).prop_map(Event::SeeSet),
        6 => (0usize..8).prop_map(Event::TrackSet),
        6 => (0usize..64).prop_map(Event::SeePod),
        8 => (0usize..64).prop_map(Event::Ready),
        1 => (0usize..64).prop_map(Event::Fail),
        1 => (0i64..300).prop_map(Event::Time),
        1 => (1u8..5).prop_map(Event::Image),
        1 => (0i32..9).prop_map(Event::Replicas),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => any::<bool>().prop_map(Event::Strategy),
    ]
}

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "30%", "maxUnavailable": 1}})
}

fn apply(sim: &mut Sim, event: &Event) {
    let sets: Vec<String> = sim.sets.keys().cloned().collect();
    let pods: Vec<String> = sim.pods.keys().cloned().collect();
    let set = |n: &usize| sets.get(n % sets.len().max(1)).cloned().unwrap_or_default();
    let pod = |n: &usize| pods.get(n % pods.len().max(1)).cloned().unwrap_or_default();
    match event {
        Event::Pass(steps) => {
            sim.step(*steps);
            if *steps != ALL {
                sim.see_all();
            }
        }
        Event::PassSet(n, steps) => {
            sim.step_set(&set(n), *steps);
            if *steps != ALL {
                sim.see_all();
            }
        }
        Event::SeeSet(n) => sim.see_set(&set(n)),
        Event::TrackSet(n) => sim.track_set(&set(n)),
        Event::SeePod(n) => sim.see_pod(&pod(n)),
        Event::Ready(n) => sim.make_ready(&pod(n)),
        Event::Fail(n) => sim.set_pod(&pod(n), json!({"phase": "Failed"})),
        Event::Time(seconds) => sim.now += seconds,
        Event::Image(n) => sim.set_image(&format!("v{n}")),
        Event::Replicas(n) => sim.edit(|spec| spec.replicas = Some(*n)),
        Event::Pause(on) => sim.edit(|spec| spec.paused = Some(*on)),
        Event::Strategy(true) => sim.edit(|spec| spec.strategy = serde_json::from_value(rolling()).unwrap()),
        Event::Strategy(false) => {
            sim.edit(|spec| spec.strategy = serde_json::from_value(json!({"type": "Recreate"})).unwrap());
        }
    }
}

/// Pods that serve.
fn serving(sim: &Sim) -> i32 {
    i32::try_from(sim.pods.values().filter(|pod| crate::pod::is_ready(pod)).count()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_rollout_keeps_its_bounds_and_ends(
        replicas in 0i32..9,
        surge in 0i32..4,
        unavailable in 0i32..4,
        events in prop::collection::vec(event(), 0..150),
    ) {
        let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let mut sim = Sim::new(deployment(replicas, json!({"strategy": strategy, "revisionHistoryLimit": 2})));
        for event in &events {
            apply(&mut sim, event);
        }
        sim.edit(|spec| spec.paused = None);
        sim.roll_out();
        // A completed rollout is known as such at the pass after it, which then tidies up.
        let plan = sim.settle();
        prop_assert!(sim.plan().is_settled(), "a settled plan stays settled");
        prop_assert_eq!(plan.wake_at, None);
        let numbers = Numbers::of(&sim.deployment);
        let status = sim.deployment.status.clone().unwrap();
        prop_assert!(status::is_complete(&sim.deployment, &numbers, &status), "{}", sim.show());
        prop_assert_eq!(sim.progress(), "True NewReplicaSetAvailable", "{}", sim.show());
        prop_assert_eq!(sim.sizes().values().sum::<i32>(), numbers.replicas);
        prop_assert!(sim.sets.len() <= 3, "history: {}", sim.show());
        let revisions = |meta| annotations::revision(meta);
        let newest = sim.sets.values().map(|set| revisions(&set.metadata)).max().unwrap();
        prop_assert_eq!(revisions(&sim.deployment.metadata), newest);
    }

    /// As long as no pod fails, users have what the strategy promises them at every moment.
    #[test]
    fn a_rollout_of_healthy_pods_never_serves_too_little(
        replicas in 1i32..9,
        surge in 0i32..4,
        unavailable in 0i32..4,
        events in prop::collection::vec(event(), 0..200),
    ) {
        let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let mut sim = Sim::new(deployment(replicas, json!({"strategy": strategy})));
        sim.roll_out();
        let least = Numbers::of(&sim.deployment).least_available();
        for event in &events {
            if matches!(event, Event::Fail(_) | Event::Replicas(_) | Event::Strategy(_)) {
                continue;
            }
            apply(&mut sim, event);
            prop_assert!(serving(&sim) >= least, "{} of {least} after {event:?}: {}", serving(&sim), sim.show());
        }
    }
}
