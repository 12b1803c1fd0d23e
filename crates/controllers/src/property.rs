//! How many random cases the models of the controllers play, and which.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// A runner of `cases` cases. `PODRIG_SCHEDULES` sets another number, `PODRIG_SEED` other cases (default 0): the same
/// seed gives the same cases.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let cases = from_environment("PODRIG_SCHEDULES").unwrap_or(cases);
    let seed = from_environment("PODRIG_SEED").unwrap_or(0);
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 5000, ..ProptestConfig::default() };
    // Never all zeroes, which this generator cannot leave.
    let mut bytes = *b"podrig schedules";
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::XorShift, &bytes))
}

fn from_environment(name: &str) -> Option<u32> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
