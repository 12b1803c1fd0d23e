//! Random pods with random lives: what must hold whatever happens.
//!
//! `PODRIG_SCHEDULES` sets the number of schedules (default 100,000), `PODRIG_SEED` which ones (default 0): the same
//! seed gives the same schedules. A failure prints the smallest schedule that shows it, and the inputs of the machine's
//! last life as JSON; proptest keeps its seed in `tests/properties/main.proptest-regressions` and plays it first from
//! then on.

mod guard;
mod schedule;

use std::time::Duration;

use proptest::{
    prelude::ProptestConfig,
    test_runner::{FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use guard::Guard;
use schedule::Schedule;
use testkit::engine::{Transcript, World};

/// Schedules for all tests together, unless the environment says otherwise.
const SCHEDULES: u32 = 100_000;
/// Longer than any wait that a machine may have: back-off of five minutes, grace, deadline.
const QUIET: Duration = Duration::from_secs(4 * 3600);
/// By then the pods of the restart test have come to their end, if they have one.
const HORIZON: Duration = Duration::from_secs(1200);

fn runner(share: u32) -> TestRunner {
    let cases = from_environment("PODRIG_SCHEDULES").unwrap_or(SCHEDULES) / share;
    let seed = from_environment("PODRIG_SEED").unwrap_or(0);
    let persistence = FileFailurePersistence::WithSource("proptest-regressions");
    let config = ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(persistence)),
        max_shrink_iters: 600,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    // Never all zeroes, which this generator cannot leave.
    let mut bytes = *b"podrig schedules";
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::XorShift, &bytes))
}

#[expect(clippy::disallowed_methods, reason = "the test's size, not the machine's business")]
fn from_environment(name: &str) -> Option<u32> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Plays a schedule under guard; `end` adds what is to happen after it.
fn play(schedule: &Schedule, end: impl Fn(&mut World, &mut Guard) -> Result<(), String>) -> Result<(), TestCaseError> {
    let mut world = schedule.world();
    let mut guard = Guard::new(&world);
    let result = schedule.play(&mut world, &mut guard).and_then(|()| end(&mut world, &mut guard));
    result.map_err(|problem| {
        let log = serde_json::to_string(world.log()).unwrap_or_default();
        let text = Transcript::of(&world, true);
        TestCaseError::fail(format!("{problem}\n{text}\nlog: {log}"))
    })
}

#[test]
fn whatever_happens_the_rules_hold_and_a_deleted_pod_goes() {
    runner(2)
        .run(&schedule::anything(), |schedule| {
            play(&schedule, |world, guard| {
                schedule::calm(world);
                if world.finished().is_none() {
                    world.delete(Duration::from_secs(3));
                }
                guard.run_until(world, world.now() + QUIET)?;
                match (world.finished(), world.leftovers(), world.open_effects().count()) {
                    (None, ..) => Err("a deleted pod did not end".to_owned()),
                    (Some(_), 0, 0) => Ok(()),
                    (Some(_), left, open) => {
                        Err(format!("{left} things and {open} effects are left of a pod that has ended"))
                    }
                }
            })
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_pod_whose_mains_are_done_ends_by_itself() {
    runner(4)
        .run(&schedule::completing(), |schedule| {
            play(&schedule, |world, guard| {
                schedule::calm(world);
                guard.run_until(world, world.now() + QUIET)?;
                if world.finished().is_some() { Ok(()) } else { Err("the pod did not end".to_owned()) }
            })
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn s3_55_an_agent_restart_changes_no_outcome() {
    runner(4)
        .run(&schedule::with_restarts(), |(schedule, restarts)| {
            let outcome = |schedule: &Schedule| -> Result<World, String> {
                let mut world = schedule.world();
                let mut guard = Guard::new(&world);
                schedule
                    .play(&mut world, &mut guard)
                    .and_then(|()| guard.run_until(&mut world, HORIZON))
                    .map_err(|problem| format!("{problem}\n{}", Transcript::of(&world, true)))?;
                Ok(world)
            };
            let result = || -> Result<(), String> {
                let undisturbed = outcome(&schedule)?;
                let disturbed = outcome(&schedule.with(restarts.clone()))?;
                let (expected, found) = (schedule::remainder(&undisturbed), schedule::remainder(&disturbed));
                if expected == found {
                    return Ok(());
                }
                let [calm, text] = [undisturbed, disturbed].map(|world| Transcript::of(&world, true));
                Err(format!("undisturbed {expected}\n{calm}\nwith restarts {found}\n{text}"))
            };
            result().map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    runner(50)
        .run(&schedule::anything(), |schedule| {
            play(&schedule, |world, _| {
                let text = serde_json::to_string(world.log()).map_err(|error| error.to_string())?;
                let log: testkit::engine::Log = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                let ours: Vec<_> = world.said_in_this_life().map(|said| said.output.clone()).collect();
                if log.replay() == ours { Ok(()) } else { Err("a replay gave other outputs".to_owned()) }
            })
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
