//! Makers of Jobs and pods for tests.

use super::*;
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn failed_pod(uid: &str, finished: i64) -> Pod {
    let _ = (uid, finished);
    todo!()
}
