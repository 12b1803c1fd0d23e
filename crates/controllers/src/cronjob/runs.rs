//! When a CronJob is due (cronjob/utils.go: mostRecentScheduleTime, nextScheduleTime).

use apimachinery::cron::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;

/// Missed times from which people are warned (S10-13).
const MANY_MISSED: i64 = 100;

/// Added to the next time, so that the clock has passed it for sure (S10-23).
const PADDING: SignedDuration = SignedDuration::from_millis(100);

/// A schedule in its time zone.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) schedule: Schedule,
    pub(crate) zone: &'a TimeZone,
}

/// The schedule never matches, or nearly always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time difference between two schedules is less than 1 second")]
pub(crate) struct InvalidSchedule;

/// What has been missed since the last start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed {
    /// The time from which on was looked.
    pub(crate) since: Timestamp,
    /// The most recent missed time, which may be the present one.
    pub(crate) latest: Option<Timestamp>,
    /// An estimate from the first interval.
    pub(crate) count: i64,
}

impl Missed {
    pub(crate) const fn is_many(&self) -> bool {
        self.count > MANY_MISSED
    }
}

impl Plan<'_> {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, self.zone)
    }

    /// What was missed until now. `with_deadline`: not looking further back than the starting
    /// deadline (S10-11).
    pub(crate) fn missed(
        &self,
        cronjob: &CronJob,
        now: Timestamp,
        with_deadline: bool,
    ) -> Result<Missed, InvalidSchedule> {
        let since = base(cronjob, now, with_deadline);
        let none = Missed { since, latest: None, count: 0 };
        let Some(first) = self.next(since) else { return Err(InvalidSchedule) };
        if now < first {
            return Ok(none);
        }
        let Some(second) = self.next(first).filter(|second| *second <= now) else {
            return Ok(Missed { latest: Some(first), ..none });
        };
        let interval = second.as_second() - first.as_second();
        if interval < 1 {
            return Err(InvalidSchedule);
        }
        let count = (now.as_second() - first.as_second()) / interval + 1;
        Ok(Missed { latest: self.latest(first, interval.saturating_mul(count - 2), now), count, ..none })
    }

    /// The last matching time until now. The search starts two intervals back; what lies further
    /// back is not found, as in Kubernetes.
    fn latest(&self, first: Timestamp, offset: i64, now: Timestamp) -> Option<Timestamp> {
        let mut latest = None;
        let mut time = first.checked_add(SignedDuration::from_secs(offset)).ok()?;
        while let Some(next) = self.next(time).filter(|next| *next <= now) {
            latest = Some(next);
            time = next;
        }
        latest
    }

    /// When to look again: just after the next scheduled time.
    pub(crate) fn wake_at(&self, cronjob: &CronJob, now: Timestamp) -> Option<Timestamp> {
        let from = match self.missed(cronjob, now, false) {
            Ok(Missed { latest: Some(latest), .. }) => latest,
            Ok(Missed { since, count: 0, .. }) => since,
            Ok(_) | Err(InvalidSchedule) => now,
        };
        self.next(from)?.checked_add(PADDING).ok()
    }
}

fn base(cronjob: &CronJob, now: Timestamp, with_deadline: bool) -> Timestamp {
    let last = cronjob.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let since = last.or(cronjob.metadata.creation_timestamp.as_ref()).map_or(now, |time| time.0);
    let deadline = cronjob.spec.starting_deadline_seconds.filter(|_| with_deadline);
    let oldest = deadline.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    oldest.map_or(since, |oldest| since.max(oldest))
}
